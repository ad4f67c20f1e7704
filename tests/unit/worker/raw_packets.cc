#include "raw_packets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "net/checksum.h"
#include "net/wire.h"
#include "scene.h"

namespace sluice::dataplane::test {
namespace {

constexpr uint32_t kIpBytes = net::kIpv4HeaderBytes;

uint32_t address_of(const char* text) {
  abi::IpAddress address;
  if (!abi::parse_ip_address(text, address)) std::abort();
  return address.ipv4();
}

void write_ip(uint8_t* ip, uint32_t bytes, uint8_t protocol, bool from_service) {
  ip[0] = 0x45;
  net::store_be16(ip + 2, bytes);
  ip[8] = 64;
  ip[9] = protocol;
  net::store_be32(ip + 12, address_of(from_service ? kService4 : kKernel4));
  net::store_be32(ip + 16, address_of(from_service ? kKernel4 : kService4));
  const uint16_t sum = net::checksum_finish(net::checksum_add(ip, kIpBytes));
  std::memcpy(ip + 10, &sum, 2);
}

// A packet with its IP header, as it is.
bool send_raw(const std::vector<uint8_t>& packet) {
  const int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  inet_pton(AF_INET, kService4, &to.sin_addr);
  const ssize_t sent = sendto(raw, packet.data(), packet.size(), 0,
                              reinterpret_cast<const sockaddr*>(&to), sizeof to);
  close(raw);
  return sent == static_cast<ssize_t>(packet.size());
}

}  // namespace

bool send_fragmented_syn(uint16_t port) {
  constexpr uint32_t kTcpBytes = 60;  // header and some text
  constexpr uint32_t kFirstBytes = 40;
  std::vector<uint8_t> whole(kIpBytes + kTcpBytes, 0x55);
  std::fill_n(whole.begin(), kIpBytes + net::kTcpHeaderBytes, uint8_t{0});
  write_ip(whole.data(), kIpBytes + kTcpBytes, net::kProtocolTcp, false);
  uint8_t* tcp = whole.data() + kIpBytes;
  net::store_be16(tcp, port);
  net::store_be16(tcp + 2, kServicePort);
  net::store_be32(tcp + 4, port * 1000U);
  tcp[12] = 0x50;
  tcp[13] = net::kSyn;
  net::store_be16(tcp + 14, 1000);
  const uint16_t sum =
      net::checksum_finish(net::pseudo_header(whole.data(), net::kProtocolTcp, kTcpBytes) +
                           net::checksum_add(tcp, kTcpBytes));
  std::memcpy(tcp + 16, &sum, 2);
  const auto fragment = [&](uint32_t from, uint32_t to, bool more) {
    std::vector<uint8_t> packet(kIpBytes);
    packet.insert(packet.end(), tcp + from, tcp + to);
    net::store_be16(packet.data() + 4, port);
    net::store_be16(packet.data() + 6, from / 8 + (more ? 0x2000U : 0U));
    write_ip(packet.data(), kIpBytes + to - from, net::kProtocolTcp, false);
    return send_raw(packet);
  };
  return fragment(0, kFirstBytes, true) && fragment(kFirstBytes, kTcpBytes, false);
}

bool send_unreachable(uint16_t port) {
  constexpr uint32_t kQuotedBytes = kIpBytes + net::kTcpHeaderBytes;
  std::vector<uint8_t> packet(kIpBytes + net::kIcmpHeaderBytes + kQuotedBytes);
  uint8_t* icmp = packet.data() + kIpBytes;
  icmp[0] = 3;
  icmp[1] = 13;
  uint8_t* quoted = icmp + net::kIcmpHeaderBytes;
  write_ip(quoted, kQuotedBytes, net::kProtocolTcp, true);
  net::store_be16(quoted + kIpBytes, kServicePort);
  net::store_be16(quoted + kIpBytes + 2, port);
  quoted[kIpBytes + 12] = 0x50;
  const uint16_t sum =
      net::checksum_finish(net::checksum_add(icmp, net::kIcmpHeaderBytes + kQuotedBytes));
  std::memcpy(icmp + 2, &sum, 2);
  write_ip(packet.data(), static_cast<uint32_t>(packet.size()), net::kProtocolIcmp, false);
  return send_raw(packet);
}

}  // namespace sluice::dataplane::test
