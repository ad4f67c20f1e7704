// Bytes that nobody can predict, without a system call: IVs of CBC records and lengths of padding.
//
// A keystream generator with fast key erasure: AES-256-GCM's keystream under a secret key fills a
// buffer whose first bytes become the next key at once. Seeded from the kernel at construction.
#pragma once

#include <cstdint>
#include <span>

#include "crypto/aead.h"
#include "crypto/provider.h"

namespace sluice::tls {

class RandomSource {
 public:
  explicit RandomSource(const crypto::Provider& provider);
  RandomSource(const RandomSource&) = delete;
  RandomSource& operator=(const RandomSource&) = delete;
  ~RandomSource();

  // Fills `out`, at most kMaxDrawBytes. Bytes that were given out are erased here.
  void fill(std::span<uint8_t> out);
  // A number below `limit`, which is at most 2^16; uniform but for less than one in 2^16.
  uint32_t below(uint32_t limit);

  static constexpr uint32_t kMaxDrawBytes = 64;

 private:
  void refill();

  static constexpr uint32_t kKeyBytes = 32;
  static constexpr uint32_t kBufferBytes = 1024;

  const crypto::Provider& provider_;
  crypto::AeadKey key_;
  uint8_t buffer_[kBufferBytes];
  uint32_t used_ = kBufferBytes;
};

}  // namespace sluice::tls
