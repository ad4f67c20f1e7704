#include "control/handshake/hello.h"

#include <cstring>

#include "control/handshake/certs.h"

namespace sluice::control::handshake {
namespace {

constexpr uint8_t kServerHello = 2;

// RFC 8446 4.1.3: the random of a ServerHello that is a HelloRetryRequest.
constexpr uint8_t kRetryRandom[32] = {
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c};

size_t read_16(std::span<const uint8_t> bytes, size_t at) {
  return size_t{bytes[at]} << 8 | bytes[at + 1];
}

}  // namespace

std::span<const uint8_t> hello_extension(SSL* ssl, unsigned type) {
  const unsigned char* body = nullptr;
  size_t length = 0;
  if (SSL_client_hello_get0_ext(ssl, type, &body, &length) != 1) return {};
  return {body, length};
}

bool has_hello_extension(SSL* ssl, unsigned type) {
  const unsigned char* body = nullptr;
  size_t length = 0;
  return SSL_client_hello_get0_ext(ssl, type, &body, &length) == 1;
}

std::string parse_server_name(std::span<const uint8_t> extension) {
  constexpr size_t kPrefix = 5;  // list length, name type, name length
  if (extension.size() < kPrefix || extension[2] != TLSEXT_NAMETYPE_host_name) return {};
  const size_t length = read_16(extension, 3);
  if (read_16(extension, 0) != extension.size() - 2 || length > extension.size() - kPrefix) {
    return {};
  }
  const auto* name = reinterpret_cast<const char*>(extension.data() + kPrefix);
  return normalise_host_name({name, length});
}

std::optional<uint32_t> parse_record_size_limit(std::span<const uint8_t> extension) {
  if (extension.size() != 2) return std::nullopt;
  return static_cast<uint32_t>(read_16(extension, 0));
}

std::optional<ServerHello> parse_server_hello(std::span<const uint8_t> message) {
  constexpr size_t kRandom = 6;  // type, length, version
  constexpr size_t kSessionId = kRandom + sizeof kRetryRandom;
  constexpr size_t kSuiteAndCompression = 3;
  if (message.size() <= kSessionId || message[0] != kServerHello) return std::nullopt;
  ServerHello hello;
  hello.retry = std::memcmp(message.data() + kRandom, kRetryRandom, sizeof kRetryRandom) == 0;
  size_t at = kSessionId + 1 + message[kSessionId] + kSuiteAndCompression + 2;
  while (at + 4 <= message.size()) {
    hello.encrypt_then_mac =
        hello.encrypt_then_mac || read_16(message, at) == TLSEXT_TYPE_encrypt_then_mac;
    at += 4 + read_16(message, at + 2);
  }
  return hello;
}

}  // namespace sluice::control::handshake
