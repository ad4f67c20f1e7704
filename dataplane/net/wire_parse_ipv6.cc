// From bytes to Segment: IPv6.
//
// Job: the fixed header, the addresses, the way to the upper layer. Limits: the headers lie in the
// frame's first piece; extension headers are bounded by walk_headers; of fragments only those that
// can be TCP's are kept.
// Addresses: TCP is taken for our unicast addresses alone, ICMPv6 for our groups too. An IPv6
// header that shows an IPv4-mapped address is refused in both fields: such an address means IPv4
// everywhere behind this function. The unspecified source and our own address are let through to
// neighbour discovery alone, where they say that somebody wants, or has, an address of ours.
#include <algorithm>
#include <cstring>

#include "net/ipv6.h"
#include "net/wire.h"
#include "net/wire_internal.h"

namespace sluice::net {
namespace {

// RFC 8200 3. False: dropped, packet.drop says why.
bool check_fixed_header(const Frame& frame, const uint8_t* ip, Packet& packet) {
  if (ip[0] >> 4 != 6) {
    packet.drop = abi::Counter::drop_ip_header;
    return false;
  }
  const uint32_t payload = load_be16(ip + 4);
  if (payload > total_bytes(frame) - packet.network_offset - kIpv6HeaderBytes) {
    packet.drop = abi::Counter::drop_runt;
    return false;
  }
  if (payload == 0) {
    // RFC 2675 3: a jumbo payload option tells the length, which no frame here reaches.
    packet.drop = ip[6] == kNextHopByHop ? abi::Counter::drop_ipv6_jumbogram
                  : ip[6] == kNextNone   ? abi::Counter::drop_ipv6_no_next
                                         : abi::Counter::drop_ip_header;
    return false;
  }
  packet.transport_bytes = payload;
  packet.time_to_live = ip[7];
  packet.ecn = ip[1] >> 4 & 3;  // the traffic class ends in the second byte's upper half
  std::memcpy(packet.source.bytes.data(), ip + 8, 16);
  std::memcpy(packet.destination.bytes.data(), ip + 24, 16);
  return true;
}

// A packet to a group reaches us by the group's MAC or by our own (RFC 6085).
bool is_for_us(const Interface& interface, const Packet& packet) {
  const abi::IpAddress& to = packet.destination;
  if (!is_multicast(to)) {
    return !packet.link_destination.is_multicast() && !to.is_ipv4() && interface.owns(to);
  }
  return interface.listens_to(to) &&
         (!packet.link_destination.is_multicast() || packet.link_destination == multicast_mac(to));
}

PacketKind read_fragment(std::span<const uint8_t> bytes, HeaderWalk& walk, Packet& packet) {
  packet.fragment.id = walk.fragment_id;
  packet.fragment.offset_bytes = static_cast<uint16_t>(walk.fragment_offset);
  packet.fragment.more = walk.more;
  packet.fragment.protocol = 0;
  if (walk.fragment_offset != 0) {
    // What the packet carries is known from its first fragment; the others only repeat it.
    if (walk.next_header == kProtocolUdp) return drop(packet, abi::Counter::drop_udp);
    if (walk.next_header == kProtocolIcmpv6) return drop(packet, abi::Counter::drop_icmp);
    return PacketKind::Fragment;
  }
  // RFC 7112 5: the first fragment has the whole chain of headers.
  HeaderWalk rest = walk;
  if (walk_headers(bytes, rest) != WalkEnd::Upper) {
    return drop(packet, rest.drop == abi::Counter::drop_ipv6_extension
                            ? abi::Counter::drop_fragment_tiny
                            : rest.drop);
  }
  switch (rest.next_header) {  // over a byte from the wire, so with a default
    case kProtocolTcp:
      if (holds_tcp_header(bytes.subspan(rest.offset))) return PacketKind::Fragment;
      return drop(packet, abi::Counter::drop_fragment_tiny);
    case kProtocolUdp:
      return drop(packet, abi::Counter::drop_udp);
    case kProtocolIcmpv6:
      return drop(packet, abi::Counter::drop_icmp);
    default:
      return drop(packet, abi::Counter::drop_protocol);
  }
}

}  // namespace

PacketKind parse_ipv6(const Frame& frame, const Interface& interface, Packet& packet,
                      Segment& segment) {
  const uint32_t payload_offset = packet.network_offset + kIpv6HeaderBytes;
  if (frame.length < payload_offset) return drop(packet, abi::Counter::drop_runt);
  const uint8_t* ip = frame.data + packet.network_offset;
  if (!check_fixed_header(frame, ip, packet)) return PacketKind::Drop;
  if (!is_for_us(interface, packet)) return drop(packet, abi::Counter::drop_not_ours);
  const bool odd_source = is_unspecified(packet.source) || interface.owns(packet.source);
  if (!odd_source && never_on_the_wire(packet.source)) {
    return drop(packet, abi::Counter::drop_bad_source);
  }
  const uint32_t here = std::min(frame.length - payload_offset, packet.transport_bytes);
  const std::span<const uint8_t> bytes(frame.data + payload_offset, here);
  HeaderWalk walk;
  walk.next_header = ip[6];
  const WalkEnd end = walk_headers(bytes, walk);
  packet.fragmented = walk.fragmented;
  packet.transport_offset = static_cast<uint16_t>(payload_offset + walk.offset);
  packet.transport_bytes -= std::min(walk.offset, packet.transport_bytes);
  if (end == WalkEnd::Drop) return drop(packet, walk.drop);
  if (end == WalkEnd::Upper && walk.next_header == kProtocolIcmpv6) {
    return parse_icmpv6(frame, ip, interface, packet);
  }
  if (odd_source) return drop(packet, abi::Counter::drop_bad_source);
  if (is_multicast(packet.destination)) return drop(packet, abi::Counter::drop_not_ours);
  if (end == WalkEnd::Fragment) return read_fragment(bytes, walk, packet);
  switch (walk.next_header) {  // over a byte from the wire, so with a default
    case kProtocolTcp:
      return parse_tcp(frame, ip, packet, segment);
    case kProtocolUdp:
      return drop(packet, abi::Counter::drop_udp);
    default:
      return drop(packet, abi::Counter::drop_protocol);
  }
}

}  // namespace sluice::net
