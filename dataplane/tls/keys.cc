// Keys of one flow, from InstallKeys to the end.
//
// `install_keys` is the gate: behind it suite, lengths, limits and sequence numbers are known to be
// usable and nothing on the record path checks them again. TLS 1.3 brings a traffic secret per
// direction, from which key and IV are derived here and, at each KeyUpdate, again (RFC 8446 7.2,
// 7.3); TLS 1.2 brings key and salt themselves.
//
// Nonces. TLS 1.3: IV xor sequence. TLS 1.2 GCM: salt and an explicit part. OpenSSL started that
// part at random and added one per record; Sluice goes on with a fixed distance between it and the
// sequence number. In both the nonce is an injective function of the sequence number, which only
// grows and is bounded far below 2^64, so that no nonce comes twice under one key.
#include "tls/keys.h"

#include <algorithm>

#include "abi/assert.h"
#include "crypto/key_schedule.h"
#include "crypto/secret.h"
#include "tls/limits.h"

namespace sluice::tls {

namespace {

constexpr uint32_t kTls12SaltBytes = 4;  // RFC 5288 3
constexpr uint32_t kExplicitNonceBytes = 8;

bool lengths_fit(const crypto::Suite& suite, const abi::DirectionKeys& keys) {
  if (keys.mac_key_length != 0) return false;  // every suite here is an AEAD
  if (suite.is_valid_in(crypto::TlsVersion::Tls13)) {
    return keys.secret_length == crypto::hash_length(suite.hash) && keys.key_length == 0 &&
           keys.iv_length == 0 && keys.next_explicit_nonce == 0;
  }
  return keys.secret_length == 0 && keys.key_length == suite.key_length &&
         keys.iv_length == suite.iv_length;
}

// The same key in both directions would use every nonce twice.
bool directions_differ(const abi::DirectionKeys& a, const abi::DirectionKeys& b) {
  return !crypto::equal_constant_time(a.secret, b.secret, sizeof(a.secret)) ||
         !crypto::equal_constant_time(a.key, b.key, sizeof(a.key));
}

}  // namespace

uint64_t DirectionState::take_sequence() {
  SLUICE_ASSERT(sequence_ < kMaxOpenedRecords);
  return sequence_++;
}

void DirectionState::nonce13(uint64_t sequence, uint8_t (&nonce)[crypto::kNonceLength]) const {
  std::copy_n(iv_, crypto::kNonceLength, nonce);
  for (uint32_t i = 0; i < sizeof(sequence); ++i) {
    nonce[crypto::kNonceLength - 1 - i] ^= static_cast<uint8_t>(sequence >> (8 * i));
  }
}

void DirectionState::nonce12(const uint8_t* explicit_part,
                             uint8_t (&nonce)[crypto::kNonceLength]) const {
  std::copy_n(iv_, kTls12SaltBytes, nonce);
  std::copy_n(explicit_part, kExplicitNonceBytes, nonce + kTls12SaltBytes);
}

bool DirectionState::install(const crypto::Provider& provider, const crypto::Suite& suite,
                             const abi::DirectionKeys& keys, uint64_t max_sequence) {
  wipe();
  if (!lengths_fit(suite, keys) || keys.sequence >= max_sequence) return false;
  if (keys.fragment_limit_bytes < kMinFragmentLimitBytes ||
      keys.fragment_limit_bytes > abi::kMaxPlaintextBytes) {
    return false;
  }
  sequence_ = keys.sequence;
  fragment_limit_bytes_ = static_cast<uint16_t>(keys.fragment_limit_bytes);
  if (suite.is_valid_in(crypto::TlsVersion::Tls13)) {
    std::copy_n(keys.secret, keys.secret_length, secret_);
    derive13(provider, suite);
  } else {
    std::copy_n(keys.key, keys.key_length, key_);
    std::copy_n(keys.iv, keys.iv_length, iv_);
    explicit_nonce_base_ = keys.next_explicit_nonce - keys.sequence;
  }
  return true;
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

bool install_keys(RecordLayer& layer, const abi::InstallKeys& message, FlowKeys& keys) {
  // A second InstallKeys would start sequences again under the same keys.
  if (keys.installed()) return false;
  const crypto::Suite* suite = crypto::find_suite(message.suite);
  if (suite == nullptr) return false;
  if (static_cast<uint16_t>(suite->max_version) != message.version) return false;
  // The record functions speak TLS 1.3 and, of TLS 1.2, AES-GCM.
  if (suite->is_cbc()) return false;
  if (suite->cipher == crypto::Cipher::Chacha20Poly1305 && message.version == 0x0303) return false;
  if (message.encrypt_then_mac != 0) return false;  // RFC 7366 3: not with an AEAD
  if (!directions_differ(message.open, message.seal)) return false;
  const bool tls13 = suite->is_valid_in(crypto::TlsVersion::Tls13);
  const uint64_t seal_limit = tls13 ? kMaxSealedRecords13 : kMaxSealedRecords12;
  if (!keys.open.install(layer.provider, *suite, message.open, kMaxOpenedRecords) ||
      !keys.seal.install(layer.provider, *suite, message.seal, seal_limit)) {
    keys.open.wipe();
    keys.seal.wipe();
    return false;
  }
  keys.suite = suite;
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
  keys.post = {};
}

}  // namespace sluice::tls
