// The OpenSSL engine of one handshake thread: its own OSSL_LIB_CTX and SSL_CTX, and the hosts'
// certificates as this library context decodes them, each at its first use.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "control/config.h"
#include "control/handshake/engine.h"
#include "control/handshake/openssl_types.h"
#include "crypto/provider.h"

namespace sluice::control::handshake {

class Context final : public Engine {
 public:
  // `hosts` must outlive the context and does not change.
  [[nodiscard]] static tl::expected<std::unique_ptr<Context>, std::string> create(
      const TlsConfig& tls, const std::vector<HostConfig>& hosts);

  std::unique_ptr<Handshake> begin() override;

  // ---- For Connection.
  [[nodiscard]] SSL_CTX* ssl_context() const { return ssl_context_.get(); }
  [[nodiscard]] const crypto::Provider& provider() const { return provider_; }
  // The host that serves this (normalised) name; `fallback` is set when it is the default that
  // serves a name nobody configured, or no name. kNone: the client is to be refused.
  [[nodiscard]] uint32_t select_host(const std::string& name, bool& fallback) const;
  // Sets the host's certificates and session context. False when OpenSSL refuses.
  [[nodiscard]] bool apply_host(SSL* ssl, uint32_t host);
  [[nodiscard]] const HostConfig& host(uint32_t index) const { return hosts_[index]; }

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

  Context(const TlsConfig& tls, const std::vector<HostConfig>& hosts, crypto::Provider provider)
      : tls_(tls), hosts_(hosts), provider_(std::move(provider)), decoded_(hosts.size()) {}
  std::string initialise();
  std::unique_ptr<DecodedHost> decode(const HostConfig& host) const;

  TlsConfig tls_;
  const std::vector<HostConfig>& hosts_;
  crypto::Provider provider_;
  LibContextPtr library_;  // behind it whatever was made in it
  ProviderPtr default_provider_;
  SslContextPtr ssl_context_;
  HostTable table_;
  uint32_t default_host_ = HostTable::kNone;
  std::vector<std::unique_ptr<DecodedHost>> decoded_;
};

}  // namespace sluice::control::handshake
