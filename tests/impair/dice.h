// Chance that can be repeated: a throw is a function of the seed, the direction, a number - the
// frame's - and what it decides. So a frame's fate does not depend on the other settings.
#pragma once

#include <cstdint>

namespace sluice::impair {

enum class Throw : uint8_t { Burst, Loss, Reorder, Jitter, Duplicate, Corrupt, CorruptBit };

class Dice {
 public:
  Dice(uint64_t seed, uint32_t direction) : key_(mix(mix(seed) + direction)) {}

  // `copy` is 1 for the second of two equal frames.
  uint64_t bits(Throw what, uint64_t frame, uint32_t copy = 0) const {
    return mix(mix(key_ + frame) + (static_cast<uint64_t>(what) << 1 | copy));
  }
  bool chance(double probability, Throw what, uint64_t frame, uint32_t copy = 0) const {
    return static_cast<double>(bits(what, frame, copy) >> 11) * 0x1p-53 < probability;
  }
  // 0 up to and including `most`.
  uint64_t up_to(uint64_t most, Throw what, uint64_t number) const {
    return bits(what, number) % (most + 1);
  }

 private:
  // The finalizer of SplitMix64.
  static uint64_t mix(uint64_t value) {
    value += 0x9e3779b97f4a7c15U;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9U;
    value = (value ^ value >> 27) * 0x94d049bb133111ebU;
    return value ^ value >> 31;
  }
  uint64_t key_;
};

}  // namespace sluice::impair
