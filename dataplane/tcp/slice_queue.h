// An ordered byte stream held as slices: a side's send queue and its receive queue.
//
// `held_bytes` is what the queue keeps other people from using: the truesize of its owners. An
// owner whose slices stand next to each other is charged once, so a record buffer that holds many
// small records, or one that is filled while it already waits, costs what it is. An owner's
// truesize must not change while it is in a queue.
#pragma once

#include <cstdint>

#include "net/segment.h"
#include "tcp/node_pool.h"

namespace sluice::tcp {

class SliceQueue {
 public:
  class Iterator {
   public:
    explicit Iterator(const SliceNode* node) : node_(node) {}
    net::Slice operator*() const { return node_->slice(); }
    Iterator& operator++() {
      node_ = node_->next;
      return *this;
    }
    bool operator!=(const Iterator& other) const { return node_ != other.node_; }
    bool operator==(const Iterator& other) const { return node_ == other.node_; }

   private:
    const SliceNode* node_;
  };
  Iterator begin() const { return Iterator(head_); }
  Iterator end() const { return Iterator(nullptr); }

  bool empty() const { return head_ == nullptr; }
  uint32_t readable_bytes() const { return bytes_; }
  uint32_t held_bytes() const { return held_bytes_; }
  SliceNode* head() const { return head_; }
  SliceNode* tail() const { return tail_; }

  // Copies up to `length` bytes from `offset` without consuming them; returns how many.
  uint32_t peek(uint32_t offset, uint8_t* destination, uint32_t length) const;

  // Appends and takes over the caller's reference. A slice that continues the last one in the same
  // memory extends it. False, and the reference stays the caller's, when no node is free.
  bool append(SliceNodePool& nodes, const net::Slice& slice, SliceNodePool::Use use);
  // Appends a node that already holds its reference.
  void append_node(SliceNode* node);
  // The tail's slice grew by bytes written behind it in the same memory.
  void extend_tail(uint32_t length) {
    tail_->length += length;
    bytes_ += length;
  }
  // Drops the first `length` bytes (at most readable_bytes()) and releases what held them.
  void consume(SliceNodePool& nodes, uint32_t length);
  void clear(SliceNodePool& nodes) { consume(nodes, bytes_); }

 private:
  SliceNode* head_ = nullptr;
  SliceNode* tail_ = nullptr;
  uint32_t bytes_ = 0;
  uint32_t held_bytes_ = 0;
};

}  // namespace sluice::tcp
