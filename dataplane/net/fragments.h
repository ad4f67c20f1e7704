// Reassembly of IP fragments (RFC 791 3.2, RFC 8200 4.5), one table per worker. Bounded, no I/O,
// nothing allocated after start, time is handed in.
//
// A worker's turn:
//   Frame whole;
//   const bool complete = table.add(frame, packet, now, whole);  // a frame of kind Fragment
//   release_frame(frame);                                        // as for any frame
//   if (complete) handle `whole` as a frame that was received; it holds references of its own
//   tick(now) every turn
// The table retains what it keeps. `whole` shows parts of the buffers that its pieces came in, so
// whoever turns it into buffers again (a hand-over to another worker) goes by its slices.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "abi/counters.h"
#include "net/frame.h"
#include "net/limits.h"
#include "net/wire.h"

namespace sluice::net {

class FragmentTable {
 public:
  explicit FragmentTable(abi::Counters& counters);
  ~FragmentTable();
  FragmentTable(const FragmentTable&) = delete;
  FragmentTable& operator=(const FragmentTable&) = delete;

  // True: `whole` is the packet that this fragment completed; its `more` lies in the table's
  // memory until the next add(). False: the fragment was kept, or dropped and counted.
  bool add(const Frame& frame, const Packet& packet, uint64_t now_us, Frame& whole);
  // Gives up what has waited for kFragmentTimeoutUs.
  void tick(uint64_t now_us);

  uint32_t entries() const { return entries_in_use_; }
  uint32_t held_bytes() const { return held_bytes_; }  // of buffers, whatever they show

 private:
  struct Piece {
    Slice slice;
    uint16_t offset = 0;          // into the packet's payload
    bool begins_fragment = true;  // false: the fragment's further buffers
  };
  struct Entry {
    bool used = false;
    bool condemned = false;  // pieces overlapped: what still comes is dropped too (RFC 5722 4)
    bool has_end = false;
    uint8_t port = 0;
    uint8_t ecn_seen = 0;  // a bit per codepoint
    FragmentInfo info;
    abi::IpAddress source;
    abi::IpAddress destination;
    uint64_t since_us = 0;
    uint32_t arrived_bytes = 0;
    uint32_t end_bytes = 0;  // of the payload, with has_end
    uint32_t held_bytes = 0;
    uint32_t fragments = 0;
    uint8_t* head = nullptr;        // the first fragment's link header
    uint16_t network_offset = 0;    // from head
    uint16_t transport_offset = 0;  // from head: where the payload begins
    uint32_t count = 0;             // of pieces, which are sorted by offset
    std::array<Piece, kFragmentPieces> pieces;
  };
  // Where a fragment's payload belongs.
  struct Span {
    uint32_t offset = 0;
    uint32_t length = 0;
    uint32_t end() const { return offset + length; }
  };
  enum class Fit : uint8_t { New, Duplicate, Overlap, Impossible };

  Entry* find(const Frame& frame, const Packet& packet);
  Entry* claim(const Frame& frame, const Packet& packet, uint64_t now_us);
  Entry* oldest(const Entry* but);
  Fit fit(const Entry& entry, const Span& span, bool more) const;
  bool keep(Entry& entry, const Frame& frame, const Packet& packet);
  void insert(Entry& entry, const Span& span, const Frame& frame, const Packet& packet);
  bool finish(Entry& entry, Frame& whole);
  void give_up(Entry& entry, abi::Counter reason);
  void condemn(Entry& entry, abi::Counter reason);
  void forget(Entry& entry);

  abi::Counters& counters_;
  std::vector<Entry> entries_;
  std::array<Slice, kFragmentPieces> more_;
  uint32_t entries_in_use_ = 0;
  uint32_t held_bytes_ = 0;
  uint64_t next_tick_us_ = 0;
};

}  // namespace sluice::net
