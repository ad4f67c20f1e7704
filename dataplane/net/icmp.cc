// Echo replies.
//
// Job: answer pings to our addresses, so that operators and health checks see the service, at a
// bounded cost. Limits: kIcmpRepliesPerSecond with bursts of kIcmpBurst; a request in one piece of
// memory, not in fragments, so that the reply is no longer than a packet.
// Data flow: the reply is the request with addresses exchanged, in the same memory: the message
// moves up to where it stands behind plain headers, because options, extension headers and a
// priority tag were the asker's and are not ours to repeat. Checksums are made anew.
#include "net/icmp.h"

#include <cstring>

namespace sluice::net {
namespace {

constexpr uint8_t kEchoReply = 0, kEchoReplyV6 = 129;

// RFC 1122 3.2.2.6: the reply's source is the address that was asked. Whether it may be cut on its
// way, and the identification that goes with that, are the request's.
void write_ipv4(const Packet& packet, uint32_t identification, uint8_t* ip) {
  std::memset(ip, 0, kIpv4HeaderBytes);
  ip[0] = 0x45;
  store_be16(ip + 2, kIpv4HeaderBytes + packet.transport_bytes);
  store_be32(ip + 4, identification & 0xffff4000U);
  ip[8] = kTimeToLive;
  ip[9] = kProtocolIcmp;
  store_be32(ip + 12, packet.destination.ipv4());
  store_be32(ip + 16, packet.source.ipv4());
  const uint16_t sum = checksum_finish(checksum_add(ip, kIpv4HeaderBytes));
  std::memcpy(ip + 10, &sum, 2);
}

void write_ipv6(const Packet& packet, uint8_t* ip) {
  store_be32(ip, 6U << 28);
  store_be16(ip + 4, packet.transport_bytes);
  ip[6] = kProtocolIcmpv6;
  ip[7] = kTimeToLive;
  std::memcpy(ip + 8, packet.destination.bytes.data(), 16);
  std::memcpy(ip + 24, packet.source.bytes.data(), 16);
}

}  // namespace

uint32_t IcmpResponder::reply(const Frame& frame, const Packet& packet, const Interface& interface,
                              uint64_t now_us) {
  const bool ipv4 = packet.source.is_ipv4();
  const uint32_t ip_bytes = ipv4 ? kIpv4HeaderBytes : kIpv6HeaderBytes;
  const uint32_t headers = link_bytes(interface) + ip_bytes;
  if (packet.transport_offset + packet.transport_bytes > frame.length ||
      packet.transport_bytes < kIcmpHeaderBytes || headers > packet.transport_offset) {
    counters_.add(abi::Counter::drop_icmp);
    return 0;
  }
  if (!replies_.take(now_us)) {
    counters_.add(abi::Counter::icmp_rate_limited);
    return 0;
  }
  const uint32_t identification = load_be32(frame.data + packet.network_offset + 4);
  uint8_t* ip = frame.data + build_ethernet(interface, packet.link_source,
                                            ipv4 ? kEthertypeIpv4 : kEthertypeIpv6, frame.data);
  uint8_t* icmp = ip + ip_bytes;
  std::memmove(icmp, frame.data + packet.transport_offset, packet.transport_bytes);
  icmp[0] = ipv4 ? kEchoReply : kEchoReplyV6;
  std::memset(icmp + 2, 0, 2);
  Sum sum = checksum_add(icmp, packet.transport_bytes);
  if (ipv4) {
    write_ipv4(packet, identification, ip);
  } else {
    write_ipv6(packet, ip);
    sum += pseudo_header(ip, kProtocolIcmpv6, packet.transport_bytes);
  }
  const uint16_t field = checksum_finish(sum);
  std::memcpy(icmp + 2, &field, 2);
  counters_.add(abi::Counter::icmp_echo_replies);
  return headers + packet.transport_bytes;
}

}  // namespace sluice::net
