// Theory of operation. A scratch SSL_CTX reads what is written, so that a cipher string means
// exactly what it means to OpenSSL, and an SSL of it tells which suites the security level and the
// versions leave. Then, in this order:
//
//   groups, dh_groups     names from kGroups below, strong enough for the security level
//   signature_algorithms  whatever OpenSSL takes
//   ciphersuites          those of crypto/suite
//   ciphers               allowed authentication and key exchange, then crypto/suite, then what the
//                         versions and the security level permit
//   versions              cut down to those that have a suite: a client of another is refused for
//                         its version, and not for its suites
//
// What OpenSSL does not know is an error where a name is meant, and a warning in a cipher string,
// where OpenSSL ignores it too. What is left out is one warning each; nothing left is an error.
#include "control/handshake/policy.h"

#include <openssl/err.h>

#include <algorithm>

#include "control/handshake/openssl_types.h"

namespace sluice::control::handshake {
namespace {

constexpr uint16_t kTls10 = TLS1_VERSION;
constexpr uint16_t kTls12 = TLS1_2_VERSION;
constexpr uint16_t kTls13 = TLS1_3_VERSION;

struct Group {
  std::string_view name;
  std::string_view alias;  // of SEC 2, or of X9.62
  std::string_view other_alias;
  int bits;  // of strength, as OpenSSL counts them
  bool finite_field;
};
constexpr Group kGroups[] = {
    {"X25519", "x25519", "", 128, false},   {"P-256", "prime256v1", "secp256r1", 128, false},
    {"P-384", "secp384r1", "", 192, false}, {"P-521", "secp521r1", "", 256, false},
    {"X448", "x448", "", 224, false},       {"ffdhe2048", "", "", 112, true},
    {"ffdhe3072", "", "", 128, true},       {"ffdhe4096", "", "", 152, true},
    {"ffdhe6144", "", "", 176, true},       {"ffdhe8192", "", "", 200, true},
};
constexpr int kCheapFiniteFieldBits = 128;  // of strength: 3,072-bit primes

constexpr size_t kReasonsShown = 4;  // in the one line of an error

// Bits of strength that each security level asks for (SSL_CTX_set_security_level(3)).
constexpr int kLevelBits[] = {0, 80, 112, 128, 192, 256};

const Group* find_group(std::string_view name) {
  for (const Group& group : kGroups) {
    if (name == group.name || (!name.empty() && (name == group.alias || name == group.other_alias)))
      return &group;
  }
  return nullptr;
}

struct FreeCipherList {
  void operator()(STACK_OF(SSL_CIPHER) * list) const { sk_SSL_CIPHER_free(list); }
};
using CipherListPtr = std::unique_ptr<STACK_OF(SSL_CIPHER), FreeCipherList>;

using Failed = tl::unexpected<PolicyError>;

// Builds one policy; each step returns an error or nothing.
struct Resolver {
  const PolicySpec& spec;
  Policy policy;
  SslContextPtr scratch{SSL_CTX_new(TLS_server_method())};

  PolicyError read_ciphers();
  PolicyError read_groups(std::string_view key, std::string_view list, bool for_dhe,
                          std::vector<std::string>& out);
  PolicyError read_signature_algorithms();
  PolicyError read_ciphersuites();
  void choose_suites12();
  std::string why_not(const SSL_CIPHER* cipher, STACK_OF(SSL_CIPHER) * usable) const;
  PolicyError choose_versions();
  [[nodiscard]] bool has_suite_for(uint16_t version) const;

