#include "net/record_pool.h"

#include <gtest/gtest.h>

#include <memory>

#include "support.h"

namespace sluice::net {
namespace {

struct Arena {
  explicit Arena(size_t size) : bytes(size), memory(std::aligned_alloc(64, size), &std::free) {}
  size_t bytes;
  std::unique_ptr<void, void (*)(void*)> memory;
};

TEST(RecordPool, HandsOutEveryBufferOnce) {
  RecordPool pool(kSmallRecordBytes);
  const size_t stride = RecordPool::object_bytes(kSmallRecordBytes);
  Arena arena(8 * stride + 64);
  ASSERT_EQ(pool.add_arena(arena.memory.get(), arena.bytes), 8U);
  std::vector<RecordBuffer*> held;
  while (RecordBuffer* buffer = pool.allocate()) {
    EXPECT_EQ(buffer->references, 1U);
    EXPECT_EQ(buffer->truesize_bytes, stride);
    EXPECT_EQ(buffer->capacity_bytes, kSmallRecordBytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer) % 64, 0U);
    std::memset(buffer->data() - kRecordHeadroomBytes, static_cast<int>(held.size()),
                kRecordHeadroomBytes + kSmallRecordBytes);
    held.push_back(buffer);
  }
  ASSERT_EQ(held.size(), 8U);
  EXPECT_EQ(pool.in_use(), 8U);
  EXPECT_EQ(pool.available(), 0U);
  for (size_t i = 0; i < held.size(); ++i) {  // nobody wrote into another one
    EXPECT_EQ(held[i]->data()[-static_cast<int>(kRecordHeadroomBytes)], i);
    EXPECT_EQ(held[i]->data()[kSmallRecordBytes - 1], i);
  }
  for (RecordBuffer* buffer : held) release(buffer);
  EXPECT_EQ(pool.in_use(), 0U);
  EXPECT_EQ(pool.high_water(), 8U);
}

TEST(RecordPool, ComesBackWithTheLastReference) {
  RecordPool pool(kLargeRecordBytes);
  Arena arena(RecordPool::object_bytes(kLargeRecordBytes));
  ASSERT_EQ(pool.add_arena(arena.memory.get(), arena.bytes), 1U);
  RecordBuffer* buffer = pool.allocate();
  const Slice slice = buffer->slice(5, 100);
  EXPECT_EQ(slice.data, buffer->data() + 5);
  retain(slice.owner);
  release(buffer);
  EXPECT_EQ(pool.allocate(), nullptr);
  release(slice.owner);
  EXPECT_EQ(pool.allocate(), buffer) << "warm ones first";
}

// A whole record of any version fits, and an mbuf can show an object whole.
static_assert(kLargeRecordBytes >= abi::kRecordHeaderBytes + abi::kMaxCiphertext12Bytes);
static_assert(kLargeRecordBytes >=
              abi::kRecordHeaderBytes + abi::kMaxCiphertext13Bytes + abi::kMaxTagBytes);
static_assert(RecordPool::object_bytes(kLargeRecordBytes) <= kMaxRecordObjectBytes);

}  // namespace
}  // namespace sluice::net
