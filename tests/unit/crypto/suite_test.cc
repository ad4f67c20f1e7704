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
  for (const int value : {0x1301, 0x1302, 0xc02b, 0xc02c, 0xc02f, 0xc030}) {
    const auto id = static_cast<uint16_t>(value);
    const Suite* suite = find_suite(id);
    ASSERT_NE(suite, nullptr) << id;
    EXPECT_EQ(suite->id, id);
  }
}

TEST(Suite, WhatSluiceDoesNotSpeakIsNotFound) {
  // TLS_NULL_WITH_NULL_NULL, an RC4 suite, AES-CCM, GREASE, the SCSV.
  for (const int value : {0x0000, 0x0005, 0x1304, 0x0a0a, 0x00ff}) {
    EXPECT_EQ(find_suite(static_cast<uint16_t>(value)), nullptr) << value;
  }
}

TEST(Suite, LengthsFollowFromAlgorithmAndVersion) {
  std::set<uint16_t> ids;
  for (const Suite& suite : all_suites()) {
    SCOPED_TRACE(suite.iana_name);
    EXPECT_TRUE(ids.insert(suite.id).second) << "twice in the table";
    EXPECT_EQ(suite.key_length, key_length(suite.aead));
    EXPECT_EQ(suite.fixed_iv_length + suite.explicit_nonce_length, kNonceLength);
    EXPECT_EQ(suite.tag_length, kTagLength);
    EXPECT_EQ(suite.explicit_nonce_length, suite.version == TlsVersion::Tls12 ? 8 : 0);
    EXPECT_LE(hash_length(suite.hash), kMaxHashLength);
    EXPECT_EQ(suite.hash, suite.key_length == 32 ? Hash::Sha384 : Hash::Sha256);
  }
}

TEST(Suite, NamesAndIdsAreOpenSslsToo) {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_method()),
                                                                  SSL_CTX_free);
  const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), SSL_free);
  for (const Suite& suite : all_suites()) {
    const uint8_t wire[2] = {static_cast<uint8_t>(suite.id >> 8),
                             static_cast<uint8_t>(suite.id & 0xff)};
    const SSL_CIPHER* cipher = SSL_CIPHER_find(ssl.get(), wire);
    ASSERT_NE(cipher, nullptr) << suite.iana_name;
    EXPECT_EQ(suite.openssl_name, SSL_CIPHER_get_name(cipher));
    EXPECT_EQ(suite.iana_name, SSL_CIPHER_standard_name(cipher));
    const char* version = suite.version == TlsVersion::Tls13 ? "TLSv1.3" : "TLSv1.2";
    EXPECT_STREQ(SSL_CIPHER_get_version(cipher), version);
    EXPECT_EQ(SSL_CIPHER_get_bits(cipher, nullptr), suite.key_length * 8);
  }
}

}  // namespace
}  // namespace sluice::crypto
