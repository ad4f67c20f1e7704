// The owner's calls. Each changes the Tcb and leaves the sending to tcp_output, which
// `output_wanted` asks for.
#include "tcp/connection.h"

#include <algorithm>

#include "abi/assert.h"
#include "tcp/receive.h"
#include "tcp/seq.h"

namespace sluice::tcp {
namespace {

// Beyond what the old incarnation can have used when its numbers ran ahead of the clock.
constexpr uint32_t kReuseDistance = 1U << 16;

void begin(const Stack& stack, Tcb& tcb, const net::FlowTuple& tuple, Micros now) {
  SLUICE_ASSERT(tcb.state == State::Closed && tcb.send.empty() && tcb.receive.empty());
  tcb = Tcb{};
  tcb.tuple = tuple;
  tcb.mss = announced_mss(stack.config, tuple.local.address.is_ipv4());
  tcb.peer_segment_bytes = kMinMssBytes;
  tcb.rto_us = static_cast<uint32_t>(stack.config.rto_initial_us);
  begin_receive_space(stack, tcb, now);
}

}  // namespace

void tcp_connect(Stack& stack, Tcb& tcb, const net::FlowTuple& tuple, Micros now,
                 const TimeWaitReuse* previous) {
  begin(stack, tcb, tuple, now);
  tcb.iss = initial_sequence_number(stack.secrets, tuple, now);
  if (previous != nullptr && previous->found && seq_leq(tcb.iss, previous->snd_nxt)) {
    tcb.iss = previous->snd_nxt + kReuseDistance;  // RFC 6191 2
  }
  tcb.ts_offset = timestamp_offset(stack.secrets, tuple);
  tcb.snd_una = tcb.snd_nxt = tcb.snd_max = tcb.iss;
  tcb.unanswered_since = to_millis(now);
  tcb.output_wanted = true;
  set_state(tcb, State::SynSent);
  stack.counters.add(abi::Counter::tcp_connects);
}

bool tcp_accept_cookie(Stack& stack, const Listener& listener, Tcb& tcb, const net::Segment& ack,
                       Micros now) {
  CookieContents contents;
  if (!check_cookie(stack, listener, ack, now, contents)) return false;
  begin(stack, tcb, ack.tuple, now);
  tcb.iss = contents.iss;
  tcb.irs = contents.irs;
  tcb.snd_una = tcb.iss;
  tcb.snd_nxt = tcb.snd_max = tcb.iss + 1;
  tcb.rcv_nxt = tcb.last_ack_sent = tcb.irs + 1;
  tcb.rcv_adv = tcb.rcv_nxt + syn_window_bytes(stack.config);
  tcb.mss = contents.mss;
  tcb.ecn = contents.ecn;
  tcb.timestamps = contents.timestamps;
  tcb.ts_offset = contents.ts_offset;
  if (tcb.timestamps) {
    tcb.ts_recent = ack.options.tsval;
    tcb.ts_recent_second = static_cast<uint32_t>(now / kSecond);
  }
  tcb.sack_permitted = contents.sack_permitted;
  tcb.window_scale = contents.window_scale;
  if (tcb.window_scale) {
    tcb.snd_wscale = contents.peer_window_scale;
    tcb.rcv_wscale = announced_window_scale(stack.config);
  }
  tcb.unanswered_since = to_millis(now);
  set_state(tcb, State::SynReceived);
  return true;
}

bool tcp_send(Stack& stack, Tcb& tcb, const net::Slice& slice) {
  SLUICE_ASSERT(!tcb.fin_queued);
  if (tcb.state == State::Closed || tcb.state == State::FinWait2 || tcb.state == State::TimeWait) {
    net::release(slice.owner);
    return true;
  }
  if (!tcb.send.append(stack.nodes, slice, SliceNodePool::Use::Send)) {
    stack.counters.add(abi::Counter::no_node);
    return false;
  }
  tcb.output_wanted = true;
  return true;
}

uint32_t tcp_send_space_bytes(const Stack& stack, const Tcb& tcb) {
  // What the path takes in a round trip is queued once more, so that output never waits for input.
  const uint64_t useful =
      uint64_t{stack.config.send_initial_bytes} + 2 * uint64_t{tcb.congestion.cwnd_bytes};
  const auto limit = static_cast<uint32_t>(std::min<uint64_t>(useful, stack.send_limit_bytes));
  const uint32_t held = tcb.send.held_bytes();
  return held < limit ? limit - held : 0;
}

void tcp_send_fin(Stack&, Tcb& tcb) {  // RFC 9293 3.10.4
  switch (tcb.state) {
    case State::SynSent:
    case State::SynReceived:
      break;  // goes out when the handshake is done
    case State::Established:
      set_state(tcb, State::FinWait1);
      break;
    case State::CloseWait:
      set_state(tcb, State::LastAck);
      break;
    case State::Closed:
    case State::FinWait1:
    case State::FinWait2:
    case State::Closing:
    case State::LastAck:
    case State::TimeWait:
      return;
  }
  tcb.fin_queued = true;
  tcb.output_wanted = true;
}

void tcp_consume(Stack& stack, Tcb& tcb, uint32_t length) {
  tcb.receive.consume(stack.nodes, length);
  tcb.receive_space.round_bytes += length;
  if (can_receive(tcb.state)) tcb.output_wanted = true;
}

void tcp_abort(Stack& stack, Tcb& tcb) {  // RFC 9293 3.10.5
  switch (tcb.state) {
    case State::Closed:
      break;
    case State::SynSent:
      close_tcb(stack, tcb, CloseCause::LocalAbort);
      break;
    case State::TimeWait:
      close_tcb(stack, tcb, CloseCause::LocalAbort);
      break;
    case State::Closing:  // the RFC sends nothing from these two, but bytes are lost here as well
    case State::LastAck:
    case State::SynReceived:
    case State::Established:
    case State::FinWait1:
    case State::FinWait2:
    case State::CloseWait:
      close_with_reset(stack, tcb, CloseCause::LocalAbort);
      break;
  }
}

void tcp_release(Stack& stack, Tcb& tcb) {
  tcb.receive.clear(stack.nodes);
  close_tcb(stack, tcb, tcb.close_cause);
  tcb = Tcb{};
}

}  // namespace sluice::tcp
