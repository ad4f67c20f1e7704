// Job: a window a round trip at an even rate: twice cwnd a round trip in slow start, so that it can
// double, 1.2 times afterwards. What is due within a quantum goes at once. Retransmissions are not
// paced: PRR clocks them.
#include "tcp/pace.h"

#include <algorithm>

namespace sluice::tcp {
namespace {

constexpr Micros kQuantumUs = 1'000;  // a tick of the workers' timer wheel
constexpr uint32_t kLeastPackets = 2;

// Bytes that may leave in a round trip.
uint64_t rate_bytes(const Tcb& tcb) {
  const uint64_t tenths = tcb.congestion.slow_start() ? 20 : 12;
  return std::max<uint64_t>(tcb.congestion.cwnd_bytes * tenths / 10, 1);
}

}  // namespace

bool is_paced(const Stack& stack, const Tcb& tcb) {
  return stack.config.pacing && tcb.srtt_us != 0;
}

bool must_wait(const Tcb& tcb, Micros now) {
  return tcb.in_flight != nullptr && tcb.in_flight->pace_at != kNever &&
         tcb.in_flight->pace_at > now + kQuantumUs;
}

uint32_t pace_burst_bytes(const Tcb& tcb) {
  const uint32_t mss = effective_mss(tcb);
  const auto bytes = static_cast<uint32_t>(
      std::min<uint64_t>(rate_bytes(tcb) * kQuantumUs / tcb.srtt_us, kMaxWindowBytes));
  return std::max(bytes - bytes % mss, kLeastPackets * mss);
}

void note_paced(Tcb& tcb, uint32_t bytes, Micros now) {
  InFlight& flight = *tcb.in_flight;
  const Micros share = uint64_t{bytes} * tcb.srtt_us / rate_bytes(tcb);
  flight.pace_at = (flight.pace_at == kNever ? now : std::max(flight.pace_at, now)) + share;
}

}  // namespace sluice::tcp
