// A worker's expanded AEAD keys, bounded. Two-way set-associative, the older of a set is replaced.
//
// An entry is named by flow (index and generation), direction and key generation, so that a key
// can never be found under another flow or after a KeyUpdate. Entries are wiped when replaced and
// when their flow ends.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "abi/counters.h"
#include "crypto/aead.h"

namespace sluice::tls {

enum class Direction : uint8_t { Open = 0, Seal = 1 };

struct KeyName {
  uint32_t flow_index = 0;
  uint32_t flow_generation = 0;
  uint32_t key_generation = 0;
  Direction direction = Direction::Open;
  friend bool operator==(const KeyName&, const KeyName&) = default;
};

class KeyCache {
 public:
  // Allocates, at start, room for at least `entries` keys of 1 KiB each, rounded up to a power of
  // two. To be sized to a part of the core's L2: 512 for 2 MiB.
  KeyCache(uint32_t entries, abi::Counters& counters);

  // The expanded key of this name; expands `key` when it is not there. `key` has the length that
  // `cipher` wants. Valid until the next call.
  const crypto::AeadKey& get(const crypto::Provider& provider, const KeyName& name,
                             crypto::Cipher cipher, std::span<const uint8_t> key);

  // Wipes the entry of this name if there is one.
  void forget(const KeyName& name);

  uint32_t capacity() const { return kWays * sets_; }
  uint32_t used() const;  // entries that hold a key; walks over all

 private:
  static constexpr uint32_t kWays = 2;
  struct Set {
    crypto::AeadKey keys[kWays];
    KeyName names[kWays];
    uint32_t recent = 0;  // the way that was used last
  };

  Set& set_of(const KeyName& name);

  uint32_t sets_;
  std::unique_ptr<Set[]> table_;
  abi::Counters& counters_;
};

}  // namespace sluice::tls
