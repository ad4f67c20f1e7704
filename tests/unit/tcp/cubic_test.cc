// CUBIC against RFC 9438's formulas in floating point, written down here a second time, and
// against the averages that its section 5 publishes.
#include "tcp/cubic.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tcp/congestion.h"

namespace sluice::tcp {
namespace {

constexpr uint32_t kMss = 1448;
constexpr double kC = 0.4;
constexpr double kBeta = 0.7;

double k_seconds(double w_max, double cwnd_epoch) { return std::cbrt((w_max - cwnd_epoch) / kC); }
double w_cubic(double t, double k, double w_max) { return kC * std::pow(t - k, 3) + w_max; }

uint32_t segments(double count, uint32_t mss = kMss) {
  return static_cast<uint32_t>(std::lround(count * mss));
}

TEST(CubicArithmetic, CubeRootIsExact) {
  for (uint64_t root = 0; root <= 2'642'245; root += 1 + root / 50) {
    const uint64_t cube = root * root * root;
    EXPECT_EQ(cube_root(cube), root);
    if (root != 0) {
      EXPECT_EQ(cube_root(cube - 1), root - 1);
    }
    EXPECT_EQ(cube_root(cube + 1), root == 0 ? 1 : root);
  }
  EXPECT_EQ(cube_root(UINT64_MAX), 2'642'245U);
}

TEST(CubicArithmetic, KOfDistances) {
  for (const uint32_t mss : {216U, 536U, 1448U, 8948U, 65'483U}) {
    for (uint64_t distance = 1; distance <= kMaxWindowBytes; distance = distance * 3 / 2 + 1) {
      const double expected = 1000 * k_seconds(static_cast<double>(distance) / mss, 0);
      EXPECT_NEAR(cubic_k_ms(static_cast<uint32_t>(distance), mss), expected,
                  1.0 + 1e-9 * expected);
    }
  }
}

TEST(CubicArithmetic, DistanceOfTimes) {
  for (const uint32_t mss : {216U, 1448U, 65'535U}) {
    for (int64_t ms = 1; ms <= 400'000; ms = ms * 5 / 4 + 1) {
      const double seconds = static_cast<double>(ms) / 1000;
      const double expected = kC * seconds * seconds * seconds * mss;
      EXPECT_NEAR(static_cast<double>(cubic_distance_bytes(ms, mss)), expected,
                  1 + mss * 1e-3 + expected * 1e-3);
      EXPECT_EQ(cubic_distance_bytes(-ms, mss), -cubic_distance_bytes(ms, mss));
    }
    EXPECT_GT(cubic_distance_bytes(INT64_MAX, mss), 4LL * kMaxWindowBytes);  // no overflow
    EXPECT_LT(cubic_distance_bytes(INT64_MIN / 2, mss), -4LL * kMaxWindowBytes);
  }
}

// A sender whose window is always full, with an ACK for every second segment.
class Sender {
 public:
  Sender(const CongestionOps& ops, double rtt_seconds, uint32_t mss = kMss)
      : ops_(ops), rtt_us_(rtt_seconds * 1e6), mss_(mss) {
    ops.begin(congestion, mss);
  }
  void round_trip(bool limited = true) {
    const double begun_us = now_us_;
    const uint32_t window = congestion.cwnd_bytes;
    for (uint32_t acked = 0; acked < window;) {
      const uint32_t bytes = std::min(2 * mss_, window - acked);
      acked += bytes;
      now_us_ = begun_us + rtt_us_ * acked / window;
      una_ += bytes;
      AckSample sample{bytes, window, mss_, static_cast<uint32_t>(rtt_us_), now()};
      sample.ack = una_;
      sample.snd_nxt = una_ + congestion.cwnd_bytes;
      sample.cwnd_limited = limited;
      ops_.on_ack(congestion, flight, sample);
      delivered_ += bytes;
    }
    ++round_trips_;
  }
  void lose() {
    ops_.on_loss(congestion, flight, congestion.cwnd_bytes, mss_, now());
    congestion.cwnd_bytes = congestion.ssthresh_bytes;
  }
  void wait(double seconds) { now_us_ += seconds * 1e6; }
  double seconds() const { return now_us_ / 1e6; }
  double window() const { return static_cast<double>(congestion.cwnd_bytes) / mss_; }
  // One segment of `1 / loss` is lost, evenly. In segments, over `losses` of them.
  double average_window(double loss, int losses) {
    const auto between = static_cast<uint64_t>(mss_ / loss);
    uint64_t next = between;
    for (int i = 0; i < 2 * losses; ++i) {
      if (i == losses) delivered_ = next = round_trips_ = 0;
      next += between;
      while (delivered_ < next) round_trip();
      lose();
    }
    return static_cast<double>(delivered_) / mss_ / static_cast<double>(round_trips_);
  }

  Congestion congestion;
  CongestionFlight flight;

 private:
  Micros now() const { return static_cast<Micros>(now_us_); }

  const CongestionOps& ops_;
  const double rtt_us_;
  const uint32_t mss_;
  double now_us_ = 5e6;
  uint32_t una_ = 7;
  uint64_t delivered_ = 0;
  uint64_t round_trips_ = 0;
};

// Concave up to W_max, the plateau at K, convex beyond it.
TEST(Cubic, FollowsTheCurveAfterALoss) {
  for (const uint32_t mss : {536U, 1448U, 8948U}) {
    for (const double w_max : {400.0, 2'000.0, 8'000.0}) {
      Sender sender(kCubic, 0.1, mss);
      sender.congestion.cwnd_bytes = segments(w_max, mss);
      sender.lose();
      EXPECT_EQ(sender.congestion.w_max_bytes, segments(w_max, mss));
      EXPECT_NEAR(sender.window(), kBeta * w_max, 1);
      const double begun = sender.seconds();
      const double k = k_seconds(w_max, kBeta * w_max);
      while (sender.seconds() < begun + 1.6 * k) {
        sender.round_trip();
        const double t = sender.seconds() - begun;
        // The target is the curve one round trip later, and an ACK brings a cwnd-th of the way.
        EXPECT_GT(sender.window(), w_cubic(t - 0.1, k, w_max) * 0.99 - 1) << w_max << " at " << t;
        EXPECT_LT(sender.window(), w_cubic(t + 0.1, k, w_max) * 1.01 + 1) << w_max << " at " << t;
      }
      EXPECT_NEAR(sender.flight.cubic.k_ms, 1000 * k, 2);
    }
  }
}

// RFC 9438 4.3: where the round trip is short, what Reno would get on average.
TEST(Cubic, RenoFriendlyRegion) {
  Sender sender(kCubic, 0.005);
  sender.congestion.cwnd_bytes = segments(100);
  sender.lose();
  constexpr double kAlpha = 3 * (1 - kBeta) / (1 + kBeta);
  double w_est = 70;
  for (int i = 0; i < 120; ++i) {
    const double cwnd = sender.window();
    sender.round_trip();
    w_est += w_est >= 100 ? 1 : kAlpha * std::min(1.0, 1.01 * w_est / cwnd);
    EXPECT_NEAR(sender.window(), w_est, 1.0) << "round trip " << i;
  }
  EXPECT_GT(sender.window(), 150);
}

// A target is never above 1.5 cwnd, wherever the curve is.
TEST(Cubic, GrowsByHalfARoundTripAtMost) {
  Sender sender(kCubic, 0.2);
  sender.congestion.cwnd_bytes = segments(10);
  sender.lose();
  sender.congestion.w_max_bytes = segments(100'000);
  for (int i = 0; i < 20; ++i) {
    const double before = sender.window();
    sender.round_trip();
    EXPECT_LE(sender.window(), before * 1.5 * 1.1 + 1);  // compound within the round trip
    EXPECT_GE(sender.window(), before);
  }
}

TEST(Cubic, FastConvergence) {
  Congestion congestion;
  CongestionFlight flight;
  kCubic.begin(congestion, kMss);
  congestion.cwnd_bytes = segments(100);
  kCubic.on_loss(congestion, flight, segments(100), kMss, 0);
  EXPECT_EQ(congestion.w_max_bytes, segments(100));
  EXPECT_EQ(congestion.ssthresh_bytes, segments(70));
  congestion.cwnd_bytes = segments(80);
  kCubic.on_loss(congestion, flight, segments(80), kMss, 0);  // lower than before
  EXPECT_EQ(congestion.w_max_bytes, segments(68));
  EXPECT_EQ(congestion.ssthresh_bytes, segments(56));
  congestion.cwnd_bytes = segments(70);
  kCubic.on_loss(congestion, flight, segments(70), kMss, 0);
  EXPECT_EQ(congestion.w_max_bytes, segments(70));
  congestion.cwnd_bytes = segments(90);
  kCubic.on_loss(congestion, flight, segments(40), kMss, 0);  // not used: has not been tried
  EXPECT_EQ(congestion.w_max_bytes, segments(34));
  EXPECT_EQ(congestion.ssthresh_bytes, segments(28));
  congestion.cwnd_bytes = kMss;
  kCubic.on_loss(congestion, flight, kMss, kMss, 0);
  EXPECT_EQ(congestion.ssthresh_bytes, 2 * kMss);
}

// RFC 9438 4.8: the window at which congestion avoidance begins is the plateau, K is 0.
TEST(Cubic, Timeout) {
  Sender sender(kCubic, 0.1);
  sender.congestion.cwnd_bytes = segments(1'000);
  kCubic.on_timeout(sender.congestion, sender.flight, segments(1'000), kMss, true, 0);
  EXPECT_EQ(sender.congestion.cwnd_bytes, kMss);
  EXPECT_EQ(sender.congestion.ssthresh_bytes, segments(700));
  kCubic.on_timeout(sender.congestion, sender.flight, kMss, kMss, false, 0);
  EXPECT_EQ(sender.congestion.ssthresh_bytes, segments(700));
  while (sender.congestion.slow_start()) sender.round_trip();
  EXPECT_EQ(sender.flight.cubic.k_ms, 0U);
  EXPECT_EQ(sender.flight.cubic.cwnd_epoch_bytes, segments(700));
  const double begun = sender.seconds();
  while (sender.seconds() < begun + 8) sender.round_trip();
  EXPECT_NEAR(sender.window(), w_cubic(8, 0, 700), 10);
}

// RFC 9438 4.10: HyStart++ ends slow start without a loss.
TEST(Cubic, PlateauWhereSlowStartEnds) {
  Congestion congestion;
  CongestionFlight flight;
  kCubic.begin(congestion, kMss);
  congestion.cwnd_bytes = segments(500);
  flight.hystart.round_begun = flight.hystart.css = true;
  flight.hystart.css_rounds = 4;
  AckSample sample{2 * kMss, segments(500), kMss, 100'000, 1'000'000};
  kCubic.on_ack(congestion, flight, sample);
  EXPECT_FALSE(congestion.slow_start());
  EXPECT_EQ(congestion.w_max_bytes, congestion.cwnd_bytes);
  EXPECT_EQ(flight.cubic.k_ms, 0U);
}

// RFC 9438 5.8: the time in which something else is the limit does not count.
TEST(Cubic, ApplicationLimitedTimeIsLeftOut) {
  Sender sender(kCubic, 0.1);
  Sender steady(kCubic, 0.1);
  for (Sender* each : {&sender, &steady}) {
    each->congestion.cwnd_bytes = segments(1'000);
    each->lose();
    for (int i = 0; i < 20; ++i) each->round_trip();
  }
  const double before = sender.window();
  for (int i = 0; i < 100; ++i) sender.round_trip(false);
  EXPECT_EQ(sender.window(), before);
  for (int i = 0; i < 100; ++i) {
    sender.round_trip();
    steady.round_trip();
  }
  EXPECT_NEAR(sender.window(), steady.window(), 1);
}

// A fresh CongestionFlight, as after silence: the epoch begins anew below the same plateau.
TEST(Cubic, BeginsAnewAfterIdle) {
  Sender sender(kCubic, 0.1);
  sender.congestion.cwnd_bytes = segments(1'000);
  sender.lose();
  for (int i = 0; i < 20; ++i) sender.round_trip();
  sender.flight = CongestionFlight{};
  kCubic.on_idle(sender.congestion, kMss);
  sender.wait(100);
  while (sender.congestion.slow_start()) sender.round_trip();
  sender.round_trip();
  const double epoch = static_cast<double>(sender.flight.cubic.cwnd_epoch_bytes) / kMss;
  EXPECT_GE(epoch, 699);
  EXPECT_NEAR(sender.flight.cubic.k_ms, 1000 * k_seconds(1'000, epoch), 2);
  const double begun = sender.seconds();
  while (sender.seconds() < begun + 4) sender.round_trip();
  EXPECT_LT(sender.window(), 1'001);
}

// RFC 9438 5.1, tables 1 and 2 (C = 0.4; 12 is written where the formula gives less than a dozen).
TEST(Cubic, AverageWindowsOfTheRfc) {
  const struct {
    double rtt_seconds, loss, window;
  } rows[] = {
      {0.1, 1e-2, 12},    {0.1, 1e-3, 38},     {0.1, 1e-4, 187}, {0.1, 1e-5, 1'054},
      {0.1, 1e-6, 5'926}, {0.01, 1e-2, 12},    {0.01, 1e-3, 38}, {0.01, 1e-4, 120},
      {0.01, 1e-5, 379},  {0.01, 1e-6, 1'200},
  };
  for (const auto& row : rows) {
    Sender sender(kCubic, row.rtt_seconds);
    sender.congestion.cwnd_bytes = sender.congestion.ssthresh_bytes = segments(row.window);
    const double window = sender.average_window(row.loss, row.loss < 1e-5 ? 6 : 30);
    EXPECT_NEAR(window, row.window, 0.15 * row.window)
        << "RTT " << row.rtt_seconds << ", loss " << row.loss;
  }
}

// No overflow, no standstill: up to the largest window, and for hours in one epoch.
TEST(Cubic, LargestWindows) {
  for (const uint32_t mss : {216U, 1448U, 65'483U}) {
    Congestion congestion;
    CongestionFlight flight;
    kCubic.begin(congestion, mss);
    congestion.cwnd_bytes = kMaxWindowBytes;
    kCubic.on_loss(congestion, flight, kMaxWindowBytes, mss, 0);
    congestion.cwnd_bytes = congestion.ssthresh_bytes;
    EXPECT_NEAR(congestion.cwnd_bytes, 0.7 * kMaxWindowBytes, 1);
    uint32_t before = congestion.cwnd_bytes;
    Micros now = 1;
    for (int i = 0; i < 200'000; ++i) {
      now += 100'000;  // 2,000 s by and by
      kCubic.on_ack(congestion, flight, {60'000'000, 0, mss, 100'000'000, now});
      ASSERT_GE(congestion.cwnd_bytes, before);
      before = congestion.cwnd_bytes;
    }
    EXPECT_EQ(congestion.cwnd_bytes, kMaxWindowBytes);
  }
}

TEST(Cubic, SmallAcksOfLargeWindowsAddUp) {
  Sender sender(kCubic, 0.0001);  // Reno-friendly: less than a byte for an ACK
  sender.congestion.cwnd_bytes = 64U << 20;
  sender.lose();
  const double before = sender.window();
  for (int i = 0; i < 10; ++i) sender.round_trip();
  EXPECT_NEAR(sender.window() - before, 10 * 9.0 / 17, 0.1);
}

}  // namespace
}  // namespace sluice::tcp
