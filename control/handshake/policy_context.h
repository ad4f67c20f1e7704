// A policy as one library context applies it: an SSL_CTX of its own, and what has to be set on a
// connection that began under another.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "control/handshake/openssl_types.h"
#include "control/handshake/policy.h"

namespace sluice::control::handshake {

class PolicyContext {
 public:
  // `library` may be null: OpenSSL's default. The error is a sentence about what this OpenSSL does
  // not support.
  [[nodiscard]] static tl::expected<PolicyContext, std::string> create(OSSL_LIB_CTX* library,
                                                                       const Policy& policy);

  [[nodiscard]] SSL_CTX* ssl_context() const { return ssl_context_.get(); }

  // From client_hello_cb: makes the connection this policy's, whatever SSL_CTX it was made from.
  // Certificates and the session context are to be set behind it. False when OpenSSL refuses.
  [[nodiscard]] bool apply(SSL* ssl) const;

  // Chooses the group of DHE (before TLS 1.3) by the body of the client's supported_groups, empty
  // when it sent none: the first of ours that the client may have. A client that lists FFDHE groups
  // and none of ours is left without DHE (RFC 7919 4).
  [[nodiscard]] bool choose_dh(SSL* ssl, std::span<const uint8_t> supported_groups) const;

 private:
  struct DhGroup {
    uint16_t id;  // RFC 7919
    KeyPtr parameters;
  };

  PolicyContext() = default;
  std::string initialise(OSSL_LIB_CTX* library, const Policy& policy);
  std::string add_dh_group(OSSL_LIB_CTX* library, const std::string& name);

  SslContextPtr ssl_context_;
  std::string groups_;
  std::vector<DhGroup> dh_groups_;  // empty when no suite needs one
  int minimum_version_ = 0;
  int maximum_version_ = 0;
  uint64_t options_ = 0;
};

}  // namespace sluice::control::handshake
