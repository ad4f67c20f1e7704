// IPv6 addresses on the link and the headers between the fixed one and TCP (RFC 8200, RFC 4291).
#pragma once

#include <cstdint>
#include <span>

#include "abi/address.h"
#include "abi/counters.h"
#include "net/interface.h"

namespace sluice::net {

// Values of a next-header field.
inline constexpr uint8_t kNextHopByHop = 0;
inline constexpr uint8_t kNextRouting = 43;
inline constexpr uint8_t kNextFragment = 44;
inline constexpr uint8_t kNextEsp = 50;
inline constexpr uint8_t kNextAuthentication = 51;
inline constexpr uint8_t kNextNone = 59;
inline constexpr uint8_t kNextDestination = 60;
inline constexpr uint32_t kFragmentHeaderBytes = 8;

// ff02::1, every node of the link; ff02::16, routers that listen for listener reports.
inline constexpr abi::IpAddress kAllNodes{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
inline constexpr abi::IpAddress kAllMldRouters{
    {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16}};

// Of an IPv6 address.
inline bool is_multicast(const abi::IpAddress& address) { return address.bytes[0] == 0xff; }
inline bool is_unspecified(const abi::IpAddress& address) { return address == abi::IpAddress{}; }
// Multicast, loopback, and IPv4 in IPv6 clothes (RFC 4291 2.5.5): an address that was mapped from
// IPv4 means IPv4 everywhere here, so it must never be taken from an IPv6 header.
bool never_on_the_wire(const abi::IpAddress& address);

// RFC 4291 2.7.1: ff02::1:ff and the address's last three bytes.
abi::IpAddress solicited_node(const abi::IpAddress& address);
// RFC 2464 7: 33:33 and the last four bytes of a multicast address.
Mac multicast_mac(const abi::IpAddress& group);

// How far a chain of headers leads.
enum class WalkEnd : uint8_t {
  Upper,     // `next_header` at `offset` is what the packet carries
  Fragment,  // the packet is one of several
  Drop,      // `drop` says why
};

struct HeaderWalk {
  uint8_t next_header = 0;  // in: the fixed header's field
  bool fragmented = false;  // a fragment header was there, if only an atomic one (RFC 6946)
  bool more = false;        // of Fragment: not the last one
  uint8_t headers = 0;      // walked so far
  abi::Counter drop = abi::Counter::drop_ipv6_extension;
  uint32_t offset = 0;           // into the walked bytes; of Fragment: behind its header
  uint32_t fragment_offset = 0;  // bytes
  uint32_t fragment_id = 0;
};

// Walks from walk.offset on over `bytes`, which begin behind the fixed header: hop-by-hop options
// (only as the first), destination options, routing headers that have nothing left to do, an
// atomic fragment header. Bounded by kMaxExtensionHeaders and kMaxExtensionBytes. A header that
// ends behind `bytes` is a drop.
WalkEnd walk_headers(std::span<const uint8_t> bytes, HeaderWalk& walk);

}  // namespace sluice::net
