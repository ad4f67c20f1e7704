// The table of tuples: insertion and back-shifting deletion. The theory is in the header.
#include "flow/flow_table.h"

#include <bit>
#include <cstring>

#include "abi/assert.h"
#include "tcp/siphash.h"

namespace sluice::flow {

uint32_t hash_tuple(const uint8_t key[16], const net::FlowTuple& tuple) {
  uint8_t bytes[36];
  if (tuple.local.address.is_ipv4() && tuple.remote.address.is_ipv4()) {  // half the rounds
    std::memcpy(bytes, tuple.local.address.bytes.data() + 12, 4);
    std::memcpy(bytes + 4, tuple.remote.address.bytes.data() + 12, 4);
    std::memcpy(bytes + 8, &tuple.local.port, 2);
    std::memcpy(bytes + 10, &tuple.remote.port, 2);
    return static_cast<uint32_t>(tcp::siphash24(key, bytes, 12));
  }
  std::memcpy(bytes, tuple.local.address.bytes.data(), 16);
  std::memcpy(bytes + 16, tuple.remote.address.bytes.data(), 16);
  std::memcpy(bytes + 32, &tuple.local.port, 2);
  std::memcpy(bytes + 34, &tuple.remote.port, 2);
  return static_cast<uint32_t>(tcp::siphash24(key, bytes, sizeof bytes));
}

FlowTable::FlowTable(uint32_t max_entries, const uint8_t key[16]) : max_entries_(max_entries) {
  SLUICE_ASSERT(max_entries > 0 && max_entries <= (1U << 30));
  const uint32_t capacity = std::bit_ceil(max_entries * 2);
  entries_ = std::make_unique<Entry[]>(capacity);
  mask_ = capacity - 1;
  std::memcpy(key_, key, sizeof key_);
}

bool FlowTable::insert(uint32_t hash, FlowRef reference) {
  if (size_ == max_entries_) return false;
  uint32_t at = hash & mask_;
  while (entries_[at].reference != kEmpty) at = (at + 1) & mask_;
  entries_[at] = {hash, encode(reference)};
  ++size_;
  return true;
}

bool FlowTable::erase(uint32_t hash, FlowRef reference) {
  last_ = {};
  const uint32_t wanted = encode(reference);
  uint32_t hole = hash & mask_;
  while (entries_[hole].reference != wanted) {
    if (entries_[hole].reference == kEmpty) return false;
    hole = (hole + 1) & mask_;
  }
  // Whatever follows moves into the hole unless its own place lies behind the hole.
  for (uint32_t at = (hole + 1) & mask_; entries_[at].reference != kEmpty; at = (at + 1) & mask_) {
    const uint32_t home = entries_[at].tag & mask_;
    const bool stays = ((at - home) & mask_) < ((at - hole) & mask_);
    if (stays) continue;
    entries_[hole] = entries_[at];
    hole = at;
  }
  entries_[hole] = Entry{};
  --size_;
  return true;
}

}  // namespace sluice::flow
