// The out-of-order part of a receive side: a list of pieces sorted by sequence number, never
// overlapping, all above rcv_nxt. RFC 9293 3.10.7.4, RFC 2018 and 2883 for what is reported of it.
#pragma once

#include <array>
#include <cstdint>

#include "net/segment.h"
#include "tcp/slice_queue.h"
#include "tcp/stack.h"

namespace sluice::tcp {

// The list itself, from Pools::reassemblies. Never without a node or a duplicate.
struct ReassemblyList {
  uint32_t next = UINT32_MAX;  // the pool's
  uint32_t held_bytes = 0;     // every node charges its owner's truesize
  SliceNode* head = nullptr;
  SliceNode* tail = nullptr;
  uint16_t ranges = 0;  // runs of nodes without a gap, at most abi::kMaxOutOfOrderRanges
  uint16_t nodes = 0;
  std::array<uint32_t, 3> recent{};  // sequence numbers of the latest arrivals, newest first
  uint8_t recent_count = 0;
  net::SackBlock duplicate;  // what came again and is not reported yet; start == end: none
};

// A connection's part of it: a list while there is text out of order, and nothing otherwise.
struct Reassembly {
  ReassemblyList* list = nullptr;

  bool empty() const { return list == nullptr || list->head == nullptr; }
  uint32_t held_bytes() const { return list == nullptr ? 0 : list->held_bytes; }
};

// Keeps what of the slice is new; retains its owner for each piece kept. Where bytes are already
// there, the first to come stay. `seq` is above rcv_nxt and the end inside the window. The memory
// kept stays within `held_limit_bytes`; false when a bound or an empty pool made it drop some of
// the bytes.
bool reassembly_insert(Stack& stack, Reassembly& held, uint32_t seq, const net::Slice& slice,
                       uint32_t held_limit_bytes);
// An out-of-order segment came that begins at `seq`: it is reported first. RFC 2018 4.
void reassembly_note_arrival(Reassembly& held, uint32_t seq);
// [start, end) came again: the next ACK reports it, once, where the pool has a list. RFC 2883 4.
void reassembly_note_duplicate(Stack& stack, Reassembly& held, uint32_t start, uint32_t end);
// An ACK with what reassembly_fill_sack gave has left.
void reassembly_note_reported(Stack& stack, Reassembly& held);

// Moves what continues the stream at `rcv_nxt` to `queue` and returns the new rcv_nxt.
uint32_t reassembly_deliver(Stack& stack, Reassembly& held, SliceQueue& queue, uint32_t rcv_nxt);

// Drops pieces from the end until at most `held_limit_bytes` are held. RFC 2018 8 allows it.
void reassembly_prune(Stack& stack, Reassembly& held, uint32_t held_limit_bytes);
// Drops everything from `seq` on (it lies behind the peer's FIN).
void reassembly_cut(Stack& stack, Reassembly& held, uint32_t seq);

// Up to `limit` blocks: a duplicate, the latest arrival's, then those reported before. RFC 2018 4,
// RFC 2883 4.
void reassembly_fill_sack(const Reassembly& held, net::TcpOptions& options, uint32_t limit);

// Copies `slice` behind `tail` in memory when that ends a small buffer with room; the caller then
// extends the tail's length. False: nothing was done.
bool copy_behind(const Stack& stack, SliceNode* tail, const net::Slice& slice);
// A fresh small buffer with a copy of `slice`, one reference; false when there is none.
bool copy_to_small_buffer(const Stack& stack, const net::Slice& slice, net::Slice& copy);

}  // namespace sluice::tcp
