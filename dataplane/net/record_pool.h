// Record buffers: where sealed records and opened plaintext live until they are acknowledged.
//
// A pool belongs to one worker and has objects of one size. The memory comes from outside (net/buf
// hands in the objects of an rte_mempool, tests an arena), the pool only keeps the free list:
// no lock, no atomic, no system call. A buffer is a BufferOwner; its last release() puts it back.
#pragma once

#include <cstddef>
#include <cstdint>

#include "net/limits.h"
#include "net/segment.h"

namespace sluice::net {

class RecordPool;

// The header in front of each buffer's bytes. `truesize_bytes` is the whole object.
struct alignas(64) RecordBuffer : BufferOwner {
  RecordPool* pool = nullptr;
  RecordBuffer* next_free = nullptr;
  uint32_t capacity_bytes = 0;

  // The usable bytes; in front of them lie kRecordHeadroomBytes that are usable too.
  uint8_t* data() { return reinterpret_cast<uint8_t*>(this + 1) + kRecordHeadroomBytes; }
  // Caller has checked offset + length <= capacity_bytes. No reference is counted.
  Slice slice(uint32_t offset, uint32_t length) { return {data() + offset, length, this}; }
};
static_assert(sizeof(RecordBuffer) == 64);

class RecordPool {
 public:
  // `capacity_bytes` usable bytes a buffer.
  explicit RecordPool(uint32_t capacity_bytes);
  RecordPool(const RecordPool&) = delete;
  RecordPool& operator=(const RecordPool&) = delete;

  // Bytes of one object, a multiple of 64, at most kMaxRecordObjectBytes.
  static constexpr uint32_t object_bytes(uint32_t capacity_bytes) {
    return (static_cast<uint32_t>(sizeof(RecordBuffer)) + kRecordHeadroomBytes + capacity_bytes +
            63U) &
           ~63U;
  }
  // Adds object_bytes() of memory, 64-aligned, which stays valid as long as the pool.
  void add(void* object);
  // Cuts as many objects as fit out of an arena; returns how many.
  uint32_t add_arena(void* arena, size_t bytes);

  // A buffer with one reference, or null when all are in use.
  RecordBuffer* allocate();

  uint32_t capacity_bytes() const { return capacity_bytes_; }
  uint32_t total() const { return total_; }
  uint32_t in_use() const { return in_use_; }
  uint32_t available() const { return total_ - in_use_; }
  uint32_t high_water() const { return high_water_; }

 private:
  static void put_back(BufferOwner* owner);

  RecordBuffer* free_ = nullptr;
  uint32_t capacity_bytes_;
  uint32_t total_ = 0;
  uint32_t in_use_ = 0;
  uint32_t high_water_ = 0;
};

}  // namespace sluice::net
