// Theory of operation. `feed` writes one record into `read_bio_`, lets OpenSSL go on, and moves
// what it wrote from `write_bio_` to the caller, on failure too: that is the alert. When OpenSSL
// reports the handshake complete, `finish` collects the keys for the worker (hand_over.cc).
//
// record_size_limit (RFC 8449), which OpenSSL 3.0 lacks, is answered here as a custom extension.
// Two limits of OpenSSL show: it never seals fragments of less than 512 bytes, so that a client
// which takes less is not answered and gets none, and it always answers max_fragment_length, so
// that a client which offers both is answered that one alone (RFC 8449 5 would have it the other
// way round, and calls both together an error).
#include "control/handshake/connection.h"

#include <openssl/err.h>

#include <algorithm>
#include <cstring>

#include "abi/assert.h"
#include "control/handshake/hello.h"

namespace sluice::control::handshake {
namespace {

constexpr uint8_t kAlertFatal = 2;
constexpr uint32_t kLeastSendFragment = 512;  // SSL_set_max_send_fragment(3)

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The secret of a keylog line "LABEL <client random> <secret>". False when it is none.
bool parse_keylog_secret(std::string_view line, crypto::Secret<crypto::kMaxHashLength>& out) {
  const size_t space = line.rfind(' ');
  if (space == std::string_view::npos) return false;
  const std::string_view hex = line.substr(space + 1);
  if (hex.size() % 2 != 0 || !out.resize_zeroed(hex.size() / 2)) return false;
  for (size_t i = 0; i < out.size(); ++i) {
    const int high = hex_digit(hex[2 * i]);
    const int low = hex_digit(hex[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out.mutable_span()[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return true;
}

}  // namespace

std::unique_ptr<Connection> Connection::create(Context& context) {
  std::unique_ptr<Connection> connection(new Connection(context));
  return connection->initialise() ? std::move(connection) : nullptr;
}

bool Connection::initialise() {
  ssl_.reset(SSL_new(context_.ssl_context()));
  BioPtr read(BIO_new(BIO_s_mem()));
  BioPtr write(BIO_new(BIO_s_mem()));
  if (!ssl_ || !read || !write) return false;
  read_bio_ = read.release();
  write_bio_ = write.release();
  SSL_set_bio(ssl_.get(), read_bio_, write_bio_);
  SSL_set_app_data(ssl_.get(), this);
  SSL_set_msg_callback(ssl_.get(), on_message);
  SSL_set_accept_state(ssl_.get());
  return true;
}

void Connection::install_callbacks(SSL_CTX* ssl_context) {
  SSL_CTX_set_keylog_callback(ssl_context, on_keylog);
  SSL_CTX_set_client_hello_cb(ssl_context, on_client_hello, nullptr);
  SSL_CTX_set_tlsext_servername_callback(ssl_context, on_server_name);
  SSL_CTX_set_alpn_select_cb(ssl_context, on_alpn, nullptr);
  // No parser: the client's is read in client_hello_cb.
  constexpr unsigned kPlaces =
      SSL_EXT_CLIENT_HELLO | SSL_EXT_TLS1_2_SERVER_HELLO | SSL_EXT_TLS1_3_ENCRYPTED_EXTENSIONS;
  const int added =
      SSL_CTX_add_custom_ext(ssl_context, kRecordSizeLimitExtension, kPlaces,
                             on_answer_record_size_limit, nullptr, nullptr, nullptr, nullptr);
  SLUICE_ASSERT(added == 1);
}

Connection& Connection::of(const SSL* ssl) {
  auto* connection = static_cast<Connection*>(SSL_get_app_data(ssl));
  SLUICE_ASSERT(connection != nullptr);
  return *connection;
}

void Connection::on_keylog(const SSL* ssl, const char* line) {
  Connection& self = of(ssl);
  const std::string_view text(line);
  TrafficSecret* secret = nullptr;
  if (text.starts_with("CLIENT_TRAFFIC_SECRET_0 ")) secret = &self.client_secret_;
  if (text.starts_with("SERVER_TRAFFIC_SECRET_0 ")) secret = &self.server_secret_;
  if (secret == nullptr) return;
  if (!parse_keylog_secret(text, *secret)) secret->wipe();  // finish() misses it then
  if (secret == &self.server_secret_) self.records_under_server_secret_ = 0;
}

void Connection::on_message(int write, int, int type, const void* data, size_t length, SSL* ssl,
                            void*) {
  Connection& self = of(ssl);
  const auto* bytes = static_cast<const uint8_t*>(data);
  if (type == SSL3_RT_HEADER && write == 1 && !self.server_secret_.empty()) {
    ++self.records_under_server_secret_;
  } else if (type == SSL3_RT_ALERT && length == 2) {
    const bool fatal = bytes[0] == kAlertFatal || SSL_version(ssl) == TLS1_3_VERSION;
    if (fatal) (write == 1 ? self.failure_.alert_sent : self.failure_.alert_received) = bytes[1];
  } else if (type == SSL3_RT_HANDSHAKE && write == 1) {
    const auto hello = parse_server_hello({bytes, length});
    if (!hello) return;
    self.failure_.phase = hello->retry ? Phase::ExpectSecondClientHello : Phase::ExpectFinished;
    self.session_.encrypt_then_mac = hello->encrypt_then_mac ? 1 : 0;  // no getter exists
  }
}

// Called for each ClientHello, so for both when a HelloRetryRequest lies between them.
int Connection::on_client_hello(SSL* ssl, int* alert, void*) {
  Connection& self = of(ssl);
  const std::string name = parse_server_name(hello_extension(ssl, TLSEXT_TYPE_server_name));
  const int chosen = self.choose_host(name, alert);
  if (chosen != SSL_CLIENT_HELLO_SUCCESS) return chosen;
  return self.read_record_size_limit(alert) ? SSL_CLIENT_HELLO_SUCCESS : SSL_CLIENT_HELLO_ERROR;
}

bool Connection::read_record_size_limit(int* alert) {
  record_size_limit_ = 0;
  if (!has_hello_extension(ssl_.get(), kRecordSizeLimitExtension)) return true;
  const auto limit =
      parse_record_size_limit(hello_extension(ssl_.get(), kRecordSizeLimitExtension));
  if (!limit || *limit < kLeastRecordSizeLimit) {
    *alert = limit ? SSL_AD_ILLEGAL_PARAMETER : SSL_AD_DECODE_ERROR;
    return false;
  }
  if (!has_hello_extension(ssl_.get(), TLSEXT_TYPE_max_fragment_length))
    record_size_limit_ = *limit;
  return true;
}

// The answer leaves in the clear before TLS 1.3; from the first protected record on what we send
// keeps to the client's limit. What we take ourselves is the protocol's maximum, which in TLS 1.3
// counts the inner content type (RFC 8449 4).
int Connection::on_answer_record_size_limit(SSL* ssl, unsigned, unsigned, const unsigned char** out,
                                            size_t* out_length, X509*, size_t, int*, void*) {
  static constexpr uint8_t kOurs12[] = {0x40, 0x00};
  static constexpr uint8_t kOurs13[] = {0x40, 0x01};
  Connection& self = of(ssl);
  const bool tls13 = SSL_version(ssl) == TLS1_3_VERSION;
  const uint32_t inner_type = tls13 ? 1 : 0;
  if (self.record_size_limit_ < kLeastSendFragment + inner_type) return 0;
  const uint32_t fragment =
      std::min<uint32_t>(self.record_size_limit_ - inner_type, abi::kMaxPlaintextBytes);
  if (SSL_set_max_send_fragment(ssl, fragment) != 1) return 0;
  self.client_fragment_limit_ = fragment;
  *out = tls13 ? kOurs13 : kOurs12;
  *out_length = sizeof kOurs12;
  return 1;
}

int Connection::choose_host(const std::string& name, int* alert) {
  if (host_ != HostTable::kNone) {
    // RFC 8446 4.1.2: the second ClientHello is the first but for what the retry asked for.
    if (name == server_name_) return SSL_CLIENT_HELLO_SUCCESS;
    *alert = SSL_AD_ILLEGAL_PARAMETER;
    return SSL_CLIENT_HELLO_ERROR;
  }
  server_name_ = name;
  host_ = context_.select_host(name, host_is_fallback_);
  if (host_ == HostTable::kNone) {
    refused_name_ = true;
    *alert = SSL_AD_UNRECOGNIZED_NAME;  // RFC 6066 3
    return SSL_CLIENT_HELLO_ERROR;
  }
  const auto groups = hello_extension(ssl_.get(), TLSEXT_TYPE_supported_groups);
  if (context_.apply_host(ssl_.get(), host_, groups)) return SSL_CLIENT_HELLO_SUCCESS;
  *alert = SSL_AD_INTERNAL_ERROR;
  return SSL_CLIENT_HELLO_ERROR;
}

// Whether the answer acknowledges the name. OpenSSL keeps an acknowledged name in the session, and
// resumes in TLS 1.3 only under the same name.
int Connection::on_server_name(SSL* ssl, int*, void*) {
  return of(ssl).host_is_fallback_ ? SSL_TLSEXT_ERR_NOACK : SSL_TLSEXT_ERR_OK;
}

// RFC 7301 3.2: the server's preference decides; without overlap the handshake ends.
int Connection::on_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_length,
                        const unsigned char* offered, unsigned offered_length, void*) {
  const Connection& self = of(ssl);
  if (self.host_ == HostTable::kNone) return SSL_TLSEXT_ERR_NOACK;
  const HostConfig& host = self.context_.host(self.host_);
  if (host.alpn.empty()) return SSL_TLSEXT_ERR_NOACK;
  const std::span<const unsigned char> list(offered, offered_length);
  for (const std::string& preferred : host.alpn) {
    size_t at = 0;
    while (at < list.size()) {
      const size_t length = list[at];
      if (length > list.size() - at - 1) break;  // OpenSSL has checked the list already
      const auto* name = list.data() + at + 1;
      if (length == preferred.size() && std::memcmp(name, preferred.data(), length) == 0) {
        *out = name;
        *out_length = static_cast<unsigned char>(length);
        return SSL_TLSEXT_ERR_OK;
      }
      at += 1 + length;
    }
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

Progress Connection::feed(std::span<const uint8_t> record, std::vector<uint8_t>& transmit) {
  note_received(record);
  ERR_clear_error();
  const int written = BIO_write(read_bio_, record.data(), static_cast<int>(record.size()));
  if (written != static_cast<int>(record.size())) {
    return fail(FailureCode::Internal, "no memory for a record");
  }
  const int result = SSL_do_handshake(ssl_.get());
  const int status = result == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), result);
  drain(transmit);
  if (result == 1) return finish();
  if (status == SSL_ERROR_WANT_READ) return Progress::NeedRecord;
  return fail_by_openssl();
}

void Connection::drain(std::vector<uint8_t>& transmit) {
  const size_t pending = BIO_ctrl_pending(write_bio_);
  if (pending == 0) return;
  const size_t before = transmit.size();
  transmit.resize(before + pending);
  const int got = BIO_read(write_bio_, transmit.data() + before, static_cast<int>(pending));
  SLUICE_ASSERT(got == static_cast<int>(pending));
  note_transmitted(std::span(transmit).subspan(before));
}

Progress Connection::fail(FailureCode code, std::string reason) {
  failure_.code = code;
  failure_.reason = std::move(reason);
  ERR_clear_error();
  return Progress::Failed;
}

Progress Connection::fail_by_openssl() {
  const unsigned long error = ERR_peek_error();  // the first is the cause
  const char* reason = ERR_reason_error_string(error);
  if (refused_name_) {
    return fail(FailureCode::UnknownServerName, "no host of this name is configured");
  }
  if (failure_.alert_sent == kNoAlert && failure_.alert_received != kNoAlert) {
    return fail(FailureCode::PeerAlert, "the client gave up with this alert");
  }
  if (failure_.alert_sent == SSL_AD_BAD_RECORD_MAC) {
    return fail(FailureCode::BadRecord, "a record does not decrypt");
  }
  return fail(classify_openssl_error(error), reason == nullptr ? "no reason given" : reason);
}

}  // namespace sluice::control::handshake
