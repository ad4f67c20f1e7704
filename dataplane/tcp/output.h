// The second door: sends what is due, including what timers ask for.
#pragma once

#include <algorithm>

#include "tcp/tcb.h"

namespace sluice::tcp {

// Why a segment is sent; in the order in which tcp_output looks for reasons.
enum class Reason : uint8_t {
  None,
  Reset,
  Syn,
  Retransmit,
  Probe,
  LossProbe,
  Data,
  Keepalive,
  Ack,
};

// The steps of tcp_output, used by the template below alone.
void run_timers(Stack& stack, Tcb& tcb, Micros now);
Reason next_segment(Stack& stack, Tcb& tcb, net::Segment& segment, Micros now);
void note_sent(Stack& stack, Tcb& tcb, const net::Segment& segment, Reason reason, Micros now);
void finish_output(Stack& stack, Tcb& tcb, Micros now);

// emit(const net::Segment&) -> bool; false: no room now, the segment is offered again by the next
// call. The payload points into the send queue: the emitter retains what it keeps. Afterwards
// the connection may have ended by a timer: see tcb.state and tcb.close_cause.
template <class Emit>
void tcp_output(Stack& stack, Tcb& tcb, Emit&& emit, Micros now) {
  run_timers(stack, tcb, now);
  net::Segment segment;
  for (;;) {
    const Reason reason = next_segment(stack, tcb, segment, now);
    if (reason == Reason::None) break;
    if (!emit(static_cast<const net::Segment&>(segment))) {
      tcb.output_wanted = true;
      return;
    }
    note_sent(stack, tcb, segment, reason, now);
  }
  finish_output(stack, tcb, now);
}

// When tcp_output must be called next; 0 when at once, kNever when no timer runs.
inline Micros tcp_poll_at(const Tcb& tcb) {
  if (tcb.output_wanted || tcb.ack_now || tcb.rst_pending) return 0;
  return std::min({tcb.retransmit_at, tcb.delayed_ack_at, tcb.idle_at});
}

}  // namespace sluice::tcp
