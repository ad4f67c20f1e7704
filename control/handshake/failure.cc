// Names of alerts, phases and failures, and the reading of OpenSSL's error queue.
//
// OpenSSL's reasons are many and change between releases; the codes here are few and stable. A
// reason that is not listed is a message that OpenSSL could not make sense of.
#include "control/handshake/failure.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/sslerr.h>

namespace sluice::control::handshake {

const char* failure_name(FailureCode code) {
  switch (code) {
    case FailureCode::UnsupportedVersion:
      return "unsupported_version";
    case FailureCode::NoSharedCipher:
      return "no_shared_cipher";
    case FailureCode::NoSharedGroup:
      return "no_shared_group";
    case FailureCode::NoSharedSignature:
      return "no_shared_signature";
    case FailureCode::UnknownServerName:
      return "unknown_server_name";
    case FailureCode::NoApplicationProtocol:
      return "no_application_protocol";
    case FailureCode::BadRecord:
      return "bad_record";
    case FailureCode::BadMessage:
      return "bad_message";
    case FailureCode::UnexpectedMessage:
      return "unexpected_message";
    case FailureCode::BadFinished:
      return "bad_finished";
    case FailureCode::PeerAlert:
      return "peer_alert";
    case FailureCode::DataBehindFinished:
      return "data_behind_finished";
    case FailureCode::TooLong:
      return "too_long";
    case FailureCode::Deadline:
      return "deadline";
    case FailureCode::TooManyHandshakes:
      return "too_many_handshakes";
    case FailureCode::QueueFull:
      return "queue_full";
    case FailureCode::BadInput:
      return "bad_input";
    case FailureCode::Internal:
      return "internal";
  }
  return "internal";
}

const char* phase_name(Phase phase) {
  switch (phase) {
    case Phase::ExpectClientHello:
      return "ExpectClientHello";
    case Phase::ExpectSecondClientHello:
      return "ExpectSecondClientHello";
    case Phase::ExpectFinished:
      return "ExpectFinished";
  }
  return "ExpectClientHello";
}

std::string alert_name(uint8_t alert) {
  struct Row {
    uint8_t number;
    const char* name;
  };
  static constexpr Row kRows[] = {
      {0, "close_notify"},
      {10, "unexpected_message"},
      {20, "bad_record_mac"},
      {22, "record_overflow"},
      {40, "handshake_failure"},
      {42, "bad_certificate"},
      {43, "unsupported_certificate"},
      {44, "certificate_revoked"},
      {45, "certificate_expired"},
      {46, "certificate_unknown"},
      {47, "illegal_parameter"},
      {48, "unknown_ca"},
      {49, "access_denied"},
      {50, "decode_error"},
      {51, "decrypt_error"},
      {70, "protocol_version"},
      {71, "insufficient_security"},
      {80, "internal_error"},
      {86, "inappropriate_fallback"},
      {90, "user_canceled"},
      {100, "no_renegotiation"},
      {109, "missing_extension"},
      {110, "unsupported_extension"},
      {112, "unrecognized_name"},
      {113, "bad_certificate_status_response"},
      {115, "unknown_psk_identity"},
      {116, "certificate_required"},
      {120, "no_application_protocol"},
  };
  for (const Row& row : kRows) {
    if (row.number == alert) return row.name;
  }
  return "alert " + std::to_string(alert);
}

FailureCode classify_openssl_error(unsigned long error) {
  const int reason = ERR_GET_REASON(error);
  if (ERR_GET_LIB(error) != ERR_LIB_SSL) return FailureCode::BadMessage;
  if (reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256) {
    return FailureCode::PeerAlert;
  }
  switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_VERSION_TOO_HIGH:
    case SSL_R_INAPPROPRIATE_FALLBACK:
      return FailureCode::UnsupportedVersion;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_CIPHERS_SPECIFIED:
      return FailureCode::NoSharedCipher;
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_UNSUPPORTED_ELLIPTIC_CURVE:
      return FailureCode::NoSharedGroup;
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_MISSING_SIGALGS_EXTENSION:
      return FailureCode::NoSharedSignature;
    case SSL_R_NO_APPLICATION_PROTOCOL:
      return FailureCode::NoApplicationProtocol;
    case SSL_R_BAD_RECORD_TYPE:
    case SSL_R_RECORD_LENGTH_MISMATCH:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_ENCRYPTED_LENGTH_TOO_LONG:
    case SSL_R_DATA_LENGTH_TOO_LONG:
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
      return FailureCode::BadRecord;
    case SSL_R_UNEXPECTED_MESSAGE:
    case SSL_R_UNEXPECTED_RECORD:
    case SSL_R_CCS_RECEIVED_EARLY:
    case SSL_R_UNEXPECTED_CCS_MESSAGE:
    case SSL_R_NOT_ON_RECORD_BOUNDARY:
    case SSL_R_APP_DATA_IN_HANDSHAKE:
      return FailureCode::UnexpectedMessage;
    case SSL_R_DIGEST_CHECK_FAILED:
    case SSL_R_BAD_DIGEST_LENGTH:
      return FailureCode::BadFinished;
    case ERR_R_INTERNAL_ERROR:
    case ERR_R_MALLOC_FAILURE:
      return FailureCode::Internal;
    default:
      return FailureCode::BadMessage;
  }
}

}  // namespace sluice::control::handshake
