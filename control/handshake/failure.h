// Why a handshake failed, by stable names that an operator can search and count.
#pragma once

#include <cstdint>
#include <string>

namespace sluice::control::handshake {

enum class FailureCode : uint8_t {
  UnsupportedVersion,
  NoSharedCipher,
  NoSharedGroup,
  NoSharedSignature,
  UnknownServerName,
  NoApplicationProtocol,
  BadRecord,
  BadMessage,
  UnexpectedMessage,
  BadFinished,
  PeerAlert,
  DataBehindFinished,
  TooLong,
  Deadline,
  TooManyHandshakes,
  QueueFull,
  BadInput,
  Internal,
};
[[nodiscard]] const char* failure_name(FailureCode code);

enum class Phase : uint8_t { ExpectClientHello, ExpectSecondClientHello, ExpectFinished };
[[nodiscard]] const char* phase_name(Phase phase);

inline constexpr uint8_t kNoAlert = 255;

struct Failure {
  FailureCode code = FailureCode::Internal;
  Phase phase = Phase::ExpectClientHello;
  uint8_t alert_sent = kNoAlert;
  uint8_t alert_received = kNoAlert;
  std::string reason;  // the library's words
};

// RFC 8446 6; "alert <n>" for numbers that have no name.
[[nodiscard]] std::string alert_name(uint8_t alert);

// The code of OpenSSL's error, as ERR_peek_error gives it.
[[nodiscard]] FailureCode classify_openssl_error(unsigned long error);

}  // namespace sluice::control::handshake
