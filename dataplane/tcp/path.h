// The path to the peer: what fits through it. RFC 1191, RFC 8201, RFC 4821.
#pragma once

#include <cstdint>

#include "net/icmp_error.h"
#include "tcp/stack.h"

namespace sluice::tcp {

struct Tcb;

// At most 8 bytes of a Tcb.
struct Path {
  uint16_t mss_before = 0;
};

// An ICMP error that quotes a segment of this connection. What does not fit its state is dropped
// and counted (RFC 5927 4.1).
void tcp_icmp_error(Stack& stack, Tcb& tcb, const net::IcmpError& error, Micros now);

}  // namespace sluice::tcp
