// AVX-512: sixteen lanes of 32 bits, eight of 64. Theory in `sha_lanes_impl.h`.
#include "crypto/sha_lanes_impl.h"

namespace sluice::crypto {

void sha1_avx512(Sha1Lanes& states, const uint8_t* const* data, size_t blocks) {
  compress<64>(states, data, blocks);
}

void sha256_avx512(Sha256Lanes& states, const uint8_t* const* data, size_t blocks) {
  compress<64>(states, data, blocks);
}

void sha512_avx512(Sha512Lanes& states, const uint8_t* const* data, size_t blocks) {
  compress<64>(states, data, blocks);
}

}  // namespace sluice::crypto
