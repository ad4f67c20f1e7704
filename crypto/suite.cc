// The suite table.
//
// Job: everything that distinguishes one cipher suite from another, as data. A new suite is a new
// row (and, for a new algorithm, a new value of the enums, which makes every switch over them fail
// to compile until it is handled).
// Limits: lookups are linear; the table is short and a lookup happens once a connection.
#include "crypto/suite.h"

namespace sluice::crypto {
namespace {

constexpr Suite tls13(uint16_t id, AeadKind aead, Hash hash, std::string_view name) {
  // RFC 8446 5.3: the per-record nonce is as long as the AEAD's, and nothing of it is sent. The
  // IANA and the OpenSSL name are the same.
  return {id, TlsVersion::Tls13, aead, hash, static_cast<uint8_t>(key_length(aead)), kNonceLength,
          0,  kTagLength,        name, name};
}

constexpr Suite tls12_gcm(uint16_t id, AeadKind aead, Hash hash, std::string_view iana_name,
                          std::string_view openssl_name) {
  // RFC 5288 3: a 4-byte salt from the key block, 8 bytes with each record.
  return {id, TlsVersion::Tls12, aead,      hash,        static_cast<uint8_t>(key_length(aead)), 4,
          8,  kTagLength,        iana_name, openssl_name};
}

constexpr Suite kSuites[] = {
    tls13(0x1302, AeadKind::Aes256Gcm, Hash::Sha384, "TLS_AES_256_GCM_SHA384"),
    tls13(0x1301, AeadKind::Aes128Gcm, Hash::Sha256, "TLS_AES_128_GCM_SHA256"),
    tls12_gcm(0xc02c, AeadKind::Aes256Gcm, Hash::Sha384, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
              "ECDHE-ECDSA-AES256-GCM-SHA384"),
    tls12_gcm(0xc030, AeadKind::Aes256Gcm, Hash::Sha384, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
              "ECDHE-RSA-AES256-GCM-SHA384"),
    tls12_gcm(0xc02b, AeadKind::Aes128Gcm, Hash::Sha256, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
              "ECDHE-ECDSA-AES128-GCM-SHA256"),
    tls12_gcm(0xc02f, AeadKind::Aes128Gcm, Hash::Sha256, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
              "ECDHE-RSA-AES128-GCM-SHA256"),
};

}  // namespace

const Suite* find_suite(uint16_t id) {
  for (const Suite& suite : kSuites) {
    if (suite.id == id) return &suite;
  }
  return nullptr;
}

std::span<const Suite> all_suites() { return kSuites; }

}  // namespace sluice::crypto
