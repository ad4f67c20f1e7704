// From bytes to Segment: the link layer and IPv4.
//
// Job: decide for each received frame what it is, checking everything before it is used, and fill
// in a Segment for TCP. Limits: one VLAN tag; all headers in the frame's first piece; source
// routes are refused; of fragments only those of TCP are worth keeping, because no other message
// that is longer than a packet would be answered. A frame is dropped for the first reason found,
// from the outside in, so the counters tell how far it came.
// Data flow: parse_frame walks Ethernet -> (tag) -> parse_ipv4 or parse_ipv6 -> parse_tcp,
// parse_icmp or parse_icmpv6; `Packet` gets what neighbours, ICMP and fragments need, `Segment`
// what TCP needs. Payload slices point into the frame; Ethernet's padding is cut off by the IP
// length.
#include <algorithm>
#include <cstring>

#include "net/ipv6.h"
#include "net/wire.h"
#include "net/wire_internal.h"

namespace sluice::net {
namespace {

// IPv4 addresses that no packet may come from: "this network", loopback, multicast, class E
// (RFC 1122 3.2.1.3).
bool never_a_source(uint32_t address) {
  const uint32_t top = address >> 24;
  return top == 0 || top == 127 || top >= 224;
}

enum class IpOptions : uint8_t { Fine, SourceRoute, Malformed };

// RFC 791 3.1. Options are skipped; source routes are refused (RFC 7126 4.3, 4.4).
IpOptions check_ip_options(std::span<const uint8_t> options) {
  constexpr uint8_t kEnd = 0, kNop = 1, kLooseSourceRoute = 131, kStrictSourceRoute = 137;
  size_t at = 0;
  while (at < options.size()) {
    const uint8_t kind = options[at];
    if (kind == kEnd) return IpOptions::Fine;
    if (kind == kNop) {
      ++at;
      continue;
    }
    if (at + 2 > options.size()) return IpOptions::Malformed;
    const size_t length = options[at + 1];
    if (length < 2 || at + length > options.size()) return IpOptions::Malformed;
    if (kind == kLooseSourceRoute || kind == kStrictSourceRoute) return IpOptions::SourceRoute;
    at += length;
  }
  return IpOptions::Fine;
}

// RFC 791 3.2; only TCP's are kept.
PacketKind read_fragment(const Frame& frame, const uint8_t* ip, Packet& packet) {
  const uint16_t field = load_be16(ip + 6);
  packet.fragmented = true;
  packet.fragment.id = load_be16(ip + 4);
  packet.fragment.offset_bytes = static_cast<uint16_t>((field & 0x1fffU) * 8);
  packet.fragment.more = (field & 0x2000U) != 0;
  packet.fragment.protocol = ip[9];
  if (packet.fragment.offset_bytes == 0) {
    const uint32_t here = std::min(frame.length - packet.transport_offset, packet.transport_bytes);
    if (!holds_tcp_header({frame.data + packet.transport_offset, here})) {
      return drop(packet, abi::Counter::drop_fragment_tiny);
    }
  }
  return PacketKind::Fragment;
}

PacketKind parse_ipv4_payload(const Frame& frame, const uint8_t* ip, Packet& packet,
                              Segment& segment) {
  constexpr uint16_t kMoreFragmentsAndOffset = 0x3fff;
  const bool fragment = (load_be16(ip + 6) & kMoreFragmentsAndOffset) != 0;
  switch (ip[9]) {  // over a byte from the wire, so with a default
    case kProtocolTcp:
      if (fragment) return read_fragment(frame, ip, packet);
      return parse_tcp(frame, ip, packet, segment);
    case kProtocolIcmp:
      if (fragment) return drop(packet, abi::Counter::drop_icmp);
      return parse_icmp(frame, packet);
    case kProtocolUdp:
      return drop(packet, abi::Counter::drop_udp);
    case kNextEsp:
    case kNextAuthentication:
      return drop(packet, abi::Counter::drop_ipsec);
    default:
      return drop(packet, abi::Counter::drop_protocol);
  }
}

PacketKind parse_ipv4(const Frame& frame, const Interface& interface, Packet& packet,
                      Segment& segment) {
  const uint32_t offset = packet.network_offset;
  if (frame.length < offset + kIpv4HeaderBytes) return drop(packet, abi::Counter::drop_runt);
  const uint8_t* ip = frame.data + offset;
  const uint32_t header_length = (ip[0] & 0x0fU) * 4;
  if (ip[0] >> 4 != 4 || header_length < kIpv4HeaderBytes) {
    return drop(packet, abi::Counter::drop_ip_header);
  }
  if (frame.length < offset + header_length) return drop(packet, abi::Counter::drop_runt);
  const uint32_t total_length = load_be16(ip + 2);
  if (total_length < header_length) return drop(packet, abi::Counter::drop_ip_header);
  if (total_length > total_bytes(frame) - offset) return drop(packet, abi::Counter::drop_runt);
  if (!frame.checksum_ok && checksum_fold(checksum_add(ip, header_length)) != 0xffff) {
    return drop(packet, abi::Counter::drop_ip_checksum);
  }
  packet.source = abi::IpAddress::from_ipv4(load_be32(ip + 12));
  packet.destination = abi::IpAddress::from_ipv4(load_be32(ip + 16));
  packet.time_to_live = ip[8];
  packet.ecn = ip[1] & 3;
  // RFC 1122 3.3.6: what came by link-layer broadcast and is not addressed to a broadcast address
  // is discarded; we answer to unicast addresses only.
  if (packet.link_destination.is_multicast() || !interface.owns(packet.destination)) {
    return drop(packet, abi::Counter::drop_not_ours);
  }
  if (never_a_source(packet.source.ipv4()) || interface.owns(packet.source) ||
      interface.is_broadcast(packet.source)) {
    return drop(packet, abi::Counter::drop_bad_source);
  }
  switch (check_ip_options({ip + kIpv4HeaderBytes, header_length - kIpv4HeaderBytes})) {
    case IpOptions::Fine:
      break;
    case IpOptions::SourceRoute:
      return drop(packet, abi::Counter::drop_ip_options);
    case IpOptions::Malformed:
      return drop(packet, abi::Counter::drop_ip_header);
  }
  packet.transport_offset = static_cast<uint16_t>(offset + header_length);
  packet.transport_bytes = total_length - header_length;
  return parse_ipv4_payload(frame, ip, packet, segment);
}

}  // namespace

PacketKind parse_frame(const Frame& frame, const Interface& interface, Packet& packet,
                       Segment& segment) {
  if (frame.length < kEthernetBytes) return drop(packet, abi::Counter::drop_runt);
  std::memcpy(packet.link_destination.bytes.data(), frame.data, 6);
  std::memcpy(packet.link_source.bytes.data(), frame.data + 6, 6);
  uint16_t ethertype = load_be16(frame.data + 12);
  uint32_t offset = kEthernetBytes;
  uint32_t vlan = 0;
  if (ethertype == kEthertypeVlan) {
    offset += kVlanTagBytes;
    if (frame.length < offset) return drop(packet, abi::Counter::drop_runt);
    // IEEE 802.1Q 9.6: VLAN 0 carries a priority alone and is as good as no tag.
    vlan = load_be16(frame.data + 14) & 0x0fffU;
    ethertype = load_be16(frame.data + 16);
  }
  if (vlan != interface.vlan) return drop(packet, abi::Counter::drop_vlan);
  if (packet.link_source.is_multicast()) return drop(packet, abi::Counter::drop_bad_source);
  if (!packet.link_destination.is_multicast() && !(packet.link_destination == interface.mac)) {
    return drop(packet, abi::Counter::drop_not_ours);
  }
  packet.network_offset = static_cast<uint16_t>(offset);
  packet.fragmented = false;
  packet.ethertype = ethertype;
  switch (ethertype) {  // over a number from the wire, so with a default
    case kEthertypeArp:
      return PacketKind::Neighbor;
    case kEthertypeIpv4:
      return parse_ipv4(frame, interface, packet, segment);
    case kEthertypeIpv6:
      return parse_ipv6(frame, interface, packet, segment);
    default:
      return drop(packet, abi::Counter::drop_ethertype);
  }
}

Sum sum_transport(const Frame& frame, const Packet& packet) {
  uint32_t left = packet.transport_bytes;
  const uint32_t first = std::min(frame.length - packet.transport_offset, left);
  Sum sum = checksum_add(frame.data + packet.transport_offset, first);
  left -= first;
  for (uint16_t i = 0; i < frame.more_count && left > 0; ++i) {
    const uint32_t run = std::min(frame.more[i].length, left);
    sum =
        checksum_combine(sum, checksum_add(frame.more[i].data, run), packet.transport_bytes - left);
    left -= run;
  }
  return sum;
}

}  // namespace sluice::net
