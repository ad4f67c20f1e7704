// Padding and MAC of a decrypted record without a branch or an address that depends on them.
//
// The padding's bytes are looked for in the last 256 bytes, each compared under the mask "is in the
// padding". The MAC begins somewhere in a window of 256 places: the window is folded onto a ring of
// 64 bytes (no MAC is longer), keeping MAC bytes alone, and the ring is turned by the secret
// distance in six steps, each of which turns by a power of two or not at all.
#include "crypto/cbc_padding.h"

#include <algorithm>

#include "crypto/constant_time.h"
#include "crypto/secret.h"

namespace sluice::crypto {
namespace {

constexpr uint32_t kMaxPadding = 255;
constexpr uint32_t kRing = 64;
constexpr uint32_t kMaxMac = 48;
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

}  // namespace

uint32_t check_padding(const uint8_t* body, uint32_t length, uint32_t mac_length,
                       uint32_t& plaintext_length) {
  const uint32_t most = length - mac_length - 1;  // plaintext, when there is no padding
  const uint32_t padding = body[length - 1];
  // The last `window` bytes, at the end of whole vectors.
  const uint32_t window = std::min(length, kMaxPadding + 1);
  constexpr uint32_t kBuffer = kMaxPadding + 1;
  alignas(32) uint8_t buffer[kBuffer];
  std::memset(buffer, 0, kBuffer - window);
  std::memcpy(buffer + kBuffer - window, body + length - window, window);
  Bytes32 wrong = {};
  for (uint32_t at = 0; at < kBuffer; at += kVector) {
    // Bytes in front of the padding do not count.
    const auto first = static_cast<int32_t>(kBuffer - 1 - padding);
    const Bytes32 in_front = bytes_below(first - static_cast<int32_t>(at));
    wrong |= (load32(buffer + at) ^ splat(padding)) & ~in_front;
  }
  secure_zero(buffer, sizeof(buffer));
  const uint32_t good = mask_zero(any_bit(wrong)) & mask_less(padding, most + 1);
  plaintext_length = most - (padding & good);
  return good;
}

uint32_t check_mac(const uint8_t* body, uint32_t length, uint32_t mac_length,
                   uint32_t plaintext_length, const uint8_t* mac) {
  const uint32_t most = length - mac_length - 1;
  const uint32_t start = most - std::min(most, kMaxPadding);  // of the window
  constexpr uint32_t kBuffer = (kMaxPadding + kMaxMac + 1 + kVector - 1) / kVector * kVector;
  alignas(32) uint8_t buffer[kBuffer];
  const uint32_t window = length - 1 - start;
  std::memcpy(buffer, body + start, window);
  std::memset(buffer + window, 0, kBuffer - window);

  const auto first = static_cast<int32_t>(plaintext_length - start);
  const int32_t behind = first + static_cast<int32_t>(mac_length);
  Bytes32 ring[2] = {};
  for (uint32_t at = 0; at < window; at += kVector) {
    const auto here = static_cast<int32_t>(at);
    const Bytes32 is_mac = bytes_below(behind - here) & ~bytes_below(first - here);
    ring[at / kVector % 2] |= load32(buffer + at) & is_mac;
  }
  // The MAC begins at `first` modulo the ring's size. Turn it to the front.
  alignas(32) uint8_t turned[2 * kRing];
  for (uint32_t distance = 1; distance < kRing; distance *= 2) {
    store32(turned, ring[0]);
    store32(turned + kVector, ring[1]);
    store32(turned + kRing, ring[0]);
    store32(turned + kRing + kVector, ring[1]);
    const Bytes32 turn = splat(~mask_zero(static_cast<uint32_t>(first) & distance));
    ring[0] = blend(turn, load32(turned + distance), ring[0]);
    ring[1] = blend(turn, load32(turned + distance + kVector), ring[1]);
  }
  store32(turned, ring[0]);
  store32(turned + kVector, ring[1]);
  const bool equal = equal_constant_time(turned, mac, mac_length);
  secure_zero(buffer, sizeof(buffer));
  secure_zero(turned, sizeof(turned));
  return ~mask_zero(static_cast<uint32_t>(equal));
}

void keep_or_zero(uint8_t* bytes, uint32_t length, uint32_t keep) {
  const Bytes32 mask = splat(keep);
  uint32_t at = 0;
  for (; at + kVector <= length; at += kVector) store32(bytes + at, load32(bytes + at) & mask);
  for (; at < length; ++at) bytes[at] = static_cast<uint8_t>(bytes[at] & keep);
}

}  // namespace sluice::crypto
