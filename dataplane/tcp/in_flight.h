// What a sender keeps only while something of it is in flight: a record for each segment sent (the
// scoreboard), and the state of loss recovery. Both come from pools and go back when all is
// acknowledged, so that an idle connection costs nothing here.
//
// The records of a connection lie in sequence order without gaps: together they cover
// [snd_una, snd_nxt), a record ends where the next one begins. Runs that the peer has SACKed are
// joined into one.
#pragma once

#include <cstdint>

#include "tcp/congestion.h"
#include "tcp/pool.h"
#include "tcp/stack.h"

namespace sluice::tcp {

inline constexpr uint32_t kNoRecord = UINT32_MAX;

// Records of one connection at most; further segments are joined to the last record.
inline constexpr uint32_t kMaxRecords = 4096;
inline constexpr uint32_t kMinRecords = 4;  // whatever the others hold

// A list longer than this is not walked for nothing more often than kSackCredit times.
inline constexpr uint32_t kShortList = 256;
inline constexpr uint8_t kSackCredit = 32;

struct SentRecord {
  uint32_t next = kNoRecord;
  uint32_t seq = 0;          // of its first byte
  uint32_t sent_us = 0;      // of the latest transmission, modulo 2^32
  uint32_t node = 0;         // index of the slice node that holds the first byte
  uint32_t offset : 24 = 0;  // of the byte in that node, unless the node is the send queue's first
  uint32_t sacked : 1 = 0;
  uint32_t lost : 1 = 0;           // declared lost: by RACK, by duplicates or by the timer
  uint32_t resent : 1 = 0;         // lost and sent again since: in the pipe
  uint32_t retransmitted : 1 = 0;  // sent more than once: no RTT sample (Karn)
  uint32_t joined : 1 = 0;         // parts of it went at other times: sent_us is the latest
  uint32_t only_begun : 1 = 0;  // resent, but only its first part: no record was free to split it
};
static_assert(sizeof(SentRecord) == 20);

struct InFlight {
  uint32_t next = kNoRecord;  // the pool's
  uint32_t first = kNoRecord;
  uint32_t last = kNoRecord;
  uint32_t records = 0;
  uint32_t next_lost = kNoRecord;  // before it no lost record waits for its retransmission

  // pipe = (snd_nxt - snd_una) - sacked - lost + resent. RFC 6675 4, in bytes.
  uint32_t sacked_bytes = 0;  // without SACK: what duplicate ACKs stand for
  uint32_t lost_bytes = 0;
  uint32_t resent_bytes = 0;
  uint32_t highest_sacked = 0;  // RACK.fack: one past the highest number SACKed or acknowledged

  // RACK. RFC 8985 5.2, 6.2.
  uint32_t rack_sent_us = 0;  // RACK.xmit_ts, modulo 2^32
  uint32_t rack_end = 0;      // RACK.end_seq
  uint32_t rack_rtt_us = 0;   // RACK.rtt
  uint32_t dsack_round = 0;   // RACK.dsack_round
  // Tail loss probe. RFC 8985 7.2.
  uint32_t probe_end = 0;  // TLP.end_seq

  // Deadlines; Tcb::retransmit_at is the earliest.
  Micros rto_at = kNever;      // RFC 6298
  Micros reorder_at = kNever;  // RACK's reordering timer
  Micros probe_at = kNever;    // TLP's
  Micros pace_at = kNever;     // new data waits until then

  // Recovery. RFC 6675 5.
  uint32_t recover = 0;         // RecoveryPoint
  uint32_t recover_flight = 0;  // RecoverFS; RFC 6937 3
  uint32_t prr_delivered = 0;
  uint32_t prr_out = 0;

  // Undo: what the windows were, and what would show that the reduction was needless.
  Congestion before;
  CongestionFlight before_flight;
  uint32_t undo_retransmissions = 0;  // packets sent again and not answered by a D-SACK
  uint32_t resent_from = 0;           // they lie from here
  uint32_t resent_to = 0;             // to here
  uint32_t resent_clock = 0;  // timestamp clock of the first retransmission in flight; RFC 3522

  uint32_t reduced_until = 0;     // snd_nxt at the last reduction: one a window of data
  uint32_t full_end = 0;          // snd_nxt when cwnd was full
  uint32_t cwnd_limited_end = 0;  // the same; in slow start: when it was more than half full

  bool rack_valid : 1 = false;
  bool dsack_round_valid : 1 = false;
  bool probe_sent : 1 = false;            // TLP.end_seq is meant
  bool probe_retransmission : 1 = false;  // TLP.is_retrans
  bool probe_wanted : 1 = false;          // the probe timer is to be set anew
  bool can_undo : 1 = false;
  bool resent_any : 1 = false;  // in this recovery
  bool resent_clock_valid : 1 = false;
  bool frto : 1 = false;           // RFC 5682: the timeout may be spurious
  bool frto_new_data : 1 = false;  // its step 2b: new data goes out instead of retransmissions
  bool force_resend : 1 = false;   // the first retransmission does not wait for cwnd
  bool timer_stands : 1 = false;   // RFC 6582 3.2, step 3: behind the first partial ACK

  // SACKs that bring nothing while the list is long: so many are looked at, and one more each tick.
  uint8_t sack_credit = kSackCredit;
  uint8_t sack_credit_tick = 0;

  CongestionFlight congestion;
};

}  // namespace sluice::tcp
