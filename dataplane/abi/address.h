// IP addresses and endpoints as both processes write them: sixteen bytes, an IPv4 address as
// ::ffff:a.b.c.d (RFC 4291 2.5.5.2), ports in host order.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>

namespace sluice::abi {

struct IpAddress {
  std::array<uint8_t, 16> bytes{};

  static constexpr IpAddress from_ipv4(uint32_t host_order) {
    IpAddress address;
    address.bytes[10] = 0xff;
    address.bytes[11] = 0xff;
    address.bytes[12] = static_cast<uint8_t>(host_order >> 24);
    address.bytes[13] = static_cast<uint8_t>(host_order >> 16);
    address.bytes[14] = static_cast<uint8_t>(host_order >> 8);
    address.bytes[15] = static_cast<uint8_t>(host_order);
    return address;
  }
  bool is_ipv4() const {
    static constexpr uint8_t kPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return std::memcmp(bytes.data(), kPrefix, sizeof kPrefix) == 0;
  }
  // Host order; only meaningful when is_ipv4().
  uint32_t ipv4() const {
    return static_cast<uint32_t>(bytes[12]) << 24 | static_cast<uint32_t>(bytes[13]) << 16 |
           static_cast<uint32_t>(bytes[14]) << 8 | static_cast<uint32_t>(bytes[15]);
  }
  friend bool operator==(const IpAddress& a, const IpAddress& b) {
    return std::memcmp(a.bytes.data(), b.bytes.data(), 16) == 0;
  }
};

struct SocketAddress {
  IpAddress address;
  uint16_t port = 0;
  uint16_t reserved = 0;
  friend bool operator==(const SocketAddress& a, const SocketAddress& b) {
    return a.address == b.address && a.port == b.port;
  }
};
static_assert(sizeof(IpAddress) == 16);
static_assert(sizeof(SocketAddress) == 20);

// "10.0.0.1", "fd00::1"; with a port "10.0.0.1:443", "[fd00::1]:443". Not for a worker's path.
std::string to_string(const IpAddress& address);
std::string to_string(const SocketAddress& address);
// Strict: one way to write each port and address family (no leading zeros, no zone, no port 0, no
// IPv4 address in IPv6 clothes). False leaves `out` untouched.
bool parse_ip_address(const std::string& text, IpAddress& out);
bool parse_socket_address(const std::string& text, SocketAddress& out);

}  // namespace sluice::abi
