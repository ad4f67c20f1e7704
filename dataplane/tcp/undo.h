// Whether a reduction was needless, and taking it back: RFC 3522, RFC 3708, RFC 5682.
#pragma once

#include "tcp/ack_news.h"
#include "tcp/tcb.h"

namespace sluice::tcp {

// A recovery begins: what the windows are before its reduction.
void remember_windows(const Stack& stack, Tcb& tcb);
// Something was sent again.
void remember_resent(Tcb& tcb, uint32_t seq, uint32_t length, Micros now);
// An ACK has come; `duplicate` as RFC 5681 2 or RFC 6675 2 define it. Returns whether the reduction
// was needless: everything is as before it then.
bool undo_reduction(Stack& stack, Tcb& tcb, const AckClock& clock, const AckNews& news,
                    bool duplicate);

}  // namespace sluice::tcp
