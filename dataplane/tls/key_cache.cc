// Expanded keys cost 1 KiB and about 320 cycles to make; a worker has too many flows to keep them
// all and too few in use at once to need that. A flow's name picks a set of two; the key is there,
// or takes the place of the one that was used less recently. What leaves is wiped by AeadKey.
//
// Flow indexes are dense, so that index and direction together spread evenly without hashing: the
// two directions of a flow lie in neighbouring sets.
#include "tls/key_cache.h"

#include <bit>

#include "abi/assert.h"

namespace sluice::tls {

KeyCache::KeyCache(uint32_t entries, abi::Counters& counters)
    : sets_(std::bit_ceil(entries < kWays ? kWays : entries) / kWays),
      table_(std::make_unique<Set[]>(sets_)),
      counters_(counters) {}

KeyCache::Set& KeyCache::set_of(const KeyName& name) {
  const uint32_t position = name.flow_index * 2 + static_cast<uint32_t>(name.direction);
  return table_[position & (sets_ - 1)];
}

const crypto::AeadKey& KeyCache::get(const crypto::Provider& provider, const KeyName& name,
                                     crypto::Cipher cipher, std::span<const uint8_t> key) {
  Set& set = set_of(name);
  for (uint32_t way = 0; way < kWays; ++way) {
    if (set.keys[way].ready() && set.names[way] == name) {
      set.recent = way;
      counters_.add(abi::Counter::tls_key_cache_hits);
      return set.keys[way];
    }
  }
  counters_.add(abi::Counter::tls_key_cache_misses);
  const uint32_t victim = set.keys[set.recent].ready() ? 1 - set.recent : set.recent;
  const bool expanded = set.keys[victim].expand(provider, cipher, key);
  SLUICE_ASSERT(expanded);  // install_keys has checked the length
  set.names[victim] = name;
  set.recent = victim;
  return set.keys[victim];
}

void KeyCache::forget(const KeyName& name) {
  Set& set = set_of(name);
  for (uint32_t way = 0; way < kWays; ++way) {
    if (set.keys[way].ready() && set.names[way] == name) set.keys[way].wipe();
  }
}

uint32_t KeyCache::used() const {
  uint32_t used = 0;
  for (uint32_t i = 0; i < sets_; ++i) {
    for (const crypto::AeadKey& key : table_[i].keys) used += key.ready() ? 1U : 0U;
  }
  return used;
}

}  // namespace sluice::tls
