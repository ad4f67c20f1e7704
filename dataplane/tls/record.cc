// Record headers: what may stand where, decided from as few bytes as possible.
//
// Two questions are answered here. `classify_start` looks at a connection's first bytes and says
// whether a TLS ClientHello begins there; it refuses what OpenSSL would answer wrongly or not at
// all (SSLv2, SSLv3, plain HTTP). `next_record` frames every record after that and holds the bounds
// of RFC 8446 5.1 and 5.2 and RFC 5246 6.2.
//
// Both see a stream that is still growing, perhaps by one byte at a time, and are asked again when
// there is more: an answer other than NeedMore depends only on bytes that have arrived, so that
// more bytes never change it. Neither keeps state.
#include "tls/record.h"

#include <algorithm>

#include "tls/pieces.h"

namespace sluice::tls {

namespace {

using abi::CloseReason;

constexpr uint8_t kMajorVersion = 3;
constexpr uint8_t kClientHello = 1;
constexpr uint16_t kSsl30 = 0x0300;
constexpr uint16_t kTls10Version = 0x0301;
constexpr uint16_t kTls11Version = 0x0302;
constexpr uint16_t kTls12Version = 0x0303;
constexpr uint32_t kHelloPrefixBytes = 6;  // handshake type, length, client_version

constexpr bool is_record_type(uint8_t type) {
  return type >= static_cast<uint8_t>(ContentType::change_cipher_spec) &&
         type <= static_cast<uint8_t>(ContentType::application_data);
}

uint16_t read16(const uint8_t* bytes) {
  return static_cast<uint16_t>((bytes[0] << 8) | bytes[1]);
}

constexpr Classification refuse(CloseReason reason, Alert alert) {
  return {Verdict::Refuse, {reason, alert}};
}
constexpr Frame refuse_frame(CloseReason reason, Alert alert) {
  return {Verdict::Refuse, {reason, alert}, {}, 0};
}

// An SSLv2-format hello: two length bytes with the top bit set, message type 1, a version of
// SSL 2.0 or 3.x (RFC 5246 E.2). TLS 1.2 clients must not send it, RFC 6176 forbids it altogether.
Classification classify_sslv2(std::span<const uint8_t> bytes) {
  if (bytes.size() >= 3 && bytes[2] != kClientHello) {
    return refuse(CloseReason::not_tls, Alert::none);
  }
  if (bytes.size() < 5) return {};
  const bool version_known = read16(&bytes[3]) == 0x0002 || bytes[3] == kMajorVersion;
  return refuse(version_known ? CloseReason::sslv2_hello : CloseReason::not_tls, Alert::none);
}

// The header of one of the records that carry the ClientHello's first bytes. NeedMore also when
// nothing speaks against the header but it is not whole.
Classification check_first_header(std::span<const uint8_t> bytes, bool first) {
  if (bytes.empty()) return {};
  const uint8_t type = bytes[0];
  if (!is_record_type(type)) {
    return first ? refuse(CloseReason::not_tls, Alert::none)
                 : refuse(CloseReason::unexpected_record_type, Alert::unexpected_message);
  }
  if (bytes.size() < 2) return {};
  if (bytes[1] != kMajorVersion) {
    // RFC 5246 E.1 and RFC 8446 5.1: any minor version is accepted here, other majors are not TLS.
    return first ? refuse(CloseReason::not_tls, Alert::none)
                 : refuse(CloseReason::bad_record_version, Alert::protocol_version);
  }
  if (type == static_cast<uint8_t>(ContentType::alert)) {
    return refuse(CloseReason::client_alert, Alert::none);
  }
  if (type != static_cast<uint8_t>(ContentType::handshake)) {
    return refuse(CloseReason::unexpected_record_type, Alert::unexpected_message);
  }
  if (bytes.size() < abi::kRecordHeaderBytes) return {};
  const uint32_t length = read16(&bytes[3]);
  if (length == 0) {  // RFC 8446 5.1: no zero-length fragments of handshake messages
    return refuse(CloseReason::unexpected_record_type, Alert::unexpected_message);
  }
  if (length > abi::kMaxPlaintextBytes) {
    return refuse(CloseReason::record_overflow, Alert::record_overflow);
  }
  return {Verdict::Accept, {}};
}

// Judges what is known of the hello's type, length and client_version. The record's own version
// says nothing (RFC 8446 5.1), the one inside decides: RFC 8446 D.5 wants protocol_version for
// SSL 3.0.
Classification check_hello(std::span<const uint8_t> prefix) {
  if (!prefix.empty() && prefix[0] != kClientHello) {
    return refuse(CloseReason::unexpected_record_type, Alert::unexpected_message);
  }
  if (prefix.size() < kHelloPrefixBytes) return {};
  if (read16(&prefix[4]) == kSsl30) {
    return refuse(CloseReason::sslv3_hello, Alert::protocol_version);
  }
  return {Verdict::Accept, {}};
}

struct Bound {
  bool legal = false;
  uint32_t max_length = 0;
};

// Which types are legal in a phase and how long each may be. In the handshake the version is not
// known here: records of type 23 are TLS 1.3 ciphertext (early data that was refused, or the
// client's protected handshake), the other types are plaintext until a change_cipher_spec passes.
Bound bound_of(RecordPhase phase, ContentType type) {
  const bool data = type == ContentType::application_data;
  switch (phase) {
    case RecordPhase::BeforeServer:
    case RecordPhase::Handshake:
      return {true, data ? abi::kMaxCiphertext13Bytes : abi::kMaxPlaintextBytes};
    case RecordPhase::HandshakeProtected:
      return {true, data ? abi::kMaxCiphertext13Bytes : abi::kMaxCiphertext12Bytes};
    case RecordPhase::Tls10:
    case RecordPhase::Tls11:
    case RecordPhase::Tls12:
      return {type != ContentType::change_cipher_spec, abi::kMaxCiphertext12Bytes};
    case RecordPhase::Tls13:
      return {data, abi::kMaxCiphertext13Bytes};
  }
  return {};
}

// RFC 5246 6.2.1: records carry the version once that is negotiated. RFC 8446 5.1 ignores the field
// (it is authenticated); before that every minor version occurs.
bool version_allowed(RecordPhase phase, uint16_t version) {
  switch (phase) {
    case RecordPhase::BeforeServer:
    case RecordPhase::Handshake:
    case RecordPhase::HandshakeProtected:
      return version >> 8 == kMajorVersion;
    case RecordPhase::Tls10:
      return version == kTls10Version;
    case RecordPhase::Tls11:
      return version == kTls11Version;
    case RecordPhase::Tls12:
      return version == kTls12Version;
    case RecordPhase::Tls13:
      return true;
  }
  return false;
}

// Whether a refusal in this phase can still be told to the client. Between the server's answer and
// the installed keys only control knows how the next record to the client is protected.
Alert alert_in(RecordPhase phase, Alert alert) {
  switch (phase) {
    case RecordPhase::BeforeServer:
    case RecordPhase::Tls10:
    case RecordPhase::Tls11:
    case RecordPhase::Tls12:
    case RecordPhase::Tls13:
      return alert;
    case RecordPhase::Handshake:
    case RecordPhase::HandshakeProtected:
      return Alert::none;
  }
  return Alert::none;
}

// Records that must carry something: plaintext ones of a phase that has no protection yet.
bool empty_allowed(RecordPhase phase, ContentType type) {
  switch (phase) {
    case RecordPhase::BeforeServer:
    case RecordPhase::Handshake:
    case RecordPhase::HandshakeProtected:
      return type == ContentType::application_data;
    case RecordPhase::Tls10:
    case RecordPhase::Tls11:
    case RecordPhase::Tls12:
    case RecordPhase::Tls13:
      return true;  // too short for a tag: opening says bad_record_mac
  }
  return true;
}

// RFC 8446 5 and D.4, RFC 5246 7.1: a change_cipher_spec is the single byte 1, in every version.
// `bytes` start at its header, which is whole; only the handshake has one in plaintext.
Verdict check_change(std::span<const uint8_t> bytes, uint32_t length) {
  if (length != 1) return Verdict::Refuse;
  if (bytes.size() <= abi::kRecordHeaderBytes) return Verdict::NeedMore;
  return bytes[abi::kRecordHeaderBytes] == 1 ? Verdict::Accept : Verdict::Refuse;
}

}  // namespace

RecordHeader parse_header(std::span<const uint8_t, abi::kRecordHeaderBytes> bytes) {
  return {bytes[0], read16(&bytes[1]), read16(&bytes[3])};
}

void write_header(uint8_t* out, ContentType type, uint16_t version, uint32_t length) {
  out[0] = static_cast<uint8_t>(type);
  out[1] = static_cast<uint8_t>(version >> 8);
  out[2] = static_cast<uint8_t>(version);
  out[3] = static_cast<uint8_t>(length >> 8);
  out[4] = static_cast<uint8_t>(length);
}

Classification classify_start(std::span<const uint8_t> bytes) {
  if (!bytes.empty() && (bytes[0] & 0x80) != 0) return classify_sslv2(bytes);
  uint8_t prefix[kHelloPrefixBytes];
  uint32_t known = 0;
  bool first = true;
  // The hello's first six bytes may be spread over as many records (RFC 8446 5.1 fragmentation).
  while (true) {
    const Classification header = check_first_header(bytes, first);
    if (header.verdict != Verdict::Accept) return header;
    const uint32_t length = read16(&bytes[3]);
    bytes = bytes.subspan(abi::kRecordHeaderBytes);
    const auto here = static_cast<uint32_t>(std::min<size_t>(length, bytes.size()));
    const uint32_t wanted = std::min(here, kHelloPrefixBytes - known);
    std::copy_n(bytes.begin(), wanted, prefix + known);
    known += wanted;
    const Classification hello = check_hello({prefix, known});
    if (hello.verdict != Verdict::NeedMore || here < length) return hello;
    bytes = bytes.subspan(length);
    first = false;
  }
}

Frame next_record(RecordPhase phase, std::span<const uint8_t> bytes) {
  if (bytes.empty()) return {};
  const auto type = static_cast<ContentType>(bytes[0]);
  const Bound bound = is_record_type(bytes[0]) ? bound_of(phase, type) : Bound{};
  if (!bound.legal) {
    return refuse_frame(CloseReason::unexpected_record_type,
                        alert_in(phase, Alert::unexpected_message));
  }
  if (bytes.size() >= 3 && !version_allowed(phase, read16(&bytes[1]))) {
    return refuse_frame(CloseReason::bad_record_version, alert_in(phase, Alert::protocol_version));
  }
  if (bytes.size() < abi::kRecordHeaderBytes) return {};
  const RecordHeader header = parse_header(bytes.first<abi::kRecordHeaderBytes>());
  if (header.length > bound.max_length) {
    return refuse_frame(CloseReason::record_overflow, alert_in(phase, Alert::record_overflow));
  }
  const Verdict change = type == ContentType::change_cipher_spec
                             ? check_change(bytes, header.length)
                             : Verdict::Accept;
  if (change == Verdict::NeedMore) return {};
  if (change == Verdict::Refuse || (header.length == 0 && !empty_allowed(phase, type))) {
    return refuse_frame(CloseReason::unexpected_record_type,
                        alert_in(phase, Alert::unexpected_message));
  }
  return {Verdict::Accept, {}, header, abi::kRecordHeaderBytes + header.length};
}

Frame next_record(RecordPhase phase, std::span<const ConstPiece> stream) {
  uint8_t bytes[kMaxFrameBytes];
  const uint32_t available = copy_bytes(stream, 0, sizeof(bytes), bytes);
  return next_record(phase, std::span<const uint8_t>(bytes, available));
}

RecordPhase phase_after(RecordPhase phase, uint8_t record_type) {
  const bool change = record_type == static_cast<uint8_t>(ContentType::change_cipher_spec);
  switch (phase) {
    case RecordPhase::Handshake:
      return change ? RecordPhase::HandshakeProtected : phase;
    case RecordPhase::BeforeServer:
    case RecordPhase::HandshakeProtected:
    case RecordPhase::Tls10:
    case RecordPhase::Tls11:
    case RecordPhase::Tls12:
    case RecordPhase::Tls13:
      return phase;
  }
  return phase;
}

std::array<uint8_t, kPlainAlertBytes> plain_alert(const Refusal& refusal) {
  std::array<uint8_t, kPlainAlertBytes> record{};
  // A client of SSL 3.0 reads no other version than its own.
  const uint16_t version =
      refusal.reason == CloseReason::sslv3_hello ? kSsl30 : kTls12Version;
  write_header(record.data(), ContentType::alert, version, 2);
  record[5] = static_cast<uint8_t>(AlertLevel::fatal);
  record[6] = static_cast<uint8_t>(refusal.alert);
  return record;
}

}  // namespace sluice::tls
