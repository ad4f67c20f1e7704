// The front of a receive queue as the record layer wants it: an array of pieces.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "crypto/aead.h"
#include "tcp/tcb.h"

namespace sluice::flow {

// Pieces of one record at most. A sender whose segments are smaller than kCollapseBytes has them
// copied together on arrival, so a full record has far fewer.
inline constexpr uint32_t kMaxPieces = 128;

struct Pieces {
  std::array<crypto::ConstPiece, kMaxPieces> items;
  uint32_t count = 0;
  uint32_t length = 0;  // sum of the pieces: at most what was asked for
  std::span<const crypto::ConstPiece> span() const { return {items.data(), count}; }

  Pieces() {}  // NOLINT: items stay uninitialised beyond count
};

// The first `bytes` readable bytes, or as many of them as kMaxPieces pieces cover.
inline void gather(const tcp::ReceiveQueue& queue, uint32_t bytes, Pieces& pieces) {
  for (const net::Slice& slice : queue) {
    const uint32_t part = std::min(slice.length, bytes - pieces.length);
    if (part == 0 || pieces.count == kMaxPieces) return;
    pieces.items[pieces.count++] = {slice.data, part};
    pieces.length += part;
  }
}

}  // namespace sluice::flow
