// The first door: a received segment of a known connection.
#pragma once

#include "tcp/tcb.h"

namespace sluice::tcp {

struct InputResult {
  bool readable = false;       // bytes were added to tcb.receive
  bool writable = false;       // send space was freed
  bool connected = false;      // the handshake was completed
  bool peer_finished = false;  // FIN received, and all before it is in tcb.receive
  bool time_wait = false;      // the state became TimeWait: the Tcb may move to TimeWaitTable
  bool closed = false;         // the state became Closed; `cause` says why
  bool answer_reset = false;   // not of this connection: answer it with make_reset
  CloseCause cause = CloseCause::None;
};

// The caller keeps its references to the payload; what TCP keeps, it retains. Call tcp_output
// afterwards. Safe with any segment whose tuple is the Tcb's.
InputResult tcp_input(Stack& stack, Tcb& tcb, net::Segment& segment, Micros now);

}  // namespace sluice::tcp
