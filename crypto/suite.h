// The cipher suites that Sluice speaks, one row each: what the record layer and the key schedule
// need to know about a suite is read from here and nowhere else.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace sluice::crypto {

// Values as on the wire (ProtocolVersion of RFC 8446).
enum class TlsVersion : uint16_t {
  Tls10 = 0x0301,
  Tls11 = 0x0302,
  Tls12 = 0x0303,
  Tls13 = 0x0304,
};

enum class Hash : uint8_t { Md5, Sha1, Sha256, Sha384 };

enum class Cipher : uint8_t { Aes128Gcm, Aes256Gcm, Chacha20Poly1305, Aes128Cbc, Aes256Cbc };

inline constexpr uint32_t kMaxKeyLength = 32;
inline constexpr uint32_t kMaxIvLength = 16;  // of CBC; the AEADs have 12
inline constexpr uint32_t kMaxHashLength = 48;
inline constexpr uint32_t kNonceLength = 12;  // of every AEAD here
inline constexpr uint32_t kTagLength = 16;    // of every AEAD here
inline constexpr uint32_t kCbcBlockLength = 16;

struct Suite {
  uint16_t id;  // IANA TLS Cipher Suites registry
  TlsVersion min_version;
  TlsVersion max_version;
  Cipher cipher;
  Hash hash;      // of HKDF (1.3) or of the PRF (1.2; older versions have MD5 and SHA-1 together)
  Hash mac_hash;  // of the CBC suites' HMAC; without meaning for an AEAD
  uint8_t mac_key_length;  // as long as the MAC itself; 0 for an AEAD
  uint8_t key_length;
  // What the key schedule yields: 12 bytes XORed with the sequence (TLS 1.3, and ChaCha20 by RFC
  // 7905), the 4-byte salt of RFC 5288, TLS 1.0's first chaining block. See `fixed_iv_length`.
  uint8_t iv_length;
  // Sent in front of each ciphertext: 8 bytes of nonce by RFC 5288, CBC's IV from TLS 1.1 on; or
  // nothing. See `explicit_nonce_length`.
  uint8_t explicit_length;
  uint8_t tag_length;  // of an AEAD; 0 for CBC
  std::string_view iana_name;
  std::string_view openssl_name;

  [[nodiscard]] constexpr bool is_cbc() const {
    return cipher == Cipher::Aes128Cbc || cipher == Cipher::Aes256Cbc;
  }
  [[nodiscard]] constexpr bool is_aead() const { return !is_cbc(); }
  [[nodiscard]] constexpr bool is_valid_in(TlsVersion version) const {
    return min_version <= version && version <= max_version;
  }

  // Bytes of IV that the key schedule yields in this version.
  [[nodiscard]] constexpr uint32_t fixed_iv_length(TlsVersion version) const {
    // RFC 4346 6.3: the key block has no IVs any more.
    return is_cbc() && version != TlsVersion::Tls10 ? 0 : iv_length;
  }
  // Bytes in front of each ciphertext in this version.
  [[nodiscard]] constexpr uint32_t explicit_nonce_length(TlsVersion version) const {
    // RFC 2246 6.2.3.2: the last ciphertext block of the record before is the IV.
    return is_cbc() && version == TlsVersion::Tls10 ? 0 : explicit_length;
  }
};

// The row of this id, or null when Sluice does not speak the suite. The row lives for ever.
[[nodiscard]] const Suite* find_suite(uint16_t id);

// All rows: those of TLS 1.3, then AEADs, then CBC; with forward secrecy first, strongest key
// first.
[[nodiscard]] std::span<const Suite> all_suites();

[[nodiscard]] constexpr uint32_t hash_length(Hash hash) {
  switch (hash) {
    case Hash::Md5:
      return 16;
    case Hash::Sha1:
      return 20;
    case Hash::Sha256:
      return 32;
    case Hash::Sha384:
      return 48;
  }
  return 0;
}

[[nodiscard]] constexpr uint32_t key_length(Cipher cipher) {
  switch (cipher) {
    case Cipher::Aes128Gcm:
    case Cipher::Aes128Cbc:
      return 16;
    case Cipher::Aes256Gcm:
    case Cipher::Chacha20Poly1305:
    case Cipher::Aes256Cbc:
      return 32;
  }
  return 0;
}

}  // namespace sluice::crypto
