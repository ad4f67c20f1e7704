// Protected records -> plaintext. The ciphertext is read where it lies; the decryption is the copy.
#pragma once

#include <cstdint>
#include <span>

#include "abi/close_reason.h"
#include "tls/alert.h"
#include "tls/keys.h"
#include "tls/record.h"

namespace sluice::tls {

struct OpenResult {
  Verdict verdict = Verdict::Refuse;  // Accept or Refuse
  Refusal refusal;                    // on Refuse; the alert is to be sealed
  ContentType type = ContentType::application_data;
  uint32_t length = 0;  // of the plaintext at `out`
};

// Room that open_record needs for a record whose header (already framed) says `record_length`.
// More than the plaintext will have: in TLS 1.3 the inner type and the padding come through, a CBC
// record is decrypted in place.
uint32_t open_output_bytes(const FlowKeys& keys, uint32_t record_length);

// Opens one record. `record` covers exactly it, header included, cut anywhere; next_record has
// accepted its header in the phase of these keys. `out` has open_output_bytes of room and does not
// overlap the record. On Refuse everything written to `out` is zeroed again. What the record means
// is for post_handshake.h, whatever its type.
OpenResult open_record(RecordLayer& layer, FlowKeys& keys, std::span<const ConstPiece> record,
                       uint8_t* out);

}  // namespace sluice::tls
