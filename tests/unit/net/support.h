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

inline Parsed parse(const Frame& frame, const Interface& interface = ours()) {
  Parsed parsed;
  parsed.kind = parse_frame(frame, interface, parsed.packet, parsed.segment);
  return parsed;
}

}  // namespace sluice::net::test
