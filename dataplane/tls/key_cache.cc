// Expanded keys cost 1 KiB and about 320 cycles to make; a worker has too many flows to keep them
// all and too few in use at once to need that. A flow's name picks a set of two; the key is there,
// or takes the place of the one that was used less recently. What leaves is wiped.
//
// Flow indexes are dense, so that index and direction together spread evenly without hashing: the
// two directions of a flow lie in neighbouring sets.
//
// A batch of CBC records needs all its keys at once. `pin` holds them by the number of the round in
// which they were asked for, so that letting go of all is one increment.
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

uint32_t KeyCache::look_up(Set& set, const KeyName& name) {
  for (uint32_t way = 0; way < kWays; ++way) {
    if (!set.entries[way].ready() || set.entries[way].name != name) continue;
    set.recent = way;
    counters_.add(abi::Counter::tls_key_cache_hits);
    return way;
  }
  return kWays;
}

uint32_t KeyCache::victim_of(const Set& set) const {
  return set.entries[set.recent].ready() ? 1 - set.recent : set.recent;
}

const crypto::AeadKey& KeyCache::get(const crypto::Provider& provider, const KeyName& name,
                                     crypto::Cipher cipher, std::span<const uint8_t> key) {
  Set& set = set_of(name);
  const uint32_t found = look_up(set, name);
  if (found != kWays) return std::get<crypto::AeadKey>(set.entries[found].key);
  counters_.add(abi::Counter::tls_key_cache_misses);
  const uint32_t victim = victim_of(set);
  Entry& entry = set.entries[victim];
  SLUICE_ASSERT(entry.pinned_in != round_);  // nothing is looked up while a batch is gathered
  auto* held = std::get_if<crypto::AeadKey>(&entry.key);
  if (held == nullptr) held = &entry.key.emplace<crypto::AeadKey>();
  const bool expanded = held->expand(provider, cipher, key);
  SLUICE_ASSERT(expanded);  // install_keys has checked the length
  entry.name = name;
  set.recent = victim;
  return *held;
}

const crypto::CbcHmacKey* KeyCache::pin(const crypto::Provider& provider, const KeyName& name,
                                        const crypto::Suite& suite, std::span<const uint8_t> key,
                                        std::span<const uint8_t> mac_key) {
  Set& set = set_of(name);
  uint32_t way = look_up(set, name);
  if (way == kWays) {
    way = victim_of(set);
    if (set.entries[way].pinned_in == round_) way = 1 - way;
    Entry& entry = set.entries[way];
    if (entry.pinned_in == round_) return nullptr;
    counters_.add(abi::Counter::tls_key_cache_misses);
    const bool expanded =
        entry.key.emplace<crypto::CbcHmacKey>().expand(provider, suite, key, mac_key);
    SLUICE_ASSERT(expanded);
    entry.name = name;
    set.recent = way;
  }
  set.entries[way].pinned_in = round_;
  return &std::get<crypto::CbcHmacKey>(set.entries[way].key);
}

void KeyCache::forget(const KeyName& name) {
  Set& set = set_of(name);
  for (Entry& entry : set.entries) {
    if (!entry.ready() || entry.name != name) continue;
    std::visit([](auto& held) { held.wipe(); }, entry.key);
  }
}

uint32_t KeyCache::used() const {
  uint32_t used = 0;
  for (uint32_t i = 0; i < sets_; ++i) {
    for (const Entry& entry : table_[i].entries) used += entry.ready() ? 1U : 0U;
  }
  return used;
}

}  // namespace sluice::tls
