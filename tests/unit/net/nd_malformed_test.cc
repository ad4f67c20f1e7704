// Neighbour discovery that is refused.
#include <gtest/gtest.h>

#include <functional>

#include "nd_support.h"

namespace sluice::net {
namespace {

using test::advertisement;
using test::frame_of;
using test::ip;
using test::NdTest;
using test::solicitation;
using test::TestFrame;

struct Row {
  const char* what;
  std::function<void(std::vector<uint8_t>&)> damage;  // of the ICMPv6 message
  uint8_t hop_limit = 255;
  const char* from = "fd00:99:1::2";
  const char* to = "ff02::1:ff00:10";
};

std::vector<uint8_t> message_of(const NdMessage& message) {
  const auto frame = frame_of(message);
  return {frame.begin() + kEthernetBytes + kIpv6HeaderBytes, frame.end()};
}

TEST_F(NdTest, RefusesMalformedSolicitations) {
  const Row rows[] = {
      {"passed on by a router", [](auto&) {}, 254},
      {"a code", [](auto& b) { b[1] = 1; }},
      {"too short", [](auto& b) { b.resize(23); }},
      {"target is a group", [](auto& b) { b[8] = 0xff; }},
      {"target is not ours", [](auto& b) { b[23] = 0x11; }},
      {"target is our IPv4 address, mapped",
       [](auto& b) { std::memcpy(b.data() + 8, ip("10.99.1.10").bytes.data(), 16); }},
      {"option of length 0", [](auto& b) { b[25] = 0; }},
      {"option beyond the message", [](auto& b) { b[25] = 2; }},
      {"option without a length", [](auto& b) { b.resize(25); }},
      {"link address is a group", [](auto& b) { b[26] = 0x33; }},
      {"link address is zero", [](auto& b) { std::memset(b.data() + 26, 0, 6); }},
      {"from nowhere, with a link address", [](auto&) {}, 255, "::"},
      {"from nowhere, by unicast", [](auto& b) { b.resize(24); }, 255, "::", "fd00:99:1::10"},
  };
  uint64_t dropped = 0;
  for (const Row& row : rows) {
    auto bytes = message_of(solicitation("fd00:99:1::2", "fd00:99:1::10"));
    row.damage(bytes);
    EXPECT_FALSE(hear_frame(test::icmpv6_frame(bytes, row.from, row.to, row.hop_limit)).valid)
        << row.what;
    EXPECT_EQ(counters.get(abi::Counter::drop_nd), ++dropped) << row.what;
    EXPECT_FALSE(sent()) << row.what;
  }
  auto good = message_of(solicitation("fd00:99:1::2", "fd00:99:1::10"));
  good.insert(good.end(), {14, 1, 1, 2, 3, 4, 5, 6});  // an option that nobody knows
  EXPECT_TRUE(hear_frame(test::icmpv6_frame(good, "fd00:99:1::2", "ff02::1:ff00:10")).valid);
}

TEST_F(NdTest, RefusesMalformedAdvertisements) {
  known("fd00:99:1::2");
  const Row rows[] = {
      {"passed on by a router", [](auto&) {}, 254, "fd00:99:1::2", "fd00:99:1::10"},
      {"a group's", [](auto& b) { b[8] = 0xff; }, 255, "fd00:99:1::2", "fd00:99:1::10"},
      {"solicited, to all", [](auto&) {}, 255, "fd00:99:1::2", "ff02::1"},
      {"option of length 0", [](auto& b) { b[25] = 0; }, 255, "fd00:99:1::2", "fd00:99:1::10"},
  };
  for (const Row& row : rows) {
    auto bytes = message_of(advertisement("fd00:99:1::2", test::kPeerMac));
    row.damage(bytes);
    EXPECT_FALSE(hear_frame(test::icmpv6_frame(bytes, row.from, row.to, row.hop_limit)).valid)
        << row.what;
    EXPECT_EQ(table.state(ip("fd00:99:1::2")), NeighborState::Incomplete) << row.what;
  }
  auto nowhere = message_of(advertisement("fd00:99:1::2", test::kPeerMac));
  hear_frame(test::icmpv6_frame(nowhere, "::", "fd00:99:1::10"));
  EXPECT_EQ(last_drop, abi::Counter::drop_bad_source);
}

TEST_F(NdTest, RoutersAreNotTrusted) {
  std::vector<uint8_t> message(40);
  message[0] = 134;
  hear_frame(test::icmpv6_frame(message, "fe80::1", "ff02::1"));
  EXPECT_EQ(last_drop, abi::Counter::drop_router_advertisement);
  message[0] = 137;
  hear_frame(test::icmpv6_frame(message, "fe80::1", "fd00:99:1::10"));
  EXPECT_EQ(last_drop, abi::Counter::drop_icmp_redirect);
}

// RFC 6980: not even as an atomic fragment.
TEST_F(NdTest, FragmentsAreRefused) {
  auto bytes = message_of(solicitation("fd00:99:1::2", "fd00:99:1::10"));
  const uint8_t header[8] = {kProtocolIcmpv6, 0, 0, 0, 0, 0, 0, 1};
  bytes.insert(bytes.begin(), header, header + 8);
  auto frame = test::ipv6_frame(kNextFragment, bytes, "fd00:99:1::2", "fd00:99:1::10", 255);
  test::seal_ipv6(frame, kProtocolIcmpv6, kEthernetBytes + kIpv6HeaderBytes + 8, 2);
  hear_frame(frame);
  EXPECT_EQ(last_drop, abi::Counter::drop_nd);
}

TEST_F(NdTest, NotWhereIpv6IsNotSpoken) {
  const Interface plain = test::ours();
  NeighborTable other(plain, counters);
  EXPECT_FALSE(other.lookup(ip("fd00:99:1::2"), now_us, mac));
  std::array<uint8_t, kNeighborFrameBytes> out;
  EXPECT_EQ(other.next_frame(out), 0U);
  TestFrame frame(frame_of(solicitation("fd00:99:1::2", "fd00:99:1::10")));
  EXPECT_EQ(test::parse(frame.frame(), plain).packet.drop, abi::Counter::drop_not_ours);
}

}  // namespace
}  // namespace sluice::net
