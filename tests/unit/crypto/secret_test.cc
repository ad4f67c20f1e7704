// Secret: what it holds, and that it lets go.
#include "crypto/secret.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <new>
#include <type_traits>

namespace sluice::crypto {
namespace {

using Secret16 = Secret<16>;
constexpr uint8_t kBytes[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

static_assert(!std::is_copy_constructible_v<Secret16> && !std::is_copy_assignable_v<Secret16>);
static_assert(std::is_nothrow_move_constructible_v<Secret16>);

bool all_zero(const uint8_t* data, size_t length) {
  return std::all_of(data, data + length, [](uint8_t byte) { return byte == 0; });
}

TEST(Secret, HoldsUpToItsCapacity) {
  Secret16 secret;
  EXPECT_TRUE(secret.empty());
  EXPECT_TRUE(secret.assign(kBytes));
  EXPECT_EQ(secret.size(), 16u);
  EXPECT_TRUE(std::equal(std::begin(kBytes), std::end(kBytes), secret.data()));
  EXPECT_TRUE(secret.assign({}));
  EXPECT_TRUE(secret.empty());
}

TEST(Secret, RefusesMoreAndIsEmptyThen) {
  constexpr uint8_t kTooMany[17] = {1};
  Secret16 secret;
  ASSERT_TRUE(secret.assign(kBytes));
  EXPECT_FALSE(secret.assign(kTooMany));
  EXPECT_TRUE(secret.empty());
  EXPECT_TRUE(all_zero(secret.data(), 16));
  EXPECT_FALSE(secret.resize_zeroed(17));
  EXPECT_TRUE(secret.empty());
}

TEST(Secret, ShorterContentsLeaveNothingOfLongerOnes) {
  Secret16 secret;
  ASSERT_TRUE(secret.assign(kBytes));
  ASSERT_TRUE(secret.assign(std::span(kBytes).first(2)));
  EXPECT_TRUE(all_zero(secret.data() + 2, 14));
  ASSERT_TRUE(secret.resize_zeroed(16));
  EXPECT_TRUE(all_zero(secret.data(), 16));
}

TEST(Secret, MovingWipesTheSource) {
  Secret16 first;
  ASSERT_TRUE(first.assign(kBytes));
  // Looked at through a reference: using a moved-from object is the point here.
  const Secret16& moved_from_first = first;
  Secret16 second(std::move(first));
  EXPECT_EQ(second.size(), 16u);
  // NOLINTNEXTLINE(clang-analyzer-cplusplus.Move)
  EXPECT_EQ(moved_from_first.size(), 0u);
  EXPECT_TRUE(all_zero(moved_from_first.data(), 16));

  const Secret16& moved_from_second = second;
  Secret16 third;
  third = std::move(second);
  EXPECT_TRUE(std::equal(std::begin(kBytes), std::end(kBytes), third.data()));
  // NOLINTNEXTLINE(clang-analyzer-cplusplus.Move)
  EXPECT_TRUE(all_zero(moved_from_second.data(), 16));
}

TEST(Secret, DestructionWipes) {
  alignas(Secret16) uint8_t memory[sizeof(Secret16)];
  auto* secret = new (memory) Secret16;
  ASSERT_TRUE(secret->assign(kBytes));
  secret->~Secret16();
  // A volatile view, since the object's life is over and the compiler knows it.
  const volatile uint8_t* left = memory;
  const std::span<const uint8_t> needle(kBytes);
  size_t found = 0;
  for (size_t i = 0; i + needle.size() <= sizeof(memory); ++i) {
    size_t same = 0;
    while (same < needle.size() && left[i + same] == needle[same]) ++same;
    found += same > 3 ? 1 : 0;
  }
  EXPECT_EQ(found, 0u);
}

TEST(EqualConstantTime, SeesEveryByteAndEveryBit) {
  uint8_t other[16];
  std::copy(std::begin(kBytes), std::end(kBytes), other);
  EXPECT_TRUE(equal_constant_time(kBytes, other, 16));
  EXPECT_TRUE(equal_constant_time(kBytes, other, 0));
  for (size_t bit = 0; bit < 128; ++bit) {
    other[bit / 8] = static_cast<uint8_t>(other[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(equal_constant_time(kBytes, other, 16)) << "bit " << bit;
    other[bit / 8] = kBytes[bit / 8];
  }
}

TEST(SecureZero, LengthZeroTouchesNothing) { secure_zero(nullptr, 0); }

}  // namespace
}  // namespace sluice::crypto
