#include "abi/log/log.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace sluice::control::testing {
namespace {

TEST(Log, TextQuotesWhatNeedsIt) {
  EXPECT_EQ(log::render(log::Format::Text, log::Level::Info, "handshake failed",
                        {{"peer", "10.0.0.1:5"}, {"sni", ""}, {"reason", "no cipher"}, {"n", 7}}),
            "handshake failed peer=10.0.0.1:5 sni=\"\" reason=\"no cipher\" n=7");
}

TEST(Log, NobodyForgesALine) {
  EXPECT_EQ(
      log::render(log::Format::Text, log::Level::Info, "m", {{"sni", "a\nb\"c\\d\x1b[0m\xff"}}),
      "m sni=\"a\\x0ab\\\"c\\\\d\\x1b[0m\\xff\"");
}

TEST(Log, JsonIsOneObject) {
  const std::string line =
      log::render(log::Format::Json, log::Level::Warning, "m\n", {{"sni", "\"\xff\n"}, {"n", -3}});
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto parsed = nlohmann::json::parse(line);
  EXPECT_EQ(parsed["level"], "warning");
  EXPECT_EQ(parsed["message"], "m\n");
  EXPECT_EQ(parsed["n"], -3);
  EXPECT_TRUE(parsed.contains("time"));
}

}  // namespace
}  // namespace sluice::control::testing
