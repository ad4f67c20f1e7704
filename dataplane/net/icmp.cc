// ICMP echo.
//
// Job: answer pings to our addresses, so that operators and health checks see the service, at a
// bounded cost. Limits: kIcmpRepliesPerSecond with bursts of kIcmpBurst; a request in one piece
// of memory; other types are dropped and counted. Data flow: the reply is the request with
// addresses exchanged and type 0; the checksums are made anew.
#include "net/icmp.h"

#include <cstring>

namespace sluice::net {
namespace {

constexpr uint8_t kEchoReply = 0, kEchoRequest = 8;
constexpr uint32_t kIcmpHeaderBytes = 8;

uint32_t dropped(abi::Counters& counters) {
  counters.add(abi::Counter::drop_icmp);
  return 0;
}

}  // namespace

uint32_t IcmpResponder::reply(const Frame& frame, const Packet& packet, const Interface& interface,
                              uint64_t now_us) {
  const uint32_t end = packet.transport_offset + packet.transport_bytes;
  if (packet.transport_bytes < kIcmpHeaderBytes || end > frame.length) return dropped(counters_);
  uint8_t* icmp = frame.data + packet.transport_offset;
  if (icmp[0] != kEchoRequest || icmp[1] != 0) return dropped(counters_);
  if (checksum_fold(checksum_add(icmp, packet.transport_bytes)) != 0xffff) {
    return dropped(counters_);
  }
  if (!replies_.take(now_us)) {
    counters_.add(abi::Counter::icmp_rate_limited);
    return 0;
  }
  icmp[0] = kEchoReply;
  std::memset(icmp + 2, 0, 2);
  const uint16_t icmp_sum = checksum_finish(checksum_add(icmp, packet.transport_bytes));
  std::memcpy(icmp + 2, &icmp_sum, 2);

  // RFC 1122 3.2.2.6: the reply's source is the address that was asked. The options of the
  // request's header stay as they are; a source route has been refused before.
  uint8_t* ip = frame.data + packet.network_offset;
  uint8_t source[4];
  std::memcpy(source, ip + 12, 4);
  std::memcpy(ip + 12, ip + 16, 4);
  std::memcpy(ip + 16, source, 4);
  ip[8] = kTimeToLive;
  std::memset(ip + 10, 0, 2);
  const uint32_t header_length = packet.transport_offset - uint32_t{packet.network_offset};
  const uint16_t ip_sum = checksum_finish(checksum_add(ip, header_length));
  std::memcpy(ip + 10, &ip_sum, 2);

  std::memcpy(frame.data, packet.link_source.bytes.data(), 6);
  std::memcpy(frame.data + 6, interface.mac.bytes.data(), 6);
  counters_.add(abi::Counter::icmp_echo_replies);
  return end;
}

}  // namespace sluice::net
