// ARP for Ethernet and IPv4. Anything else that the format allows (other hardware, other
// protocols, other lengths) is refused: nobody on an Ethernet with IPv4 sends it.
#include "net/arp.h"

#include <algorithm>
#include <cstring>

#include "net/wire.h"

namespace sluice::net {
namespace {

constexpr uint16_t kHardwareEthernet = 1;

}  // namespace

bool parse_arp(std::span<const uint8_t> packet, Arp& arp) {
  if (packet.size() < kArpBytes) return false;
  const uint8_t* at = packet.data();
  if (load_be16(at) != kHardwareEthernet || load_be16(at + 2) != kEthertypeIpv4 || at[4] != 6 ||
      at[5] != 4) {
    return false;
  }
  const uint16_t operation = load_be16(at + 6);
  if (operation != static_cast<uint16_t>(ArpOperation::Request) &&
      operation != static_cast<uint16_t>(ArpOperation::Reply)) {
    return false;
  }
  arp.operation = static_cast<ArpOperation>(operation);
  std::memcpy(arp.sender_mac.bytes.data(), at + 8, 6);
  std::memcpy(arp.target_mac.bytes.data(), at + 18, 6);
  arp.sender = abi::IpAddress::from_ipv4(load_be32(at + 14));
  arp.target = abi::IpAddress::from_ipv4(load_be32(at + 24));
  return true;
}

uint32_t build_arp(const Arp& arp, const Interface& interface, const Mac& destination,
                   std::span<uint8_t> out) {
  if (out.size() < kNeighborFrameBytes) return 0;
  const uint32_t link = build_ethernet(interface, destination, kEthertypeArp, out.data());
  uint8_t* at = out.data() + link;
  store_be16(at, kHardwareEthernet);
  store_be16(at + 2, kEthertypeIpv4);
  at[4] = 6;
  at[5] = 4;
  store_be16(at + 6, static_cast<uint16_t>(arp.operation));
  std::memcpy(at + 8, arp.sender_mac.bytes.data(), 6);
  store_be32(at + 14, arp.sender.ipv4());
  std::memcpy(at + 18, arp.target_mac.bytes.data(), 6);
  store_be32(at + 24, arp.target.ipv4());
  const uint32_t used = link + kArpBytes;
  const uint32_t length = std::max(used, kMinFrameBytes);
  std::memset(out.data() + used, 0, length - used);
  return length;
}

}  // namespace sluice::net
