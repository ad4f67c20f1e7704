// CUBIC: after a reduction the window comes back fast, stays near the place of the last loss for a
// while (the plateau), and then looks for more, as a function of time and not of round trips:
//
//   W_cubic(t) = C * (t - K)^3 + W_max          C = 0.4 segments / s^3, beta = 0.7
//   K          = cbrt((W_max - cwnd_epoch) / C)
//   W_est      what Reno with the same average would have: the window is never below it
//
// An epoch (`CubicEpoch`) begins with the first ACK of a congestion avoidance phase. `elapsed_us`
// is the RFC's t; time in which the application or the peer's window was the limit does not
// count (5.8), so that the window does not jump when it becomes cwnd again.
//
// Bytes everywhere, and integers: an ACK's share of the growth is kept as acknowledged bytes
// (`acked_bytes`, `w_est_acked_bytes`) until it is worth a byte. A window before a loss
// (cwnd_prior) is not kept: ssthresh / beta is the same.
#include "tcp/cubic.h"

#include <algorithm>

#include "tcp/congestion.h"
#include "tcp/hystart.h"

namespace sluice::tcp {
namespace {

// beta = 7/10; (1 + beta) / 2 = 17/20; alpha = 3 (1 - beta) / (1 + beta) = 9/17.
constexpr uint64_t kBetaTenths = 7;
constexpr uint64_t kFastConvergenceTwentieths = 17;
constexpr uint64_t kAlphaNumerator = 9;
constexpr uint64_t kAlphaDenominator = 17;
// Further from the plateau any window is beyond kMaxWindowBytes: 0.4 * 400^3 segments.
constexpr int64_t kMaxFromKMs = 400'000;

// What `credit_bytes` acknowledged bytes bring when a whole window brings `gain / divisor`; takes
// what was used from the credit.
uint32_t share_of(uint64_t gain, uint64_t divisor, uint32_t cwnd_bytes, uint32_t& credit_bytes) {
  if (gain == 0) {
    credit_bytes = 0;
    return 0;
  }
  const uint64_t whole = divisor * cwnd_bytes;
  const uint64_t share = gain * credit_bytes / whole;
  credit_bytes -=
      static_cast<uint32_t>(std::min<uint64_t>((share * whole + gain - 1) / gain, credit_bytes));
  return static_cast<uint32_t>(share);
}

void begin_epoch(const Congestion& congestion, CubicEpoch& epoch, const AckSample& sample) {
  epoch = CubicEpoch{};
  epoch.cwnd_epoch_bytes = epoch.w_est_bytes = congestion.cwnd_bytes;
  epoch.last_ack_us = static_cast<uint32_t>(sample.now);
  if (congestion.w_max_bytes > congestion.cwnd_bytes) {
    epoch.k_ms = cubic_k_ms(congestion.w_max_bytes - congestion.cwnd_bytes, sample.mss_bytes);
  }
}

void take_time(CubicEpoch& epoch, const AckSample& sample) {
  const auto now_us = static_cast<uint32_t>(sample.now);
  const uint32_t passed_us = now_us - epoch.last_ack_us;
  epoch.last_ack_us = now_us;
  if (!sample.cwnd_limited) return;  // RFC 9438 5.8
  epoch.elapsed_us += std::min(passed_us, UINT32_MAX - epoch.elapsed_us);
}

uint64_t w_cubic_bytes(const Congestion& congestion, const CubicEpoch& epoch, uint64_t t_us,
                       uint32_t mss_bytes) {
  // RFC 9438 4.8, 4.10: without a W_max below which the epoch begins, it is its own plateau.
  const int64_t plateau = std::max(congestion.w_max_bytes, epoch.cwnd_epoch_bytes);
  const int64_t from_k_ms = static_cast<int64_t>(t_us / 1000) - epoch.k_ms;
  return static_cast<uint64_t>(
      std::max<int64_t>(plateau + cubic_distance_bytes(from_k_ms, mss_bytes), 0));
}

// RFC 9438 4.3. W_est adds alpha segments a round trip, and one when it has passed cwnd_prior.
void grow_w_est(const Congestion& congestion, CubicEpoch& epoch, const AckSample& sample,
                uint32_t acked_bytes) {
  // Slow start that ended without a loss set both to the same.
  const uint64_t cwnd_prior = congestion.w_max_bytes == congestion.ssthresh_bytes
                                  ? congestion.w_max_bytes
                                  : congestion.ssthresh_bytes * 10ULL / kBetaTenths;
  const bool passed = epoch.w_est_bytes >= cwnd_prior;
  epoch.w_est_acked_bytes += acked_bytes;
  const uint32_t share =
      share_of((passed ? 1 : kAlphaNumerator) * sample.mss_bytes, passed ? 1 : kAlphaDenominator,
               congestion.cwnd_bytes, epoch.w_est_acked_bytes);
  epoch.w_est_bytes = std::min(epoch.w_est_bytes + share, kMaxWindowBytes);
}

void avoid(Congestion& congestion, CubicEpoch& epoch, const AckSample& sample,
           uint32_t acked_bytes) {
  const uint32_t cwnd = congestion.cwnd_bytes;
  const uint32_t acked = std::min(acked_bytes, cwnd);
  grow_w_est(congestion, epoch, sample, acked);
  const uint64_t t_us = epoch.elapsed_us;
  if (w_cubic_bytes(congestion, epoch, t_us, sample.mss_bytes) < epoch.w_est_bytes) {
    congestion.cwnd_bytes = std::max(cwnd, epoch.w_est_bytes);  // the Reno-friendly region
    congestion.acked_bytes = 0;
    return;
  }
  // RFC 9438 4.2, 4.4, 4.5: towards the window of one round trip later, by half at most.
  const uint64_t target = std::clamp<uint64_t>(
      w_cubic_bytes(congestion, epoch, t_us + sample.srtt_us, sample.mss_bytes), cwnd,
      cwnd + cwnd / 2);
  congestion.acked_bytes += acked;
  const uint32_t share = share_of(target - cwnd, 1, cwnd, congestion.acked_bytes);
  congestion.cwnd_bytes = std::min(cwnd + share, kMaxWindowBytes);
}

void on_ack(Congestion& congestion, CongestionFlight& flight, const AckSample& sample) {
  uint32_t acked_bytes = sample.acked_bytes;
  if (congestion.slow_start()) {
    const bool initial = congestion.ssthresh_bytes == UINT32_MAX;
    acked_bytes = slow_start_on_ack(congestion, flight.hystart, sample);
    if (congestion.slow_start()) return;
    if (initial) congestion.w_max_bytes = congestion.cwnd_bytes;  // RFC 9438 4.10
  }
  CubicEpoch& epoch = flight.cubic;
  if (epoch.cwnd_epoch_bytes == 0) {
    if (!sample.cwnd_limited) return;
    begin_epoch(congestion, epoch, sample);
  }
  take_time(epoch, sample);
  if (sample.cwnd_limited) avoid(congestion, epoch, sample, acked_bytes);
}

void on_loss(Congestion& congestion, CongestionFlight& flight, uint32_t flight_bytes,
             uint32_t mss_bytes, Micros) {
  // Of a window that was not full only the used part has been tried (RFC 9438 4.6, 5.8).
  const uint64_t used = std::min(congestion.cwnd_bytes, flight_bytes);
  // RFC 9438 4.7, fast convergence: a second loss below the first makes room for newer flows.
  congestion.w_max_bytes = static_cast<uint32_t>(
      used < congestion.w_max_bytes ? used * kFastConvergenceTwentieths / 20 : used);
  congestion.ssthresh_bytes =
      std::max(static_cast<uint32_t>(used * kBetaTenths / 10), 2 * mss_bytes);
  congestion.acked_bytes = 0;
  flight.cubic = CubicEpoch{};
}

void on_timeout(Congestion& congestion, CongestionFlight& flight, uint32_t flight_bytes,
                uint32_t mss_bytes, bool first, Micros now) {
  // RFC 5681 3.1: a segment that was already retransmitted by the timer leaves ssthresh alone.
  if (first) on_loss(congestion, flight, flight_bytes, mss_bytes, now);
  congestion.cwnd_bytes = mss_bytes;  // the loss window
  congestion.acked_bytes = 0;
  congestion.w_max_bytes = 0;  // RFC 9438 4.8
  flight.cubic = CubicEpoch{};
}

}  // namespace

uint32_t cube_root(uint64_t value) {
  uint64_t root = 0;
  for (int bit = 21; bit >= 0; --bit) {  // the root of 2^64 is below 2^22
    const uint64_t larger = root | 1ULL << bit;
    if (larger <= 2'642'245 && larger * larger * larger <= value) root = larger;
  }
  return static_cast<uint32_t>(root);
}

uint32_t cubic_k_ms(uint32_t distance_bytes, uint32_t mss_bytes) {
  // In seconds cbrt(segments / 0.4), so in milliseconds cbrt(segments * 2.5e9).
  return cube_root(distance_bytes * 2'500'000'000ULL / mss_bytes);
}

int64_t cubic_distance_bytes(int64_t from_k_ms, uint32_t mss_bytes) {
  const int64_t d = std::clamp(from_k_ms, -kMaxFromKMs, kMaxFromKMs);
  // 0.4 / 1e9; the cube in thousandths is below 2^46, an MSS below 2^16.
  return d * d / 1000 * d * 2 * mss_bytes / 5'000'000;
}

const CongestionOps kCubic = {"cubic", begin_congestion, on_ack,
                              on_loss, on_timeout,       restart_after_idle};

}  // namespace sluice::tcp
