#include "link.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "frame.h"

namespace sluice::impair {
namespace {

constexpr Nanos kMilli = 1'000'000;
constexpr Nanos kMicro = 1'000;

// An IPv4 frame that carries its number in its last bytes.
std::vector<uint8_t> numbered(uint32_t number, size_t bytes = 100, uint8_t tos = 0) {
  std::vector<uint8_t> frame(bytes, 0);
  frame[12] = 0x08;
  frame[14] = 0x45;
  frame[15] = tos;
  for (unsigned i = 0; i < 4; ++i) frame[bytes - 4 + i] = static_cast<uint8_t>(number >> 8 * i);
  return frame;
}

uint32_t number_of(std::span<const uint8_t> frame) {
  uint32_t number = 0;
  for (unsigned i = 0; i < 4; ++i) number |= uint32_t{frame[frame.size() - 4 + i]} << 8 * i;
  return number;
}

struct Arrival {
  Nanos at;
  std::vector<uint8_t> frame;
  bool operator==(const Arrival&) const = default;
};

LinkSettings settings_of(const std::string& text) {
  const auto spec = parse_spec(text);
  EXPECT_TRUE(spec) << spec.error();
  return spec ? spec->up : LinkSettings();
}

std::vector<Arrival> drain(Link& link) {
  std::vector<Arrival> arrivals;
  while (link.next_at() != kNever) {
    arrivals.push_back({link.next_at(), {link.front().begin(), link.front().end()}});
    link.take();
  }
  return arrivals;
}

// `count` frames, one every `gap`, taken when all have been put.
std::vector<Arrival> pass(Link& link, uint32_t count, Nanos gap, size_t bytes = 100) {
  for (uint32_t i = 0; i < count; ++i) link.put(numbered(i, bytes), i * gap);
  return drain(link);
}

TEST(Link, TheSecondPortsSideIsTagged) {
  Link up(settings_of("vlan=7"), kUp), down(settings_of("vlan=7"), kDown);
  up.put(numbered(1), 0);
  const auto tagged = drain(up);
  ASSERT_EQ(tagged.size(), 1U);
  EXPECT_EQ(tagged[0].frame.size(), 104U);
  down.put(tagged[0].frame, 0);
  down.put(numbered(2), 0);
  const auto untagged = drain(down);
  ASSERT_EQ(untagged.size(), 1U);
  EXPECT_EQ(untagged[0].frame, numbered(1));
  EXPECT_EQ(down.counters().foreign, 1U);
}

TEST(Link, AWireChangesNothing) {
  Link link(settings_of("none"), 0);
  const auto arrivals = pass(link, 1'000, kMicro);
  ASSERT_EQ(arrivals.size(), 1'000U);
  for (uint32_t i = 0; i < 1'000; ++i) EXPECT_EQ(arrivals[i], (Arrival{i * kMicro, numbered(i)}));
}

TEST(Link, DelayAndJitterKeepTheOrder) {
  Link link(settings_of("delay=10ms,jitter=2ms"), 0);
  const auto arrivals = pass(link, 50'000, 100 * kMicro);
  ASSERT_EQ(arrivals.size(), 50'000U);
  Nanos least = kNever;
  Nanos most = 0;
  Nanos sum = 0;
  for (uint32_t i = 0; i < arrivals.size(); ++i) {
    ASSERT_EQ(number_of(arrivals[i].frame), i);
    const Nanos took = arrivals[i].at - i * 100 * kMicro;
    least = std::min(least, took);
    most = std::max(most, took);
    sum += took;
  }
  EXPECT_GE(least, 10 * kMilli);
  EXPECT_LT(least, 10'100 * kMicro);
  EXPECT_LE(most, 12 * kMilli);
  EXPECT_GT(most, 11'900 * kMicro);
  EXPECT_NEAR(static_cast<double>(sum) / 50'000, 11.05 * kMilli, 0.15 * kMilli);
}

TEST(Link, LossIsIndependentAndAsFrequentAsAsked) {
  Link link(settings_of("loss=1%"), 0);
  const auto arrivals = pass(link, 60'000, kMicro);
  const LinkCounters& counters = link.counters();
  EXPECT_EQ(counters.lost + arrivals.size(), 60'000U);
  EXPECT_NEAR(static_cast<double>(counters.lost), 600, 100);  // four standard deviations
  EXPECT_EQ(counters.lost_in_burst, 0U);
}

TEST(Link, BurstsAreAsLongAndAsFrequentAsAsked) {
  Link link(settings_of("burst=1%/25%"), 0);
  const auto arrivals = pass(link, 60'000, kMicro);
  uint32_t bursts = 0;
  uint32_t next = 0;
  for (const Arrival& arrival : arrivals) {
    const uint32_t number = number_of(arrival.frame);
    if (number != next) ++bursts;
    next = number + 1;
  }
  const auto lost = static_cast<double>(link.counters().lost);
  EXPECT_EQ(link.counters().lost, link.counters().lost_in_burst);
  EXPECT_NEAR(lost / bursts, 4, 0.8);            // 1 / 25 %
  EXPECT_NEAR(lost, 60'000 * 0.01 / 0.26, 300);  // the share of time spent in bursts
}

TEST(Link, WhatIsReorderedComesLater) {
  Link link(settings_of("delay=1ms,reorder=2%/5ms"), 0);
  const auto arrivals = pass(link, 50'000, 100 * kMicro);
  ASSERT_EQ(arrivals.size(), 50'000U);
  uint64_t late = 0;
  for (const Arrival& arrival : arrivals) {
    const Nanos took = arrival.at - number_of(arrival.frame) * 100 * kMicro;
    if (took == 6 * kMilli) {
      ++late;
    } else {
      ASSERT_EQ(took, kMilli);
    }
  }
  EXPECT_EQ(late, link.counters().reordered);
  EXPECT_NEAR(static_cast<double>(late), 1'000, 125);
}

TEST(Link, DuplicatesAreEqual) {
  Link link(settings_of("duplicate=10%"), 0);
  const auto arrivals = pass(link, 10'000, kMicro);
  EXPECT_EQ(arrivals.size(), 10'000U + link.counters().duplicated);
  EXPECT_NEAR(static_cast<double>(link.counters().duplicated), 1'000, 120);
  uint32_t last = UINT32_MAX;
  for (const Arrival& arrival : arrivals) {
    const uint32_t number = number_of(arrival.frame);
    EXPECT_TRUE(number == last || number == last + 1);
    EXPECT_EQ(arrival.frame, numbered(number));
    last = number;
  }
}

TEST(Link, ACorruptedFrameDiffersInOneBit) {
  Link link(settings_of("corrupt=5%"), 0);
  for (uint32_t i = 0; i < 10'000; ++i) link.put(numbered(0), i);
  const auto clean = numbered(0);
  uint64_t damaged = 0;
  for (const Arrival& arrival : drain(link)) {
    int bits = 0;
    for (size_t i = 0; i < clean.size(); ++i) {
      bits += __builtin_popcount(static_cast<unsigned>(arrival.frame[i] ^ clean[i]));
    }
    ASSERT_LE(bits, 1);
    damaged += static_cast<uint64_t>(bits);
  }
  EXPECT_EQ(damaged, link.counters().corrupted);
  EXPECT_NEAR(static_cast<double>(damaged), 500, 90);
}

TEST(Link, TheRateSpacesFrames) {
  Link link(settings_of("rate=8mbit,queue=10m,delay=1ms"), 0);  // a byte a microsecond
  const auto arrivals = pass(link, 100, 0, 1'000);
  ASSERT_EQ(arrivals.size(), 100U);
  for (uint32_t i = 0; i < 100; ++i) {
    EXPECT_EQ(arrivals[i].at, (i + 1) * kMilli + kMilli);
    EXPECT_EQ(number_of(arrivals[i].frame), i);
  }
  EXPECT_EQ(link.counters().queue_peak_bytes, 100'000U);
}

TEST(Link, TheQueueDropsItsTail) {
  Link link(settings_of("rate=8mbit,queue=4k"), 0);
  for (uint32_t i = 0; i < 10; ++i) link.put(numbered(i, 1'000), 0);
  // Four fit; two milliseconds later two have left.
  EXPECT_EQ(link.counters().queue_dropped, 6U);
  for (uint32_t i = 10; i < 14; ++i) link.put(numbered(i, 1'000), 2 * kMilli);
  EXPECT_EQ(link.counters().queue_dropped, 8U);
  std::vector<uint32_t> numbers;
  for (const Arrival& arrival : drain(link)) numbers.push_back(number_of(arrival.frame));
  EXPECT_EQ(numbers, (std::vector<uint32_t>{0, 1, 2, 3, 10, 11}));
}

TEST(Link, AnIdleTransmitterTakesAnyFrame) {
  Link link(settings_of("rate=8mbit,queue=100"), 0);
  const auto arrivals = pass(link, 10, kMilli, 1'000);
  EXPECT_EQ(arrivals.size(), 10U);
}

TEST(Link, AboveTheThresholdEctBecomesCe) {
  Link link(settings_of("rate=8mbit,queue=100k,mark=5000"), 0);
  for (uint32_t i = 0; i < 20; ++i) {
    link.put(numbered(i, 1'000, i % 2 == 0 ? 2 : 0), 0);  // ECT(0) and not ECN-capable in turn
  }
  for (const Arrival& arrival : drain(link)) {
    const uint32_t number = number_of(arrival.frame);
    EXPECT_EQ(arrival.frame[15] & 3, number % 2 != 0 ? 0 : number >= 5 ? 3 : 2) << number;
  }
  EXPECT_EQ(link.counters().marked, 7U);
}

const char* const kEverything =
    "delay=3ms,jitter=1ms,loss=2%,burst=0.5%/20%,reorder=3%/2ms,duplicate=1%,corrupt=1%,"
    "rate=100mbit,queue=64k,seed=7";

TEST(Link, TheSameSeedDecidesTheSame) {
  Link first(settings_of(kEverything), 0);
  Link second(settings_of(kEverything), 0);
  const auto arrivals = pass(first, 20'000, 20 * kMicro);
  EXPECT_EQ(arrivals, pass(second, 20'000, 20 * kMicro));

  Link other_direction(settings_of(kEverything), 1);
  EXPECT_NE(arrivals, pass(other_direction, 20'000, 20 * kMicro));
  LinkSettings other_seed = settings_of(kEverything);
  other_seed.seed = 8;
  Link seeded(other_seed, 0);
  EXPECT_NE(arrivals, pass(seeded, 20'000, 20 * kMicro));
}

std::vector<uint32_t> lost_of(const std::string& text, Nanos gap) {
  Link link(settings_of(text), 0);
  std::vector<bool> there(5'000);
  for (const Arrival& arrival : pass(link, 5'000, gap)) there[number_of(arrival.frame)] = true;
  std::vector<uint32_t> lost;
  for (uint32_t i = 0; i < there.size(); ++i) {
    if (!there[i]) lost.push_back(i);
  }
  return lost;
}

// A frame's fate is a matter of its number: neither the time nor other settings change it.
TEST(Link, WhichFramesAreLostDependsOnTheirNumberAlone) {
  const auto lost = lost_of("loss=3%,seed=5", kMicro);
  EXPECT_GT(lost.size(), 50U);
  EXPECT_EQ(lost, lost_of("loss=3%,seed=5", kMilli));
  EXPECT_EQ(lost, lost_of("loss=3%,seed=5,delay=9ms,jitter=5ms,duplicate=5%", kMicro));
}

TEST(Link, AChangeBeginsAgainAndSparesWhatIsOnItsWay) {
  Link link(settings_of("delay=10ms"), 0);
  link.put(numbered(1), 0);
  link.change(settings_of("delay=1ms"));
  link.put(numbered(2), kMilli);
  link.put(numbered(3), 20 * kMilli);
  const auto arrivals = drain(link);
  ASSERT_EQ(arrivals.size(), 3U);
  EXPECT_EQ(arrivals[0], (Arrival{10 * kMilli, numbered(1)}));
  EXPECT_EQ(arrivals[1], (Arrival{10 * kMilli, numbered(2)}));  // no change lets frames overtake
  EXPECT_EQ(arrivals[2], (Arrival{21 * kMilli, numbered(3)}));
}

TEST(Link, WhatIsOnItsWayIsBounded) {
  Link link(settings_of("delay=10s,duplicate=100%"), 0);
  for (uint32_t i = 0; i < kMaxFrames; ++i) link.put(numbered(i, 20), 0);
  EXPECT_EQ(link.on_their_way(), kMaxFrames);
  EXPECT_EQ(link.counters().crowded, kMaxFrames / 2);
  EXPECT_EQ(drain(link).size(), kMaxFrames);
  EXPECT_EQ(link.counters().frames_out, kMaxFrames);
  link.put(numbered(0, 20), kMilli);
  EXPECT_EQ(link.on_their_way(), 2U);
}

}  // namespace
}  // namespace sluice::impair
