// Text forms of addresses: used by configuration, logs and the admin side, never by a worker.
#include "abi/address.h"

#include <arpa/inet.h>

#include <charconv>

namespace sluice::abi {

std::string to_string(const IpAddress& address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address.is_ipv4()) {
    inet_ntop(AF_INET, address.bytes.data() + 12, text, sizeof text);
  } else {
    inet_ntop(AF_INET6, address.bytes.data(), text, sizeof text);
  }
  return text;
}

std::string to_string(const SocketAddress& address) {
  const std::string host = to_string(address.address);
  const std::string port = std::to_string(address.port);
  return address.address.is_ipv4() ? host + ":" + port : "[" + host + "]:" + port;
}

bool parse_ip_address(const std::string& text, IpAddress& out) {
  if (text.find('\0') != std::string::npos) return false;  // inet_pton would stop there
  uint8_t ipv4[4];
  if (inet_pton(AF_INET, text.c_str(), ipv4) == 1) {
    IpAddress parsed = IpAddress::from_ipv4(0);
    std::memcpy(parsed.bytes.data() + 12, ipv4, sizeof ipv4);
    out = parsed;
    return true;
  }
  IpAddress parsed;
  if (inet_pton(AF_INET6, text.c_str(), parsed.bytes.data()) != 1) return false;
  if (parsed.is_ipv4()) return false;  // ::ffff:10.0.0.1 is written 10.0.0.1
  out = parsed;
  return true;
}

bool parse_socket_address(const std::string& text, SocketAddress& out) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon + 1 == text.size()) return false;
  std::string host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  SocketAddress parsed;
  const char* const digits = text.data() + colon + 1;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(digits, end, parsed.port);
  if (error != std::errc() || stop != end || *digits == '0') return false;  // port 0, too
  if (!parse_ip_address(host, parsed.address)) return false;
  if (bracketed == parsed.address.is_ipv4()) return false;  // brackets: IPv6, and only IPv6
  out = parsed;
  return true;
}

}  // namespace sluice::abi
