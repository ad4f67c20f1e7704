// Loss detection by time: RACK-TLP, RFC 8985. Only for peers with SACK.
#pragma once

#include "tcp/ack_news.h"
#include "tcp/tcb.h"

namespace sluice::tcp {

// Adapts the reordering window to what an ACK has shown, whether something is in flight or not.
// RFC 8985 6.2, steps 3 and 4.
void rack_adapt(Tcb& tcb, const AckNews& news);
// A recovery has ended well. RFC 8985 6.2, step 4: the widened window lasts for so many.
void rack_recovery_ended(Tcb& tcb);
// Marks what was sent so long before what has arrived that it must be lost; arms the reordering
// timer for what may follow. Returns the bytes newly lost. RFC 8985 6.2, step 5.
uint32_t rack_detect_loss(const Stack& stack, Tcb& tcb, Micros now);
// The timer expired: the first segment is lost, and what was sent long enough ago. RFC 8985 6.3.
void rack_mark_lost_on_timeout(const Stack& stack, Tcb& tcb, Micros now);

// RFC 8985 7.2, 7.3: the moment of the next probe; kNever when none is due.
Micros tlp_deadline(const Tcb& tcb, Micros now);
// An ACK came while a probe was out. RFC 8985 7.4. Returns whether the probe has repaired a loss
// that must count as one. `pure_duplicate`: it acknowledges nothing and has no SACK option.
bool tlp_repaired_loss(Tcb& tcb, uint32_t ack, bool pure_duplicate, const AckNews& news);
// The same while nothing is in flight: only an answer to the second copy can decide it.
void tlp_answered_idle(Tcb& tcb, uint32_t ack, bool pure_duplicate, const AckNews& news);

}  // namespace sluice::tcp
