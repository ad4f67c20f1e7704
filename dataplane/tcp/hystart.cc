// Job: grow cwnd in slow start, and find its end without a loss where possible.
//
// A round lasts until what was sent at its beginning is acknowledged. Its shortest round trip is
// compared with that of the round before:
//
//   slow start   cwnd doubles a round. At least kSamples ACKs and a growth by the threshold: CSS
//   CSS          (Conservative Slow Start) a quarter of that growth. The round trip falls below
//                the baseline: it was jitter, slow start goes on. kCssRounds rounds: ssthresh =
//                cwnd
#include "tcp/hystart.h"

#include <algorithm>

#include "tcp/seq.h"

namespace sluice::tcp {
namespace {

// RFC 9406 4.3, the recommended values.
constexpr uint32_t kMinRttThreshUs = 4'000;
constexpr uint32_t kMaxRttThreshUs = 16'000;
constexpr uint32_t kMinRttDivisor = 8;
constexpr uint16_t kSamples = 8;  // N_RTT_SAMPLE
constexpr uint32_t kCssGrowthDivisor = 4;
constexpr uint8_t kCssRounds = 5;
constexpr uint32_t kLimitSegments = 8;  // L, without pacing: what one ACK counts for at most

void enter_css(HyStart& hystart) {
  hystart.css = true;
  hystart.css_rounds = 0;
  hystart.css_baseline_min_rtt_us = hystart.current_round_min_rtt_us;
}

void take_sample(HyStart& hystart, uint32_t rtt_us) {
  if (rtt_us == 0) return;
  hystart.current_round_min_rtt_us = std::min(hystart.current_round_min_rtt_us, rtt_us);
  if (hystart.rtt_sample_count < kSamples) ++hystart.rtt_sample_count;
  if (hystart.rtt_sample_count < kSamples) return;
  if (hystart.css) {
    if (hystart.current_round_min_rtt_us >= hystart.css_baseline_min_rtt_us) return;
    hystart.css = false;
    hystart.css_baseline_min_rtt_us = UINT32_MAX;
  } else if (hystart.last_round_min_rtt_us != UINT32_MAX) {
    const uint32_t last = hystart.last_round_min_rtt_us;
    const uint32_t growth =
        std::max(kMinRttThreshUs, std::min(last / kMinRttDivisor, kMaxRttThreshUs));
    if (hystart.current_round_min_rtt_us >= static_cast<uint64_t>(last) + growth) {
      enter_css(hystart);
    }
  }
}

// The round in which CSS begins counts as one of its rounds. Returns whether slow start is over.
bool take_round(HyStart& hystart, uint32_t ack, uint32_t snd_nxt) {
  if (hystart.round_begun && seq_less(ack, hystart.window_end)) return false;
  if (hystart.round_begun && hystart.css && ++hystart.css_rounds >= kCssRounds) return true;
  if (hystart.round_begun) hystart.last_round_min_rtt_us = hystart.current_round_min_rtt_us;
  hystart.current_round_min_rtt_us = UINT32_MAX;
  hystart.rtt_sample_count = 0;
  hystart.window_end = snd_nxt;
  hystart.round_begun = true;
  return false;
}

}  // namespace

uint32_t slow_start_on_ack(Congestion& congestion, HyStart& hystart, const AckSample& sample) {
  const bool initial = congestion.ssthresh_bytes == UINT32_MAX;  // RFC 9406 4.2
  bool over = false;
  if (initial) {
    take_sample(hystart, sample.rtt_us);
    over = take_round(hystart, sample.ack, sample.snd_nxt);
  }
  if (sample.cwnd_limited) {
    const uint64_t limit = sample.paced ? UINT32_MAX : kLimitSegments * sample.mss_bytes;
    uint64_t growth = std::min<uint64_t>(sample.acked_bytes, limit);
    if (initial && hystart.css) growth /= kCssGrowthDivisor;
    const uint64_t most = std::min(congestion.ssthresh_bytes, kMaxWindowBytes);
    const uint64_t grown = std::min(congestion.cwnd_bytes + growth, most);
    const auto used =
        static_cast<uint32_t>(grown - std::min<uint64_t>(grown, congestion.cwnd_bytes));
    congestion.cwnd_bytes += used;
    if (!initial && !congestion.slow_start()) return sample.acked_bytes - used;
  }
  if (over) congestion.ssthresh_bytes = congestion.cwnd_bytes;
  return 0;
}

}  // namespace sluice::tcp
