// A worker's expanded keys, AEAD and CBC with HMAC, bounded. Two-way set-associative, the older of
// a set is replaced.
//
// An entry is named by flow (index and generation), direction and key generation, so that a key
// can never be found under another flow or after a KeyUpdate. Entries are wiped when replaced and
// when their flow ends.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <variant>

#include "abi/counters.h"
#include "crypto/aead.h"
#include "crypto/cbc_hmac.h"

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

  // The same of a CBC suite, for the many keys of one batch: valid until unpin_all. Null when both
  // places of its set are pinned: the batch so far has to run first.
  const crypto::CbcHmacKey* pin(const crypto::Provider& provider, const KeyName& name,
                                const crypto::Suite& suite, std::span<const uint8_t> key,
                                std::span<const uint8_t> mac_key);
  void unpin_all() { ++round_; }

  // Wipes the entry of this name if there is one.
  void forget(const KeyName& name);

  uint32_t capacity() const { return kWays * sets_; }
  uint32_t used() const;  // entries that hold a key; walks over all

 private:
  static constexpr uint32_t kWays = 2;
  struct Entry {
    std::variant<crypto::AeadKey, crypto::CbcHmacKey> key;
    KeyName name;
    uint64_t pinned_in = 0;  // the round of the last pin
    bool ready() const {
      return std::visit([](const auto& held) { return held.ready(); }, key);
    }
  };
  struct Set {
    Entry entries[kWays];
    uint32_t recent = 0;  // the way that was used last
  };

  Set& set_of(const KeyName& name);
  // The way that holds this name, kWays when none does; counts a hit.
  uint32_t look_up(Set& set, const KeyName& name);
  uint32_t victim_of(const Set& set) const;

  uint32_t sets_;
  uint64_t round_ = 1;
  std::unique_ptr<Set[]> table_;
  abi::Counters& counters_;
};

}  // namespace sluice::tls
