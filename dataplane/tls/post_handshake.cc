// After the handshake: application data flows, alerts end it, few handshake messages are left.
//
//   type               TLS 1.3                                TLS 1.0 to 1.2
//   application_data   delivered; empty ones are bounded      the same
//   alert              close_notify ends reading,             close_notify ends reading, warnings
//                      user_canceled is ignored, all          are ignored and bounded, fatal ones
//                      others are fatal (RFC 8446 6.2)        and those that always are end the
//                                                             flow (RFC 5246 7.2)
//   handshake          KeyUpdate (RFC 8446 4.6.3),            ClientHello: refused by
//                      nothing else                           no_renegotiation (RFC 5246 7.2.2)
//
// A handshake message may be cut over records (RFC 8446 5.1). The longest one that matters has five
// bytes, which `PostHandshakeState::message` collects; of an older ClientHello only the four-byte
// header is looked at and `skip_bytes` counts down its rest. In TLS 1.3 nothing may stand between
// the parts of a message (RFC 8446 5.1); before, data may (RFC 5246 6.2.1 has receivers take it).
//
// Records that carry nothing cost the client a credit each: empty data, ignored alerts, KeyUpdates,
// renegotiations. Data earns credits back, so that a long-lived client may update its keys for ever
// while a stream of nothing ends, for the reason of the record that found no credit.
#include "tls/post_handshake.h"

#include <algorithm>

#include "tls/limits.h"
#include "tls/seal.h"

