// Certificates as files, host names, and the table that finds a host by name.
#include "control/handshake/certs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "control/handshake/policy.h"
#include "test_certificates.h"

namespace sluice::control::testing {
namespace {

using handshake::HostTable;
using handshake::load_certificate;
using handshake::normalise_host_name;
using handshake::normalise_host_pattern;
using ::testing::HasSubstr;

TEST(HostName, Normalise) {
  struct Row {
    std::string name;
    std::string normal;
  };
  const std::string label63(63, 'a');
  const Row rows[] = {
      {"Example.COM", "example.com"},
      {"localhost", "localhost"},
      {"a-b.c_d.e1", "a-b.c_d.e1"},
      {"xn--bcher-kva.example", "xn--bcher-kva.example"},
      {label63 + ".com", label63 + ".com"},
      {label63 + "a.com", ""},
      {"", ""},
      {".", ""},
      {"a..b", ""},
      {".a", ""},
      {"a.", ""},
      {"-a.b", ""},
      {"a-.b", ""},
      {"a b", ""},
      {"a/b", ""},
      {std::string("a\0b", 3), ""},
      {"b\xc3\xbc"
       "cher.de",
       ""},
      {"10.0.0.1", ""},
      {"*.a", ""},
      {std::string(254, 'a'), ""},
  };
  for (const Row& row : rows) EXPECT_EQ(normalise_host_name(row.name), row.normal) << row.name;
  EXPECT_EQ(normalise_host_pattern("*.Example.com"), "*.example.com");
  EXPECT_EQ(normalise_host_pattern("a.*.com"), "");
  EXPECT_EQ(normalise_host_pattern("*"), "");
  EXPECT_EQ(normalise_host_pattern("*."), "");
  EXPECT_EQ(normalise_host_pattern("*a.com"), "");
}

TEST(HostTable, ExactBeforeWildcardOfOneLabel) {
  HostTable table;
  EXPECT_TRUE(table.add("a.test", 0));
  EXPECT_TRUE(table.add("*.a.test", 1));
  EXPECT_TRUE(table.add("x.a.test", 2));
  EXPECT_FALSE(table.add("a.test", 3));
  EXPECT_FALSE(table.add("*.a.test", 3));
  EXPECT_EQ(table.find("a.test"), 0U);
  EXPECT_EQ(table.find("y.a.test"), 1U);
  EXPECT_EQ(table.find("x.a.test"), 2U);
  EXPECT_EQ(table.find("z.y.a.test"), HostTable::kNone);
  EXPECT_EQ(table.find("test"), HostTable::kNone);
  EXPECT_EQ(table.find("b.test"), HostTable::kNone);
}

class Certificates : public ::testing::Test {
 protected:
  Certificates() { handshake::initialise_openssl(); }
  std::string error_of(const Leaf& leaf, handshake::CertificateError::File file) const {
    const auto loaded = load_certificate(directory_.file(leaf.chain), directory_.file(leaf.key));
    if (loaded) return "loaded";
    EXPECT_EQ(loaded.error().file, file) << loaded.error().message;
    return loaded.error().message;
  }
  static constexpr auto kChain = handshake::CertificateError::File::Chain;
  static constexpr auto kKey = handshake::CertificateError::File::Key;
  TempDirectory directory_;
  TestCa ca_{directory_};
};

TEST_F(Certificates, LoadsAndDescribes) {
  struct Row {
    TestKey type;
    const char* description;
    handshake::KeyType key_type;
  };
  constexpr Row kRows[] = {{TestKey::Rsa2048, "RSA 2048", handshake::KeyType::Rsa},
                           {TestKey::EcP256, "ECDSA P-256", handshake::KeyType::Ecdsa},
                           {TestKey::EcP384, "ECDSA P-384", handshake::KeyType::Ecdsa}};
  for (const Row& row : kRows) {
    const Leaf leaf = ca_.issue("leaf", row.type, {"a.test", "*.b.test"});
    const auto loaded = load_certificate(directory_.file(leaf.chain), directory_.file(leaf.key));
    ASSERT_TRUE(loaded.has_value()) << loaded.error().message;
    const handshake::Certificate& certificate = **loaded;
    EXPECT_EQ(certificate.key_description, row.description);
    EXPECT_EQ(certificate.type, row.key_type);
    EXPECT_EQ(certificate.subject, "CN=leaf");
    EXPECT_EQ(certificate.issuer, "CN=Sluice test CA");
    EXPECT_THAT(certificate.alternative_names, ::testing::ElementsAre("a.test", "*.b.test"));
    EXPECT_EQ(certificate.fingerprint_sha256.size(), 64U);
    EXPECT_EQ(certificate.chain.size(), 2U);
    EXPECT_FALSE(certificate.key_file_is_open);
    EXPECT_TRUE(certificate.covers("a.test"));
    EXPECT_TRUE(certificate.covers("x.b.test"));
    EXPECT_TRUE(certificate.covers("*.b.test"));
    EXPECT_FALSE(certificate.covers("b.test"));
    EXPECT_FALSE(certificate.covers("*.a.test"));
  }
}

TEST_F(Certificates, RefusesWithTheFileThatIsWrong) {
  const Leaf good = ca_.issue("good", TestKey::EcP256, {"a.test"});
  const Leaf other = ca_.issue("other", TestKey::EcP256, {"b.test"});
  EXPECT_THAT(error_of({good.chain, other.key}, kKey), HasSubstr("does not belong"));
  EXPECT_THAT(error_of({"missing.pem", good.key}, kChain), HasSubstr("No such file"));
  EXPECT_THAT(error_of({good.chain, "missing.key"}, kKey), HasSubstr("No such file"));
  EXPECT_THAT(error_of(ca_.issue("small", TestKey::Rsa1024, {"a.test"}), kKey),
              HasSubstr("1024 bits"));
  EXPECT_THAT(error_of(ca_.issue("curve", TestKey::EcP224, {"a.test"}), kKey), HasSubstr("P-256"));
  EXPECT_THAT(error_of(ca_.issue("ed", TestKey::Ed25519, {"a.test"}), kKey),
              HasSubstr("neither RSA nor ECDSA"));
  directory_.write("empty.pem", "");
  directory_.write("text.pem", "not PEM\n");
  directory_.write("torn.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  for (const char* file : {"empty.pem", "text.pem", "torn.pem"}) {
    EXPECT_THAT(error_of({file, good.key}, kChain), HasSubstr("holds no certificate chain"));
    EXPECT_THAT(error_of({good.chain, file}, kKey), HasSubstr("holds no usable key"));
  }
  EXPECT_THAT(error_of({".", good.key}, kChain), HasSubstr("not a file"));
  directory_.write("encrypted.key",
                   "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n"
                   "-----END ENCRYPTED PRIVATE KEY-----\n");
  EXPECT_THAT(error_of({good.chain, "encrypted.key"}, kKey), HasSubstr("unencrypted"));
}

TEST_F(Certificates, OpenKeyFileIsNoticed) {
  const Leaf leaf = ca_.issue("leaf", TestKey::EcP256, {"a.test"});
  chmod(directory_.file(leaf.key).c_str(), 0644);
  const auto loaded = load_certificate(directory_.file(leaf.chain), directory_.file(leaf.key));
  ASSERT_TRUE(loaded.has_value());
  EXPECT_TRUE((*loaded)->key_file_is_open);
}

}  // namespace
}  // namespace sluice::control::testing
