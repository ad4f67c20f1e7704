// Opening, sending and ending: what the owner of a connection asks for. None of these does I/O;
// call tcp_output afterwards.
#pragma once

#include "tcp/listen.h"
#include "tcp/tcb.h"
#include "tcp/time_wait.h"

namespace sluice::tcp {

// Active open; `tcb` is fresh. `previous` is what TimeWaitTable::reuse gave for this tuple, if it
// was there (RFC 6191).
void tcp_connect(Stack& stack, Tcb& tcb, const net::FlowTuple& tuple, Micros now,
                 const TimeWaitReuse* previous = nullptr);

// Passive open by the ACK of a cookie; `tcb` is fresh. False, and the Tcb untouched, when the
// cookie is not valid (counted). Otherwise hand the same segment to tcp_input: it completes the
// handshake and takes the data.
bool tcp_accept_cookie(Stack& stack, const Listener& listener, Tcb& tcb, const net::Segment& ack,
                       Micros now);

// Appends to the send queue and takes over one reference. False when no node is free: the reference
// stays the caller's. Assumed: the owner has not called tcp_send_fin; when the connection is over
// the bytes are dropped.
bool tcp_send(Stack& stack, Tcb& tcb, const net::Slice& slice);
// What tcp_send should at most be given: the send limit minus what the queue holds (truesize of its
// owners, slice_queue.h). Not enforced: a record is never cut in two by memory.
uint32_t tcp_send_space_bytes(const Stack& stack, const Tcb& tcb);
// Our FIN behind all that is queued. Harmless when repeated.
void tcp_send_fin(Stack& stack, Tcb& tcb);

// Drops the first `length` bytes of tcb.receive and reopens the window: tcp_output sends the update
// when it is worth a segment (RFC 9293 3.8.6.2.2).
void tcp_consume(Stack& stack, Tcb& tcb, uint32_t length);

// Ends at once; the next tcp_output emits the RST.
void tcp_abort(Stack& stack, Tcb& tcb);

// Gives back every node and buffer. The Tcb is fresh afterwards.
void tcp_release(Stack& stack, Tcb& tcb);

}  // namespace sluice::tcp
