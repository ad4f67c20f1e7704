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
  IpAddress parsed;
  uint8_t ipv4[4];
  if (inet_pton(AF_INET, text.c_str(), ipv4) == 1) {
    parsed.bytes[10] = parsed.bytes[11] = 0xff;
    std::memcpy(parsed.bytes.data() + 12, ipv4, sizeof ipv4);
    out = parsed;
    return true;
  }
  if (inet_pton(AF_INET6, text.c_str(), parsed.bytes.data()) == 1) {
    out = parsed;
    return true;
  }
  return false;
}

bool parse_socket_address(const std::string& text, SocketAddress& out) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon + 1 == text.size()) return false;
  std::string host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, port);
  if (error != std::errc() || stop != end || port == 0) return false;
  SocketAddress parsed;
  if (!parse_ip_address(host, parsed.address)) return false;
  if (bracketed != (host.find(':') != std::string::npos)) return false;
  parsed.port = port;
  out = parsed;
  return true;
}

}  // namespace sluice::abi
