// Slow start with HyStart++ (RFC 9406): it ends where the round trip grows, before the queue
// overflows. Only while ssthresh is still infinite; later slow starts have a ssthresh that knows.
#pragma once

#include "tcp/congestion.h"

namespace sluice::tcp {

// A new ACK in slow start. Returns the acknowledged bytes that are congestion avoidance's: the
// rest when cwnd has reached ssthresh with this ACK, otherwise 0.
uint32_t slow_start_on_ack(Congestion& congestion, HyStart& hystart, const AckSample& sample);

}  // namespace sluice::tcp
