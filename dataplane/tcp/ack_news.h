// What an ACK tells of the records in flight: RFC 2018, RFC 2883, RFC 8985 6.2, steps 1 to 3.
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
  bool dsack = false;                // RFC 2883: something arrived twice, `twice`
  net::SackBlock twice;              //
  bool original = false;             // delivered: something sent once, before `recover`
  bool beyond = false;               // delivered: something sent behind `recover`
  bool retransmitted_acked = false;  // acknowledged, and news: something sent more than once
  bool first_retransmitted = false;  // the first of what was acknowledged is that
  bool ambiguous = false;            // delivered: something of which any transmission may have been
  bool reordered = false;            // delivered: something sent once, below what was there before
  bool probe_repaired = false;       // a loss was repaired by the tail loss probe
};

// What tells which transmission of a segment an ACK answers. RFC 8985 6.2, step 2.
struct AckClock {
  Micros now = 0;
  bool has_echo = false;
  uint32_t echo_ms = 0;  // TSecr on our clock
};

// Everything below `ack` is acknowledged. Call it before snd_una and the send queue move.
void note_acknowledged(Stack& stack, Tcb& tcb, uint32_t ack, const AckClock& clock, AckNews& news);
// After they have moved: the first record begins at snd_una.
void align_first_record(Stack& stack, Tcb& tcb);
// Whether the first SACK block is a D-SACK; `prior_una` is snd_una before this ACK.
void note_dsack(const net::Segment& segment, uint32_t prior_una, AckNews& news);
// The SACK blocks of an ACK that has been processed, behind note_dsack.
void note_sacked(Stack& stack, Tcb& tcb, const net::Segment& segment, const AckClock& clock,
                 AckNews& news);

}  // namespace sluice::tcp
