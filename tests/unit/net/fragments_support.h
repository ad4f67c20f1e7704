// What the tests of reassembly share: buffers that are counted, a worker's turn, and the cutting of
// packets into fragments.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "net/fragments.h"
#include "net/ipv6.h"
#include "support.h"

namespace sluice::net::test {

using abi::Counter;
using Bytes = std::vector<uint8_t>;

inline constexpr uint64_t kSecond = 1'000'000;
inline constexpr uint32_t kTruesize = 2304;

// A frame's buffer that lives until its last reference goes.
struct Buffer {
  Bytes bytes;
  test::TestOwner owner;
};

struct FragmentTest : testing::Test {
  ~FragmentTest() override { EXPECT_EQ(held(), table == nullptr ? 0U : table->held_bytes()); }

  // Bytes of the buffers that somebody holds.
  uint32_t held() const {
    uint32_t bytes = 0;
    for (const auto& buffer : buffers) bytes += buffer->owner.released != 0 ? 0 : kTruesize;
    return bytes;
  }
  // As a worker does: parse, add, give back; true when a packet is complete, in `whole`.
  bool receive(const Bytes& bytes, uint32_t split = 0) {
    buffers.push_back(std::make_unique<Buffer>());
    Buffer& buffer = *buffers.back();
    buffer.bytes = bytes;
    buffer.owner.truesize_bytes = kTruesize;
    Frame frame;
    frame.data = buffer.bytes.data();
    frame.length = static_cast<uint32_t>(buffer.bytes.size());
    frame.owner = &buffer.owner;
    Slice rest;
    if (split != 0 && split < frame.length) {
      rest = {frame.data + split, frame.length - split, &buffer.owner};
      ++buffer.owner.references;
      frame.length = split;
      frame.more = &rest;
      frame.more_count = 1;
    }
    Packet packet;
    Segment segment;
    const PacketKind kind = parse_frame(frame, interface, packet, segment);
    if (kind == PacketKind::Drop) counters.add(packet.drop);
    const bool complete = kind == PacketKind::Fragment && table->add(frame, packet, now_us, whole);
    release_frame(frame);
    return complete;
  }
  // Reads `whole` and gives it back.
  Bytes payload() {
    const test::Parsed parsed = test::parse(whole, interface);
    EXPECT_EQ(parsed.kind, PacketKind::Tcp) << test::name_of(parsed.packet.drop);
    Bytes bytes = test::bytes_of(parsed.segment.payload);
    ecn = parsed.segment.ecn;
    release_frame(whole);
    return bytes;
  }
  uint64_t count(Counter counter) const { return counters.get(counter); }

  Interface interface = test::ours6();
  abi::Counters counters;
  std::vector<std::unique_ptr<Buffer>> buffers;  // the table gives them back before they end
  std::unique_ptr<FragmentTable> table = std::make_unique<FragmentTable>(counters);
  Frame whole;
  uint64_t now_us = 100 * kSecond;
  uint8_t ecn = 0;
};

struct Cutting {
  bool ipv4 = true;
  uint32_t unit = 400;  // payload of the IP packet in each fragment; a multiple of 8
  uint32_t id = 77;
  uint16_t vlan = 0;
};

// One fragment of `packet` (an IP packet without options): its share [offset, offset + length).
inline Bytes fragment(const Bytes& packet, const Cutting& how, uint32_t offset, uint32_t length,
                      bool more) {
  const uint32_t header = how.ipv4 ? kIpv4HeaderBytes : kIpv6HeaderBytes;
  Bytes out(kEthernetBytes + (how.vlan != 0 ? kVlanTagBytes : 0));
  build_ethernet(test::peers(how.vlan), test::kOurMac, how.ipv4 ? kEthertypeIpv4 : kEthertypeIpv6,
                 out.data());
  const size_t network = out.size();
  out.insert(out.end(), packet.begin(), packet.begin() + header);
  if (how.ipv4) {
    store_be16(&out[network + 2], header + length);
    store_be16(&out[network + 4], how.id);
    store_be16(&out[network + 6], (more ? 0x2000U : 0U) | offset / 8);
    std::memset(&out[network + 10], 0, 2);
    const uint16_t sum = checksum_finish(checksum_add(&out[network], header));
    std::memcpy(&out[network + 10], &sum, 2);
  } else {
    store_be16(&out[network + 4], kFragmentHeaderBytes + length);
    Bytes extension(kFragmentHeaderBytes);
    extension[0] = out[network + 6];
    out[network + 6] = kNextFragment;
    store_be16(&extension[2], offset | (more ? 1U : 0U));
    store_be32(&extension[4], how.id);
    out.insert(out.end(), extension.begin(), extension.end());
  }
  out.insert(out.end(), packet.begin() + header + offset,
             packet.begin() + header + offset + length);
  out.resize(std::max<size_t>(out.size(), kMinFrameBytes), 0xee);
  return out;
}

inline Bytes ip_packet(bool ipv4, const Bytes& payload, uint8_t ecn = 0) {
  test::TestOwner owner;
  Segment segment = ipv4 ? test::peer_segment(kAck) : test::peer_segment6(kAck);
  segment.ecn = ecn;
  Bytes copy = payload;
  segment.payload.append({copy.data(), static_cast<uint32_t>(copy.size()), &owner});
  Bytes bytes = test::build(segment, test::peers6(), test::kOurMac);
  bytes.erase(bytes.begin(), bytes.begin() + kEthernetBytes);
  return bytes;
}

inline std::vector<Bytes> cut(const Bytes& packet, const Cutting& how) {
  const uint32_t header = how.ipv4 ? kIpv4HeaderBytes : kIpv6HeaderBytes;
  const auto total = static_cast<uint32_t>(packet.size()) - header;
  std::vector<Bytes> fragments;
  for (uint32_t at = 0; at < total; at += how.unit) {
    const uint32_t length = std::min(how.unit, total - at);
    fragments.push_back(fragment(packet, how, at, length, at + length < total));
  }
  return fragments;
}

}  // namespace sluice::net::test
