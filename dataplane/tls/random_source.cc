// Why this is sound. Whoever does not know the key cannot tell the keystream of AES-256 in counter
// mode from random bytes; each key encrypts one kilobyte of zeros under one nonce and is then gone,
// replaced by bytes of its own keystream that are given to nobody. So no block comes twice, and who
// reads this memory later learns nothing of the bytes given out before (D. J. Bernstein's fast key
// erasure). The kernel's entropy of the seed lasts for ever, as in any deterministic generator;
// a worker does not fork, so that no state is used twice.
//
// The library's GCM serves because it is the vectorised counter mode at hand; its tag is unused.
#include "tls/random_source.h"

#include <sys/random.h>

#include <algorithm>
#include <cstring>

#include "abi/assert.h"
#include "crypto/secret.h"

namespace sluice::tls {

namespace {

constexpr crypto::Cipher kCipher = crypto::Cipher::Aes256Gcm;

}  // namespace

RandomSource::RandomSource(const crypto::Provider& provider) : provider_(provider) {
  uint8_t seed[kKeyBytes];
  SLUICE_ASSERT(getrandom(seed, sizeof seed, 0) == sizeof seed);
  SLUICE_ASSERT(key_.expand(provider_, kCipher, seed));
  crypto::secure_zero(seed, sizeof seed);
}

RandomSource::~RandomSource() { crypto::secure_zero(buffer_, sizeof buffer_); }

void RandomSource::fill(std::span<uint8_t> out) {
  SLUICE_ASSERT(out.size() <= kMaxDrawBytes);
  if (kBufferBytes - used_ < out.size()) refill();
  std::copy_n(buffer_ + used_, out.size(), out.begin());
  crypto::secure_zero(buffer_ + used_, out.size());
  used_ += static_cast<uint32_t>(out.size());
}

uint32_t RandomSource::below(uint32_t limit) {
  SLUICE_ASSERT(limit >= 1 && limit <= 1U << 16);
  uint8_t bytes[4];
  fill(bytes);
  uint32_t value = 0;
  std::memcpy(&value, bytes, sizeof value);
  return static_cast<uint32_t>(uint64_t{value} * limit >> 32);
}

void RandomSource::refill() {
  static constexpr uint8_t kNonce[crypto::kNonceLength] = {};  // once under each key
  std::memset(buffer_, 0, sizeof buffer_);
  const crypto::ConstPiece zeros{buffer_, kBufferBytes};
  uint8_t tag[crypto::kTagLength];
  crypto::seal(provider_, key_, kNonce, {}, {&zeros, 1}, buffer_, tag);
  SLUICE_ASSERT(key_.expand(provider_, kCipher, {buffer_, kKeyBytes}));
  crypto::secure_zero(buffer_, kKeyBytes);
  used_ = kKeyBytes;
}

}  // namespace sluice::tls
