// Theory of operation. `feed` writes one record into `read_bio_`, lets OpenSSL go on, and moves
// what it wrote from `write_bio_` to the caller, on failure too: that is the alert. When OpenSSL
// reports the handshake complete, `finish` collects the keys for the worker:
//
//   TLS 1.3  both application traffic secrets come through the keylog callback. The client's
//   records
//            under its secret have not been read (sequence 0). Ours may have been written: the
//            session tickets. The message callback sees the header of every record that leaves;
//            those after SERVER_TRAFFIC_SECRET_0 are counted, and that is the next sequence.
//            Records, not tickets: one ticket can take several records.
//   TLS 1.2  keys and salts are derived anew from the master secret, which never leaves this file's
//            stack. Sequences are counted from each side's ChangeCipherSpec and must be 1 for ours:
//            the Finished. OpenSSL starts the explicit nonce of GCM at random and adds one for each
//            record, so the next one is that of our Finished plus one: read off the wire, since no
//            getter exists.
//
// A byte that OpenSSL has taken and not interpreted would be lost in the hand-over, therefore a
// connection that has any is refused (a client that sends data in the record of its Finished, which
// no client does).
#include "control/handshake/connection.h"

#include <openssl/err.h>

#include <algorithm>
#include <cstring>

#include "abi/assert.h"
#include "crypto/key_schedule.h"

namespace sluice::control::handshake {
namespace {

constexpr uint8_t kRecordChangeCipherSpec = 20;
constexpr uint8_t kRecordAlert = 21;
constexpr uint8_t kRecordHandshake = 22;
constexpr size_t kRecordHeader = abi::kRecordHeaderBytes;
constexpr uint8_t kServerHello = 2;
constexpr uint8_t kAlertFatal = 2;
constexpr size_t kExplicitNonceBytes = 8;

// RFC 8446 4.1.3: the random of a ServerHello that is a HelloRetryRequest.
constexpr uint8_t kRetryRandom[32] = {
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c};

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

// The host name in a server_name extension (RFC 6066 3), normalised; empty when there is no valid
// one.
std::string parse_server_name(std::span<const uint8_t> extension) {
  constexpr size_t kPrefix = 5;  // list length, name type, name length
  if (extension.size() < kPrefix || extension[2] != TLSEXT_NAMETYPE_host_name) return {};
  const size_t list = size_t{extension[0]} << 8 | extension[1];
  const size_t length = size_t{extension[3]} << 8 | extension[4];
  if (list != extension.size() - 2 || length > extension.size() - kPrefix) return {};
  const auto* name = reinterpret_cast<const char*>(extension.data() + kPrefix);
  return normalise_host_name({name, length});
}

uint32_t fragment_limit(const SSL_SESSION* session) {
  const uint8_t mode = SSL_SESSION_get_max_fragment_length(session);  // RFC 6066 4: 1 to 4
  return mode >= 1 && mode <= 4 ? uint32_t{256} << mode : abi::kMaxPlaintextBytes;
}

uint64_t read_big_endian(const uint8_t* bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value = value << 8 | bytes[i];
  return value;
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
  } else if (type == SSL3_RT_HANDSHAKE && write == 1 && length > 6 + sizeof kRetryRandom &&
             bytes[0] == kServerHello) {
    const bool retry = std::memcmp(bytes + 6, kRetryRandom, sizeof kRetryRandom) == 0;
    self.failure_.phase = retry ? Phase::ExpectSecondClientHello : Phase::ExpectFinished;
  }
}

// Called for each ClientHello, so for both when a HelloRetryRequest lies between them.
int Connection::on_client_hello(SSL* ssl, int* alert, void*) {
  const unsigned char* extension = nullptr;
  size_t length = 0;
  std::string name;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &extension, &length) == 1) {
    name = parse_server_name({extension, length});
  }
  return of(ssl).choose_host(name, alert);
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
  if (context_.apply_host(ssl_.get(), host_)) return SSL_CLIENT_HELLO_SUCCESS;
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

void Connection::note_received(std::span<const uint8_t> record) {
  if (opening_) ++records_opened_;
  if (record[0] == kRecordChangeCipherSpec) opening_ = true;
  // OpenSSL does not report an alert that comes instead of Finished.
  if (record[0] == kRecordAlert && record.size() == kRecordHeader + 2) {
    failure_.alert_received = record[kRecordHeader + 1];
  }
}

