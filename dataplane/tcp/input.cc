// Job: RFC 9293 3.10.7, "SEGMENT ARRIVES", in the RFC's order, for every state but LISTEN (which is
// stateless, listen.cc). The checks are here; what passes them goes to recovery.cc
// (acknowledgement) and receive.cc (text and FIN).
//
//   SYN-SENT          ACK, RST, SYN                                          3.10.7.3
//   other states      PAWS (RFC 7323 5.3), sequence, RST, SYN, ACK, text, FIN  3.10.7.4
//
// Nothing is sent from here: `ack_now` is what a reply amounts to. Answers to segments that an
// attacker can make without knowing the sequence numbers are challenge ACKs, limited per connection
// (a shared limit would itself tell an attacker something). Urgent data is treated as data
// (RFC 6093); security compartments do not exist.
#include "tcp/input.h"

#include <algorithm>

#include "tcp/receive.h"
#include "tcp/recovery.h"
#include "tcp/seq.h"

namespace sluice::tcp {
namespace {

using abi::Counter;

constexpr uint16_t kDefaultMssIpv4 = 536;  // RFC 9293 3.7.1, MUST-15
constexpr uint16_t kDefaultMssIpv6 = 1220;
constexpr uint32_t kTimestampLifetimeSeconds = 24 * 86400;  // RFC 7323 5.5
constexpr Micros kRtoAfterLostSyn = 3 * kSecond;            // RFC 6298 5.7
constexpr uint8_t kCongestionExperienced = 3;               // RFC 3168 5

bool has(const net::Segment& segment, uint8_t flag) { return (segment.flags & flag) != 0; }

// RFC 5961 7: at most so many answers a second.
bool may_answer(const Stack& stack, Tcb& tcb, Micros now) {
  const auto second = static_cast<uint32_t>(now / kSecond);
  if (second != tcb.challenge_second) {
    tcb.challenge_second = second;
    tcb.challenges = 0;
  }
  if (tcb.challenges >= stack.config.challenge_acks_per_second) return false;
  ++tcb.challenges;
  return true;
}

void challenge(Stack& stack, Tcb& tcb, Micros now) {
  if (!may_answer(stack, tcb, now)) return;
  tcb.ack_now = true;
  stack.counters.add(Counter::tcp_challenge_acks);
}

// An ACK for something unacceptable. Pure ACKs are limited: two stacks that disagree must not
// answer each other for ever. Text is not: retransmissions need their answer.
void acknowledge_unacceptable(const Stack& stack, Tcb& tcb, const net::Segment& segment,
                              Micros now) {
  if (segment.payload.length != 0 || may_answer(stack, tcb, now)) tcb.ack_now = true;
}

void take_timestamp(Tcb& tcb, const net::Segment& segment, Micros now) {
  tcb.ts_recent = segment.options.tsval;
  tcb.ts_recent_second = static_cast<uint32_t>(now / kSecond);
}

void closed(InputResult& result, const Tcb& tcb) {
  result.closed = true;
  result.cause = tcb.close_cause;
}

// What the peer's SYN negotiates. RFC 9293 3.7.1, RFC 7323, RFC 2018, RFC 3168 6.1.1.
void take_syn_options(const Stack& stack, Tcb& tcb, const net::Segment& segment, Micros now) {
  const net::TcpOptions& options = segment.options;
  const bool ipv4 = tcb.tuple.local.address.is_ipv4();
  const uint16_t fallback = ipv4 ? kDefaultMssIpv4 : kDefaultMssIpv6;
  const uint32_t offered =
      std::max<uint32_t>(options.mss != 0 ? options.mss : fallback, kMinMssBytes);
  tcb.mss = static_cast<uint16_t>(std::min<uint32_t>(offered, announced_mss(stack.config, ipv4)));
  tcb.timestamps = options.has_timestamps;
  if (tcb.timestamps) take_timestamp(tcb, segment, now);
  tcb.sack_permitted = options.sack_permitted;
  // Only the answer to a SYN that offered it, none of ours without the offer: a SYN-ACK of ours
  // (simultaneous open) or a SYN that was sent again is one.
  constexpr uint8_t kBits = net::kAck | net::kEce | net::kCwr;
  tcb.ecn =
      stack.config.ecn && tcb.backoff == 0 && (segment.flags & kBits) == (net::kAck | net::kEce);
  tcb.window_scale = options.has_window_scale;
  tcb.snd_wscale = tcb.window_scale ? std::min<uint8_t>(options.window_scale, 14) : 0;
  tcb.rcv_wscale = tcb.window_scale ? announced_window_scale(stack.config) : 0;
}

// First windows, first RTO.
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

void complete_handshake(Stack& stack, Tcb& tcb, Micros now, InputResult& result) {
  set_state(tcb, State::Established);
  begin_transfer(stack, tcb, now);
  if (tcb.fin_queued) set_state(tcb, State::FinWait1);  // closed before it was open
  result.connected = true;
  tcb.output_wanted = true;
}

void first_window(Tcb& tcb, const net::Segment& segment, uint8_t shift) {
  tcb.snd_wnd = tcb.max_snd_wnd = static_cast<uint32_t>(segment.window) << shift;
  tcb.snd_wl1 = segment.seq;
  tcb.snd_wl2 = segment.ack;
}

// RFC 3168 6.1.3: a mark on text is echoed until CWR comes.
void take_congestion_marks(Tcb& tcb, const net::Segment& segment) {
  if (!tcb.ecn) return;
  if (has(segment, net::kCwr)) tcb.ecn_echo = false;
  if (segment.ecn == kCongestionExperienced && segment.payload.length != 0) tcb.ecn_echo = true;
}

// Text and FIN, in the states in which the peer may still send.
void take_text(Stack& stack, Tcb& tcb, net::Segment& segment, Micros now, InputResult& result) {
  if (can_receive(tcb.state)) {
    receive_text(stack, tcb, segment, now, result);
  } else if (segment.payload.length != 0) {
    stack.counters.add(Counter::tcp_duplicate);  // behind the peer's own FIN
    tcb.ack_now = true;
  }
}

// RFC 9293 3.10.7.3.
void input_syn_sent(Stack& stack, Tcb& tcb, net::Segment& segment, Micros now,
                    InputResult& result) {
  const bool ack = has(segment, net::kAck);
  if (ack && (seq_leq(segment.ack, tcb.iss) || seq_less(tcb.snd_max, segment.ack))) {
    stack.counters.add(Counter::tcp_bad_ack);
    result.answer_reset = !has(segment, net::kRst);
    return;
  }
  if (has(segment, net::kRst)) {
    if (!ack) return;  // RFC 5961 3.2: without an ACK it may be anybody's
    stack.counters.add(Counter::tcp_resets_in);
    close_tcb(stack, tcb, CloseCause::Refused);
    closed(result, tcb);
    return;
  }
  if (!has(segment, net::kSyn)) return;

  tcb.irs = segment.seq;
  tcb.rcv_nxt = segment.seq + 1;
  tcb.rcv_adv = tcb.rcv_nxt + syn_window_bytes(stack.config);
  tcb.last_ack_sent = tcb.rcv_nxt;
  take_syn_options(stack, tcb, segment, now);
  tcb.received_at = to_millis(now);
  tcb.ack_now = true;
  if (!ack) {  // simultaneous open: our SYN goes again, as a SYN-ACK
    set_state(tcb, State::SynReceived);
    tcb.snd_nxt = tcb.iss;
    first_window(tcb, segment, 0);
    return;
  }
  process_ack(stack, tcb, segment, now, result);
  complete_handshake(stack, tcb, now, result);
  first_window(tcb, segment, 0);  // RFC 7323 2.2: the window of a SYN is not scaled
  segment.seq += 1;
  segment.flags &= static_cast<uint8_t>(~net::kSyn);
  take_text(stack, tcb, segment, now, result);
}

// RFC 7323 5.5: ts_recent is so old that the peer's clock may have wrapped.
bool timestamp_is_stale(const Tcb& tcb, Micros now) {
  return static_cast<uint32_t>(now / kSecond) - tcb.ts_recent_second > kTimestampLifetimeSeconds;
}

// RFC 7323 5.3, R1. Returns whether the segment is to be dropped.
bool paws_drop(Stack& stack, Tcb& tcb, const net::Segment& segment, Micros now) {
  if (!tcb.timestamps || has(segment, net::kRst)) return false;
  if (!segment.options.has_timestamps) {  // RFC 7323 3.2
    stack.counters.add(Counter::tcp_paws_drop);
    return true;
  }
  if (!seq_less(segment.options.tsval, tcb.ts_recent)) return false;
  if (timestamp_is_stale(tcb, now)) return false;
  stack.counters.add(Counter::tcp_paws_drop);
  acknowledge_unacceptable(stack, tcb, segment, now);
  return true;
}

// RFC 9293 3.10.7.4, first. Returns whether the segment is to be dropped.
bool sequence_drop(Stack& stack, Tcb& tcb, const net::Segment& segment, Micros now) {
  if (is_acceptable(tcb, segment)) return false;
  if (has(segment, net::kRst)) {
    stack.counters.add(Counter::tcp_out_of_window);
    return true;
  }
  const uint32_t end = segment.seq + segment.sequence_length();
  const bool old = seq_leq(end, tcb.rcv_nxt);
  stack.counters.add(old ? Counter::tcp_duplicate : Counter::tcp_out_of_window);
  if (old && tcb.sack_permitted && can_receive(tcb.state)) {  // RFC 2883 4
    reassembly_note_duplicate(stack, tcb.out_of_order, segment.seq,
                              segment.seq + segment.payload.length);
  }
  if (tcb.state == State::TimeWait && has(segment, net::kFin) && end == tcb.rcv_nxt) {
    tcb.idle_at = now + stack.config.time_wait_us;  // 3.10.7.4, eighth: the FIN again
  }
  acknowledge_unacceptable(stack, tcb, segment, now);
  return true;
}

// Simultaneous open: the peer's SYN comes again, with our SYN's acknowledgement or without it.
// Returns whether nothing is left of the segment.
bool peer_syn_again(Tcb& tcb, net::Segment& segment) {
  if (!has(segment, net::kAck)) {
    tcb.snd_nxt = tcb.iss;  // our SYN-ACK was lost
    tcb.output_wanted = true;
    return true;
  }
  segment.seq += 1;
  segment.flags &= static_cast<uint8_t>(~net::kSyn);
  tcb.ack_now = true;
  return false;
}

// RFC 9293 3.10.7.4, second, as RFC 5961 3.2 has it.
void input_reset(Stack& stack, Tcb& tcb, const net::Segment& segment, Micros now,
                 InputResult& result) {
  if (tcb.state == State::TimeWait) return;  // RFC 1337 3, fix 1: TIME-WAIT is not assassinated
  if (segment.seq != tcb.rcv_nxt) {
    challenge(stack, tcb, now);
    return;
  }
  stack.counters.add(Counter::tcp_resets_in);
  close_tcb(stack, tcb,
            tcb.state == State::SynReceived ? CloseCause::Refused : CloseCause::PeerReset);
  closed(result, tcb);
}

// RFC 9293 3.10.7.4, fifth. Returns whether the segment goes on to its text.
bool input_ack(Stack& stack, Tcb& tcb, const net::Segment& segment, Micros now,
               InputResult& result) {
  if (tcb.state == State::SynReceived) {
    if (!(seq_less(tcb.snd_una, segment.ack) && seq_leq(segment.ack, tcb.snd_max))) {
      stack.counters.add(Counter::tcp_bad_ack);
      result.answer_reset = true;
      return false;
    }
    process_ack(stack, tcb, segment, now, result);
    complete_handshake(stack, tcb, now, result);
    first_window(tcb, segment, tcb.snd_wscale);
    return true;
  }
  // RFC 5961 5.2: neither something never sent nor something too old to matter.
  if (seq_less(tcb.snd_max, segment.ack) || seq_less(segment.ack, tcb.snd_una - tcb.max_snd_wnd)) {
    stack.counters.add(Counter::tcp_bad_ack);
    challenge(stack, tcb, now);
    return false;
  }
  if (!process_ack(stack, tcb, segment, now, result)) return true;
  if (tcb.state == State::FinWait1) {  // our FIN is acknowledged
    set_state(tcb, State::FinWait2);
    tcb.idle_at = stack.config.fin_wait2_us == 0 ? kNever : now + stack.config.fin_wait2_us;
  } else if (tcb.state == State::Closing) {
    enter_time_wait(stack, tcb, now, result);
  } else if (tcb.state == State::LastAck) {
    close_tcb(stack, tcb, CloseCause::Finished);
    closed(result, tcb);
    return false;
  }
  return true;
}

// RFC 9293 3.10.7.4.
void input_synchronized(Stack& stack, Tcb& tcb, net::Segment& segment, Micros now,
                        InputResult& result) {
  if (paws_drop(stack, tcb, segment, now)) return;
  if (tcb.state == State::SynReceived && has(segment, net::kSyn) && segment.seq == tcb.irs &&
      !has(segment, net::kRst) && peer_syn_again(tcb, segment)) {
    return;
  }
  if (sequence_drop(stack, tcb, segment, now)) return;
  if (has(segment, net::kRst)) {
    input_reset(stack, tcb, segment, now, result);
    return;
  }
  if (has(segment, net::kSyn)) {  // fourth: RFC 5961 4.2
    challenge(stack, tcb, now);
    return;
  }
  if (!has(segment, net::kAck)) return;
  const uint32_t last_ack_sent = tcb.last_ack_sent;
  if (!input_ack(stack, tcb, segment, now, result)) return;
  if (tcb.timestamps && seq_leq(segment.seq, last_ack_sent) &&
      (seq_leq(tcb.ts_recent, segment.options.tsval) ||
       timestamp_is_stale(tcb, now))) {  // RFC 7323 4.3
    take_timestamp(tcb, segment, now);
  }
  tcb.received_at = to_millis(now);
  tcb.keepalives_sent = 0;
  take_congestion_marks(tcb, segment);
  take_text(stack, tcb, segment, now, result);
}

}  // namespace

InputResult tcp_input(Stack& stack, Tcb& tcb, net::Segment& segment, Micros now) {
  InputResult result;
  stack.counters.add(Counter::tcp_segments_in);
  switch (tcb.state) {
    case State::Closed:
      break;
    case State::SynSent:
      input_syn_sent(stack, tcb, segment, now, result);
      break;
    case State::SynReceived:
    case State::Established:
    case State::FinWait1:
    case State::FinWait2:
    case State::CloseWait:
    case State::Closing:
    case State::LastAck:
    case State::TimeWait:
      input_synchronized(stack, tcb, segment, now, result);
      break;
  }
  return result;
}

}  // namespace sluice::tcp
