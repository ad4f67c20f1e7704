// What the tests of neighbour discovery share: messages of the peer, and a table on a link.
#pragma once

#include <gtest/gtest.h>

#include <optional>

#include "net/ipv6.h"
#include "net/nd.h"
#include "net/neighbor.h"
#include "support.h"

namespace sluice::net::test {

inline constexpr uint64_t kSecond = 1'000'000;
inline const Mac kThiefMac = Mac{{0x02, 0, 0, 0, 0, 0x66}};

inline NdMessage solicitation(const char* from, const char* target, bool link_address = true) {
  NdMessage message;
  message.source = ip(from);
  message.target = ip(target);
  message.destination = solicited_node(message.target);
  message.has_link_address = link_address;
  message.link_address = test::kPeerMac;
  return message;
}

inline NdMessage advertisement(const char* target, const Mac& mac) {
  NdMessage message;
  message.type = NdType::Advertisement;
  message.source = ip(target);
  message.target = ip(target);
  message.destination = ip("fd00:99:1::10");
  message.solicited = true;
  message.override_ = true;
  message.has_link_address = true;
  message.link_address = mac;
  return message;
}

inline std::vector<uint8_t> frame_of(const NdMessage& message) {
  std::vector<uint8_t> bytes(kNeighborFrameBytes);
  const Mac to =
      is_multicast(message.destination) ? multicast_mac(message.destination) : test::kOurMac;
  Interface from = test::peers6();
  if (message.has_link_address) from.mac = message.link_address;
  bytes.resize(build_nd(message, from, to, bytes));
  return bytes;
}

struct NdTest : testing::Test {
  NeighborTable::Input hear_frame(std::vector<uint8_t> bytes, bool answer = true) {
    TestFrame frame(std::move(bytes));
    Packet packet;
    Segment segment;
    const PacketKind kind = parse_frame(frame.frame(), interface, packet, segment);
    if (kind != PacketKind::Neighbor) {
      EXPECT_EQ(kind, PacketKind::Drop);
      last_drop = packet.drop;
      return {};
    }
    return table.input(frame.frame(), packet, now_us, answer);
  }
  NeighborTable::Input hear(const NdMessage& message, bool answer = true) {
    return hear_frame(frame_of(message), answer);
  }
  // What the table sends next, read by the peer, who hears every group.
  std::optional<NdMessage> sent() {
    std::array<uint8_t, kNeighborFrameBytes> out;
    const uint32_t length = table.next_frame(out);
    if (length == 0) return std::nullopt;
    sent_bytes.assign(out.begin(), out.begin() + length);
    std::memcpy(sent_to.bytes.data(), out.data(), 6);
    NdMessage message;
    Packet packet;
    packet.transport_offset = kEthernetBytes + kIpv6HeaderBytes;
    packet.transport_bytes = length - packet.transport_offset;
    packet.time_to_live = out[kEthernetBytes + 7];
    std::memcpy(packet.source.bytes.data(), out.data() + 22, 16);
    std::memcpy(packet.destination.bytes.data(), out.data() + 38, 16);
    const Sum sum = pseudo_header(out.data() + 14, kProtocolIcmpv6, packet.transport_bytes) +
                    checksum_add(out.data() + 54, packet.transport_bytes);
    EXPECT_EQ(checksum_fold(sum), 0xffff);
    TestFrame frame(sent_bytes);
    EXPECT_TRUE(parse_nd(frame.frame(), packet, message));
    return message;
  }
  void pass(uint64_t us) {
    for (const uint64_t end = now_us + us; now_us < end;) {
      now_us += 10'000;
      table.tick(now_us);
    }
  }
  bool known(const char* address) { return table.lookup(ip(address), now_us, mac); }

  Interface interface = test::ours6();
  abi::Counters counters;
  NeighborTable table{interface, counters};
  uint64_t now_us = 100 * kSecond;
  abi::Counter last_drop = abi::Counter::count_;
  Mac mac;
  Mac sent_to;
  std::vector<uint8_t> sent_bytes;
};

}  // namespace sluice::net::test
