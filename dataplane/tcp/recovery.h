// Acknowledgements and what follows from them: RFC 5681, RFC 6675, RFC 6937, RFC 5682, RFC 3522.
// Used by input.cc and retransmit_timer.cc.
#pragma once

#include "tcp/input.h"
#include "tcp/tcb.h"

namespace sluice::tcp {

// RFC 9293 3.10.7.4, fifth, from ESTABLISHED on; the ACK is within [snd_una - max_snd_wnd,
// snd_max]. Returns whether our FIN was acknowledged by it.
bool process_ack(Stack& stack, Tcb& tcb, const net::Segment& segment, Micros now,
                 InputResult& result);
// RACK's timer has expired: what was late is lost now, if nothing came in between.
void on_reorder_timer(Stack& stack, Tcb& tcb, Micros now);
// The retransmission timer has. RFC 5681 3.1, RFC 6298 5.4-5.6.
void enter_loss(Stack& stack, Tcb& tcb, Micros now);
// All that was in flight when the recovery began is acknowledged, or it was needless.
void leave_recovery(Tcb& tcb);

// The MSS has fallen because the path drops what is larger: segments in flight over it are sent
// again in the new size, and no window is reduced.
void resend_oversized(Stack& stack, Tcb& tcb);

// Whether something queued has not been sent (since the window was closed).
bool has_unsent(const Tcb& tcb);

}  // namespace sluice::tcp
