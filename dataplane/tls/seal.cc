// Sealing: plaintext in pieces, as the backend's segments brought it, to one contiguous record that
// is the client side's send queue. Layouts are those of open.cc.
//
// Every seal takes a sequence number first and gives none back, whatever happens after. The key's
// usage limit is looked at before: application data stops kSealReserveRecords early, so that the
// alert which says so can still be sealed. TLS 1.3 does not get there, because the relay asks
// `key_update_due` and sends a KeyUpdate long before.
//
// TLS 1.3 records carry no padding: lengths of a proxied stream are the backend's own business, and
// padding would cost bandwidth for every flow.
#include "tls/seal.h"

#include "abi/assert.h"
#include "tls/limits.h"
#include "tls/pieces.h"

namespace sluice::tls {

namespace {

using abi::Counter;

constexpr uint16_t kRecordVersion = 0x0303;  // RFC 8446 5.2: legacy_record_version; TLS 1.2's own
constexpr uint8_t kKeyUpdateMessage[5] = {24, 0, 0, 1, 0};  // update_not_requested
constexpr uint32_t kAad12Bytes = 13;

void write64(uint8_t* out, uint64_t value) {
  for (uint32_t i = 0; i < 8; ++i) out[i] = static_cast<uint8_t>(value >> (56 - 8 * i));
}

bool limit_reached(const FlowKeys& keys, ContentType type) {
  const uint64_t limit = keys.tls13() ? kMaxSealedRecords13 : kMaxSealedRecords12;
  const uint64_t reserve = type == ContentType::application_data ? kSealReserveRecords : 0;
  return keys.seal.sequence() + reserve >= limit;
}

void seal13(RecordLayer& layer, FlowKeys& keys, ContentType type,
            std::span<const ConstPiece> plaintext, uint32_t length, uint8_t* out) {
  const uint32_t inner_bytes = length + 1;
  write_header(out, ContentType::application_data, kRecordVersion,
               inner_bytes + crypto::kTagLength);
  uint8_t nonce[crypto::kNonceLength];
  keys.seal.nonce13(keys.seal.take_sequence(), nonce);
  crypto::SealContext context(layer.provider, expanded_key(layer, keys, Direction::Seal), nonce,
                              std::span<const uint8_t>(out, abi::kRecordHeaderBytes));
  uint8_t* next = out + abi::kRecordHeaderBytes;
  for (const ConstPiece& piece : plaintext) {
    if (piece.length == 0) continue;
    context.update(next, piece.data, piece.length);
    next += piece.length;
  }
  const auto inner_type = static_cast<uint8_t>(type);
  context.update(next, &inner_type, 1);
  context.finish(next + 1);
}

void seal12(RecordLayer& layer, FlowKeys& keys, ContentType type,
            std::span<const ConstPiece> plaintext, uint32_t length, uint8_t* out) {
  const uint32_t explicit_bytes = keys.suite->explicit_length;
  write_header(out, type, kRecordVersion, explicit_bytes + length + crypto::kTagLength);
  const uint64_t sequence = keys.seal.take_sequence();
  uint8_t* explicit_part = out + abi::kRecordHeaderBytes;
  write64(explicit_part, keys.seal.explicit_nonce(sequence));
  uint8_t nonce[crypto::kNonceLength];
  keys.seal.nonce12(explicit_part, nonce);
  uint8_t aad[kAad12Bytes];  // RFC 5246 6.2.3.3
  write64(aad, sequence);
  write_header(aad + 8, type, kRecordVersion, length);
  uint8_t* ciphertext = explicit_part + explicit_bytes;
  crypto::seal(layer.provider, expanded_key(layer, keys, Direction::Seal), nonce, aad, plaintext,
               ciphertext, ciphertext + length);
}

AlertLevel level_of(Alert alert) {
  const bool warning = alert == Alert::close_notify || alert == Alert::user_canceled ||
                       alert == Alert::no_renegotiation;
  return warning ? AlertLevel::warning : AlertLevel::fatal;
}

}  // namespace

uint32_t max_plaintext(const FlowKeys& keys) { return keys.seal.fragment_limit_bytes(); }

uint32_t sealed_size(const FlowKeys& keys, uint32_t plaintext_length) {
  const uint32_t inner_type_bytes = keys.tls13() ? 1 : 0;
  return abi::kRecordHeaderBytes + keys.suite->explicit_length + plaintext_length +
         inner_type_bytes + keys.suite->tag_length;
}

uint32_t seal_record(RecordLayer& layer, FlowKeys& keys, ContentType type,
                     std::span<const ConstPiece> plaintext, uint8_t* out) {
  SLUICE_ASSERT(keys.installed());
  const uint64_t total = total_bytes(plaintext);
  SLUICE_ASSERT(total <= max_plaintext(keys));
  const auto length = static_cast<uint32_t>(total);
  if (limit_reached(keys, type)) return 0;
  if (keys.tls13()) {
    seal13(layer, keys, type, plaintext, length, out);
  } else {
    seal12(layer, keys, type, plaintext, length, out);
  }
  layer.counters.add(Counter::tls_records_sealed);
  if (type == ContentType::application_data) {
    layer.counters.add(Counter::tls_bytes_sealed, length);
  }
  return sealed_size(keys, length);
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

bool key_update_due(const FlowKeys& keys) {
  return keys.tls13() && keys.seal.sequence() >= kKeyUpdateAfterRecords;
}

uint32_t seal_key_update(RecordLayer& layer, FlowKeys& keys, uint8_t* out) {
  SLUICE_ASSERT(keys.tls13());
  const ConstPiece piece{kKeyUpdateMessage, sizeof(kKeyUpdateMessage)};
  const uint32_t bytes = seal_record(layer, keys, ContentType::handshake, {&piece, 1}, out);
  if (bytes == 0) return 0;
  update_keys(layer, keys, Direction::Seal);
  layer.counters.add(Counter::tls_key_updates_out);
  return bytes;
}

}  // namespace sluice::tls
