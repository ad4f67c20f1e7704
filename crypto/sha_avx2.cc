// AVX2: eight lanes of 32 bits, four of 64. Theory in `sha_lanes_impl.h`.
#include "crypto/sha_lanes_impl.h"

namespace sluice::crypto {

void sha1_avx2(Sha1Lanes& states, const uint8_t* const* data, size_t blocks) {
  compress<32>(states, data, blocks);
}

void sha256_avx2(Sha256Lanes& states, const uint8_t* const* data, size_t blocks) {
  compress<32>(states, data, blocks);
}

void sha512_avx2(Sha512Lanes& states, const uint8_t* const* data, size_t blocks) {
  compress<32>(states, data, blocks);
}

}  // namespace sluice::crypto
