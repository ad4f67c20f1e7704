// The Internet checksum, 32 bytes at a time.
//
// Job: every byte that leaves through a port without checksum offload is summed here, most of them
// while they are copied into the port's buffer, so this is one of the three loops that cost
// (the others are the cipher and the copy itself).
// How: 32-bit words are added into 64-bit lanes, so that no carry has to be looked after: a lane
// overflows only behind 2^32 words. The lanes are added up and folded at the end. The tail that
// is shorter than a vector goes in eight, four, two and one bytes.
#include "net/checksum.h"

#include <immintrin.h>

#include <bit>
#include <cstring>

namespace sluice::net {
namespace {

static_assert(std::endian::native == std::endian::little);

template <typename Word>
Word load(const uint8_t* data) {
  Word word;
  std::memcpy(&word, data, sizeof word);
  return word;
}

// The last bytes, fewer than 32.
template <bool kCopy>
Sum tail(uint8_t* out, const uint8_t* data, size_t length) {
  Sum sum = 0;
  if constexpr (kCopy) {
    if (length > 0) std::memcpy(out, data, length);
  }
  while (length >= 8) {
    const auto word = load<uint64_t>(data);
    sum += (word & 0xffffffffU) + (word >> 32);
    data += 8;
    length -= 8;
  }
  if (length >= 4) {
    sum += load<uint32_t>(data);
    data += 4;
    length -= 4;
  }
  if (length >= 2) {
    sum += load<uint16_t>(data);
    data += 2;
    length -= 2;
  }
  // RFC 1071 1(1): an odd last byte is paired with a zero behind it.
  if (length == 1) sum += *data;
  return sum;
}

Sum add_lanes(__m256i lanes) {
  alignas(32) uint64_t values[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(values), lanes);
  Sum sum = 0;
  for (const uint64_t value : values) sum += (value & 0xffffffffU) + (value >> 32);
  return sum;
}

template <bool kCopy>
Sum run(uint8_t* out, const uint8_t* data, size_t length) {
  const __m256i low = _mm256_set1_epi64x(0xffffffff);
  __m256i even = _mm256_setzero_si256();
  __m256i odd = _mm256_setzero_si256();
  while (length >= 32) {
    const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data));
    if constexpr (kCopy) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), words);
      out += 32;
    }
    even = _mm256_add_epi64(even, _mm256_and_si256(words, low));
    odd = _mm256_add_epi64(odd, _mm256_srli_epi64(words, 32));
    data += 32;
    length -= 32;
  }
  return add_lanes(even) + add_lanes(odd) + tail<kCopy>(out, data, length);
}

}  // namespace

Sum checksum_add(const uint8_t* data, size_t length) { return run<false>(nullptr, data, length); }

Sum checksum_copy(uint8_t* out, const uint8_t* data, size_t length) {
  return run<true>(out, data, length);
}

uint16_t checksum_fold(Sum sum) {
  sum = (sum & 0xffffffffU) + (sum >> 32);
  sum = (sum & 0xffffffffU) + (sum >> 32);
  auto folded = static_cast<uint32_t>((sum & 0xffffU) + (sum >> 16));
  folded = (folded & 0xffffU) + (folded >> 16);
  folded = (folded & 0xffffU) + (folded >> 16);
  return static_cast<uint16_t>(folded);
}

Sum checksum_combine(Sum first, Sum second, size_t offset) {
  const uint16_t folded = checksum_fold(second);
  const uint16_t aligned =
      (offset & 1) != 0 ? static_cast<uint16_t>(folded << 8 | folded >> 8) : folded;
  return static_cast<Sum>(checksum_fold(first)) + aligned;
}

}  // namespace sluice::net
