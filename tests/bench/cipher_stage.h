// The cipher's share of a turn, in place: the manager's functions for AES-GCM are exchanged for
// ones that read the counter before and behind the real one. The product carries nothing for it.
#pragma once

#include <cstdint>

#include "crypto/provider.h"

namespace sluice::bench {

struct CipherStage {
  bool wanted = false;
  uint64_t cycles = 0;
};
inline CipherStage cipher_stage;

// From now on, for everything that computes with this provider.
void watch_cipher(const crypto::Provider& provider);

}  // namespace sluice::bench
