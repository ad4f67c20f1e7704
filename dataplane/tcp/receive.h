// The receive side of a connection: text, FIN, and what is advertised and acknowledged of them.
// Used by input.cc and output.cc.
#pragma once

#include "tcp/input.h"
#include "tcp/tcb.h"

namespace sluice::tcp {

// RFC 9293 3.10.7.4, first: whether any of the segment lies in the window. Pure ACKs and FINs may
// also stand at its right edge: a sender that has filled the window stands there.
bool is_acceptable(const Tcb& tcb, const net::Segment& segment);

// RFC 9293 3.10.7.4, seventh and eighth: takes text and FIN of an acceptable segment.
void receive_text(Stack& stack, Tcb& tcb, net::Segment& segment, Micros now, InputResult& result);

// The window that a limit of held bytes is worth, and the other way round.
uint32_t window_of_limit(uint32_t limit_bytes);
uint64_t limit_for_window(uint64_t window_bytes);
// What a SYN advertises of the initial window: unscaled. RFC 7323 2.2.
uint16_t syn_window_bytes(const TcpConfig& config);
// The right edge that an ACK sent now would advertise; never left of rcv_adv. RFC 9293 3.8.6.2.2.
uint32_t window_edge(const Stack& stack, const Tcb& tcb);
// Whether the window has grown enough to tell the peer without being asked.
bool window_update_due(const Stack& stack, const Tcb& tcb);

void enter_time_wait(const Stack& stack, Tcb& tcb, Micros now, InputResult& result);

}  // namespace sluice::tcp