  void leave_out(std::string_view what, std::string_view why) {
    policy.warnings.push_back("policy " + policy.name + ": " + std::string(what) +
                              " is left out: " + std::string(why));
  }
  [[nodiscard]] bool serves_before_13() const {
    return spec.minimum_version < kTls13 && !spec.ciphers.empty();
  }
};

bool failed(const PolicyError& error) { return !error.message.empty(); }

const crypto::Suite* suite_of(const SSL_CIPHER* cipher) {
  return crypto::find_suite(static_cast<uint16_t>(SSL_CIPHER_get_protocol_id(cipher)));
}

// A word of a cipher string without what it does: "+AES", "-AES" and "!AES" are about AES.
std::string_view selector_of(std::string_view word) {
  const size_t start = word.find_first_not_of("+-!");
  return start == std::string_view::npos ? std::string_view() : word.substr(start);
}

PolicyError Resolver::read_ciphers() {
  policy.security_level = SSL_CTX_get_security_level(scratch.get());
  if (!serves_before_13()) return {};
  for (const std::string& word : split_names(spec.ciphers)) {
    // An exclusion of what is not there excludes it all the same.
    if (word[0] == '!' || word[0] == '-' || word[0] == '@') continue;
    const std::string selector(selector_of(word));
    if (SSL_CTX_set_cipher_list(scratch.get(), selector.c_str()) == 1) continue;
    leave_out(selector, "this OpenSSL has no such suite");
  }
  if (SSL_CTX_set_cipher_list(scratch.get(), spec.ciphers.c_str()) != 1) {
    return {"ciphers", "OpenSSL finds no suite in this string; try it with `openssl ciphers -v`"};
  }
  policy.security_level = SSL_CTX_get_security_level(scratch.get());
  return {};
}

PolicyError Resolver::read_groups(std::string_view key, std::string_view list, bool for_dhe,
                                  std::vector<std::string>& out) {
  const int needed = kLevelBits[policy.security_level];
  for (const std::string& name : split_names(list)) {
    const Group* group = find_group(name);
    if (group == nullptr || (for_dhe && !group->finite_field)) {
      return {key, "\"" + name + "\" is no group for this; use " +
                       (for_dhe ? "ffdhe2048 or ffdhe3072"
                                : "X25519, P-256, P-384, P-521, X448, ffdhe2048 or ffdhe3072")};
    }
    if (std::find(out.begin(), out.end(), group->name) != out.end()) {
      return {key, "\"" + name + "\" stands twice; remove one"};
    }
    if (group->bits < needed) {
      leave_out(group->name, "@SECLEVEL=" + std::to_string(policy.security_level) + " asks for " +
                                 std::to_string(needed) + " bits of strength");
      continue;
    }
    if (group->finite_field && group->bits > kCheapFiniteFieldBits) {
      policy.warnings.push_back("policy " + policy.name + ": " + name +
                                " lets one ClientHello cost up to 0.2 s; prefer X25519");
    }
    out.emplace_back(group->name);
  }
  if (!out.empty() || for_dhe) return {};
  return {key, "no group is left; add X25519, or lower @SECLEVEL in ciphers"};
}

PolicyError Resolver::read_signature_algorithms() {
  policy.signature_algorithms = split_names(spec.signature_algorithms);
  for (const std::string& name : policy.signature_algorithms) {
    if (SSL_CTX_set1_sigalgs_list(scratch.get(), name.c_str()) != 1) {
      return {"signature_algorithms", "OpenSSL knows no signature algorithm \"" + name +
                                          "\"; use names as rsa_pss_rsae_sha256 or ECDSA+SHA256"};
    }
  }
  const std::string all = join_names(policy.signature_algorithms);
  if (SSL_CTX_set1_sigalgs_list(scratch.get(), all.c_str()) == 1) return {};
  return {"signature_algorithms", "OpenSSL refuses this list; remove what stands twice"};
}

PolicyError Resolver::read_ciphersuites() {
  if (spec.maximum_version < kTls13) return {};
  for (const std::string& name : split_names(spec.ciphersuites)) {
    const crypto::Suite* found = nullptr;
    for (const crypto::Suite& suite : crypto::all_suites()) {
      if (suite.openssl_name == name && suite.iana_name == name) found = &suite;
    }
    if (found == nullptr) {
      // OpenSSL ignores what it does not know, and then the list is empty.
      const SslContextPtr context(SSL_CTX_new(TLS_server_method()));
      SSL_CTX_set_min_proto_version(context.get(), kTls13);
      const bool taken = SSL_CTX_set_ciphersuites(context.get(), name.c_str()) == 1;
      const SslPtr ssl(SSL_new(context.get()));
      const CipherListPtr list(SSL_get1_supported_ciphers(ssl.get()));
      if (!taken || !list || sk_SSL_CIPHER_num(list.get()) == 0) {
        return {"ciphersuites", "\"" + name +
                                    "\" is no suite of TLS 1.3; use names as "
                                    "TLS_AES_128_GCM_SHA256"};
      }
      leave_out(name, "the workers do not speak it");
    } else if (std::find(policy.suites13.begin(), policy.suites13.end(), found) ==
               policy.suites13.end()) {
      policy.suites13.push_back(found);
    }
  }
  return {};
}

// Empty: the suite stays.
std::string Resolver::why_not(const SSL_CIPHER* cipher, STACK_OF(SSL_CIPHER) * usable) const {
  const int exchange = SSL_CIPHER_get_kx_nid(cipher);
  const int authentication = SSL_CIPHER_get_auth_nid(cipher);
  if (SSL_CIPHER_get_cipher_nid(cipher) == NID_undef) return "it does not encrypt";
  if (authentication != NID_auth_rsa && authentication != NID_auth_ecdsa) {
    return authentication == NID_auth_null ? "it does not authenticate the server"
                                           : "servers here authenticate by RSA or ECDSA";
  }
  if (exchange != NID_kx_ecdhe && exchange != NID_kx_dhe && exchange != NID_kx_rsa) {
    return "key exchange here is ECDHE, DHE or RSA";
  }
  const crypto::Suite* const suite = suite_of(cipher);
  if (suite == nullptr) return "the workers do not speak it";
  if (exchange == NID_kx_dhe && policy.dh_groups.empty()) return "no group for DHE is left";
  if (static_cast<uint16_t>(suite->min_version) > spec.maximum_version) return "it needs TLS 1.2";
  if (sk_SSL_CIPHER_find(usable, const_cast<SSL_CIPHER*>(cipher)) < 0) {
    return "@SECLEVEL=" + std::to_string(policy.security_level) +
           ", versions or signature algorithms rule it out";
  }
  return {};
}

void Resolver::choose_suites12() {
  if (!serves_before_13()) return;
  SSL_CTX_set_min_proto_version(scratch.get(), spec.minimum_version);
  SSL_CTX_set_max_proto_version(scratch.get(), spec.maximum_version);
  const SslPtr ssl(SSL_new(scratch.get()));
  const CipherListPtr usable(ssl ? SSL_get1_supported_ciphers(ssl.get()) : nullptr);
  const STACK_OF(SSL_CIPHER)* const listed = SSL_CTX_get_ciphers(scratch.get());
  for (int i = 0; i < sk_SSL_CIPHER_num(listed); ++i) {
    const SSL_CIPHER* const cipher = sk_SSL_CIPHER_value(listed, i);
    if (std::string_view(SSL_CIPHER_get_version(cipher)) == "TLSv1.3") continue;
    const std::string why = why_not(cipher, usable.get());
    if (why.empty()) {
      policy.suites12.push_back(suite_of(cipher));
    } else {
      leave_out(SSL_CIPHER_get_name(cipher), why);
    }
  }
}

bool Resolver::has_suite_for(uint16_t version) const {
  if (version == kTls13) return !policy.suites13.empty();
  // OpenSSL's security callback: nothing before TLS 1.2 above level 0.
  if (version < kTls12 && policy.security_level > 0) return false;
  return std::any_of(policy.suites12.begin(), policy.suites12.end(), [&](const auto* suite) {
    return suite->is_valid_in(static_cast<crypto::TlsVersion>(version));
  });
}

PolicyError Resolver::choose_versions() {
  for (uint16_t version = spec.minimum_version; version <= spec.maximum_version; ++version) {
    if (has_suite_for(version)) {
      if (policy.minimum_version == 0) policy.minimum_version = version;
      policy.maximum_version = version;
    } else {
      leave_out(std::string("TLS ") + version_name(version),
                version < kTls12 && policy.security_level > 0
                    ? "OpenSSL has it at @SECLEVEL=0 in ciphers only"
                    : "no suite is left for it");
    }
  }
  if (policy.minimum_version != 0) return {};
  std::string reasons;
  for (size_t i = 0; i < std::min(policy.warnings.size(), kReasonsShown); ++i) {
    reasons += " (" + policy.warnings[i] + ")";
  }
  return {"", "nothing is left of this policy; allow suites that Sluice speaks" + reasons};
}

}  // namespace

void initialise_openssl() { OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, nullptr); }

