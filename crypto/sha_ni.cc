// One message at a time with the SHA extensions: quicker than the lanes as long as most of them
// would be empty.
//
// Each step does four rounds: it makes the next four words of the schedule from the last sixteen,
// which lie in a ring of four registers.
#include <immintrin.h>

#include <utility>

#include "crypto/sha.h"
#include "crypto/sha_constants.h"

namespace sluice::crypto {
namespace {

inline __m128i load_swapped(const uint8_t* from, __m128i order) {
  return _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)), order);
}

template <int kStep>
[[gnu::always_inline]] inline void sha1_step(__m128i& abcd, __m128i& before, __m128i (&w)[4]) {
  if constexpr (kStep >= 4) {
    w[kStep % 4] = _mm_sha1msg2_epu32(
        _mm_xor_si128(_mm_sha1msg1_epu32(w[kStep % 4], w[(kStep + 1) % 4]), w[(kStep + 2) % 4]),
        w[(kStep + 3) % 4]);
  }
  // `before` is a to d of four rounds ago, of which a becomes e; at first it is e itself.
  const __m128i e =
      kStep == 0 ? _mm_add_epi32(before, w[0]) : _mm_sha1nexte_epu32(before, w[kStep % 4]);
  before = abcd;
  abcd = _mm_sha1rnds4_epu32(abcd, e, kStep / 5);
}

template <int... kSteps>
[[gnu::always_inline]] inline void sha1_steps(__m128i& abcd, __m128i& before, __m128i (&w)[4],
                                              std::integer_sequence<int, kSteps...>) {
  (sha1_step<kSteps>(abcd, before, w), ...);
}

template <int kStep>
[[gnu::always_inline]] inline void sha256_step(__m128i& abef, __m128i& cdgh, __m128i (&w)[4]) {
  __m128i& word = w[kStep % 4];
  if constexpr (kStep >= 4) {
    const __m128i last = w[(kStep + 3) % 4];
    word = _mm_add_epi32(_mm_sha256msg1_epu32(word, w[(kStep + 1) % 4]),
                         _mm_alignr_epi8(last, w[(kStep + 2) % 4], 4));
    word = _mm_sha256msg2_epu32(word, last);
  }
  const __m128i constants =
      _mm_load_si128(reinterpret_cast<const __m128i*>(kSha256Rounds + 4 * kStep));
  const __m128i sum = _mm_add_epi32(word, constants);
  cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
  abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
}

template <int... kSteps>
[[gnu::always_inline]] inline void sha256_steps(__m128i& abef, __m128i& cdgh, __m128i (&w)[4],
                                                std::integer_sequence<int, kSteps...>) {
  (sha256_step<kSteps>(abef, cdgh, w), ...);
}

}  // namespace

void sha1_ni(Sha1Lanes& states, size_t lane, const uint8_t* data, size_t blocks) {
  const auto word = [&](size_t i) { return static_cast<int>(states.words[i][lane]); };
  // All 16 bytes backwards: the first word of the message comes to the top.
  const __m128i order = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m128i abcd = _mm_set_epi32(word(0), word(1), word(2), word(3));
  __m128i e = _mm_set_epi32(word(4), 0, 0, 0);
  for (; blocks > 0; --blocks, data += Sha1Lanes::kBlockBytes) {
    __m128i w[4];
    for (int i = 0; i < 4; ++i) w[i] = load_swapped(data + 16 * i, order);
    const __m128i old = abcd;
    __m128i before = e;
    sha1_steps(abcd, before, w, std::make_integer_sequence<int, 20>{});
    abcd = _mm_add_epi32(abcd, old);
    e = _mm_sha1nexte_epu32(before, e);
  }
  alignas(16) uint32_t out[4];
  _mm_store_si128(reinterpret_cast<__m128i*>(out), abcd);
  for (size_t i = 0; i < 4; ++i) states.words[i][lane] = out[3 - i];
  states.words[4][lane] = static_cast<uint32_t>(_mm_extract_epi32(e, 3));
}

void sha256_ni(Sha256Lanes& states, size_t lane, const uint8_t* data, size_t blocks) {
  const auto word = [&](size_t i) { return static_cast<int>(states.words[i][lane]); };
  const __m128i order = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
  __m128i abef = _mm_set_epi32(word(0), word(1), word(4), word(5));
  __m128i cdgh = _mm_set_epi32(word(2), word(3), word(6), word(7));
  for (; blocks > 0; --blocks, data += Sha256Lanes::kBlockBytes) {
    __m128i w[4];
    for (int i = 0; i < 4; ++i) w[i] = load_swapped(data + 16 * i, order);
    const __m128i old_abef = abef;
    const __m128i old_cdgh = cdgh;
    sha256_steps(abef, cdgh, w, std::make_integer_sequence<int, 16>{});
    abef = _mm_add_epi32(abef, old_abef);
    cdgh = _mm_add_epi32(cdgh, old_cdgh);
  }
  alignas(16) uint32_t out[8];
  _mm_store_si128(reinterpret_cast<__m128i*>(out), cdgh);
  _mm_store_si128(reinterpret_cast<__m128i*>(out + 4), abef);
  // h, g, d, c and f, e, b, a.
  constexpr size_t kPlaces[8] = {7, 6, 3, 2, 5, 4, 1, 0};
  for (size_t i = 0; i < 8; ++i) states.words[i][lane] = out[kPlaces[i]];
}

}  // namespace sluice::crypto
