// Padding and MAC of a decrypted record without a branch or an address that depends on them.
//
// The padding's bytes are looked for in the last 256 bytes, each compared under the mask "is in the
// padding". The MAC begins somewhere in a window of 256 places: the window is folded onto a ring of
// 64 bytes (no MAC is longer), keeping MAC bytes alone, and the ring is turned by the secret
// distance in six steps, each of which turns by a power of two or not at all.
#include "crypto/cbc_padding.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "crypto/constant_time.h"
#include "crypto/suite.h"

namespace sluice::crypto {
namespace {

constexpr uint32_t kMaxPadding = 255;
constexpr uint32_t kVector = sizeof(Bytes32);

// The OR of all bytes' bits; zero only for zero.
uint32_t any_bit(Bytes32 bytes) {
  uint64_t parts[4];
  std::memcpy(parts, &bytes, sizeof(parts));
  const uint64_t all = parts[0] | parts[1] | parts[2] | parts[3];
  return static_cast<uint32_t>(all) | static_cast<uint32_t>(all >> 32);
}

Bytes32 splat(uint32_t mask) {
  Bytes32 bytes = {};
  return bytes + static_cast<uint8_t>(mask & 0xff);
}

Bytes32 blend(Bytes32 mask, Bytes32 if_true, Bytes32 if_false) {
  return (if_true & mask) | (if_false & ~mask);
}

// 64 bytes, the last of which is followed by the first.
struct Ring {
  Bytes32 low;
  Bytes32 high;
};

template <size_t... i>
Ring turned(Ring ring, std::index_sequence<i...>, auto by) {
  return {__builtin_shufflevector(ring.low, ring.high, (i + by)...),
          __builtin_shufflevector(ring.high, ring.low, (i + by)...)};
}

// Turned by kBy places towards the front if `distance` has that bit.
template <uint32_t kBy>
Ring turn(Ring ring, uint32_t distance) {
  const Ring other =
      turned(ring, std::make_index_sequence<kVector>{}, std::integral_constant<size_t, kBy>{});
  const Bytes32 mask = splat(~mask_zero(distance & kBy));
  return {blend(mask, other.low, ring.low), blend(mask, other.high, ring.high)};
}

}  // namespace

uint32_t check_padding(const uint8_t* body, uint32_t length, uint32_t mac_length,
                       uint32_t& plaintext_length) {
  const uint32_t most = length - mac_length - 1;  // plaintext, when there is no padding
  const uint32_t padding = body[length - 1];
  // From the end to the front, as far as padding can reach; bytes in front of it do not count.
  const uint32_t window = std::min(length, kMaxPadding + 1);
  Bytes32 wrong = {};
  const auto compare = [&](Bytes32 bytes, uint32_t from_end) {
    const auto in_front = static_cast<int32_t>(from_end) - static_cast<int32_t>(padding + 1);
    wrong |= (bytes ^ splat(padding)) & ~bytes_below(in_front);
  };
  uint32_t from_end = kVector;
  for (; from_end <= window; from_end += kVector)
    compare(load32(body + length - from_end), from_end);
  if (from_end - kVector < window) {
    // Half a vector is left of a short record. What is not there is not padding either.
    alignas(32) uint8_t half[kVector] = {};
    std::memcpy(half + kCbcBlockLength, body, kCbcBlockLength);
    compare(load32(half), from_end);
    wipe32(half);
  }
  const uint32_t good = mask_zero(any_bit(wrong)) & mask_less(padding, most + 1);
  plaintext_length = most - (padding & good);
  return good;
}

uint32_t check_mac(const uint8_t* body, uint32_t length, uint32_t mac_length,
                   uint32_t plaintext_length, const uint8_t* mac) {
  const uint32_t most = length - mac_length - 1;
  const uint32_t start = most - std::min(most, kMaxPadding);  // of the window
  const uint32_t window = length - 1 - start;
  const auto first = static_cast<int32_t>(plaintext_length - start);
  const int32_t behind = first + static_cast<int32_t>(mac_length);
  Ring ring{};
  const auto fold = [&](Bytes32 bytes, uint32_t at) {
    const auto here = static_cast<int32_t>(at);
    const Bytes32 is_mac = bytes_below(behind - here) & ~bytes_below(first - here);
    (at / kVector % 2 == 0 ? ring.low : ring.high) |= bytes & is_mac;
  };
  uint32_t at = 0;
  for (; at + kVector <= window; at += kVector) fold(load32(body + start + at), at);
  alignas(32) uint8_t rest[kVector] = {};
  std::memcpy(rest, body + start + at, window - at);
  fold(load32(rest), at);
  wipe32(rest);

  // The MAC begins at `first` modulo the ring's size. Turn it to the front.
  const auto distance = static_cast<uint32_t>(first);
  ring = turn<1>(ring, distance);
  ring = turn<2>(ring, distance);
  ring = turn<4>(ring, distance);
  ring = turn<8>(ring, distance);
  ring = turn<16>(ring, distance);
  ring = turn<32>(ring, distance);

  alignas(32) uint8_t expected[2 * kVector] = {};
  std::memcpy(expected, mac, mac_length);
  const Bytes32 wrong_low =
      (ring.low ^ load32(expected)) & bytes_below(static_cast<int32_t>(mac_length));
  const Bytes32 wrong_high =
      (ring.high ^ load32(expected + kVector)) &
      bytes_below(static_cast<int32_t>(mac_length) - static_cast<int32_t>(kVector));
  wipe32(expected);
  return mask_zero(any_bit(wrong_low | wrong_high));
}

void keep_or_zero(uint8_t* bytes, uint32_t length, uint32_t keep) {
  const Bytes32 mask = splat(keep);
  uint32_t at = 0;
  for (; at + kVector <= length; at += kVector) store32(bytes + at, load32(bytes + at) & mask);
  for (; at < length; ++at) bytes[at] = static_cast<uint8_t>(bytes[at] & keep);
}

}  // namespace sluice::crypto
