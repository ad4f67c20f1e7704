// SHA-1 and SHA-2 compression written once for every vector width (FIPS 180-4 6.1.2, 6.2.2, 6.4.2).
//
// Included by one file for each instruction set, compiled with that set's flags. Everything is in
// an unnamed namespace and always inlined: a function of one of these files that the linker shared
// with the rest of the program would run AVX-512 on a CPU without it.
//
// A vector holds the same word of all lanes. The message schedule is a ring of 16 words that stays
// in registers where there are 32 of them.
#pragma once

#include "crypto/sha.h"
#include "crypto/sha_constants.h"
#include "crypto/sha_lanes_load.h"

namespace sluice::crypto {
namespace {

template <int kBits, typename V>
SLUICE_INLINE V rotate_left(V v) {
  constexpr int kWidth = 8 * sizeof(v[0]);
  return (v << kBits) | (v >> (kWidth - kBits));
}
template <int kBits, typename V>
SLUICE_INLINE V rotate_right(V v) {
  constexpr int kWidth = 8 * sizeof(v[0]);
  return rotate_left<kWidth - kBits>(v);
}
template <typename V>
SLUICE_INLINE V choose(V x, V y, V z) {
  return z ^ (x & (y ^ z));
}
template <typename V>
SLUICE_INLINE V majority(V x, V y, V z) {
  return (x & y) | (z & (x | y));
}

// FIPS 180-4 6.1.2 step 3. `s` is a to e, rotated by naming instead of moving.
template <size_t kRound, typename V>
SLUICE_INLINE void sha1_round(V (&s)[5], V (&w)[16]) {
  V& a = s[(80 - kRound + 0) % 5];
  V& b = s[(80 - kRound + 1) % 5];
  V& c = s[(80 - kRound + 2) % 5];
  V& d = s[(80 - kRound + 3) % 5];
  V& e = s[(80 - kRound + 4) % 5];
  V& word = w[kRound % 16];
  if constexpr (kRound >= 16) {
    word =
        rotate_left<1>(w[(kRound + 13) % 16] ^ w[(kRound + 8) % 16] ^ w[(kRound + 2) % 16] ^ word);
  }
  if constexpr (kRound < 20) {
    e += choose(b, c, d) + 0x5a827999U;
  } else if constexpr (kRound < 40) {
    e += (b ^ c ^ d) + 0x6ed9eba1U;
  } else if constexpr (kRound < 60) {
    e += majority(b, c, d) + 0x8f1bbcdcU;
  } else {
    e += (b ^ c ^ d) + 0xca62c1d6U;
  }
  e += rotate_left<5>(a) + word;
  b = rotate_left<30>(b);
}

// The functions of FIPS 180-4 4.1.2 and 4.1.3.
template <typename V>
SLUICE_INLINE V big_sigma0(V x) {
  if constexpr (sizeof(x[0]) == 4) {
    return rotate_right<2>(x) ^ rotate_right<13>(x) ^ rotate_right<22>(x);
  } else {
    return rotate_right<28>(x) ^ rotate_right<34>(x) ^ rotate_right<39>(x);
  }
}
template <typename V>
SLUICE_INLINE V big_sigma1(V x) {
  if constexpr (sizeof(x[0]) == 4) {
    return rotate_right<6>(x) ^ rotate_right<11>(x) ^ rotate_right<25>(x);
  } else {
    return rotate_right<14>(x) ^ rotate_right<18>(x) ^ rotate_right<41>(x);
  }
}
template <typename V>
SLUICE_INLINE V small_sigma0(V x) {
  if constexpr (sizeof(x[0]) == 4) {
    return rotate_right<7>(x) ^ rotate_right<18>(x) ^ (x >> 3);
  } else {
    return rotate_right<1>(x) ^ rotate_right<8>(x) ^ (x >> 7);
  }
}
template <typename V>
SLUICE_INLINE V small_sigma1(V x) {
  if constexpr (sizeof(x[0]) == 4) {
    return rotate_right<17>(x) ^ rotate_right<19>(x) ^ (x >> 10);
  } else {
    return rotate_right<19>(x) ^ rotate_right<61>(x) ^ (x >> 6);
  }
}

// FIPS 180-4 6.2.2 and 6.4.2 step 3.
template <size_t kRound, typename V>
SLUICE_INLINE void sha2_round(V (&s)[8], V (&w)[16]) {
  V& a = s[(80 - kRound + 0) % 8];
  V& b = s[(80 - kRound + 1) % 8];
  V& c = s[(80 - kRound + 2) % 8];
  V& d = s[(80 - kRound + 3) % 8];
  V& e = s[(80 - kRound + 4) % 8];
  V& f = s[(80 - kRound + 5) % 8];
  V& g = s[(80 - kRound + 6) % 8];
  V& h = s[(80 - kRound + 7) % 8];
  V& word = w[kRound % 16];
  if constexpr (kRound >= 16) {
    word += small_sigma1(w[(kRound + 14) % 16]) + w[(kRound + 9) % 16] +
            small_sigma0(w[(kRound + 1) % 16]);
  }
  if constexpr (sizeof(word[0]) == 4) {
    h += word + kSha256Rounds[kRound];
  } else {
    h += word + kSha512Rounds[kRound];
  }
  h += big_sigma1(e) + choose(e, f, g);
  d += h;
  h += big_sigma0(a) + majority(a, b, c);
}

template <typename V, size_t... kRounds>
SLUICE_INLINE void sha1_rounds(V (&s)[5], V (&w)[16], std::index_sequence<kRounds...>) {
  (sha1_round<kRounds>(s, w), ...);
}
template <typename V, size_t... kRounds>
SLUICE_INLINE void sha2_rounds(V (&s)[8], V (&w)[16], std::index_sequence<kRounds...>) {
  (sha2_round<kRounds>(s, w), ...);
}

template <size_t kBytes, typename States>
SLUICE_INLINE void compress(States& states, const uint8_t* const* data, size_t blocks) {
  using R = Register<typename States::Word, kBytes>;
  using V = typename R::V;
  V chain[States::kWords];
  for (size_t i = 0; i < States::kWords; ++i) std::memcpy(&chain[i], states.words[i], sizeof(V));
  for (size_t block = 0; block < blocks; ++block) {
    V w[16];
    load_block<R>(data, block * States::kBlockBytes, w);
    V s[States::kWords];
    for (size_t i = 0; i < States::kWords; ++i) s[i] = chain[i];
    if constexpr (States::kWords == 5) {
      sha1_rounds(s, w, std::make_index_sequence<80>{});
    } else {
      sha2_rounds(s, w, std::make_index_sequence < sizeof(s[0][0]) == 4 ? 64 : 80 > {});
    }
    for (size_t i = 0; i < States::kWords; ++i) chain[i] += s[i];
  }
  for (size_t i = 0; i < States::kWords; ++i) std::memcpy(states.words[i], &chain[i], sizeof(V));
}

}  // namespace
}  // namespace sluice::crypto

#undef SLUICE_INLINE
