// AES-GCM and ChaCha20-Poly1305 against OpenSSL on random lengths and cuts, and against the edges
// of mapped memory.
#include <gtest/gtest.h>

#include <algorithm>

#include "arch_fixture.h"
#include "crypto/aead.h"
#include "guarded_memory.h"
#include "reference.h"

namespace sluice::crypto {
namespace {

using test::ByteVector;
using test::random_below;
using test::random_bytes;

class AeadCross : public test::OnEveryArch {};
INSTANTIATE_TEST_SUITE_P(Arch, AeadCross, test::kEveryArch, test::arch_test_name);

constexpr Cipher kKinds[] = {Cipher::Aes128Gcm, Cipher::Aes256Gcm, Cipher::Chacha20Poly1305};
constexpr uint8_t kCanary = 0x5a;

Nonce nonce_of(const ByteVector& bytes) { return Nonce(bytes.data(), kNonceLength); }

// A TLS record's plaintext, with its type byte and a little more; short ones as often as long ones.
size_t random_length(std::mt19937_64& random) {
  switch (random_below(random, 4)) {
    case 0:
      return random_below(random, 17);
    case 1:
      return random_below(random, 600);
    default:
      return random_below(random, (1 << 14) + 258);
  }
}

// Pieces that join to `bytes`: few, many, tiny, packet-sized or empty ones.
std::vector<ConstPiece> random_cuts(std::mt19937_64& random, const ByteVector& bytes) {
  constexpr size_t kSizes[] = {1, 16, 64, 1448, 20000};
  const size_t most = kSizes[random_below(random, std::size(kSizes))];
  if (most == 20000) return {{bytes.data(), static_cast<uint32_t>(bytes.size())}};
  std::vector<ConstPiece> pieces;
  size_t at = 0;
  while (at < bytes.size()) {
    const size_t length = std::min(bytes.size() - at, random_below(random, most + 1));
    pieces.push_back({bytes.data() + at, static_cast<uint32_t>(length)});
    at += length;
  }
  return pieces;
}

TEST_P(AeadCross, RandomRecordsBothDirections) {
  const uint64_t seed = 20260104;
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", round " + std::to_string(round));
    const Cipher kind = kKinds[round % 3];
    const ByteVector raw_key = random_bytes(random, key_length(kind));
    const ByteVector nonce = random_bytes(random, kNonceLength);
    const ByteVector aad = random_bytes(random, random_below(random, 40));
    const ByteVector plaintext = random_bytes(random, random_length(random));
    const test::Sealed expected = test::reference_seal(kind, raw_key, nonce, aad, plaintext);
    AeadKey key;
    ASSERT_TRUE(key.expand(provider(), kind, raw_key));

    ByteVector out(plaintext.size() + 64, kCanary);
    ByteVector tag(kTagLength);
    seal(provider(), key, nonce_of(nonce), aad, random_cuts(random, plaintext), out.data(),
         tag.data());
    ASSERT_EQ(tag, expected.tag);
    ASSERT_TRUE(std::equal(expected.ciphertext.begin(), expected.ciphertext.end(), out.begin()));
    ASSERT_EQ(out.back(), kCanary);

    std::fill(out.begin(), out.end(), kCanary);
    ASSERT_TRUE(open(provider(), key, nonce_of(nonce), aad,
                     random_cuts(random, expected.ciphertext), expected.tag.data(), out.data()));
    ASSERT_TRUE(std::equal(plaintext.begin(), plaintext.end(), out.begin()));
    ASSERT_TRUE(std::all_of(out.begin() + static_cast<ptrdiff_t>(plaintext.size()), out.end(),
                            [](uint8_t byte) { return byte == kCanary; }));

    const size_t bit = random_below(random, 128);
    tag[bit / 8] = static_cast<uint8_t>(tag[bit / 8] ^ (1 << (bit % 8)));
    ASSERT_FALSE(open(provider(), key, nonce_of(nonce), aad,
                      random_cuts(random, expected.ciphertext), tag.data(), out.data()));
    ASSERT_TRUE(std::all_of(out.begin(), out.begin() + static_cast<ptrdiff_t>(plaintext.size()),
                            [](uint8_t byte) { return byte == 0; }));
    ASSERT_EQ(out.back(), kCanary);
  }
}

