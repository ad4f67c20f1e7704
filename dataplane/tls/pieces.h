// Walking over a run of bytes that lies in pieces.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

#include "crypto/aead.h"

namespace sluice::tls {

using crypto::ConstPiece;

inline uint64_t total_bytes(std::span<const ConstPiece> pieces) {
  uint64_t total = 0;
  for (const ConstPiece& piece : pieces) total += piece.length;
  return total;
}

// Calls `visit(data, length)` for each contiguous part of bytes [offset, offset + length), in
// order. Ends early when the pieces do.
template <class Visit>
void for_each_part(std::span<const ConstPiece> pieces, uint32_t offset, uint32_t length,
                   Visit&& visit) {
  for (const ConstPiece& piece : pieces) {
    if (length == 0) return;
    if (offset >= piece.length) {
      offset -= piece.length;
      continue;
    }
    const uint32_t part = std::min(piece.length - offset, length);
    visit(piece.data + offset, part);
    length -= part;
    offset = 0;
  }
}

// Copies up to `length` bytes from `offset` on; returns how many there were.
inline uint32_t copy_bytes(std::span<const ConstPiece> pieces, uint32_t offset, uint32_t length,
                           uint8_t* out) {
  uint32_t copied = 0;
  for_each_part(pieces, offset, length, [&](const uint8_t* data, uint32_t part) {
    std::memcpy(out + copied, data, part);
    copied += part;
  });
  return copied;
}

}  // namespace sluice::tls
