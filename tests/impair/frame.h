// The little that the link knows of a frame's inside: IPv4 and IPv6 behind Ethernet, with at most
// one 802.1Q tag.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sluice::impair {

inline constexpr size_t kEthernetBytes = 14;
inline constexpr size_t kVlanTagBytes = 4;

enum class IpVersion : uint8_t { None, V4, V6 };

struct IpPlace {
  IpVersion version = IpVersion::None;
  size_t offset = 0;  // of the IP header
};

// None also for an IP header that is cut off.
IpPlace find_ip(std::span<const uint8_t> frame);

// Sets CE (RFC 3168 5) and repairs the IPv4 header's checksum. False, nothing changed: no IP
// packet, not ECN-capable, or marked already.
bool mark_congestion(std::span<uint8_t> frame);

// The frame as it is in this VLAN: with a tag behind the addresses.
void add_tag(std::vector<uint8_t>& frame, uint16_t vlan);
// And back. False, nothing changed: it has no tag, or another VLAN's.
bool remove_tag(std::vector<uint8_t>& frame, uint16_t vlan);

// Flips bit `choice` modulo the number of bits of the IP packet. False: no IP packet. Other frames
// stay whole: on a real link the Ethernet checksum guards every frame, and what is damaged all the
// same was damaged inside of a router, which forwards nothing but IP.
bool flip_bit(std::span<uint8_t> frame, uint64_t choice);

}  // namespace sluice::impair
