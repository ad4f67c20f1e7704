// The parts of a segment. Used by output.cc.
#pragma once

#include "tcp/tcb.h"

namespace sluice::tcp {

// The header of any segment of a synchronized connection.
void begin_segment(const Stack& stack, const Tcb& tcb, net::Segment& segment, uint32_t seq,
                   Micros now);
// Payload bytes that fit beside the options of `segment`: one packet's, or a whole number of them
// where the port cuts.
uint32_t payload_limit(const Stack& stack, const Tcb& tcb, const net::Segment& segment);
// Fills the payload from `cursor`; what does not fit into the chain's pieces stays behind, and a
// segment that will be cut stays a whole number of cuts.
void fill_payload(const Stack& stack, const Tcb& tcb, const SendCursor& cursor, uint32_t length,
                  net::Segment& segment);
// PSH where the queue ends, FIN behind it.
void set_end_flags(const Tcb& tcb, net::Segment& segment, bool fin_allowed);

void build_syn(const Stack& stack, const Tcb& tcb, net::Segment& segment, Micros now);
void build_reset(const Tcb& tcb, net::Segment& segment);

}  // namespace sluice::tcp
