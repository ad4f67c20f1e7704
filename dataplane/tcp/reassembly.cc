// Job: keep what arrives beyond a gap until the gap is filled, within bounds that a hostile peer
// cannot push.
//
// The list is sorted and free of overlaps; a new piece is cut around what is there, so the first
// copy of a byte wins and a later, different one changes nothing. Bounds: ranges (each costs a
// hole), nodes (the worker's pool) and memory, counted as what the owners occupy. Small pieces are
// copied into small buffers, next to their predecessor where they continue it, because a one-byte
// slice would otherwise hold a whole packet buffer.
//
// In flow order: tcp_input -> receive.cc -> reassembly_insert; when rcv_nxt moves,
// reassembly_deliver hands nodes over to the receive queue without copying.
#include "tcp/reassembly.h"

#include <algorithm>
#include <cstring>

#include "abi/assert.h"
#include "abi/limits.h"
#include "tcp/pools.h"
#include "tcp/seq.h"

namespace sluice::tcp {
namespace {

uint32_t end_of(const SliceNode* node) { return node->seq + node->length; }

// Copying pays when the bytes are few and their owner is mostly something else.
bool is_small(const net::Slice& slice) {
  return slice.length <= abi::kCollapseBytes && slice.length <= slice.owner->truesize_bytes / 2;
}

void free_node(Stack& stack, ReassemblyList& list, SliceNode* node) {
  list.held_bytes -= node->owner->truesize_bytes;
  --list.nodes;
  net::release(node->owner);
  stack.nodes.give(node);
}

void recount(ReassemblyList& list) {
  list.ranges = 0;
  list.tail = nullptr;
  for (SliceNode* node = list.head; node != nullptr; node = node->next) {
    if (list.tail == nullptr || end_of(list.tail) != node->seq) ++list.ranges;
    list.tail = node;
  }
}

// Takes a list from the pool when there is none. False: the pool is empty.
bool begin_list(Stack& stack, Reassembly& held) {
  if (held.list != nullptr) return true;
  Pool<ReassemblyList>& pool = stack.pools.reassemblies;
  const uint32_t index = pool.take();
  if (index == Pool<ReassemblyList>::kNone) return false;
  held.list = &pool[index];
  return true;
}

// Gives the list back when nothing is in it.
void end_list(Stack& stack, Reassembly& held) {
  if (held.list == nullptr || held.list->head != nullptr) return;
  if (held.list->duplicate.start != held.list->duplicate.end) return;
  Pool<ReassemblyList>& pool = stack.pools.reassemblies;
  pool.give(pool.index_of(*held.list));
  held.list = nullptr;
}

// Frees everything behind `last` (all, when it is null).
void drop_behind(Stack& stack, Reassembly& held, SliceNode* last) {
  ReassemblyList& list = *held.list;
  SliceNode*& link = last == nullptr ? list.head : last->next;
  SliceNode* node = link;
  link = nullptr;
  while (node != nullptr) {
    SliceNode* next = node->next;
    free_node(stack, list, node);
    node = next;
  }
  recount(list);
  end_list(stack, held);
}

// Puts one piece that fits exactly between `previous` and its successor. False: a bound.
bool insert_piece(Stack& stack, ReassemblyList& list, SliceNode* previous, uint32_t seq,
                  const net::Slice& piece, uint32_t held_limit_bytes) {
  SliceNode* next = previous == nullptr ? list.head : previous->next;
  const bool joins_previous = previous != nullptr && end_of(previous) == seq;
  const bool joins_next = next != nullptr && next->seq == seq + piece.length;
  const bool small = is_small(piece);
  if (small && joins_previous && copy_behind(stack, previous, piece)) {
    previous->length += piece.length;
    if (joins_next) --list.ranges;
    return true;
  }
  if (!joins_previous && !joins_next && list.ranges >= abi::kMaxOutOfOrderRanges) return false;

  net::Slice kept = piece;
  if (!(small && copy_to_small_buffer(stack, piece, kept))) net::retain(kept.owner);
  SliceNode* node = nullptr;
  if (list.held_bytes + kept.owner->truesize_bytes <= held_limit_bytes) {
    node = stack.nodes.take(SliceNodePool::Use::OutOfOrder);
    if (node == nullptr) stack.counters.add(abi::Counter::no_node);
  }
  if (node == nullptr) {
    net::release(kept.owner);
    return false;
  }
  *node = {kept.data, kept.owner, next, kept.length, seq};
  (previous == nullptr ? list.head : previous->next) = node;
  if (next == nullptr) list.tail = node;
  list.held_bytes += kept.owner->truesize_bytes;
  ++list.nodes;
  list.ranges =
      static_cast<uint16_t>(list.ranges + 1 - (joins_previous ? 1 : 0) - (joins_next ? 1 : 0));
  return true;
}

// Cuts the slice around what is there already. False: a bound was met.
bool insert_slice(Stack& stack, ReassemblyList& list, uint32_t seq, const net::Slice& slice,
                  uint32_t held_limit_bytes) {
  const uint32_t end = seq + slice.length;
  SliceNode* previous = nullptr;  // the last node that begins at or before `at`
  if (list.tail != nullptr && seq_leq(list.tail->seq, seq)) previous = list.tail;
  for (uint32_t at = seq; seq_less(at, end);) {
    if (previous != nullptr && seq_less(at, end_of(previous))) {
      const uint32_t again = seq_min(end, end_of(previous));
      net::SackBlock& duplicate = list.duplicate;
      if (duplicate.start == duplicate.end || duplicate.end == at) {
        duplicate = {duplicate.end == at ? duplicate.start : at, again};  // the first run of them
      }
      at = again;
      continue;
    }
    SliceNode* next = previous == nullptr ? list.head : previous->next;
    if (next != nullptr && seq_leq(next->seq, at)) {
      previous = next;
      continue;
    }
    const uint32_t stop = next == nullptr ? end : seq_min(end, next->seq);
    const net::Slice piece{slice.data + (at - seq), stop - at, slice.owner};
    if (!insert_piece(stack, list, previous, at, piece, held_limit_bytes)) return false;
    at = stop;
  }
  return true;
}

}  // namespace

bool copy_behind(const Stack& stack, SliceNode* tail, const net::Slice& slice) {
  if (stack.small_buffers.take == nullptr || tail->owner->release != stack.small_buffers.release) {
    return false;
  }
  auto* buffer = reinterpret_cast<SmallBuffer*>(tail->owner);
  if (tail->data + tail->length != buffer->data + buffer->used_bytes) return false;
  if (buffer->capacity_bytes - buffer->used_bytes < slice.length) return false;
  std::memcpy(buffer->data + buffer->used_bytes, slice.data, slice.length);
  buffer->used_bytes += slice.length;
  stack.counters.add(abi::Counter::tcp_collapsed_bytes, slice.length);
  return true;
}

bool copy_to_small_buffer(const Stack& stack, const net::Slice& slice, net::Slice& copy) {
  if (stack.small_buffers.take == nullptr) return false;
  SmallBuffer* buffer = stack.small_buffers.take(stack.small_buffers.context);
  if (buffer == nullptr) return false;
  SLUICE_ASSERT(buffer->used_bytes == 0 && buffer->owner.release == stack.small_buffers.release);
  if (buffer->capacity_bytes < slice.length) {
    net::release(&buffer->owner);
    return false;
  }
  std::memcpy(buffer->data, slice.data, slice.length);
  buffer->used_bytes = slice.length;
  copy = {buffer->data, slice.length, &buffer->owner};
  stack.counters.add(abi::Counter::tcp_collapsed_bytes, slice.length);
  return true;
}

bool reassembly_insert(Stack& stack, Reassembly& held, uint32_t seq, const net::Slice& slice,
                       uint32_t held_limit_bytes) {
  if (!begin_list(stack, held)) {
    stack.counters.add(abi::Counter::tcp_no_reassembly);
    return false;
  }
  const bool whole = insert_slice(stack, *held.list, seq, slice, held_limit_bytes);
  end_list(stack, held);
  return whole;
}

void reassembly_note_arrival(Reassembly& held, uint32_t seq) {
  if (held.empty()) return;  // nothing of it was kept
  ReassemblyList& list = *held.list;
  uint32_t start = seq;
  uint32_t end = seq;
  for (const SliceNode* node = list.head; node != nullptr; node = node->next) {
    if (node->seq == end) {
      end = end_of(node);
      continue;
    }
    if (seq_less(seq, end)) break;  // [start, end) is the range around seq
    if (seq_less(seq, node->seq)) break;
    start = node->seq;
    end = end_of(node);
  }
  // One entry for each range, so that merged ranges do not push others out.
  uint8_t kept = 0;
  std::array<uint32_t, 3> others{};
  for (uint8_t i = 0; i < list.recent_count; ++i) {
    const bool same_range = seq_leq(start, list.recent[i]) && seq_less(list.recent[i], end);
    if (!same_range && list.recent[i] != seq && kept < others.size() - 1) {
      others[kept++] = list.recent[i];
    }
  }
  list.recent[0] = seq;
  std::copy_n(others.begin(), kept, list.recent.begin() + 1);
  list.recent_count = static_cast<uint8_t>(kept + 1);
}

void reassembly_note_duplicate(Stack& stack, Reassembly& held, uint32_t start, uint32_t end) {
  if (!seq_less(start, end) || !begin_list(stack, held)) return;
  held.list->duplicate = {start, end};
}

void reassembly_note_reported(Stack& stack, Reassembly& held) {
  if (held.list == nullptr) return;
  held.list->duplicate = {};
  end_list(stack, held);
}

uint32_t reassembly_deliver(Stack& stack, Reassembly& held, SliceQueue& queue, uint32_t rcv_nxt) {
  if (held.empty()) return rcv_nxt;
  ReassemblyList& list = *held.list;
  while (list.head != nullptr && seq_leq(list.head->seq, rcv_nxt)) {
    SliceNode* node = list.head;
    const uint32_t end = end_of(node);
    list.head = node->next;
    if (list.head == nullptr) list.tail = nullptr;
    if (list.head == nullptr || list.head->seq != end) --list.ranges;
    if (seq_leq(end, rcv_nxt)) {  // came again in order meanwhile
      free_node(stack, list, node);
      continue;
    }
    list.held_bytes -= node->owner->truesize_bytes;
    --list.nodes;
    const uint32_t skip = rcv_nxt - node->seq;
    node->data += skip;
    node->length -= skip;
    queue.append_node(node);
    rcv_nxt = end;
  }
  end_list(stack, held);
  return rcv_nxt;
}

void reassembly_prune(Stack& stack, Reassembly& held, uint32_t held_limit_bytes) {
  if (held_limit_bytes == 0) reassembly_note_reported(stack, held);
  if (held.held_bytes() <= held_limit_bytes) return;
  uint32_t bytes = 0;
  SliceNode* last = nullptr;
  for (SliceNode* node = held.list->head; node != nullptr; node = node->next) {
    bytes += node->owner->truesize_bytes;
    if (bytes > held_limit_bytes) break;
    last = node;
  }
  stack.counters.add(abi::Counter::tcp_reassembly_drop);
  drop_behind(stack, held, last);
}

void reassembly_cut(Stack& stack, Reassembly& held, uint32_t seq) {
  if (held.empty()) return;
  SliceNode* last = nullptr;
  for (SliceNode* node = held.list->head; node != nullptr && seq_less(node->seq, seq);
       node = node->next) {
    if (seq_less(seq, end_of(node))) node->length = seq - node->seq;
    last = node;
  }
  drop_behind(stack, held, last);
}

void reassembly_fill_sack(const Reassembly& held, net::TcpOptions& options, uint32_t limit) {
  constexpr uint32_t kBlocks = 4;
  if (held.list == nullptr) return;
  const ReassemblyList& list = *held.list;
  limit = std::min(limit, kBlocks);
  net::SackBlock recent[3];
  bool found[3] = {};
  net::SackBlock lowest[kBlocks];
  uint32_t lowest_count = 0;
  for (const SliceNode* node = list.head; node != nullptr;) {
    net::SackBlock range{node->seq, end_of(node)};
    for (node = node->next; node != nullptr && node->seq == range.end; node = node->next) {
      range.end = end_of(node);
    }
    bool reported = false;
    for (uint32_t i = 0; i < list.recent_count && !reported; ++i) {
      if (seq_leq(range.start, list.recent[i]) && seq_less(list.recent[i], range.end)) {
        recent[i] = range;
        found[i] = reported = true;
      }
    }
    if (!reported && lowest_count < kBlocks) lowest[lowest_count++] = range;
  }
  uint32_t count = 0;
  if (list.duplicate.start != list.duplicate.end) options.sack[count++] = list.duplicate;
  for (uint32_t i = 0; i < list.recent_count && count < limit; ++i) {
    if (found[i]) options.sack[count++] = recent[i];
  }
  for (uint32_t i = 0; i < lowest_count && count < limit; ++i) options.sack[count++] = lowest[i];
  options.sack_count = static_cast<uint8_t>(count);
}

}  // namespace sluice::tcp
