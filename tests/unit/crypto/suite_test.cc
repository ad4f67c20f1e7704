// The suite table against the registry, and against OpenSSL's idea of the names.
#include "crypto/suite.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <memory>
#include <set>
#include <string>

namespace sluice::crypto {
namespace {

TEST(Suite, RowsAreFoundByTheirId) {
  for (const int value : {0x1301, 0x1302, 0x1303, 0xc02b, 0xcca8, 0x009e, 0x002f, 0xc028}) {
    const auto id = static_cast<uint16_t>(value);
    const Suite* suite = find_suite(id);
    ASSERT_NE(suite, nullptr) << id;
    EXPECT_EQ(suite->id, id);
  }
}

TEST(Suite, WhatSluiceDoesNotSpeakIsNotFound) {
  // TLS_NULL_WITH_NULL_NULL, an RC4 and a 3DES suite, AES-CCM, GREASE, the SCSV.
  for (const int value : {0x0000, 0x0005, 0x000a, 0x1304, 0x0a0a, 0x00ff}) {
    EXPECT_EQ(find_suite(static_cast<uint16_t>(value)), nullptr) << value;
  }
}

TEST(Suite, LengthsFollowFromAlgorithmAndVersion) {
  std::set<uint16_t> ids;
  for (const Suite& suite : all_suites()) {
    SCOPED_TRACE(suite.iana_name);
    EXPECT_TRUE(ids.insert(suite.id).second) << "twice in the table";
    EXPECT_EQ(suite.key_length, key_length(suite.cipher));
    EXPECT_LE(hash_length(suite.hash), kMaxHashLength);
    EXPECT_NE(suite.is_aead(), suite.is_cbc());
    for (const TlsVersion version :
         {TlsVersion::Tls10, TlsVersion::Tls11, TlsVersion::Tls12, TlsVersion::Tls13}) {
      if (!suite.is_valid_in(version)) continue;
      const uint32_t fixed = suite.fixed_iv_length(version);
      const uint32_t sent = suite.explicit_nonce_length(version);
      // A nonce, or an IV which either is sent or is not.
      EXPECT_EQ(fixed + sent, suite.is_aead() ? kNonceLength : kCbcBlockLength);
      EXPECT_EQ(fixed == 0, suite.is_cbc() && version != TlsVersion::Tls10);
    }
    EXPECT_EQ(suite.tag_length, suite.is_aead() ? kTagLength : 0);
    EXPECT_EQ(suite.mac_key_length, suite.is_aead() ? 0 : hash_length(suite.mac_hash));
  }
}

TEST(Suite, OldVersionsHaveCbcWithSha1Alone) {
  for (const Suite& suite : all_suites()) {
    SCOPED_TRACE(suite.iana_name);
    const bool old = suite.is_cbc() && suite.mac_hash == Hash::Sha1;
    EXPECT_EQ(suite.is_valid_in(TlsVersion::Tls10), old);
    EXPECT_EQ(suite.is_valid_in(TlsVersion::Tls11), old);
    EXPECT_NE(suite.is_valid_in(TlsVersion::Tls12), suite.is_valid_in(TlsVersion::Tls13));
  }
}

int cipher_nid(Cipher cipher) {
  switch (cipher) {
    case Cipher::Aes128Gcm:
      return NID_aes_128_gcm;
    case Cipher::Aes256Gcm:
      return NID_aes_256_gcm;
    case Cipher::Chacha20Poly1305:
      return NID_chacha20_poly1305;
    case Cipher::Aes128Cbc:
      return NID_aes_128_cbc;
    case Cipher::Aes256Cbc:
      return NID_aes_256_cbc;
  }
  return NID_undef;
}

// The rows are exactly what OpenSSL offers of certificates, AES and ChaCha20, and say the same.
TEST(Suite, RowsAreOpenSslsToo) {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_method()),
                                                                  SSL_CTX_free);
  ASSERT_EQ(SSL_CTX_set_cipher_list(context.get(),
                                    "aRSA+AES:aECDSA+AES:aRSA+CHACHA20:aECDSA+CHACHA20:!kPSK:"
                                    "!kRSAPSK:!kSRP:!AESCCM:@SECLEVEL=0"),
            1);
  const STACK_OF(SSL_CIPHER)* ciphers = SSL_CTX_get_ciphers(context.get());
  EXPECT_EQ(static_cast<size_t>(sk_SSL_CIPHER_num(ciphers)), all_suites().size());
  for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); ++i) {
    const SSL_CIPHER* cipher = sk_SSL_CIPHER_value(ciphers, i);
    SCOPED_TRACE(SSL_CIPHER_get_name(cipher));
    const Suite* suite = find_suite(SSL_CIPHER_get_protocol_id(cipher));
    ASSERT_NE(suite, nullptr);
    EXPECT_EQ(suite->openssl_name, SSL_CIPHER_get_name(cipher));
    EXPECT_EQ(suite->iana_name, SSL_CIPHER_standard_name(cipher));
    EXPECT_EQ(SSL_CIPHER_get_cipher_nid(cipher), cipher_nid(suite->cipher));
    EXPECT_EQ(SSL_CIPHER_is_aead(cipher) == 1, suite->is_aead());
    EXPECT_EQ(SSL_CIPHER_get_bits(cipher, nullptr), suite->key_length * 8);
    // Where OpenSSL says MD5-SHA1, which is meant for older versions, TLS 1.2 has SHA-256.
    const std::string digest = EVP_MD_get0_name(SSL_CIPHER_get_handshake_digest(cipher));
    EXPECT_EQ(digest == "SHA384", suite->hash == Hash::Sha384);
    EXPECT_EQ(digest == "SHA256" || digest == "MD5-SHA1", suite->hash == Hash::Sha256);
    const std::string version = SSL_CIPHER_get_version(cipher);
    EXPECT_EQ(version == "TLSv1.3", suite->is_valid_in(TlsVersion::Tls13));
    EXPECT_EQ(version == "TLSv1.2",
              suite->is_valid_in(TlsVersion::Tls12) && !suite->is_valid_in(TlsVersion::Tls11));
    if (suite->is_cbc()) {
      const EVP_MD* mac = EVP_get_digestbynid(SSL_CIPHER_get_digest_nid(cipher));
      ASSERT_NE(mac, nullptr);
      EXPECT_EQ(EVP_MD_get_size(mac), suite->mac_key_length);
    }
  }
}

}  // namespace
}  // namespace sluice::crypto
