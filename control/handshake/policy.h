// What Sluice offers in a handshake: versions, cipher suites, groups, signature algorithms, and
// whose order counts.
//
//   PolicySpec  as it is written: a preset or a [policy.NAME] of the configuration
//   Policy      what is left of it: intersected with what a worker's record layer and this OpenSSL
//               can do, and with what Sluice allows at all
//
// All names are OpenSSL's, lists are separated by colons, so that they can be copied from other
// servers. Never allowed, whatever a cipher string says: suites without authentication or
// encryption, PSK, SRP, static DH, RC4, 3DES and whatever else is not in crypto/suite.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "crypto/suite.h"

namespace sluice::control::handshake {

inline constexpr std::string_view kDefaultPolicy = "intermediate-5.8";

enum class Preference : uint8_t {
  Server,
  Client,
  ChachaFirst,  // Server, but ChaCha20 for clients that put it first: they have no AES in hardware
};
[[nodiscard]] const char* preference_name(Preference preference);
[[nodiscard]] const char* version_name(uint16_t version);  // "1.2"; empty when it is none

struct PolicySpec {
  uint16_t minimum_version = 0x0303;
  uint16_t maximum_version = 0x0304;
  std::string ciphers;       // of TLS 1.2 and older: a whole cipher string, @SECLEVEL included
  std::string ciphersuites;  // of TLS 1.3
  std::string groups;        // of TLS 1.3 and of ECDHE before it
  std::string dh_groups;     // of DHE before TLS 1.3: the first that the client may have
  std::string signature_algorithms;
  Preference preference = Preference::Client;
};

struct Policy {
  std::string name;
  uint16_t minimum_version = 0;
  uint16_t maximum_version = 0;
  int security_level = 0;                      // OpenSSL's, 0 to 5
  std::vector<const crypto::Suite*> suites13;  // in the server's order
  std::vector<const crypto::Suite*> suites12;  // of TLS 1.2 and older
  std::vector<std::string> groups;
  std::vector<std::string> dh_groups;
  std::vector<std::string> signature_algorithms;
  Preference preference = Preference::Client;
  std::vector<std::string> warnings;  // what was left out, and why
};

struct PolicyError {
  std::string_view key;  // of PolicySpec; empty: the policy as a whole
  std::string message;   // "what; what to do"
};

[[nodiscard]] tl::expected<Policy, PolicyError> resolve_policy(std::string_view name,
                                                               const PolicySpec& spec);

// What a certificate needs under this policy: bits of strength of its keys and signatures, and a
// suite with a signature algorithm for its kind of key.
[[nodiscard]] int needed_strength_bits(const Policy& policy);
[[nodiscard]] bool can_authenticate(const Policy& policy, bool ecdsa);

// The presets, after Mozilla's guidelines for server-side TLS, by name and dated by their version.
struct Preset {
  std::string_view name;
  PolicySpec spec;
};
[[nodiscard]] std::span<const Preset> policy_presets();
[[nodiscard]] const PolicySpec* find_preset(std::string_view name);  // null when there is none

// "a:b" -> {"a", "b"}; empty parts are left out.
[[nodiscard]] std::vector<std::string> split_names(std::string_view list);
[[nodiscard]] std::string join_names(const std::vector<std::string>& names);

// OpenSSL without openssl.cnf, which could load engines and change every default here. Before the
// first other call into OpenSSL, behind install_wiping_allocator; more than once is harmless.
void initialise_openssl();

}  // namespace sluice::control::handshake
