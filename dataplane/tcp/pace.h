// Pacing: new data is spread over the round trip instead of leaving as ACKs come.
#pragma once

#include "tcp/tcb.h"

namespace sluice::tcp {

// Whether new data is paced: configured, and there is a round trip to spread over.
bool is_paced(const Stack& stack, const Tcb& tcb);
// Whether it is too early for the next segment; InFlight::pace_at is when it is not.
bool must_wait(const Tcb& tcb, Micros now);
// The largest segment that a port may cut: what leaves in a quantum, two packets at least.
uint32_t pace_burst_bytes(const Tcb& tcb);
// A segment of `bytes` leaves: the next one when it has had its share of the round trip.
void note_paced(Tcb& tcb, uint32_t bytes, Micros now);

}  // namespace sluice::tcp
