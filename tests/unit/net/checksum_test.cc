// The vector code against the definition, at every length, alignment and cut.
#include "net/checksum.h"

#include <gtest/gtest.h>

#include "support.h"

namespace sluice::net {
namespace {

// RFC 1071 1, word by word, big-endian; returns the folded sum in memory order.
uint16_t reference(const uint8_t* data, size_t length) {
  uint32_t sum = 0;
  for (size_t i = 0; i + 1 < length; i += 2) sum += load_be16(data + i);
  if (length % 2 != 0) sum += static_cast<uint32_t>(data[length - 1]) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  uint8_t bytes[2];
  store_be16(bytes, sum);
  uint16_t folded = 0;
  std::memcpy(&folded, bytes, 2);
  return folded;
}

// RFC 1071 3's example: 00 01 f2 03 f4 f5 f6 f7 sums to ddf2.
TEST(Checksum, PublishedExample) {
  const uint8_t data[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  const uint16_t folded = checksum_fold(checksum_add(data, sizeof data));
  uint8_t bytes[2];
  std::memcpy(bytes, &folded, 2);
  EXPECT_EQ(load_be16(bytes), 0xddf2);
}

TEST(Checksum, EveryLengthAndAlignment) {
  std::mt19937 random(1);
  const auto data = test::random_bytes(random, 400);
  std::vector<uint8_t> out(400);
  for (size_t offset = 0; offset < 33; ++offset) {
    for (size_t length = 0; length < 300; ++length) {
      const uint16_t expected = reference(data.data() + offset, length);
      ASSERT_EQ(checksum_fold(checksum_add(data.data() + offset, length)), expected)
          << offset << " " << length;
      std::fill(out.begin(), out.end(), uint8_t{0xa5});
      ASSERT_EQ(checksum_fold(checksum_copy(out.data(), data.data() + offset, length)), expected);
      ASSERT_EQ(std::memcmp(out.data(), data.data() + offset, length), 0);
      ASSERT_EQ(out[length], 0xa5) << "wrote behind the end";
    }
  }
}

TEST(Checksum, AllOnesDoNotOverflow) {
  const std::vector<uint8_t> data(65536, 0xff);
  EXPECT_EQ(checksum_fold(checksum_add(data.data(), data.size())), 0xffff);
}

TEST(Checksum, CombineAtEveryOffset) {
  std::mt19937 random(2);
  const auto data = test::random_bytes(random, 200);
  for (size_t cut = 0; cut <= data.size(); ++cut) {
    const Sum both = checksum_combine(checksum_add(data.data(), cut),
                                      checksum_add(data.data() + cut, data.size() - cut), cut);
    ASSERT_EQ(checksum_fold(both), reference(data.data(), data.size())) << cut;
  }
}

}  // namespace
}  // namespace sluice::net
