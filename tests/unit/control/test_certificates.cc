#include "test_certificates.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace sluice::control::testing {
namespace {

EVP_PKEY* make_key(TestKey type) {
  switch (type) {
    case TestKey::Rsa2048:
      return EVP_RSA_gen(2048);
    case TestKey::Rsa1024:
      return EVP_RSA_gen(1024);
    case TestKey::EcP256:
      return EVP_EC_gen("P-256");
    case TestKey::EcP384:
      return EVP_EC_gen("P-384");
    case TestKey::EcP224:
      return EVP_EC_gen("P-224");
    case TestKey::Ed25519:
      return EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
  }
  return nullptr;
}

void add_extension(X509* certificate, int nid, const std::string& value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

X509* make_certificate(const std::string& common_name, EVP_PKEY* key, int days, long serial) {
  X509* certificate = X509_new();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -24L * 3600 * 400);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 24L * 3600 * days);
  X509_set_pubkey(certificate, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const uint8_t*>(common_name.c_str()), -1, -1, 0);
  return certificate;
}

std::FILE* open_file(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "we");
  if (file == nullptr) throw std::runtime_error("cannot write " + path);
  fchmod(fileno(file), 0600);
  return file;
}

}  // namespace

TempDirectory::TempDirectory() {
  char name[] = "/tmp/sluice-test-XXXXXX";
  path_ = mkdtemp(name);
}

TempDirectory::~TempDirectory() { std::filesystem::remove_all(path_); }

void TempDirectory::write(const std::string& name, const std::string& text) const {
  std::ofstream(file(name)) << text;
}

TestCa::TestCa(const TempDirectory& directory) : directory_(directory), key_(EVP_EC_gen("P-256")) {
  certificate_ = make_certificate("Sluice test CA", key_, 30, 1);
  X509_set_issuer_name(certificate_, X509_get_subject_name(certificate_));
  add_extension(certificate_, NID_basic_constraints, "critical,CA:TRUE");
  X509_sign(certificate_, key_, EVP_sha256());
}

TestCa::~TestCa() {
  X509_free(certificate_);
  EVP_PKEY_free(key_);
}

Leaf TestCa::issue(const std::string& name, TestKey type, const std::vector<std::string>& dns_names,
                   int valid_days) const {
  EVP_PKEY* key = make_key(type);
  X509* leaf = make_certificate(name, key, valid_days, 2);
  X509_set_issuer_name(leaf, X509_get_subject_name(certificate_));
  std::string names;
  for (const std::string& dns : dns_names) names += (names.empty() ? "DNS:" : ",DNS:") + dns;
  if (!names.empty()) add_extension(leaf, NID_subject_alt_name, names);
  X509_sign(leaf, key_, EVP_sha256());
  std::FILE* file = open_file(directory_.file(name + ".pem"));
  PEM_write_X509(file, leaf);
  PEM_write_X509(file, certificate_);
  std::fclose(file);
  file = open_file(directory_.file(name + ".key"));
  PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(file);
  X509_free(leaf);
  EVP_PKEY_free(key);
  return {name + ".pem", name + ".key"};
}

}  // namespace sluice::control::testing
