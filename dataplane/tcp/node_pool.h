// The nodes of send queues, receive queues and reassembly lists. One pool per worker, of a fixed
// capacity taken at construction.
//
// The last of them are kept for what makes progress: text in order, whose acknowledgement lets the
// peer go on. If send queues could take them all, two stacks could wait for each other for ever.
#pragma once

#include <cstdint>
#include <memory>

#include "net/segment.h"

namespace sluice::tcp {

// A run of bytes in a queue; holds one reference to `owner` while it is in a queue.
struct SliceNode {
  uint8_t* data;
  net::BufferOwner* owner;
  SliceNode* next;
  uint32_t length;
  uint32_t seq;  // sequence number of the first byte; used by the reassembly list alone

  net::Slice slice() const { return {data, length, owner}; }
};
static_assert(sizeof(SliceNode) == 32);

class SliceNodePool {
 public:
  explicit SliceNodePool(uint32_t capacity);
  SliceNodePool(const SliceNodePool&) = delete;
  SliceNodePool& operator=(const SliceNodePool&) = delete;

  enum class Use : uint8_t { InOrder, OutOfOrder, Send };

  // Null when none is free for this use.
  SliceNode* take(Use use = Use::InOrder) {
    if (free_count_ <= reserve(use)) return nullptr;
    SliceNode* node = free_;
    free_ = node->next;
    --free_count_;
    node->next = nullptr;
    return node;
  }
  void give(SliceNode* node) {
    node->next = free_;
    free_ = node;
    ++free_count_;
  }
  uint32_t index_of(const SliceNode* node) const {
    return static_cast<uint32_t>(node - nodes_.get());
  }
  SliceNode* at(uint32_t index) const { return &nodes_[index]; }
  uint32_t capacity() const { return capacity_; }
  uint32_t free_count() const { return free_count_; }
  uint32_t in_use() const { return capacity_ - free_count_; }

 private:
  uint32_t reserve(Use use) const {
    switch (use) {
      case Use::InOrder:
        return 0;
      case Use::OutOfOrder:
        return capacity_ / 16;
      case Use::Send:
        return capacity_ / 8;
    }
    return 0;
  }

  std::unique_ptr<SliceNode[]> nodes_;
  SliceNode* free_ = nullptr;
  uint32_t capacity_;
  uint32_t free_count_;
};

}  // namespace sluice::tcp
