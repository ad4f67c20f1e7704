// What controllers share, and NewReno's window arithmetic: RFC 5681 3.1 with byte counting as in
// RFC 3465.
#include "tcp/congestion.h"

#include <algorithm>

#include "tcp/hystart.h"

namespace sluice::tcp {
namespace {

void on_ack(Congestion& congestion, CongestionFlight& flight, const AckSample& sample) {
  uint32_t acked_bytes = sample.acked_bytes;
  if (congestion.slow_start()) {
    acked_bytes = slow_start_on_ack(congestion, flight.hystart, sample);
    if (congestion.slow_start()) return;
  }
  if (!sample.cwnd_limited) return;
  congestion.acked_bytes += std::min(acked_bytes, congestion.cwnd_bytes);  // RFC 3465 2.1
  if (congestion.acked_bytes < congestion.cwnd_bytes) return;
  congestion.acked_bytes -= congestion.cwnd_bytes;
  congestion.cwnd_bytes = std::min(congestion.cwnd_bytes + sample.mss_bytes, kMaxWindowBytes);
}

void on_loss(Congestion& congestion, CongestionFlight&, uint32_t flight_bytes, uint32_t mss_bytes,
             Micros) {
  // RFC 5681, equation 4. FlightSize without what limited transmit has sent beyond cwnd.
  const uint32_t used = std::min(congestion.cwnd_bytes, flight_bytes);
  congestion.ssthresh_bytes = std::max(used / 2, 2 * mss_bytes);
  congestion.acked_bytes = 0;
}

void on_timeout(Congestion& congestion, CongestionFlight& flight, uint32_t flight_bytes,
                uint32_t mss_bytes, bool first, Micros now) {
  // RFC 5681 3.1: a segment that was already retransmitted by the timer leaves ssthresh alone.
  if (first) on_loss(congestion, flight, flight_bytes, mss_bytes, now);
  congestion.cwnd_bytes = mss_bytes;  // the loss window
  congestion.acked_bytes = 0;
}

}  // namespace

uint32_t initial_window_bytes(uint32_t mss_bytes) {
  return std::min(10 * mss_bytes, std::max(2 * mss_bytes, 14600U));
}

void begin_congestion(Congestion& congestion, uint32_t mss_bytes) {
  congestion = Congestion{};
  congestion.cwnd_bytes = initial_window_bytes(mss_bytes);
}

void restart_after_idle(Congestion& congestion, uint32_t mss_bytes) {
  // RFC 7661 4.4.3: the path has carried this much; slow start soon has it back. An infinite
  // ssthresh stays.
  const uint32_t sustained = congestion.cwnd_bytes / 4 * 3;
  congestion.ssthresh_bytes = std::max(congestion.ssthresh_bytes, sustained);
  congestion.cwnd_bytes = std::min(congestion.cwnd_bytes, initial_window_bytes(mss_bytes));
  congestion.acked_bytes = 0;
}

const CongestionOps kNewReno = {"newreno", begin_congestion, on_ack,
                                on_loss,   on_timeout,       restart_after_idle};

}  // namespace sluice::tcp
