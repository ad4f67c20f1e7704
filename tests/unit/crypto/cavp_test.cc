// NIST CAVP, AES-GCM: the sections with TLS's nonce and tag lengths, of which 387 rows are FAIL.
#include <gtest/gtest.h>

#include <fstream>
#include <stdexcept>

#include "arch_fixture.h"
#include "crypto/aead.h"
#include "vectors.h"

namespace sluice::crypto {
namespace {

using test::ByteVector;
using test::from_hex;

class Cavp : public test::OnEveryArch {};
INSTANTIATE_TEST_SUITE_P(Arch, Cavp, test::kEveryArch, test::arch_test_name);

struct Row {
  std::map<std::string, ByteVector> fields;
  std::string name;
  bool fails = false;

  const ByteVector& bytes(const char* field) const { return fields.at(field); }
  std::span<const ConstPiece> pieces(const char* field, ConstPiece& piece) const {
    piece = {bytes(field).data(), static_cast<uint32_t>(bytes(field).size())};
    return {&piece, 1};
  }
  Nonce nonce() const { return Nonce(bytes("IV").data(), kNonceLength); }
};

// Rows begin with "Count = n"; "[...]" lines say lengths that the fields have themselves.
std::vector<Row> read_rows(const std::string& file) {
  std::ifstream stream(std::string(SLUICE_VECTORS_DIR) + "/nist_gcm/" + file);
  if (!stream) throw std::runtime_error("cannot open " + file);
  std::vector<Row> rows;
  std::string line;
  for (int number = 1; std::getline(stream, line); ++number) {
    const size_t equals = line.find(" =");
    if (line.empty() || line[0] == '#' || line[0] == '[') continue;
    if (line == "FAIL") {
      rows.at(rows.size() - 1).fails = true;
      continue;
    }
    if (equals == std::string::npos) throw std::runtime_error(file + ": not a field: " + line);
    const std::string field = line.substr(0, equals);
    if (field == "Count") {
      rows.push_back({{}, file + ":" + std::to_string(number), false});
    } else {
      const size_t value = line.find_first_not_of(" =", equals);
      rows.at(rows.size() - 1).fields[field] =
          value == std::string::npos ? ByteVector{} : from_hex(line.substr(value));
    }
  }
  return rows;
}

TEST_P(Cavp, GcmEncrypt) {
  for (const auto& [file, cipher] : {std::pair{"gcmEncryptExtIV128.rsp", Cipher::Aes128Gcm},
                                     std::pair{"gcmEncryptExtIV256.rsp", Cipher::Aes256Gcm}}) {
    const std::vector<Row> rows = read_rows(file);
    EXPECT_EQ(rows.size(), 375U);
    for (const Row& row : rows) {
      SCOPED_TRACE(row.name);
      AeadKey key;
      ASSERT_TRUE(key.expand(provider(), cipher, row.bytes("Key")));
      ConstPiece piece;
      ByteVector out(row.bytes("PT").size());
      ByteVector tag(kTagLength);
      seal(provider(), key, row.nonce(), row.bytes("AAD"), row.pieces("PT", piece), out.data(),
           tag.data());
      ASSERT_EQ(out, row.bytes("CT"));
      ASSERT_EQ(tag, row.bytes("Tag"));
    }
  }
}

TEST_P(Cavp, GcmDecrypt) {
  int failing = 0;
  for (const auto& [file, cipher] : {std::pair{"gcmDecrypt128.rsp", Cipher::Aes128Gcm},
                                     std::pair{"gcmDecrypt256.rsp", Cipher::Aes256Gcm}}) {
    const std::vector<Row> rows = read_rows(file);
    EXPECT_EQ(rows.size(), 375U);
    for (const Row& row : rows) {
      SCOPED_TRACE(row.name);
      AeadKey key;
      ASSERT_TRUE(key.expand(provider(), cipher, row.bytes("Key")));
      ConstPiece piece;
      ByteVector out(row.bytes("CT").size(), 0xff);
      ASSERT_EQ(open(provider(), key, row.nonce(), row.bytes("AAD"), row.pieces("CT", piece),
                     row.bytes("Tag").data(), out.data()),
                !row.fails);
      ASSERT_EQ(out, row.fails ? ByteVector(out.size(), 0) : row.bytes("PT"));
      failing += row.fails ? 1 : 0;
    }
  }
  EXPECT_EQ(failing, 387);
}

}  // namespace
}  // namespace sluice::crypto
