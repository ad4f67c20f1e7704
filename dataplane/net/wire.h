// Bytes <-> Segment: Ethernet with at most one 802.1Q tag, IPv4 or IPv6, TCP; and what ICMP errors
// say of a Segment. Pure functions over memory that the caller owns; nothing is allocated and
// nothing is kept.
//
// Nothing of a frame is believed before it was checked: every length is compared with what is
// there, and a frame that fails is dropped for one named reason (abi/counters.def, drop_*).
#pragma once

#include <cstdint>
#include <span>

#include "abi/counters.h"
#include "net/checksum.h"
#include "net/frame.h"
#include "net/icmp_error.h"
#include "net/interface.h"
#include "net/segment.h"

namespace sluice::net {

inline constexpr uint16_t kEthertypeIpv4 = 0x0800;
inline constexpr uint16_t kEthertypeArp = 0x0806;
inline constexpr uint16_t kEthertypeVlan = 0x8100;
inline constexpr uint16_t kEthertypeIpv6 = 0x86dd;
inline constexpr uint8_t kProtocolIcmp = 1;
inline constexpr uint8_t kProtocolTcp = 6;
inline constexpr uint8_t kProtocolUdp = 17;
inline constexpr uint8_t kProtocolIcmpv6 = 58;

enum class PacketKind : uint8_t {
  Tcp,        // `segment` is filled in
  Neighbor,   // ARP or neighbour discovery: for NeighborTable::input
  Icmp,       // an echo request of either family: for IcmpResponder::reply
  Drop,       // `drop` says why
  IcmpError,  // `error` is filled in: for the worker that owns error.tuple
  Fragment,   // `fragment` is filled in: for FragmentTable::add
};

// Where one fragment of an IP packet belongs (RFC 791 3.2, RFC 8200 4.5).
struct FragmentInfo {
  uint32_t id = 0;
  uint16_t offset_bytes = 0;
  bool more = false;     // not the last one
  uint8_t protocol = 0;  // IPv4 only: of the packet; IPv6 tells its fragments apart without it
};

// What the lower layers of a frame say. Offsets count from Frame::data.
struct Packet {
  abi::Counter drop = abi::Counter::drop_runt;  // when the kind is Drop
  uint8_t time_to_live = 0;                     // IPv6: hop limit
  uint8_t ecn = 0;
  bool fragmented = false;        // came as a fragment, if only as an atomic one
  uint16_t ethertype = 0;         // behind the tag
  uint16_t network_offset = 0;    // of the IP header or the ARP packet
  uint16_t transport_offset = 0;  // of the TCP or ICMP header; of a fragment's share of the packet
  uint32_t transport_bytes = 0;   // header and payload, without Ethernet's padding
  Mac link_source;
  Mac link_destination;
  abi::IpAddress source;       // IP only
  abi::IpAddress destination;  // IP only
  FragmentInfo fragment;       // when the kind is Fragment
  IcmpError error;             // when the kind is IcmpError
};

// Reads one frame that came in on `interface`. TCP and IP checksums are verified unless
// frame.checksum_ok, ICMP's always. For Tcp, `segment` is complete; its payload slices point into
// the frame and name its owners, without a reference of their own.
PacketKind parse_frame(const Frame& frame, const Interface& interface, Packet& packet,
                       Segment& segment);

// The options of a TCP header. False: one of them has a length that its kind does not have.
bool parse_tcp_options(std::span<const uint8_t> bytes, bool syn, TcpOptions& options);

// The part of a segment's payload that one packet carries.
struct Cut {
  uint32_t offset = 0;
  uint32_t length = 0;
  bool first = true;  // CWR goes on the first packet only (RFC 3168 6.1.2)
  bool last = true;   // PSH and FIN go on the last packet only
};

// Who completes the TCP checksum of a packet that build_headers writes.
enum class ChecksumBy : uint8_t {
  Software,     // complete, with the payload's sum as handed in; IP checksum complete
  Hardware,     // TCP field: pseudo header with the length; IPv4 checksum field 0
  HardwareTso,  // TCP field: pseudo header without the length; IPv4 checksum field 0
};

// Bytes of Ethernet, tag, IP and TCP header with options for this segment; at most
// kMaxHeaderBytes. 0 when the addresses are of a family that cannot be sent.
uint32_t header_bytes(const Segment& segment, const Interface& interface);
// Of these the IP header alone, without extension headers: 20 or 40.
uint32_t ip_header_bytes(const Segment& segment);
// Payload bytes that fit into one packet: what the MTU leaves, or segment.cut_bytes when less.
uint32_t max_payload_bytes(const Segment& segment, const Interface& interface);

struct HeaderRequest {
  const Segment& segment;
  const Interface& interface;
  const Mac& destination;
  Cut cut;
  ChecksumBy checksum = ChecksumBy::Software;
  Sum payload_sum = 0;  // of the cut's payload; ChecksumBy::Software only
};
// Writes the headers to `out` (header_bytes() of room) and returns their length, 0 as there.
uint32_t build_headers(const HeaderRequest& request, uint8_t* out);

// One whole packet in contiguous memory: the headers, and the payload copied while it is summed.
// Returns the frame's length, or 0 when `out` is too small or the family cannot be sent.
uint32_t build_frame(const Segment& segment, const Cut& cut, const Interface& interface,
                     const Mac& destination, std::span<uint8_t> out);

// Copies `length` bytes of the chain from `offset` on; returns their sum.
Sum copy_chain(const Chain& chain, uint32_t offset, uint32_t length, uint8_t* out);
// Their sum alone.
Sum sum_chain(const Chain& chain, uint32_t offset, uint32_t length);

// The sum of the pseudo header in front of `length` bytes of `protocol`, for the IP header at `ip`
// (RFC 9293 3.1, RFC 8200 8.1).
Sum pseudo_header(const uint8_t* ip, uint8_t protocol, uint32_t length);

// Bytes of Ethernet header and tag.
uint32_t link_bytes(const Interface& interface);
// Writes these and returns how many.
uint32_t build_ethernet(const Interface& interface, const Mac& destination, uint16_t ethertype,
                        uint8_t* out);

inline uint16_t load_be16(const uint8_t* p) {
  return static_cast<uint16_t>(static_cast<uint32_t>(p[0]) << 8 | p[1]);
}
inline uint32_t load_be32(const uint8_t* p) {
  return static_cast<uint32_t>(p[0]) << 24 | static_cast<uint32_t>(p[1]) << 16 |
         static_cast<uint32_t>(p[2]) << 8 | p[3];
}
inline void store_be16(uint8_t* p, uint32_t value) {
  p[0] = static_cast<uint8_t>(value >> 8);
  p[1] = static_cast<uint8_t>(value);
}
inline void store_be32(uint8_t* p, uint32_t value) {
  store_be16(p, value >> 16);
  store_be16(p + 2, value);
}

}  // namespace sluice::net
