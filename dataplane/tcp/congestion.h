// Congestion control behind a small interface: what changes cwnd between loss events. What a loss
// is, and what is sent during recovery, is recovery.h's business.
#pragma once

#include <cstdint>

#include "tcp/stack.h"

namespace sluice::tcp {

// RFC 7323 2.3: no peer's window is larger.
inline constexpr uint32_t kMaxWindowBytes = 1U << 30;

// Kept for the life of a connection.
struct Congestion {
  uint32_t cwnd_bytes = 0;
  uint32_t ssthresh_bytes = UINT32_MAX;  // RFC 5681 3.1: arbitrarily high at first
  uint32_t acked_bytes = 0;  // in congestion avoidance: acknowledged, and cwnd not yet grown by it
  uint32_t w_max_bytes = 0;  // CUBIC: where the plateau is; 0: where the epoch begins

  bool slow_start() const { return cwnd_bytes < ssthresh_bytes; }
};

// RFC 9406 4.2, names verbatim.
struct HyStart {
  uint32_t last_round_min_rtt_us = UINT32_MAX;
  uint32_t current_round_min_rtt_us = UINT32_MAX;
  uint32_t css_baseline_min_rtt_us = UINT32_MAX;
  uint32_t window_end = 0;
  uint16_t rtt_sample_count = 0;
  uint8_t css_rounds = 0;
  bool round_begun = false;
  bool css = false;  // Conservative Slow Start
};

// RFC 9438 4.1.2, names verbatim.
struct CubicEpoch {
  uint32_t cwnd_epoch_bytes = 0;  // 0: no epoch has begun
  uint32_t elapsed_us = 0;        // t: since it began, while cwnd was the limit; stops at the most
  uint32_t last_ack_us = 0;       // modulo 2^32
  uint32_t k_ms = 0;
  uint32_t w_est_bytes = 0;
  uint32_t w_est_acked_bytes = 0;  // acknowledged, and w_est not yet grown by it
};

// Kept while data is in flight; fresh when a flight begins after silence.
struct CongestionFlight {
  HyStart hystart;
  CubicEpoch cubic;
};

struct AckSample {
  uint32_t acked_bytes;   // newly acknowledged
  uint32_t flight_bytes;  // outstanding before this ACK
  uint32_t mss_bytes;     // payload of a full segment
  uint32_t srtt_us;
  Micros now;
  uint32_t rtt_us = 0;  // of this ACK; 0: none
  uint32_t ack = 0;     // SEG.ACK
  uint32_t snd_nxt = 0;
  // The window was full within the last round trip; in slow start: more than half full. A window
  // that is not used proves nothing and does not grow (RFC 7661's concern, by Linux's rule).
  bool cwnd_limited = true;
  bool paced = false;  // new data leaves spread over the round trip
};

struct CongestionOps {
  const char* name;
  // The handshake is done.
  void (*begin)(Congestion& congestion, uint32_t mss_bytes);
  // A new ACK outside of recovery.
  void (*on_ack)(Congestion& congestion, CongestionFlight& flight, const AckSample& sample);
  // A loss or a congestion mark was found (once per window): sets ssthresh. `flight_bytes` is what
  // was outstanding before the ACK that told of it. What it and on_timeout change lies in the two
  // structs: a reduction is undone by putting back copies of them.
  void (*on_loss)(Congestion& congestion, CongestionFlight& flight, uint32_t flight_bytes,
                  uint32_t mss_bytes, Micros now);
  // The retransmission timer expired; `first` unless it is a repeat for the same data.
  void (*on_timeout)(Congestion& congestion, CongestionFlight& flight, uint32_t flight_bytes,
                     uint32_t mss_bytes, bool first, Micros now);
  // Nothing was sent for longer than one RTO. RFC 5681 4.1.
  void (*on_idle)(Congestion& congestion, uint32_t mss_bytes);
};

// Both begin with RFC 6928's window and HyStart++ (hystart.h).
extern const CongestionOps kNewReno;  // RFC 5681, with byte counting (RFC 3465)
extern const CongestionOps kCubic;    // RFC 9438 (cubic.cc)

// RFC 6928 2: ten segments, at most max(2 MSS, 14,600 bytes).
uint32_t initial_window_bytes(uint32_t mss_bytes);

// What every controller does alike.
void begin_congestion(Congestion& congestion, uint32_t mss_bytes);
void restart_after_idle(Congestion& congestion, uint32_t mss_bytes);

}  // namespace sluice::tcp
