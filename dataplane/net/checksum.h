// The Internet checksum (RFC 1071) over plain memory, alone or while copying.
//
// A sum here is an unfolded one's-complement sum of 16-bit words in memory order, counted from the
// first byte of its run (RFC 1071 2(B): the byte order does not matter). combine() puts the sums
// of consecutive runs together, fold() makes the 16 bits that go onto the wire.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::net {

using Sum = uint64_t;

// Sum of `length` bytes.
Sum checksum_add(const uint8_t* data, size_t length);
// Copies and sums in one pass. The two must not overlap.
Sum checksum_copy(uint8_t* out, const uint8_t* data, size_t length);

// The sum of a run whose first part, `offset` bytes long, has sum `first` and whose rest has sum
// `second`: an odd offset swaps the bytes of what follows (RFC 1071 2(B)).
Sum checksum_combine(Sum first, Sum second, size_t offset);

// Folded to 16 bits, not complemented; memory order (store it with memcpy).
uint16_t checksum_fold(Sum sum);
// The checksum field's value, memory order.
inline uint16_t checksum_finish(Sum sum) { return static_cast<uint16_t>(~checksum_fold(sum)); }

}  // namespace sluice::net
