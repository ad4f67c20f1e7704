// Project Wycheproof: every row that the API can say, the invalid ones too. What it cannot say is
// another nonce length, another key length or a cut-off tag of an AEAD: the number of rows used is
// asserted, so that none goes missing.
#include <gtest/gtest.h>

#include <algorithm>

#include "arch_fixture.h"
#include "crypto/aead.h"
#include "crypto/key_schedule.h"
#include "json_vectors.h"

namespace sluice::crypto {
namespace {

using test::bytes_of;
using test::ByteVector;
using test::is_valid;
using test::row_name;
using test::wycheproof_groups;
using Json = nlohmann::json;

class Wycheproof : public test::OnEveryArch {
 protected:
  // Seals and opens one row in pieces of `size`.
  void check_aead(const AeadKey& key, const Json& row, size_t size);
  // All rows of the file with a key of that many bits; returns how many there were.
  int check_aead_file(const std::string& file, Cipher cipher);
  int check_hmac_file(const std::string& file, Hash hash);
  int check_hkdf_file(const std::string& file, Hash hash);
};
INSTANTIATE_TEST_SUITE_P(Arch, Wycheproof, test::kEveryArch, test::arch_test_name);

std::vector<ConstPiece> cut(const ByteVector& bytes, size_t size) {
  std::vector<ConstPiece> pieces;
  for (size_t at = 0; at < bytes.size(); at += size) {
    pieces.push_back({bytes.data() + at, static_cast<uint32_t>(std::min(size, bytes.size() - at))});
  }
  return pieces;
}

// An invalid row's message is what a careless implementation would open; it has to be sealed to
// something else, unless nothing but the tag was changed.
void Wycheproof::check_aead(const AeadKey& key, const Json& row, size_t size) {
  const ByteVector nonce = bytes_of(row, "iv");
  const ByteVector aad = bytes_of(row, "aad");
  const ByteVector plaintext = bytes_of(row, "msg");
  const ByteVector ciphertext = bytes_of(row, "ct");
  const ByteVector tag = bytes_of(row, "tag");
  ASSERT_EQ(tag.size(), kTagLength);
  ASSERT_EQ(plaintext.size(), ciphertext.size());
  const Nonce fixed(nonce.data(), kNonceLength);

  ByteVector out(ciphertext.size(), 0xff);
  EXPECT_EQ(open(provider(), key, fixed, aad, cut(ciphertext, size), tag.data(), out.data()),
            is_valid(row));
  EXPECT_EQ(out, is_valid(row) ? plaintext : ByteVector(out.size(), 0));

  ByteVector made_tag(kTagLength);
  seal(provider(), key, fixed, aad, cut(plaintext, size), out.data(), made_tag.data());
  EXPECT_EQ(out == ciphertext && made_tag == tag, is_valid(row));
}

int Wycheproof::check_aead_file(const std::string& file, Cipher cipher) {
  int rows = 0;
  for (const Json& group : wycheproof_groups(file)) {
    if (group.at("keySize") != 8 * key_length(cipher)) continue;
    if (group.at("ivSize") != 8 * kNonceLength) continue;
    for (const Json& row : group.at("tests")) {
      SCOPED_TRACE(row_name(file, row));
      AeadKey key;
      EXPECT_TRUE(key.expand(provider(), cipher, bytes_of(row, "key")));
      for (const size_t size : {size_t{1} << 20, size_t{1}, size_t{13}, size_t{64}}) {
        check_aead(key, row, size);
      }
      ++rows;
    }
  }
  return rows;
}

TEST_P(Wycheproof, AesGcm) {
  EXPECT_EQ(check_aead_file("aes_gcm_test.json", Cipher::Aes128Gcm), 49);
  EXPECT_EQ(check_aead_file("aes_gcm_test.json", Cipher::Aes256Gcm), 48);
}

TEST_P(Wycheproof, Chacha20Poly1305) {
  EXPECT_EQ(check_aead_file("chacha20_poly1305_test.json", Cipher::Chacha20Poly1305), 293);
}

// Shorter tags are the first bytes of the whole MAC.
int Wycheproof::check_hmac_file(const std::string& file, Hash hash) {
  int rows = 0;
  for (const Json& group : wycheproof_groups(file)) {
    for (const Json& row : group.at("tests")) {
      SCOPED_TRACE(row_name(file, row));
      ByteVector mac(hash_length(hash));
      EXPECT_TRUE(hmac(provider(), hash, bytes_of(row, "key"), bytes_of(row, "msg"), mac));
      const ByteVector tag = bytes_of(row, "tag");
      EXPECT_LE(tag.size(), mac.size());
      EXPECT_EQ(equal_constant_time(mac.data(), tag.data(), tag.size()), is_valid(row));
      ++rows;
    }
  }
  return rows;
}

TEST_P(Wycheproof, Hmac) {
  EXPECT_EQ(check_hmac_file("hmac_sha1_test.json", Hash::Sha1), 170);
  EXPECT_EQ(check_hmac_file("hmac_sha256_test.json", Hash::Sha256), 174);
  EXPECT_EQ(check_hmac_file("hmac_sha384_test.json", Hash::Sha384), 174);
}

// The invalid rows ask for more than 255 blocks of output.
int Wycheproof::check_hkdf_file(const std::string& file, Hash hash) {
  int rows = 0;
  for (const Json& group : wycheproof_groups(file)) {
    for (const Json& row : group.at("tests")) {
      SCOPED_TRACE(row_name(file, row));
      HashSecret extracted;
      EXPECT_TRUE(
          hkdf_extract(provider(), hash, bytes_of(row, "salt"), bytes_of(row, "ikm"), extracted));
      ByteVector out(row.at("size").get<size_t>(), 0xff);
      EXPECT_EQ(hkdf_expand(provider(), hash, extracted.span(), bytes_of(row, "info"), out),
                is_valid(row));
      EXPECT_EQ(out, is_valid(row) ? bytes_of(row, "okm") : ByteVector(out.size(), 0));
      ++rows;
    }
  }
  return rows;
}

TEST_P(Wycheproof, Hkdf) {
  EXPECT_EQ(check_hkdf_file("hkdf_sha256_test.json", Hash::Sha256), 105);
  EXPECT_EQ(check_hkdf_file("hkdf_sha384_test.json", Hash::Sha384), 102);
}

}  // namespace
}  // namespace sluice::crypto
