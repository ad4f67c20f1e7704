// Job: from acknowledgements decide what the network still holds, what must be sent again, and how
// much may be sent. The scoreboard says what an ACK has told (`AckNews`), RACK what is lost; here
// is the state machine around them and the window while it recovers.
//
//   Open      cwnd grows with ACKs. Something is lost: on_loss, enter_recovery
//   Recovery  PRR spreads the reduction over the round trip: cwnd = pipe + what it allows now.
//             snd_una reaches `recover`: cwnd = ssthresh, Open
//   Loss      after a timeout everything is lost and cwnd begins with one segment.
//             F-RTO first sends new data: if the originals arrive after all, nothing was lost
//
// A reduction is undone when it proves needless: an ACK echoes a timestamp from before the first
// retransmission (Eifel, RFC 3522), D-SACKs answer every retransmission (RFC 3708), or after a
// timeout originals are delivered (F-RTO, RFC 5682).
//
// Without SACK a duplicate ACK stands for one segment that has left, and the third one or a partial
// ACK for the loss of the first (RFC 6582): `sacked_bytes` counts them, the rest is the same.
// Without a block (the pool was empty) one segment is in flight, and only the timer acts.
#include "tcp/recovery.h"

#include <algorithm>

#include "abi/assert.h"
#include "tcp/path.h"
#include "tcp/rack.h"
#include "tcp/retransmit_timer.h"
#include "tcp/scoreboard.h"
#include "tcp/seq.h"

