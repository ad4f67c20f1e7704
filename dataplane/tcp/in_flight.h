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
inline constexpr uint32_t kMaxRecords = 1024;

struct SentRecord {
  uint32_t next = kNoRecord;
  uint32_t seq = 0;          // of its first byte
  uint32_t sent_us = 0;      // of the latest transmission, modulo 2^32
  uint32_t node = 0;         // index of the slice node that holds the first byte
  uint32_t offset : 24 = 0;  // of the byte in that node, unless the node is the send queue's first
  bool sacked : 1 = false;
  bool lost : 1 = false;           // declared lost, by RACK, duplicates or the timer
  bool retransmitted : 1 = false;  // sent again at least once: no RTT sample (Karn)
  bool resent : 1 = false;         // lost and sent again since: in the pipe
};
static_assert(sizeof(SentRecord) == 20);

struct InFlight {
  uint32_t next = kNoRecord;  // the pool's
  uint32_t first = kNoRecord;
  uint32_t last = kNoRecord;
  uint32_t records = 0;
  uint32_t next_lost = kNoRecord;  // no lost record that waits for retransmission lies before it

  // pipe = (snd_nxt - snd_una) - sacked - lost + resent. RFC 6675 4 in bytes.
  uint32_t sacked_bytes = 0;  // without SACK: what duplicate ACKs stand for (RFC 5681 3.2)
  uint32_t lost_bytes = 0;
  uint32_t resent_bytes = 0;
  uint32_t highest_sacked = 0;  // one past the highest number SACKed or acknowledged

  // RACK. RFC 8985 6.2.
  uint32_t rack_sent_us = 0;  // RACK.xmit_ts
  uint32_t rack_end = 0;      // RACK.end_seq
  uint32_t rack_rtt_us = 0;
  Micros reorder_at = kNever;  // the reordering timer
  // Tail loss probe. RFC 8985 7.
  Micros probe_at = kNever;
  uint32_t probe_end = 0;  // TLP.end_seq

  Micros rto_at = kNever;  // RFC 6298

  // Recovery. RFC 6675 5: RecoveryPoint; RFC 6937 3.
  uint32_t recover = 0;
  uint32_t recover_flight = 0;  // RecoverFS
  uint32_t prr_delivered = 0;
  uint32_t prr_out = 0;

  // Undo: what the windows were, and how many retransmissions have not been answered by a D-SACK.
  Congestion before;
  CongestionFlight before_flight;
  uint32_t undo_from = 0;  // snd_una when recovery began
  uint32_t undo_retransmissions = 0;
  uint32_t first_resent_ts = 0;  // timestamp clock of recovery's first retransmission (RFC 3522)

  uint32_t cwnd_limited_end = 0;  // snd_nxt when the window was last full

  bool rack_valid : 1 = false;
  bool probe_sent : 1 = false;            // TLP.end_seq is meant
  bool probe_retransmission : 1 = false;  // TLP.is_retrans
  bool probe_wanted : 1 = false;          // the probe timer is to be set anew
  bool can_undo : 1 = false;
  bool frto : 1 = false;           // RFC 5682: the timeout may have been spurious
  bool frto_new_data : 1 = false;  // its step 2b has sent new data
  bool force_resend : 1 = false;   // the first retransmission of a recovery does not wait for cwnd
  bool sack_reneged : 1 = false;   // the peer took a SACK back: the timer clears the scoreboard

  CongestionFlight congestion;
};

}  // namespace sluice::tcp
