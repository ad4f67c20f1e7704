// Registers full of lanes, and how the blocks of as many messages get into them. Part of
// `sha_lanes_impl.h`, under whose rules it stands.
//
// A block is loaded as 16-byte quarters: lanes e, e + 4, ... of one quarter in one register, whose
// 128-bit parts are then transposed among themselves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#define SLUICE_INLINE [[gnu::always_inline]] inline

namespace sluice::crypto {
namespace {

// One vector register, seen as words, as bytes and as pairs of 32-bit words.
template <typename Element, size_t kBytes>
struct Register {
  using Word = Element;
  typedef Element V __attribute__((vector_size(kBytes)));
  typedef uint8_t Bytes __attribute__((vector_size(kBytes)));
  typedef uint64_t Pairs __attribute__((vector_size(kBytes)));
};

// The 16 bytes at `offset` of lanes first, first + step, ...: one in each 128-bit part.
template <typename R>
SLUICE_INLINE typename R::V load_parts(const uint8_t* const* data, size_t offset, size_t first) {
  constexpr size_t kStep = 16 / sizeof(typename R::Word);
  typedef uint64_t Part __attribute__((vector_size(16)));
  typedef uint64_t Two __attribute__((vector_size(32)));
  typedef uint64_t Four __attribute__((vector_size(64)));
  const auto part = [&](size_t i) {
    Part loaded;
    std::memcpy(&loaded, data[first + i * kStep] + offset, sizeof(loaded));
    return loaded;
  };
  const Two low = __builtin_shufflevector(part(0), part(1), 0, 1, 2, 3);
  if constexpr (sizeof(typename R::V) == 32) {
    return reinterpret_cast<typename R::V>(low);
  } else {
    const Two high = __builtin_shufflevector(part(2), part(3), 0, 1, 2, 3);
    const Four all = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
    return reinterpret_cast<typename R::V>(all);
  }
}

template <size_t... i>
SLUICE_INLINE auto swap32(auto bytes, std::index_sequence<i...>) {
  return __builtin_shufflevector(bytes, bytes, (i ^ 3)...);
}
template <size_t... i>
SLUICE_INLINE auto swap64(auto bytes, std::index_sequence<i...>) {
  return __builtin_shufflevector(bytes, bytes, (i ^ 7)...);
}

// Big-endian words to host order.
template <typename R>
SLUICE_INLINE typename R::V byte_swap(typename R::V v) {
  using Bytes = typename R::Bytes;
  constexpr auto kEach = std::make_index_sequence<sizeof(Bytes)>{};
  const auto bytes = reinterpret_cast<Bytes>(v);
  if constexpr (sizeof(typename R::Word) == 4) {
    return reinterpret_cast<typename R::V>(swap32(bytes, kEach));
  } else {
    return reinterpret_cast<typename R::V>(swap64(bytes, kEach));
  }
}

// unpacklo and unpackhi: within each 128-bit part, the low (or high) elements of a and b in turn.
template <bool kHigh, size_t kPerPart, typename V, size_t... i>
SLUICE_INLINE V unpack(V a, V b, std::index_sequence<i...>) {
  constexpr size_t kCount = sizeof...(i);
  constexpr auto kIndex = [](size_t at) {
    const size_t part = at / kPerPart * kPerPart;
    const size_t within = (at % kPerPart) / 2 + (kHigh ? kPerPart / 2 : 0);
    return static_cast<int>(part + within + (at % 2 == 0 ? 0 : kCount));
  };
  return __builtin_shufflevector(a, b, kIndex(i)...);
}
template <bool kHigh, typename V>
SLUICE_INLINE V unpack(V a, V b) {
  constexpr size_t kElement = sizeof(a[0]);
  return unpack<kHigh, 16 / kElement>(a, b, std::make_index_sequence<sizeof(V) / kElement>{});
}

// One block of each lane as 16 words.
template <typename R>
SLUICE_INLINE void load_block(const uint8_t* const* data, size_t at, typename R::V (&w)[16]) {
  using V = typename R::V;
  if constexpr (sizeof(typename R::Word) == 4) {
    using Pairs = typename R::Pairs;
#pragma GCC unroll 4
    for (size_t quarter = 0; quarter < 4; ++quarter) {
      V row[4];
      for (size_t i = 0; i < 4; ++i)
        row[i] = byte_swap<R>(load_parts<R>(data, at + 16 * quarter, i));
      const auto ab_low = reinterpret_cast<Pairs>(unpack<false>(row[0], row[1]));
      const auto ab_high = reinterpret_cast<Pairs>(unpack<true>(row[0], row[1]));
      const auto cd_low = reinterpret_cast<Pairs>(unpack<false>(row[2], row[3]));
      const auto cd_high = reinterpret_cast<Pairs>(unpack<true>(row[2], row[3]));
      w[4 * quarter + 0] = reinterpret_cast<V>(unpack<false>(ab_low, cd_low));
      w[4 * quarter + 1] = reinterpret_cast<V>(unpack<true>(ab_low, cd_low));
      w[4 * quarter + 2] = reinterpret_cast<V>(unpack<false>(ab_high, cd_high));
      w[4 * quarter + 3] = reinterpret_cast<V>(unpack<true>(ab_high, cd_high));
    }
  } else {
#pragma GCC unroll 8
    for (size_t eighth = 0; eighth < 8; ++eighth) {
      const V even = byte_swap<R>(load_parts<R>(data, at + 16 * eighth, 0));
      const V odd = byte_swap<R>(load_parts<R>(data, at + 16 * eighth, 1));
      w[2 * eighth + 0] = unpack<false>(even, odd);
      w[2 * eighth + 1] = unpack<true>(even, odd);
    }
  }
}

}  // namespace
}  // namespace sluice::crypto