namespace sluice::tls {

namespace {

using abi::CloseReason;
using abi::Counter;

constexpr uint8_t kClientHelloType = 1;
constexpr uint8_t kKeyUpdateType = 24;
constexpr uint8_t kMessageHeaderBytes = 4;
constexpr uint8_t kKeyUpdateBytes = 5;
enum KeyUpdateRequest : uint8_t { update_not_requested = 0, update_requested = 1 };

Action close_flow(CloseReason reason, Alert alert) {
  return {ActionKind::Close, {reason, alert}, 255, 0};
}

Action bad_message(Alert alert) { return close_flow(CloseReason::bad_handshake_message, alert); }

// Ignores one record that brought nothing, as long as the client has credit; else ends the flow
// for `reason`.
Action ignore(PostHandshakeState& post, CloseReason reason) {
  if (post.idle_credits == 0) return close_flow(reason, Alert::unexpected_message);
  --post.idle_credits;
  return {};
}

// TLS 1.0 clients send an empty record in front of each with data, so that its chained IV cannot be
// foreseen (OpenSSL does): data pays for one there.
void earn_credit(FlowKeys& keys) {
  PostHandshakeState& post = keys.post;
  if (post.idle_credits == kIdleRecordCredits) return;
  const uint8_t price = keys.version == TlsVersion::Tls10 ? 1 : kDataRecordsPerCredit;
  if (++post.data_records < price) return;
  post.data_records = 0;
  ++post.idle_credits;
}

uint32_t message_bytes(const PostHandshakeState& post) {
  return (uint32_t{post.message[1]} << 16) | (uint32_t{post.message[2]} << 8) | post.message[3];
}

// Moves bytes to the collected message until it has `wanted`; returns how many were taken.
size_t collect(PostHandshakeState& post, std::span<const uint8_t> bytes, uint8_t wanted) {
  if (post.message_length >= wanted) return 0;
  const size_t taken = std::min<size_t>(wanted - post.message_length, bytes.size());
  std::copy_n(bytes.begin(), taken, post.message + post.message_length);
  post.message_length = static_cast<uint8_t>(post.message_length + taken);
  return taken;
}

// RFC 5246 7.2.2: "This message is always fatal", whatever level came with it.
bool always_fatal(Alert alert) {
  switch (alert) {
    case Alert::unexpected_message:
    case Alert::bad_record_mac:
    case Alert::decryption_failed:
    case Alert::record_overflow:
    case Alert::decompression_failure:
    case Alert::handshake_failure:
    case Alert::illegal_parameter:
    case Alert::unknown_ca:
    case Alert::access_denied:
    case Alert::decode_error:
    case Alert::decrypt_error:
    case Alert::protocol_version:
    case Alert::insufficient_security:
    case Alert::internal_error:
    case Alert::inappropriate_fallback:
    case Alert::unsupported_extension:
      return true;
    case Alert::close_notify:
    case Alert::no_certificate:
    case Alert::bad_certificate:
    case Alert::unsupported_certificate:
    case Alert::certificate_revoked:
    case Alert::certificate_expired:
    case Alert::certificate_unknown:
    case Alert::export_restriction:
    case Alert::user_canceled:
    case Alert::no_renegotiation:
    case Alert::missing_extension:
    case Alert::certificate_unobtainable:
    case Alert::unrecognized_name:
    case Alert::bad_certificate_status_response:
    case Alert::bad_certificate_hash_value:
    case Alert::unknown_psk_identity:
    case Alert::certificate_required:
    case Alert::no_application_protocol:
    case Alert::none:
      return false;
  }
  return false;  // of no RFC: the level decides
}

// RFC 8446 6: the description decides, whatever the level says. RFC 5246 7.2: the level does, but
// for those.
bool is_harmless(const FlowKeys& keys, AlertLevel level, Alert alert) {
  if (keys.tls13()) return alert == Alert::user_canceled;
  return level == AlertLevel::warning && !always_fatal(alert);
}

Action handle_alert(RecordLayer& layer, FlowKeys& keys, std::span<const uint8_t> plaintext) {
  // RFC 8446 5.1: whole in one record, and nothing else there. 5.4: never empty.
  if (plaintext.empty()) {
    return close_flow(CloseReason::bad_alert, Alert::unexpected_message);
  }
  if (plaintext.size() != 2) return close_flow(CloseReason::bad_alert, Alert::decode_error);
  const auto level = static_cast<AlertLevel>(plaintext[0]);
  const auto alert = static_cast<Alert>(plaintext[1]);
  if (level != AlertLevel::warning && level != AlertLevel::fatal) {
    return close_flow(CloseReason::bad_alert, Alert::illegal_parameter);
  }
  if (alert == Alert::close_notify) {
    layer.counters.add(Counter::tls_close_notify_in);
    return {ActionKind::PeerClosed, {}, plaintext[1], 0};
  }
  layer.counters.add(Counter::tls_alerts_in);
  const bool harmless = is_harmless(keys, level, alert);
  if (harmless) layer.counters.add(Counter::tls_warnings_in);
  Action action = harmless ? ignore(keys.post, CloseReason::too_many_warnings)
                           : close_flow(CloseReason::client_alert, Alert::none);
  action.peer_alert = plaintext[1];
  return action;
}

Action handle_key_update(RecordLayer& layer, FlowKeys& keys, uint8_t request, uint8_t* reply) {
  if (request != update_not_requested && request != update_requested) {
    return bad_message(Alert::illegal_parameter);
  }
  Action action;
  if (!keys.post.key_update_asked) {  // what we have asked for is not the client's doing
    action = ignore(keys.post, CloseReason::too_many_key_updates);
    if (action.kind == ActionKind::Close) return action;
  }
  keys.post.key_update_asked = false;
  layer.counters.add(Counter::tls_key_updates_in);
  // The client's next record uses its next key; ours changes only behind the answer.
  update_keys(layer, keys, Direction::Open);
  if (request == update_not_requested) return action;
  action.reply_bytes = seal_key_update(layer, keys, reply);
  if (action.reply_bytes == 0) return close_flow(CloseReason::sequence_exhausted, Alert::none);
  action.kind = ActionKind::Reply;
  return action;
}

Action handle_handshake13(RecordLayer& layer, FlowKeys& keys, std::span<const uint8_t> plaintext,
                          uint8_t* reply) {
  PostHandshakeState& post = keys.post;
  const size_t taken = collect(post, plaintext, kKeyUpdateBytes);
  // No other message comes from a client that was not asked for a certificate.
  if (post.message[0] != kKeyUpdateType) return bad_message(Alert::unexpected_message);
  if (post.message_length >= kMessageHeaderBytes && message_bytes(post) != 1) {
    return bad_message(Alert::decode_error);
  }
  if (post.message_length < kKeyUpdateBytes) return {};
  // RFC 8446 5.1: a key change ends at a record boundary.
  if (taken < plaintext.size()) return bad_message(Alert::unexpected_message);
  post.message_length = 0;
  return handle_key_update(layer, keys, post.message[kMessageHeaderBytes], reply);
}

Action handle_handshake12(RecordLayer& layer, FlowKeys& keys, std::span<const uint8_t> plaintext,
                          uint8_t* reply) {
  PostHandshakeState& post = keys.post;
  Action action;
  while (!plaintext.empty()) {
    const auto skipped = static_cast<uint32_t>(std::min<size_t>(post.skip_bytes, plaintext.size()));
    post.skip_bytes -= skipped;
    plaintext = plaintext.subspan(skipped);
    if (plaintext.empty()) break;
    // One refusal a record is room for; no client says two hellos in one breath.
    if (action.kind == ActionKind::Reply) return bad_message(Alert::unexpected_message);
    plaintext = plaintext.subspan(collect(post, plaintext, kMessageHeaderBytes));
    if (post.message[0] != kClientHelloType) return bad_message(Alert::unexpected_message);
    if (post.message_length < kMessageHeaderBytes) break;
    post.skip_bytes = message_bytes(post);
    post.message_length = 0;
    if (post.skip_bytes > kMaxSkippedHelloBytes) return bad_message(Alert::decode_error);
    action = ignore(post, CloseReason::too_many_renegotiations);
    if (action.kind == ActionKind::Close) return action;
    layer.counters.add(Counter::tls_renegotiations_refused);
    action.reply_bytes = seal_alert(layer, keys, Alert::no_renegotiation, reply);
    if (action.reply_bytes == 0) return close_flow(CloseReason::sequence_exhausted, Alert::none);
    action.kind = ActionKind::Reply;
  }
  return action;
}

}  // namespace

Action handle_record(RecordLayer& layer, FlowKeys& keys, ContentType type,
                     std::span<const uint8_t> plaintext, uint8_t* reply) {
  // RFC 8446 5.1: nothing stands between the fragments of a handshake message.
  if (keys.tls13() && keys.post.message_length != 0 && type != ContentType::handshake) {
    return bad_message(Alert::unexpected_message);
  }
  switch (type) {
    case ContentType::application_data:
      if (plaintext.empty()) return ignore(keys.post, CloseReason::too_many_empty_records);
      earn_credit(keys);
      return {ActionKind::Deliver, {}, 255, 0};
    case ContentType::alert:
      return handle_alert(layer, keys, plaintext);
    case ContentType::handshake:
      // RFC 8446 5.4, RFC 5246 6.2.1: never empty.
      if (plaintext.empty()) return bad_message(Alert::unexpected_message);
      return keys.tls13() ? handle_handshake13(layer, keys, plaintext, reply)
                          : handle_handshake12(layer, keys, plaintext, reply);
    case ContentType::change_cipher_spec:
      break;
  }
  return close_flow(CloseReason::unexpected_record_type, Alert::unexpected_message);
}

}  // namespace sluice::tls