// OpenSSL writes whole records, unless it fails in the middle of a flight.
void Connection::note_transmitted(std::span<const uint8_t> bytes) {
  while (bytes.size() >= kRecordHeader) {
    const size_t length = size_t{bytes[3]} << 8 | bytes[4];
    if (bytes.size() < kRecordHeader + length) break;
    if (sealing_) {
      ++records_sealed_;
      if (bytes[0] == kRecordHandshake && length >= kExplicitNonceBytes) {
        last_explicit_nonce_ = read_big_endian(bytes.data() + kRecordHeader);
      }
    }
    if (bytes[0] == kRecordChangeCipherSpec) sealing_ = true;
    bytes = bytes.subspan(kRecordHeader + length);
  }
  if (!bytes.empty()) whole_records_ = false;
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

Progress Connection::finish() {
  if (SSL_has_pending(ssl_.get()) == 1 || BIO_ctrl_pending(read_bio_) != 0 || !whole_records_) {
    return fail(FailureCode::DataBehindFinished, "data in the record of the Finished");
  }
  const auto id =
      static_cast<uint16_t>(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl_.get())));
  const crypto::Suite* suite = crypto::find_suite(id);
  if (suite == nullptr || host_ == HostTable::kNone) {
    return fail(FailureCode::Internal, "a suite that the record layer does not speak");
  }
  const unsigned char* alpn = nullptr;
  unsigned alpn_length = 0;
  SSL_get0_alpn_selected(ssl_.get(), &alpn, &alpn_length);
  if (alpn_length > 0) session_.alpn.assign(reinterpret_cast<const char*>(alpn), alpn_length);
  session_.version = static_cast<uint16_t>(SSL_version(ssl_.get()));
  session_.suite = id;
  session_.host = host_;
  session_.resumed = SSL_session_reused(ssl_.get()) == 1;
  session_.open.fragment_limit_bytes = fragment_limit(SSL_get_session(ssl_.get()));
  session_.seal.fragment_limit_bytes = session_.open.fragment_limit_bytes;
  const bool exported = session_.version == TLS1_3_VERSION   ? export_tls13(*suite)
                        : session_.version == TLS1_2_VERSION ? export_tls12(*suite)
                                                             : false;
  if (!exported) return fail(FailureCode::Internal, "the keys could not be exported");
  // An SSL that is freed without both close_notify takes its session out of the cache.
  SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  return Progress::Done;
}

bool Connection::export_tls13(const crypto::Suite& suite) {
  const size_t length = crypto::hash_length(suite.hash);
  if (client_secret_.size() != length || server_secret_.size() != length) return false;
  const auto give = [&](abi::DirectionKeys& keys, TrafficSecret& secret) {
    std::memcpy(keys.secret, secret.data(), length);
    keys.secret_length = static_cast<uint8_t>(length);
    secret.wipe();
  };
  give(session_.open, client_secret_);
  give(session_.seal, server_secret_);
  session_.open.sequence = 0;
  session_.seal.sequence = records_under_server_secret_;
  return true;
}

bool Connection::export_tls12(const crypto::Suite& suite) {
  // Exactly one record was sealed, our Finished: with any other count the nonce that was read off
  // the wire is not the last one, and going on could use a nonce twice.
  if (!opening_ || !sealing_ || records_sealed_ != 1 || records_opened_ == 0) return false;
  crypto::Secret<crypto::kMasterSecretLength> master;
  if (!master.resize_zeroed(crypto::kMasterSecretLength)) return false;
  const size_t got = SSL_SESSION_get_master_key(SSL_get_session(ssl_.get()),
                                                master.mutable_span().data(), master.size());
  uint8_t client_random[crypto::kRandomLength];
  uint8_t server_random[crypto::kRandomLength];
  if (got != crypto::kMasterSecretLength ||
      SSL_get_client_random(ssl_.get(), client_random, sizeof client_random) !=
          sizeof client_random ||
      SSL_get_server_random(ssl_.get(), server_random, sizeof server_random) !=
          sizeof server_random) {
    return false;
  }
  crypto::KeyBlock block;
  if (!crypto::derive_key_block(context_.provider(), suite, crypto::TlsVersion::Tls12,
                                master.span(), client_random, server_random, block)) {
    return false;
  }
  const auto give = [](abi::DirectionKeys& keys, const crypto::TrafficKeys& from) {
    std::memcpy(keys.key, from.key.data(), from.key.size());
    std::memcpy(keys.iv, from.iv.data(), from.iv.size());
    keys.key_length = static_cast<uint8_t>(from.key.size());
    keys.iv_length = static_cast<uint8_t>(from.iv.size());
  };
  give(session_.open, block.client_write);
  give(session_.seal, block.server_write);
  session_.open.sequence = records_opened_;
  session_.seal.sequence = records_sealed_;
  session_.seal.next_explicit_nonce = last_explicit_nonce_ + 1;
  return true;
}

void Connection::take_session(Session& out) {
  out.version = session_.version;
  out.suite = session_.suite;
  out.encrypt_then_mac = session_.encrypt_then_mac;
  out.resumed = session_.resumed;
  out.host = session_.host;
  out.alpn = std::move(session_.alpn);
  out.open = session_.open;
  out.seal = session_.seal;
  crypto::secure_zero(&session_.open, sizeof session_.open);
  crypto::secure_zero(&session_.seal, sizeof session_.seal);
}

}  // namespace sluice::control::handshake
