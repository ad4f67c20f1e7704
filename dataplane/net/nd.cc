// Neighbour discovery messages, from and to bytes.
//
// Job: RFC 4861's validation of what came in, and whole frames of what goes out. Limits: a message
// in one piece of memory; options are walked to their end, because one of length zero condemns the
// message (RFC 4861 4.6); only the link-layer address options of Ethernet's length are read.
// parse_frame has verified the checksum and the addresses' kinds.
#include "net/nd.h"

#include <cstring>

#include "net/ipv6.h"

namespace sluice::net {
namespace {

constexpr uint32_t kMessageBytes = 24;  // type, code, checksum, flags, target
constexpr uint32_t kLinkOptionBytes = 8;
constexpr uint8_t kSourceLinkAddress = 1, kTargetLinkAddress = 2;
constexpr uint8_t kSolicitedFlag = 0x40, kOverrideFlag = 0x20;

bool read_options(std::span<const uint8_t> options, uint8_t wanted, NdMessage& message) {
  while (!options.empty()) {
    if (options.size() < 2) return false;
    const uint32_t length = options[1] * 8U;
    if (length == 0 || length > options.size()) return false;
    if (options[0] == wanted && length == kLinkOptionBytes) {
      message.has_link_address = true;
      std::memcpy(message.link_address.bytes.data(), options.data() + 2, 6);
    }
    options = options.subspan(length);
  }
  return true;
}

// RFC 4861 7.1.1.
bool check_solicitation(const NdMessage& message) {
  if (!is_unspecified(message.source)) return true;
  return message.destination == solicited_node(message.target) && !message.has_link_address;
}

// RFC 4861 7.1.2: what is said to everybody answers nobody.
bool check_advertisement(const NdMessage& message) {
  return !is_multicast(message.destination) || !message.solicited;
}

// Fixed header of an ICMPv6 packet with `payload` bytes behind it.
void write_ipv6(const NdMessage& message, uint32_t payload, uint8_t next, uint8_t hop_limit,
                uint8_t* ip) {
  store_be32(ip, 6U << 28);
  store_be16(ip + 4, payload);
  ip[6] = next;
  ip[7] = hop_limit;
  std::memcpy(ip + 8, message.source.bytes.data(), 16);
  std::memcpy(ip + 24, message.destination.bytes.data(), 16);
}

void write_checksum(const uint8_t* ip, uint8_t* icmp, uint32_t length) {
  std::memset(icmp + 2, 0, 2);
  const uint16_t sum =
      checksum_finish(pseudo_header(ip, kProtocolIcmpv6, length) + checksum_add(icmp, length));
  std::memcpy(icmp + 2, &sum, 2);
}

}  // namespace

bool parse_nd(const Frame& frame, const Packet& packet, NdMessage& message) {
  if (packet.transport_offset + packet.transport_bytes > frame.length ||
      packet.transport_bytes < kIcmpHeaderBytes) {
    return false;
  }
  const std::span<const uint8_t> icmp(frame.data + packet.transport_offset, packet.transport_bytes);
  message = NdMessage{};
  message.type = static_cast<NdType>(icmp[0]);
  message.source = packet.source;
  message.destination = packet.destination;
  if (icmp[1] != 0) return false;
  if (message.type == NdType::ListenerQuery) {
    // RFC 3810 6.2: from a router of this link.
    return packet.time_to_live == 1 && is_link_local(packet.source) && icmp.size() >= kMessageBytes;
  }
  if (packet.time_to_live != kNdHopLimit || icmp.size() < kMessageBytes) return false;
  std::memcpy(message.target.bytes.data(), icmp.data() + 8, 16);
  if (never_on_the_wire(message.target)) return false;
  const bool solicitation = message.type == NdType::Solicitation;
  if (!solicitation && message.type != NdType::Advertisement) return false;
  message.solicited = !solicitation && (icmp[4] & kSolicitedFlag) != 0;
  message.override_ = !solicitation && (icmp[4] & kOverrideFlag) != 0;
  if (!read_options(icmp.subspan(kMessageBytes),
                    solicitation ? kSourceLinkAddress : kTargetLinkAddress, message)) {
    return false;
  }
  if (message.has_link_address &&
      (message.link_address.is_multicast() || message.link_address.is_zero())) {
    return false;
  }
  return solicitation ? check_solicitation(message) : check_advertisement(message);
}

uint32_t build_nd(const NdMessage& message, const Interface& interface, const Mac& destination,
                  std::span<uint8_t> out) {
  const uint32_t length = kMessageBytes + (message.has_link_address ? kLinkOptionBytes : 0);
  const uint32_t headers = link_bytes(interface) + kIpv6HeaderBytes;
  if (out.size() < headers + length) return 0;
  uint8_t* ip = out.data() + build_ethernet(interface, destination, kEthertypeIpv6, out.data());
  write_ipv6(message, length, kProtocolIcmpv6, kNdHopLimit, ip);
  uint8_t* icmp = ip + kIpv6HeaderBytes;
  std::memset(icmp, 0, length);
  const bool solicitation = message.type == NdType::Solicitation;
  icmp[0] = static_cast<uint8_t>(message.type);
  if (message.solicited) icmp[4] |= kSolicitedFlag;
  if (message.override_) icmp[4] |= kOverrideFlag;
  std::memcpy(icmp + 8, message.target.bytes.data(), 16);
  if (message.has_link_address) {
    icmp[kMessageBytes] = solicitation ? kSourceLinkAddress : kTargetLinkAddress;
    icmp[kMessageBytes + 1] = 1;
    std::memcpy(icmp + kMessageBytes + 2, message.link_address.bytes.data(), 6);
  }
  write_checksum(ip, icmp, length);
  return headers + length;
}

uint32_t build_mld_report(const abi::IpAddress& source, const abi::IpAddress& group,
                          const Interface& interface, std::span<uint8_t> out) {
  constexpr uint8_t kReport = 143, kChangeToExclude = 4, kRouterAlert = 5;
  constexpr uint32_t kHopByHopBytes = 8, kReportBytes = 8 + 20;
  const uint32_t headers = link_bytes(interface) + kIpv6HeaderBytes + kHopByHopBytes;
  if (out.size() < headers + kReportBytes) return 0;
  NdMessage message;
  message.source = source;
  message.destination = kAllMldRouters;
  uint8_t* ip = out.data() + build_ethernet(interface, multicast_mac(kAllMldRouters),
                                            kEthertypeIpv6, out.data());
  write_ipv6(message, kHopByHopBytes + kReportBytes, kNextHopByHop, 1, ip);
  uint8_t* options = ip + kIpv6HeaderBytes;
  std::memset(options, 0, kHopByHopBytes + kReportBytes);
  // RFC 3810 5: a router alert for MLD (RFC 2711), padded to eight bytes.
  options[0] = kProtocolIcmpv6;
  options[2] = kRouterAlert;
  options[3] = 2;
  options[6] = 1;
  uint8_t* icmp = options + kHopByHopBytes;
  icmp[0] = kReport;
  icmp[7] = 1;                 // records
  icmp[8] = kChangeToExclude;  // "everything that is sent to this group", RFC 3810 5.2.12
  std::memcpy(icmp + 12, group.bytes.data(), 16);
  write_checksum(ip, icmp, kReportBytes);
  return headers + kReportBytes;
}

}  // namespace sluice::net
