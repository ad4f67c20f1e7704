// From bytes to Segment.
//
// Job: decide for each received frame what it is, checking everything before it is used, and fill
// in a Segment for TCP. Limits: one VLAN tag; all headers in the frame's first piece; fragments
// and source routes are refused; a frame is dropped for the first reason found, from the outside
// in, so the counters tell how far it came.
// Data flow: parse_frame walks Ethernet -> (tag) -> parse_ipv4 -> parse_tcp -> parse_options;
// `Packet` gets what ARP and ICMP need, `Segment` what TCP needs. Payload slices point into the
// frame; Ethernet's padding is cut off by the IP length.
#include <algorithm>
#include <cstring>

#include "net/wire.h"

namespace sluice::net {
namespace {

PacketKind drop(Packet& packet, abi::Counter reason) {
  packet.drop = reason;
  return PacketKind::Drop;
}

uint32_t total_bytes(const Frame& frame) {
  uint32_t total = frame.length;
  for (uint16_t i = 0; i < frame.more_count; ++i) total += frame.more[i].length;
  return total;
}

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

bool parse_sack(std::span<const uint8_t> body, TcpOptions& options) {
  if (body.empty() || body.size() % 8 != 0 || body.size() / 8 > options.sack.size()) return false;
  options.sack_count = static_cast<uint8_t>(body.size() / 8);
  for (uint8_t i = 0; i < options.sack_count; ++i) {
    options.sack[i].start = load_be32(body.data() + 8U * i);
    options.sack[i].end = load_be32(body.data() + 8U * i + 4);
  }
  return true;
}

// One option's body, behind kind and length. False: its length is not the one its kind has.
bool parse_option(uint8_t kind, std::span<const uint8_t> body, bool syn, TcpOptions& options) {
  constexpr uint8_t kMss = 2, kWindowScale = 3, kSackPermitted = 4, kSack = 5, kTimestamps = 8;
  switch (kind) {  // over a byte from the wire, so with a default
    case kMss:
      if (body.size() != 2) return false;
      if (syn) options.mss = load_be16(body.data());
      return true;
    case kWindowScale:
      if (body.size() != 1) return false;
      if (syn) {
        options.has_window_scale = true;
        // RFC 7323 2.3: a shift over 14 counts as 14.
        options.window_scale = body[0] > 14 ? uint8_t{14} : body[0];
      }
      return true;
    case kSackPermitted:
      if (!body.empty()) return false;
      if (syn) options.sack_permitted = true;
      return true;
    case kSack:
      return parse_sack(body, options);
    case kTimestamps:
      if (body.size() != 8) return false;
      options.has_timestamps = true;
      options.tsval = load_be32(body.data());
      options.tsecr = load_be32(body.data() + 4);
      return true;
    default:
      return true;
  }
}

// RFC 9293 3.2 (MUST-7): illegal lengths are to be expected. A segment that has one is dropped
// whole: whoever sends it does not speak TCP.
bool parse_options(std::span<const uint8_t> bytes, bool syn, TcpOptions& options) {
  constexpr uint8_t kEnd = 0, kNop = 1;
  size_t at = 0;
  while (at < bytes.size()) {
    const uint8_t kind = bytes[at];
    if (kind == kEnd) return true;
    if (kind == kNop) {
      ++at;
      continue;
    }
    if (at + 2 > bytes.size()) return false;
    const size_t length = bytes[at + 1];
    if (length < 2 || at + length > bytes.size()) return false;
    if (!parse_option(kind, bytes.subspan(at + 2, length - 2), syn, options)) return false;
    at += length;
  }
  return true;
}

// Collects the pieces of [offset, offset + length) of the frame.
bool collect(const Frame& frame, uint32_t offset, uint32_t length, Chain& chain) {
  chain.clear();
  const uint32_t first = std::min(frame.length - offset, length);
  if (first > 0) chain.append({frame.data + offset, first, frame.owner});
  uint32_t left = length - first;
  for (uint16_t i = 0; i < frame.more_count && left > 0; ++i) {
    Slice piece = frame.more[i];
    piece.length = std::min(piece.length, left);
    left -= piece.length;
    if (piece.length > 0 && !chain.append(piece)) return false;
  }
  return left == 0;
}

// RFC 9293 3.1: over a pseudo header (addresses, protocol, length), the header and the payload.
bool tcp_checksum_holds(const Frame& frame, const Packet& packet, const uint8_t* ip,
                        uint32_t header_length, const Chain& payload) {
  uint8_t rest[4] = {0, kProtocolTcp, 0, 0};
  store_be16(rest + 2, packet.transport_bytes);
  Sum sum = checksum_add(ip + 12, 8) + checksum_add(rest, sizeof rest);
  sum += checksum_add(frame.data + packet.transport_offset, header_length);
  sum += checksum_fold(sum_chain(payload, 0, payload.length));
  return checksum_fold(sum) == 0xffff;
}

PacketKind parse_tcp(const Frame& frame, const uint8_t* ip, Packet& packet, Segment& segment) {
  const uint8_t* tcp = frame.data + packet.transport_offset;
  const uint32_t in_first = frame.length - packet.transport_offset;
  if (packet.transport_bytes < kTcpHeaderBytes || in_first < kTcpHeaderBytes) {
    return drop(packet, abi::Counter::drop_tcp_header);
  }
  const uint32_t header_length = (tcp[12] >> 4) * 4U;
  if (header_length < kTcpHeaderBytes || header_length > packet.transport_bytes ||
      header_length > in_first) {
    return drop(packet, abi::Counter::drop_tcp_header);
  }
  if (!collect(frame, packet.transport_offset + header_length,
               packet.transport_bytes - header_length, segment.payload)) {
    return drop(packet, abi::Counter::drop_runt);
  }
  if (!frame.checksum_ok &&
      !tcp_checksum_holds(frame, packet, ip, header_length, segment.payload)) {
    return drop(packet, abi::Counter::drop_tcp_checksum);
  }
  segment.tuple.local = {packet.destination, load_be16(tcp + 2)};
  segment.tuple.remote = {packet.source, load_be16(tcp)};
  segment.seq = load_be32(tcp + 4);
  segment.ack = load_be32(tcp + 8);
  segment.flags = tcp[13];
  segment.window = load_be16(tcp + 14);
  segment.ecn = ip[1] & 3;
  segment.cut_bytes = 0;
  segment.options = TcpOptions{};
  const std::span<const uint8_t> options(tcp + kTcpHeaderBytes, header_length - kTcpHeaderBytes);
  if (segment.tuple.local.port == 0 || segment.tuple.remote.port == 0 ||
      !parse_options(options, (segment.flags & kSyn) != 0, segment.options)) {
    return drop(packet, abi::Counter::drop_tcp_header);
  }
  return PacketKind::Tcp;
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
  constexpr uint32_t kMoreFragmentsAndOffset = 0x3fff;
  if ((load_be16(ip + 6) & kMoreFragmentsAndOffset) != 0) {
    return drop(packet, abi::Counter::drop_ip_fragment);
  }
  packet.transport_offset = static_cast<uint16_t>(offset + header_length);
  packet.transport_bytes = total_length - header_length;
  if (ip[9] == kProtocolTcp) return parse_tcp(frame, ip, packet, segment);
  if (ip[9] == kProtocolIcmp) return PacketKind::Icmp;
  return drop(packet, abi::Counter::drop_protocol);
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
  switch (ethertype) {  // over a number from the wire, so with a default
    case kEthertypeArp:
      return PacketKind::Arp;
    case kEthertypeIpv4:
      return parse_ipv4(frame, interface, packet, segment);
    default:
      return drop(packet, abi::Counter::drop_ethertype);
  }
}

}  // namespace sluice::net
