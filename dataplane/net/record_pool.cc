// The free list of one worker's record buffers.
//
// Job: hand out and take back buffers of one size in a few instructions. Limits: as many buffers
// as were added at start; each at most 65,535 bytes, for an mbuf that shows one whole has a
// 16-bit length. Data flow: add() -> free_ -> allocate() -> (references) -> put_back() -> free_.
// The list is last in, first out, so a buffer that comes back is handed out while it is warm.
#include "net/record_pool.h"

#include <new>

#include "abi/assert.h"

namespace sluice::net {

RecordPool::RecordPool(uint32_t capacity_bytes) : capacity_bytes_(capacity_bytes) {
  SLUICE_ASSERT(capacity_bytes > 0 && object_bytes(capacity_bytes) <= kMaxRecordObjectBytes);
}

void RecordPool::add(void* object) {
  SLUICE_ASSERT(reinterpret_cast<uintptr_t>(object) % alignof(RecordBuffer) == 0);
  auto* buffer = new (object) RecordBuffer;
  buffer->references = 0;
  buffer->truesize_bytes = object_bytes(capacity_bytes_);
  buffer->release = &RecordPool::put_back;
  buffer->pool = this;
  buffer->capacity_bytes = capacity_bytes_;
  buffer->next_free = free_;
  free_ = buffer;
  ++total_;
}

uint32_t RecordPool::add_arena(void* arena, size_t bytes) {
  const size_t stride = object_bytes(capacity_bytes_);
  uint32_t added = 0;
  for (size_t at = 0; at + stride <= bytes; at += stride) {
    add(static_cast<uint8_t*>(arena) + at);
    ++added;
  }
  return added;
}

RecordBuffer* RecordPool::allocate() {
  RecordBuffer* buffer = free_;
  if (buffer == nullptr) return nullptr;
  SLUICE_ASSERT(buffer->references == 0);
  free_ = buffer->next_free;
  buffer->next_free = nullptr;
  buffer->references = 1;
  ++in_use_;
  if (in_use_ > high_water_) high_water_ = in_use_;
  return buffer;
}

void RecordPool::put_back(BufferOwner* owner) {
  auto* buffer = static_cast<RecordBuffer*>(owner);
  RecordPool* pool = buffer->pool;
  SLUICE_ASSERT(buffer->references == 0 && pool->in_use_ > 0);
  buffer->next_free = pool->free_;
  pool->free_ = buffer;
  --pool->in_use_;
}

}  // namespace sluice::net
