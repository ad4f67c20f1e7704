// Address arithmetic of an interface. Both families are sixteen bytes; an IPv4 prefix counts from
// byte 12 of the mapped address. The few addresses of a port are searched in order. The link-local
// address is computed when somebody asks for one: only neighbour discovery does.
#include "net/interface.h"

#include "net/ipv6.h"

namespace sluice::net {

bool same_prefix(const abi::IpAddress& a, const abi::IpAddress& b, uint8_t bits) {
  if (a.is_ipv4() != b.is_ipv4()) return false;
  const uint32_t first = a.is_ipv4() ? 12 : 0;
  const uint32_t whole = bits / 8U;
  const uint32_t rest = bits % 8U;
  if (first + whole + (rest != 0 ? 1U : 0U) > a.bytes.size()) return false;
  if (std::memcmp(a.bytes.data() + first, b.bytes.data() + first, whole) != 0) return false;
  if (rest == 0) return true;
  const uint32_t mask = 0xff00U >> rest & 0xffU;
  return ((static_cast<uint32_t>(a.bytes[first + whole]) ^ b.bytes[first + whole]) & mask) == 0;
}

bool Interface::add_address(const InterfaceAddress& address) {
  if (address_count == addresses.size()) return false;
  if (address.prefix_bits > (address.address.is_ipv4() ? 32 : 128)) return false;
  addresses[address_count++] = address;
  return true;
}

bool Interface::speaks_ipv6() const {
  for (uint8_t i = 0; i < address_count; ++i) {
    if (!addresses[i].address.is_ipv4()) return true;
  }
  return false;
}

abi::IpAddress Interface::link_local() const {
  for (uint8_t i = 0; i < address_count; ++i) {
    if (is_link_local(addresses[i].address)) return addresses[i].address;
  }
  abi::IpAddress address{{0xfe, 0x80}};
  uint8_t* id = address.bytes.data() + 8;
  std::memcpy(id, mac.bytes.data(), 3);
  id[0] ^= 2;  // RFC 4291 App. A: the universal/local bit is inverted
  id[3] = 0xff;
  id[4] = 0xfe;
  std::memcpy(id + 5, mac.bytes.data() + 3, 3);
  return address;
}

bool Interface::owns(const abi::IpAddress& address) const {
  for (uint8_t i = 0; i < address_count; ++i) {
    if (addresses[i].address == address) return true;
  }
  return is_link_local(address) && speaks_ipv6() && address == link_local();
}

bool Interface::listens_to(const abi::IpAddress& group) const {
  if (!speaks_ipv6()) return false;
  if (group == kAllNodes || group == solicited_node(link_local())) return true;
  for (uint8_t i = 0; i < address_count; ++i) {
    const abi::IpAddress& own = addresses[i].address;
    if (!own.is_ipv4() && group == solicited_node(own)) return true;
  }
  return false;
}

bool Interface::on_link(const abi::IpAddress& address) const {
  if (is_link_local(address)) return speaks_ipv6();
  for (uint8_t i = 0; i < address_count; ++i) {
    if (same_prefix(addresses[i].address, address, addresses[i].prefix_bits)) return true;
  }
  return false;
}

bool Interface::is_broadcast(const abi::IpAddress& address) const {
  if (!address.is_ipv4()) return false;
  const uint32_t value = address.ipv4();
  if (value == 0xffffffffU) return true;
  for (uint8_t i = 0; i < address_count; ++i) {
    const InterfaceAddress& own = addresses[i];
    // RFC 3021: a /31 has no broadcast address, and a /32 is one host.
    if (own.prefix_bits >= 31 || !same_prefix(own.address, address, own.prefix_bits)) continue;
    const uint32_t host_mask = 0xffffffffU >> own.prefix_bits;
    if ((value & host_mask) == host_mask) return true;
  }
  return false;
}

bool Interface::next_hop(const abi::IpAddress& destination, abi::IpAddress& hop) const {
  if (on_link(destination)) {
    hop = destination;
    return true;
  }
  const bool ipv4 = destination.is_ipv4();
  if (!(ipv4 ? has_gateway : has_gateway6)) return false;
  hop = ipv4 ? gateway : gateway6;
  return true;
}

bool Interface::source_for(const abi::IpAddress& peer, abi::IpAddress& source) const {
  if (is_link_local(peer)) {
    source = link_local();
    return speaks_ipv6();
  }
  const InterfaceAddress* first = nullptr;
  for (uint8_t i = 0; i < address_count; ++i) {
    const InterfaceAddress& own = addresses[i];
    if (own.address.is_ipv4() != peer.is_ipv4()) continue;
    if (same_prefix(own.address, peer, own.prefix_bits)) {
      source = own.address;
      return true;
    }
    if (first == nullptr || (is_link_local(first->address) && !is_link_local(own.address))) {
      first = &own;
    }
  }
  if (first == nullptr) return false;
  source = first->address;
  return true;
}

}  // namespace sluice::net
