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
#include "tls/policy.h"
#include "tls/random_source.h"
#include "tls/record.h"

namespace sluice::tls {

using crypto::TlsVersion;

// What every function of the record layer needs of its worker. One per worker.
struct RecordLayer {
  RecordLayer(const crypto::Provider& with, KeyCache& cache, abi::Counters& counted,
              const RecordPolicy& chosen = {})
      : provider(with), key_cache(cache), counters(counted), policy(chosen), random(with) {}

  const crypto::Provider& provider;
  KeyCache& key_cache;
  abi::Counters& counters;
  RecordPolicy policy;
  RandomSource random;
};

class DirectionState {
 public:
  uint64_t sequence() const { return sequence_; }
  uint32_t key_generation() const { return key_generation_; }
  uint32_t fragment_limit_bytes() const { return fragment_limit_bytes_; }
  std::span<const uint8_t> key(const crypto::Suite& suite) const {
    return {key_, suite.key_length};
  }
  std::span<const uint8_t> mac_key(const crypto::Suite& suite) const {
    return {secret_, suite.mac_key_length};
  }
  // TLS 1.0: the last ciphertext block of this direction.
  std::span<uint8_t, crypto::kCbcBlockLength> chaining_block() { return iv_; }

  // The sequence number of one record, never given out again under this key. The caller has
  // checked the limit.
  uint64_t take_sequence();
  // TLS 1.2 GCM: what stands in front of the ciphertext of Sluice's record `sequence`.
  uint64_t explicit_nonce(uint64_t sequence) const { return explicit_nonce_base_ + sequence; }
  // IV xor sequence: TLS 1.3 (RFC 8446 5.3), ChaCha20-Poly1305 in TLS 1.2 too (RFC 7905 2).
  void nonce_from_iv(uint64_t sequence, uint8_t (&nonce)[crypto::kNonceLength]) const;
  // TLS 1.2 GCM: salt, then the explicit part (RFC 5288 3).
  void nonce_from_salt(const uint8_t* explicit_part, uint8_t (&nonce)[crypto::kNonceLength]) const;

  // Takes over what install_keys has checked.
  void install(const crypto::Provider& provider, const crypto::Suite& suite, TlsVersion version,
               const abi::DirectionKeys& keys);
  // TLS 1.3: the next generation of secret, key and IV; the sequence starts at 0 again.
  void update(const crypto::Provider& provider, const crypto::Suite& suite);
  void wipe();

 private:
  void derive13(const crypto::Provider& provider, const crypto::Suite& suite);

  uint64_t sequence_ = 0;
  uint64_t explicit_nonce_base_ = 0;  // explicit nonce of sequence 0, modulo 2^64
  uint32_t key_generation_ = 0;
  uint16_t fragment_limit_bytes_ = 0;
  uint8_t iv_[crypto::kMaxIvLength] = {};  // IV or salt of an AEAD; TLS 1.0's chaining block
  uint8_t key_[crypto::kMaxKeyLength] = {};
  uint8_t secret_[crypto::kMaxHashLength] = {};  // TLS 1.3 traffic secret; MAC key of CBC
};

// Progress of post_handshake.h over records.
struct PostHandshakeState {
  uint8_t message[5] = {};  // start of a handshake message that is not whole yet
  uint8_t message_length = 0;
  uint8_t idle_credits = 0;
  uint8_t data_records : 7 = 0;    // since the last credit was given back
  bool key_update_asked : 1 = false;  // of the client, which has not answered yet
  uint32_t skip_bytes = 0;         // TLS 1.2: rest of a ClientHello that was answered
};

struct FlowKeys {
  const crypto::Suite* suite = nullptr;  // null: no keys are installed
  uint32_t flow_index = 0;
  uint32_t flow_generation = 0;
  DirectionState open;  // client -> Sluice
  DirectionState seal;  // Sluice -> client
  PostHandshakeState post;
  TlsVersion version = TlsVersion::Tls13;
  bool encrypt_then_mac = false;  // RFC 7366

  bool installed() const { return suite != nullptr; }
  bool tls13() const { return version == TlsVersion::Tls13; }
  bool cbc() const { return suite->is_cbc(); }
  // RFC 5288: eight bytes of nonce stand in each record.
  bool salted() const { return !tls13() && suite->is_aead() && suite->explicit_length != 0; }
  KeyName name(Direction direction) const {
    const DirectionState& state = direction == Direction::Open ? open : seal;
    return {flow_index, flow_generation, state.key_generation(), direction};
  }
};
static_assert(sizeof(FlowKeys) <= 272);

// What may stand in the client's stream under these keys.
RecordPhase phase_of(const FlowKeys& keys);

// Checks everything that the record layer will rely on, then takes the keys over. On false (the
// flow closes with CloseReason::bad_keys) `keys` has no keys. The caller wipes the message.
[[nodiscard]] bool install_keys(RecordLayer& layer, const abi::InstallKeys& message,
                                FlowKeys& keys);

// Records that may be sealed under one key of this suite.
uint64_t max_sealed_records(const crypto::Suite& suite, TlsVersion version);

// The expanded key of a direction, from the cache. Valid until the next call. Of an AEAD suite.
const crypto::AeadKey& expanded_key(RecordLayer& layer, const FlowKeys& keys, Direction direction);
// The same of a CBC suite; stays until KeyCache::unpin_all. Null: others hold its place until then.
const crypto::CbcHmacKey* pinned_key(RecordLayer& layer, const FlowKeys& keys, Direction direction);

// A new generation of one direction (TLS 1.3 KeyUpdate); the old expanded key is wiped.
void update_keys(RecordLayer& layer, FlowKeys& keys, Direction direction);

// Wipes everything, the cached keys too. Harmless when nothing is installed.
void end_keys(RecordLayer& layer, FlowKeys& keys);

}  // namespace sluice::tls
