// A TCP segment as the stack sees it: header fields in host order and a chain of payload slices.
// Plain data, no DPDK; the same struct in both directions, up to 64 KiB (TSO, LRO).
#pragma once

#include <array>
#include <cstdint>

#include "abi/address.h"
#include "abi/limits.h"

namespace sluice::net {

// Memory that slices point into. Counted without atomics: an owner belongs to one worker.
// `truesize_bytes` is what holding it costs, whatever part a slice shows (memory is accounted in
// buffers held, not in bytes delivered).
struct BufferOwner {
  uint32_t references = 1;
  uint32_t truesize_bytes = 0;
  void (*release)(BufferOwner* owner) = nullptr;  // called when references falls to 0
};

inline void retain(BufferOwner* owner) { ++owner->references; }
inline void release(BufferOwner* owner) {
  if (--owner->references == 0) owner->release(owner);
}

// A run of bytes in an owner's memory. Copying a Slice does not count a reference: whoever keeps
// one calls retain.
struct Slice {
  uint8_t* data = nullptr;
  uint32_t length = 0;
  BufferOwner* owner = nullptr;
};

struct Chain {
  uint32_t count = 0;
  uint32_t length = 0;                               // sum of the pieces
  std::array<Slice, abi::kMaxSegmentPieces> pieces;  // not initialised beyond count

  Chain() {}  // NOLINT: leaves pieces uninitialised on purpose
  bool append(const Slice& slice) {
    if (count == pieces.size()) return false;
    pieces[count++] = slice;
    length += slice.length;
    return true;
  }
  void clear() {
    count = 0;
    length = 0;
  }
};

struct FlowTuple {
  abi::SocketAddress local;
  abi::SocketAddress remote;
  friend bool operator==(const FlowTuple& a, const FlowTuple& b) {
    return a.local == b.local && a.remote == b.remote;
  }
};

// RFC 9293 3.1 control bits.
enum TcpFlag : uint8_t {
  kFin = 0x01,
  kSyn = 0x02,
  kRst = 0x04,
  kPsh = 0x08,
  kAck = 0x10,
  kUrg = 0x20,
  kEce = 0x40,
  kCwr = 0x80,
};

struct SackBlock {
  uint32_t start = 0;  // first sequence number of the block
  uint32_t end = 0;    // the one behind its last
};

struct TcpOptions {
  bool has_timestamps = false;    // RFC 7323 3
  bool sack_permitted = false;    // RFC 2018 2; SYN only
  bool has_window_scale = false;  // RFC 7323 2; SYN only
  uint8_t window_scale = 0;       // 0..14
  uint8_t sack_count = 0;         // 0..4
  uint16_t mss = 0;               // 0: absent; SYN only
  uint32_t tsval = 0;
  uint32_t tsecr = 0;
  std::array<SackBlock, 4> sack;
};

struct Segment {
  FlowTuple tuple;  // local is Sluice, remote the peer, in both directions
  uint32_t seq = 0;
  uint32_t ack = 0;
  uint16_t window = 0;     // as on the wire, unscaled
  uint8_t flags = 0;       // TcpFlag
  uint8_t ecn = 0;         // IP ECN codepoint
  uint16_t cut_bytes = 0;  // tx: payload bytes per packet at most; 0: what the MTU allows
  TcpOptions options;
  Chain payload;

  uint32_t sequence_length() const {
    return payload.length + ((flags & kSyn) ? 1U : 0U) + ((flags & kFin) ? 1U : 0U);
  }
};

}  // namespace sluice::net
