// Reassembly: what comes together, and what is condemned.
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

TEST_F(FragmentTest, ComesTogetherInAnyOrder) {
  std::mt19937 random(3);
  for (int round = 0; round < 400; ++round) {
    const Cutting how{random() % 2 == 0, 8 * static_cast<uint32_t>(5 + random() % 60),
                      static_cast<uint32_t>(round), static_cast<uint16_t>(random() % 2 * 7)};
    interface = test::ours6(how.vlan);
    const Bytes payload_sent = test::random_bytes(random, 600 + random() % 1200);
    auto fragments = cut(ip_packet(how.ipv4, payload_sent), how);
    std::shuffle(fragments.begin(), fragments.end(), random);
    for (size_t i = 0; i < fragments.size(); ++i) {
      const uint32_t split = random() % 3 == 0 ? 120 + static_cast<uint32_t>(random() % 200) : 0;
      ASSERT_EQ(receive(fragments[i], split), i + 1 == fragments.size()) << round;
    }
    ASSERT_EQ(payload(), payload_sent) << round;
    ASSERT_EQ(table->entries(), 0U);
    ASSERT_EQ(table->held_bytes(), 0U);
  }
  EXPECT_EQ(count(Counter::fragments_reassembled), 400U);
  EXPECT_EQ(held(), 0U);
}

TEST_F(FragmentTest, TheLargestPacket) {
  std::mt19937 random(4);
  for (const bool ipv4 : {true, false}) {
    const uint32_t header = ipv4 ? 20 : 8;  // what the length field counts beside the payload
    const Bytes sent = test::random_bytes(random, 65535 - header - 20);
    auto fragments = cut(ip_packet(ipv4, sent), {ipv4, 1480, 9});
    ASSERT_EQ(fragments.size(), 45U);
    for (size_t i = 0; i < fragments.size(); ++i) {
      ASSERT_EQ(receive(fragments[i]), i + 1 == fragments.size());
    }
    EXPECT_EQ(payload(), sent);
  }
}

// Different packets of one pair of hosts do not mix; neither do families or hosts.
TEST_F(FragmentTest, PacketsAreKeptApart) {
  const Bytes sent(1000, 0x41);
  const Bytes packet = ip_packet(true, sent);
  Bytes other_host = packet;
  other_host[15] = 3;
  const auto one = cut(packet, {true, 400, 1});
  const auto two = cut(packet, {true, 400, 2});
  const auto host = cut(other_host, {true, 400, 1});
  EXPECT_FALSE(receive(one[0]));
  EXPECT_FALSE(receive(two[1]));
  EXPECT_FALSE(receive(host[2]));
  EXPECT_FALSE(receive(one[2]));
  EXPECT_EQ(table->entries(), 3U);
  EXPECT_TRUE(receive(one[1]));
  EXPECT_EQ(payload(), sent);
  EXPECT_EQ(table->entries(), 2U);
}

TEST_F(FragmentTest, OverlapCondemnsThePacket) {
  for (const bool ipv4 : {true, false}) {
    const Bytes packet = ip_packet(ipv4, Bytes(1000, 0x41));
    const Cutting how{ipv4, 400, 5};
    struct Row {
      uint32_t offset;
      uint32_t length;
    };
    uint32_t id = 100;
    for (const Row& row : {Row{392, 16}, Row{400, 408}, Row{392, 408}, Row{408, 8}, Row{8 * 49, 8},
                           Row{0, 800}, Row{400, 392}}) {
      Cutting cutting = how;
      cutting.id = id++;
      const auto fragments = cut(packet, cutting);
      receive(fragments[0]);
      receive(fragments[1]);
      const uint64_t before = count(Counter::drop_fragment_overlap);
      EXPECT_FALSE(receive(fragment(packet, cutting, row.offset, row.length, true)));
      EXPECT_EQ(count(Counter::drop_fragment_overlap), before + 3) << row.offset;
      EXPECT_EQ(table->held_bytes(), 0U);
      EXPECT_FALSE(receive(fragments[2])) << "what still comes is dropped too";
      EXPECT_FALSE(receive(fragments[0]));
      EXPECT_EQ(count(Counter::drop_fragment_overlap), before + 5);
      now_us += kFragmentTimeoutUs;
      table->tick(now_us);
      EXPECT_EQ(table->entries(), 0U);
    }
  }
}

