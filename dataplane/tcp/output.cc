// Job: decide what is sent now. tcp_output asks next_segment again and again until it answers None;
// the reasons are looked for in this order:
//
//   Reset       close_with_reset
//   Syn         SYN-SENT, SYN-RECEIVED: not sent yet, or the timer fell back to it
//   Retransmit  a record that is lost, when the pipe has room (RFC 6675 4, NextSeg)
//   Probe       persist timer: what the window forbids or hardly allows
//   LossProbe   RACK-TLP: new data beyond cwnd, or the last segment again
//   Data        queued bytes at snd_nxt within cwnd and snd_wnd, and the FIN behind them
//   Keepalive   idle for too long
//   Ack         owed, or the window has grown enough to say so
//
// Everything but Reset carries an acknowledgement and the current window, so anything sent settles
// a delayed ACK. What was sent is noted in note_sent, once the segment has really left.
#include "tcp/output.h"

#include <algorithm>

#include "tcp/build.h"
#include "tcp/pace.h"
#include "tcp/path.h"
#include "tcp/receive.h"
#include "tcp/recovery.h"
#include "tcp/retransmit_timer.h"
#include "tcp/scoreboard.h"
#include "tcp/seq.h"
#include "tcp/undo.h"

namespace sluice::tcp {
namespace {

using abi::Counter;

constexpr uint8_t kEct0 = 2;  // RFC 3168 5

// cwnd holds something back.
void note_full(Tcb& tcb) {
  tcb.in_flight->full_end = tcb.in_flight->cwnd_limited_end = tcb.snd_nxt;
}

// Something new has left: how much of cwnd is used.
void note_use(Tcb& tcb) {
  const uint64_t pipe = pipe_bytes(tcb);
  const Congestion& congestion = tcb.congestion;
  if (pipe + effective_mss(tcb) > congestion.cwnd_bytes) {
    note_full(tcb);
  } else if (congestion.slow_start() && pipe > congestion.cwnd_bytes / 2) {
    tcb.in_flight->cwnd_limited_end = tcb.snd_nxt;
  }
}

// The next lost record, or as much of it as the pipe has room for.
bool build_retransmission(const Stack& stack, Tcb& tcb, net::Segment& segment, Micros now) {
  const InFlight& flight = *tcb.in_flight;
  if (flight.frto_new_data) return false;
  const uint32_t index = next_lost_record(stack, tcb);
  if (index == kNoRecord) return false;
  const SentRecord& record = stack.pools.records[index];
  // RFC 9293 3.8.6: what a shrunken window does not cover waits; the first is always sent.
  if (index != flight.first && !seq_less(record.seq, tcb.snd_una + tcb.snd_wnd)) return false;
  begin_segment(stack, tcb, segment, record.seq, now);
  const uint32_t mss = effective_mss(tcb);
  const uint32_t text = seq_min(record_end(stack, tcb, record), tcb.send_end()) - record.seq;
  uint32_t length = std::min(text, payload_limit(stack, tcb, segment));
  if (flight.force_resend) {
    length = std::min(length, mss);
  } else {
    const uint32_t pipe = pipe_bytes(tcb);
    const uint32_t cwnd = tcb.congestion.cwnd_bytes;
    const uint32_t room = cwnd > pipe ? cwnd - pipe : 0;
    if (room < std::max(std::min(length, mss), 1U)) {
      note_full(tcb);
      return false;
    }
    if (length > room) length = room - room % mss;
  }
  fill_payload(stack, tcb, record_cursor(stack, tcb, record), length, segment);
  set_end_flags(tcb, segment, record_end(stack, tcb, record) == tcb.send_end() + 1);
  return true;
}

// RFC 9293 3.8.6.1: one byte at a closed window; 3.8.6.2.1: what a small window allows, after the
// override timeout. snd_nxt stays: an acknowledgement of it moves snd_una past snd_nxt.
void build_probe(const Stack& stack, const Tcb& tcb, net::Segment& segment, Micros now) {
  begin_segment(stack, tcb, segment, tcb.snd_una, now);
  const uint32_t limit = std::min(payload_limit(stack, tcb, segment), effective_mss(tcb));
  const uint32_t length = std::clamp(tcb.snd_wnd, 1U, limit);
  fill_payload(stack, tcb, {}, std::min(length, tcb.send.readable_bytes()), segment);
  set_end_flags(tcb, segment, segment.payload.length < std::max(tcb.snd_wnd, 1U));
}

// Bytes to send at snd_nxt now; 0: none, though the FIN may be due.
uint32_t sendable_bytes(Tcb& tcb, uint32_t limit) {
  const uint32_t end = tcb.send_end();
  const uint32_t edge = tcb.snd_una + tcb.snd_wnd;
  const uint32_t available = seq_less(tcb.snd_nxt, end) ? end - tcb.snd_nxt : 0;
  const uint32_t usable = seq_less(tcb.snd_nxt, edge) ? edge - tcb.snd_nxt : 0;
  const uint32_t pipe = pipe_bytes(tcb);
  const uint32_t cwnd = tcb.congestion.cwnd_bytes;
  const uint32_t room = cwnd > pipe ? cwnd - pipe : 0;
  const uint32_t mss = effective_mss(tcb);
  if (room < std::min({available, usable, mss}) && tcb.in_flight != nullptr) {
    note_full(tcb);
  }
  uint32_t length = std::min({available, usable, room, limit});
  if (length < available && length > mss) length -= length % mss;
  // RFC 9293 3.8.6.2.1, sender's silly window avoidance without Nagle: a full segment, all there
  // is, or half of the largest window seen. Otherwise an ACK or the persist timer moves it on.
  const bool worth = length >= std::min(mss, limit) || length == available ||
                     length >= std::max(tcb.max_snd_wnd / 2, 1U);
  return worth ? length : 0;
}

// Whether what is sent next can be recorded. Without, one segment at a time is in flight.
bool is_recordable(const Stack& stack, const Tcb& tcb) {
  if (tcb.in_flight != nullptr) return can_record(stack, tcb);
  return stack.pools.in_flight.free_count() != 0 && stack.pools.records.free_count() != 0;
}

void fill_new(const Stack& stack, const Tcb& tcb, net::Segment& segment, uint32_t length) {
  fill_payload(stack, tcb, tcb.cursor, length, segment);
  set_end_flags(tcb, segment, true);
  // RFC 3168 6.1.5: neither retransmissions nor pure ACKs are ECN-capable.
  if (tcb.ecn && segment.payload.length != 0 && tcb.snd_nxt == tcb.snd_max) {
    segment.ecn = kEct0;
    if (tcb.ecn_cwr) segment.flags |= net::kCwr;
  }
}

// RFC 4821 7.3: one segment over the MSS, where a loss would disturb nothing. 0: none.
uint32_t path_probe_length(const Tcb& tcb, const net::Segment& segment, Micros now) {
  if (tcb.path.ceiling == 0 || tcb.phase != SendPhase::Open || tcb.snd_nxt != tcb.snd_max ||
      segment.options.sack_count != 0) {
    return 0;
  }
  const uint32_t probe = path_probe_bytes(tcb, now);
  const uint32_t edge = tcb.snd_una + tcb.snd_wnd;
  if (probe == 0 || seq_less(tcb.send_end(), tcb.snd_nxt + probe) ||
      seq_less(edge, tcb.snd_nxt + probe) || pipe_bytes(tcb) + probe > tcb.congestion.cwnd_bytes) {
    return 0;
  }
  return probe;
}

bool build_data(const Stack& stack, Tcb& tcb, net::Segment& segment, Micros now) {
  const bool paced = is_paced(stack, tcb);
  if (!has_unsent(tcb) || (paced && must_wait(tcb, now))) return false;
  const bool recordable = is_recordable(stack, tcb);
  // What is in flight without a record must be acknowledged first.
  const bool unrecorded = tcb.in_flight == nullptr && tcb.snd_nxt != tcb.snd_una;
  if (unrecorded || (!recordable && tcb.in_flight != nullptr)) return false;
  if (tcb.snd_una == tcb.snd_max && static_cast<uint32_t>(now) - tcb.sent_us > tcb.rto_us) {
    stack.config.congestion->on_idle(tcb.congestion, effective_mss(tcb));  // RFC 5681 4.1
  }
  begin_segment(stack, tcb, segment, tcb.snd_nxt, now);
  uint32_t limit = payload_limit(stack, tcb, segment);
  // One segment at a time, and CWR on one packet only.
  if (!recordable || tcb.ecn_cwr) limit = std::min(limit, effective_mss(tcb));
  if (paced) limit = std::min(limit, pace_burst_bytes(tcb));
  const uint32_t probe = path_probe_length(tcb, segment, now);
  if (probe != 0) segment.cut_bytes = static_cast<uint16_t>(probe);
  const uint32_t length = probe != 0 ? probe : sendable_bytes(tcb, limit);
  if (length == 0 && tcb.snd_nxt != tcb.send_end()) return false;
  fill_new(stack, tcb, segment, length);
  return true;
}

// RFC 8985 7.3: a new segment if the window has room, else the last one again.
bool build_loss_probe(Stack& stack, Tcb& tcb, net::Segment& segment, Micros now) {
  if (tcb.in_flight == nullptr || tcb.phase != SendPhase::Open) return false;
  const uint32_t mss = effective_mss(tcb);
  const uint32_t edge = tcb.snd_una + tcb.snd_wnd;
  if (has_unsent(tcb) && can_record(stack, tcb) && seq_less(tcb.snd_nxt, edge)) {
    begin_segment(stack, tcb, segment, tcb.snd_nxt, now);
    const uint32_t limit = std::min(payload_limit(stack, tcb, segment), mss);
    const uint32_t length = std::min({limit, edge - tcb.snd_nxt, tcb.send_end() - tcb.snd_nxt});
    fill_new(stack, tcb, segment, length);
    return segment.sequence_length() != 0;
  }
  uint32_t index = tcb.in_flight->last;
  if (index == kNoRecord || stack.pools.records[index].sacked) return false;
  const uint32_t text_end = seq_min(tcb.snd_nxt, tcb.send_end());
  const uint32_t start = stack.pools.records[index].seq;
  if (seq_less(start + mss, text_end)) {  // it was several packets: the last of them
    index = split_record(stack, tcb, index, start + (text_end - start - 1) / mss * mss);
  }
  const SentRecord& record = stack.pools.records[index];
  begin_segment(stack, tcb, segment, record.seq, now);
  const uint32_t text = text_end - record.seq;
  const uint32_t limit = std::min(payload_limit(stack, tcb, segment), mss);
  fill_payload(stack, tcb, record_cursor(stack, tcb, record), std::min(text, limit), segment);
  set_end_flags(tcb, segment, tcb.snd_nxt == tcb.send_end() + 1);
  return segment.sequence_length() != 0;
}

// The number of a segment without text: the highest sent that the peer's window still accepts, or
// it would be refused together with its acknowledgement.
uint32_t acknowledgement_seq(const Tcb& tcb) {
  if (!is_synchronized(tcb.state)) return tcb.snd_max;
  return seq_min(tcb.snd_max, tcb.snd_una + tcb.snd_wnd);
}

// Bookkeeping for sequence numbers that leave, new ones or again.
void note_sequence(Stack& stack, Tcb& tcb, const net::Segment& segment, Micros now) {
  if (seq_less(segment.seq, tcb.snd_max)) stack.counters.add(Counter::tcp_retransmits);
  if (tcb.snd_una == tcb.snd_max) tcb.unanswered_since = to_millis(now);
  tcb.snd_max = seq_max(tcb.snd_max, segment.seq + segment.sequence_length());
  tcb.sent_us = static_cast<uint32_t>(now);
}

void note_data(Stack& stack, Tcb& tcb, const net::Segment& segment, Micros now) {
  const uint32_t length = segment.sequence_length();
  const bool again = seq_less(tcb.snd_nxt, tcb.snd_max);
  if (tcb.in_flight == nullptr && is_recordable(stack, tcb)) begin_flight(stack, tcb);
  tcb.unsampled = again;
  if (tcb.cursor.node == kNoNode) advance_cursor(stack, tcb.send, tcb.cursor, 0);
  if (tcb.in_flight != nullptr) {
    record_sent(stack, tcb, tcb.cursor, again, now);
    tcb.in_flight->probe_wanted = true;
    if (tcb.phase == SendPhase::Recovery) tcb.in_flight->prr_out += length;
    if (is_paced(stack, tcb)) note_paced(tcb, length, now);
  }
  if (segment.cut_bytes > effective_mss(tcb) && segment.payload.length == segment.cut_bytes) {
    path_on_probe(stack, tcb, segment.seq + length);
  }
  note_sequence(stack, tcb, segment, now);
  advance_cursor(stack, tcb.send, tcb.cursor, segment.payload.length);
  tcb.snd_nxt += length;
  if (tcb.in_flight != nullptr) note_use(tcb);
  if ((segment.flags & net::kCwr) != 0) tcb.ecn_cwr = false;
}

void note_retransmission(Stack& stack, Tcb& tcb, const net::Segment& segment, uint32_t index,
                         Micros now) {
  InFlight& flight = *tcb.in_flight;
  const uint32_t length = segment.sequence_length();
  if (index == flight.first && !flight.timer_stands)
    flight.rto_at = kNever;  // it runs for this one
  record_resent(stack, tcb, index, length, now);
  remember_resent(tcb, segment.seq, length, now);
  flight.force_resend = false;
  if (tcb.phase == SendPhase::Recovery) flight.prr_out += length;
  note_sequence(stack, tcb, segment, now);
}

void note_loss_probe(Stack& stack, Tcb& tcb, const net::Segment& segment, Micros now) {
  tcb.loss_probe = false;
  const bool again = segment.seq != tcb.snd_nxt;
  if (again) {
    note_retransmission(stack, tcb, segment, tcb.in_flight->last, now);
  } else {
    note_data(stack, tcb, segment, now);
  }
  InFlight& flight = *tcb.in_flight;
  flight.probe_sent = true;
  flight.probe_retransmission = again;
  flight.probe_end = tcb.snd_nxt;
  flight.probe_wanted = false;
  tcb.rtt_since_probe = false;
  stack.counters.add(Counter::tcp_loss_probes);
}

// RFC 9293 3.8.4. Also ends TIME-WAIT, and FIN-WAIT-2 when nothing has been heard.
void on_idle_timer(Stack& stack, Tcb& tcb, Micros now) {
  const TcpConfig& config = stack.config;
  if (tcb.state == State::TimeWait) {
    close_tcb(stack, tcb, CloseCause::Finished);
    return;
  }
  const bool fin_wait2 = tcb.state == State::FinWait2 && config.fin_wait2_us != 0;
  const Micros limit = fin_wait2 ? config.fin_wait2_us : config.keepalive_idle_us;
  if (limit == 0) {
    tcb.idle_at = kNever;
  } else if (const Micros idle = since(tcb.received_at, now); idle < limit) {
    tcb.idle_at = now + (limit - idle);
  } else if (fin_wait2 || tcb.keepalives_sent >= config.keepalive_probes) {
    close_with_reset(stack, tcb, CloseCause::Timeout);
  } else {
    if (tcb.snd_una == tcb.snd_max) {  // otherwise the retransmission timer asks already
      tcb.keepalive = true;
      ++tcb.keepalives_sent;
    }
    tcb.idle_at = now + config.keepalive_interval_us;
  }
}

}  // namespace

void run_timers(Stack& stack, Tcb& tcb, Micros now) {
  if (tcb.delayed_ack_at <= now) {
    tcb.delayed_ack_at = kNever;
    tcb.ack_now = true;
  }
  if (tcb.retransmit_at <= now) on_retransmit_timer(stack, tcb, now);
  if (tcb.idle_at <= now) on_idle_timer(stack, tcb, now);
}

Reason next_segment(Stack& stack, Tcb& tcb, net::Segment& segment, Micros now) {
  if (tcb.rst_pending) {
    build_reset(tcb, segment);
    return Reason::Reset;
  }
  switch (tcb.state) {
    case State::Closed:
      return Reason::None;
    case State::SynSent:
    case State::SynReceived:
      if (tcb.snd_nxt == tcb.iss) {
        build_syn(stack, tcb, segment, now);
        return Reason::Syn;
      }
      if (tcb.state == State::SynSent) return Reason::None;
      break;
    case State::Established:
    case State::FinWait1:
    case State::FinWait2:
    case State::CloseWait:
    case State::Closing:
    case State::LastAck:
    case State::TimeWait:
      if (tcb.in_flight != nullptr && build_retransmission(stack, tcb, segment, now)) {
        return Reason::Retransmit;
      }
      if (tcb.probe) {
        build_probe(stack, tcb, segment, now);
        if (segment.sequence_length() != 0) return Reason::Probe;
        tcb.probe = false;
      }
      if (tcb.loss_probe) {
        if (build_loss_probe(stack, tcb, segment, now)) return Reason::LossProbe;
        tcb.loss_probe = false;
      }
      if (build_data(stack, tcb, segment, now)) return Reason::Data;
      if (tcb.keepalive) {
        begin_segment(stack, tcb, segment, tcb.snd_una - 1, now);
        return Reason::Keepalive;
      }
      break;
  }
  if (tcb.ack_now || window_update_due(stack, tcb)) {
    begin_segment(stack, tcb, segment, acknowledgement_seq(tcb), now);
    return Reason::Ack;
  }
  return Reason::None;
}

void note_sent(Stack& stack, Tcb& tcb, const net::Segment& segment, Reason reason, Micros now) {
  stack.counters.add(Counter::tcp_segments_out);
  switch (reason) {
    case Reason::None:
      break;
    case Reason::Reset:
      tcb.rst_pending = false;
      stack.counters.add(Counter::tcp_resets_out);
      return;
    case Reason::Syn:
      note_sequence(stack, tcb, segment, now);
      tcb.snd_nxt = tcb.iss + 1;
      break;
    case Reason::Retransmit:
      note_retransmission(stack, tcb, segment, next_lost_record(stack, tcb), now);
      break;
    case Reason::Probe:
      tcb.probe = false;
      tcb.unsampled = true;
      tcb.snd_max = seq_max(tcb.snd_max, segment.seq + segment.sequence_length());
      stack.counters.add(Counter::tcp_zero_window_probes);
      break;
    case Reason::LossProbe:
      note_loss_probe(stack, tcb, segment, now);
      break;
    case Reason::Data:
      note_data(stack, tcb, segment, now);
      break;
    case Reason::Keepalive:
      tcb.keepalive = false;
      stack.counters.add(Counter::tcp_keepalives);
      break;
    case Reason::Ack:
      break;
  }
  if ((segment.flags & net::kAck) == 0) return;
  reassembly_note_reported(stack, tcb.out_of_order);
  tcb.ack_now = false;
  tcb.delayed_ack_at = kNever;
  tcb.last_ack_sent = segment.ack;
  const uint8_t shift = reason == Reason::Syn ? 0 : tcb.rcv_wscale;
  tcb.rcv_adv =
      seq_max(tcb.rcv_adv, segment.ack + (static_cast<uint32_t>(segment.window) << shift));
}

void finish_output(Stack& stack, Tcb& tcb, Micros now) {
  tcb.output_wanted = false;
  update_retransmit_timer(stack, tcb, now);
}

}  // namespace sluice::tcp
