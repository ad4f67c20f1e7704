// Loss detection by time: RACK-TLP, RFC 8985. Only for peers with SACK.
#pragma once

#include "tcp/scoreboard.h"
#include "tcp/tcb.h"

namespace sluice::tcp {

// Adapts the reordering window to what an ACK has shown. RFC 8985 6.2, steps 3 and 4.
void rack_adapt(Tcb& tcb, const AckNews& news);
// A recovery has ended well. RFC 8985 6.2, step 4: the widened window lasts for so many.
void rack_recovery_ended(Tcb& tcb);
// Marks what was sent so long before what has arrived that it must be lost; arms the reordering
// timer for what may follow. Returns the bytes newly lost. RFC 8985 6.2, step 5.
uint32_t rack_detect_loss(const Stack& stack, Tcb& tcb, Micros now);

// RFC 8985 7.2, 7.3: the moment of the next probe; kNever when none is due.
Micros tlp_deadline(const Tcb& tcb, Micros now);
// An ACK came while a probe was out. RFC 8985 7.4. Returns whether the probe has repaired a loss
// that must count as one.
bool tlp_repaired_loss(Tcb& tcb, uint32_t ack, const AckNews& news);

}  // namespace sluice::tcp
