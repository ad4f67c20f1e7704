// Plaintext -> protected records, written whole and contiguous: header, explicit nonce or IV,
// ciphertext, tag. The encryption is the copy. A sealed record must be sent, in the order of
// sealing.
#pragma once

#include <cstdint>
#include <span>

#include "tls/alert.h"
#include "tls/keys.h"
#include "tls/record.h"

namespace sluice::tls {

// The longest plaintext of one record to this client: 1..16384.
uint32_t max_plaintext(const FlowKeys& keys);

// The longest application data whose record, padding by policy included, is no longer than `bytes`
// and that the client takes. 1 when there is none.
uint32_t plaintext_within(const RecordLayer& layer, const FlowKeys& keys, uint32_t bytes);

// Zeros to seal behind application data of this length, by the layer's policy and within the
// client's limit (RFC 8446 5.4). 0 before TLS 1.3. Drawn anew by each call where it is random.
uint32_t choose_padding(RecordLayer& layer, const FlowKeys& keys, uint32_t plaintext_length);

// Size on the wire of application data of this length with so much padding: one record, or two
// with CBC in TLS 1.0.
uint32_t sealed_size(const FlowKeys& keys, uint32_t plaintext_length, uint32_t padding_bytes = 0);

// Seals the pieces, in order, as one record; their sum is at most max_plaintext. `out` has room for
// sealed_size and overlaps no piece. Returns the bytes written, or 0 when the key has reached its
// limit: the flow then closes with CloseReason::sequence_exhausted.
[[nodiscard]] uint32_t seal_record(RecordLayer& layer, FlowKeys& keys, ContentType type,
                                   std::span<const ConstPiece> plaintext, uint8_t* out,
                                   uint32_t padding_bytes = 0);

// Whether the seal key has reached its limit for records of this type.
bool seal_limit_reached(const FlowKeys& keys, ContentType type);

// An alert; the level follows from the description. `out` has room for kMaxReplyBytes.
[[nodiscard]] uint32_t seal_alert(RecordLayer& layer, FlowKeys& keys, Alert alert, uint8_t* out);

// TLS 1.3: true when a key has protected so many records that seal_key_update is due before the
// next one is sealed. Always false before TLS 1.3.
bool key_update_due(const RecordLayer& layer, const FlowKeys& keys);

// TLS 1.3: KeyUpdate under the old key; the next record is sealed with the new one. When the
// client's key has seen enough records, its update is requested too. `out` has room for
// kMaxReplyBytes.
[[nodiscard]] uint32_t seal_key_update(RecordLayer& layer, FlowKeys& keys, uint8_t* out);

}  // namespace sluice::tls
