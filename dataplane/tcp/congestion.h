// Congestion control behind a small interface: what changes cwnd between loss events. What a loss
// is, and what is sent during recovery, is recovery.h's business.
#pragma once

#include <cstdint>

#include "tcp/stack.h"

namespace sluice::tcp {

struct Congestion {
  uint32_t cwnd_bytes = 0;
  uint32_t ssthresh_bytes = UINT32_MAX;  // RFC 5681 3.1: arbitrarily high at first
  uint32_t acked_bytes = 0;              // of the current window, in congestion avoidance

  bool slow_start() const { return cwnd_bytes < ssthresh_bytes; }
};

struct AckSample {
  uint32_t acked_bytes;   // newly acknowledged
  uint32_t flight_bytes;  // outstanding before this ACK
  uint32_t mss_bytes;     // payload of a full segment
  uint32_t srtt_us;
  Micros now;
};

struct CongestionOps {
  const char* name;
  // The handshake is done.
  void (*begin)(Congestion& congestion, uint32_t mss_bytes);
  // A new ACK outside of recovery.
  void (*on_ack)(Congestion& congestion, const AckSample& sample);
  // A loss was found by duplicates (once per window): sets ssthresh.
  void (*on_loss)(Congestion& congestion, uint32_t flight_bytes, uint32_t mss_bytes, Micros now);
  // The retransmission timer expired; `first` unless it is a repeat for the same data.
  void (*on_timeout)(Congestion& congestion, uint32_t flight_bytes, uint32_t mss_bytes, bool first,
                     Micros now);
  // Nothing was sent for longer than one RTO. RFC 5681 4.1.
  void (*on_idle)(Congestion& congestion, uint32_t mss_bytes);
};

// RFC 5681, with the initial window of RFC 6928 and byte counting (RFC 3465).
extern const CongestionOps kNewReno;

// RFC 6928 2: ten segments, at most max(2 MSS, 14,600 bytes).
uint32_t initial_window_bytes(uint32_t mss_bytes);

}  // namespace sluice::tcp
