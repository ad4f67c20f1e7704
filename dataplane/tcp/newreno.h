// Peers without SACK: RFC 6582. What duplicate ACKs stand for takes the place of scoreboard and
// RACK.
#pragma once

#include "tcp/ack_news.h"
#include "tcp/tcb.h"

namespace sluice::tcp {

// An ACK has come: each duplicate is a segment that has left, without its being known which.
void newreno_count_duplicates(Tcb& tcb, bool duplicate, AckNews& news);
// Marks what is lost now; returns the bytes.
uint32_t newreno_detect_loss(Stack& stack, Tcb& tcb, const AckNews& news);

}  // namespace sluice::tcp
