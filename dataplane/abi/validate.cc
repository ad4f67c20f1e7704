// What makes a message acceptable. The peer may be hostile: these checks are all that stands
// between its bytes and code that uses lengths, enums and offsets freely.
//
// Order of the checks: type, direction, length, epoch, content. Fixed messages have exactly their
// size; a chunk message ends with the last byte it carries. Whether a flow still lives is the flow
// table's question, not one of form. Reserved fields are not looked at: nobody uses them, and a
// release that does has another ABI version.
#include "abi/validate.h"

namespace sluice::abi {
namespace {

constexpr uint16_t kTls10 = 0x0301;
constexpr uint16_t kTls12 = 0x0303;
constexpr uint16_t kTls13 = 0x0304;

// A worker sends at most what the handshake may take and one more credit behind it.
constexpr uint32_t kMaxStreamBytes = kMaxHandshakeBytes + kHandshakeCreditBytes;

enum class Receiver : uint8_t { Worker, Control };

bool is_flag(uint8_t value) { return value <= 1; }

template <class M>
bool chunk_length_fits(const M& chunk) {
  return chunk.length >= 1 && chunk.length <= kMaxChunkBytes &&
         chunk.header.length == offsetof(M, bytes) + chunk.length;
}

bool content_valid(const HandshakeBegin&) { return true; }

bool content_valid(const HandshakeBytes& message) {
  return is_flag(message.record_end) && message.offset <= kMaxStreamBytes - message.length;
}

bool content_valid(const HandshakeEnd& message) { return message.reason < kCloseReasons; }

bool content_valid(const FlowRow& message) {
  const bool version_known =
      message.tls_version == 0 || (message.tls_version >= kTls10 && message.tls_version <= kTls13);
  return version_known && message.phase < kFlowPhases;
}

bool content_valid(const FlowsEnd&) { return true; }

bool content_valid(const TransmitBytes&) { return true; }

bool content_valid(const GrantCredit& message) {
  return message.bytes >= 1 && message.bytes <= kMaxHandshakeBytes;
}

bool content_valid(const CloseFlow& message) {
  return message.reason < kCloseReasons && is_flag(message.reset) &&
         message.reason != static_cast<uint16_t>(CloseReason::none);
}

bool content_valid(const ListFlows& message) {
  return message.max_rows >= 1 && message.max_rows <= kRingSlots / 2;
}

// TLS 1.3: the traffic secret, as long as the suite's hash, and nothing else (RFC 8446 7.3).
bool secrets_valid_13(const DirectionKeys& keys) {
  return (keys.secret_length == 32 || keys.secret_length == 48) && keys.key_length == 0 &&
         keys.mac_key_length == 0 && keys.iv_length == 0;
}

// Older: what the key block is cut into (RFC 5246 6.3). AEAD suites have a fixed IV of 4 (GCM, RFC
// 5288) or 12 bytes (ChaCha20-Poly1305, RFC 7905) and no MAC key; CBC suites have a MAC key, and
// an IV in the key block only in TLS 1.0. Before TLS 1.2 the MAC is HMAC-SHA1.
bool secrets_valid_12(const DirectionKeys& keys, uint16_t version) {
  if (keys.secret_length != 0 || (keys.key_length != 16 && keys.key_length != 32)) return false;
  if (keys.mac_key_length == 0) {
    return version == kTls12 &&
           (keys.iv_length == 4 || (keys.iv_length == 12 && keys.key_length == 32));
  }
  const bool mac_known = keys.mac_key_length == 20 ||
                         (version == kTls12 && (keys.mac_key_length == 32 ||
                                                keys.mac_key_length == 48));
  return mac_known && keys.iv_length == (version == kTls10 ? 16 : 0);
}

bool direction_valid(const DirectionKeys& keys, uint16_t version) {
  return keys.fragment_limit_bytes >= kMinFragmentLimitBytes &&
         keys.fragment_limit_bytes <= kMaxPlaintextBytes &&
         (version == kTls13 ? secrets_valid_13(keys) : secrets_valid_12(keys, version));
}

bool content_valid(const InstallKeys& message) {
  if (message.version < kTls10 || message.version > kTls13 || message.suite == 0) return false;
  if (!direction_valid(message.open, message.version) ||
      !direction_valid(message.seal, message.version)) {
    return false;
  }
  // One suite serves both directions.
  const bool same_lengths = message.open.secret_length == message.seal.secret_length &&
                            message.open.key_length == message.seal.key_length &&
                            message.open.mac_key_length == message.seal.mac_key_length &&
                            message.open.iv_length == message.seal.iv_length;
  const bool is_cbc = message.open.mac_key_length != 0;  // RFC 7366 3: CBC suites alone
  return same_lengths && is_flag(message.encrypt_then_mac) &&
         (message.encrypt_then_mac == 0 || is_cbc) && message.alpn_length <= sizeof message.alpn &&
         message.consumed_bytes >= 1 && message.consumed_bytes <= kMaxStreamBytes &&
         message.backend.port != 0;
}

template <class M>
MessageError check(const MessageBuffer& buffer, const MessageHeader& header, uint32_t epoch) {
  if (header.length > sizeof(M)) return MessageError::WrongLength;
  const M& message = *reinterpret_cast<const M*>(buffer.bytes);
  if constexpr (requires { message.bytes[0]; }) {
    if (header.length < offsetof(M, bytes) || !chunk_length_fits(message)) {
      return MessageError::WrongLength;
    }
  } else {
    if (header.length != sizeof(M)) return MessageError::WrongLength;
  }
  if (header.epoch != epoch) return MessageError::WrongEpoch;
  return content_valid(message) ? MessageError::None : MessageError::BadField;
}

template <class M>
MessageError check_for(Receiver self, Receiver addressee, const MessageBuffer& buffer,
                       const MessageHeader& header, uint32_t epoch) {
  return self == addressee ? check<M>(buffer, header, epoch) : MessageError::WrongDirection;
}

MessageError validate(Receiver self, const MessageBuffer& buffer, uint32_t epoch) {
  const MessageHeader header = buffer.header();
  const auto worker = [&]<class M>() {
    return check_for<M>(self, Receiver::Worker, buffer, header, epoch);
  };
  const auto control = [&]<class M>() {
    return check_for<M>(self, Receiver::Control, buffer, header, epoch);
  };
  switch (static_cast<MessageType>(header.type)) {
    case MessageType::HandshakeBegin:
      return control.operator()<HandshakeBegin>();
    case MessageType::HandshakeBytes:
      return control.operator()<HandshakeBytes>();
    case MessageType::HandshakeEnd:
      return control.operator()<HandshakeEnd>();
    case MessageType::FlowRow:
      return control.operator()<FlowRow>();
    case MessageType::FlowsEnd:
      return control.operator()<FlowsEnd>();
    case MessageType::TransmitBytes:
      return worker.operator()<TransmitBytes>();
    case MessageType::GrantCredit:
      return worker.operator()<GrantCredit>();
    case MessageType::InstallKeys:
      return worker.operator()<InstallKeys>();
    case MessageType::CloseFlow:
      return worker.operator()<CloseFlow>();
    case MessageType::ListFlows:
      return worker.operator()<ListFlows>();
  }
  return MessageError::UnknownType;
}

// ListFlows and FlowsEnd are about no flow.
bool names_a_flow(const MessageHeader& header) {
  return header.type != static_cast<uint16_t>(MessageType::ListFlows) &&
         header.type != static_cast<uint16_t>(MessageType::FlowsEnd);
}

MessageError validate(Receiver self, const MessageBuffer& buffer, uint32_t epoch, uint16_t core) {
  const MessageError error = validate(self, buffer, epoch);
  if (error != MessageError::None) return error;
  const MessageHeader header = buffer.header();
  if (names_a_flow(header) && header.flow.core != core) return MessageError::BadField;
  return MessageError::None;
}

}  // namespace

const char* message_error_text(MessageError error) {
  switch (error) {
    case MessageError::None:
      return "none";
    case MessageError::UnknownType:
      return "unknown type";
    case MessageError::WrongDirection:
      return "wrong direction";
    case MessageError::WrongLength:
      return "wrong length";
    case MessageError::WrongEpoch:
      return "wrong epoch";
    case MessageError::BadField:
      return "a field out of range";
  }
  return "unknown";
}

MessageError validate_for_worker(const MessageBuffer& message, uint32_t epoch, uint16_t core) {
  return validate(Receiver::Worker, message, epoch, core);
}

MessageError validate_for_worker(const MessageBuffer& message, uint32_t epoch) {
  const MessageError error = validate(Receiver::Worker, message, epoch);
  if (error != MessageError::None) return error;
  return message.header().flow.core < kMaxWorkers ? MessageError::None : MessageError::BadField;
}

MessageError validate_for_control(const MessageBuffer& message, uint32_t epoch, uint16_t core) {
  return validate(Receiver::Control, message, epoch, core);
}

}  // namespace sluice::abi