TEST_P(AeadCross, ContextsWriteWhereTheyAreTold) {
  const uint64_t seed = 20260105;
  std::mt19937_64 random(seed);
  for (int round = 0; round < 100; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", round " + std::to_string(round));
    const Cipher kind = kKinds[round % 3];
    const ByteVector raw_key = random_bytes(random, key_length(kind));
    const ByteVector nonce = random_bytes(random, kNonceLength);
    const ByteVector aad = random_bytes(random, 5);
    const ByteVector plaintext = random_bytes(random, random_below(random, 3000));
    const test::Sealed expected = test::reference_seal(kind, raw_key, nonce, aad, plaintext);
    AeadKey key;
    ASSERT_TRUE(key.expand(provider(), kind, raw_key));

    // Each update's output apart from the one before, as in the slices of a record buffer.
    SealContext sealing(provider(), key, nonce_of(nonce), aad);
    OpenContext opening(provider(), key, nonce_of(nonce), aad);
    ByteVector ciphertext;
    ByteVector opened;
    for (const ConstPiece& piece : random_cuts(random, plaintext)) {
      ByteVector slice(piece.data, piece.data + piece.length);
      sealing.update(slice.data(), slice.data(), piece.length);
      ciphertext.insert(ciphertext.end(), slice.begin(), slice.end());
      opening.update(slice.data(), slice.data(), piece.length);
      opened.insert(opened.end(), slice.begin(), slice.end());
    }
    ByteVector tag(kTagLength);
    sealing.finish(tag.data());
    ASSERT_EQ(ciphertext, expected.ciphertext);
    ASSERT_EQ(tag, expected.tag);
    ASSERT_TRUE(opening.finish(tag.data()));
    ASSERT_EQ(opened, plaintext);
  }
}

// The library is hand-written assembly that no sanitizer sees. A vector load or store that passes
// the end of a buffer, even one whose bytes are not used, faults here.
TEST_P(AeadCross, NoByteBehindAnyBufferIsTouched) {
  std::mt19937_64 random(20260106);
  test::GuardedMemory nonce_memory, aad_memory, in_memory, out_memory, tag_memory, key_memory;
  for (const Cipher kind : kKinds) {
    const ByteVector raw_key = random_bytes(random, key_length(kind));
    AeadKey key;
    ASSERT_TRUE(key.expand(provider(), kind, {key_memory.copy_of(raw_key), key_length(kind)}));
    for (size_t length = 0; length <= 300; ++length) {
      const ByteVector nonce = random_bytes(random, kNonceLength);
      const ByteVector aad = random_bytes(random, length % 33);
      const ByteVector plaintext = random_bytes(random, length);
      const test::Sealed expected = test::reference_seal(kind, raw_key, nonce, aad, plaintext);
      const Nonce guarded_nonce(nonce_memory.copy_of(nonce), kNonceLength);
      const std::span<const uint8_t> guarded_aad(aad_memory.copy_of(aad), aad.size());
      const uint8_t* in = in_memory.copy_of(plaintext);
      uint8_t* out = out_memory.end_of(length);
      uint8_t* tag = tag_memory.end_of(kTagLength);

      const uint32_t first = static_cast<uint32_t>(length / 3);
      const ConstPiece whole[] = {{in, static_cast<uint32_t>(length)}};
      const ConstPiece halves[] = {{in, first},
                                   {in + first, static_cast<uint32_t>(length) - first}};
      for (const std::span<const ConstPiece> pieces :
           {std::span<const ConstPiece>(whole), std::span<const ConstPiece>(halves)}) {
        in_memory.copy_of(plaintext);
        seal(provider(), key, guarded_nonce, guarded_aad, pieces, out, tag);
        ASSERT_TRUE(std::equal(expected.tag.begin(), expected.tag.end(), tag));
        in_memory.copy_of(expected.ciphertext);
        ASSERT_TRUE(open(provider(), key, guarded_nonce, guarded_aad, pieces, tag, out));
        ASSERT_TRUE(std::equal(plaintext.begin(), plaintext.end(), out));
      }
    }
  }
}

}  // namespace
}  // namespace sluice::crypto
