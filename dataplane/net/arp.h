// ARP packets for Ethernet and IPv4 (RFC 826): the checked view and the builder.
#pragma once

#include <cstdint>
#include <span>

#include "net/interface.h"

namespace sluice::net {

inline constexpr uint32_t kArpBytes = 28;

enum class ArpOperation : uint16_t { Request = 1, Reply = 2 };

struct Arp {
  ArpOperation operation = ArpOperation::Request;
  Mac sender_mac;
  Mac target_mac;
  abi::IpAddress sender;
  abi::IpAddress target;
};

// `packet` starts behind the Ethernet header. False: not a well-formed ARP for Ethernet and IPv4.
bool parse_arp(std::span<const uint8_t> packet, Arp& arp);
// A whole frame from `interface` to `destination`, padded; returns its length, 0 without room
// (kNeighborFrameBytes are enough).
uint32_t build_arp(const Arp& arp, const Interface& interface, const Mac& destination,
                   std::span<uint8_t> out);

}  // namespace sluice::net
