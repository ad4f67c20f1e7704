#include "tcp/congestion.h"

#include <gtest/gtest.h>

namespace sluice::tcp {
namespace {

constexpr uint32_t kMss = 1000;
CongestionFlight flight;  // NewReno keeps nothing in it

Congestion begun() {
  Congestion congestion;
  kNewReno.begin(congestion, kMss);
  return congestion;
}

AckSample acked(const Congestion& congestion, uint32_t bytes) {
  return {bytes, congestion.cwnd_bytes, kMss, 10'000, 0};
}

TEST(NewReno, InitialWindow) {  // RFC 6928 2
  EXPECT_EQ(initial_window_bytes(1448), 14480U);
  EXPECT_EQ(initial_window_bytes(1460), 14600U);
  EXPECT_EQ(initial_window_bytes(536), 5360U);
  EXPECT_EQ(initial_window_bytes(8948), 17896U);
}

TEST(NewReno, SlowStartDoublesARoundTrip) {
  Congestion congestion = begun();
  for (int i = 0; i < 5; ++i) kNewReno.on_ack(congestion, flight, acked(congestion, 2 * kMss));
  EXPECT_EQ(congestion.cwnd_bytes, 20 * kMss);
  kNewReno.on_ack(congestion, flight, acked(congestion, 64 * kMss));  // one ACK counts for so much only
  EXPECT_EQ(congestion.cwnd_bytes, 28 * kMss);
}

TEST(NewReno, AvoidanceAddsOneSegmentARoundTrip) {
  Congestion congestion = begun();
  congestion.ssthresh_bytes = congestion.cwnd_bytes = 10 * kMss;
  for (int i = 0; i < 9; ++i) kNewReno.on_ack(congestion, flight, acked(congestion, kMss));
  EXPECT_EQ(congestion.cwnd_bytes, 10 * kMss);
  kNewReno.on_ack(congestion, flight, acked(congestion, kMss));
  EXPECT_EQ(congestion.cwnd_bytes, 11 * kMss);
}

TEST(NewReno, AnUnusedWindowDoesNotGrow) {
  Congestion congestion = begun();
  kNewReno.on_ack(congestion, flight, {kMss, 3 * kMss, kMss, 0, 0});
  EXPECT_EQ(congestion.cwnd_bytes, 10 * kMss);
}

TEST(NewReno, LossAndTimeout) {  // RFC 5681 3.1, 3.2
  Congestion congestion = begun();
  kNewReno.on_loss(congestion, flight, 20 * kMss, kMss, 0);
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
