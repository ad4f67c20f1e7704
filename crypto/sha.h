// The compression functions of SHA-1, SHA-256 and SHA-512 (which is SHA-384's) over several
// messages at once, one in each lane of a vector register. For the files of this folder.
//
// Their running time depends on the number of blocks alone.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::crypto {

inline constexpr size_t kMaxLanes32 = 16;  // SHA-1, SHA-256
inline constexpr size_t kMaxLanes64 = 8;   // SHA-512

// Chaining words in host order, `words[i][lane]`.
template <typename WordType, size_t kWordCount, size_t kBlock, size_t kLanes>
struct LaneStates {
  using Word = WordType;
  static constexpr size_t kWords = kWordCount;
  static constexpr size_t kBlockBytes = kBlock;
  static constexpr size_t kMaxLanes = kLanes;
  alignas(64) Word words[kWords][kLanes];
};
using Sha1Lanes = LaneStates<uint32_t, 5, 64, kMaxLanes32>;
using Sha256Lanes = LaneStates<uint32_t, 8, 64, kMaxLanes32>;
using Sha512Lanes = LaneStates<uint64_t, 8, 128, kMaxLanes64>;

// Compresses `blocks` consecutive blocks of each lane, from data[lane] on. Every lane of the
// function's width must point to readable blocks; what an unused lane computes is nobody's concern.
template <typename States>
using CompressLanes = void (*)(States& states, const uint8_t* const* data, size_t blocks);

// The same for the one lane `lane` of `states`.
template <typename States>
using CompressLane = void (*)(States& states, size_t lane, const uint8_t* data, size_t blocks);

template <typename States>
struct ShaKernel {
  size_t lanes;  // the width of `all`
  CompressLanes<States> all;
  CompressLane<States> one;  // with the CPU's own SHA instructions; null where it has none
  size_t few;                // so many lanes are faster one by one; 0 without `one`
};

struct ShaKernels {
  ShaKernel<Sha1Lanes> sha1;
  ShaKernel<Sha256Lanes> sha256;
  ShaKernel<Sha512Lanes> sha512;
};

// Eight lanes of 32 bits, or four of 64, in AVX2; twice that in AVX-512.
void sha1_avx2(Sha1Lanes& states, const uint8_t* const* data, size_t blocks);
void sha256_avx2(Sha256Lanes& states, const uint8_t* const* data, size_t blocks);
void sha512_avx2(Sha512Lanes& states, const uint8_t* const* data, size_t blocks);
void sha1_avx512(Sha1Lanes& states, const uint8_t* const* data, size_t blocks);
void sha256_avx512(Sha256Lanes& states, const uint8_t* const* data, size_t blocks);
void sha512_avx512(Sha512Lanes& states, const uint8_t* const* data, size_t blocks);

// With the SHA extensions.
void sha1_ni(Sha1Lanes& states, size_t lane, const uint8_t* data, size_t blocks);
void sha256_ni(Sha256Lanes& states, size_t lane, const uint8_t* data, size_t blocks);

}  // namespace sluice::crypto
