// AES-GCM against published vectors, cut into pieces in every way that matters.
#include "crypto/aead.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "arch_fixture.h"
#include "crypto/key_schedule.h"
#include "vectors.h"

namespace sluice::crypto {
namespace {

using test::ByteVector;
using test::read_vectors;
using test::Vector;

class Aead : public test::OnEveryArch {
 protected:
  // The key's kind follows from its length.
  void expand(AeadKey& key, const ByteVector& bytes) {
    ASSERT_TRUE(
        key.expand(provider(), bytes.size() == 16 ? Cipher::Aes128Gcm : Cipher::Aes256Gcm, bytes));
  }
};
INSTANTIATE_TEST_SUITE_P(Arch, Aead, test::kEveryArch, test::arch_test_name);

Nonce nonce_of(const ByteVector& bytes) { return Nonce(bytes.data(), kNonceLength); }

// `bytes` in pieces of `size`, with an empty piece (whose pointer is null) before each.
std::vector<ConstPiece> cut(const ByteVector& bytes, size_t size) {
  std::vector<ConstPiece> pieces;
  for (size_t at = 0; at < bytes.size(); at += size) {
    pieces.push_back({nullptr, 0});
    pieces.push_back({bytes.data() + at, static_cast<uint32_t>(std::min(size, bytes.size() - at))});
  }
  return pieces;
}

bool all_zero(const ByteVector& bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

TEST_P(Aead, PublishedVectorsInPiecesOfEverySize) {
  for (const char* file :
       {"nist_gcm/gcm_spec.txt", "nist_gcm/cavp.txt", "wycheproof/aes_gcm.txt"}) {
    for (const Vector& vector : read_vectors(file)) {
      SCOPED_TRACE(std::string(file) + ": " + vector.name());
      const ByteVector nonce = vector.bytes("IV");
      const ByteVector aad = vector.bytes("AAD");
      const ByteVector plaintext = vector.bytes("PT");
      const ByteVector ciphertext = vector.bytes("CT");
      AeadKey key;
      expand(key, vector.bytes("Key"));
      for (size_t size = 1; size <= std::max<size_t>(1, plaintext.size()); ++size) {
        ByteVector out(plaintext.size());
        ByteVector tag(kTagLength);
        seal(provider(), key, nonce_of(nonce), aad, cut(plaintext, size), out.data(), tag.data());
        ASSERT_EQ(out, ciphertext) << "pieces of " << size;
        ASSERT_EQ(tag, vector.bytes("Tag")) << "pieces of " << size;
        ASSERT_TRUE(open(provider(), key, nonce_of(nonce), aad, cut(ciphertext, size), tag.data(),
                         out.data()));
        ASSERT_EQ(out, plaintext) << "pieces of " << size;
      }
    }
  }
}

TEST_P(Aead, EveryFlippedTagBitIsRefusedAndTheOutputZeroed) {
  for (const Vector& vector : read_vectors("nist_gcm/gcm_spec.txt")) {
    SCOPED_TRACE(vector.name());
    const ByteVector nonce = vector.bytes("IV");
    const ByteVector ciphertext = vector.bytes("CT");
    AeadKey key;
    expand(key, vector.bytes("Key"));
    for (size_t bit = 0; bit < size_t{8} * kTagLength; ++bit) {
      ByteVector tag = vector.bytes("Tag");
      tag[bit / 8] = static_cast<uint8_t>(tag[bit / 8] ^ (1 << (bit % 8)));
      for (const size_t size : {size_t{1000}, size_t{7}}) {
        ByteVector out(ciphertext.size(), 0xff);
        ASSERT_FALSE(open(provider(), key, nonce_of(nonce), vector.bytes("AAD"),
                          cut(ciphertext, size), tag.data(), out.data()));
        ASSERT_TRUE(all_zero(out)) << "bit " << bit << ", pieces of " << size;
      }
    }
  }
}

TEST_P(Aead, ChangedKeyNonceAadOrCiphertextIsRefused) {
  const Vector vector = read_vectors("nist_gcm/gcm_spec.txt").at(3);
  const ByteVector tag = vector.bytes("Tag");
  const auto opens = [&](const char* changed) {
    std::map<std::string, ByteVector> input;
    for (const char* field : {"Key", "IV", "AAD", "CT"}) {
      input[field] = vector.bytes(field);
      if (std::string(field) == changed) input[field].back() ^= 0x80;
    }
    AeadKey key;
    expand(key, input["Key"]);
    ByteVector out(input["CT"].size());
    return open(provider(), key, nonce_of(input["IV"]), input["AAD"], cut(input["CT"], 60),
                tag.data(), out.data());
  };
  EXPECT_TRUE(opens("nothing"));
  EXPECT_FALSE(opens("Key"));
  EXPECT_FALSE(opens("IV"));
  EXPECT_FALSE(opens("AAD"));
  EXPECT_FALSE(opens("CT"));
}

TEST_P(Aead, SealsAndOpensInPlace) {
  const Vector vector = read_vectors("nist_gcm/gcm_spec.txt").at(3);
  const ByteVector nonce = vector.bytes("IV");
  AeadKey key;
  expand(key, vector.bytes("Key"));
  ByteVector bytes = vector.bytes("PT");
  ByteVector tag(kTagLength);
  const ConstPiece piece[] = {{bytes.data(), static_cast<uint32_t>(bytes.size())}};
  seal(provider(), key, nonce_of(nonce), vector.bytes("AAD"), piece, bytes.data(), tag.data());
  EXPECT_EQ(bytes, vector.bytes("CT"));
  EXPECT_TRUE(
      open(provider(), key, nonce_of(nonce), vector.bytes("AAD"), piece, tag.data(), bytes.data()));
  EXPECT_EQ(bytes, vector.bytes("PT"));
}

// RFC 8446 5.2 and 5.3, by hand: nonce = IV xor sequence, AAD = header, type behind the payload.
TEST_P(Aead, Rfc8448Records) {
  for (const Vector& vector : read_vectors("rfc8448/records.txt")) {
    SCOPED_TRACE(vector.name());
    TrafficKeys keys;
    ASSERT_TRUE(derive_traffic_keys(provider(), *find_suite(0x1301), vector.bytes("Secret"), keys));
    AeadKey key;
    ASSERT_TRUE(key.expand(provider(), Cipher::Aes128Gcm, keys.key.span()));
    ByteVector nonce(keys.iv.data(), keys.iv.data() + kNonceLength);
    nonce.back() = static_cast<uint8_t>(nonce.back() ^ std::stoul(vector.text("Sequence")));
    const ByteVector record = vector.bytes("Record");
    const ByteVector header(record.begin(), record.begin() + 5);
    const ByteVector sealed(record.begin() + 5, record.end());
    const ByteVector payload = vector.bytes("Payload");
    const uint8_t type = vector.bytes("Type").at(0);
    const ConstPiece pieces[] = {{payload.data(), static_cast<uint32_t>(payload.size())},
                                 {&type, 1}};

    ByteVector out(payload.size() + 1 + kTagLength);
    seal(provider(), key, nonce_of(nonce), header, pieces, out.data(),
         out.data() + payload.size() + 1);
    EXPECT_EQ(out, sealed);

    const ConstPiece ciphertext[] = {{sealed.data(), static_cast<uint32_t>(payload.size() + 1)}};
    ByteVector inner(payload.size() + 1);
    ASSERT_TRUE(open(provider(), key, nonce_of(nonce), header, ciphertext,
                     sealed.data() + payload.size() + 1, inner.data()));
    EXPECT_EQ(inner.back(), type);
    inner.pop_back();
    EXPECT_EQ(inner, payload);
  }
}

TEST_P(Aead, KeysOfAnotherLengthAreRefused) {
  AeadKey key;
  const ByteVector bytes(33, 1);
  for (size_t length = 0; length <= bytes.size(); ++length) {
    const std::span<const uint8_t> part(bytes.data(), length);
    EXPECT_EQ(key.expand(provider(), Cipher::Aes128Gcm, part), length == 16);
    EXPECT_EQ(key.ready(), length == 16);
    EXPECT_EQ(key.expand(provider(), Cipher::Aes256Gcm, part), length == 32);
    EXPECT_EQ(key.ready(), length == 32);
  }
}

TEST_P(Aead, WipingLeavesNothing) {
  AeadKey key;
  expand(key, ByteVector(32, 0xa5));
  key.wipe();
  EXPECT_FALSE(key.ready());
  const auto* bytes = static_cast<const uint8_t*>(key.expanded());
  EXPECT_TRUE(all_zero(ByteVector(bytes, bytes + 1008)));
}

using AeadDeathTest = Aead;
INSTANTIATE_TEST_SUITE_P(Arch, AeadDeathTest, testing::Values(Arch::Auto), test::arch_test_name);

TEST_P(AeadDeathTest, AKeyThatIsNotReadyIsNeverUsed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  AeadKey key;
  const ByteVector nonce(kNonceLength);
  const ByteVector bytes(32);
  ByteVector out(32);
  ByteVector tag(kTagLength);
  EXPECT_DEATH(seal(provider(), key, nonce_of(nonce), {}, cut(bytes, 32), out.data(), tag.data()),
               "");
  EXPECT_DEATH(seal(provider(), key, nonce_of(nonce), {}, cut(bytes, 5), out.data(), tag.data()),
               "");
  EXPECT_DEATH(static_cast<void>(open(provider(), key, nonce_of(nonce), {}, cut(bytes, 32),
                                      tag.data(), out.data())),
               "");
}

}  // namespace
}  // namespace sluice::crypto
