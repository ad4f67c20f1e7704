// Theory of operation. When OpenSSL reports the handshake complete, `finish` collects the keys for
// the worker:
//
//   TLS 1.3     both application traffic secrets come through the keylog callback. The client's
//               records under its secret have not been read (sequence 0). Ours may have been
//               written: the session tickets. The message callback sees the header of every record
//               that leaves; those after SERVER_TRAFFIC_SECRET_0 are counted, and that is the next
//               sequence. Records, not tickets: one ticket can take several records.
//   before      keys are derived anew from the master secret, which never leaves this file's stack.
//               Sequences are counted from each side's ChangeCipherSpec and must be 1 for ours: the
//               Finished.
//   GCM         OpenSSL starts the explicit nonce at random and adds one for each record, so the
//               next one is that of our Finished plus one: read off the wire, since no getter
//               exists.
//   TLS 1.0     the IV of a record is the last ciphertext block of the one before, in each
//               direction: read off the wire too.
//
// A byte that OpenSSL has taken and not interpreted would be lost in the hand-over, therefore a
// connection that has any is refused (a client that sends data in the record of its Finished, which
// no client does).
#include <openssl/err.h>

#include <algorithm>
#include <cstring>

#include "control/handshake/connection.h"
#include "crypto/key_schedule.h"

namespace sluice::control::handshake {
namespace {

constexpr uint8_t kRecordChangeCipherSpec = 20;
constexpr uint8_t kRecordAlert = 21;
constexpr size_t kRecordHeader = abi::kRecordHeaderBytes;

// RFC 6066 4: 512 to 4,096; both directions, for the life of the session.
uint32_t negotiated_fragment(const SSL_SESSION* session) {
  const uint8_t mode = SSL_SESSION_get_max_fragment_length(session);
  return mode >= 1 && mode <= 4 ? uint32_t{256} << mode : abi::kMaxPlaintextBytes;
}

}  // namespace

void Connection::note_received(std::span<const uint8_t> record) {
  if (opening_) {
    ++records_opened_;
    last_opened_.note(record);
  }
  if (record[0] == kRecordChangeCipherSpec) opening_ = true;
  // OpenSSL does not report an alert that comes instead of Finished.
  if (record[0] == kRecordAlert && record.size() == kRecordHeader + 2) {
    failure_.alert_received = record[kRecordHeader + 1];
  }
}

// OpenSSL writes whole records, unless it fails in the middle of a flight.
void Connection::note_transmitted(std::span<const uint8_t> bytes) {
  while (bytes.size() >= kRecordHeader) {
    const size_t length = kRecordHeader + (size_t{bytes[3]} << 8 | bytes[4]);
    if (bytes.size() < length) break;
    if (sealing_) {
      ++records_sealed_;
      last_sealed_.note(bytes.first(length));
    }
    if (bytes[0] == kRecordChangeCipherSpec) sealing_ = true;
    bytes = bytes.subspan(length);
  }
  if (!bytes.empty()) whole_records_ = false;
}

void Connection::Ends::note(std::span<const uint8_t> record) {
  const std::span<const uint8_t> payload = record.subspan(kRecordHeader);
  payload_bytes = payload.size();
  const size_t head = std::min(payload.size(), sizeof first);
  const size_t tail = std::min(payload.size(), sizeof last);
  std::memcpy(first, payload.data(), head);
  std::memcpy(last + sizeof last - tail, payload.last(tail).data(), tail);
}

bool Connection::Ends::block_before(size_t behind, uint8_t (&out)[16]) const {
  const size_t from_end = behind + sizeof out;
  if (from_end > payload_bytes || from_end > sizeof last) return false;
  std::memcpy(out, last + sizeof last - from_end, sizeof out);
  return true;
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
  session_.open.fragment_limit_bytes = negotiated_fragment(SSL_get_session(ssl_.get()));
  session_.seal.fragment_limit_bytes =
      std::min(session_.open.fragment_limit_bytes, client_fragment_limit_);
  const bool exported =
      session_.version == TLS1_3_VERSION ? export_tls13(*suite) : export_legacy(*suite);
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

// TLS 1.2 and older.
bool Connection::export_legacy(const crypto::Suite& suite) {
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
  const auto version = static_cast<crypto::TlsVersion>(session_.version);
  if (!crypto::derive_key_block(context_.provider(), suite, version, master.span(), client_random,
                                server_random, block)) {
    return false;
  }
  const auto give = [](abi::DirectionKeys& keys, const crypto::TrafficKeys& from) {
    std::memcpy(keys.key, from.key.data(), from.key.size());
    std::memcpy(keys.mac_key, from.mac_key.data(), from.mac_key.size());
    std::memcpy(keys.iv, from.iv.data(), from.iv.size());
    keys.key_length = static_cast<uint8_t>(from.key.size());
    keys.mac_key_length = static_cast<uint8_t>(from.mac_key.size());
    keys.iv_length = static_cast<uint8_t>(from.iv.size());
  };
  give(session_.open, block.client_write);
  give(session_.seal, block.server_write);
  session_.open.sequence = records_opened_;
  session_.seal.sequence = records_sealed_;
  if (suite.is_cbc()) return version != crypto::TlsVersion::Tls10 || export_chaining(suite);
  if (suite.explicit_nonce_length(version) != sizeof last_sealed_.first) return true;  // RFC 7905
  uint64_t nonce = 0;
  for (const uint8_t byte : last_sealed_.first) nonce = nonce << 8 | byte;
  session_.seal.next_explicit_nonce = nonce + 1;
  return true;
}

// RFC 2246 6.2.3.2; with encrypt_then_mac the MAC stands behind the ciphertext (RFC 7366 3).
bool Connection::export_chaining(const crypto::Suite& suite) {
  const size_t behind = session_.encrypt_then_mac != 0 ? suite.mac_key_length : 0;
  return last_opened_.block_before(behind, session_.open.chaining_block) &&
         last_sealed_.block_before(behind, session_.seal.chaining_block);
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
