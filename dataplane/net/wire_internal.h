// What the parts of parse_frame share. Included by net/wire_parse*.cc alone.
//
// Each takes a frame whose outer layers were checked and are described in `packet`. `ip` is the
// fixed IP header; packet.transport_offset lies within the frame's first piece, and
// packet.transport_bytes within the frame.
#pragma once

#include "net/wire.h"

namespace sluice::net {

inline PacketKind drop(Packet& packet, abi::Counter reason) {
  packet.drop = reason;
  return PacketKind::Drop;
}

inline uint32_t total_bytes(const Frame& frame) {
  uint32_t total = frame.length;
  for (uint16_t i = 0; i < frame.more_count; ++i) total += frame.more[i].length;
  return total;
}

// The sum of the frame's bytes from packet.transport_offset on, over its pieces.
Sum sum_transport(const Frame& frame, const Packet& packet);

// wire_parse_tcp.cc
PacketKind parse_tcp(const Frame& frame, const uint8_t* ip, Packet& packet, Segment& segment);
// Whether a first fragment whose share of the packet lies at `bytes` holds the whole TCP header
// (RFC 1858 3.2.1, RFC 7112 5).
bool holds_tcp_header(std::span<const uint8_t> bytes);

// wire_parse_ipv6.cc
PacketKind parse_ipv6(const Frame& frame, const Interface& interface, Packet& packet,
                      Segment& segment);

// wire_parse_icmp.cc
PacketKind parse_icmp(const Frame& frame, Packet& packet);
PacketKind parse_icmpv6(const Frame& frame, const uint8_t* ip, const Interface& interface,
                        Packet& packet);

}  // namespace sluice::net
