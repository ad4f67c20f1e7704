// Ethernet and IP, as far as marking and damaging need them. The IPv4 checksum is corrected by the
// difference (RFC 1624), so that a wrong one stays wrong.
#include "frame.h"

namespace sluice::impair {
namespace {

constexpr uint16_t kVlan = 0x8100;
constexpr uint16_t kIpv4 = 0x0800;
constexpr uint16_t kIpv6 = 0x86dd;
constexpr size_t kTagAt = 12;  // behind the two addresses
constexpr uint16_t kVlanMask = 0x0fff;
constexpr size_t kIpv4Bytes = 20;
constexpr size_t kIpv6Bytes = 40;
constexpr uint8_t kNotEct = 0;
constexpr uint8_t kCe = 3;

uint16_t load16(std::span<const uint8_t> frame, size_t at) {
  return static_cast<uint16_t>(frame[at] << 8 | frame[at + 1]);
}

void store16(std::span<uint8_t> frame, size_t at, uint32_t value) {
  frame[at] = static_cast<uint8_t>(value >> 8);
  frame[at + 1] = static_cast<uint8_t>(value);
}

// RFC 1624, eqn. 3: HC' = ~(~HC + ~m + m').
void replace16(std::span<uint8_t> frame, size_t at, uint16_t value, size_t checksum_at) {
  uint32_t sum = static_cast<uint16_t>(~load16(frame, checksum_at));
  sum += static_cast<uint16_t>(~load16(frame, at));
  sum += value;
  sum = (sum & 0xffffU) + (sum >> 16);
  sum = (sum & 0xffffU) + (sum >> 16);
  store16(frame, at, value);
  store16(frame, checksum_at, ~sum);
}

}  // namespace

IpPlace find_ip(std::span<const uint8_t> frame) {
  size_t offset = kEthernetBytes;
  if (frame.size() < offset) return {};
  uint16_t type = load16(frame, offset - 2);
  if (type == kVlan) {
    offset += kVlanTagBytes;
    if (frame.size() < offset) return {};
    type = load16(frame, offset - 2);
  }
  const size_t rest = frame.size() - offset;
  if (type == kIpv4 && rest >= kIpv4Bytes && frame[offset] >> 4 == 4) {
    return {IpVersion::V4, offset};
  }
  if (type == kIpv6 && rest >= kIpv6Bytes && frame[offset] >> 4 == 6) {
    return {IpVersion::V6, offset};
  }
  return {};
}

bool mark_congestion(std::span<uint8_t> frame) {
  const IpPlace ip = find_ip(frame);
  switch (ip.version) {
    case IpVersion::None:
      return false;
    case IpVersion::V4: {
      const uint8_t ecn = frame[ip.offset + 1] & 3U;
      if (ecn == kNotEct || ecn == kCe) return false;
      replace16(frame, ip.offset, load16(frame, ip.offset) | kCe, ip.offset + 10);
      return true;
    }
    case IpVersion::V6: {
      // The traffic class lies across the first two bytes; its lowest bits are bits 5 and 4.
      const uint8_t ecn = frame[ip.offset + 1] >> 4 & 3U;
      if (ecn == kNotEct || ecn == kCe) return false;
      frame[ip.offset + 1] |= static_cast<uint8_t>(kCe << 4);
      return true;
    }
  }
  return false;
}

void add_tag(std::vector<uint8_t>& frame, uint16_t vlan) {
  if (frame.size() < kEthernetBytes) return;
  frame.insert(frame.begin() + kTagAt, kVlanTagBytes, 0);
  store16(frame, kTagAt, kVlan);
  store16(frame, kTagAt + 2, vlan);
}

bool remove_tag(std::vector<uint8_t>& frame, uint16_t vlan) {
  if (frame.size() < kEthernetBytes + kVlanTagBytes || load16(frame, kTagAt) != kVlan ||
      (load16(frame, kTagAt + 2) & kVlanMask) != vlan) {
    return false;
  }
  const auto tag = frame.begin() + kTagAt;
  frame.erase(tag, tag + kVlanTagBytes);
  return true;
}

bool flip_bit(std::span<uint8_t> frame, uint64_t choice) {
  const IpPlace ip = find_ip(frame);
  if (ip.version == IpVersion::None) return false;
  const uint64_t bit = choice % ((frame.size() - ip.offset) * 8);
  frame[ip.offset + bit / 8] ^= static_cast<uint8_t>(1U << bit % 8);
  return true;
}

}  // namespace sluice::impair
