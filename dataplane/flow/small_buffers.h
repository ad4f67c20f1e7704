// Small record buffers lent to TCP, which copies tiny received segments together in them.
#pragma once

#include <new>

#include "net/record_pool.h"
#include "tcp/stack.h"

namespace sluice::flow {

// A SmallBuffer lives at the start of a record buffer's bytes; both are found from either.
class SmallBuffers {
 public:
  static tcp::SmallBufferPool of(net::RecordPool& pool) {
    return {.take = take, .release = release, .context = &pool};
  }

 private:
  static tcp::SmallBuffer* take(void* context) {
    net::RecordBuffer* const record = static_cast<net::RecordPool*>(context)->allocate();
    if (record == nullptr) return nullptr;
    auto* const small = new (record->data()) tcp::SmallBuffer;
    small->owner.truesize_bytes = record->truesize_bytes;
    small->owner.release = release;
    small->data = record->data() + sizeof(tcp::SmallBuffer);
    small->capacity_bytes =
        record->capacity_bytes - static_cast<uint32_t>(sizeof(tcp::SmallBuffer));
    return small;
  }
  static void release(net::BufferOwner* owner) {
    uint8_t* const bytes = reinterpret_cast<uint8_t*>(owner) - net::kRecordHeadroomBytes;
    net::release(reinterpret_cast<net::RecordBuffer*>(bytes) - 1);
  }
};

}  // namespace sluice::flow
