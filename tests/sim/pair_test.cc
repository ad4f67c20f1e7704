// A thousand seeded connections over bad links. A failure prints its seed; to run one alone:
//   SLUICE_SEED=123 build/.../tcp_pair_test --gtest_filter='*ThousandSeeds*'
// SLUICE_SEEDS=20000 runs more of them.
#include <gtest/gtest.h>

#include <cstdlib>

#include "pair.h"

namespace sluice::testbed {
namespace {

using tcp::CloseCause;
using tcp::kSecond;
using tcp::Micros;

void choose_link(Random& random, LinkSettings& link) {
  link.delay_us = random.pick<Micros>({50, 1'000, 10'000, 40'000, 120'000});
  link.jitter_us = random.pick<Micros>({0, 0, link.delay_us / 10, link.delay_us});
  link.bytes_per_second = random.pick<uint64_t>({0, 0, 125'000, 1'250'000, 12'500'000});
  link.queue_bytes = random.pick<uint32_t>({10'000, 60'000, 200'000});
  link.loss = random.pick({0.0, 0.0, 0.001, 0.01, 0.05, 0.15});
  link.burst_loss = random.pick({0.0, 0.3});
  link.duplicate = random.pick({0.0, 0.0, 0.02, 0.1});
  link.reorder = random.pick({0.0, 0.0, 0.02, 0.2});
  link.corrupt = random.pick({0.0, 0.0, 0.02});
}

void choose_config(Random& random, tcp::TcpConfig& config) {
  config.mtu_bytes = random.pick<uint32_t>({1500, 1500, 576, 1280, 9000});
  config.tso_bytes = random.pick<uint32_t>({0, 16'000, 64'000});
  config.receive_limit_bytes = random.pick<uint32_t>({4'000, 20'000, 64'000, 262'144, 2'000'000});
  config.send_limit_bytes = random.pick<uint32_t>({2'000, 20'000, 262'144});
  config.time_wait_us = 120 * kSecond;
  config.fin_wait2_us = 400 * kSecond;
  config.user_timeout_us = 300 * kSecond;
  config.connect_timeout_us = 180 * kSecond;
  config.keepalive_idle_us = random.pick<Micros>({0, 60 * kSecond});
}

void choose_app(Random& random, AppSettings& app) {
  const uint64_t kinds = random.below(8);
  app.total_bytes = static_cast<uint32_t>(kinds == 0   ? 0
                                          : kinds == 1 ? random.between(1, 10)
                                          : kinds < 6  ? random.between(1, 40'000)
                                                       : random.between(40'000, 200'000));
  app.chunk_bytes = random.pick<uint32_t>({1'000, 5'000, 16'384});
  if (app.total_bytes < 5'000 && random.chance(0.3)) app.chunk_bytes = 1 + app.total_bytes / 200;
  app.read_bytes = random.pick<uint32_t>({700, 5'000, 65'536});
  app.read_pause_us = random.pick<Micros>({0, 0, 500, 20'000});
  if (random.chance(0.2)) {
    app.stall_at_us = random.below(2 * kSecond);
    app.stall_for_us = random.below(60 * kSecond);
  }
  app.write_pause_us = random.pick<Micros>({0, 0, 100, 30'000});
  if (random.chance(0.05)) {
    app.abort_after_bytes = static_cast<uint32_t>(random.between(1, 20'000));
  }
}

PairSettings settings_of(uint64_t seed) {
  Random random(seed * 7919 + 17);
  PairSettings settings;
  settings.seed = seed;
  for (uint32_t i = 0; i < 2; ++i) {
    choose_link(random, settings.link[i]);
    choose_config(random, settings.config[i]);
    choose_app(random, settings.app[i]);
    settings.nodes[i] = random.pick<uint32_t>({64, 512, 4096});
    settings.small_buffers[i] = random.chance(0.8);
  }
  settings.truesize_bytes = random.pick<uint32_t>({1, 2304, 2304, 4352});
  for (tcp::TcpConfig& config : settings.config) {  // a limit is some packet buffers at least
    config.receive_limit_bytes = std::max(config.receive_limit_bytes, 8 * settings.truesize_bytes);
  }
  settings.timestamps = random.chance(0.7);
  settings.sack = random.chance(0.7);
  settings.window_scale = random.chance(0.8);
  settings.simultaneous_open = random.chance(0.05);
  return settings;
}

bool aborts(const PairSettings& settings) {
  return settings.app[0].abort_after_bytes != 0 || settings.app[1].abort_after_bytes != 0;
}

std::string describe(const Outcome& outcome) {
  std::string text = outcome.problem + "; after " + std::to_string(outcome.duration_us) + " us";
  for (const SideOutcome& side : outcome.side) {
    text += std::string("; ") + to_string(side.state) + "/" + to_string(side.cause) + " sent " +
            std::to_string(side.sent_bytes) + " got " + std::to_string(side.received_bytes) +
            (side.peer_finished ? " FIN" : "");
  }
  return text;
}

uint64_t first_seed(uint64_t& count) {
  const char* many = std::getenv("SLUICE_SEEDS");
  if (many != nullptr) count = std::strtoull(many, nullptr, 10);
  const char* one = std::getenv("SLUICE_SEED");
  if (one == nullptr) return 1;
  count = 1;
  return std::strtoull(one, nullptr, 10);
}

TEST(TcpPair, ThousandSeeds) {
  uint64_t count = 1000;
  uint64_t incomplete = 0;
  const uint64_t first = first_seed(count);
  for (uint64_t seed = first; seed < first + count; ++seed) {
    const PairSettings settings = settings_of(seed);
    const Outcome outcome = run_pair(settings);
    ASSERT_TRUE(outcome.problem.empty()) << "seed " << seed << ": " << describe(outcome);
    if (outcome.complete || aborts(settings)) continue;
    ++incomplete;  // nobody aborted: heavy loss until the user timeout, or a cookie grown too old
  }
  EXPECT_LE(incomplete, count / 500 + 1) << "too many connections did not come through";
}

// Header fields change and nobody notices: right bytes as far as they go, an end, nothing kept.
TEST(TcpPair, MangledHeaders) {
  uint64_t count = 300;
  const uint64_t first = first_seed(count);
  for (uint64_t seed = first; seed < first + count; ++seed) {
    PairSettings settings = settings_of(seed);
    Random random(seed);
    for (LinkSettings& link : settings.link) link.mangle = random.pick({0.002, 0.02, 0.2});
    for (tcp::TcpConfig& config : settings.config) config.keepalive_idle_us = 60 * kSecond;
    const Outcome outcome = run_pair(settings);
    ASSERT_TRUE(outcome.problem.empty()) << "seed " << seed << ": " << describe(outcome);
  }
}

PairSettings bulk(uint32_t bytes) {
  PairSettings settings;
  settings.seed = 5;
  settings.app[0].total_bytes = bytes;
  for (LinkSettings& link : settings.link) link.delay_us = 5'000;
  return settings;
}

// On a clean path nothing is sent twice and the window is used.
TEST(TcpPair, CleanLinkIsFast) {
  PairSettings settings = bulk(20'000'000);
  settings.config[0].tso_bytes = 64'000;
  const Outcome outcome = run_pair(settings);
  ASSERT_TRUE(outcome.complete) << describe(outcome);
  EXPECT_EQ(outcome.side[0].retransmits, 0U);
  // 160 KiB of window in 10 ms is 16 MB/s; the last is TIME-WAIT's beginning.
  EXPECT_LT(outcome.duration_us, 2 * kSecond);
}

TEST(TcpPair, LossCostsSpeedOnly) {
  PairSettings settings = bulk(5'000'000);
  settings.link[0].loss = 0.005;
  const Outcome outcome = run_pair(settings);
  ASSERT_TRUE(outcome.complete) << describe(outcome);
  EXPECT_LT(outcome.duration_us, 20 * kSecond);
}

// The window closes again and again and nothing is lost by it.
TEST(TcpPair, SlowReaderHoldsOneWindowOnly) {
  PairSettings settings = bulk(1'000'000);
  settings.app[1].read_bytes = 1'000;
  settings.app[1].read_pause_us = 20'000;
  settings.config[1].receive_limit_bytes = 64'000;
  const Outcome outcome = run_pair(settings);
  ASSERT_TRUE(outcome.complete) << describe(outcome);
  EXPECT_EQ(outcome.side[0].retransmits, 0U);
}

TEST(TcpPair, OneByteWritesToASlowReader) {
  PairSettings settings = bulk(3'000);
  settings.app[0].chunk_bytes = 1;
  settings.app[0].write_pause_us = 100;
  settings.app[1].stall_at_us = 1;
  settings.app[1].stall_for_us = 5 * kSecond;
  settings.config[1].receive_limit_bytes = 16'000;
  const Outcome outcome = run_pair(settings);
  ASSERT_TRUE(outcome.complete) << describe(outcome);
}

TEST(TcpPair, SimultaneousOpenAndClose) {
  PairSettings settings = bulk(1'000);
  settings.app[1].total_bytes = 1'000;
  settings.simultaneous_open = true;
  const Outcome outcome = run_pair(settings);
  ASSERT_TRUE(outcome.complete) << describe(outcome);
  EXPECT_EQ(outcome.side[0].state, tcp::State::TimeWait);
  EXPECT_EQ(outcome.side[1].state, tcp::State::TimeWait);
}

TEST(TcpPair, AnAbortReachesThePeer) {
  PairSettings settings = bulk(100'000);
  settings.app[1].abort_after_bytes = 5'000;
  const Outcome outcome = run_pair(settings);
  EXPECT_TRUE(outcome.problem.empty()) << describe(outcome);
  EXPECT_EQ(outcome.side[0].cause, CloseCause::PeerReset);
  EXPECT_EQ(outcome.side[1].cause, CloseCause::LocalAbort);
}

TEST(TcpPair, ADeadLinkEndsInATimeout) {
  PairSettings settings = bulk(100'000);
  settings.link[1].loss = 1;
  const Outcome outcome = run_pair(settings);
  EXPECT_TRUE(outcome.problem.empty()) << describe(outcome);
  EXPECT_EQ(outcome.side[0].cause, CloseCause::Timeout);
  EXPECT_EQ(outcome.duration_us, settings.config[0].connect_timeout_us);
}

}  // namespace
}  // namespace sluice::testbed
