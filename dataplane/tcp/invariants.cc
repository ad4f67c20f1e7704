// What holds between two calls, checked by walking everything. Tests and fuzzers call it after
// every step; the workers never do.
#include "abi/assert.h"
#include "abi/limits.h"
#include "tcp/receive.h"
#include "tcp/recovery.h"
#include "tcp/seq.h"
#include "tcp/tcb.h"

namespace sluice::tcp {
namespace {

void check_queue(const SliceQueue& queue) {
  uint32_t bytes = 0;
  uint32_t held = 0;
  const SliceNode* last = nullptr;
  for (const SliceNode* node = queue.head(); node != nullptr; node = node->next) {
    SLUICE_ASSERT(node->length != 0 && node->owner != nullptr && node->owner->references != 0);
    bytes += node->length;
    if (last == nullptr || last->owner != node->owner) held += node->owner->truesize_bytes;
    last = node;
  }
  SLUICE_ASSERT(last == queue.tail());
  SLUICE_ASSERT(bytes == queue.readable_bytes());
  SLUICE_ASSERT(held == queue.held_bytes());
}

void check_reassembly(const Tcb& tcb) {
  const Reassembly& list = tcb.out_of_order;
  uint32_t held = 0;
  uint32_t nodes = 0;
  uint32_t ranges = 0;
  uint32_t end = tcb.rcv_nxt;
  const SliceNode* last = nullptr;
  for (const SliceNode* node = list.head; node != nullptr; node = node->next) {
    SLUICE_ASSERT(node->length != 0 && node->owner->references != 0);
    // Behind the first node's gap; nodes may touch but not overlap.
    SLUICE_ASSERT(last == nullptr ? seq_less(end, node->seq) : seq_leq(end, node->seq));
    if (last == nullptr || node->seq != end) ++ranges;
    end = node->seq + node->length;
    held += node->owner->truesize_bytes;
    ++nodes;
    last = node;
  }
  SLUICE_ASSERT(last == list.tail);
  SLUICE_ASSERT(held == list.held_bytes && nodes == list.nodes && ranges == list.ranges);
  SLUICE_ASSERT(ranges <= abi::kMaxOutOfOrderRanges && list.recent_count <= list.recent.size());
  SLUICE_ASSERT(list.head != nullptr || list.recent_count == 0);
  if (list.head == nullptr) return;
  SLUICE_ASSERT(seq_leq(end, tcb.rcv_adv));
  SLUICE_ASSERT(!tcb.peer_fin || seq_leq(end, tcb.peer_fin_seq));
}

void check_cursor(const Tcb& tcb) {
  if (!is_synchronized(tcb.state)) return;
  const uint32_t sent = seq_min(tcb.snd_nxt, tcb.send_end()) - tcb.send_seq();
  if (tcb.cursor.node == nullptr) {
    SLUICE_ASSERT(sent == 0);
    return;
  }
  uint32_t before = 0;
  for (const SliceNode* node = tcb.send.head(); node != tcb.cursor.node; node = node->next) {
    SLUICE_ASSERT(node != nullptr);
    before += node->length;
  }
  SLUICE_ASSERT(tcb.cursor.offset <= tcb.cursor.node->length);
  SLUICE_ASSERT(before + tcb.cursor.offset == sent);
}

void check_send_space(const Tcb& tcb) {
  SLUICE_ASSERT(seq_leq(tcb.snd_una, tcb.snd_nxt) && seq_leq(tcb.snd_nxt, tcb.snd_max));
  if (!is_synchronized(tcb.state)) return;
  SLUICE_ASSERT(seq_leq(tcb.snd_max, tcb.send_end() + (tcb.fin_queued ? 1U : 0U)));
  SLUICE_ASSERT(tcb.congestion.cwnd_bytes >= effective_mss(tcb) || tcb.mss == 0);
  SLUICE_ASSERT(tcb.snd_wnd <= tcb.max_snd_wnd);
}

}  // namespace

void check_invariants(const Stack& stack, const Tcb& tcb) {
  check_queue(tcb.send);
  check_queue(tcb.receive);
  SLUICE_ASSERT(stack.nodes.free_count() <= stack.nodes.capacity());
  if (tcb.state == State::Closed) {
    SLUICE_ASSERT(tcb.send.empty() && tcb.out_of_order.empty());
    SLUICE_ASSERT(tcb.retransmit_at == kNever && tcb.delayed_ack_at == kNever &&
                  tcb.idle_at == kNever);
    return;
  }
  SLUICE_ASSERT(tcb.close_cause == CloseCause::None);
  check_send_space(tcb);
  check_cursor(tcb);
  check_reassembly(tcb);
  if (tcb.state != State::SynSent) {
    SLUICE_ASSERT(seq_leq(tcb.rcv_nxt, tcb.rcv_adv));
    SLUICE_ASSERT(seq_leq(tcb.last_ack_sent, tcb.rcv_nxt));
  }
  // A connection that waits for the peer has a timer, or work for tcp_output.
  const bool waits = tcb.snd_una != tcb.snd_max || has_unsent(tcb);
  SLUICE_ASSERT(!waits || tcb.output_wanted || tcb.retransmit_at != kNever);
  const uint32_t held = tcb.receive.held_bytes() + tcb.out_of_order.held_bytes;
  const uint32_t limit = stack.config.receive_limit_bytes;
  SLUICE_ASSERT(held <= limit || tcb.out_of_order.empty());
  SLUICE_ASSERT(held <= limit + limit / 2 ||  // what was advertised is taken (receive.cc)
                (tcb.receive.head() == tcb.receive.tail() && tcb.out_of_order.empty()));
}

}  // namespace sluice::tcp
