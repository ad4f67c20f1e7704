// A received Ethernet frame as a run of bytes, or as a few where the port scattered it.
#pragma once

#include <array>
#include <cstdint>

#include "net/limits.h"
#include "net/segment.h"

namespace sluice::net {

// The frame holds one reference to each of its owners: give it back with release_frame(), after
// whoever keeps a part of the payload has retained it.
struct Frame {
  uint8_t* data = nullptr;  // first piece; all headers have to lie in it
  uint32_t length = 0;      // bytes of the first piece
  BufferOwner* owner = nullptr;
  const Slice* more = nullptr;  // further pieces, in memory of the batch that the frame came in
  uint16_t more_count = 0;
  uint8_t port = 0;          // index of the port that received it
  bool checksum_ok = false;  // the port has verified IP and TCP checksums
};

inline void release_frame(const Frame& frame) {
  for (uint16_t i = 0; i < frame.more_count; ++i) release(frame.more[i].owner);
  release(frame.owner);
}

// Asks for the memory of a frame whose checksum is to be verified; early enough that it is there
// when the frame's turn comes.
inline void prefetch_unverified(const Frame& frame) {
  constexpr uint32_t kLineBytes = 64;
  if (frame.checksum_ok) return;
  for (uint32_t at = 0; at < frame.length; at += kLineBytes) __builtin_prefetch(frame.data + at);
}

// What one receive call brings.
struct FrameBatch {
  uint32_t count = 0;
  uint32_t more_used = 0;
  std::array<Frame, abi::kBurst> frames;
  std::array<Slice, abi::kBurst * kMaxFramePieces> more;  // further pieces of all frames together
};

}  // namespace sluice::net
