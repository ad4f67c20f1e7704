// Record headers and the rules that hold before anything is decrypted. Pure functions of bytes.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "abi/close_reason.h"
#include "abi/limits.h"
#include "crypto/aead.h"
#include "tls/alert.h"

namespace sluice::tls {

using crypto::ConstPiece;

// RFC 8446 5.1.
enum class ContentType : uint8_t {
  change_cipher_spec = 20,
  alert = 21,
  handshake = 22,
  application_data = 23,
};

struct RecordHeader {
  uint8_t type = 0;
  uint16_t version = 0;
  uint16_t length = 0;  // of what follows the header
};

RecordHeader parse_header(std::span<const uint8_t, abi::kRecordHeaderBytes> bytes);
void write_header(uint8_t* out, ContentType type, uint16_t version, uint32_t length);

// Why input is refused, and what the client is told. Alert::none: close without a word, because
// the client does not speak TLS or an alert could no longer be understood.
struct Refusal {
  abi::CloseReason reason = abi::CloseReason::none;
  Alert alert = Alert::none;
};

enum class Verdict : uint8_t { NeedMore, Accept, Refuse };

// What the first bytes of a connection are. Accept: a TLS ClientHello of version 3.1 or later has
// begun. `bytes` start at the first byte of the stream; more than kMaxClassifyBytes never change
// the answer, so NeedMore never comes with that many.
struct Classification {
  Verdict verdict = Verdict::NeedMore;
  Refusal refusal;
};
// Six records that carry one byte each of the ClientHello's first six.
inline constexpr uint32_t kMaxClassifyBytes = 6 * (abi::kRecordHeaderBytes + 1);
Classification classify_start(std::span<const uint8_t> bytes);

// What may stand in the client's stream, named by what has happened before.
enum class RecordPhase : uint8_t {
  BeforeServer,       // classify_start accepted, nothing was sent to the client
  Handshake,          // the server has answered, the client's records may be plaintext
  HandshakeProtected, // a change_cipher_spec of the client has passed
  Tls10,              // keys are installed
  Tls11,
  Tls12,
  Tls13,
};

// The next record of the stream. `bytes` start at its header; more than kMaxFrameBytes are not
// looked at. A header is refused as soon as one of its bytes decides that.
inline constexpr uint32_t kMaxFrameBytes = abi::kRecordHeaderBytes + 1;
struct Frame {
  Verdict verdict = Verdict::NeedMore;
  Refusal refusal;
  RecordHeader header;        // on Accept
  uint32_t record_bytes = 0;  // on Accept: header and body; they may not all have arrived
};
Frame next_record(RecordPhase phase, std::span<const uint8_t> bytes);

// The same over a stream in pieces, whose header may be cut anywhere.
Frame next_record(RecordPhase phase, std::span<const ConstPiece> stream);

// The phase of the record that follows one of this type in the handshake.
RecordPhase phase_after(RecordPhase phase, uint8_t record_type);

// An alert in plaintext, for refusals before the server's first byte: a whole record.
inline constexpr uint32_t kPlainAlertBytes = abi::kRecordHeaderBytes + 2;
std::array<uint8_t, kPlainAlertBytes> plain_alert(const Refusal& refusal);

}  // namespace sluice::tls
