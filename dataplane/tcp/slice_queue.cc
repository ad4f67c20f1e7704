// A singly linked list with a head to consume from and a tail to append to. No node is ever empty
// of bytes. Accounting goes by runs of one owner: the first node of a run charges the owner's
// truesize, the last one that leaves gives it back.
#include "tcp/slice_queue.h"

#include <algorithm>
#include <cstring>

#include "abi/assert.h"

namespace sluice::tcp {

uint32_t SliceQueue::peek(uint32_t offset, uint8_t* destination, uint32_t length) const {
  uint32_t copied = 0;
  for (const SliceNode* node = head_; node != nullptr && copied < length; node = node->next) {
    if (offset >= node->length) {
      offset -= node->length;
      continue;
    }
    const uint32_t part = std::min(node->length - offset, length - copied);
    std::memcpy(destination + copied, node->data + offset, part);
    copied += part;
    offset = 0;
  }
  return copied;
}

bool SliceQueue::append(SliceNodePool& nodes, const net::Slice& slice, SliceNodePool::Use use) {
  if (slice.length == 0) {
    net::release(slice.owner);
    return true;
  }
  if (tail_ != nullptr && tail_->owner == slice.owner &&
      tail_->data + tail_->length == slice.data) {
    extend_tail(slice.length);
    net::release(slice.owner);  // the tail holds one reference already
    return true;
  }
  SliceNode* node = nodes.take(use);
  if (node == nullptr) return false;
  node->data = slice.data;
  node->owner = slice.owner;
  node->length = slice.length;
  node->seq = 0;
  append_node(node);
  return true;
}

void SliceQueue::append_node(SliceNode* node) {
  node->next = nullptr;
  if (tail_ == nullptr || tail_->owner != node->owner) held_bytes_ += node->owner->truesize_bytes;
  (tail_ == nullptr ? head_ : tail_->next) = node;
  tail_ = node;
  bytes_ += node->length;
}

void SliceQueue::consume(SliceNodePool& nodes, uint32_t length) {
  SLUICE_ASSERT(length <= bytes_);
  bytes_ -= length;
  while (length != 0) {
    SliceNode* node = head_;
    if (length < node->length) {
      node->data += length;
      node->length -= length;
      return;
    }
    length -= node->length;
    head_ = node->next;
    if (head_ == nullptr) tail_ = nullptr;
    if (head_ == nullptr || head_->owner != node->owner) {
      held_bytes_ -= node->owner->truesize_bytes;
    }
    net::release(node->owner);
    nodes.give(node);
  }
}

}  // namespace sluice::tcp
