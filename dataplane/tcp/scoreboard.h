// The records of what is in flight: RFC 2018, RFC 6675 3. Kept by output.cc and ack_news.cc, read
// and marked by recovery.cc and rack.cc.
#pragma once

#include <cstdint>

#include "tcp/tcb.h"

namespace sluice::tcp {

// Takes a block for a flight that begins: snd_nxt is snd_una, and a block is free.
void begin_flight(Stack& stack, Tcb& tcb);
// Gives the block and all records back.
void end_flight(Stack& stack, Tcb& tcb);

// Gives back a record that is no longer in the list.
void forget_record(Stack& stack, InFlight& flight, uint32_t index);

// Whether a further segment can be recorded.
bool can_record(const Stack& stack, const Tcb& tcb);
// A segment at snd_nxt leaves, before snd_nxt moves. `cursor` is its first byte.
void record_sent(Stack& stack, Tcb& tcb, const SendCursor& cursor, bool again, Micros now);
// The record's first `length` bytes were sent again; what is longer is split off.
void record_resent(Stack& stack, Tcb& tcb, uint32_t index, uint32_t length, Micros now);
// Splits so that a record begins at `seq`, inside of `index`. Its index, or `index` when no record
// is free.
uint32_t split_record(Stack& stack, Tcb& tcb, uint32_t index, uint32_t seq);

// One past its last number.
uint32_t record_end(const Stack& stack, const Tcb& tcb, const SentRecord& record);
// Where its first byte is.
SendCursor record_cursor(const Stack& stack, const Tcb& tcb, const SentRecord& record);
// The first lost record that waits for its retransmission; kNoRecord: none.
uint32_t next_lost_record(const Stack& stack, Tcb& tcb);

// Returns the bytes that were not lost before.
uint32_t mark_lost(const Stack& stack, Tcb& tcb, uint32_t index);
// The timer expired and the first segment is SACKed: the peer has taken text back. RFC 2018 8.
bool has_reneged(const Stack& stack, const Tcb& tcb);
// Everything is lost: retransmissions, and what is SACKed.
void mark_all_lost(Stack& stack, Tcb& tcb);
// Undo: nothing is lost after all.
void clear_lost(const Stack& stack, Tcb& tcb);

// What the network is believed to hold. RFC 6675 4.
uint32_t pipe_bytes(const Tcb& tcb);

}  // namespace sluice::tcp
