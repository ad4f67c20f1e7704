// Theory of operation. An SSL takes versions, options, groups and the suites of TLS 1.3 from its
// SSL_CTX when it is made, and only then the client says which host, and so which policy, it wants.
// SSL_set_SSL_CTX brings the suite list, signature algorithms and security level of the new SSL_CTX
// along, because OpenSSL looks these up in it; the rest is set one by one. Nothing is parsed but
// the few groups, so that a policy of a host's own costs a connection nearly nothing.
//
// DHE parameters are set on the connection alone: with none there, OpenSSL leaves DHE suites out.
#include "control/handshake/policy_context.h"

#include <openssl/core_names.h>
#include <openssl/err.h>

namespace sluice::control::handshake {
namespace {

// Null compression alone (OpenSSL has no other in Debian, and must not get one): CRIME.
constexpr uint64_t kOptions = SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION;
constexpr uint64_t kPreferenceOptions = SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA;

uint64_t preference_options(Preference preference) {
  switch (preference) {
    case Preference::Server:
      return SSL_OP_CIPHER_SERVER_PREFERENCE;
    case Preference::Client:
      return 0;
    case Preference::ChachaFirst:
      return kPreferenceOptions;
  }
  return 0;
}

std::string suite_names(const std::vector<const crypto::Suite*>& suites) {
  std::vector<std::string> names;
  for (const crypto::Suite* suite : suites) names.emplace_back(suite->openssl_name);
  return join_names(names);
}

// RFC 7919 2: 256 to 511 are FFDHE groups, known here or not.
bool is_ffdhe(uint16_t group) { return group >= 256 && group <= 511; }

uint16_t ffdhe_id(std::string_view name) {
  constexpr std::string_view kNames[] = {"ffdhe2048", "ffdhe3072", "ffdhe4096", "ffdhe6144",
                                         "ffdhe8192"};
  uint16_t id = 256;
  for (const std::string_view known : kNames) {
    if (known == name) return id;
    ++id;
  }
  return 0;
}

}  // namespace

tl::expected<PolicyContext, std::string> PolicyContext::create(OSSL_LIB_CTX* library,
                                                               const Policy& policy) {
  PolicyContext context;
  std::string error = context.initialise(library, policy);
  ERR_clear_error();
  if (!error.empty()) return tl::unexpected("policy " + policy.name + ": " + error);
  return context;
}

std::string PolicyContext::initialise(OSSL_LIB_CTX* library, const Policy& policy) {
  ssl_context_.reset(SSL_CTX_new_ex(library, nullptr, TLS_server_method()));
  SSL_CTX* const context = ssl_context_.get();
  if (context == nullptr) return "OpenSSL refuses an SSL_CTX";
  minimum_version_ = policy.minimum_version;
  maximum_version_ = policy.maximum_version;
  options_ = preference_options(policy.preference);
  groups_ = join_names(policy.groups);
  SSL_CTX_clear_options(context, kPreferenceOptions);
  SSL_CTX_set_options(context, kOptions | options_);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_security_level(context, policy.security_level);
  const std::string ciphers = suite_names(policy.suites12);
  if (SSL_CTX_set_min_proto_version(context, minimum_version_) != 1 ||
      SSL_CTX_set_max_proto_version(context, maximum_version_) != 1) {
    return "this OpenSSL does not support the versions";
  }
  if (SSL_CTX_set_ciphersuites(context, suite_names(policy.suites13).c_str()) != 1 ||
      (!ciphers.empty() && SSL_CTX_set_cipher_list(context, ciphers.c_str()) != 1)) {
    return "this OpenSSL does not support the suites";
  }
  if (SSL_CTX_set1_groups_list(context, groups_.c_str()) != 1) {
    return "this OpenSSL does not support the groups";
  }
  if (SSL_CTX_set1_sigalgs_list(context, join_names(policy.signature_algorithms).c_str()) != 1) {
    return "this OpenSSL does not support the signature algorithms";
  }
  bool needs_dh = false;
  for (const crypto::Suite* suite : policy.suites12) {
    needs_dh = needs_dh || suite->openssl_name.starts_with("DHE-");
  }
  for (const std::string& name : policy.dh_groups) {
    if (!needs_dh) break;
    if (std::string error = add_dh_group(library, name); !error.empty()) return error;
  }
  return {};
}

std::string PolicyContext::add_dh_group(OSSL_LIB_CTX* library, const std::string& name) {
  struct FreeContext {
    void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
  };
  const std::unique_ptr<EVP_PKEY_CTX, FreeContext> context(
      EVP_PKEY_CTX_new_from_name(library, "DH", nullptr));
  std::string group = name;
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group.data(), group.size()),
      OSSL_PARAM_construct_end()};
  EVP_PKEY* key = nullptr;
  if (!context || EVP_PKEY_paramgen_init(context.get()) != 1 ||
      EVP_PKEY_CTX_set_params(context.get(), parameters) != 1 ||
      EVP_PKEY_paramgen(context.get(), &key) != 1) {
    return "this OpenSSL does not support " + name;
  }
  dh_groups_.push_back({ffdhe_id(name), KeyPtr(key)});
  return {};
}

bool PolicyContext::apply(SSL* ssl) const {
  if (SSL_get_SSL_CTX(ssl) == ssl_context_.get()) return true;
  if (SSL_set_SSL_CTX(ssl, ssl_context_.get()) == nullptr) return false;
  SSL_clear_options(ssl, kPreferenceOptions);
  SSL_set_options(ssl, options_);
  return SSL_set_min_proto_version(ssl, minimum_version_) == 1 &&
         SSL_set_max_proto_version(ssl, maximum_version_) == 1 &&
         SSL_set1_groups_list(ssl, groups_.c_str()) == 1;
}

bool PolicyContext::choose_dh(SSL* ssl, std::span<const uint8_t> supported_groups) const {
  if (dh_groups_.empty()) return true;
  bool client_has_ffdhe = false;
  const DhGroup* chosen = nullptr;
  for (size_t at = 2; at + 2 <= supported_groups.size(); at += 2) {  // behind the list's length
    const auto id = static_cast<uint16_t>(supported_groups[at] << 8 | supported_groups[at + 1]);
    client_has_ffdhe = client_has_ffdhe || is_ffdhe(id);
    for (const DhGroup& group : dh_groups_) {
      if (group.id == id && (chosen == nullptr || &group < chosen)) chosen = &group;
    }
  }
  if (chosen == nullptr && client_has_ffdhe) return true;
  if (chosen == nullptr) chosen = dh_groups_.data();
  EVP_PKEY* const parameters = chosen->parameters.get();
  EVP_PKEY_up_ref(parameters);
  if (SSL_set0_tmp_dh_pkey(ssl, parameters) == 1) return true;
  EVP_PKEY_free(parameters);
  return false;
}

}  // namespace sluice::control::handshake
