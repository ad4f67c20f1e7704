// The keys of one flow: what InstallKeys brings, checked, and what KeyUpdate makes of it.
//
// A nonce is never used twice: it is a function of a direction's key and sequence number alone,
// and `take_sequence` is the only way to get one. Keys live in the flow and are wiped by
// `end_keys`; there is no destructor, because flows live in pools.
#pragma once

#include <cstdint>
#include <span>

#include "abi/counters.h"
#include "abi/messages.h"
#include "crypto/provider.h"
#include "crypto/suite.h"
#include "tls/key_cache.h"

namespace sluice::tls {

// What every function of the record layer needs of its worker. One per worker.
struct RecordLayer {
  const crypto::Provider& provider;
  KeyCache& key_cache;
  abi::Counters& counters;
};

class DirectionState {
 public:
  uint64_t sequence() const { return sequence_; }
  uint32_t key_generation() const { return key_generation_; }
  uint32_t fragment_limit_bytes() const { return fragment_limit_bytes_; }
  std::span<const uint8_t> key(const crypto::Suite& suite) const {
    return {key_, suite.key_length};
  }

  // The sequence number of one record, never given out again under this key. The caller has
  // checked the limit.
  uint64_t take_sequence();
  // TLS 1.2 GCM: what stands in front of the ciphertext of Sluice's record `sequence`.
  uint64_t explicit_nonce(uint64_t sequence) const { return explicit_nonce_base_ + sequence; }
  // TLS 1.3: IV xor sequence (RFC 8446 5.3).
  void nonce13(uint64_t sequence, uint8_t (&nonce)[crypto::kNonceLength]) const;
  // TLS 1.2: salt, then the explicit part (RFC 5288 3).
  void nonce12(const uint8_t* explicit_part, uint8_t (&nonce)[crypto::kNonceLength]) const;

  // False when `keys` do not fit the suite; the state is then wiped.
  [[nodiscard]] bool install(const crypto::Provider& provider, const crypto::Suite& suite,
                             const abi::DirectionKeys& keys, uint64_t max_sequence);
  // TLS 1.3: the next generation of secret, key and IV; the sequence starts at 0 again.
  void update(const crypto::Provider& provider, const crypto::Suite& suite);
  void wipe();

 private:
  void derive13(const crypto::Provider& provider, const crypto::Suite& suite);

  uint64_t sequence_ = 0;
  uint64_t explicit_nonce_base_ = 0;  // explicit nonce of sequence 0, modulo 2^64
  uint32_t key_generation_ = 0;
  uint16_t fragment_limit_bytes_ = 0;
  uint8_t iv_[crypto::kMaxIvLength] = {};
  uint8_t key_[crypto::kMaxKeyLength] = {};
  uint8_t secret_[crypto::kMaxHashLength] = {};  // TLS 1.3 traffic secret
};

// Progress of post_handshake.h over records.
struct PostHandshakeState {
  uint8_t message[5] = {};        // start of a handshake message that is not whole yet
  uint8_t message_length = 0;
  uint8_t idle_credits = 0;
  uint8_t data_records = 0;       // since the last credit was given back
  uint32_t skip_bytes = 0;        // TLS 1.2: rest of a ClientHello that was answered
};

struct FlowKeys {
  const crypto::Suite* suite = nullptr;  // null: no keys are installed
  uint32_t flow_index = 0;
  uint32_t flow_generation = 0;
  DirectionState open;  // client -> Sluice
  DirectionState seal;  // Sluice -> client
  PostHandshakeState post;

  bool installed() const { return suite != nullptr; }
  bool tls13() const { return suite->is_valid_in(crypto::TlsVersion::Tls13); }
  KeyName name(Direction direction) const {
    const DirectionState& state = direction == Direction::Open ? open : seal;
    return {flow_index, flow_generation, state.key_generation(), direction};
  }
};
static_assert(sizeof(FlowKeys) <= 320);

// Checks everything that the record layer will rely on, then takes the keys over. On false (the
// flow closes with CloseReason::bad_keys) `keys` has no keys. The caller wipes the message.
[[nodiscard]] bool install_keys(RecordLayer& layer, const abi::InstallKeys& message,
                                FlowKeys& keys);

// The expanded key of a direction, from the cache. Valid until the next call.
const crypto::AeadKey& expanded_key(RecordLayer& layer, const FlowKeys& keys, Direction direction);

// A new generation of one direction (TLS 1.3 KeyUpdate); the old expanded key is wiped.
void update_keys(RecordLayer& layer, FlowKeys& keys, Direction direction);

// Wipes everything, the cached keys too. Harmless when nothing is installed.
void end_keys(RecordLayer& layer, FlowKeys& keys);

}  // namespace sluice::tls
