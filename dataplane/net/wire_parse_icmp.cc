// ICMP and ICMPv6: what a message is, and what an error says of a segment of ours.
//
// Job: tell echo requests (answered by IcmpResponder), neighbour discovery (NeighborTable) and
// errors (TCP) apart, and drop all others by name: router advertisements and redirects would let
// any host of the link change our routes, so they are not believed. Limits: the checksum is always
// verified, over all pieces; what is read lies in the frame's first piece.
// Errors: the quoted packet is turned into our view of the connection. It must be one that we can
// have sent: TCP, its source the address that the error came to, not a later fragment, eight bytes
// of TCP at least (RFC 792). That it quotes a sequence number in flight is for TCP to check
// (RFC 5927 4).
#include <algorithm>
#include <cstring>

#include "net/ipv6.h"
#include "net/wire.h"
#include "net/wire_internal.h"

namespace sluice::net {
namespace {

constexpr uint32_t kQuotedTcpBytes = 8;   // ports and sequence number
constexpr uint32_t kLeastMtuIpv4 = 68;    // RFC 791 3.2: every router passes that
constexpr uint32_t kLeastMtuIpv6 = 1280;  // RFC 8201 4: a smaller one is discarded

// The message's bytes, as far as they lie in the first piece.
std::span<const uint8_t> message(const Frame& frame, const Packet& packet) {
  return {frame.data + packet.transport_offset,
          std::min(frame.length - packet.transport_offset, packet.transport_bytes)};
}

// `tcp` are the eight bytes that were quoted.
bool read_quoted_tcp(const uint8_t* tcp, Packet& packet) {
  packet.error.tuple.local.port = load_be16(tcp);
  packet.error.tuple.remote.port = load_be16(tcp + 2);
  packet.error.seq = load_be32(tcp + 4);
  return packet.error.tuple.local.port != 0 && packet.error.tuple.remote.port != 0;
}

bool read_quoted_ipv4(std::span<const uint8_t> quote, Packet& packet) {
  if (quote.size() < kIpv4HeaderBytes || quote[0] >> 4 != 4) return false;
  const uint32_t header_length = (quote[0] & 0x0fU) * 4;
  if (header_length < kIpv4HeaderBytes || quote.size() < header_length + kQuotedTcpBytes ||
      quote[9] != kProtocolTcp || (load_be16(quote.data() + 6) & 0x1fffU) != 0) {
    return false;
  }
  packet.error.tuple.local.address = abi::IpAddress::from_ipv4(load_be32(quote.data() + 12));
  packet.error.tuple.remote.address = abi::IpAddress::from_ipv4(load_be32(quote.data() + 16));
  return read_quoted_tcp(quote.data() + header_length, packet);
}

bool read_quoted_ipv6(std::span<const uint8_t> quote, Packet& packet) {
  if (quote.size() < kIpv6HeaderBytes || quote[0] >> 4 != 6) return false;
  HeaderWalk walk;
  walk.next_header = quote[6];
  const auto payload = quote.subspan(kIpv6HeaderBytes);
  WalkEnd end = walk_headers(payload, walk);
  // The first fragment of what somebody on the way has cut quotes us as well.
  if (end == WalkEnd::Fragment && walk.fragment_offset == 0) end = walk_headers(payload, walk);
  if (end != WalkEnd::Upper || walk.next_header != kProtocolTcp ||
      payload.size() - walk.offset < kQuotedTcpBytes) {
    return false;
  }
  std::memcpy(packet.error.tuple.local.address.bytes.data(), quote.data() + 8, 16);
  std::memcpy(packet.error.tuple.remote.address.bytes.data(), quote.data() + 24, 16);
  return !never_on_the_wire(packet.error.tuple.remote.address) &&
         read_quoted_tcp(payload.data() + walk.offset, packet);
}

// RFC 792. False: no error, or one whose codes do not exist.
bool read_ipv4_kind(const uint8_t* icmp, IcmpError& error) {
  constexpr uint8_t kUnreachable = 3, kTimeExceeded = 11, kParameter = 12, kFragmentNeeded = 4;
  error.code = icmp[1];
  error.mtu_bytes = 0;
  switch (icmp[0]) {  // over a byte from the wire, so with a default
    case kUnreachable:
      error.kind = IcmpErrorKind::Unreachable;
      if (error.code != kFragmentNeeded) return error.code <= 15;  // RFC 1812 5.2.7.1
      error.kind = IcmpErrorKind::TooBig;
      error.mtu_bytes = load_be16(icmp + 6);  // RFC 1191 4
      return error.mtu_bytes == 0 || error.mtu_bytes >= kLeastMtuIpv4;
    case kTimeExceeded:
      error.kind = IcmpErrorKind::TimeExceeded;
      return error.code <= 1;
    case kParameter:
      error.kind = IcmpErrorKind::Parameter;
      return error.code <= 2;
    default:
      return false;
  }
}

// RFC 4443 3.
bool read_ipv6_kind(const uint8_t* icmp, IcmpError& error) {
  constexpr uint8_t kUnreachable = 1, kTooBig = 2, kTimeExceeded = 3, kParameter = 4;
  error.code = icmp[1];
  error.mtu_bytes = 0;
  switch (icmp[0]) {  // over a byte from the wire, so with a default
    case kUnreachable:
      error.kind = IcmpErrorKind::Unreachable;
      return error.code <= 8;  // RFC 4443 3.1, RFC 7731 and RFC 8883 added theirs
    case kTooBig:
      error.kind = IcmpErrorKind::TooBig;
      error.mtu_bytes = load_be32(icmp + 4);
      return error.mtu_bytes >= kLeastMtuIpv6;
    case kTimeExceeded:
      error.kind = IcmpErrorKind::TimeExceeded;
      return error.code <= 1;
    case kParameter:
      error.kind = IcmpErrorKind::Parameter;
      return true;
    default:
      return false;
  }
}

// The error went to the source of the packet that it quotes, or is not about one of ours.
PacketKind finish_error(bool valid, Packet& packet) {
  if (!valid || !(packet.error.tuple.local.address == packet.destination)) {
    return drop(packet, abi::Counter::drop_icmp_error);
  }
  return PacketKind::IcmpError;
}

// RFC 4861 6.1, 7.1, 8.1: what is not about neighbours is a router's. Multicast listener queries
// (RFC 3810 5.1) go the same way as they concern the same groups.
PacketKind neighbor_discovery(uint8_t type, const Interface& interface, Packet& packet) {
  constexpr uint8_t kRouterAdvertisement = 134, kNeighborSolicitation = 135, kRedirect = 137;
  if (type == kRouterAdvertisement) return drop(packet, abi::Counter::drop_router_advertisement);
  if (type == kRedirect) return drop(packet, abi::Counter::drop_icmp_redirect);
  // RFC 6980 5: fragments are a way around whoever guards the link.
  if (packet.fragmented) return drop(packet, abi::Counter::drop_nd);
  const bool solicitation = type == kNeighborSolicitation;
  if (is_unspecified(packet.source) && !solicitation) {
    return drop(packet, abi::Counter::drop_bad_source);
  }
  if (interface.owns(packet.source) && packet.link_source == interface.mac) {
    return drop(packet, abi::Counter::drop_bad_source);  // our own words, come back
  }
  return PacketKind::Neighbor;
}

}  // namespace

PacketKind parse_icmp(const Frame& frame, Packet& packet) {
  constexpr uint8_t kUnreachable = 3, kRedirect = 5, kEchoRequest = 8, kTimeExceeded = 11,
                    kParameter = 12;
  const auto icmp = message(frame, packet);
  if (icmp.size() < kIcmpHeaderBytes || checksum_fold(sum_transport(frame, packet)) != 0xffff) {
    return drop(packet, abi::Counter::drop_icmp);
  }
  switch (icmp[0]) {  // over a byte from the wire, so with a default
    case kEchoRequest:
      return icmp[1] == 0 ? PacketKind::Icmp : drop(packet, abi::Counter::drop_icmp);
    case kRedirect:
      return drop(packet, abi::Counter::drop_icmp_redirect);
    case kUnreachable:
    case kTimeExceeded:
    case kParameter:
      return finish_error(read_ipv4_kind(icmp.data(), packet.error) &&
                              read_quoted_ipv4(icmp.subspan(kIcmpHeaderBytes), packet),
                          packet);
    default:
      return drop(packet, abi::Counter::drop_icmp);
  }
}

PacketKind parse_icmpv6(const Frame& frame, const uint8_t* ip, const Interface& interface,
                        Packet& packet) {
  constexpr uint8_t kFirstInformational = 128, kEchoRequest = 128, kListenerQuery = 130,
                    kRouterAdvertisement = 134, kRedirect = 137;
  const auto icmp = message(frame, packet);
  const Sum sum = pseudo_header(ip, kProtocolIcmpv6, packet.transport_bytes) +
                  checksum_fold(sum_transport(frame, packet));
  if (icmp.size() < kIcmpHeaderBytes || checksum_fold(sum) != 0xffff) {
    return drop(packet, abi::Counter::drop_icmp);
  }
  const uint8_t type = icmp[0];
  if (type == kListenerQuery || (type >= kRouterAdvertisement && type <= kRedirect)) {
    return neighbor_discovery(type, interface, packet);
  }
  if (is_unspecified(packet.source) || interface.owns(packet.source)) {
    return drop(packet, abi::Counter::drop_bad_source);
  }
  // RFC 4443 4.2 lets a node ignore an echo request to a group: answers to one would be a flood.
  if (is_multicast(packet.destination)) return drop(packet, abi::Counter::drop_icmp);
  if (type == kEchoRequest && icmp[1] == 0) return PacketKind::Icmp;
  if (type >= kFirstInformational) return drop(packet, abi::Counter::drop_icmp);
  return finish_error(read_ipv6_kind(icmp.data(), packet.error) &&
                          read_quoted_ipv6(icmp.subspan(kIcmpHeaderBytes), packet),
                      packet);
}

}  // namespace sluice::net
