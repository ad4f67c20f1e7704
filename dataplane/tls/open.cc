// Opening: one record, ciphertext in pieces as TCP delivered it, to contiguous plaintext.
//
//   TLS 1.3 (RFC 8446 5.2)     header | ciphertext of {content, type, zeros} | tag
//   TLS 1.2 GCM (RFC 5288 3)   header | explicit nonce | ciphertext of content | tag
//   ChaCha20 (RFC 7905 2)      header | ciphertext of content | tag
//
// Header, explicit nonce and tag are copied out, since each may be cut; the ciphertext is decrypted
// from where it lies to `out`. Only then is the tag known to be right or wrong, so the output is
// zeroed on every refusal and the caller sees no length before all checks are behind. CBC records
// go through cbc.cc, here as a batch of one.
//
// Everything here that is refused says the alert of RFC 8446 5.2, 5.4 and 6.2 or RFC 5246 6.2.
#include "tls/open.h"

#include "abi/assert.h"
#include "crypto/secret.h"
#include "tls/cbc.h"
#include "tls/limits.h"
#include "tls/pieces.h"

namespace sluice::tls {

namespace {

using abi::CloseReason;
using abi::Counter;

constexpr uint32_t kAad12Bytes = 13;  // RFC 5246 6.2.3.3: sequence, type, version, length
constexpr uint32_t kExplicitNonceBytes = 8;

OpenResult refuse(CloseReason reason, Alert alert) { return {Verdict::Refuse, {reason, alert}}; }

// Where the parts of one record lie, as offsets from its first byte.
struct Layout {
  uint32_t ciphertext_offset = 0;
  uint32_t ciphertext_bytes = 0;
};

// False when the record is too short for nonce and tag, which makes it as good as forged.
bool lay_out(const FlowKeys& keys, uint32_t record_length, Layout& layout) {
  const uint32_t explicit_bytes = keys.suite->explicit_nonce_length(keys.version);
  const uint32_t overhead = explicit_bytes + keys.suite->tag_length;
  if (record_length < overhead) return false;
  layout.ciphertext_offset = abi::kRecordHeaderBytes + explicit_bytes;
  layout.ciphertext_bytes = record_length - overhead;
  return true;
}

void write_aad12(uint8_t (&aad)[kAad12Bytes], uint64_t sequence, const uint8_t* header,
                 uint32_t plaintext_length) {
  for (uint32_t i = 0; i < 8; ++i) aad[i] = static_cast<uint8_t>(sequence >> (56 - 8 * i));
  aad[8] = header[0];
  aad[9] = header[1];
  aad[10] = header[2];
  aad[11] = static_cast<uint8_t>(plaintext_length >> 8);
  aad[12] = static_cast<uint8_t>(plaintext_length);
}

// Decrypts and verifies; on false all of `out` is zero.
bool decrypt(RecordLayer& layer, const crypto::AeadKey& key, crypto::Nonce nonce,
             std::span<const uint8_t> aad, std::span<const ConstPiece> record,
             const Layout& layout, uint8_t* out) {
  uint8_t tag[crypto::kTagLength];
  copy_bytes(record, layout.ciphertext_offset + layout.ciphertext_bytes, sizeof(tag), tag);

  ConstPiece whole{nullptr, 0};
  for_each_part(record, layout.ciphertext_offset, layout.ciphertext_bytes,
                [&](const uint8_t* data, uint32_t length) {
                  if (whole.data == nullptr) whole = {data, length};
                });
  if (whole.length == layout.ciphertext_bytes) {
    return crypto::open(layer.provider, key, nonce, aad, {&whole, 1}, tag, out);
  }

  crypto::OpenContext context(layer.provider, key, nonce, aad);
  uint8_t* next = out;
  for_each_part(record, layout.ciphertext_offset, layout.ciphertext_bytes,
                [&](const uint8_t* data, uint32_t length) {
                  context.update(next, data, length);
                  next += length;
                });
  if (context.finish(tag)) return true;
  crypto::secure_zero(out, layout.ciphertext_bytes);
  return false;
}

// TLS 1.3: takes padding and inner type off. RFC 8446 5.4: a reduced limit binds all of it.
OpenResult unwrap13(const uint8_t* inner, uint32_t inner_bytes, uint32_t fragment_limit_bytes) {
  if (inner_bytes > fragment_limit_bytes + 1) {
    return refuse(CloseReason::record_overflow, Alert::record_overflow);
  }
  uint32_t length = inner_bytes;
  while (length > 0 && inner[length - 1] == 0) --length;
  if (length == 0) return refuse(CloseReason::bad_inner_plaintext, Alert::unexpected_message);
  const uint8_t type = inner[length - 1];
  // A change_cipher_spec is never protected (RFC 8446 5); other types do not exist.
  if (type != static_cast<uint8_t>(ContentType::alert) &&
      type != static_cast<uint8_t>(ContentType::handshake) &&
      type != static_cast<uint8_t>(ContentType::application_data)) {
    return refuse(CloseReason::unexpected_record_type, Alert::unexpected_message);
  }
  return {Verdict::Accept, {}, static_cast<ContentType>(type), length - 1};
}

OpenResult unwrap12(const uint8_t* header, uint32_t plaintext_bytes,
                    uint32_t fragment_limit_bytes) {
  if (plaintext_bytes > fragment_limit_bytes) {  // RFC 6066 4, RFC 8449 4
    return refuse(CloseReason::record_overflow, Alert::record_overflow);
  }
  return {Verdict::Accept, {}, static_cast<ContentType>(header[0]), plaintext_bytes};
}

// The nonce of a record and what its tag covers beside the ciphertext.
struct Cover {
  uint8_t nonce[crypto::kNonceLength];
  uint8_t aad12[kAad12Bytes];
  std::span<const uint8_t> aad;
};

void cover(FlowKeys& keys, std::span<const ConstPiece> record,
           std::span<const uint8_t, abi::kRecordHeaderBytes> header, const Layout& layout,
           Cover& out) {
  const uint64_t sequence = keys.open.take_sequence();
  if (keys.salted()) {
    uint8_t explicit_part[kExplicitNonceBytes];
    copy_bytes(record, abi::kRecordHeaderBytes, sizeof(explicit_part), explicit_part);
    keys.open.nonce_from_salt(explicit_part, out.nonce);
  } else {
    keys.open.nonce_from_iv(sequence, out.nonce);
  }
  out.aad = header;  // RFC 8446 5.2
  if (keys.tls13()) return;
  write_aad12(out.aad12, sequence, header.data(), layout.ciphertext_bytes);
  out.aad = out.aad12;
}

OpenResult open_cbc(RecordLayer& layer, FlowKeys& keys, std::span<const ConstPiece> record,
                    uint8_t* out) {
  CbcOpen job;
  prepare_open(keys, record, out, job);
  open_batch(layer, {&job, 1});
  if (job.result.verdict != Verdict::Accept) return job.result;
  std::memmove(out, job.plaintext, job.result.length);
  return job.result;
}

}  // namespace

uint32_t open_output_bytes(const FlowKeys& keys, uint32_t record_length) {
  if (keys.cbc()) return record_length;
  Layout layout;
  return lay_out(keys, record_length, layout) ? layout.ciphertext_bytes : 0;
}

OpenResult open_record(RecordLayer& layer, FlowKeys& keys, std::span<const ConstPiece> record,
                       uint8_t* out) {
  SLUICE_ASSERT(keys.installed());
  uint8_t header_bytes[abi::kRecordHeaderBytes];
  const uint32_t header_length = copy_bytes(record, 0, sizeof(header_bytes), header_bytes);
  SLUICE_ASSERT(header_length == sizeof(header_bytes));
  const RecordHeader header = parse_header(header_bytes);
  SLUICE_ASSERT(total_bytes(record) == abi::kRecordHeaderBytes + header.length);
  SLUICE_ASSERT(header.length <= abi::kMaxCiphertext12Bytes);
  if (keys.cbc()) return open_cbc(layer, keys, record, out);

  if (keys.open.sequence() >= kMaxOpenedRecords) {
    return refuse(CloseReason::sequence_exhausted, Alert::internal_error);
  }
  Layout layout;
  if (!lay_out(keys, header.length, layout)) {
    return refuse(CloseReason::bad_record_mac, Alert::bad_record_mac);
  }
  Cover covered;
  cover(keys, record, header_bytes, layout, covered);
  const crypto::AeadKey& key = expanded_key(layer, keys, Direction::Open);
  if (!decrypt(layer, key, covered.nonce, covered.aad, record, layout, out)) {
    return refuse(CloseReason::bad_record_mac, Alert::bad_record_mac);
  }

  const uint32_t limit_bytes = keys.open.fragment_limit_bytes();
  const OpenResult result = keys.tls13()
                                ? unwrap13(out, layout.ciphertext_bytes, limit_bytes)
                                : unwrap12(header_bytes, layout.ciphertext_bytes, limit_bytes);
  if (result.verdict != Verdict::Accept) {
    crypto::secure_zero(out, layout.ciphertext_bytes);
    return result;
  }
  layer.counters.add(Counter::tls_records_opened);
  if (result.type == ContentType::application_data) {
    layer.counters.add(Counter::tls_bytes_opened, result.length);
  }
  return result;
}

}  // namespace sluice::tls