TEST_F(FragmentTest, ADuplicateIsDroppedAlone) {
  const Bytes sent(1000, 0x41);
  const auto fragments = cut(ip_packet(true, sent), {});
  EXPECT_FALSE(receive(fragments[0]));
  EXPECT_FALSE(receive(fragments[0], 100));
  EXPECT_FALSE(receive(fragments[2], 90));
  EXPECT_FALSE(receive(fragments[2]));
  EXPECT_EQ(count(Counter::drop_fragment_overlap), 2U);
  EXPECT_TRUE(receive(fragments[1]));
  EXPECT_EQ(payload(), sent);
}

TEST_F(FragmentTest, ContradictingEnds) {
  const Bytes packet = ip_packet(true, Bytes(1000, 0x41));
  const auto end_at = [&](uint32_t id, uint32_t offset, uint32_t length, bool more) {
    Cutting how;
    how.id = id;
    return receive(fragment(packet, how, offset, length, more));
  };
  end_at(1, 400, 80, false);
  end_at(1, 480, 80, false);  // a second end
  end_at(2, 400, 80, false);
  end_at(2, 480, 80, true);  // behind the end
  end_at(3, 480, 80, true);
  end_at(3, 400, 40, false);  // an end before what has arrived
  EXPECT_EQ(count(Counter::drop_ip_fragment), 6U);
  EXPECT_EQ(table->held_bytes(), 0U);
}

TEST_F(FragmentTest, ImpossibleFragments) {
  const Bytes packet = ip_packet(true, Bytes(1000, 0x41));
  const Cutting how;
  receive(fragment(packet, how, 400, 397, true));  // not whole units
  receive(fragment(packet, how, 400, 0, true));
  EXPECT_EQ(count(Counter::drop_ip_fragment), 2U);
  Bytes far = fragment(packet, how, 400, 400, false);  // beyond 65,535: "ping of death"
  store_be16(&far[kEthernetBytes + 6], 0x1fff);
  std::memset(&far[kEthernetBytes + 10], 0, 2);
  const uint16_t sum = checksum_finish(checksum_add(&far[kEthernetBytes], 20));
  std::memcpy(&far[kEthernetBytes + 10], &sum, 2);
  receive(far);
  EXPECT_EQ(count(Counter::drop_ip_fragment), 3U);
  EXPECT_EQ(table->entries(), 0U);
}

// The payload alone fits 65,535 bytes, with the header it does not.
TEST_F(FragmentTest, TooLongTogether) {
  Bytes packet = ip_packet(true, Bytes(60000, 0x41));
  packet.resize(20 + 65528, 0x41);
  for (const Bytes& piece : cut(packet, {true, 1480, 5})) EXPECT_FALSE(receive(piece));
  EXPECT_EQ(count(Counter::drop_ip_fragment), 45U);
  EXPECT_EQ(table->held_bytes(), 0U);
}

TEST_F(FragmentTest, TinyFragments) {
  for (const bool ipv4 : {true, false}) {
    Cutting how;
    how.ipv4 = ipv4;
    const Bytes packet = ip_packet(ipv4, Bytes(1000, 0x41));
    const uint64_t before = count(Counter::drop_fragment_tiny);
    receive(fragment(packet, how, 0, 8, true));   // ports and sequence number alone
    receive(fragment(packet, how, 0, 16, true));  // without the flags
    receive(fragment(packet, how, 8, 400, true));
    receive(fragment(packet, how, 16, 400, true));  // RFC 3128: over the flags
    EXPECT_EQ(count(Counter::drop_fragment_tiny), before + 4);
    EXPECT_EQ(table->entries(), 0U);
  }
}

// RFC 3168 5.3.
TEST_F(FragmentTest, CongestionMarks) {
  const Bytes sent(1000, 0x41);
  for (const bool ipv4 : {true, false}) {
    struct Row {
      std::array<uint8_t, 3> marks;
      int result;  // -1: dropped
    };
    uint32_t id = 0;
    for (const Row& row : {Row{{2, 2, 2}, 2}, Row{{2, 3, 2}, 3}, Row{{3, 1, 1}, 3},
                           Row{{0, 0, 0}, 0}, Row{{0, 3, 0}, -1}}) {
      bool complete = false;
      for (uint32_t i = 0; i < 3; ++i) {
        complete = receive(cut(ip_packet(ipv4, sent, row.marks[i]), {ipv4, 400, id})[i]);
      }
      ++id;
      EXPECT_EQ(complete, row.result >= 0);
      if (!complete) continue;
      EXPECT_EQ(payload(), sent);
      EXPECT_EQ(ecn, row.result);
    }
  }
}

}  // namespace
}  // namespace sluice::net
