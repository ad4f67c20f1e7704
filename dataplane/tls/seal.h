// Plaintext -> protected records, written whole and contiguous: header, explicit nonce, ciphertext,
// tag. The encryption is the copy. A sealed record must be sent, in the order of sealing.
#pragma once

#include <cstdint>
#include <span>

#include "tls/alert.h"
#include "tls/keys.h"
#include "tls/record.h"

namespace sluice::tls {

// The longest plaintext of one record to this client: 1..16384.
uint32_t max_plaintext(const FlowKeys& keys);

// Size on the wire of a record with this much plaintext.
uint32_t sealed_size(const FlowKeys& keys, uint32_t plaintext_length);

// Seals the pieces, in order, as one record; their sum is at most max_plaintext. `out` has room for
// sealed_size and overlaps no piece. Returns the bytes written, or 0 when the key has reached its
// limit: the flow then closes with CloseReason::sequence_exhausted.
[[nodiscard]] uint32_t seal_record(RecordLayer& layer, FlowKeys& keys, ContentType type,
                                   std::span<const ConstPiece> plaintext, uint8_t* out);

// An alert; the level follows from the description. `out` has room for kMaxReplyBytes.
[[nodiscard]] uint32_t seal_alert(RecordLayer& layer, FlowKeys& keys, Alert alert, uint8_t* out);

// TLS 1.3: true when the seal key has protected so many records that the relay is to call
// seal_key_update before it seals the next one. Always false in TLS 1.2.
bool key_update_due(const FlowKeys& keys);

// TLS 1.3: KeyUpdate(update_not_requested) under the old key; the next record is sealed with the
// new one. `out` has room for kMaxReplyBytes.
[[nodiscard]] uint32_t seal_key_update(RecordLayer& layer, FlowKeys& keys, uint8_t* out);

}  // namespace sluice::tls
