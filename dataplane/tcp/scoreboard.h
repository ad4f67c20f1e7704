// The records of what is in flight: RFC 2018, RFC 6675 3. Kept by output.cc, read and marked by
// recovery.cc and rack.cc.
#pragma once

#include <cstdint>

#include "tcp/tcb.h"

namespace sluice::tcp {

// What one ACK has told.
struct AckNews {
  uint32_t fack = 0;                 // highest_sacked before it
  uint32_t acked_bytes = 0;          // snd_una moved so far, SYN and FIN included
  uint32_t delivered_bytes = 0;      // newly acknowledged or SACKed
  uint32_t sacked_bytes = 0;         // newly SACKed
  uint32_t first_rtt_us = 0;         // of the oldest segment newly acknowledged; 0: no sample
  uint32_t last_rtt_us = 0;          // of the youngest segment newly delivered; 0: no sample
  bool advanced = false;             // snd_una moved
  bool dsack = false;                // RFC 2883: something arrived twice
  bool original = false;             // delivered: something sent once, before `recover`
  bool retransmitted_acked = false;  // acknowledged: something sent more than once
  bool reordered = false;            // delivered: something sent once, below what was there before
};

// What tells which transmission of a segment an ACK answers. RFC 8985 6.2, step 2.
struct AckClock {
  Micros now = 0;
  bool has_echo = false;
  uint32_t echo_ms = 0;  // TSecr on our clock
};

// Takes a block for a flight that begins. False: the pool is empty.
bool begin_flight(Stack& stack, Tcb& tcb);
// Gives the block and all records back.
void end_flight(Stack& stack, Tcb& tcb);

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

// Everything below `ack` is acknowledged. Call it before snd_una and the send queue move.
void note_acknowledged(Stack& stack, Tcb& tcb, uint32_t ack, const AckClock& clock, AckNews& news);
// After they have moved: the first record begins at snd_una.
void align_first_record(Stack& stack, Tcb& tcb);
// The SACK blocks of an ACK that has been processed, D-SACK included. `prior_una` is snd_una before
// it.
void note_sacked(Stack& stack, Tcb& tcb, const net::Segment& segment, uint32_t prior_una,
                 const AckClock& clock, AckNews& news);

// Returns the bytes that were not lost before.
uint32_t mark_lost(const Stack& stack, Tcb& tcb, uint32_t index);
// The timer: all that is not SACKed is lost, retransmissions too. A peer that took SACKed text
// back (its first hole is SACKed) is believed nothing more. RFC 2018 8.
void mark_all_lost(Stack& stack, Tcb& tcb);
// Undo: nothing is lost after all.
void clear_lost(const Stack& stack, Tcb& tcb);

// What the network is believed to hold. RFC 6675 4.
uint32_t pipe_bytes(const Tcb& tcb);

}  // namespace sluice::tcp
