// SipHash-2-4 with 64 bits of output (Aumasson, Bernstein: "SipHash: a fast short-input PRF"). The
// keyed hash of SYN cookies, initial sequence numbers, timestamp offsets and hash tables.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace sluice::tcp {

using SipHashKey = std::array<uint8_t, 16>;

uint64_t siphash24(const uint8_t key[16], const uint8_t* data, size_t length);
inline uint64_t siphash24(const SipHashKey& key, const uint8_t* data, size_t length) {
  return siphash24(key.data(), data, length);
}

}  // namespace sluice::tcp
