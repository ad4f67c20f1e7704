// Eight bytes at a time are mixed into four words with two rounds, the tail carries the length in
// its top byte, and four rounds finish. Words are little-endian, as this machine is.
#include "tcp/siphash.h"

#include <bit>
#include <cstring>

namespace sluice::tcp {
namespace {

static_assert(std::endian::native == std::endian::little);

struct State {
  uint64_t v0, v1, v2, v3;

  void round() {
    v0 += v1;
    v2 += v3;
    v1 = std::rotl(v1, 13) ^ v0;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 = std::rotl(v0, 32);
    v2 += v1;
    v0 += v3;
    v1 = std::rotl(v1, 17) ^ v2;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 = std::rotl(v2, 32);
  }
  void absorb(uint64_t word) {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  }
};

uint64_t load(const uint8_t* from, size_t length) {
  uint64_t word = 0;
  std::memcpy(&word, from, length);
  return word;
}

}  // namespace

uint64_t siphash24(const uint8_t key[16], const uint8_t* data, size_t length) {
  const uint64_t k0 = load(key, 8);
  const uint64_t k1 = load(key + 8, 8);
  State state{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
              k1 ^ 0x7465646279746573};
  size_t at = 0;
  for (; at + 8 <= length; at += 8) state.absorb(load(data + at, 8));
  const size_t rest = length - at;
  uint64_t last = static_cast<uint64_t>(length) << 56;
  if (rest != 0) last |= load(data + at, rest);
  state.absorb(last);
  state.v2 ^= 0xff;
  for (int i = 0; i < 4; ++i) state.round();
  return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

}  // namespace sluice::tcp
