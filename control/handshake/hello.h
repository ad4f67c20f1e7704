// What hello messages say that OpenSSL has no getter for. The bytes are the client's, or OpenSSL's
// own; nothing is taken on trust.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace sluice::control::handshake {

// RFC 8449 4.
inline constexpr unsigned kRecordSizeLimitExtension = 28;
inline constexpr uint32_t kLeastRecordSizeLimit = 64;

// The body of an extension of the ClientHello, in client_hello_cb; empty when it is not there.
[[nodiscard]] std::span<const uint8_t> hello_extension(SSL* ssl, unsigned type);
[[nodiscard]] bool has_hello_extension(SSL* ssl, unsigned type);

// The host name in a server_name extension (RFC 6066 3), normalised; empty when there is no valid
// one.
[[nodiscard]] std::string parse_server_name(std::span<const uint8_t> extension);

// The value of a record_size_limit extension; nothing when it is malformed.
[[nodiscard]] std::optional<uint32_t> parse_record_size_limit(std::span<const uint8_t> extension);

// A ServerHello as it is sent, with its message header.
struct ServerHello {
  bool retry = false;             // it is a HelloRetryRequest (RFC 8446 4.1.3)
  bool encrypt_then_mac = false;  // RFC 7366
};
// Nothing when it is another message.
[[nodiscard]] std::optional<ServerHello> parse_server_hello(std::span<const uint8_t> message);

}  // namespace sluice::control::handshake
