// Arithmetic whose time does not depend on its operands: masks instead of branches. For the files
// of this folder.
//
// A mask is all ones for true and zero for false. `hide` keeps the compiler from finding out that a
// value is one of two, which it might turn back into a branch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sluice::crypto {

inline uint32_t hide(uint32_t value) {
  __asm__ __volatile__("" : "+r"(value));
  return value;
}

// All ones when `value` is zero.
inline uint32_t mask_zero(uint32_t value) {
  return hide(static_cast<uint32_t>(static_cast<int32_t>(~value & (value - 1)) >> 31));
}
inline uint32_t mask_equal(uint32_t a, uint32_t b) { return mask_zero(a ^ b); }

// All ones when a < b; both below 2^31.
inline uint32_t mask_less(uint32_t a, uint32_t b) {
  return hide(static_cast<uint32_t>(static_cast<int32_t>(a - b) >> 31));
}

inline uint32_t select(uint32_t mask, uint32_t if_true, uint32_t if_false) {
  return (if_true & mask) | (if_false & ~mask);
}

// `value` within [low, high]; all of magnitude below 2^30.
inline int32_t clamp_hidden(int32_t value, int32_t low, int32_t high) {
  const auto below = static_cast<int32_t>(hide(static_cast<uint32_t>((value - low) >> 31)));
  value = (low & below) | (value & ~below);
  const auto above = static_cast<int32_t>(hide(static_cast<uint32_t>((high - value) >> 31)));
  return (high & above) | (value & ~above);
}

// 32 bytes at once, compared with the number of each byte.
using Bytes32 = uint8_t __attribute__((vector_size(32)));
using SignedBytes32 = int8_t __attribute__((vector_size(32)));

inline constexpr SignedBytes32 kByteNumbers = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                               11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                               22, 23, 24, 25, 26, 27, 28, 29, 30, 31};

inline Bytes32 load32(const uint8_t* from) {
  Bytes32 bytes;
  std::memcpy(&bytes, from, sizeof(bytes));
  return bytes;
}
inline void store32(uint8_t* to, Bytes32 bytes) { std::memcpy(to, &bytes, sizeof(bytes)); }

// Zeroes memory that held a secret, `kSize` bytes; small, so that a call would cost more.
template <size_t kSize>
inline void wipe32(uint8_t (&bytes)[kSize]) {
  static_assert(kSize % sizeof(Bytes32) == 0);
  for (size_t at = 0; at < kSize; at += sizeof(Bytes32)) store32(bytes + at, Bytes32{});
  __asm__ __volatile__("" : : "r"(bytes) : "memory");
}

// 0xff in the bytes whose number is below `count`, which may be anything: `count` less `at` is how
// many bytes from position `at` on are meant.
inline Bytes32 bytes_below(int32_t count) {
  const auto limit = static_cast<int8_t>(clamp_hidden(count, 0, 32));
  return reinterpret_cast<Bytes32>(kByteNumbers < limit);
}
// 0xff in the byte of this number, if it is one of the 32.
inline Bytes32 byte_at(int32_t number) {
  const auto which = static_cast<int8_t>(clamp_hidden(number, -1, 32));
  return reinterpret_cast<Bytes32>(kByteNumbers == which);
}

}  // namespace sluice::crypto
