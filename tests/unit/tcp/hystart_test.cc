// Rounds of a window each, with a round trip that the test chooses: what RFC 9406 4.2 says of them.
#include "tcp/hystart.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace sluice::tcp {
namespace {

constexpr uint32_t kMss = 1000;

class HyStartTest : public testing::Test {
 protected:
  HyStartTest() { begin_congestion(congestion_, kMss); }

  void ack(uint32_t bytes, uint32_t rtt_us, bool limited = true) {
    una_ += bytes;
    AckSample sample{bytes, congestion_.cwnd_bytes, kMss, rtt_us, 0};
    sample.rtt_us = rtt_us;
    sample.ack = una_;
    sample.snd_nxt = nxt_;
    sample.cwnd_limited = limited;
    rest_ = slow_start_on_ack(congestion_, hystart_, sample);
  }
  // Two segments are acknowledged at a time, and new text leaves with each ACK.
  void ack_two(uint32_t rtt_us) {
    ack(2 * kMss, rtt_us);
    nxt_ = una_ + congestion_.cwnd_bytes;
  }
  // What is in flight.
  void flight(uint32_t rtt_us) {
    for (const uint32_t end = nxt_; una_ != end;) ack_two(rtt_us);
  }
  // Until HyStart++ has seen a round, which begins with the first ACK.
  void round(uint32_t rtt_us) {
    if (!hystart_.round_begun) ack_two(rtt_us);
    const uint32_t end = hystart_.window_end;
    while (hystart_.window_end == end && congestion_.slow_start()) ack_two(rtt_us);
  }
  void send() { nxt_ = una_ + congestion_.cwnd_bytes; }

  Congestion congestion_;
  HyStart hystart_;
  uint32_t una_ = 0xffff'0000;  // the numbers wrap in the test
  uint32_t nxt_ = 0xffff'0000;
  uint32_t rest_ = 0;
};

TEST_F(HyStartTest, DoublesARoundTripWhileItStaysShort) {
  send();
  uint32_t expected = 10 * kMss;
  for (int i = 0; i < 8; ++i) {
    flight(20'000 + i * 300);  // below max(4 ms, RTT / 8) a round
    expected *= 2;
    EXPECT_EQ(congestion_.cwnd_bytes, expected);
  }
  EXPECT_FALSE(hystart_.css);
  EXPECT_TRUE(congestion_.slow_start());
}

TEST_F(HyStartTest, OneAckCountsForEightSegments) {
  send();
  ack(64 * kMss, 0);
  EXPECT_EQ(congestion_.cwnd_bytes, 18 * kMss);
  AckSample paced{64 * kMss, 0, kMss, 0, 0};
  paced.paced = true;
  slow_start_on_ack(congestion_, hystart_, paced);
  EXPECT_EQ(congestion_.cwnd_bytes, 82 * kMss);
}

// RttThresh = clamp(lastRoundMinRTT / 8, 4 ms, 16 ms).
TEST_F(HyStartTest, Threshold) {
  const struct {
    uint32_t before_us, after_us;
    bool css;
  } rows[] = {
      {1'000, 4'999, false},     {1'000, 5'000, true},     {20'000, 23'999, false},
      {20'000, 24'000, true},    {80'000, 89'999, false},  {80'000, 90'000, true},
      {400'000, 415'999, false}, {400'000, 416'000, true},
  };
  for (const auto& row : rows) {
    begin_congestion(congestion_, kMss);
    hystart_ = HyStart{};
    congestion_.cwnd_bytes = 40 * kMss;
    send();
    round(row.before_us);
    round(row.before_us);
    EXPECT_FALSE(hystart_.css);
    round(row.after_us);
    EXPECT_EQ(hystart_.css, row.css) << row.before_us << " -> " << row.after_us;
  }
}

TEST_F(HyStartTest, EightSamplesAreNeeded) {
  congestion_.cwnd_bytes = 40 * kMss;
  send();
  round(20'000);
  round(20'000);
  for (int i = 0; i < 7; ++i) ack(2 * kMss, 40'000);
  EXPECT_FALSE(hystart_.css);
  ack(2 * kMss, 0);  // an ACK without a sample does not count
  EXPECT_FALSE(hystart_.css);
  ack(2 * kMss, 40'000);
  EXPECT_TRUE(hystart_.css);
}

TEST_F(HyStartTest, OneShortRoundTripInTheRoundIsEnough) {
  congestion_.cwnd_bytes = 40 * kMss;
  send();
  round(20'000);
  round(20'000);
  const uint32_t end = nxt_;
  ack(2 * kMss, 20'500);
  while (una_ != end) ack_two(60'000);
  EXPECT_FALSE(hystart_.css);
}

TEST_F(HyStartTest, ConservativeSlowStartEndsAfterFiveRounds) {
  congestion_.cwnd_bytes = 40 * kMss;
  send();
  round(20'000);
  round(20'000);
  round(40'000);  // CSS begins in it; the rest of this round counts as the first
  EXPECT_TRUE(hystart_.css);
  EXPECT_EQ(hystart_.css_baseline_min_rtt_us, 40'000U);
  for (int i = 0; i < 3; ++i) {
    const uint32_t before = congestion_.cwnd_bytes;
    round(41'000);
    EXPECT_TRUE(congestion_.slow_start());
    EXPECT_NEAR(congestion_.cwnd_bytes, before * 1.25, 10 * kMss);
  }
  round(41'000);
  EXPECT_FALSE(congestion_.slow_start());
  EXPECT_EQ(congestion_.ssthresh_bytes, congestion_.cwnd_bytes);
}

TEST_F(HyStartTest, SlowStartResumesWhenTheRoundTripFalls) {
  congestion_.cwnd_bytes = 40 * kMss;
  send();
  round(20'000);
  round(20'000);
  round(40'000);
  round(41'000);
  EXPECT_TRUE(hystart_.css);
  round(39'999);
  EXPECT_FALSE(hystart_.css);
  const uint32_t before = congestion_.cwnd_bytes;
  ack_two(40'000);
  EXPECT_EQ(congestion_.cwnd_bytes, before + 2 * kMss);
  EXPECT_TRUE(congestion_.slow_start());
}

TEST_F(HyStartTest, LaterSlowStartsAreStandardAndEndAtSsthresh) {
  congestion_.cwnd_bytes = 40 * kMss;
  congestion_.ssthresh_bytes = 1000 * kMss;
  send();
  flight(20'000);
  flight(20'000);
  EXPECT_EQ(congestion_.cwnd_bytes, 160 * kMss);
  flight(60'000);
  flight(60'000);
  EXPECT_FALSE(hystart_.css);
  EXPECT_EQ(congestion_.cwnd_bytes, 640 * kMss);
  congestion_.ssthresh_bytes = congestion_.cwnd_bytes + kMss / 2;
  ack(2 * kMss, 60'000);
  EXPECT_EQ(congestion_.cwnd_bytes, congestion_.ssthresh_bytes);
  EXPECT_EQ(rest_, 2 * kMss - kMss / 2);
}

TEST_F(HyStartTest, AWindowThatIsNotUsedStays) {
  send();
  ack(4 * kMss, 20'000, false);
  EXPECT_EQ(congestion_.cwnd_bytes, 10 * kMss);
}

}  // namespace
}  // namespace sluice::tcp
