// Acknowledgements, retransmission and its timer: RFC 6298, RFC 5681, RFC 6582, RFC 3042.
// Used by input.cc and output.cc.
#pragma once

#include "tcp/input.h"
#include "tcp/tcb.h"

namespace sluice::tcp {

// RFC 9293 3.10.7.4, fifth, from ESTABLISHED on; the ACK is within [snd_una - max_snd_wnd,
// snd_max]. Returns whether our FIN was acknowledged by it.
bool process_ack(Stack& stack, Tcb& tcb, const net::Segment& segment, Micros now,
                 InputResult& result);
// The handshake is done: first windows, first RTO.
void begin_transfer(Stack& stack, Tcb& tcb, Micros now);

// The retransmission or persist timer has expired.
void on_retransmit_timer(Stack& stack, Tcb& tcb, Micros now);
// After sending: which of the two timers runs.
void update_retransmit_timer(Stack& stack, Tcb& tcb, Micros now);

// RFC 6298 2.2, 2.3.
void add_rtt_sample(const Stack& stack, Tcb& tcb, uint64_t sample_us);
// What cwnd allows to be in flight now, limited transmit included.
uint64_t congestion_window_bytes(const Tcb& tcb);
// Whether something queued has not been sent (since the last timeout).
bool has_unsent(const Tcb& tcb);

}  // namespace sluice::tcp
