#include "tcp/congestion.h"

#include <gtest/gtest.h>

namespace sluice::tcp {
namespace {

constexpr uint32_t kMss = 1000;

Congestion begun() {
  Congestion congestion;
  kNewReno.begin(congestion, kMss);
  return congestion;
}

AckSample acked(const Congestion& congestion, uint32_t bytes) {
  return {bytes, congestion.cwnd_bytes, kMss, 10'000, 0};
}

TEST(Congestion, InitialWindow) {  // RFC 6928 2
  EXPECT_EQ(initial_window_bytes(1448), 14480U);
  EXPECT_EQ(initial_window_bytes(1460), 14600U);
  EXPECT_EQ(initial_window_bytes(536), 5360U);
  EXPECT_EQ(initial_window_bytes(8948), 17896U);
}

TEST(Congestion, IdleRestartsAndRemembers) {  // RFC 5681 4.1, RFC 7661 4.4.3
  for (const CongestionOps* ops : {&kNewReno, &kCubic}) {
    Congestion congestion = begun();
    congestion.cwnd_bytes = 100 * kMss;
    ops->on_idle(congestion, kMss);
    EXPECT_EQ(congestion.cwnd_bytes, 10 * kMss) << ops->name;
    EXPECT_EQ(congestion.ssthresh_bytes, UINT32_MAX) << ops->name;
    congestion.cwnd_bytes = 100 * kMss;
    congestion.ssthresh_bytes = 40 * kMss;
    ops->on_idle(congestion, kMss);
    EXPECT_EQ(congestion.cwnd_bytes, 10 * kMss) << ops->name;
    EXPECT_EQ(congestion.ssthresh_bytes, 75 * kMss) << ops->name;
    congestion.cwnd_bytes = 3 * kMss;
    ops->on_idle(congestion, kMss);
    EXPECT_EQ(congestion.cwnd_bytes, 3 * kMss) << ops->name;
    EXPECT_EQ(congestion.ssthresh_bytes, 75 * kMss) << ops->name;
  }
}

// What a reduction changes lies in the two structs.
TEST(Congestion, CopiesUndoAReduction) {
  for (const CongestionOps* ops : {&kNewReno, &kCubic}) {
    for (const bool timeout : {false, true}) {
      Congestion straight = begun();
      straight.ssthresh_bytes = straight.cwnd_bytes = 50 * kMss;
      straight.w_max_bytes = 80 * kMss;
      CongestionFlight straight_flight;
      Congestion undone = straight;
      CongestionFlight undone_flight;
      Micros now = 1'000'000;
      for (int i = 0; i < 2000; ++i) {
        if (i == 700) {
          const Congestion before = undone;
          const CongestionFlight before_flight = undone_flight;
          if (timeout) {
            ops->on_timeout(undone, undone_flight, undone.cwnd_bytes, kMss, true, now);
          } else {
            ops->on_loss(undone, undone_flight, undone.cwnd_bytes, kMss, now);
          }
          EXPECT_LT(undone.ssthresh_bytes, before.cwnd_bytes);
          undone = before;
          undone_flight = before_flight;
        }
        now += 1'000;
        ops->on_ack(straight, straight_flight, {kMss, 0, kMss, 50'000, now});
        ops->on_ack(undone, undone_flight, {kMss, 0, kMss, 50'000, now});
      }
      EXPECT_GT(straight.cwnd_bytes, 70 * kMss) << ops->name;
      EXPECT_EQ(straight.cwnd_bytes, undone.cwnd_bytes) << ops->name;
    }
  }
}

TEST(NewReno, AvoidanceAddsOneSegmentARoundTrip) {
  Congestion congestion = begun();
  CongestionFlight flight;
  congestion.ssthresh_bytes = congestion.cwnd_bytes = 10 * kMss;
  for (int i = 0; i < 9; ++i) kNewReno.on_ack(congestion, flight, acked(congestion, kMss));
  EXPECT_EQ(congestion.cwnd_bytes, 10 * kMss);
  kNewReno.on_ack(congestion, flight, acked(congestion, kMss));
  EXPECT_EQ(congestion.cwnd_bytes, 11 * kMss);
}

TEST(NewReno, AnUnusedWindowDoesNotGrow) {
  CongestionFlight flight;
  for (const uint32_t ssthresh : {UINT32_MAX, 10 * kMss}) {
    Congestion congestion = begun();
    congestion.ssthresh_bytes = ssthresh;
    AckSample sample = acked(congestion, 10 * kMss);
    sample.cwnd_limited = false;
    for (int i = 0; i < 5; ++i) kNewReno.on_ack(congestion, flight, sample);
    EXPECT_EQ(congestion.cwnd_bytes, 10 * kMss);
  }
}

TEST(NewReno, LossAndTimeout) {  // RFC 5681 3.1, 3.2
  Congestion congestion = begun();
  CongestionFlight flight;
  congestion.cwnd_bytes = 20 * kMss;
  kNewReno.on_loss(congestion, flight, 24 * kMss, kMss, 0);  // limited transmit does not count
  EXPECT_EQ(congestion.ssthresh_bytes, 10 * kMss);
  kNewReno.on_timeout(congestion, flight, 8 * kMss, kMss, true, 0);
  EXPECT_EQ(congestion.ssthresh_bytes, 4 * kMss);
  EXPECT_EQ(congestion.cwnd_bytes, kMss);
  kNewReno.on_timeout(congestion, flight, kMss, kMss, false, 0);
  EXPECT_EQ(congestion.ssthresh_bytes, 4 * kMss);
  kNewReno.on_loss(congestion, flight, kMss, kMss, 0);
  EXPECT_EQ(congestion.ssthresh_bytes, 2 * kMss);
}

}  // namespace
}  // namespace sluice::tcp
