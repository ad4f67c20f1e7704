// The suite table.
//
// Job: everything that distinguishes one cipher suite from another, as data. A new suite is a new
// row (and, for a new algorithm, a new value of the enums, which makes every switch over them fail
// to compile until it is handled).
// Limits: lookups are linear; the table is short and a lookup happens once a connection.
#include "crypto/suite.h"

namespace sluice::crypto {
namespace {

constexpr uint8_t byte_of(uint32_t value) { return static_cast<uint8_t>(value); }

constexpr Suite tls13(uint16_t id, Cipher cipher, Hash hash, std::string_view name) {
  // RFC 8446 5.3: the per-record nonce is as long as the AEAD's, and nothing of it is sent. The
  // IANA and the OpenSSL name are the same.
  return {id,  TlsVersion::Tls13,           TlsVersion::Tls13, cipher, hash,       hash,
          0,   byte_of(key_length(cipher)), kNonceLength,      0,      kTagLength, name,
          name};
}

constexpr Suite gcm(uint16_t id, Cipher cipher, std::string_view iana_name,
                    std::string_view openssl_name) {
  // RFC 5288 3: a 4-byte salt from the key block, 8 bytes with each record.
  const Hash hash = cipher == Cipher::Aes256Gcm ? Hash::Sha384 : Hash::Sha256;
  return {id,
          TlsVersion::Tls12,
          TlsVersion::Tls12,
          cipher,
          hash,
          hash,
          0,
          byte_of(key_length(cipher)),
          4,
          8,
          kTagLength,
          iana_name,
          openssl_name};
}

constexpr Suite chacha(uint16_t id, std::string_view iana_name, std::string_view openssl_name) {
  // RFC 7905 2: the nonce is made as in TLS 1.3.
  const Cipher cipher = Cipher::Chacha20Poly1305;
  return {id,
          TlsVersion::Tls12,
          TlsVersion::Tls12,
          cipher,
          Hash::Sha256,
          Hash::Sha256,
          0,
          byte_of(key_length(cipher)),
          kNonceLength,
          0,
          kTagLength,
          iana_name,
          openssl_name};
}

// The names of the suites with SHA-1 end in SHA. RFC 5246 1.2 gave them the PRF of SHA-256.
constexpr Suite cbc(uint16_t id, Cipher cipher, Hash mac, std::string_view iana_name,
                    std::string_view openssl_name) {
  const TlsVersion oldest = mac == Hash::Sha1 ? TlsVersion::Tls10 : TlsVersion::Tls12;
  const Hash hash = mac == Hash::Sha384 ? Hash::Sha384 : Hash::Sha256;
  return {id,
          oldest,
          TlsVersion::Tls12,
          cipher,
          hash,
          mac,
          byte_of(hash_length(mac)),
          byte_of(key_length(cipher)),
          kCbcBlockLength,
          kCbcBlockLength,
          0,
          iana_name,
          openssl_name};
}

constexpr auto kAes128Gcm = Cipher::Aes128Gcm;
constexpr auto kAes256Gcm = Cipher::Aes256Gcm;
constexpr auto kAes128Cbc = Cipher::Aes128Cbc;
constexpr auto kAes256Cbc = Cipher::Aes256Cbc;
constexpr auto kSha1 = Hash::Sha1;
constexpr auto kSha256 = Hash::Sha256;
constexpr auto kSha384 = Hash::Sha384;

// clang-format off
constexpr Suite kSuites[] = {
    tls13(0x1302, kAes256Gcm, kSha384, "TLS_AES_256_GCM_SHA384"),
    tls13(0x1303, Cipher::Chacha20Poly1305, kSha256, "TLS_CHACHA20_POLY1305_SHA256"),
    tls13(0x1301, kAes128Gcm, kSha256, "TLS_AES_128_GCM_SHA256"),

    gcm(0xc02c, kAes256Gcm, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-ECDSA-AES256-GCM-SHA384"),
    gcm(0xc030, kAes256Gcm, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
    gcm(0x009f, kAes256Gcm, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", "DHE-RSA-AES256-GCM-SHA384"),
    chacha(0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
           "ECDHE-ECDSA-CHACHA20-POLY1305"),
    chacha(0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
    chacha(0xccaa, "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "DHE-RSA-CHACHA20-POLY1305"),
    gcm(0xc02b, kAes128Gcm, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256"),
    gcm(0xc02f, kAes128Gcm, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    gcm(0x009e, kAes128Gcm, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", "DHE-RSA-AES128-GCM-SHA256"),
    gcm(0x009d, kAes256Gcm, "TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
    gcm(0x009c, kAes128Gcm, "TLS_RSA_WITH_AES_128_GCM_SHA256", "AES128-GCM-SHA256"),

    cbc(0xc024, kAes256Cbc, kSha384, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384",
        "ECDHE-ECDSA-AES256-SHA384"),
    cbc(0xc028, kAes256Cbc, kSha384, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
        "ECDHE-RSA-AES256-SHA384"),
    cbc(0x006b, kAes256Cbc, kSha256, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256",
        "DHE-RSA-AES256-SHA256"),
    cbc(0xc023, kAes128Cbc, kSha256, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
        "ECDHE-ECDSA-AES128-SHA256"),
    cbc(0xc027, kAes128Cbc, kSha256, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
        "ECDHE-RSA-AES128-SHA256"),
    cbc(0x0067, kAes128Cbc, kSha256, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256",
        "DHE-RSA-AES128-SHA256"),
    cbc(0xc00a, kAes256Cbc, kSha1, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
        "ECDHE-ECDSA-AES256-SHA"),
    cbc(0xc014, kAes256Cbc, kSha1, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA-AES256-SHA"),
    cbc(0x0039, kAes256Cbc, kSha1, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA", "DHE-RSA-AES256-SHA"),
    cbc(0xc009, kAes128Cbc, kSha1, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
        "ECDHE-ECDSA-AES128-SHA"),
    cbc(0xc013, kAes128Cbc, kSha1, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-SHA"),
    cbc(0x0033, kAes128Cbc, kSha1, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA", "DHE-RSA-AES128-SHA"),
    cbc(0x003d, kAes256Cbc, kSha256, "TLS_RSA_WITH_AES_256_CBC_SHA256", "AES256-SHA256"),
    cbc(0x003c, kAes128Cbc, kSha256, "TLS_RSA_WITH_AES_128_CBC_SHA256", "AES128-SHA256"),
    cbc(0x0035, kAes256Cbc, kSha1, "TLS_RSA_WITH_AES_256_CBC_SHA", "AES256-SHA"),
    cbc(0x002f, kAes128Cbc, kSha1, "TLS_RSA_WITH_AES_128_CBC_SHA", "AES128-SHA"),
};
// clang-format on

}  // namespace

const Suite* find_suite(uint16_t id) {
  for (const Suite& suite : kSuites) {
    if (suite.id == id) return &suite;
  }
  return nullptr;
}

std::span<const Suite> all_suites() { return kSuites; }

}  // namespace sluice::crypto
