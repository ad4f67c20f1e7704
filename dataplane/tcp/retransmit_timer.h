// The timer of what is unacknowledged: RTO (RFC 6298), persist (RFC 9293 3.8.6.1), tail loss probe
// and reordering (RFC 8985), and the patience of RFC 9293 3.8.3 behind them all.
#pragma once

#include "tcp/tcb.h"

namespace sluice::tcp {

// retransmit_at has come.
void on_retransmit_timer(Stack& stack, Tcb& tcb, Micros now);
// After sending: which timers run.
void update_retransmit_timer(Stack& stack, Tcb& tcb, Micros now);
// An answer to a persist probe came: the next one can wait again.
void restart_persist(const Stack& stack, Tcb& tcb, Micros now);
// What is sent begins anew at snd_una, and nothing counts as in flight.
void go_back(Stack& stack, Tcb& tcb);

// RFC 6298 2.2, 2.3.
void add_rtt_sample(const Stack& stack, Tcb& tcb, uint64_t sample_us);

}  // namespace sluice::tcp
