#include "tcp/reassembly.h"

#include <gtest/gtest.h>

#include <map>

#include "../../sim/testbed.h"
#include "abi/limits.h"
#include "tcp/seq.h"

namespace sluice::tcp {
namespace {

using testbed::Host;

struct Fixture {
  Host host{TcpConfig{}, 4096};
  Reassembly held;
  SliceQueue queue;

  ~Fixture() {
    reassembly_prune(host.stack, held, 0);
    queue.clear(host.pools.nodes);
    EXPECT_TRUE(host.all_returned());
  }
  const ReassemblyList& list() const { return *held.list; }
  bool insert(uint32_t seq, const std::vector<uint8_t>& bytes, uint32_t truesize = 2304,
              uint32_t limit = 1'000'000) {
    const net::Slice slice =
        host.buffers.make(bytes.data(), static_cast<uint32_t>(bytes.size()), truesize);
    const bool whole = reassembly_insert(host.stack, held, seq, slice, limit);
    reassembly_note_arrival(held, seq);
    net::release(slice.owner);
    return whole;
  }
  std::vector<uint8_t> drain() {
    std::vector<uint8_t> bytes(queue.readable_bytes());
    EXPECT_EQ(queue.peek(0, bytes.data(), queue.readable_bytes()), bytes.size());
    queue.clear(host.pools.nodes);
    return bytes;
  }
};

// Random pieces of a stream in which every copy of a byte differs: the first to come must win.
TEST(Reassembly, AgreesWithAModel) {
  testbed::Random random(11);
  for (int round = 0; round < 300; ++round) {
    Fixture fixture;
    const uint32_t base = random() % 3 == 0 ? 0xffffff00 : random();
    const uint32_t span = 20 + random() % 3000;
    std::map<uint32_t, uint8_t> model;  // offset -> byte
    uint32_t rcv_nxt = base;
    std::vector<uint8_t> expected;
    std::vector<uint8_t> got;
    for (int step = 0; step < 60; ++step) {
      const uint32_t offset = 1 + random() % span;
      if (seq_leq(base + offset, rcv_nxt)) continue;
      std::vector<uint8_t> bytes(1 + random() % 700);
      for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
      ASSERT_TRUE(fixture.insert(base + offset, bytes));
      for (uint32_t i = 0; i < bytes.size(); ++i) model.emplace(offset + i, bytes[i]);
      if (random() % 8 != 0) continue;
      // One byte in order, and whatever it sets free.
      const uint32_t at = rcv_nxt - base;
      const auto byte = static_cast<uint8_t>(random());
      const net::Slice slice = fixture.host.buffers.make(&byte, 1, 100);
      ASSERT_TRUE(
          fixture.queue.append(fixture.host.pools.nodes, slice, SliceNodePool::Use::InOrder));
      expected.push_back(byte);
      rcv_nxt = reassembly_deliver(fixture.host.stack, fixture.held, fixture.queue, rcv_nxt + 1);
      uint32_t next = at + 1;
      for (; model.count(next) != 0; ++next) expected.push_back(model[next]);
      model.erase(model.begin(), model.lower_bound(next));
      ASSERT_EQ(rcv_nxt, base + next);
      const std::vector<uint8_t> part = fixture.drain();
      got.insert(got.end(), part.begin(), part.end());
      ASSERT_EQ(got, expected);
    }
    uint32_t ranges = 0;
    for (const auto& [offset, byte] : model) ranges += model.count(offset - 1) == 0 ? 1 : 0;
    EXPECT_EQ(fixture.held.empty() ? 0 : fixture.list().ranges, ranges);
  }
}

TEST(Reassembly, RangesAreBounded) {
  Fixture fixture;
  for (uint32_t i = 0; i < abi::kMaxOutOfOrderRanges; ++i) {
    ASSERT_TRUE(fixture.insert(10 + 10 * i, {1, 2, 3}, 2304, 1U << 24));
  }
  constexpr uint32_t kBehind = 10 * abi::kMaxOutOfOrderRanges + 1000;
  EXPECT_FALSE(fixture.insert(kBehind, {1}, 2304, 1U << 24));
  EXPECT_TRUE(fixture.insert(13, {4, 5, 6, 7, 8, 9, 10}, 2304, 1U << 24));  // closes a gap
  EXPECT_TRUE(fixture.insert(kBehind, {1}, 2304, 1U << 24));
}

TEST(Reassembly, MemoryIsBoundedByWhatOwnersHold) {
  Fixture fixture;
  fixture.host.stack.small_buffers = {};
  EXPECT_TRUE(fixture.insert(10, {1}, 2304, 5000));
  EXPECT_TRUE(fixture.insert(20, {1}, 2304, 5000));
  EXPECT_FALSE(fixture.insert(30, {1}, 2304, 5000));
  EXPECT_EQ(fixture.list().held_bytes, 2 * 2304U);
}

// 1,000 one-byte segments in a row hold one small buffer, not a thousand packet buffers.
TEST(Reassembly, OneByteSegmentsShareABuffer) {
  Fixture fixture;
  for (uint32_t i = 0; i < 1000; ++i) {
    ASSERT_TRUE(fixture.insert(100 + i, {static_cast<uint8_t>(i)}));
  }
  EXPECT_EQ(fixture.host.buffers.live(), 0U);
  EXPECT_EQ(fixture.host.small.live(), 1U);
  EXPECT_EQ(fixture.list().nodes, 1U);
}

TEST(Reassembly, PruneDropsFromTheEnd) {
  Fixture fixture;
  for (uint32_t i = 0; i < 5; ++i) {
    ASSERT_TRUE(fixture.insert(1000 + 2000 * i, std::vector<uint8_t>(1000, 1)));
  }
  reassembly_prune(fixture.host.stack, fixture.held, 2 * 2304);
  EXPECT_EQ(fixture.list().ranges, 2U);
  EXPECT_EQ(fixture.list().tail->seq, 3000U);
}

TEST(Reassembly, CutEndsTheStream) {
  Fixture fixture;
  ASSERT_TRUE(fixture.insert(1000, std::vector<uint8_t>(1000, 1)));
  ASSERT_TRUE(fixture.insert(3000, std::vector<uint8_t>(1000, 1)));
  reassembly_cut(fixture.host.stack, fixture.held, 1500);
  EXPECT_EQ(fixture.list().ranges, 1U);
  EXPECT_EQ(fixture.list().tail->length, 500U);
}

TEST(Reassembly, SackReportsTheLatestFirst) {
  Fixture fixture;
  for (const uint32_t seq : {100U, 300U, 500U, 700U, 900U}) {
    ASSERT_TRUE(fixture.insert(seq, std::vector<uint8_t>(100, 1)));
  }
  ASSERT_TRUE(fixture.insert(400, std::vector<uint8_t>(50, 1)));
  net::TcpOptions options;
  reassembly_fill_sack(fixture.held, options, 4);
  ASSERT_EQ(options.sack_count, 4U);
  EXPECT_EQ(options.sack[0].start, 300U);
  EXPECT_EQ(options.sack[0].end, 450U);
  EXPECT_EQ(options.sack[1].start, 900U);
  EXPECT_EQ(options.sack[2].start, 700U);
  EXPECT_EQ(options.sack[3].start, 100U);  // fills up from below
}

// The testbed's pool has one list: nobody else gets one until it is empty again.
TEST(Reassembly, AnEmptyPoolDropsAndCounts) {
  Fixture fixture;
  ASSERT_TRUE(fixture.insert(100, {1, 2, 3}));
  Reassembly other;
  const uint8_t byte = 7;
  const net::Slice slice = fixture.host.buffers.make(&byte, 1, 100);
  EXPECT_FALSE(reassembly_insert(fixture.host.stack, other, 50, slice, 1'000'000));
  EXPECT_TRUE(other.empty());
  EXPECT_EQ(fixture.host.counters.get(abi::Counter::tcp_no_reassembly), 1U);
  reassembly_prune(fixture.host.stack, fixture.held, 0);
  EXPECT_EQ(fixture.held.list, nullptr);
  EXPECT_TRUE(reassembly_insert(fixture.host.stack, other, 50, slice, 1'000'000));
  net::release(slice.owner);
  reassembly_prune(fixture.host.stack, other, 0);
}

// RFC 2883 4: the duplicate first, then the block it lies in, and only once.
TEST(Reassembly, ReportsADuplicateOnce) {
  Fixture fixture;
  ASSERT_TRUE(fixture.insert(100, std::vector<uint8_t>(100, 1)));
  ASSERT_TRUE(fixture.insert(500, std::vector<uint8_t>(100, 1)));
  ASSERT_TRUE(fixture.insert(120, std::vector<uint8_t>(30, 2)));
  net::TcpOptions options;
  reassembly_fill_sack(fixture.held, options, 3);
  ASSERT_EQ(options.sack_count, 3U);
  EXPECT_EQ(options.sack[0].start, 120U);
  EXPECT_EQ(options.sack[0].end, 150U);
  EXPECT_EQ(options.sack[1].start, 100U);
  EXPECT_EQ(options.sack[2].start, 500U);
  reassembly_note_reported(fixture.host.stack, fixture.held);
  reassembly_fill_sack(fixture.held, options, 3);
  ASSERT_EQ(options.sack_count, 2U);
  EXPECT_EQ(options.sack[0].start, 100U);
}

TEST(Reassembly, ADuplicateNeedsAListOnlyUntilItIsReported) {
  Fixture fixture;
  reassembly_note_duplicate(fixture.host.stack, fixture.held, 10, 10);
  EXPECT_EQ(fixture.held.list, nullptr);
  reassembly_note_duplicate(fixture.host.stack, fixture.held, 10, 20);
  EXPECT_TRUE(fixture.held.empty());
  EXPECT_EQ(fixture.host.pools.reassemblies.in_use(), 1U);
  net::TcpOptions options;
  reassembly_fill_sack(fixture.held, options, 4);
  ASSERT_EQ(options.sack_count, 1U);
  EXPECT_EQ(options.sack[0].end, 20U);
  reassembly_note_reported(fixture.host.stack, fixture.held);
  EXPECT_EQ(fixture.host.pools.reassemblies.in_use(), 0U);
}

}  // namespace
}  // namespace sluice::tcp
