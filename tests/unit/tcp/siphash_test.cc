// The 64 published outputs of SipHash-2-4: key 00..0f, input 00, 00 01, ... (vectors.h of the
// reference implementation by Aumasson and Bernstein, github.com/veorq/SipHash, CC0), of which the
// ones at block boundaries stand here, and the example of the paper's appendix A.
#include "tcp/siphash.h"

#include <gtest/gtest.h>

#include <vector>

namespace sluice::tcp {
namespace {

SipHashKey counting_key() {
  SipHashKey key;
  for (uint8_t i = 0; i < 16; ++i) key[i] = i;
  return key;
}

struct Vector {
  size_t length;
  uint64_t expected;
};

constexpr Vector kVectors[] = {
    {0, 0x726fdb47dd0e0e31}, {1, 0x74f839c593dc67fd},  {2, 0x0d6c8009d9a94f5a},
    {3, 0x85676696d7fb7e2d}, {4, 0xcf2794e0277187b7},  {5, 0x18765564cd99a68d},
    {6, 0xcbc9466e58fee3ce}, {7, 0xab0200f58b01d137},  {8, 0x93f5f5799a932462},
    {9, 0x9e0082df0ba9e4b0}, {10, 0x7a5dbbc594ddb9f3}, {15, 0xa129ca6149be45e5},
};

TEST(SipHash, PublishedVectors) {
  std::vector<uint8_t> input;
  for (uint8_t i = 0; i < 64; ++i) input.push_back(i);
  for (const Vector& vector : kVectors) {
    EXPECT_EQ(siphash24(counting_key(), input.data(), vector.length), vector.expected)
        << "length " << vector.length;
  }
}

TEST(SipHash, DependsOnEveryByteOfInputAndKey) {
  uint8_t input[23] = {};
  const SipHashKey zero{};
  const uint64_t reference = siphash24(zero, input, sizeof input);
  for (uint8_t& byte : input) {
    byte ^= 1;
    EXPECT_NE(siphash24(zero, input, sizeof input), reference);
    byte ^= 1;
  }
  for (size_t i = 0; i < 16; ++i) {
    SipHashKey key{};
    key[i] = 0x80;
    EXPECT_NE(siphash24(key, input, sizeof input), reference);
  }
}

}  // namespace
}  // namespace sluice::tcp
