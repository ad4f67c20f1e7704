// The path to the peer: what fits through it. RFC 1191, RFC 8201, RFC 4821, RFC 5927.
#pragma once

#include <cstdint>

#include "net/icmp_error.h"
#include "tcp/stack.h"

namespace sluice::tcp {

struct Tcb;

// What is known beside tcb.mss, which is always what segments are cut to.
struct Path {
  uint16_t ceiling = 0;  // tcb.mss before it was lowered; 0: it was not, or is back there
  // Of the present MSS.
  bool proven : 1 = false;   // a full segment was acknowledged
  bool claimed : 1 = false;  // an ICMP error names less, `mark`, and waits for a timeout
  bool probing : 1 = false;  // a larger segment is on its way; `mark` is the number behind it
  uint8_t shrinks : 3 = 0;   // times that an ICMP error was believed at once
  uint8_t probe_at = 0;      // when larger segments are tried; in units of 16 s, modulo 256
  uint32_t mark = 0;
};
static_assert(sizeof(Path) <= 8);

// An ICMP error that quotes a segment of this connection's tuple. What does not fit its state is
// dropped and counted (RFC 5927 4.1). Call tcp_output afterwards; the connection may have ended:
// see tcb.state and tcb.close_cause.
void tcp_icmp_error(Stack& stack, Tcb& tcb, const net::IcmpError& error, Micros now);

// What recovery and output report. A new ACK: snd_una has moved by `acked_bytes`.
void path_on_ack(Stack& stack, Tcb& tcb, uint32_t acked_bytes, Micros now);
// A loss was found otherwise than by the timer.
void path_on_loss(Tcb& tcb, Micros now);
// The retransmission timer (not persist) has expired; tcb.backoff counts this time too.
void path_on_timeout(Stack& stack, Tcb& tcb, Micros now);

// Payload bytes of the probe that is due: one segment of new data, more than effective_mss. 0:
// none. Assumed: asked for where no loss is being repaired; the probe is sent only where so much is
// queued and both windows allow it.
uint32_t path_probe_bytes(const Tcb& tcb, Micros now);
// It was sent; `end` is the number behind it.
void path_on_probe(Stack& stack, Tcb& tcb, uint32_t end);

}  // namespace sluice::tcp
