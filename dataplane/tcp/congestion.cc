// NewReno's window arithmetic. RFC 5681 3.1 with byte counting as in RFC 3465; a window that was
// not used is not grown (RFC 7661's concern, in its simplest form).
#include "tcp/congestion.h"

#include <algorithm>

namespace sluice::tcp {
namespace {

constexpr uint32_t kMaxWindowBytes = 1U << 30;
// Segments that one ACK may count for in slow start. RFC 9406 4.2 gives 8 to senders without
// pacing: receivers that coalesce acknowledge many segments at once.
constexpr uint32_t kSlowStartLimit = 8;

void begin(Congestion& congestion, uint32_t mss_bytes) {
  congestion = Congestion{};
  congestion.cwnd_bytes = initial_window_bytes(mss_bytes);
}

void on_ack(Congestion& congestion, CongestionFlight&, const AckSample& sample) {
  // Growing a window that the sender or its peer's window does not fill proves nothing.
  if (congestion.cwnd_bytes >= 2 * static_cast<uint64_t>(sample.flight_bytes)) return;
  if (congestion.slow_start()) {
    congestion.cwnd_bytes += std::min(sample.acked_bytes, kSlowStartLimit * sample.mss_bytes);
  } else {
    congestion.acked_bytes += sample.acked_bytes;  // RFC 3465 2.1
    if (congestion.acked_bytes >= congestion.cwnd_bytes) {
      congestion.acked_bytes -= congestion.cwnd_bytes;
      congestion.cwnd_bytes += sample.mss_bytes;
    }
  }
  congestion.cwnd_bytes = std::min(congestion.cwnd_bytes, kMaxWindowBytes);
}

void on_loss(Congestion& congestion, CongestionFlight&, uint32_t flight_bytes, uint32_t mss_bytes,
             Micros) {
  congestion.ssthresh_bytes = std::max(flight_bytes / 2, 2 * mss_bytes);  // RFC 5681, equation 4
  congestion.acked_bytes = 0;
}

void on_timeout(Congestion& congestion, CongestionFlight& flight, uint32_t flight_bytes,
                uint32_t mss_bytes, bool first, Micros now) {
  // RFC 5681 3.1: a segment that was already retransmitted by the timer leaves ssthresh alone.
  if (first) on_loss(congestion, flight, flight_bytes, mss_bytes, now);
  congestion.cwnd_bytes = mss_bytes;  // the loss window
  congestion.acked_bytes = 0;
}

void on_idle(Congestion& congestion, uint32_t mss_bytes) {
  congestion.cwnd_bytes = std::min(congestion.cwnd_bytes, initial_window_bytes(mss_bytes));
}

}  // namespace

uint32_t initial_window_bytes(uint32_t mss_bytes) {
  return std::min(10 * mss_bytes, std::max(2 * mss_bytes, 14600U));
}

const CongestionOps kNewReno = {"newreno", begin, on_ack, on_loss, on_timeout, on_idle};

}  // namespace sluice::tcp
