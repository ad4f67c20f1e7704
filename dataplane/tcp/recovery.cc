// Job: from acknowledgements decide what the network still holds, what must be sent again, and how
// much may be sent. The scoreboard says what an ACK has told (`AckNews`), RACK what is lost; here
// is the state machine around them and the window while it recovers.
//
//   Open      cwnd grows with ACKs. Something is lost: on_loss, enter_recovery
//   Recovery  PRR spreads the reduction over the round trip: cwnd = pipe + what it allows now.
//             snd_una reaches `recover`: cwnd = ssthresh, Open
//   Loss      after a timeout what was sent long enough ago is lost, and cwnd begins with one
//             segment
//
// A reduction that proves needless is undone (undo.cc).
//
// Without SACK duplicate ACKs take the place of both (newreno.cc); the rest is the same.
// Without a block (the pool was empty) one segment is in flight, and only the timer acts.
#include "tcp/recovery.h"

#include <algorithm>

#include "abi/assert.h"
#include "tcp/newreno.h"
#include "tcp/path.h"
#include "tcp/rack.h"
#include "tcp/retransmit_timer.h"
#include "tcp/scoreboard.h"
#include "tcp/seq.h"
#include "tcp/undo.h"

namespace sluice::tcp {
namespace {

using abi::Counter;

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

// Markers that a flight has left behind stay in reach of sequence arithmetic: after 2 GiB without a
// loss they would lie in front of snd_una.
void keep_markers_near(Tcb& tcb) {
  constexpr uint32_t kReach = 1U << 29;  // an ACK moves snd_una by 2^30 at most
  InFlight& flight = *tcb.in_flight;
  const uint32_t oldest = tcb.snd_una - kReach;
  for (uint32_t* marker :
       {&flight.reduced_until, &flight.recover, &flight.cwnd_limited_end, &flight.full_end}) {
    if (seq_less(*marker, oldest)) *marker = oldest;
  }
  if (seq_less(flight.resent_from, oldest)) flight.can_undo = false;
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
  if (tcb.in_flight != nullptr) {
    align_first_record(stack, tcb);
    keep_markers_near(tcb);
  }
  if (fin_acked) tcb.fin_queued = false;
  result.writable = result.writable || acked_bytes != 0;
  tcb.persist = false;
  tcb.unanswered_since = to_millis(clock.now);
  tcb.retransmit_at = kNever;  // RFC 6298 5.2, 5.3
  path_on_ack(stack, tcb, acked_bytes, clock.now);
  if (tcb.in_flight != nullptr) {
    if (!tcb.in_flight->timer_stands) tcb.in_flight->rto_at = kNever;
    tcb.in_flight->timer_stands = tcb.phase == SendPhase::Recovery && !tcb.sack_permitted;
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

// RFC 5681 2, but for the data outstanding.
bool is_pure_duplicate(const Tcb& tcb, const net::Segment& segment, const AckNews& news) {
  return !news.advanced && segment.ack == tcb.snd_una && segment.payload.length == 0 &&
         (segment.flags & (net::kSyn | net::kFin)) == 0 && segment.options.sack_count == 0 &&
         static_cast<uint32_t>(segment.window) << tcb.snd_wscale == tcb.snd_wnd;
}

bool is_duplicate_ack(const Tcb& tcb, bool pure_duplicate, const AckNews& news) {
  if (news.advanced || tcb.snd_max == tcb.snd_una || tcb.persist) return false;
  return tcb.sack_permitted ? news.sacked_bytes != 0 : pure_duplicate;  // RFC 6675 2
}

void grow(Stack& stack, Tcb& tcb, const AckNews& news, uint32_t prior_flight, Micros now) {
  if (news.acked_bytes == 0) return;
  CongestionFlight none;
  InFlight* flight = tcb.in_flight;
  Congestion& congestion = tcb.congestion;
  const uint32_t mss = effective_mss(tcb);
  // RFC 3465 2.3: after a timeout an ACK may cover much that had arrived before it.
  const uint32_t acked_bytes =
      tcb.phase == SendPhase::Loss ? std::min(news.acked_bytes, mss) : news.acked_bytes;
  // A window that is not used proves nothing (RFC 7661's concern; the rule is Linux's).
  const bool limited =
      flight != nullptr && seq_less(tcb.snd_una - news.acked_bytes, flight->cwnd_limited_end);
  const AckSample sample{
      .acked_bytes = acked_bytes,
      .flight_bytes = prior_flight,
      .mss_bytes = mss,
      .srtt_us = tcb.srtt_us,
      .now = now,
      .rtt_us = news.ambiguous ? 0 : news.last_rtt_us,
      .ack = tcb.snd_una,
      .snd_nxt = tcb.snd_nxt,
      .cwnd_limited = limited,
      .paced = stack.config.pacing,
  };
  stack.config.congestion->on_ack(congestion, flight != nullptr ? flight->congestion : none,
                                  sample);
}

// What was in use of the window when a loss is found. Several ACKs may come before anything is sent
// again: what they acknowledged has left a full window, which there is enough to fill with.
uint32_t used_window_bytes(const Tcb& tcb, uint32_t flight_bytes) {
  const bool full = has_unsent(tcb) && seq_less(tcb.snd_una, tcb.in_flight->full_end);
  return full ? std::max(flight_bytes, tcb.congestion.cwnd_bytes) : flight_bytes;
}

// ssthresh falls, once for each window of data. `flight_bytes` as CongestionOps::on_loss has it.
void reduce(Stack& stack, Tcb& tcb, uint32_t flight_bytes, Micros now) {
  InFlight& flight = *tcb.in_flight;
  if (seq_less(tcb.snd_una, flight.reduced_until)) return;
  stack.config.congestion->on_loss(tcb.congestion, flight.congestion,
                                   used_window_bytes(tcb, flight_bytes), effective_mss(tcb), now);
  flight.reduced_until = tcb.snd_nxt;
  tcb.ecn_cwr = tcb.ecn;  // RFC 3168 6.1.2
}

// A reduction of which nothing has to be sent again.
void reduce_at_once(Stack& stack, Tcb& tcb, uint32_t flight_bytes, Micros now) {
  reduce(stack, tcb, flight_bytes, now);
  tcb.congestion.cwnd_bytes = std::min(tcb.congestion.cwnd_bytes,
                                       std::max(tcb.congestion.ssthresh_bytes, effective_mss(tcb)));
  tcb.in_flight->can_undo = false;
}

// RFC 6937 3.1. Of its two bounds the one of slow start holds for ACKs that show that the
// retransmissions arrive, the conservative one for the others (RFC 9937: SafeACK).
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
    if (news.advanced && newly_lost == 0) limit += mss;
    allowed = std::min(ssthresh - pipe, limit);
  }
  tcb.congestion.cwnd_bytes = static_cast<uint32_t>(std::max<uint64_t>(pipe + allowed, mss));
}

// ---- Entering and leaving

void enter_recovery(Stack& stack, Tcb& tcb, uint32_t flight_bytes, Micros now) {
  InFlight& flight = *tcb.in_flight;
  path_on_loss(tcb, now);
  remember_windows(stack, tcb);
  const uint32_t unreplaced_bytes = used_window_bytes(tcb, flight_bytes) - flight_bytes;
  reduce(stack, tcb, flight_bytes, now);
  tcb.phase = SendPhase::Recovery;
  flight.recover = tcb.snd_nxt;
  flight.recover_flight = std::max(tcb.flight_bytes() + unreplaced_bytes, 1U);
  flight.prr_delivered = unreplaced_bytes;  // and not yet sent again for
  flight.prr_out = 0;
  flight.force_resend = true;
  flight.probe_sent = false;
  flight.probe_at = kNever;
  stack.counters.add(Counter::tcp_fast_retransmits);
}

uint32_t detect_loss(Stack& stack, Tcb& tcb, const AckNews& news, Micros now) {
  if (!tcb.sack_permitted) return newreno_detect_loss(stack, tcb, news);
  // An ACK that has delivered nothing does not make anything late; the timer does.
  const bool due = tcb.in_flight->reorder_at <= now;
  return news.delivered_bytes != 0 || due ? rack_detect_loss(stack, tcb, now) : 0;
}

// ---- The phases

void in_open(Stack& stack, Tcb& tcb, const AckNews& news, uint32_t prior_flight, Micros now) {
  const uint32_t lost = detect_loss(stack, tcb, news, now);
  if (lost != 0) {
    enter_recovery(stack, tcb, prior_flight, now);
    proportional_rate(tcb, news, lost);
  } else if (news.probe_repaired) {
    reduce_at_once(stack, tcb, prior_flight, now);
  } else {
    grow(stack, tcb, news, prior_flight, now);
  }
}

void react(Stack& stack, Tcb& tcb, const AckClock& clock, AckNews& news, bool duplicate,
           uint32_t prior_flight) {
  InFlight& flight = *tcb.in_flight;
  if (!tcb.sack_permitted) newreno_count_duplicates(tcb, duplicate, news);
  if (duplicate) {
    tcb.dup_acks = static_cast<uint8_t>(std::min(tcb.dup_acks + 1, 255));
  } else if (news.advanced && tcb.phase == SendPhase::Open) {
    tcb.dup_acks = 0;
  }
  if (undo_reduction(stack, tcb, clock, news, duplicate)) return;
  if (tcb.phase != SendPhase::Open && !seq_less(tcb.snd_una, flight.recover)) {
    leave_recovery(tcb);
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
      detect_loss(stack, tcb, news, clock.now);
      grow(stack, tcb, news, prior_flight, clock.now);
      break;
  }
}

// RFC 3168 6.1.2: a congestion mark counts as a loss of which nothing was lost, once for what was
// in flight then.
void take_congestion_echo(Stack& stack, Tcb& tcb, uint32_t prior_flight, Micros now) {
  InFlight& flight = *tcb.in_flight;
  // The window cannot become smaller: the timer alone lets more out.
  if (tcb.congestion.cwnd_bytes <= effective_mss(tcb)) flight.rto_at = kNever;
  if (tcb.phase != SendPhase::Open || seq_leq(tcb.snd_una, flight.reduced_until)) return;
  reduce_at_once(stack, tcb, prior_flight, now);
  stack.counters.add(Counter::tcp_ecn_reductions);
}

// Behind `advance`: the rest of what an ACK says while something is in flight.
void take_news(Stack& stack, Tcb& tcb, const net::Segment& segment, const AckClock& clock,
               AckNews& news, bool pure_duplicate, uint32_t prior_flight) {
  if (tcb.in_flight == nullptr) {
    if (tcb.probe_undecided) tlp_answered_idle(tcb, segment.ack, pure_duplicate, news);
    if (is_synchronized(tcb.state)) grow(stack, tcb, news, prior_flight, clock.now);
    return;
  }
  const bool congestion_echo = tcb.ecn && (segment.flags & net::kEce) != 0;
  if (congestion_echo) news.acked_bytes = 0;  // RFC 3168 6.1.2: the window does not grow
  if (tcb.sack_permitted) note_sacked(stack, tcb, segment, clock, news);
  if (news.sacked_bytes != 0) tcb.in_flight->probe_wanted = true;
  news.probe_repaired = tlp_repaired_loss(tcb, segment.ack, pure_duplicate, news);
  const bool duplicate = is_duplicate_ack(tcb, pure_duplicate, news);
  react(stack, tcb, clock, news, duplicate, prior_flight);
  if (congestion_echo) take_congestion_echo(stack, tcb, prior_flight, clock.now);
  if (tcb.snd_una == tcb.snd_nxt) end_flight(stack, tcb);
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
  const bool was_sent_once = tcb.in_flight == nullptr && tcb.snd_nxt != tcb.snd_una &&
                             is_synchronized(tcb.state) && !tcb.unsampled;
  bool fin_acked = false;
  if (seq_less(tcb.snd_una, segment.ack)) {
    fin_acked = advance(stack, tcb, segment.ack, clock, news, result);
    // A handshake in which nothing was sent twice is the first round trip.
    if (was_sent_once || (tcb.state == State::SynSent && tcb.backoff == 0)) {
      news.first_rtt_us = std::max(static_cast<uint32_t>(now) - tcb.sent_us, 1U);
      tcb.min_rtt_us = std::min(tcb.min_rtt_us, news.first_rtt_us);
    }
  }
  if (tcb.sack_permitted) {
    note_dsack(segment, prior_una, news);
    rack_adapt(tcb, news);
  }
  const bool pure_duplicate = is_pure_duplicate(tcb, segment, news);
  if (seq_leq(tcb.snd_una, segment.ack)) update_send_window(tcb, segment);
  take_news(stack, tcb, segment, clock, news, pure_duplicate, prior_flight);
  if (news.first_rtt_us != 0 && !news.ambiguous) add_rtt_sample(stack, tcb, news.first_rtt_us);
  tcb.output_wanted = true;
  return fin_acked;
}

void leave_recovery(Tcb& tcb) {
  InFlight& flight = *tcb.in_flight;
  if (tcb.phase == SendPhase::Recovery) {
    tcb.congestion.cwnd_bytes =
        std::max(tcb.congestion.ssthresh_bytes, effective_mss(tcb));  // RFC 6937 3.1
  }
  if (!tcb.sack_permitted) flight.sacked_bytes = 0;
  tcb.phase = SendPhase::Open;
  tcb.dup_acks = 0;
  if (flight.timer_stands) flight.rto_at = kNever;
  flight.timer_stands = flight.frto = flight.frto_new_data = flight.force_resend = false;
  rack_recovery_ended(tcb);
}

void on_reorder_timer(Stack& stack, Tcb& tcb, Micros now) {
  const uint32_t lost = rack_detect_loss(stack, tcb, now);
  if (lost == 0) return;
  if (tcb.phase == SendPhase::Open) enter_recovery(stack, tcb, tcb.flight_bytes(), now);
  if (tcb.phase == SendPhase::Recovery) proportional_rate(tcb, AckNews{}, lost);
}

void enter_loss(Stack& stack, Tcb& tcb, Micros now) {
  CongestionFlight none;
  const CongestionOps& ops = *stack.config.congestion;
  const uint32_t mss = effective_mss(tcb);
  tcb.dup_acks = 0;
  tcb.ecn_cwr = tcb.ecn;  // RFC 3168 6.1.2
  if (tcb.in_flight == nullptr) {
    ops.on_timeout(tcb.congestion, none, tcb.flight_bytes(), mss, tcb.backoff == 0, now);
    go_back(stack, tcb);
    return;
  }
  InFlight& flight = *tcb.in_flight;
  flight.frto = tcb.phase == SendPhase::Open;  // RFC 5682 2.1, 3.1, step 1
  flight.frto_new_data = flight.timer_stands = false;
  if (tcb.phase == SendPhase::Open) remember_windows(stack, tcb);
  // RFC 5681 3.1: repeats leave ssthresh alone. In a fast recovery it is a retransmission that was
  // lost, and ssthresh falls twice (4.3).
  ops.on_timeout(tcb.congestion, flight.congestion, tcb.flight_bytes(), mss,
                 tcb.phase != SendPhase::Loss, now);
  tcb.phase = SendPhase::Loss;
  if (tcb.sack_permitted && !has_reneged(stack, tcb)) {
    rack_mark_lost_on_timeout(stack, tcb, now);
  } else {
    mark_all_lost(stack, tcb);
  }
  flight.recover = flight.reduced_until = tcb.snd_nxt;
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
