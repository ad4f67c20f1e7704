// Keys of one flow, from InstallKeys to the end.
//
// `install_keys` is the gate: behind it suite, version, lengths, limits and sequence numbers are
// known to be usable and nothing on the record path checks them again. TLS 1.3 brings a traffic
// secret per direction, from which key and IV are derived here and, at each KeyUpdate, again (RFC
// 8446 7.2, 7.3); older versions bring key, MAC key and IV themselves.
//
// Nonces. TLS 1.3 and ChaCha20-Poly1305: IV xor sequence. TLS 1.2 GCM: salt and an explicit part.
// OpenSSL started that part at random and added one per record; Sluice goes on with a fixed
// distance between it and the sequence number. In both the nonce is an injective function of the
// sequence number, which only grows and is bounded far below 2^64, so that no nonce comes twice
// under one key. CBC has no nonce: its IVs are drawn at random, or chained in TLS 1.0.
#include "tls/keys.h"

#include <algorithm>

#include "abi/assert.h"
#include "crypto/key_schedule.h"
#include "crypto/secret.h"
#include "tls/limits.h"

namespace sluice::tls {

namespace {

constexpr uint32_t kSaltBytes = 4;  // RFC 5288 3
constexpr uint32_t kExplicitNonceBytes = 8;

bool lengths_fit(const crypto::Suite& suite, TlsVersion version, const abi::DirectionKeys& keys) {
  if (version == TlsVersion::Tls13) {
    return keys.secret_length == crypto::hash_length(suite.hash) && keys.key_length == 0 &&
           keys.mac_key_length == 0 && keys.iv_length == 0;
  }
  return keys.secret_length == 0 && keys.key_length == suite.key_length &&
         keys.mac_key_length == suite.mac_key_length &&
         keys.iv_length == suite.fixed_iv_length(version);
}

// The first record of each direction was a Finished that control saw: before TLS 1.3 the keys have
// sealed it, and a sequence number of 0 would come twice. Only TLS 1.2's GCM has an explicit nonce.
bool numbers_fit(const crypto::Suite& suite, TlsVersion version, const abi::DirectionKeys& keys,
                 uint64_t max_sequence) {
  const bool salted = version != TlsVersion::Tls13 && suite.is_aead() && suite.explicit_length != 0;
  return keys.sequence < max_sequence && (keys.sequence != 0 || version == TlsVersion::Tls13) &&
         (keys.next_explicit_nonce == 0 || salted) &&
         keys.fragment_limit_bytes >= abi::kMinFragmentLimitBytes &&
         keys.fragment_limit_bytes <= abi::kMaxPlaintextBytes;
}

// The same key in both directions would use every nonce twice.
bool directions_differ(const abi::DirectionKeys& a, const abi::DirectionKeys& b) {
  return !crypto::equal_constant_time(a.secret, b.secret, sizeof(a.secret)) ||
         !crypto::equal_constant_time(a.key, b.key, sizeof(a.key));
}

bool message_fits(const crypto::Suite& suite, TlsVersion version, const abi::InstallKeys& message) {
  if (!suite.is_valid_in(version)) return false;
  if (message.encrypt_then_mac > (suite.is_cbc() ? 1 : 0)) return false;  // RFC 7366 3
  return lengths_fit(suite, version, message.open) && lengths_fit(suite, version, message.seal) &&
         numbers_fit(suite, version, message.open, kMaxOpenedRecords) &&
         numbers_fit(suite, version, message.seal, max_sealed_records(suite, version)) &&
         directions_differ(message.open, message.seal);
}

}  // namespace

uint64_t DirectionState::take_sequence() {
  SLUICE_ASSERT(sequence_ < kMaxOpenedRecords);
  return sequence_++;
}

void DirectionState::nonce_from_iv(uint64_t sequence,
                                   uint8_t (&nonce)[crypto::kNonceLength]) const {
  std::copy_n(iv_, crypto::kNonceLength, nonce);
  for (uint32_t i = 0; i < sizeof(sequence); ++i) {
    nonce[crypto::kNonceLength - 1 - i] ^= static_cast<uint8_t>(sequence >> (8 * i));
  }
}

void DirectionState::nonce_from_salt(const uint8_t* explicit_part,
                                     uint8_t (&nonce)[crypto::kNonceLength]) const {
  std::copy_n(iv_, kSaltBytes, nonce);
  std::copy_n(explicit_part, kExplicitNonceBytes, nonce + kSaltBytes);
}

void DirectionState::install(const crypto::Provider& provider, const crypto::Suite& suite,
                             TlsVersion version, const abi::DirectionKeys& keys) {
  wipe();
  sequence_ = keys.sequence;
  fragment_limit_bytes_ = static_cast<uint16_t>(keys.fragment_limit_bytes);
  if (version == TlsVersion::Tls13) {
    std::copy_n(keys.secret, keys.secret_length, secret_);
    return derive13(provider, suite);
  }
  std::copy_n(keys.key, keys.key_length, key_);
  std::copy_n(keys.mac_key, keys.mac_key_length, secret_);
  if (suite.is_cbc()) {
    std::copy_n(keys.chaining_block, sizeof(keys.chaining_block), iv_);
  } else {
    std::copy_n(keys.iv, keys.iv_length, iv_);
    explicit_nonce_base_ = keys.next_explicit_nonce - keys.sequence;
  }
}

void DirectionState::derive13(const crypto::Provider& provider, const crypto::Suite& suite) {
  crypto::TrafficKeys derived;
  const crypto::Bytes secret{secret_, crypto::hash_length(suite.hash)};
  const bool done = crypto::derive_traffic_keys(provider, suite, secret, derived);
  SLUICE_ASSERT(done && derived.key.size() == suite.key_length);
  SLUICE_ASSERT(derived.iv.size() == crypto::kNonceLength);
  std::copy_n(derived.key.data(), derived.key.size(), key_);
  std::copy_n(derived.iv.data(), derived.iv.size(), iv_);
}

void DirectionState::update(const crypto::Provider& provider, const crypto::Suite& suite) {
  const uint32_t length = crypto::hash_length(suite.hash);
  crypto::HashSecret next;
  const bool done = crypto::next_traffic_secret(provider, suite.hash, {secret_, length}, next);
  SLUICE_ASSERT(done && next.size() == length);
  // The sequence starts again: under the same secret every nonce would come twice.
  SLUICE_ASSERT(!crypto::equal_constant_time(next.data(), secret_, length));
  std::copy_n(next.data(), length, secret_);
  derive13(provider, suite);
  sequence_ = 0;
  ++key_generation_;
}

void DirectionState::wipe() {
  crypto::secure_zero(iv_, sizeof(iv_));
  crypto::secure_zero(key_, sizeof(key_));
  crypto::secure_zero(secret_, sizeof(secret_));
  sequence_ = 0;
  explicit_nonce_base_ = 0;
  key_generation_ = 0;
  fragment_limit_bytes_ = 0;
}

uint64_t max_sealed_records(const crypto::Suite& suite, TlsVersion version) {
  // RFC 8446 5.5: ChaCha20-Poly1305 outlasts any sequence number.
  if (suite.cipher == crypto::Cipher::Chacha20Poly1305) return kMaxOpenedRecords;
  return version == TlsVersion::Tls13 ? kMaxSealedRecords13 : kMaxSealedRecords12;
}

RecordPhase phase_of(const FlowKeys& keys) {
  switch (keys.version) {
    case TlsVersion::Tls10:
      return RecordPhase::Tls10;
    case TlsVersion::Tls11:
      return RecordPhase::Tls11;
    case TlsVersion::Tls12:
      return RecordPhase::Tls12;
    case TlsVersion::Tls13:
      return RecordPhase::Tls13;
  }
  return RecordPhase::Tls13;
}

bool install_keys(RecordLayer& layer, const abi::InstallKeys& message, FlowKeys& keys) {
  // A second InstallKeys would start sequences again under the same keys.
  if (keys.installed()) return false;
  const crypto::Suite* suite = crypto::find_suite(message.suite);
  const auto version = static_cast<TlsVersion>(message.version);
  if (suite == nullptr || !message_fits(*suite, version, message)) return false;
  keys.open.install(layer.provider, *suite, version, message.open);
  keys.seal.install(layer.provider, *suite, version, message.seal);
  keys.suite = suite;
  keys.version = version;
  keys.encrypt_then_mac = message.encrypt_then_mac != 0;
  keys.flow_index = message.header.flow.index;
  keys.flow_generation = message.header.flow.generation;
  keys.post = {};
  keys.post.idle_credits = kIdleRecordCredits;
  return true;
}

const crypto::AeadKey& expanded_key(RecordLayer& layer, const FlowKeys& keys,
                                    Direction direction) {
  SLUICE_ASSERT(keys.installed());
  const DirectionState& state = direction == Direction::Open ? keys.open : keys.seal;
  return layer.key_cache.get(layer.provider, keys.name(direction), keys.suite->cipher,
                             state.key(*keys.suite));
}

const crypto::CbcHmacKey* pinned_key(RecordLayer& layer, const FlowKeys& keys,
                                     Direction direction) {
  SLUICE_ASSERT(keys.installed());
  const DirectionState& state = direction == Direction::Open ? keys.open : keys.seal;
  return layer.key_cache.pin(layer.provider, keys.name(direction), *keys.suite,
                             state.key(*keys.suite), state.mac_key(*keys.suite));
}

void update_keys(RecordLayer& layer, FlowKeys& keys, Direction direction) {
  SLUICE_ASSERT(keys.installed() && keys.tls13());
  layer.key_cache.forget(keys.name(direction));
  DirectionState& state = direction == Direction::Open ? keys.open : keys.seal;
  state.update(layer.provider, *keys.suite);
}

void end_keys(RecordLayer& layer, FlowKeys& keys) {
  if (keys.installed()) {
    layer.key_cache.forget(keys.name(Direction::Open));
    layer.key_cache.forget(keys.name(Direction::Seal));
  }
  keys.open.wipe();
  keys.seal.wipe();
  keys.suite = nullptr;
  keys.encrypt_then_mac = false;
  keys.post = {};
}

}  // namespace sluice::tls
