// Reassembly: what its bounds do.
#include <gtest/gtest.h>

#include "fragments_support.h"

namespace sluice::net {
namespace {

using abi::Counter;
using test::Bytes;
using test::cut;
using test::Cutting;
using test::fragment;
using test::FragmentTest;
using test::ip_packet;
using test::kSecond;
using test::kTruesize;

TEST_F(FragmentTest, Timeout) {
  const auto fragments = cut(ip_packet(false, Bytes(1000, 0x41)), {false});
  receive(fragments[0]);
  now_us += kFragmentTimeoutUs - 1;
  table->tick(now_us);
  receive(fragments[1]);  // does not prolong it
  EXPECT_EQ(table->entries(), 1U);
  now_us += kSecond;
  table->tick(now_us);
  EXPECT_EQ(table->entries(), 0U);
  EXPECT_EQ(count(Counter::drop_fragment_timeout), 2U);
  EXPECT_EQ(held(), 0U);
}

TEST_F(FragmentTest, OneSourceHasItsShare) {
  const Bytes packet = ip_packet(false, Bytes(1000, 0x41));
  for (uint32_t i = 0; i < 3 * kFragmentEntriesPerSource; ++i) {
    now_us += 10;
    Bytes from = packet;
    from[8 + 15] = static_cast<uint8_t>(i + 20);  // one /64
    receive(cut(from, {false, 400, i})[0]);
  }
  EXPECT_EQ(table->entries(), kFragmentEntriesPerSource);
  EXPECT_EQ(count(Counter::drop_fragment_limit), 2U * kFragmentEntriesPerSource);
}

// A flood of first fragments from everywhere: bounded, and an honest packet still gets through.
TEST_F(FragmentTest, FloodIsBounded) {
  interface.has_gateway6 = true;
  const Bytes packet = ip_packet(false, Bytes(1000, 0x41));
  for (uint32_t i = 0; i < 5000; ++i) {
    now_us += 10;
    Bytes from = packet;
    store_be32(&from[8], 0x20010000U + i);
    receive(cut(from, {false, 400, i})[0]);
    ASSERT_LE(table->entries(), kFragmentEntries);
    ASSERT_LE(table->held_bytes(), kFragmentBytes);
    if (i % 1000 == 0) {
      const auto honest = cut(packet, {false, 400, 1'000'000 + i});
      receive(honest[0]);
      receive(honest[1]);
      ASSERT_TRUE(receive(honest[2]));
      payload();
    }
  }
  EXPECT_EQ(held(), table->held_bytes());
}

// Many small pieces, each in a whole buffer.
TEST_F(FragmentTest, BuffersOfAPacketAreBounded) {
  const Bytes packet = ip_packet(true, Bytes(1000, 0x41));
  Cutting how;
  receive(fragment(packet, how, 0, 24, true));
  for (uint32_t at = 24; at < 24 + 8 * (kFragmentPieces - 1); at += 8) {
    receive(fragment(packet, how, at, 8, true));
  }
  EXPECT_EQ(table->held_bytes(), kFragmentPieces * kTruesize);
  receive(fragment(packet, how, 800, 8, true));
  EXPECT_EQ(table->held_bytes(), 0U);
  EXPECT_EQ(count(Counter::drop_fragment_limit), kFragmentPieces + 1);
}

TEST_F(FragmentTest, AllBuffersTogetherAreBounded) {
  const Bytes packet = ip_packet(false, Bytes(1000, 0x41));
  for (uint32_t i = 0; i < kFragmentEntries; ++i) {
    ++now_us;
    Bytes from = packet;
    store_be32(&from[8], 0x20010000U + i);
    for (uint32_t at = 0; at < 800; at += 40) {
      receive(fragment(from, {false, 40, i}, at, 40, true));
      ASSERT_LE(table->held_bytes(), kFragmentBytes);
    }
  }
  EXPECT_GT(count(Counter::drop_fragment_limit), 0U);
  EXPECT_EQ(held(), table->held_bytes());
}

TEST_F(FragmentTest, TheTableGivesBackWhatItHolds) {
  const auto fragments = cut(ip_packet(true, Bytes(1000, 0x41)), {});
  receive(fragments[0]);
  receive(fragments[1]);
  EXPECT_EQ(held(), 2 * kTruesize);
  table.reset();
  EXPECT_EQ(held(), 0U);
}

}  // namespace
}  // namespace sluice::net
