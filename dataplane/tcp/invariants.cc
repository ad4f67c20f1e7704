// What holds between two calls, checked by walking everything. Tests and fuzzers call it after
// every step; the workers never do.
#include "abi/assert.h"
#include "abi/limits.h"
#include "tcp/receive.h"
#include "tcp/recovery.h"
#include "tcp/scoreboard.h"
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
  if (tcb.out_of_order.empty()) return;
  const ReassemblyList& list = *tcb.out_of_order.list;
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
  SLUICE_ASSERT(list.head != nullptr);
  SLUICE_ASSERT(seq_leq(end, tcb.rcv_adv));
  SLUICE_ASSERT(!tcb.peer_fin || seq_leq(end, tcb.peer_fin_seq));
}

// Bytes of the send queue before a place in it.
uint32_t place(const Stack& stack, const Tcb& tcb, const SendCursor& cursor) {
  uint32_t before = 0;
  if (cursor.node == kNoNode) return 0;
  for (const SliceNode* node = tcb.send.head(); node != stack.nodes.at(cursor.node);
       node = node->next) {
    SLUICE_ASSERT(node != nullptr);
    before += node->length;
  }
  SLUICE_ASSERT(cursor.offset <= stack.nodes.at(cursor.node)->length);
  return before + cursor.offset;
}

void check_cursor(const Stack& stack, const Tcb& tcb) {
  if (!is_synchronized(tcb.state)) return;
  const uint32_t sent = seq_min(tcb.snd_nxt, tcb.send_end()) - tcb.send_seq();
  SLUICE_ASSERT(place(stack, tcb, tcb.cursor) == sent);
}

void check_send_space(const Tcb& tcb) {
  SLUICE_ASSERT(seq_leq(tcb.snd_una, tcb.snd_nxt) && seq_leq(tcb.snd_nxt, tcb.snd_max));
  if (!is_synchronized(tcb.state)) return;
  SLUICE_ASSERT(seq_leq(tcb.snd_max, tcb.send_end() + (tcb.fin_queued ? 1U : 0U)));
  SLUICE_ASSERT(tcb.congestion.cwnd_bytes >= effective_mss(tcb) || tcb.mss == 0);
  SLUICE_ASSERT(tcb.snd_wnd <= tcb.max_snd_wnd);
}

// The records cover [snd_una, snd_nxt) without gaps, and the sums are theirs.
void check_scoreboard(const Stack& stack, const Tcb& tcb) {
  if (tcb.in_flight == nullptr) {
    SLUICE_ASSERT(tcb.phase == SendPhase::Open);
    return;
  }
  const InFlight& flight = *tcb.in_flight;
  SLUICE_ASSERT(is_synchronized(tcb.state) && flight.first != kNoRecord);
  SLUICE_ASSERT(stack.pools.records[flight.first].seq == tcb.snd_una);
  uint32_t records = 0;
  uint32_t sacked = 0;
  uint32_t lost = 0;
  uint32_t resent = 0;
  uint32_t last = kNoRecord;
  bool passed_hint = flight.next_lost == kNoRecord;
  for (uint32_t index = flight.first; index != kNoRecord; index = stack.pools.records[index].next) {
    const SentRecord& record = stack.pools.records[index];
    const uint32_t end = record_end(stack, tcb, record);
    SLUICE_ASSERT(seq_less(record.seq, end));
    passed_hint = passed_hint || index == flight.next_lost;
    const bool waits = record.lost && !record.resent;
    SLUICE_ASSERT(!waits || (passed_hint && flight.next_lost != kNoRecord));
    SLUICE_ASSERT(!record.sacked || (!record.lost && tcb.sack_permitted));
    SLUICE_ASSERT(!record.resent || record.lost);
    if (record.sacked) sacked += end - record.seq;
    if (record.lost) lost += end - record.seq;
    if (record.resent) resent += end - record.seq;
    if (seq_less(record.seq, tcb.send_end()) && !record.sacked) {
      SLUICE_ASSERT(place(stack, tcb, record_cursor(stack, tcb, record)) ==
                    record.seq - tcb.snd_una);
    }
    ++records;
    last = index;
  }
  SLUICE_ASSERT(passed_hint && last == flight.last && records == flight.records);
  SLUICE_ASSERT(lost == flight.lost_bytes && resent == flight.resent_bytes);
  SLUICE_ASSERT(tcb.sack_permitted ? sacked == flight.sacked_bytes
                                   : flight.sacked_bytes <= tcb.flight_bytes());
  SLUICE_ASSERT(seq_leq(flight.highest_sacked, tcb.snd_nxt));
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
  check_cursor(stack, tcb);
  check_scoreboard(stack, tcb);
  check_reassembly(tcb);
  if (tcb.state != State::SynSent) {
    SLUICE_ASSERT(seq_leq(tcb.rcv_nxt, tcb.rcv_adv));
    SLUICE_ASSERT(seq_leq(tcb.last_ack_sent, tcb.rcv_nxt));
  }
  // A connection that waits for the peer has a timer, or work for tcp_output.
  const bool waits = tcb.snd_una != tcb.snd_max || has_unsent(tcb);
  SLUICE_ASSERT(!waits || tcb.output_wanted || tcb.retransmit_at != kNever);
  const uint32_t held = tcb.receive.held_bytes() + tcb.out_of_order.held_bytes();
  const uint32_t limit = stack.config.receive_limit_bytes;
  SLUICE_ASSERT(held <= limit || tcb.out_of_order.empty());
  SLUICE_ASSERT(held <= limit + limit / 2 ||  // what was advertised is taken (receive.cc)
                (tcb.receive.head() == tcb.receive.tail() && tcb.out_of_order.empty()));
}

}  // namespace sluice::tcp
