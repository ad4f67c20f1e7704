// A port as the IP layer sees it: its link address, its own addresses and where to send what.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>

#include "abi/address.h"
#include "net/limits.h"

namespace sluice::net {

struct Mac {
  std::array<uint8_t, 6> bytes{};

  bool is_multicast() const { return (bytes[0] & 1) != 0; }  // broadcast included
  bool is_zero() const { return *this == Mac{}; }
  static constexpr Mac broadcast() { return Mac{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}; }
  friend bool operator==(const Mac& a, const Mac& b) {
    return std::memcmp(a.bytes.data(), b.bytes.data(), 6) == 0;
  }
};

struct InterfaceAddress {
  abi::IpAddress address;
  uint8_t prefix_bits = 32;  // of the address's own family: 0..32 or 0..128
};

struct Interface {
  std::string name;
  Mac mac;
  uint16_t mtu = 1500;
  uint16_t vlan = 0;  // 0: untagged
  uint8_t address_count = 0;
  bool has_gateway = false;
  bool has_gateway6 = false;
  std::array<InterfaceAddress, kMaxInterfaceAddresses> addresses;
  abi::IpAddress gateway;   // IPv4
  abi::IpAddress gateway6;  // IPv6, link-local ones too

  // False when there is no room or the prefix does not fit the family.
  bool add_address(const InterfaceAddress& address);
  // IPv6 is spoken where an IPv6 address was given.
  bool speaks_ipv6() const;
  // The link-local address: the one that was given, else the MAC's by EUI-64 (RFC 4291 App. A).
  abi::IpAddress link_local() const;
  // One of ours, the link-local address included.
  bool owns(const abi::IpAddress& address) const;
  // An IPv6 multicast group that we listen to: all nodes, and the solicited-node group of each of
  // our addresses.
  bool listens_to(const abi::IpAddress& group) const;
  bool on_link(const abi::IpAddress& address) const;
  // Directed broadcast of one of our subnets (RFC 922 7), or the limited one.
  bool is_broadcast(const abi::IpAddress& address) const;
  // Where a packet for `destination` goes on the link: itself when it is on-link, else the
  // gateway of its family. False: there is no way.
  bool next_hop(const abi::IpAddress& destination, abi::IpAddress& hop) const;
  // The address that speaks to `peer`: the one whose prefix covers it, else the first of its
  // family, for IPv6 of global scope if there is one (RFC 6724 5, rule 2).
  bool source_for(const abi::IpAddress& peer, abi::IpAddress& source) const;
};

// fe80::/10 (RFC 4291 2.5.6).
inline bool is_link_local(const abi::IpAddress& address) {
  return address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80;
}

// Whether the first `bits` of the two agree; `bits` counts from the family's own first bit.
bool same_prefix(const abi::IpAddress& a, const abi::IpAddress& b, uint8_t bits);

}  // namespace sluice::net
