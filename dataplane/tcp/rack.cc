// Job: tell lost from late. A segment is lost when one that was sent later has arrived and a round
// trip and the reordering window have passed since it was sent. The window is a quarter of the
// shortest round trip, more while D-SACKs tell of needless retransmissions, and nothing in a
// recovery or after three SACKed segments unless reordering has been seen. It works for
// retransmissions as for originals, and for the tail once the probe has drawn an ACK.
//
// The probe: two round trips after the last transmission or ACK the last segment goes again, or a
// new one, so that an ACK tells what is lost before the RTO assumes that everything is. When the
// probe itself repairs the loss no ACK tells; then the first ACK of something newer, without a
// D-SACK or duplicate before it, counts as the loss. That may come long after the flight has
// ended: `probe_undecided` keeps it in mind.
#include "tcp/rack.h"

#include <algorithm>

#include "tcp/scoreboard.h"
#include "tcp/seq.h"

namespace sluice::tcp {
namespace {

constexpr uint32_t kDupAckThreshold = 3;      // RFC 5681 3.2, RFC 8985 6.2, step 4
constexpr uint8_t kMaxReorderMultiple = 15;   // of a quarter of min_rtt; srtt bounds it as well
constexpr uint8_t kReorderPersistence = 16;   // recoveries; RFC 8985 6.2, step 4
constexpr Micros kWorstDelayedAck = 200'000;  // RFC 8985 7.2, TLP.max_ack_delay
constexpr Micros kMinProbeUs = 2'000;         // two ticks of the workers' timer wheel

// RFC 8985 6.2, step 4.
uint32_t reordering_window_us(const Tcb& tcb) {
  const InFlight& flight = *tcb.in_flight;
  if (!tcb.reordering_seen) {
    if (tcb.phase != SendPhase::Open || tcb.dup_acks >= kDupAckThreshold) return 0;
    if (flight.sacked_bytes > (kDupAckThreshold - 1) * effective_mss(tcb)) return 0;
  }
  if (tcb.min_rtt_us == UINT32_MAX) return 0;
  const uint64_t window = static_cast<uint64_t>(tcb.reorder_multiple) * (tcb.min_rtt_us / 4);
  return static_cast<uint32_t>(std::min<uint64_t>(window, tcb.srtt_us));
}

bool sent_before(uint32_t a_us, uint32_t a_end, uint32_t b_us, uint32_t b_end) {
  return a_us != b_us ? seq_less(a_us, b_us) : seq_less(a_end, b_end);
}

}  // namespace

void rack_adapt(Tcb& tcb, const AckNews& news) {
  if (news.reordered) tcb.reordering_seen = true;
  if (InFlight* flight = tcb.in_flight; flight != nullptr) {  // at most once a round trip
    if (flight->dsack_round_valid && seq_leq(flight->dsack_round, tcb.snd_una)) {
      flight->dsack_round_valid = false;
    }
    if (!news.dsack || flight->dsack_round_valid) return;
    flight->dsack_round_valid = true;
    flight->dsack_round = tcb.snd_nxt;
  }
  if (!news.dsack) return;
  if (tcb.reorder_multiple < kMaxReorderMultiple) ++tcb.reorder_multiple;
  tcb.reorder_persistence = kReorderPersistence - 1;
}

void rack_recovery_ended(Tcb& tcb) {
  if (tcb.reorder_multiple == 1) return;
  if (tcb.reorder_persistence == 0) {
    tcb.reorder_multiple = 1;
  } else {
    --tcb.reorder_persistence;
  }
}

uint32_t rack_detect_loss(const Stack& stack, Tcb& tcb, Micros now) {
  InFlight& flight = *tcb.in_flight;
  flight.reorder_at = kNever;
  if (!flight.rack_valid) return 0;
  const uint32_t window = reordering_window_us(tcb);
  uint32_t lost = 0;
  uint32_t wait = 0;
  for (uint32_t index = flight.first; index != kNoRecord;) {
    const SentRecord& record = stack.pools.records[index];
    const uint32_t at = index;
    index = record.next;
    if (record.sacked || (record.lost && !record.resent)) continue;
    const uint32_t end = record_end(stack, tcb, record);
    if (!sent_before(record.sent_us, end, flight.rack_sent_us, flight.rack_end)) {
      if (!record.retransmitted) break;  // what follows was sent later still
      continue;
    }
    const uint32_t due = record.sent_us + flight.rack_rtt_us + window;
    const uint32_t now_us = static_cast<uint32_t>(now);
    if (seq_leq(due, now_us)) {
      lost += mark_lost(stack, tcb, at);
    } else {
      wait = std::max(wait, due - now_us);
    }
  }
  if (wait != 0) flight.reorder_at = now + wait;
  return lost;
}

void rack_mark_lost_on_timeout(const Stack& stack, Tcb& tcb, Micros now) {
  const InFlight& flight = *tcb.in_flight;
  const uint32_t patience = flight.rack_valid ? flight.rack_rtt_us + reordering_window_us(tcb) : 0;
  for (uint32_t index = flight.first; index != kNoRecord;) {
    const SentRecord& record = stack.pools.records[index];
    const bool due = seq_leq(record.sent_us + patience, static_cast<uint32_t>(now));
    if (!record.sacked && (index == flight.first || due)) mark_lost(stack, tcb, index);
    index = record.next;
  }
}

Micros tlp_deadline(const Tcb& tcb, Micros now) {
  const InFlight& flight = *tcb.in_flight;
  if (!tcb.sack_permitted || tcb.phase != SendPhase::Open || flight.probe_sent ||
      !tcb.rtt_since_probe || flight.sacked_bytes != 0 || flight.lost_bytes != 0) {
    return kNever;
  }
  Micros timeout = std::max(2 * static_cast<Micros>(tcb.srtt_us), kMinProbeUs);
  if (tcb.flight_bytes() <= effective_mss(tcb)) timeout += kWorstDelayedAck;
  return std::min(now + timeout, flight.rto_at);
}

bool tlp_repaired_loss(Tcb& tcb, uint32_t ack, bool pure_duplicate, const AckNews& news) {
  InFlight& flight = *tcb.in_flight;
  if (!flight.probe_sent || seq_less(ack, flight.probe_end)) return false;
  const bool beyond = seq_less(flight.probe_end, ack);
  if (flight.probe_retransmission) {
    const bool both_arrived =
        (news.dsack && news.twice.end == flight.probe_end) || (pure_duplicate && !beyond);
    if (!both_arrived && !beyond) return false;
    flight.probe_sent = false;
    return !both_arrived;
  }
  flight.probe_sent = false;
  return false;
}

void tlp_answered_idle(Tcb& tcb, uint32_t ack, bool pure_duplicate, const AckNews& news) {
  if (ack != tcb.snd_una) return;
  if (pure_duplicate || (news.dsack && news.twice.end == ack)) tcb.probe_undecided = false;
}

}  // namespace sluice::tcp
