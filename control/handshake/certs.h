// Certificates: reading and checking them once at start, describing them for the operator, and
// choosing a host by the name that the client asks for.
//
// A Certificate is what the files said, checked, and is shared by all threads. Each handshake
// thread decodes it for itself (context.h), because a key belongs to one OSSL_LIB_CTX.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <unordered_map>
#include <vector>

#include "control/memory.h"

namespace sluice::control::handshake {

inline constexpr size_t kMaxCertificateFileBytes = 1024 * 1024;
inline constexpr size_t kMaxChainLength = 10;

enum class KeyType : uint8_t { Rsa, Ecdsa };
[[nodiscard]] const char* key_type_name(KeyType type);

struct Certificate {
  std::string chain_file;
  std::string key_file;
  std::vector<std::vector<uint8_t>> chain;  // DER, the leaf first
  SecretBytes key;                          // DER
  KeyType type = KeyType::Rsa;
  int strength_bits = 0;  // the least of the chain's keys and signatures, as OpenSSL counts
  // For the operator.
  std::string subject;
  std::string issuer;
  std::vector<std::string> alternative_names;
  std::string key_description;     // "RSA 2048", "ECDSA P-256"
  std::string fingerprint_sha256;  // hex
  int64_t not_before = 0;          // seconds since 1970
  int64_t not_after = 0;
  bool key_file_is_open = false;  // others than its owner may read the key file

  // Whether the leaf is valid for this name or pattern of the configuration.
  [[nodiscard]] bool covers(const std::string& name) const;
};

struct CertificateError {
  enum class File : uint8_t { Chain, Key } file = File::Chain;
  std::string message;  // "what; what to do"
};

// Reads both files; the key must be the leaf's and of a kind and size that TLS here can use.
[[nodiscard]] tl::expected<std::shared_ptr<const Certificate>, CertificateError> load_certificate(
    const std::string& chain_file, const std::string& key_file);

// A host name as RFC 6066 3 wants it in SNI: labels of letters, digits, hyphen and underscore, no
// trailing dot, no address. In lower case; empty when `name` is not one.
[[nodiscard]] std::string normalise_host_name(std::string_view name);
// The same for configuration, where the leftmost label may be "*".
[[nodiscard]] std::string normalise_host_pattern(std::string_view pattern);

// name -> host index. A "*.example.test" entry stands for exactly one label (RFC 6125 6.4.3); an
// exact entry goes first.
class HostTable {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  // False when the name is there already. `pattern` is normalised.
  bool add(const std::string& pattern, uint32_t host);
  // `name` is normalised.
  [[nodiscard]] uint32_t find(const std::string& name) const;

 private:
  std::unordered_map<std::string, uint32_t> exact_;
  std::unordered_map<std::string, uint32_t> wildcard_;  // by what follows "*."
};

}  // namespace sluice::control::handshake
