// Job: decide what is sent now and fill it in. tcp_output asks next_segment again and again until
// it answers None; the reasons are looked for in this order:
//
//   Reset           close_with_reset
//   Syn             SYN-SENT, SYN-RECEIVED: not sent yet, or the timer fell back to it
//   RetransmitHead  fast retransmission, partial ACK: one segment at snd_una
//   Probe           persist timer: what the window forbids or hardly allows
//   Data            queued bytes at snd_nxt within min(cwnd, snd_wnd), and the FIN behind them
//   Keepalive       idle for too long
//   Ack             owed, or the window has grown enough to say so
//
// Everything but Reset carries an acknowledgement and the current window, so anything sent settles
// a delayed ACK. State changes only in note_sent, once the segment has really left.
#include "tcp/output.h"

#include <algorithm>

#include "tcp/receive.h"
#include "tcp/recovery.h"
#include "tcp/seq.h"

namespace sluice::tcp {
namespace {

using abi::Counter;

constexpr uint32_t kMaxPayloadBytes = 65'000;  // of one emitted segment: an IP packet with headers
constexpr uint32_t kOptionBytes = 40;          // RFC 9293 3.1
constexpr uint32_t kTimestampBytes = 12;
constexpr uint32_t kSackFixedBytes = 4;  // with padding; RFC 2018 3
constexpr uint32_t kSackBlockBytes = 8;

void add_timestamps(const Tcb& tcb, net::Segment& segment, Micros now) {
  segment.options.has_timestamps = true;
  segment.options.tsval = timestamp_clock(now) + tcb.ts_offset;
  segment.options.tsecr = tcb.ts_recent;
}

uint16_t window_field(const Stack& stack, const Tcb& tcb) {
  const uint32_t window = window_edge(stack, tcb) - tcb.rcv_nxt;
  const uint64_t unit = 1ULL << tcb.rcv_wscale;  // rounding down would shrink the window
  return static_cast<uint16_t>(std::min<uint64_t>((window + unit - 1) >> tcb.rcv_wscale, 65535));
}

// The header of any segment of a synchronized connection.
void begin_segment(const Stack& stack, const Tcb& tcb, net::Segment& segment, uint32_t seq,
                   Micros now) {
  segment.tuple = tcb.tuple;
  segment.seq = seq;
  segment.ack = tcb.rcv_nxt;
  segment.flags = net::kAck;
  segment.ecn = 0;
  segment.cut_bytes = static_cast<uint16_t>(effective_mss(tcb));
  segment.window = window_field(stack, tcb);
  segment.options = net::TcpOptions{};
  segment.payload.clear();
  if (tcb.timestamps) add_timestamps(tcb, segment, now);
  if (tcb.sack_permitted && !tcb.out_of_order.empty()) {
    const uint32_t room = kOptionBytes - (tcb.timestamps ? kTimestampBytes : 0) - kSackFixedBytes;
    reassembly_fill_sack(tcb.out_of_order, segment.options, room / kSackBlockBytes);
  }
}

// Payload bytes that fit beside the options of `segment`: one packet's, or a whole number of them
// where the port cuts. SACK blocks are not repeated on each cut, so these go out one by one.
uint32_t payload_limit(const Stack& stack, const Tcb& tcb, const net::Segment& segment) {
  const uint32_t mss = effective_mss(tcb);
  if (segment.options.sack_count != 0) {
    return mss - (kSackFixedBytes + kSackBlockBytes * segment.options.sack_count);
  }
  const uint32_t most = std::min(stack.config.tso_bytes, kMaxPayloadBytes);
  return std::max(mss, most - most % mss);
}

// Fills the payload from `cursor`; what does not fit into the chain's pieces stays behind, and a
// segment that will be cut stays a whole number of cuts.
void fill_payload(const Tcb& tcb, SendCursor cursor, uint32_t length, net::Segment& segment) {
  if (cursor.node == nullptr) cursor = {tcb.send.head(), 0};
  net::Chain& chain = segment.payload;
  while (chain.length < length) {
    const SliceNode* node = cursor.node;
    const uint32_t part = std::min(node->length - cursor.offset, length - chain.length);
    if (part != 0 && !chain.append({node->data + cursor.offset, part, node->owner})) break;
    cursor = {node->next, 0};
  }
  const uint32_t mss = segment.cut_bytes;
  if (chain.length == length || chain.length <= mss) return;
  uint32_t surplus = chain.length % mss;
  chain.length -= surplus;
  while (surplus != 0) {
    net::Slice& last = chain.pieces[chain.count - 1];
    const uint32_t part = std::min(surplus, last.length);
    last.length -= part;
    surplus -= part;
    if (last.length == 0) --chain.count;
  }
}

void set_end_flags(const Tcb& tcb, net::Segment& segment, bool fin_allowed) {
  if (segment.seq + segment.payload.length != tcb.send_end()) return;
  if (segment.payload.length != 0) segment.flags |= net::kPsh;
  if (fin_allowed && tcb.fin_queued) segment.flags |= net::kFin;
}

void build_syn(const Stack& stack, const Tcb& tcb, net::Segment& segment, Micros now) {
  const bool passive = tcb.state == State::SynReceived;
  const bool ipv4 = tcb.tuple.local.address.is_ipv4();
  segment.tuple = tcb.tuple;
  segment.seq = tcb.iss;
  segment.ack = passive ? tcb.rcv_nxt : 0;
  segment.flags = static_cast<uint8_t>(net::kSyn | (passive ? net::kAck : 0));
  segment.ecn = 0;
  segment.cut_bytes = 0;
  segment.window = syn_window_bytes(stack.config);
  segment.payload.clear();
  // A SYN-ACK offers what the peer's SYN did; RFC 7323 2.2, 3.2, RFC 2018 2.
  net::TcpOptions& options = segment.options = net::TcpOptions{};
  options.mss = announced_mss(stack.config, ipv4);
  options.has_window_scale = !passive || tcb.window_scale;
  options.window_scale = options.has_window_scale ? announced_window_scale(stack.config) : 0;
  options.sack_permitted = !passive || tcb.sack_permitted;
  if (!passive || tcb.timestamps) add_timestamps(tcb, segment, now);
}

void build_reset(const Tcb& tcb, net::Segment& segment) {  // RFC 9293 3.10.5
  segment.tuple = tcb.tuple;
  segment.seq = tcb.snd_nxt;
  segment.ack = tcb.rcv_nxt;
  segment.flags = net::kRst | net::kAck;
  segment.ecn = 0;
  segment.window = 0;
  segment.cut_bytes = 0;
  segment.options = net::TcpOptions{};
  segment.payload.clear();
}

// One segment at snd_una, of what has been sent before.
void build_head(const Stack& stack, const Tcb& tcb, net::Segment& segment, Micros now) {
  begin_segment(stack, tcb, segment, tcb.snd_una, now);
  const uint32_t limit = std::min(payload_limit(stack, tcb, segment), effective_mss(tcb));
  const uint32_t sent = tcb.snd_max - tcb.snd_una;
  fill_payload(tcb, {}, std::min({limit, sent, tcb.send.readable_bytes()}), segment);
  set_end_flags(tcb, segment, tcb.snd_max == tcb.send_end() + 1);
}

// RFC 9293 3.8.6.1: one byte at a closed window; 3.8.6.2.1: what a small window allows, after the
// override timeout. snd_nxt stays: an acknowledgement of it moves snd_una past snd_nxt.
void build_probe(const Stack& stack, const Tcb& tcb, net::Segment& segment, Micros now) {
  begin_segment(stack, tcb, segment, tcb.snd_una, now);
  const uint32_t limit = std::min(payload_limit(stack, tcb, segment), effective_mss(tcb));
  const uint32_t length = std::clamp(tcb.snd_wnd, 1U, limit);
  fill_payload(tcb, {}, std::min(length, tcb.send.readable_bytes()), segment);
  set_end_flags(tcb, segment, segment.payload.length < std::max(tcb.snd_wnd, 1U));
}

// Bytes to send at snd_nxt now; 0: none, though the FIN may be due.
uint32_t sendable_bytes(const Tcb& tcb, uint32_t limit) {
  const uint32_t end = tcb.send_end();
  const uint32_t available = seq_less(tcb.snd_nxt, end) ? end - tcb.snd_nxt : 0;
  const uint64_t window = std::min<uint64_t>(congestion_window_bytes(tcb), tcb.snd_wnd);
  const uint32_t flight = tcb.flight_bytes();
  const uint32_t usable = window > flight ? static_cast<uint32_t>(window - flight) : 0;
  uint32_t length = std::min({available, usable, limit});
  const uint32_t mss = effective_mss(tcb);
  if (length < available && length > mss) length -= length % mss;
  // RFC 9293 3.8.6.2.1, sender's silly window avoidance without Nagle: a full segment, all there
  // is, or half of the largest window seen. Otherwise an ACK or the persist timer moves it on.
  const bool worth = length >= std::min(mss, limit) || length == available ||
                     length >= std::max(tcb.max_snd_wnd / 2, 1U);
  return worth ? length : 0;
}

bool build_data(const Stack& stack, Tcb& tcb, net::Segment& segment, Micros now) {
  if (!has_unsent(tcb)) return false;
  if (tcb.snd_una == tcb.snd_max && now - tcb.sent_at > tcb.rto_us) {
    stack.config.congestion->on_idle(tcb.congestion, effective_mss(tcb));  // RFC 5681 4.1
  }
  begin_segment(stack, tcb, segment, tcb.snd_nxt, now);
  const uint32_t length = sendable_bytes(tcb, payload_limit(stack, tcb, segment));
  if (length == 0 && tcb.snd_nxt != tcb.send_end()) return false;
  fill_payload(tcb, tcb.cursor, length, segment);
  set_end_flags(tcb, segment, true);
  return true;
}

// The number of a segment without text: the highest sent that the peer's window still accepts, or
// it would be refused together with its acknowledgement.
uint32_t acknowledgement_seq(const Tcb& tcb) {
  if (!is_synchronized(tcb.state)) return tcb.snd_max;
  return seq_min(tcb.snd_max, tcb.snd_una + tcb.snd_wnd);
}

void advance_cursor(Tcb& tcb, uint32_t length) {
  SendCursor& cursor = tcb.cursor;
  if (cursor.node == nullptr) cursor = {tcb.send.head(), 0};
  while (length != 0) {
    if (cursor.offset == cursor.node->length) {
      cursor = {cursor.node->next, 0};
      continue;
    }
    const uint32_t part = std::min(cursor.node->length - cursor.offset, length);
    cursor.offset += part;
    length -= part;
  }
}

// Bookkeeping for numbers that were sent at `segment.seq`: RTT timing (Karn) and counters.
void note_sequence(Stack& stack, Tcb& tcb, const net::Segment& segment, Micros now) {
  const uint32_t end = segment.seq + segment.sequence_length();
  if (seq_less(segment.seq, tcb.snd_max)) {
    tcb.rtt_timing = false;
    tcb.rtt_started = now;
    stack.counters.add(Counter::tcp_retransmits);
  } else if (!tcb.rtt_timing && !tcb.in_recovery) {  // there the hole would be timed with it
    tcb.rtt_timing = true;
    tcb.rtt_seq = end;
    tcb.rtt_started = now;
  }
  if (tcb.snd_una == tcb.snd_max) tcb.unanswered_since = now;
  tcb.snd_max = seq_max(tcb.snd_max, end);
  tcb.sent_at = now;
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
  } else if (now - tcb.received_at < limit) {
    tcb.idle_at = tcb.received_at + limit;
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
      if (tcb.retransmit_head) {
        build_head(stack, tcb, segment, now);
        if (segment.sequence_length() != 0) return Reason::RetransmitHead;
        tcb.retransmit_head = false;
      }
      if (tcb.probe) {
        build_probe(stack, tcb, segment, now);
        if (segment.sequence_length() != 0) return Reason::Probe;
        tcb.probe = false;
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
    case Reason::RetransmitHead:
      tcb.retransmit_head = false;
      note_sequence(stack, tcb, segment, now);
      break;
    case Reason::Probe:
      tcb.probe = false;
      tcb.snd_max = seq_max(tcb.snd_max, segment.seq + segment.sequence_length());
      tcb.rtt_timing = false;
      tcb.rtt_started = now;
      stack.counters.add(Counter::tcp_zero_window_probes);
      break;
    case Reason::Data:
      note_sequence(stack, tcb, segment, now);
      advance_cursor(tcb, segment.payload.length);
      tcb.snd_nxt += segment.sequence_length();
      break;
    case Reason::Keepalive:
      tcb.keepalive = false;
      stack.counters.add(Counter::tcp_keepalives);
      break;
    case Reason::Ack:
      break;
  }
  if ((segment.flags & net::kAck) == 0) return;
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
