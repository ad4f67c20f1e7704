#include "frame.h"

#include <gtest/gtest.h>

#include <bit>
#include <vector>

namespace sluice::impair {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes ethernet(std::initializer_list<uint8_t> type) {
  Bytes frame(12, 0x02);
  frame.insert(frame.end(), type);
  return frame;
}

uint16_t sum_of(const Bytes& frame, size_t offset, size_t length) {
  uint32_t sum = 0;
  for (size_t i = 0; i < length; i += 2) {
    sum += static_cast<uint32_t>(frame[offset + i] << 8 | frame[offset + i + 1]);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

// An IPv4 packet of 40 bytes with a right checksum.
Bytes ipv4(uint8_t tos, bool tagged = false) {
  Bytes frame = tagged ? ethernet({0x81, 0x00, 0x00, 0x05, 0x08, 0x00}) : ethernet({0x08, 0x00});
  const size_t offset = frame.size();
  frame.insert(frame.end(),
               {0x45, tos, 0, 40, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 10, 99, 1, 2, 10, 99, 1, 10});
  const auto checksum = static_cast<uint16_t>(~sum_of(frame, offset, 20));
  frame[offset + 10] = static_cast<uint8_t>(checksum >> 8);
  frame[offset + 11] = static_cast<uint8_t>(checksum);
  frame.resize(frame.size() + 20, 0xab);
  return frame;
}

Bytes ipv6(uint8_t traffic_class) {
  Bytes frame = ethernet({0x86, 0xdd});
  frame.push_back(static_cast<uint8_t>(0x60 | traffic_class >> 4));
  frame.push_back(static_cast<uint8_t>(traffic_class << 4 | 0x0c));
  frame.resize(frame.size() + 58, 0xab);
  return frame;
}

Bytes arp() {
  Bytes frame = ethernet({0x08, 0x06});
  frame.resize(42, 0x01);
  return frame;
}

TEST(Frame, CongestionIsMarkedInIpv4WithARightChecksum) {
  for (unsigned tos = 0; tos < 256; ++tos) {
    for (const bool tagged : {false, true}) {
      Bytes frame = ipv4(static_cast<uint8_t>(tos), tagged);
      const Bytes before = frame;
      const bool capable = (tos & 3) == 1 || (tos & 3) == 2;
      EXPECT_EQ(mark_congestion(frame), capable);
      const size_t offset = find_ip(frame).offset;
      EXPECT_EQ(offset, tagged ? 18U : 14U);
      EXPECT_EQ(sum_of(frame, offset, 20), 0xffff);
      if (capable) {
        EXPECT_EQ(frame[offset + 1], tos | 3);
      } else {
        EXPECT_EQ(frame, before);
      }
    }
  }
}

TEST(Frame, CongestionIsMarkedInIpv6) {
  for (unsigned traffic_class = 0; traffic_class < 256; ++traffic_class) {
    Bytes frame = ipv6(static_cast<uint8_t>(traffic_class));
    const bool capable = (traffic_class & 3) == 1 || (traffic_class & 3) == 2;
    EXPECT_EQ(mark_congestion(frame), capable);
    EXPECT_EQ(frame, ipv6(static_cast<uint8_t>(capable ? traffic_class | 3 : traffic_class)));
  }
}

TEST(Frame, AWrongChecksumStaysWrong) {
  Bytes frame = ipv4(2);
  frame[24] ^= 0x10;
  EXPECT_TRUE(mark_congestion(frame));
  EXPECT_NE(sum_of(frame, 14, 20), 0xffff);
}

TEST(Frame, OneBitOfTheIpPacketIsFlipped) {
  for (const Bytes& frame : {ipv4(0), ipv4(0, true), ipv6(0)}) {
    const size_t offset = find_ip(frame).offset;
    const size_t bits = (frame.size() - offset) * 8;
    std::vector<bool> hit(bits);
    for (uint64_t choice = 0; choice < bits; ++choice) {
      Bytes damaged = frame;
      ASSERT_TRUE(flip_bit(damaged, choice + 7 * bits));
      for (size_t i = 0; i < frame.size(); ++i) {
        const auto difference = static_cast<uint8_t>(frame[i] ^ damaged[i]);
        if (difference == 0) continue;
        ASSERT_GE(i, offset);
        ASSERT_TRUE(std::has_single_bit(difference));
        hit[(i - offset) * 8 + static_cast<size_t>(std::countr_zero(difference))] = true;
      }
    }
    EXPECT_EQ(std::count(hit.begin(), hit.end(), true), static_cast<long>(bits));
  }
}

TEST(Frame, ATagIsAddedAndRemoved) {
  for (const Bytes& whole : {ipv4(2), ipv6(0), arp()}) {
    Bytes frame = whole;
    EXPECT_FALSE(remove_tag(frame, 7));
    EXPECT_EQ(frame, whole);
    add_tag(frame, 7);
    EXPECT_EQ(frame.size(), whole.size() + kVlanTagBytes);
    EXPECT_FALSE(remove_tag(frame, 8));
    EXPECT_TRUE(remove_tag(frame, 7));
    EXPECT_EQ(frame, whole);
  }
  Bytes tagged = ipv4(2);
  add_tag(tagged, 5);
  EXPECT_EQ(tagged, ipv4(2, true));
}

TEST(Frame, OtherFramesStayAsTheyAre) {
  Bytes short_ip = ipv4(2);
  short_ip.resize(14 + 19);
  for (const Bytes& whole : {arp(), Bytes(), Bytes(13, 8), ethernet({0x81, 0x00}), short_ip}) {
    Bytes frame = whole;
    EXPECT_EQ(find_ip(frame).version, IpVersion::None);
    EXPECT_FALSE(flip_bit(frame, 1));
    EXPECT_FALSE(mark_congestion(frame));
    EXPECT_EQ(frame, whole);
  }
}

}  // namespace
}  // namespace sluice::impair
