// Sealing: plaintext in pieces, as the backend's segments brought it, to one contiguous record that
// is the client side's send queue. Layouts are those of open.cc; CBC is a batch of one in cbc.cc.
//
// Every seal takes a sequence number first and gives none back, whatever happens after. The key's
// usage limit is looked at before: application data stops kSealReserveRecords early, so that the
// alert which says so can still be sealed. TLS 1.3 does not get there, because the relay asks
// `key_update_due` and sends a KeyUpdate long before.
//
// Only application data is padded. Alerts and KeyUpdates say by their time what their size would.
#include "tls/seal.h"

#include <algorithm>
#include <cstring>

#include "abi/assert.h"
#include "tls/cbc.h"
#include "tls/limits.h"
#include "tls/pieces.h"

namespace sluice::tls {

namespace {

using abi::Counter;

constexpr uint16_t kRecordVersion = 0x0303;  // RFC 8446 5.2: legacy_record_version; TLS 1.2's own
constexpr uint8_t kKeyUpdateMessage[4] = {24, 0, 0, 1};
enum KeyUpdateRequest : uint8_t { update_not_requested = 0, update_requested = 1 };
constexpr uint32_t kAad12Bytes = 13;
constexpr uint32_t kZeroBytes = 512;
constexpr uint8_t kZeros[kZeroBytes] = {};

void write64(uint8_t* out, uint64_t value) {
  for (uint32_t i = 0; i < 8; ++i) out[i] = static_cast<uint8_t>(value >> (56 - 8 * i));
}

// The longest TLS 1.3 plaintext that is copied together with its inner type and then sealed in
// place by one call of the cipher: below about 1,400 bytes a copy costs less than the calls that
// encrypting from piece to piece takes (256 bytes: 112 cycles against 162; tests/bench).
constexpr uint32_t kGatherBytes = 1024;

// The inner plaintext, contiguous at `out`.
void gather13(ContentType type, std::span<const ConstPiece> plaintext, uint32_t padding_bytes,
              uint8_t* out) {
  for (const ConstPiece& piece : plaintext) {
    if (piece.length == 0) continue;
    std::memcpy(out, piece.data, piece.length);
    out += piece.length;
  }
  *out = static_cast<uint8_t>(type);
  std::memset(out + 1, 0, padding_bytes);
}

void seal13(RecordLayer& layer, FlowKeys& keys, ContentType type,
            std::span<const ConstPiece> plaintext, uint32_t length, uint32_t padding_bytes,
            uint8_t* out) {
  const uint32_t inner_bytes = length + 1 + padding_bytes;
  write_header(out, ContentType::application_data, kRecordVersion,
               inner_bytes + crypto::kTagLength);
  uint8_t nonce[crypto::kNonceLength];
  keys.seal.nonce_from_iv(keys.seal.take_sequence(), nonce);
  const crypto::AeadKey& key = expanded_key(layer, keys, Direction::Seal);
  const std::span<const uint8_t> header(out, abi::kRecordHeaderBytes);
  uint8_t* next = out + abi::kRecordHeaderBytes;
  if (inner_bytes <= kGatherBytes + 1) {
    gather13(type, plaintext, padding_bytes, next);
    const ConstPiece inner{next, inner_bytes};
    crypto::seal(layer.provider, key, nonce, header, {&inner, 1}, next, next + inner_bytes);
    return;
  }
  crypto::SealContext context(layer.provider, key, nonce, header);
  const auto add = [&](const uint8_t* data, uint32_t bytes) {
    if (bytes == 0) return;
    context.update(next, data, bytes);
    next += bytes;
  };
  for (const ConstPiece& piece : plaintext) add(piece.data, piece.length);
  const auto inner_type = static_cast<uint8_t>(type);
  add(&inner_type, 1);
  for (uint32_t left = padding_bytes; left > 0;) {
    const uint32_t part = std::min(left, kZeroBytes);
    add(kZeros, part);
    left -= part;
  }
  context.finish(next);
}

// RFC 5288 with an explicit nonce, RFC 7905 without.
void seal12(RecordLayer& layer, FlowKeys& keys, ContentType type,
            std::span<const ConstPiece> plaintext, uint32_t length, uint8_t* out) {
  const uint32_t explicit_bytes = keys.suite->explicit_nonce_length(keys.version);
  write_header(out, type, kRecordVersion, explicit_bytes + length + crypto::kTagLength);
  const uint64_t sequence = keys.seal.take_sequence();
  uint8_t* explicit_part = out + abi::kRecordHeaderBytes;
  uint8_t nonce[crypto::kNonceLength];
  if (keys.salted()) {
    write64(explicit_part, keys.seal.explicit_nonce(sequence));
    keys.seal.nonce_from_salt(explicit_part, nonce);
  } else {
    keys.seal.nonce_from_iv(sequence, nonce);
  }
  uint8_t aad[kAad12Bytes];  // RFC 5246 6.2.3.3
  write64(aad, sequence);
  write_header(aad + 8, type, kRecordVersion, length);
  uint8_t* ciphertext = explicit_part + explicit_bytes;
  crypto::seal(layer.provider, expanded_key(layer, keys, Direction::Seal), nonce, aad, plaintext,
               ciphertext, ciphertext + length);
}

void seal_cbc(RecordLayer& layer, FlowKeys& keys, ContentType type,
              std::span<const ConstPiece> plaintext, uint8_t* out) {
  CbcSeal job;
  prepare_seal(keys, type, plaintext, out, job);
  seal_batch(layer, {&job, 1});
}

uint32_t aead_overhead(const FlowKeys& keys) {
  const uint32_t inner_type_bytes = keys.tls13() ? 1 : 0;
  return abi::kRecordHeaderBytes + keys.suite->explicit_nonce_length(keys.version) +
         inner_type_bytes + keys.suite->tag_length;
}

uint32_t size_of(const FlowKeys& keys, ContentType type, uint32_t length, uint32_t padding_bytes) {
  return keys.cbc() ? cbc_sealed_size(keys, type, length)
                    : aead_overhead(keys) + length + padding_bytes;
}

AlertLevel level_of(Alert alert) {
  const bool warning = alert == Alert::close_notify || alert == Alert::user_canceled ||
                       alert == Alert::no_renegotiation;
  return warning ? AlertLevel::warning : AlertLevel::fatal;
}

// RFC 8446 5.5 binds each sender to its own key. A client that does not count is asked.
bool open_key_worn(const RecordLayer& layer, const FlowKeys& keys) {
  return !keys.post.key_update_asked &&
         keys.open.sequence() >= layer.policy.key_update_after_records;
}

}  // namespace

uint32_t max_plaintext(const FlowKeys& keys) { return keys.seal.fragment_limit_bytes(); }

uint32_t plaintext_within(const RecordLayer& layer, const FlowKeys& keys, uint32_t bytes) {
  uint32_t length = 0;
  if (keys.cbc()) {
    length = cbc_plaintext_within(keys, bytes);
  } else {
    const uint32_t overhead = aead_overhead(keys);
    length = bytes > overhead ? bytes - overhead : 0;
  }
  const RecordPolicy& policy = layer.policy;
  if (keys.tls13() && policy.padding == Padding::Block && length >= policy.padding_block_bytes) {
    length = (length + 1) / policy.padding_block_bytes * policy.padding_block_bytes - 1;
  }
  if (keys.tls13() && policy.padding == Padding::Random && length > policy.padding_random_bytes) {
    length -= policy.padding_random_bytes;
  }
  return std::clamp(length, 1U, max_plaintext(keys));
}

uint32_t choose_padding(RecordLayer& layer, const FlowKeys& keys, uint32_t plaintext_length) {
  if (!keys.tls13()) return 0;
  const RecordPolicy& policy = layer.policy;
  const uint32_t room = max_plaintext(keys) - plaintext_length;
  switch (policy.padding) {
    case Padding::None:
      return 0;
    case Padding::Block: {
      const uint32_t over = (plaintext_length + 1) % policy.padding_block_bytes;
      return std::min(over == 0 ? 0 : policy.padding_block_bytes - over, room);
    }
    case Padding::Random:
      return std::min(layer.random.below(policy.padding_random_bytes + 1), room);
  }
  return 0;
}

uint32_t sealed_size(const FlowKeys& keys, uint32_t plaintext_length, uint32_t padding_bytes) {
  return size_of(keys, ContentType::application_data, plaintext_length, padding_bytes);
}

bool seal_limit_reached(const FlowKeys& keys, ContentType type) {
  const uint64_t limit = max_sealed_records(*keys.suite, keys.version);
  const uint64_t reserve = type == ContentType::application_data ? kSealReserveRecords : 0;
  return keys.seal.sequence() + reserve >= limit;
}

uint32_t seal_record(RecordLayer& layer, FlowKeys& keys, ContentType type,
                     std::span<const ConstPiece> plaintext, uint8_t* out, uint32_t padding_bytes) {
  SLUICE_ASSERT(keys.installed());
  const uint64_t total = total_bytes(plaintext);
  // RFC 8446 5.4, RFC 8449 4: the limit binds the padding too.
  SLUICE_ASSERT(total + padding_bytes <= max_plaintext(keys));
  SLUICE_ASSERT(padding_bytes == 0 || keys.tls13());
  const auto length = static_cast<uint32_t>(total);
  if (seal_limit_reached(keys, type)) return 0;
  const uint32_t size = size_of(keys, type, length, padding_bytes);
  if (keys.cbc()) {  // counts by itself
    seal_cbc(layer, keys, type, plaintext, out);
    return size;
  }
  if (keys.tls13()) {
    seal13(layer, keys, type, plaintext, length, padding_bytes, out);
  } else {
    seal12(layer, keys, type, plaintext, length, out);
  }
  layer.counters.add(Counter::tls_records_sealed);
  if (type == ContentType::application_data) {
    layer.counters.add(Counter::tls_bytes_sealed, length);
  }
  return size;
}

uint32_t seal_alert(RecordLayer& layer, FlowKeys& keys, Alert alert, uint8_t* out) {
  SLUICE_ASSERT(alert != Alert::none);
  const AlertLevel level = level_of(alert);
  const uint8_t message[2] = {static_cast<uint8_t>(level), static_cast<uint8_t>(alert)};
  const ConstPiece piece{message, sizeof(message)};
  const uint32_t bytes = seal_record(layer, keys, ContentType::alert, {&piece, 1}, out);
  if (bytes == 0) return 0;
  if (alert == Alert::close_notify) layer.counters.add(Counter::tls_close_notify_out);
  if (level == AlertLevel::fatal) layer.counters.add(Counter::tls_alerts_out);
  return bytes;
}

bool key_update_due(const RecordLayer& layer, const FlowKeys& keys) {
  if (!keys.tls13()) return false;
  return keys.seal.sequence() >= layer.policy.key_update_after_records ||
         open_key_worn(layer, keys);
}

uint32_t seal_key_update(RecordLayer& layer, FlowKeys& keys, uint8_t* out) {
  SLUICE_ASSERT(keys.tls13());
  const bool ask = open_key_worn(layer, keys);
  const uint8_t request = ask ? update_requested : update_not_requested;
  const ConstPiece pieces[2] = {{kKeyUpdateMessage, sizeof(kKeyUpdateMessage)}, {&request, 1}};
  const uint32_t bytes = seal_record(layer, keys, ContentType::handshake, pieces, out);
  if (bytes == 0) return 0;
  if (ask) keys.post.key_update_asked = true;
  update_keys(layer, keys, Direction::Seal);
  layer.counters.add(Counter::tls_key_updates_out);
  return bytes;
}

}  // namespace sluice::tls
