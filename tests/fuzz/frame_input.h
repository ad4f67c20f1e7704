// What the targets of the network layer share: the fuzzer's bytes as numbers, two hosts, and the
// checksums that stand between random bytes and the code behind them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "abi/assert.h"
#include "net/interface.h"
#include "net/ipv6.h"
#include "net/wire.h"

namespace sluice::fuzz {

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  bool empty() const { return left_ == 0; }
  uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  uint16_t half() {
    const uint32_t high = byte();
    return static_cast<uint16_t>(high << 8 | byte());
  }
  // At most `most` of what is left.
  std::vector<uint8_t> bytes(size_t most) {
    const size_t length = std::min(most, left_);
    std::vector<uint8_t> taken(data_, data_ + length);
    data_ += length;
    left_ -= length;
    return taken;
  }

 private:
  const uint8_t* data_;
  size_t left_;
};

inline constexpr net::Mac kOurMac{{0x02, 0, 0, 0, 0, 0x01}};
inline constexpr net::Mac kPeerMac{{0x02, 0, 0, 0, 0, 0x02}};
inline constexpr abi::IpAddress kOur4 = abi::IpAddress::from_ipv4(0x0a63010a);   // 10.99.1.10
inline constexpr abi::IpAddress kPeer4 = abi::IpAddress::from_ipv4(0x0a630102);  // 10.99.1.2
inline constexpr abi::IpAddress kOur6{{0xfd, 0, 0, 0x99, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10}};
inline constexpr abi::IpAddress kPeer6{{0xfd, 0, 0, 0x99, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};

inline net::Interface host(const net::Mac& mac, const abi::IpAddress& ipv4,
                           const abi::IpAddress& ipv6, uint16_t vlan) {
  net::Interface interface;
  interface.mac = mac;
  interface.vlan = vlan;
  interface.mtu = 9000;
  SLUICE_ASSERT(interface.add_address({ipv4, 24}) && interface.add_address({ipv6, 64}));
  return interface;
}
inline net::Interface us(uint16_t vlan = 0) { return host(kOurMac, kOur4, kOur6, vlan); }
inline net::Interface peer(uint16_t vlan = 0) { return host(kPeerMac, kPeer4, kPeer6, vlan); }

inline void store_checksum(uint8_t* field, net::Sum sum) {
  const uint16_t value = net::checksum_finish(sum);
  std::memcpy(field, &value, 2);
}

inline void repair_ipv4(uint8_t* ip, size_t size) {
  if (size < net::kIpv4HeaderBytes) return;
  const size_t header = (ip[0] & 0x0fU) * 4;
  const size_t total = net::load_be16(ip + 2);
  if (header < net::kIpv4HeaderBytes || header > size) return;
  std::memset(ip + 10, 0, 2);
  store_checksum(ip + 10, net::checksum_add(ip, header));
  if (ip[9] != net::kProtocolIcmp || total > size || total < header + 4) return;
  std::memset(ip + header + 2, 0, 2);
  store_checksum(ip + header + 2, net::checksum_add(ip + header, total - header));
}

inline void repair_ipv6(uint8_t* ip, size_t size) {
  if (size < net::kIpv6HeaderBytes) return;
  const size_t payload = net::load_be16(ip + 4);
  if (payload > size - net::kIpv6HeaderBytes) return;
  net::HeaderWalk walk;
  walk.next_header = ip[6];
  const net::WalkEnd end = net::walk_headers({ip + net::kIpv6HeaderBytes, payload}, walk);
  if (end != net::WalkEnd::Upper || walk.next_header != net::kProtocolIcmpv6) return;
  const size_t length = payload - walk.offset;
  if (length < 4) return;
  uint8_t* icmp = ip + net::kIpv6HeaderBytes + walk.offset;
  std::memset(icmp + 2, 0, 2);
  const auto pseudo = net::pseudo_header(ip, net::kProtocolIcmpv6, static_cast<uint32_t>(length));
  store_checksum(icmp + 2, pseudo + net::checksum_add(icmp, length));
}

// Completes the checksums of an IPv4 header, of ICMP and of ICMPv6, where there are any.
inline void repair_checksums(std::vector<uint8_t>& frame) {
  if (frame.size() < net::kEthernetBytes) return;
  size_t offset = net::kEthernetBytes;
  uint16_t ethertype = net::load_be16(frame.data() + 12);
  if (ethertype == net::kEthertypeVlan && frame.size() >= offset + net::kVlanTagBytes) {
    ethertype = net::load_be16(frame.data() + 16);
    offset += net::kVlanTagBytes;
  }
  if (ethertype == net::kEthertypeIpv4) repair_ipv4(frame.data() + offset, frame.size() - offset);
  if (ethertype == net::kEthertypeIpv6) repair_ipv6(frame.data() + offset, frame.size() - offset);
}

}  // namespace sluice::fuzz
