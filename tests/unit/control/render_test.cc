#include "control/ctl/render.h"
#include "control/ctl/cores.h"

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

const Json kCoresThen = Json::parse(R"({"cores": [
  {"worker": 0, "flows_active": 5, "loop_us": 1000000, "busy_us": 900000, "rx_packets": 100,
   "redirected_in": 7}]})");
const Json kCoresNow = Json::parse(R"({"cores": [
  {"worker": 0, "flows_active": 6, "loop_us": 1500000, "busy_us": 1025000, "rx_packets": 1100,
   "redirected_in": 9, "packet_buffers_in_use": 2048},
  {"worker": 1, "flows_active": 1, "loop_us": 2000000, "busy_us": 500000, "tx_packets": 4}]})");

TEST(Render, CoresAreRatesOverTheTimeBetween) {
  const Json rates = core_rates(kCoresThen, kCoresNow)["cores"];
  ASSERT_EQ(rates.size(), 2U);
  EXPECT_DOUBLE_EQ(rates[0]["busy_ratio"].get<double>(), 0.25);
  EXPECT_DOUBLE_EQ(rates[0]["rx_packets_per_second"].get<double>(), 2000);
  EXPECT_EQ(rates[0]["redirected_in"], 2);
  EXPECT_EQ(rates[0]["flows"], 6);
  EXPECT_EQ(rates[0]["packet_buffers"], 2048);
  EXPECT_DOUBLE_EQ(rates[1]["busy_ratio"].get<double>(), 0.25);  // counts from zero
  EXPECT_DOUBLE_EQ(rates[1]["tx_packets_per_second"].get<double>(), 2);
  const std::string table = render_cores({{"cores", rates}});
  EXPECT_THAT(table, HasSubstr("BUSY %"));
  EXPECT_THAT(table, HasSubstr("25.0"));
}

TEST(Render, CoresOfAWorkerThatStartedAnewCountFromZero) {
  const Json rates = core_rates(kCoresNow, kCoresThen)["cores"];
  ASSERT_EQ(rates.size(), 1U);
  EXPECT_DOUBLE_EQ(rates[0]["busy_ratio"].get<double>(), 0.9);
  EXPECT_EQ(rates[0]["redirected_in"], 7);
  EXPECT_DOUBLE_EQ(core_rates(kCoresNow, kCoresNow)["cores"][0]["busy_ratio"].get<double>(), 0);
}

TEST(Render, ForeignAnswersGiveEmptyCells) {
  for (const char* text : {"{}", R"({"connections": [{}], "certificates": [{}, 7], "counters": 3})",
                           R"({"dataplane": {"pid": "x"}, "next_expiry": {}})",
                           R"({"cores": [{}, 7, {"loop_us": "x", "busy_us": -1}]})"}) {
    const Json answer = Json::parse(text);
    EXPECT_FALSE(render_status(answer).empty());
    EXPECT_FALSE(render_counters(answer, {}).empty());
    EXPECT_FALSE(render_connections(answer).empty());
    EXPECT_FALSE(render_certs(answer).empty());
    EXPECT_FALSE(render_cores(core_rates(answer, answer)).empty());
  }
}

}  // namespace
}  // namespace sluice::control::ctl
