// Certificates made for a test: a CA, and leaves signed by it, as files in a directory of their
// own.
#pragma once

#include <openssl/x509.h>

#include <string>
#include <vector>

namespace sluice::control::testing {

// A directory that goes with the object.
class TempDirectory {
 public:
  TempDirectory();
  ~TempDirectory();
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }
  void write(const std::string& name, const std::string& text) const;

 private:
  std::string path_;
};

enum class TestKey { Rsa2048, Rsa1024, EcP256, EcP384, EcP224, Ed25519 };

struct Leaf {
  std::string chain;  // file names
  std::string key;
};

class TestCa {
 public:
  explicit TestCa(const TempDirectory& directory);
  ~TestCa();
  TestCa(const TestCa&) = delete;
  TestCa& operator=(const TestCa&) = delete;
  // Writes <name>.pem (leaf and CA) and <name>.key.
  Leaf issue(const std::string& name, TestKey type, const std::vector<std::string>& dns_names,
             int valid_days = 30) const;
  [[nodiscard]] X509* certificate() const { return certificate_; }

 private:
  const TempDirectory& directory_;
  EVP_PKEY* key_ = nullptr;
  X509* certificate_ = nullptr;
};

}  // namespace sluice::control::testing
