// A fixed number of equal objects, taken from a free list and addressed by index: what a connection
// holds only at times. One pool per worker; nothing is allocated after construction.
#pragma once

#include <cstdint>
#include <memory>

#include "abi/assert.h"

namespace sluice::tcp {

// T is value-initialised by take and begins with a `uint32_t next`, which the pool uses while the
// object is free and its owner otherwise.
template <class T>
class Pool {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  explicit Pool(uint32_t capacity)
      : objects_(new T[capacity]), capacity_(capacity), free_count_(capacity) {
    for (uint32_t i = capacity; i-- > 0;) {
      objects_[i].next = free_;
      free_ = i;
    }
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  T& operator[](uint32_t index) { return objects_[index]; }
  const T& operator[](uint32_t index) const { return objects_[index]; }
  uint32_t index_of(const T& object) const { return static_cast<uint32_t>(&object - &objects_[0]); }

  // kNone when none is free.
  uint32_t take() {
    if (free_ == kNone) return kNone;
    const uint32_t index = free_;
    free_ = objects_[index].next;
    --free_count_;
    objects_[index] = T{};
    return index;
  }
  void give(uint32_t index) {
    SLUICE_ASSERT(index < capacity_ && free_count_ < capacity_);
    objects_[index].next = free_;
    free_ = index;
    ++free_count_;
  }
  uint32_t capacity() const { return capacity_; }
  uint32_t free_count() const { return free_count_; }
  uint32_t in_use() const { return capacity_ - free_count_; }

 private:
  std::unique_ptr<T[]> objects_;
  uint32_t capacity_;
  uint32_t free_count_;
  uint32_t free_ = kNone;
};

}  // namespace sluice::tcp
