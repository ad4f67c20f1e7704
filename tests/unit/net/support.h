// What the tests of net share: an interface, segments, and frames that own their memory.
#pragma once

#include <cstring>
#include <random>
#include <vector>

#include "net/frame.h"
#include "net/interface.h"
#include "net/segment.h"
#include "net/wire.h"

namespace sluice::net::test {

inline const Mac kOurMac = Mac{{0x02, 0, 0, 0, 0, 0x01}};
inline const Mac kPeerMac = Mac{{0x02, 0, 0, 0, 0, 0x02}};

inline abi::IpAddress ip(const char* text) {
  abi::IpAddress address;
  if (!abi::parse_ip_address(text, address)) std::abort();
  return address;
}

// 10.99.1.10/24 with a gateway, and its peer 10.99.1.2/24.
inline Interface make_interface(const char* address, const Mac& mac, uint16_t vlan = 0) {
  Interface interface;
  interface.name = "test";
  interface.mac = mac;
  interface.vlan = vlan;
  if (!interface.add_address({ip(address), 24})) std::abort();
  interface.has_gateway = true;
  interface.gateway = ip("10.99.1.1");
  return interface;
}
inline Interface ours(uint16_t vlan = 0) { return make_interface("10.99.1.10", kOurMac, vlan); }
inline Interface peers(uint16_t vlan = 0) { return make_interface("10.99.1.2", kPeerMac, vlan); }

// The same with fd00:99:1::10/64 and fd00:99:1::2/64 beside it.
inline Interface with_ipv6(Interface interface, const char* address) {
  if (!interface.add_address({ip(address), 64})) std::abort();
  interface.has_gateway6 = true;
  interface.gateway6 = ip("fd00:99:1::1");
  return interface;
}
inline Interface ours6(uint16_t vlan = 0) { return with_ipv6(ours(vlan), "fd00:99:1::10"); }
inline Interface peers6(uint16_t vlan = 0) { return with_ipv6(peers(vlan), "fd00:99:1::2"); }

// An owner on the heap that counts how often it was released.
struct TestOwner : BufferOwner {
  int released = 0;
  TestOwner() {
    release = [](BufferOwner* owner) { ++static_cast<TestOwner*>(owner)->released; };
  }
};

// A frame in its own memory, cut into pieces at will.
class TestFrame {
 public:
  explicit TestFrame(std::vector<uint8_t> bytes) : bytes_(std::move(bytes)) {
    frame_.data = bytes_.data();
    frame_.length = static_cast<uint32_t>(bytes_.size());
    frame_.owner = &owner_;
  }
  TestFrame(const TestFrame&) = delete;

  // Splits behind `first` bytes, the rest into pieces of at most `most` bytes.
  void split(uint32_t first, uint32_t most) {
    const auto total = static_cast<uint32_t>(bytes_.size());
    frame_.length = first;
    for (uint32_t at = first; at < total; at += most) {
      more_.push_back({bytes_.data() + at, std::min(most, total - at), &owner_});
    }
    frame_.more = more_.data();
    frame_.more_count = static_cast<uint16_t>(more_.size());
  }
  Frame& frame() { return frame_; }
  std::vector<uint8_t>& bytes() { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
  std::vector<Slice> more_;
  TestOwner owner_;
  Frame frame_;
};

inline std::vector<uint8_t> random_bytes(std::mt19937& random, size_t length) {
  std::vector<uint8_t> bytes(length);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

// From the peer's side: a segment that `ours()` will see as its own.
inline Segment peer_segment(uint8_t flags) {
  Segment segment;
  segment.tuple.local = {ip("10.99.1.2"), 40000};
  segment.tuple.remote = {ip("10.99.1.10"), 443};
  segment.seq = 0xfffffff0U;
  segment.ack = 77;
  segment.window = 4096;
  segment.flags = flags;
  return segment;
}

inline Segment peer_segment6(uint8_t flags) {
  Segment segment = peer_segment(flags);
  segment.tuple.local.address = ip("fd00:99:1::2");
  segment.tuple.remote.address = ip("fd00:99:1::10");
  return segment;
}

inline std::vector<uint8_t> bytes_of(const Chain& chain) {
  std::vector<uint8_t> all;
  for (uint32_t i = 0; i < chain.count; ++i) {
    all.insert(all.end(), chain.pieces[i].data, chain.pieces[i].data + chain.pieces[i].length);
  }
  return all;
}

// The whole segment as one frame.
inline std::vector<uint8_t> build(const Segment& segment, const Interface& from, const Mac& to) {
  std::vector<uint8_t> out(65536 + kMaxHeaderBytes);
  const Cut cut{0, segment.payload.length, true, true};
  out.resize(build_frame(segment, cut, from, to, out));
  return out;
}

struct Parsed {
  PacketKind kind;
  Packet packet;
  Segment segment;
};

inline Parsed parse(const Frame& frame, const Interface& interface = ours6()) {
  Parsed parsed;
  parsed.kind = parse_frame(frame, interface, parsed.packet, parsed.segment);
  return parsed;
}

inline const char* name_of(abi::Counter counter) {
  return abi::kCounterInfo[static_cast<uint16_t>(counter)].name;
}

// An IPv6 packet from the peer to us in an untagged frame: the headers, then `payload`.
inline std::vector<uint8_t> ipv6_frame(uint8_t next_header, const std::vector<uint8_t>& payload,
                                       const char* from = "fd00:99:1::2",
                                       const char* to = "fd00:99:1::10", uint8_t hop_limit = 64) {
  std::vector<uint8_t> frame(kEthernetBytes + kIpv6HeaderBytes);
  build_ethernet(peers(), kOurMac, kEthertypeIpv6, frame.data());
  uint8_t* header = frame.data() + kEthernetBytes;
  store_be32(header, 6U << 28);
  store_be16(header + 4, static_cast<uint32_t>(payload.size()));
  header[6] = next_header;
  header[7] = hop_limit;
  std::memcpy(header + 8, ip(from).bytes.data(), 16);
  std::memcpy(header + 24, ip(to).bytes.data(), 16);
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

// Completes the checksum, two bytes at `field` from the end of the IPv6 headers at `offset`.
inline void seal_ipv6(std::vector<uint8_t>& frame, uint8_t protocol, size_t offset, size_t field) {
  if (frame.size() < offset + field + 2) return;
  uint8_t* transport = frame.data() + offset;
  const size_t length = frame.size() - offset;
  std::memset(transport + field, 0, 2);
  const uint16_t sum = checksum_finish(
      pseudo_header(frame.data() + kEthernetBytes, protocol, static_cast<uint32_t>(length)) +
      checksum_add(transport, length));
  std::memcpy(transport + field, &sum, 2);
}

// An ICMPv6 message from the peer with its checksum right.
inline std::vector<uint8_t> icmpv6_frame(const std::vector<uint8_t>& message,
                                         const char* from = "fd00:99:1::2",
                                         const char* to = "fd00:99:1::10",
                                         uint8_t hop_limit = 255) {
  auto frame = ipv6_frame(kProtocolIcmpv6, message, from, to, hop_limit);
  if (ip(to).bytes[0] == 0xff) {
    frame[0] = frame[1] = 0x33;
    std::memcpy(frame.data() + 2, ip(to).bytes.data() + 12, 4);
  }
  seal_ipv6(frame, kProtocolIcmpv6, kEthernetBytes + kIpv6HeaderBytes, 2);
  return frame;
}

}  // namespace sluice::net::test
