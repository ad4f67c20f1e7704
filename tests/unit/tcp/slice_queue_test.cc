#include "tcp/slice_queue.h"

#include <gtest/gtest.h>

#include <vector>

#include "../../sim/testbed.h"

namespace sluice::tcp {
namespace {

struct Fixture {
  SliceNodePool nodes{16};
  testbed::Buffers buffers;
  SliceQueue queue;

  net::Slice make(uint32_t length, uint32_t truesize) {
    const std::vector<uint8_t> bytes(length, 'x');
    return buffers.make(bytes.data(), length, truesize);
  }
  bool append(const net::Slice& slice, SliceNodePool::Use use = SliceNodePool::Use::InOrder) {
    return queue.append(nodes, slice, use);
  }
  ~Fixture() {
    queue.clear(nodes);
    EXPECT_EQ(nodes.in_use(), 0U);
    EXPECT_EQ(buffers.live(), 0U);
  }
};

// A record buffer is filled while its first records already wait: one node, one reference.
TEST(SliceQueue, ContinuedMemoryIsOneNode) {
  Fixture fixture;
  const net::Slice whole = fixture.make(1000, 4096);
  for (uint32_t at = 0; at < 1000; at += 100) {
    net::retain(whole.owner);
    ASSERT_TRUE(fixture.append({whole.data + at, 100, whole.owner}));
  }
  EXPECT_EQ(fixture.nodes.in_use(), 1U);
  EXPECT_EQ(whole.owner->references, 2U);
  EXPECT_EQ(fixture.queue.held_bytes(), 4096U);
  net::release(whole.owner);
}

TEST(SliceQueue, AnOwnerInARowIsChargedOnce) {
  Fixture fixture;
  const net::Slice whole = fixture.make(1000, 4096);
  for (const uint32_t at : {0U, 200U, 400U}) {  // with gaps: nodes of their own
    net::retain(whole.owner);
    ASSERT_TRUE(fixture.append({whole.data + at, 100, whole.owner}));
  }
  net::release(whole.owner);
  ASSERT_TRUE(fixture.append(fixture.make(10, 300)));
  EXPECT_EQ(fixture.nodes.in_use(), 4U);
  EXPECT_EQ(fixture.queue.held_bytes(), 4396U);
  fixture.queue.consume(fixture.nodes, 250);
  EXPECT_EQ(fixture.queue.held_bytes(), 4396U);
  fixture.queue.consume(fixture.nodes, 50);
  EXPECT_EQ(fixture.queue.held_bytes(), 300U);
}

TEST(SliceQueue, PeekCrossesNodes) {
  Fixture fixture;
  const uint8_t first[] = {1, 2, 3};
  const uint8_t second[] = {4, 5, 6};
  ASSERT_TRUE(fixture.append(fixture.buffers.make(first, 3, 3)));
  ASSERT_TRUE(fixture.append(fixture.buffers.make(second, 3, 3)));
  uint8_t bytes[8] = {};
  EXPECT_EQ(fixture.queue.peek(2, bytes, 3), 3U);
  EXPECT_EQ(bytes[0], 3);
  EXPECT_EQ(bytes[2], 5);
  EXPECT_EQ(fixture.queue.peek(5, bytes, 8), 1U);
  EXPECT_EQ(fixture.queue.peek(6, bytes, 8), 0U);
}

TEST(SliceQueue, NothingIsANoOp) {
  Fixture fixture;
  net::Slice slice = fixture.make(1, 10);
  slice.length = 0;
  ASSERT_TRUE(fixture.append(slice));
  EXPECT_TRUE(fixture.queue.empty());
}

TEST(SliceQueue, SendersLeaveNodesForTheStreamInOrder) {
  Fixture fixture;
  uint32_t taken = 0;
  for (;; ++taken) {
    const net::Slice slice = fixture.make(10, 10);
    if (fixture.append(slice, SliceNodePool::Use::Send)) continue;
    net::release(slice.owner);
    break;
  }
  EXPECT_EQ(taken, 14U);  // an eighth of 16 stays
  EXPECT_TRUE(fixture.append(fixture.make(10, 10)));
}

}  // namespace
}  // namespace sluice::tcp
