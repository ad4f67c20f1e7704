// AES-CBC of whole records against published answers: Wycheproof's AES-CBC-PKCS5, and records of
// another implementation, MAC-then-encrypt and encrypt-then-MAC (RFC 7366).
//
// TLS pads otherwise than PKCS #5 (n bytes of n - 1 instead of n), so that PKCS #5's padding is
// part of a record's plaintext here and a block of TLS's own follows. A row's ciphertext then
// stands in the record as it is, and the record opens to the padded message.
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <algorithm>
#include <memory>

#include "arch_fixture.h"
#include "crypto/cbc_hmac.h"
#include "crypto/key_schedule.h"
#include "json_vectors.h"

namespace sluice::crypto {
namespace {

using test::bytes_of;
using test::ByteVector;
using test::is_valid;
using test::Vector;

constexpr uint32_t kBlock = kCbcBlockLength;
constexpr uint16_t kAes128Sha256 = 0x003C;  // TLS_RSA_WITH_AES_128_CBC_SHA256
constexpr uint16_t kAes256Sha256 = 0x003D;

const ByteVector kMacKey(32, 0x4d);

CbcRecord record_of(const CbcHmacKey& key, bool encrypt_then_mac, ByteVector& fragment) {
  CbcRecord record{};
  record.key = &key;
  record.sequence = 7;
  record.type = 23;
  record.version = TlsVersion::Tls12;
  record.encrypt_then_mac = encrypt_then_mac;
  record.fragment = fragment.data();
  return record;
}

// The fragment that sealing makes of this plaintext.
ByteVector sealed(const Provider& provider, CbcRecord record, const ByteVector& iv,
                  const ByteVector& plaintext) {
  const auto length = static_cast<uint32_t>(plaintext.size());
  ByteVector fragment(
      cbc_sealed_length(record.key->mac_hash(), record.version, record.encrypt_then_mac, length));
  std::copy(plaintext.begin(), plaintext.end(), fragment.begin() + kBlock);
  std::copy(iv.begin(), iv.end(), record.iv);
  record.fragment = fragment.data();
  CbcSealJob job{record, length};
  seal_batch(provider, {&job, 1});
  return fragment;
}

struct Opened {
  bool ok;
  ByteVector plaintext;
};

Opened opened(const Provider& provider, CbcRecord record, ByteVector fragment) {
  record.fragment = fragment.data();
  CbcOpenJob job{};
  job.record = record;
  job.fragment_length = static_cast<uint32_t>(fragment.size());
  open_batch(provider, {&job, 1});
  if (!job.ok) {
    EXPECT_TRUE(std::all_of(fragment.begin(), fragment.end(), [](uint8_t b) { return b == 0; }));
    return {false, {}};
  }
  const auto begin = fragment.begin() + job.plaintext_offset;
  return {true, ByteVector(begin, begin + job.plaintext_length)};
}

// CBC alone, by OpenSSL.
ByteVector raw_decrypt(const ByteVector& key, const ByteVector& iv, const ByteVector& ciphertext) {
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(
      EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  ByteVector out(ciphertext.size() + kBlock);
  int length = 0;
  EXPECT_EQ(
      EVP_DecryptInit_ex(context.get(), key.size() == 16 ? EVP_aes_128_cbc() : EVP_aes_256_cbc(),
                         nullptr, key.data(), iv.data()),
      1);
  EVP_CIPHER_CTX_set_padding(context.get(), 0);
  EXPECT_EQ(EVP_DecryptUpdate(context.get(), out.data(), &length, ciphertext.data(),
                              static_cast<int>(ciphertext.size())),
            1);
  out.resize(ciphertext.size());
  return out;
}

bool ends_with(const ByteVector& bytes, size_t count, uint8_t value) {
  return count <= bytes.size() &&
         std::all_of(bytes.end() - static_cast<ptrdiff_t>(count), bytes.end(),
                     [value](uint8_t byte) { return byte == value; });
}

// The message under PKCS #5's padding; false when that is wrong.
bool unpad_pkcs5(const ByteVector& padded, ByteVector& message) {
  if (padded.empty()) return false;
  const uint8_t count = padded.back();
  if (count == 0 || count > kBlock || !ends_with(padded, count, count)) return false;
  message.assign(padded.begin(), padded.end() - count);
  return true;
}

// RFC 5246 6.2.3.2.
bool is_padded_for_tls(const ByteVector& bytes) {
  return ends_with(bytes, size_t{bytes.back()} + 1, bytes.back());
}

class CbcVectors : public test::OnEveryArch {
 protected:
  void check_pkcs5(const CbcHmacKey& key, const nlohmann::json& row);
  void check_bare(const CbcHmacKey& key, const ByteVector& iv, const ByteVector& ciphertext,
                  const ByteVector& raw);
};
INSTANTIATE_TEST_SUITE_P(Arch, CbcVectors, test::kEveryArch, test::arch_test_name);

// The ciphertext alone in a record with the right MAC: it opens if and only if its last bytes
// happen to be TLS's padding.
void CbcVectors::check_bare(const CbcHmacKey& key, const ByteVector& iv,
                            const ByteVector& ciphertext, const ByteVector& raw) {
  ByteVector fragment = iv;
  fragment.insert(fragment.end(), ciphertext.begin(), ciphertext.end());
  const auto covered = static_cast<uint8_t>(fragment.size());
  ASSERT_LT(fragment.size(), 256U);
  ByteVector message = {0, 0, 0, 0, 0, 0, 0, 7, 23, 3, 3, 0, covered};
  message.insert(message.end(), fragment.begin(), fragment.end());
  ByteVector mac(32);
  ASSERT_TRUE(hmac(provider(), Hash::Sha256, kMacKey, message, mac));
  fragment.insert(fragment.end(), mac.begin(), mac.end());

  const Opened got = opened(provider(), record_of(key, true, fragment), fragment);
  const bool whole = !ciphertext.empty() && ciphertext.size() % kBlock == 0;
  ASSERT_EQ(got.ok, whole && is_padded_for_tls(raw));
  if (!got.ok) return;
  EXPECT_EQ(got.plaintext, ByteVector(raw.begin(), raw.end() - raw.back() - 1));
}

void CbcVectors::check_pkcs5(const CbcHmacKey& key, const nlohmann::json& row) {
  const ByteVector iv = bytes_of(row, "iv");
  const ByteVector ciphertext = bytes_of(row, "ct");
  const bool whole = !ciphertext.empty() && ciphertext.size() % kBlock == 0;
  const ByteVector raw = whole ? raw_decrypt(bytes_of(row, "key"), iv, ciphertext) : ByteVector{};
  check_bare(key, iv, ciphertext, raw);
  ByteVector message;
  ASSERT_EQ(unpad_pkcs5(raw, message), is_valid(row));
  if (is_valid(row)) {
    ASSERT_EQ(message, bytes_of(row, "msg"));
  }

  ByteVector none;
  const ByteVector fragment = sealed(provider(), record_of(key, true, none), iv, raw);
  ASSERT_EQ(fragment.size(), kBlock + raw.size() + kBlock + 32);
  ASSERT_EQ(ByteVector(fragment.begin(), fragment.begin() + kBlock), iv);
  if (whole) {
    const auto begin = fragment.begin() + kBlock;
    ASSERT_EQ(ByteVector(begin, begin + static_cast<ptrdiff_t>(raw.size())), ciphertext);
  }
  const Opened got = opened(provider(), record_of(key, true, none), fragment);
  ASSERT_TRUE(got.ok);
  ASSERT_EQ(got.plaintext, raw);
}

TEST_P(CbcVectors, WycheproofPkcs5) {
  int rows = 0;
  for (const auto& group : test::wycheproof_groups("aes_cbc_pkcs5_test.json")) {
    if (group.at("keySize") == 192) continue;
    const Suite& suite = *find_suite(group.at("keySize") == 128 ? kAes128Sha256 : kAes256Sha256);
    for (const auto& row : group.at("tests")) {
      SCOPED_TRACE(test::row_name("aes_cbc_pkcs5_test.json", row));
      CbcHmacKey key;
      ASSERT_TRUE(key.expand(provider(), suite, bytes_of(row, "key"), kMacKey));
      check_pkcs5(key, row);
      ++rows;
    }
  }
  EXPECT_EQ(rows, 122);
}

TEST_P(CbcVectors, RecordsOfAnotherImplementation) {
  int rows = 0;
  for (const Vector& vector : test::read_vectors("tls_cbc/records.txt")) {
    SCOPED_TRACE(vector.name());
    CbcHmacKey key;
    ASSERT_TRUE(key.expand(provider(), *find_suite(kAes128Sha256), vector.bytes("Key"),
                           vector.bytes("MacKey")));
    ByteVector fragment = vector.bytes("IV");
    const ByteVector ciphertext = vector.bytes("Ciphertext");
    fragment.insert(fragment.end(), ciphertext.begin(), ciphertext.end());
    CbcRecord record = record_of(key, vector.text("EncryptThenMac") == "true", fragment);
    record.sequence = std::stoul(vector.text("Sequence"));
    record.type = vector.bytes("Type").at(0);
    EXPECT_EQ(sealed(provider(), record, vector.bytes("IV"), vector.bytes("Plaintext")), fragment);
    const Opened got = opened(provider(), record, fragment);
    EXPECT_TRUE(got.ok);
    EXPECT_EQ(got.plaintext, vector.bytes("Plaintext"));
    ++rows;
  }
  EXPECT_EQ(rows, 4);
}

}  // namespace
}  // namespace sluice::crypto