namespace sluice::tcp {
namespace {

using abi::Counter;

constexpr uint32_t kDupAckThreshold = 3;          // RFC 5681 3.2
constexpr Micros kRtoAfterLostSyn = 3 * kSecond;  // RFC 6298 5.7

// ---- The queue

// Frees `acked` bytes and keeps the cursor on the same byte, or moves it up to snd_una.
void drop_acknowledged(Stack& stack, Tcb& tcb, uint32_t acked_bytes, uint32_t sent_bytes) {
  tcb.send.consume(stack.nodes, acked_bytes);
  if (acked_bytes >= sent_bytes) {
    tcb.cursor = SendCursor{};
  } else if (tcb.cursor.node == stack.nodes.index_of(tcb.send.head())) {
    tcb.cursor.offset = sent_bytes - acked_bytes;
  }
}

// snd_una moves. Returns whether our FIN was covered.
bool advance(Stack& stack, Tcb& tcb, uint32_t ack, const AckClock& clock, AckNews& news,
             InputResult& result) {
  const bool fin_acked = tcb.fin_queued && ack == tcb.send_end() + 1;
  const uint32_t acked_bytes = ack - tcb.send_seq() - (fin_acked ? 1U : 0U);
  const uint32_t sent_bytes =  // 0 while snd_nxt stands at or before the SYN's end
      seq_max(seq_min(tcb.snd_nxt, tcb.send_end()), tcb.send_seq()) - tcb.send_seq();
  SLUICE_ASSERT(acked_bytes <= tcb.send.readable_bytes());
  news.advanced = true;
  news.acked_bytes = ack - tcb.snd_una;
  if (tcb.in_flight != nullptr) note_acknowledged(stack, tcb, ack, clock, news);
  drop_acknowledged(stack, tcb, acked_bytes, sent_bytes);
  tcb.snd_una = ack;
  if (seq_less(tcb.snd_nxt, ack)) tcb.snd_nxt = ack;
  if (tcb.in_flight != nullptr) align_first_record(stack, tcb);
  if (fin_acked) tcb.fin_queued = false;
  result.writable = result.writable || acked_bytes != 0;
  tcb.persist = false;
  tcb.unanswered_since = to_millis(clock.now);
  tcb.retransmit_at = kNever;  // RFC 6298 5.2, 5.3
  path_on_ack(stack, tcb, acked_bytes, clock.now);
  if (tcb.in_flight != nullptr) {
    tcb.in_flight->rto_at = kNever;
    tcb.in_flight->probe_wanted = true;
  }
  return fin_acked;
}

void update_send_window(Tcb& tcb, const net::Segment& segment) {  // RFC 9293 3.10.7.4, fifth
  if (seq_less(tcb.snd_wl1, segment.seq) ||
      (tcb.snd_wl1 == segment.seq && seq_leq(tcb.snd_wl2, segment.ack))) {
    tcb.snd_wnd = static_cast<uint32_t>(segment.window) << tcb.snd_wscale;
    tcb.snd_wl1 = segment.seq;
    tcb.snd_wl2 = segment.ack;
    tcb.max_snd_wnd = std::max(tcb.max_snd_wnd, tcb.snd_wnd);
  }
}

// ---- Windows

bool is_duplicate_ack(const Tcb& tcb, const net::Segment& segment, const AckNews& news) {
  if (news.advanced || tcb.snd_max == tcb.snd_una || tcb.persist) return false;
  if (tcb.sack_permitted) return news.sacked_bytes != 0;  // RFC 6675 2
  return segment.ack == tcb.snd_una && segment.payload.length == 0 &&
         (segment.flags & (net::kSyn | net::kFin)) == 0 &&
         static_cast<uint32_t>(segment.window) << tcb.snd_wscale == tcb.snd_wnd;  // RFC 5681 2
}

void grow(Stack& stack, Tcb& tcb, const AckNews& news, uint32_t prior_flight, Micros now) {
  if (news.acked_bytes == 0) return;
  CongestionFlight none;
  InFlight* flight = tcb.in_flight;
  Congestion& congestion = tcb.congestion;
  // A window that is not used proves nothing (RFC 7661's concern; the rule is Linux's).
  const bool limited =
      (flight != nullptr && seq_less(tcb.snd_una - news.acked_bytes, flight->cwnd_limited_end)) ||
      (congestion.slow_start() && congestion.cwnd_bytes < 2ULL * prior_flight);
  const AckSample sample{news.acked_bytes, prior_flight, effective_mss(tcb), tcb.srtt_us, now,
                         news.last_rtt_us, tcb.snd_una,  tcb.snd_nxt,        limited};
  stack.config.congestion->on_ack(congestion, flight != nullptr ? flight->congestion : none,
                                  sample);
}

// ssthresh falls, once for each window of data.
void reduce(Stack& stack, Tcb& tcb, Micros now) {
  InFlight& flight = *tcb.in_flight;
  if (seq_less(tcb.snd_una, flight.reduced_until)) return;
  stack.config.congestion->on_loss(tcb.congestion, flight.congestion, tcb.flight_bytes(),
                                   effective_mss(tcb), now);
  flight.reduced_until = tcb.snd_nxt;
  tcb.ecn_cwr = tcb.ecn;  // RFC 3168 6.1.2
}

void remember_windows(Tcb& tcb) {
  InFlight& flight = *tcb.in_flight;
  flight.before = tcb.congestion;
  flight.before_flight = flight.congestion;
  flight.undo_from = tcb.snd_una;
  flight.undo_retransmissions = 0;
  flight.resent_any = false;
  flight.can_undo = true;
}

// RFC 6937 3.1, with the slow start reduction bound.
void proportional_rate(Tcb& tcb, const AckNews& news, uint32_t newly_lost) {
  InFlight& flight = *tcb.in_flight;
  const uint32_t mss = effective_mss(tcb);
  const uint32_t ssthresh = tcb.congestion.ssthresh_bytes;
  const uint32_t pipe = pipe_bytes(tcb);
  flight.prr_delivered += news.delivered_bytes;
  uint64_t allowed = 0;
  if (pipe > ssthresh) {
    const uint64_t share = static_cast<uint64_t>(flight.prr_delivered) * ssthresh;
    const uint64_t target = (share + flight.recover_flight - 1) / flight.recover_flight;
    allowed = target > flight.prr_out ? target - flight.prr_out : 0;
  } else {
    const uint32_t ahead =
        flight.prr_delivered > flight.prr_out ? flight.prr_delivered - flight.prr_out : 0;
    uint32_t limit = std::max(ahead, news.delivered_bytes);
    if (news.advanced && newly_lost == 0) limit += mss;  // it goes well
    allowed = std::min(ssthresh - pipe, limit);
  }
  tcb.congestion.cwnd_bytes = static_cast<uint32_t>(std::max<uint64_t>(pipe + allowed, mss));
}

// ---- Entering and leaving

void enter_recovery(Stack& stack, Tcb& tcb, Micros now) {
  InFlight& flight = *tcb.in_flight;
  path_on_loss(tcb, now);
  remember_windows(tcb);
  reduce(stack, tcb, now);
  tcb.phase = SendPhase::Recovery;
  flight.recover = tcb.snd_nxt;
  flight.recover_flight = std::max(tcb.flight_bytes(), 1U);
  flight.prr_delivered = flight.prr_out = 0;
  flight.force_resend = true;
  flight.probe_sent = false;
  flight.probe_at = kNever;
  stack.counters.add(Counter::tcp_fast_retransmits);
}

void leave(Tcb& tcb) {
  InFlight& flight = *tcb.in_flight;
  if (tcb.phase == SendPhase::Recovery) {
    tcb.congestion.cwnd_bytes =
        std::max(tcb.congestion.ssthresh_bytes, effective_mss(tcb));  // RFC 6937 3.1
  }
  if (!tcb.sack_permitted) flight.sacked_bytes = 0;
  tcb.phase = SendPhase::Open;
  tcb.dup_acks = 0;
  flight.can_undo = flight.frto = flight.frto_new_data = flight.force_resend = false;
  rack_recovery_ended(tcb);
}

// Returns whether the reduction was needless; everything is as before it then.
bool undo(Stack& stack, Tcb& tcb, const AckClock& clock, const AckNews& news) {
  InFlight& flight = *tcb.in_flight;
  if (!flight.can_undo) return false;
  const bool eifel = tcb.timestamps && clock.has_echo && flight.resent_any && news.advanced &&
                     news.retransmitted_acked && seq_less(clock.echo_ms, flight.resent_clock);
  const bool all_dsacked = news.dsack && flight.resent_any && flight.undo_retransmissions == 0;
  const bool originals = flight.frto && news.original &&  // RFC 5682 2.1, step 3b; 3.1
                         (tcb.sack_permitted || !news.retransmitted_acked);
  if (!eifel && !all_dsacked && !originals) return false;
  const uint32_t cwnd = std::max(tcb.congestion.cwnd_bytes, flight.before.cwnd_bytes);
  tcb.congestion = flight.before;
  tcb.congestion.cwnd_bytes = cwnd;
  flight.congestion = flight.before_flight;
  flight.reduced_until = tcb.snd_una;
  tcb.ecn_cwr = false;
  clear_lost(stack, tcb);
  tcb.phase = SendPhase::Open;
  leave(tcb);
  stack.counters.add(Counter::tcp_spurious_recoveries);
  return true;
}

// Without SACK: the first segment in flight is the one that is missing.
uint32_t mark_first_lost(Stack& stack, Tcb& tcb) {
  const uint32_t first = tcb.in_flight->first;
  if (first == kNoRecord) return 0;
  const uint32_t end = tcb.snd_una + effective_mss(tcb);
  if (seq_less(end, record_end(stack, tcb, stack.pools.records[first]))) {
    split_record(stack, tcb, first, end);
  }
  return mark_lost(stack, tcb, first);
}

uint32_t detect_loss(Stack& stack, Tcb& tcb, const AckNews& news, Micros now) {
  if (tcb.sack_permitted) {
    rack_adapt(tcb, news);
    return rack_detect_loss(stack, tcb, now);
  }
  switch (tcb.phase) {
    case SendPhase::Open:  // RFC 6582 3.2, step 2: not for what an earlier recovery has sent twice
      if (tcb.dup_acks != kDupAckThreshold) return 0;
      if (!seq_less(tcb.in_flight->recover, tcb.snd_una)) return 0;
      return mark_first_lost(stack, tcb);
    case SendPhase::Recovery:  // step 3, partial acknowledgement
      return news.advanced ? mark_first_lost(stack, tcb) : 0;
    case SendPhase::Loss:
      return 0;
  }
  return 0;
}

// What duplicate ACKs stand for where there is no SACK. RFC 6582 3.2, RFC 6937 3.1.
void count_duplicates(Tcb& tcb, bool duplicate, AckNews& news) {
  InFlight& flight = *tcb.in_flight;
  const uint32_t mss = effective_mss(tcb);
  if (duplicate) {
    const uint32_t room = pipe_bytes(tcb);
    const uint32_t left = std::min(mss, room > mss ? room - mss : 0);
    flight.sacked_bytes += left;
    news.delivered_bytes += left;
  } else if (news.advanced) {
    const uint32_t beyond = news.acked_bytes > mss ? news.acked_bytes - mss : 0;
    const uint32_t known = std::min(tcb.phase == SendPhase::Recovery ? beyond : flight.sacked_bytes,
                                    flight.sacked_bytes);
    flight.sacked_bytes = std::min(flight.sacked_bytes - known, tcb.flight_bytes());
    news.delivered_bytes -= std::min(news.delivered_bytes, known);
  }
}

// ---- The phases

void in_open(Stack& stack, Tcb& tcb, const AckNews& news, uint32_t prior_flight, Micros now) {
  const uint32_t lost = detect_loss(stack, tcb, news, now);
  if (next_lost_record(stack, tcb) != kNoRecord) {
    enter_recovery(stack, tcb, now);
    proportional_rate(tcb, news, lost);
    return;
  }
  if (tlp_repaired_loss(tcb, tcb.snd_una, news)) {
    reduce(stack, tcb, now);
    tcb.congestion.cwnd_bytes = std::min(tcb.congestion.cwnd_bytes, tcb.congestion.ssthresh_bytes);
    return;
  }
  grow(stack, tcb, news, prior_flight, now);
}

// RFC 5682 2.1 and 3.1, behind the check for originals.
void forward_rto(Tcb& tcb, const AckNews& news, bool duplicate) {
  InFlight& flight = *tcb.in_flight;
  if (!flight.frto) return;
  if (flight.frto_new_data) {
    if (duplicate) flight.frto = flight.frto_new_data = false;  // step 3a: the loss was real
  } else if (!news.advanced) {
    if (duplicate) flight.frto = false;  // step 2a
  } else if (has_unsent(tcb) && seq_less(tcb.snd_nxt, tcb.snd_una + tcb.snd_wnd)) {
    flight.frto_new_data = true;  // step 2b
  } else {
    flight.frto = false;
  }
}

void react(Stack& stack, Tcb& tcb, const AckClock& clock, AckNews& news, bool duplicate,
           uint32_t prior_flight) {
  InFlight& flight = *tcb.in_flight;
  if (!tcb.sack_permitted) count_duplicates(tcb, duplicate, news);
  if (duplicate) {
    tcb.dup_acks = static_cast<uint8_t>(std::min(tcb.dup_acks + 1, 255));
  } else if (news.advanced && tcb.phase == SendPhase::Open) {
    tcb.dup_acks = 0;
  }
  if (tcb.phase != SendPhase::Open && undo(stack, tcb, clock, news)) return;
  if (tcb.phase != SendPhase::Open && !seq_less(tcb.snd_una, flight.recover)) {
    leave(tcb);
    news.acked_bytes = 0;  // what was sent before the reduction does not make the window grow
  }
  switch (tcb.phase) {
    case SendPhase::Open:
      in_open(stack, tcb, news, prior_flight, clock.now);
      break;
    case SendPhase::Recovery:
      proportional_rate(tcb, news, detect_loss(stack, tcb, news, clock.now));
      break;
    case SendPhase::Loss:
      forward_rto(tcb, news, duplicate);
      detect_loss(stack, tcb, news, clock.now);
      grow(stack, tcb, news, prior_flight, clock.now);
      break;
  }
}

// RFC 3168 6.1.2: a congestion mark counts as a loss of which nothing was lost.
void take_congestion_echo(Stack& stack, Tcb& tcb, Micros now) {
  if (tcb.phase != SendPhase::Open || seq_less(tcb.snd_una, tcb.in_flight->reduced_until)) return;
  reduce(stack, tcb, now);
  tcb.congestion.cwnd_bytes = std::min(tcb.congestion.cwnd_bytes,
                                       std::max(tcb.congestion.ssthresh_bytes, effective_mss(tcb)));
  stack.counters.add(Counter::tcp_ecn_reductions);
}

}  // namespace

bool process_ack(Stack& stack, Tcb& tcb, const net::Segment& segment, Micros now,
                 InputResult& result) {
  AckNews news;
  AckClock clock{now,
                 tcb.timestamps && segment.options.has_timestamps && segment.options.tsecr != 0,
                 segment.options.tsecr - tcb.ts_offset};
  const uint32_t prior_una = tcb.snd_una;
  const uint32_t prior_flight = tcb.flight_bytes();
  if (tcb.in_flight != nullptr) news.fack = tcb.in_flight->highest_sacked;
  // An answer, and it says what the window is: the probe can wait again.
  if (tcb.persist && seq_leq(tcb.snd_una, segment.ack)) restart_persist(stack, tcb, now);
  bool fin_acked = false;
  if (seq_less(tcb.snd_una, segment.ack)) {
    fin_acked = advance(stack, tcb, segment.ack, clock, news, result);
  }
  // A handshake in which nothing was sent twice is the first round trip.
  if (tcb.state == State::SynSent && tcb.backoff == 0) {
    news.first_rtt_us = std::max(static_cast<uint32_t>(now) - tcb.sent_us, 1U);
    tcb.min_rtt_us = news.first_rtt_us;
  }
  if (tcb.in_flight != nullptr) {
    if (tcb.sack_permitted) note_sacked(stack, tcb, segment, prior_una, clock, news);
    const bool duplicate = is_duplicate_ack(tcb, segment, news);
    react(stack, tcb, clock, news, duplicate, prior_flight);
    if (tcb.ecn && (segment.flags & net::kEce) != 0) take_congestion_echo(stack, tcb, now);
    if (tcb.snd_una == tcb.snd_nxt) end_flight(stack, tcb);
  } else if (is_synchronized(tcb.state)) {
    grow(stack, tcb, news, prior_flight, now);
  }
  if (news.first_rtt_us != 0) add_rtt_sample(stack, tcb, news.first_rtt_us);
  if (seq_leq(tcb.snd_una, segment.ack)) update_send_window(tcb, segment);
  tcb.output_wanted = true;
  return fin_acked;
}

void begin_transfer(Stack& stack, Tcb& tcb, Micros now) {
  const bool syn_was_lost = tcb.backoff != 0;
  const uint32_t mss = effective_mss(tcb);
  stack.config.congestion->begin(tcb.congestion, mss);
  if (syn_was_lost) {
    tcb.congestion.cwnd_bytes = mss;  // RFC 5681 3.1
    if (tcb.srtt_us == 0) {
      tcb.rto_us = static_cast<uint32_t>(std::max(stack.config.rto_initial_us, kRtoAfterLostSyn));
    }
  }
  tcb.backoff = 0;
  tcb.sent_us = static_cast<uint32_t>(now);
  tcb.received_at = to_millis(now);
  tcb.retransmit_at = kNever;
  if (stack.config.keepalive_idle_us != 0) tcb.idle_at = now + stack.config.keepalive_idle_us;
}

void on_reorder_timer(Stack& stack, Tcb& tcb, Micros now) {
  const uint32_t lost = rack_detect_loss(stack, tcb, now);
  if (lost == 0) return;
  if (tcb.phase == SendPhase::Open) enter_recovery(stack, tcb, now);
  if (tcb.phase == SendPhase::Recovery) proportional_rate(tcb, AckNews{}, lost);
}

void enter_loss(Stack& stack, Tcb& tcb, Micros now) {
  CongestionFlight none;
  const CongestionOps& ops = *stack.config.congestion;
  const uint32_t mss = effective_mss(tcb);
  tcb.dup_acks = 0;
  if (tcb.in_flight == nullptr) {
    ops.on_timeout(tcb.congestion, none, tcb.flight_bytes(), mss, tcb.backoff == 0, now);
    go_back(stack, tcb);
    return;
  }
  InFlight& flight = *tcb.in_flight;
  // One reduction for a window of data, whatever has found the loss; RFC 5681 3.1 for repeats.
  const bool first = tcb.phase == SendPhase::Open;
  if (first) remember_windows(tcb);
  ops.on_timeout(tcb.congestion, flight.congestion, tcb.flight_bytes(), mss, first, now);
  tcb.ecn_cwr = tcb.ecn;
  tcb.phase = SendPhase::Loss;
  mark_all_lost(stack, tcb);
  flight.recover = flight.reduced_until = tcb.snd_nxt;
  flight.frto = first;
  flight.frto_new_data = false;
  flight.force_resend = true;
  flight.probe_sent = false;
  flight.rto_at = flight.reorder_at = flight.probe_at = flight.pace_at = kNever;
}

void resend_oversized(Stack& stack, Tcb& tcb) {
  if (tcb.in_flight == nullptr) return;
  const uint32_t mss = effective_mss(tcb);
  for (uint32_t index = tcb.in_flight->first; index != kNoRecord;) {
    const SentRecord& record = stack.pools.records[index];
    const bool over = record_end(stack, tcb, record) - record.seq > mss;
    if (over && !record.sacked) mark_lost(stack, tcb, index);
    index = record.next;
  }
  tcb.in_flight->force_resend = true;
  tcb.output_wanted = true;
}

bool has_unsent(const Tcb& tcb) {
  if (!is_synchronized(tcb.state)) return false;
  return seq_less(tcb.snd_nxt, tcb.send_end() + (tcb.fin_queued ? 1U : 0U));
}

}  // namespace sluice::tcp
