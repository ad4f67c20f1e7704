// Job: turn segments into the in-order byte stream `tcb.receive`, hold what is out of order in
// `tcb.out_of_order`, and say what window is left.
//
// Limits: receive queue and reassembly list together hold at most receive_space.limit_bytes of
// buffers. The advertised window counts bytes, the limit counts buffers; kWindowShare of the free
// memory is advertised, which is what full segments fill of their buffers. Senders of smaller
// segments fill less, so when half of the limit is held these are copied together as well. If
// memory still runs out, in-order bytes push out-of-order ones out (RFC 2018 8 permits it): a
// connection can always make progress.
//
// Pressure (stack.h): Soft closes windows down to a floor as they fill. Hard keeps nothing out of
// order and copies what is in order, or refuses it; the first piece of an empty queue is always
// taken.
//
// Data flow: segment.payload -> trim to [rcv_nxt, rcv_adv) -> tcb.receive (rcv_nxt moves, the
// reassembly list is drained) or tcb.out_of_order (rcv_nxt stays, an immediate duplicate ACK).
#include "tcp/receive.h"

#include <algorithm>

#include "abi/limits.h"
#include "tcp/receive_space.h"
#include "tcp/seq.h"

namespace sluice::tcp {
namespace {

// In eighths: 1,448 bytes in a packet buffer of about 2,300.
constexpr uint32_t kWindowShare = 5;

uint32_t held_bytes(const Tcb& tcb) {
  return tcb.receive.held_bytes() + tcb.out_of_order.held_bytes();
}

// Makes room for an in-order owner of `truesize_bytes`; the first one always fits. What was
// advertised is taken, even when the buffers are less full than kWindowShare assumed (a peer with a
// small MTU): the window has closed by then, so that the overshoot ends.
bool make_room(Stack& stack, Tcb& tcb, uint32_t truesize_bytes) {
  const uint32_t limit = tcb.receive_space.limit_bytes;
  if (held_bytes(tcb) + truesize_bytes <= limit) return true;
  const uint32_t in_order = tcb.receive.held_bytes() + truesize_bytes;
  reassembly_prune(stack, tcb.out_of_order, in_order < limit ? limit - in_order : 0);
  return in_order <= limit + limit / 2 || tcb.receive.empty();
}

// Worth copying behind the tail instead of holding its packet buffer.
bool is_collapsible(const Stack& stack, const Tcb& tcb, const net::Slice& slice) {
  if (stack.pressure == Pressure::Hard) return true;
  if (slice.length > slice.owner->truesize_bytes / 2) return false;
  return slice.length <= abi::kCollapseBytes ||
         held_bytes(tcb) > tcp_receive_limit_bytes(stack, tcb) / 2;
}

// Appends one in-order slice, or a copy of it. False: no memory, nothing was taken.
bool append_in_order(Stack& stack, Tcb& tcb, const net::Slice& slice) {
  const bool scarce = stack.pressure == Pressure::Hard;
  net::Slice kept = slice;
  bool copied = false;
  if ((scarce || !tcb.receive.empty()) && is_collapsible(stack, tcb, slice)) {
    if (!tcb.receive.empty() && copy_behind(stack, tcb.receive.tail(), slice)) {
      tcb.receive.extend_tail(slice.length);
      return true;
    }
    copied = copy_to_small_buffer(stack, slice, kept);
  }
  if (scarce && !copied && !tcb.receive.empty()) {
    stack.counters.add(abi::Counter::tcp_pressure_drop);
    return false;
  }
  if (!copied) net::retain(kept.owner);
  bool taken = make_room(stack, tcb, kept.owner->truesize_bytes);
  if (taken) {
    taken = tcb.receive.append(stack.nodes, kept, SliceNodePool::Use::InOrder);
    if (!taken && !tcb.out_of_order.empty()) {
      reassembly_prune(stack, tcb.out_of_order, 0);  // gives nodes back too
      taken = tcb.receive.append(stack.nodes, kept, SliceNodePool::Use::InOrder);
    }
    if (!taken) stack.counters.add(abi::Counter::no_node);
  } else {
    stack.counters.add(abi::Counter::tcp_reassembly_drop);
  }
  if (!taken) net::release(kept.owner);
  return taken;
}

// Keeps the first `length` bytes of the payload.
void trim_payload(net::Chain& payload, uint32_t length) {
  while (payload.length > length) {
    net::Slice& last = payload.pieces[payload.count - 1];
    const uint32_t surplus = payload.length - length;
    if (last.length > surplus) {
      last.length -= surplus;
      payload.length = length;
      return;
    }
    payload.length -= last.length;
    --payload.count;
  }
}

// Text that begins at or before rcv_nxt. Returns whether all of it was taken.
bool take_in_order(Stack& stack, Tcb& tcb, const net::Chain& payload, uint32_t skip) {
  for (uint32_t i = 0; i < payload.count; ++i) {
    net::Slice slice = payload.pieces[i];
    const uint32_t part = std::min(skip, slice.length);
    skip -= part;
    slice.data += part;
    slice.length -= part;
    if (slice.length == 0) continue;
    if (!append_in_order(stack, tcb, slice)) return false;
    tcb.rcv_nxt += slice.length;
  }
  return true;
}

void take_out_of_order(Stack& stack, Tcb& tcb, uint32_t seq, const net::Chain& payload) {
  if (stack.pressure == Pressure::Hard) {
    stack.counters.add(abi::Counter::tcp_out_of_order);
    stack.counters.add(abi::Counter::tcp_pressure_drop);
    return;
  }
  const uint32_t limit = tcb.receive_space.limit_bytes;
  const uint32_t in_order = tcb.receive.held_bytes();
  const uint32_t held_limit = in_order < limit ? limit - in_order : 0;
  uint32_t at = seq;
  stack.counters.add(abi::Counter::tcp_out_of_order);
  for (uint32_t i = 0; i < payload.count; ++i) {
    const net::Slice& slice = payload.pieces[i];
    if (slice.length == 0) continue;
    if (!reassembly_insert(stack, tcb.out_of_order, at, slice, held_limit)) {
      stack.counters.add(abi::Counter::tcp_reassembly_drop);
      break;
    }
    at += slice.length;
  }
  reassembly_note_arrival(tcb.out_of_order, seq);
}

// RFC 9293 3.8.6.3, RFC 5681 4.2: an ACK at least for every second full segment.
void schedule_ack(const Stack& stack, Tcb& tcb, uint32_t length, Micros now) {
  if (tcb.rcv_nxt - tcb.last_ack_sent > tcb.peer_segment_bytes ||
      (tcb.ack_small && length < effective_mss(tcb))) {
    tcb.ack_now = true;
  } else if (tcb.delayed_ack_at == kNever) {
    tcb.delayed_ack_at = now + stack.config.delayed_ack_us;
  }
}

// RFC 9293 3.10.7.4, eighth.
void receive_fin(Stack& stack, Tcb& tcb, Micros now, InputResult& result) {
  tcb.rcv_nxt = tcb.peer_fin_seq + 1;
  tcb.rcv_adv = seq_max(tcb.rcv_adv, tcb.rcv_nxt);
  tcb.ack_now = true;
  result.peer_finished = true;
  if (tcb.state == State::Established) {
    set_state(tcb, State::CloseWait);
  } else if (tcb.state == State::FinWait1) {
    set_state(tcb, State::Closing);
  } else {
    enter_time_wait(stack, tcb, now, result);
  }
}

}  // namespace

bool is_acceptable(const Tcb& tcb, const net::Segment& segment) {
  if (segment.seq == tcb.rcv_nxt) return true;  // at a closed window for its ACK, URG or RST
  if (segment.payload.length == 0 && !seq_less(segment.seq, tcb.rcv_nxt)) {
    return seq_leq(segment.seq, tcb.rcv_adv);
  }
  const uint32_t end = segment.seq + segment.sequence_length();
  return seq_less(segment.seq, tcb.rcv_adv) && seq_less(tcb.rcv_nxt, end);
}

void receive_text(Stack& stack, Tcb& tcb, net::Segment& segment, Micros now, InputResult& result) {
  uint32_t end = segment.seq + segment.payload.length;
  bool fin = (segment.flags & net::kFin) != 0;
  if (segment.payload.length == 0 && !fin) return;
  const uint32_t limit = tcb.peer_fin ? seq_min(tcb.rcv_adv, tcb.peer_fin_seq) : tcb.rcv_adv;
  if (seq_less(limit, end)) {
    trim_payload(segment.payload, seq_less(segment.seq, limit) ? limit - segment.seq : 0);
    end = segment.seq + segment.payload.length;
    fin = false;
    tcb.ack_now = true;
  }
  if (fin && !tcb.peer_fin) {
    tcb.peer_fin = true;
    tcb.peer_fin_seq = end;
    reassembly_cut(stack, tcb.out_of_order, end);
  }
  tcb.peer_segment_bytes = static_cast<uint16_t>(
      std::min<uint32_t>(std::max<uint32_t>(tcb.peer_segment_bytes, segment.payload.length),
                         announced_mss(stack.config, tcb.tuple.local.address.is_ipv4())));

  const uint32_t before = tcb.rcv_nxt;
  if (seq_leq(segment.seq, tcb.rcv_nxt)) {
    if (tcb.sack_permitted) {
      reassembly_note_duplicate(stack, tcb.out_of_order, segment.seq, seq_min(end, tcb.rcv_nxt));
    }
    const bool gap = !tcb.out_of_order.empty();
    if (!take_in_order(stack, tcb, segment.payload, tcb.rcv_nxt - segment.seq)) tcb.ack_now = true;
    if (gap) {
      tcb.rcv_nxt = reassembly_deliver(stack, tcb.out_of_order, tcb.receive, tcb.rcv_nxt);
      tcb.ack_now = true;  // RFC 5681 4.2: the sender is in recovery
    }
  } else {
    if (segment.payload.length != 0) {
      take_out_of_order(stack, tcb, segment.seq, segment.payload);
    }
    tcb.ack_now = true;  // RFC 5681 4.2: the duplicate ACK
  }
  if (tcb.rcv_nxt != before) {
    result.readable = true;
    measure_receive_space(stack, tcb, segment, now);
    schedule_ack(stack, tcb, segment.payload.length, now);
  }
  if (tcb.peer_fin && tcb.rcv_nxt == tcb.peer_fin_seq) receive_fin(stack, tcb, now, result);
}

uint32_t window_of_limit(uint32_t limit_bytes) {
  return static_cast<uint32_t>(uint64_t{limit_bytes} * kWindowShare / 8);
}

uint64_t limit_for_window(uint64_t window_bytes) { return window_bytes * 8 / kWindowShare; }

uint16_t syn_window_bytes(const TcpConfig& config) {
  const uint32_t limit = std::min(config.receive_initial_bytes, config.receive_limit_bytes);
  return static_cast<uint16_t>(std::min(window_of_limit(limit), 65535U));
}

uint32_t window_edge(const Stack& stack, const Tcb& tcb) {
  const uint32_t held = held_bytes(tcb);
  const uint32_t limit = tcp_receive_limit_bytes(stack, tcb);
  const uint32_t free = held < limit ? limit - held : 0;
  const uint64_t window =
      std::min<uint64_t>(window_of_limit(free), uint64_t{65535} << tcb.rcv_wscale);
  const uint32_t edge = tcb.rcv_nxt + static_cast<uint32_t>(window);
  // RFC 9293 3.8.6.2.1: the window is not shrunk. 3.8.6.2.2: it does not grow by crumbs.
  const uint32_t step = std::min<uint32_t>(window_of_limit(limit) / 2, tcb.mss);
  return seq_leq(tcb.rcv_adv + step, edge) ? edge : tcb.rcv_adv;
}

bool window_update_due(const Stack& stack, const Tcb& tcb) {
  if (!can_receive(tcb.state)) return false;
  // While the peer has window left its text comes and is acknowledged, with the new window.
  const uint32_t full = window_of_limit(tcp_receive_limit_bytes(stack, tcb));
  if (tcb.rcv_adv - tcb.rcv_nxt > full / 4) return false;
  const uint32_t gain = window_edge(stack, tcb) - tcb.rcv_adv;
  return gain != 0 && gain >= std::min(full / 4, 2U * tcb.mss);
}

void enter_time_wait(const Stack& stack, Tcb& tcb, Micros now, InputResult& result) {
  set_state(tcb, State::TimeWait);
  tcb.retransmit_at = kNever;
  tcb.persist = tcb.probe = tcb.loss_probe = false;
  tcb.idle_at = now + stack.config.time_wait_us;
  result.time_wait = true;
}

}  // namespace sluice::tcp
