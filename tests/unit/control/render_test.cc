#include "control/ctl/render.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::control::ctl {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Render, Durations) {
  EXPECT_EQ(duration_text(0), "0ms");
  EXPECT_EQ(duration_text(999), "999ms");
  EXPECT_EQ(duration_text(1000), "1s");
  EXPECT_EQ(duration_text(200'000), "3m20s");
  EXPECT_EQ(duration_text(3'600'000), "1h");
  EXPECT_EQ(duration_text(187'200'000), "2d4h");
}

TEST(Render, Bytes) {
  EXPECT_EQ(bytes_text(0), "0");
  EXPECT_EQ(bytes_text(1023), "1023");
  EXPECT_EQ(bytes_text(1024), "1.0K");
  EXPECT_EQ(bytes_text(1536), "1.5K");
  EXPECT_EQ(bytes_text(100 * 1024 * 1024), "100M");
  EXPECT_EQ(bytes_text(1024 * 1024 - 1), "1.0M");
}

TEST(Render, TableAligns) {
  TextTable table({"A", "NUMBER"});
  table.add({"long text", "7"});
  table.add({"x", "12345678"});
  EXPECT_EQ(table.text(),
            "A            NUMBER\n"
            "long text         7\n"
            "x          12345678\n");
}

const Json kCounters = Json::parse(R"({"counters": {"polls": 5, "zero": 0, "rx_bytes": 9},
  "workers": [{"worker": 0, "counters": {"polls": 2, "rx_bytes": 9}},
              {"worker": 1, "counters": {"polls": 3, "rx_bytes": 0}}]})");

TEST(Render, CountersHideZerosAndMatch) {
  const std::string some = render_counters(kCounters, {});
  EXPECT_THAT(some, HasSubstr("polls"));
  EXPECT_THAT(some, HasSubstr("WORKER 1"));
  EXPECT_THAT(some, Not(HasSubstr("zero")));
  CounterFilter filter;
  filter.all = true;
  EXPECT_THAT(render_counters(kCounters, filter), HasSubstr("zero"));
  filter.match = "rx_";
  EXPECT_THAT(render_counters(kCounters, filter), Not(HasSubstr("polls")));
}

TEST(Render, ForeignAnswersGiveEmptyCells) {
  for (const char* text : {"{}", R"({"connections": [{}], "certificates": [{}, 7], "counters": 3})",
                           R"({"dataplane": {"pid": "x"}, "next_expiry": {}})"}) {
    const Json answer = Json::parse(text);
    EXPECT_FALSE(render_status(answer).empty());
    EXPECT_FALSE(render_counters(answer, {}).empty());
    EXPECT_FALSE(render_connections(answer).empty());
    EXPECT_FALSE(render_certs(answer).empty());
  }
}

}  // namespace
}  // namespace sluice::control::ctl
