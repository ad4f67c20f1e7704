// Receive window auto-tuning between two stacks.
#include <gtest/gtest.h>

#include "abi/limits.h"
#include "pair.h"

namespace sluice::testbed {
namespace {

using tcp::Micros;

// 20 MB over 100 ms of round trip, as much bandwidth as one likes: the time with a tuned window is
// little more than with the whole limit from the beginning.
TEST(Window, TuningKeepsUpWithSlowStart) {
  const auto duration_us = [](uint32_t initial_bytes, bool timestamps) {
    PairSettings settings;
    settings.seed = 3;
    settings.app[0].total_bytes = 20'000'000;
    settings.app[1].read_bytes = 1U << 20;
    settings.timestamps = timestamps;
    for (tcp::TcpConfig& config : settings.config) config.send_limit_bytes = 8U << 20;
    settings.config[1].receive_initial_bytes = initial_bytes;
    for (LinkSettings& link : settings.link) link.delay_us = 50'000;
    const Outcome outcome = run_pair(settings);
    EXPECT_TRUE(outcome.complete) << outcome.problem;
    return outcome.duration_us;
  };
  for (const bool timestamps : {true, false}) {
    const Micros tuned = duration_us(abi::kReceiveInitialBytes, timestamps);
    const Micros whole = duration_us(abi::kReceiveLimitBytes, timestamps);
    EXPECT_LE(tuned, whole + whole / 4) << "timestamps " << timestamps << ", " << whole;
  }
}

}  // namespace
}  // namespace sluice::testbed
