// Which flow, and which side of it, a segment belongs to.
//
// Open addressing with linear probing, at most half full, fixed size: (hash tag, reference) pairs
// of eight bytes; the tuple itself stands in the flow's TCB and is compared through `TupleOf`. The
// hash is keyed (SipHash-2-4), so a client cannot aim its ports at one bucket. Deletion shifts
// back, so there are no tombstones and a probe ends at the first empty entry.
#pragma once

#include <cstdint>
#include <memory>

#include "net/segment.h"

namespace sluice::flow {

enum class Side : uint8_t { Client = 0, Backend = 1 };
constexpr Side other(Side side) { return side == Side::Client ? Side::Backend : Side::Client; }
constexpr uint32_t number(Side side) { return static_cast<uint32_t>(side); }

struct FlowRef {
  uint32_t index = UINT32_MAX;  // UINT32_MAX: none
  Side side = Side::Client;
  bool valid() const { return index != UINT32_MAX; }
};

// The keyed hash of a tuple; also what spreads new flows over workers and handshake threads.
uint32_t hash_tuple(const uint8_t key[16], const net::FlowTuple& tuple);

class FlowTable {
 public:
  // Room for `max_entries` tuples; allocates here and never again.
  FlowTable(uint32_t max_entries, const uint8_t key[16]);

  uint32_t hash(const net::FlowTuple& tuple) const { return hash_tuple(key_, tuple); }

  template <class TupleOf>
  FlowRef find(const net::FlowTuple& tuple, uint32_t hash, TupleOf&& tuple_of) const {
    for (uint32_t at = hash & mask_;; at = (at + 1) & mask_) {
      const Entry& entry = entries_[at];
      if (entry.reference == kEmpty) return {};
      if (entry.tag == hash && tuple_of(decode(entry.reference)) == tuple) {
        return decode(entry.reference);
      }
    }
  }

  // A burst often brings several segments of one flow behind each other: while the entry that was
  // remembered is in the table and has this tuple, no other is meant and nothing needs hashing.
  void remember(FlowRef reference) { last_ = reference; }
  template <class TupleOf>
  FlowRef find_last(const net::FlowTuple& tuple, TupleOf&& tuple_of) const {
    return last_.valid() && tuple_of(last_) == tuple ? last_ : FlowRef{};
  }

  // The tuple is assumed absent. False when the table is as full as it may get.
  bool insert(uint32_t hash, FlowRef reference);
  // False when it was not there.
  bool erase(uint32_t hash, FlowRef reference);
  uint32_t size() const { return size_; }

  void prefetch(uint32_t hash) const { __builtin_prefetch(&entries_[hash & mask_]); }

 private:
  static constexpr uint32_t kEmpty = UINT32_MAX;
  struct Entry {
    uint32_t tag = 0;
    uint32_t reference = kEmpty;  // flow index * 2 + side
  };
  static FlowRef decode(uint32_t reference) {
    return {reference >> 1, static_cast<Side>(reference & 1)};
  }
  static uint32_t encode(FlowRef reference) {
    return reference.index << 1 | number(reference.side);
  }

  std::unique_ptr<Entry[]> entries_;
  uint32_t mask_ = 0;
  uint32_t size_ = 0;
  uint32_t max_entries_ = 0;
  FlowRef last_;  // invalid once it was erased
  uint8_t key_[16];
};

}  // namespace sluice::flow