const char* preference_name(Preference preference) {
  switch (preference) {
    case Preference::Server:
      return "server";
    case Preference::Client:
      return "client";
    case Preference::ChachaFirst:
      return "chacha-first";
  }
  return "client";
}

const char* version_name(uint16_t version) {
  constexpr const char* kNames[] = {"1.0", "1.1", "1.2", "1.3"};
  return version >= kTls10 && version <= kTls13 ? kNames[version - kTls10] : "";
}

std::vector<std::string> split_names(std::string_view list) {
  std::vector<std::string> names;
  while (!list.empty()) {
    const size_t end = std::min(list.find_first_of(": ,"), list.size());
    if (end != 0) names.emplace_back(list.substr(0, end));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return names;
}

std::string join_names(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ":") + name;
  return list;
}

int needed_strength_bits(const Policy& policy) { return kLevelBits[policy.security_level]; }

bool can_authenticate(const Policy& policy, bool ecdsa) {
  const auto names_key = [ecdsa](std::string_view name) {
    const bool is_ecdsa = name.starts_with("ecdsa") || name.starts_with("ECDSA");
    return ecdsa ? is_ecdsa : name.starts_with("rsa") || name.starts_with("RSA");
  };
  const bool can_sign = std::any_of(policy.signature_algorithms.begin(),
                                    policy.signature_algorithms.end(), names_key);
  if (can_sign && !policy.suites13.empty()) return true;
  for (const crypto::Suite* suite : policy.suites12) {
    const std::string_view name = suite->openssl_name;
    const bool signs = name.starts_with("ECDHE-") || name.starts_with("DHE-");
    if ((name.find("-ECDSA-") != std::string_view::npos) == ecdsa && (can_sign || !signs)) {
      return true;
    }
  }
  return false;
}

tl::expected<Policy, PolicyError> resolve_policy(std::string_view name, const PolicySpec& spec) {
  Resolver resolver{spec, {}};
  resolver.policy.name = name;
  resolver.policy.preference = spec.preference;
  if (!resolver.scratch) return Failed(PolicyError{"", "OpenSSL has no memory; try again"});
  if (spec.minimum_version > spec.maximum_version) {
    return Failed(PolicyError{"minimum_version",
                              "minimum_version is above maximum_version; swap them or leave one "
                              "out"});
  }
  PolicyError error = resolver.read_ciphers();
  Policy& policy = resolver.policy;
  if (!failed(error)) error = resolver.read_groups("groups", spec.groups, false, policy.groups);
  if (!failed(error)) {
    error = resolver.read_groups("dh_groups", spec.dh_groups, true, policy.dh_groups);
  }
  if (!failed(error)) error = resolver.read_signature_algorithms();
  if (!failed(error)) error = resolver.read_ciphersuites();
  if (!failed(error)) resolver.choose_suites12();
  if (!failed(error)) error = resolver.choose_versions();
  ERR_clear_error();
  if (failed(error)) return Failed(std::move(error));
  return std::move(policy);
}

}  // namespace sluice::control::handshake
