// The OpenSSL engine of one handshake thread: its own OSSL_LIB_CTX, an SSL_CTX for each policy in
// use, and the hosts' certificates as this library context decodes them, each at its first use.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "control/config.h"
#include "control/handshake/engine.h"
#include "control/handshake/openssl_types.h"
#include "control/handshake/policy_context.h"
#include "crypto/provider.h"

namespace sluice::control::handshake {

class Context final : public Engine {
 public:
  // `config` must outlive the context and does not change.
  [[nodiscard]] static tl::expected<std::unique_ptr<Context>, std::string> create(
      const ControlConfig& config);

  std::unique_ptr<Handshake> begin() override;

  // ---- For Connection.
  // Of the default policy: every connection begins with it.
  [[nodiscard]] SSL_CTX* ssl_context() const;
  [[nodiscard]] const crypto::Provider& provider() const { return provider_; }
  // The host that serves this (normalised) name; `fallback` is set when it is the default that
  // serves a name nobody configured, or no name. kNone: the client is to be refused.
  [[nodiscard]] uint32_t select_host(const std::string& name, bool& fallback) const;
  // Sets the host's policy, certificates and session context. `supported_groups` is the body of the
  // client's extension, empty when it sent none. False when OpenSSL refuses.
  [[nodiscard]] bool apply_host(SSL* ssl, uint32_t host, std::span<const uint8_t> supported_groups);
  [[nodiscard]] const HostConfig& host(uint32_t index) const { return config_.hosts[index]; }

 private:
  struct DecodedCertificate {
    X509Ptr leaf;
    KeyPtr key;
    X509StackPtr rest;
  };
  struct DecodedHost {
    std::vector<DecodedCertificate> certificates;
    std::array<uint8_t, SSL_MAX_SID_CTX_LENGTH> session_context{};
  };

  Context(const ControlConfig& config, crypto::Provider provider)
      : config_(config), provider_(std::move(provider)), decoded_(config.hosts.size()) {}
  std::string initialise();
  std::string use_policy(uint32_t index);
  std::unique_ptr<DecodedHost> decode(const HostConfig& host) const;

  const ControlConfig& config_;
  crypto::Provider provider_;
  LibContextPtr library_;  // behind it whatever was made in it
  ProviderPtr default_provider_;
  std::map<uint32_t, PolicyContext> policies_;  // those in use, by their index
  HostTable table_;
  uint32_t default_host_ = HostTable::kNone;
  std::vector<std::unique_ptr<DecodedHost>> decoded_;
};

}  // namespace sluice::control::handshake
