// The cipher suites that Sluice speaks, one row each: what the record layer and the key schedule
// need to know about a suite is read from here and nowhere else.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace sluice::crypto {

// Values as on the wire (ProtocolVersion of RFC 8446).
enum class TlsVersion : uint16_t { Tls12 = 0x0303, Tls13 = 0x0304 };

enum class Hash : uint8_t { Sha256, Sha384 };

enum class AeadKind : uint8_t { Aes128Gcm, Aes256Gcm };

inline constexpr uint32_t kMaxKeyLength = 32;
inline constexpr uint32_t kMaxIvLength = 12;
inline constexpr uint32_t kMaxHashLength = 48;
inline constexpr uint32_t kNonceLength = 12;  // of every AEAD here
inline constexpr uint32_t kTagLength = 16;    // of every AEAD here

struct Suite {
  uint16_t id;  // IANA TLS Cipher Suites registry
  TlsVersion version;
  AeadKind aead;
  Hash hash;  // of HKDF (1.3) or of the PRF (1.2)
  uint8_t key_length;
  // What the key schedule yields: 12 bytes in TLS 1.3 (XORed with the sequence), the 4-byte salt of
  // RFC 5288 in TLS 1.2.
  uint8_t fixed_iv_length;
  uint8_t explicit_nonce_length;  // sent in front of each ciphertext; 0 or 8
  uint8_t tag_length;
  std::string_view iana_name;
  std::string_view openssl_name;
};

// The row of this id, or null when Sluice does not speak the suite. The row lives for ever.
[[nodiscard]] const Suite* find_suite(uint16_t id);

// All rows, strongest key first within a version.
[[nodiscard]] std::span<const Suite> all_suites();

[[nodiscard]] constexpr uint32_t hash_length(Hash hash) {
  switch (hash) {
    case Hash::Sha256:
      return 32;
    case Hash::Sha384:
      return 48;
  }
  return 0;
}

[[nodiscard]] constexpr uint32_t key_length(AeadKind kind) {
  switch (kind) {
    case AeadKind::Aes128Gcm:
      return 16;
    case AeadKind::Aes256Gcm:
      return 32;
  }
  return 0;
}

}  // namespace sluice::crypto
