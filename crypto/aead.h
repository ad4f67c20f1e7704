// Authenticated encryption of one record whose bytes lie in several pieces: AES-GCM (RFC 5288) and
// ChaCha20-Poly1305 (RFC 8439).
//
// `seal` and `open` read the pieces where they are and write one contiguous output: the encryption
// is the copy. A record that lies in one piece takes the library's one-shot call, which is faster.
// Pieces may be empty. The output may be the single input piece itself (in place); otherwise input
// and output must not overlap.
//
// A nonce must never be used twice with one key for sealing. Whoever calls keeps that promise.
#pragma once

#include <cstdint>
#include <span>

#include "crypto/provider.h"
#include "crypto/suite.h"

namespace sluice::crypto {

using Nonce = std::span<const uint8_t, kNonceLength>;

struct ConstPiece {
  const uint8_t* data;
  uint32_t length;
};

// An expanded key: round keys and the powers of the hash key (of ChaCha20, the key itself). 1 KiB,
// rebuilt from the raw key in about 320 cycles, so it can live in a cache. Wiped when it dies or is
// expanded again.
class alignas(64) AeadKey {
 public:
  AeadKey() = default;
  AeadKey(const AeadKey&) = delete;
  AeadKey& operator=(const AeadKey&) = delete;
  ~AeadKey() { wipe(); }

  // False, and not ready, when the cipher is no AEAD or `key` does not have key_length(cipher)
  // bytes.
  [[nodiscard]] bool expand(const Provider& provider, Cipher cipher, std::span<const uint8_t> key);
  void wipe();

  // Only a ready key may be used: with any other, seal and open abort the process, because the
  // alternative is plaintext under a key of zeros.
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] Cipher cipher() const { return cipher_; }
  [[nodiscard]] const void* expanded() const { return expanded_; }

 private:
  // The size of gcm_key_data without its tail padding, where the two members below sit.
  static constexpr size_t kExpandedBytes = 1008;

  uint8_t expanded_[kExpandedBytes] = {};
  Cipher cipher_ = Cipher::Aes128Gcm;
  bool ready_ = false;
};
static_assert(sizeof(AeadKey) == 1024);

// Encrypts the pieces, in order, to `ciphertext_out` (the sum of their lengths) and writes the
// 16-byte tag. TLS 1.3's content-type byte is one more piece.
void seal(const Provider& provider, const AeadKey& key, Nonce nonce, std::span<const uint8_t> aad,
          std::span<const ConstPiece> plaintext, uint8_t* ciphertext_out, uint8_t* tag_out);

// Decrypts the pieces, in order, to `plaintext_out` (the sum of their lengths). False when the
// 16-byte tag does not fit, in which case all of the output is zeroed.
[[nodiscard]] bool open(const Provider& provider, const AeadKey& key, Nonce nonce,
                        std::span<const uint8_t> aad, std::span<const ConstPiece> ciphertext,
                        const uint8_t* tag, uint8_t* plaintext_out);

// The same in steps, for those whose output is not contiguous or whose input is not all there yet.
// Provider and key must outlive the context, which is used for one record and one direction.
class AeadContext {
 public:
  AeadContext(const Provider& provider, const AeadKey& key, Nonce nonce,
              std::span<const uint8_t> aad);
  AeadContext(const AeadContext&) = delete;
  AeadContext& operator=(const AeadContext&) = delete;
  ~AeadContext();

 protected:
  // Room for gcm_context_data and for chacha20_poly1305_context_data.
  static constexpr size_t kStateBytes = 192;

  const Provider& provider_;
  const AeadKey& key_;
  alignas(16) uint8_t state_[kStateBytes];
};

class SealContext : public AeadContext {
 public:
  using AeadContext::AeadContext;
  // Encrypts the next `length` bytes; `out` may be `in`.
  void update(uint8_t* out, const uint8_t* in, uint32_t length);
  // Writes the 16-byte tag. The last call on this object.
  void finish(uint8_t* tag_out);
};

class OpenContext : public AeadContext {
 public:
  using AeadContext::AeadContext;
  // Decrypts the next `length` bytes; `out` may be `in`. Nothing that was written may be used
  // before `finish` answered true; when it answers false the caller zeroes it.
  void update(uint8_t* out, const uint8_t* in, uint32_t length);
  // Compares the 16-byte tag in constant time. The last call on this object.
  [[nodiscard]] bool finish(const uint8_t* tag);
  // What `finish` compares with, for those who wipe it themselves. The last call on this object.
  void expected_tag(uint8_t* tag_out);
};

}  // namespace sluice::crypto
