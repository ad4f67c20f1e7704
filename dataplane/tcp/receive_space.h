// Receive window auto-tuning: how much of the receive limit a connection may use now. Each round
// trip shows how much of its window the peer has filled and we have consumed.
#pragma once

#include <cstdint>

#include "net/segment.h"
#include "tcp/stack.h"

namespace sluice::tcp {

struct Tcb;

struct ReceiveSpace {
  uint32_t limit_bytes = 0;  // truesize that may be held; grows up to config.receive_limit_bytes
  // The round that is being measured: what was consumed in it and when it began.
  uint32_t round_bytes = 0;
  uint32_t round_began_ms = 0;  // timestamp_clock
};
static_assert(sizeof(ReceiveSpace) <= 12);

void begin_receive_space(const Stack& stack, Tcb& tcb, Micros now);
// Text came in order; `segment` brought it. Ends the round when it has lasted a round trip.
void measure_receive_space(Stack& stack, Tcb& tcb, const net::Segment& segment, Micros now);

// Truesize of what the connection may be made to hold by new promises: limit_bytes, less while
// memory is scarce. An owner that must hold bytes back (an unfinished record) compares with this.
uint32_t tcp_receive_limit_bytes(const Stack& stack, const Tcb& tcb);

}  // namespace sluice::tcp
