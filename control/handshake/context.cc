// Theory of operation. Every handshake thread has a library context of its own, because OpenSSL
// takes locks on a shared one hundreds of times a handshake. Keys belong to the context that
// decoded them, so each thread decodes each host's certificates itself, when the host is first
// asked for: a configuration of thousands of hosts costs nothing at start.
//
// Certificates go on the connection, not on the SSL_CTX: one SSL_CTX for each policy serves every
// host, and OpenSSL chooses between a host's RSA and ECDSA certificate by the client's signature
// algorithms. Every connection begins with the default policy's SSL_CTX, whose session cache and
// ticket keys it keeps, and changes over when the client has named a host with another.
//
// A session may be resumed only with the host and the policy it was made for (RFC 8446 4.6.1,
// RFC 6066 3): the session context is a hash over the host's names and the policy.
#include "control/handshake/context.h"

#include <openssl/err.h>

#include "abi/assert.h"
#include "control/handshake/connection.h"
#include "crypto/key_schedule.h"

namespace sluice::control::handshake {

tl::expected<std::unique_ptr<Context>, std::string> Context::create(const ControlConfig& config) {
  initialise_openssl();
  auto provider = crypto::Provider::create();
  if (!provider) return tl::unexpected(std::string(crypto::to_string(provider.error())));
  std::unique_ptr<Context> context(new Context(config, std::move(*provider)));
  if (std::string error = context->initialise(); !error.empty()) return tl::unexpected(error);
  return context;
}

std::string Context::initialise() {
  library_.reset(OSSL_LIB_CTX_new());
  if (!library_) return "OpenSSL has no memory for a library context";
  default_provider_.reset(OSSL_PROVIDER_load(library_.get(), "default"));
  if (!default_provider_) return "OpenSSL's default provider does not load";
  if (std::string error = use_policy(config_.tls.policy); !error.empty()) return error;
  for (uint32_t index = 0; index < config_.hosts.size(); ++index) {
    const HostConfig& host = config_.hosts[index];
    if (std::string error = use_policy(host.policy); !error.empty()) return error;
    for (const std::string& name : host.names) table_.add(name, index);
    if (host.is_default) default_host_ = index;
  }
  return {};
}

std::string Context::use_policy(uint32_t index) {
  if (policies_.contains(index)) return {};
  SLUICE_ASSERT(index < config_.policies.size());
  auto policy = PolicyContext::create(library_.get(), config_.policies[index]);
  if (!policy) return policy.error();
  Connection::install_callbacks(policy->ssl_context());
  policies_.emplace(index, std::move(*policy));
  return {};
}

SSL_CTX* Context::ssl_context() const { return policies_.at(config_.tls.policy).ssl_context(); }

std::unique_ptr<Handshake> Context::begin() { return Connection::create(*this); }

uint32_t Context::select_host(const std::string& name, bool& fallback) const {
  fallback = false;
  if (!name.empty()) {
    if (const uint32_t found = table_.find(name); found != HostTable::kNone) return found;
    if (config_.tls.unknown_sni == UnknownSni::Reject) return HostTable::kNone;
  }
  fallback = true;
  return default_host_;
}

std::unique_ptr<Context::DecodedHost> Context::decode(const HostConfig& host) const {
  auto decoded = std::make_unique<DecodedHost>();
  for (const auto& certificate : host.certificates) {
    DecodedCertificate& entry = decoded->certificates.emplace_back();
    entry.rest.reset(sk_X509_new_null());
    for (const std::vector<uint8_t>& der : certificate->chain) {
      const uint8_t* data = der.data();
      X509* parsed = X509_new_ex(library_.get(), nullptr);
      if (parsed == nullptr) return nullptr;
      X509Ptr owner(parsed);
      if (d2i_X509(&parsed, &data, static_cast<long>(der.size())) == nullptr) {
        owner.release();  // d2i_X509 freed it
        return nullptr;
      }
      if (!entry.leaf) {
        entry.leaf = std::move(owner);
      } else {
        sk_X509_push(entry.rest.get(), owner.release());
      }
    }
    const uint8_t* data = certificate->key.data();
    const int type = certificate->type == KeyType::Rsa ? EVP_PKEY_RSA : EVP_PKEY_EC;
    entry.key.reset(d2i_PrivateKey_ex(
        type, nullptr, &data, static_cast<long>(certificate->key.size()), library_.get(), nullptr));
    if (!entry.key || !entry.leaf) return nullptr;
  }
  std::string names;
  for (const std::string& name : host.names) names += name + '\n';
  names += config_.policies[host.policy].name;
  const auto* text = reinterpret_cast<const uint8_t*>(names.data());
  const bool hashed = crypto::digest(provider_, crypto::Hash::Sha256, {text, names.size()},
                                     decoded->session_context);
  return hashed ? std::move(decoded) : nullptr;
}

bool Context::apply_host(SSL* ssl, uint32_t index, std::span<const uint8_t> supported_groups) {
  SLUICE_ASSERT(index < config_.hosts.size());
  std::unique_ptr<DecodedHost>& decoded = decoded_[index];
  if (!decoded) decoded = decode(config_.hosts[index]);
  if (!decoded) return false;
  const PolicyContext& policy = policies_.at(config_.hosts[index].policy);
  if (!policy.apply(ssl) || !policy.choose_dh(ssl, supported_groups)) return false;
  for (const DecodedCertificate& entry : decoded->certificates) {
    if (SSL_use_cert_and_key(ssl, entry.leaf.get(), entry.key.get(), entry.rest.get(), 1) != 1) {
      return false;
    }
  }
  const auto& context = decoded->session_context;
  return SSL_set_session_id_context(ssl, context.data(), static_cast<unsigned>(context.size())) ==
         1;
}

}  // namespace sluice::control::handshake
