#include "libssl_peer.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "crypto/key_schedule.h"
#include "vectors.h"

namespace sluice::tls::test {

namespace {

void require(bool condition, const char* what) {
  if (!condition) throw std::runtime_error(what);
}

// Self-signed certificates, one for each kind of suite: who the server is does not matter here.
void give_certificate(SSL_CTX* context, EVP_PKEY* key) {
  X509* certificate = X509_new();
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, key);
  const bool done = X509_sign(certificate, key, EVP_sha256()) > 0 &&
                    SSL_CTX_use_certificate(context, certificate) == 1 &&
                    SSL_CTX_use_PrivateKey(context, key) == 1;
  X509_free(certificate);
  require(done, "certificate");
}

void give_certificates(SSL_CTX* context) {
  static EVP_PKEY* const ecdsa = EVP_EC_gen("P-256");
  static EVP_PKEY* const rsa = EVP_RSA_gen(2048);
  give_certificate(context, ecdsa);
  give_certificate(context, rsa);
  SSL_CTX_set_dh_auto(context, 1);
}

// RFC 7366 2: whether a ServerHello has the extension encrypt_then_mac.
bool says_encrypt_then_mac(std::span<const uint8_t> hello) {
  constexpr size_t kFixed = 4 + 2 + 32;  // header, version, random
  if (hello.size() < kFixed + 1) return false;
  size_t at = kFixed + 1 + hello[kFixed] + 3 + 2;  // session id, suite, compression, length
  while (at + 4 <= hello.size()) {
    if (hello[at] == 0 && hello[at + 1] == 22) return true;
    at += 4U + (static_cast<size_t>(hello[at + 2]) << 8 | hello[at + 3]);
  }
  return false;
}

Bytes drain(BIO* bio) {
  Bytes bytes(BIO_ctrl_pending(bio));
  if (!bytes.empty()) {
    const int got = BIO_read(bio, bytes.data(), static_cast<int>(bytes.size()));
    require(got == static_cast<int>(bytes.size()), "BIO_read");
  }
  return bytes;
}

void fill(BIO* bio, std::span<const uint8_t> bytes) {
  if (bytes.empty()) return;
  const int put = BIO_write(bio, bytes.data(), static_cast<int>(bytes.size()));
  require(put == static_cast<int>(bytes.size()), "BIO_write");
}

void set_version_and_ciphers(SSL_CTX* context, const PeerOptions& options) {
  SSL_CTX_set_min_proto_version(context, options.version);
  SSL_CTX_set_max_proto_version(context, options.version);
  const bool done = options.version == 0x0304
                        ? SSL_CTX_set_ciphersuites(context, options.ciphers.c_str()) == 1
                        : SSL_CTX_set_cipher_list(
                              context, (options.ciphers + ":@SECLEVEL=0").c_str()) == 1;
  require(done, "ciphers");
}

}  // namespace

LibsslPeer::LibsslPeer(const PeerOptions& options)
    : server_context_(SSL_CTX_new(TLS_server_method())),
      client_context_(SSL_CTX_new(TLS_client_method())) {
  set_version_and_ciphers(server_context_.get(), options);
  set_version_and_ciphers(client_context_.get(), options);
  give_certificates(server_context_.get());
  if (!options.encrypt_then_mac) {
    SSL_CTX_set_options(client_context_.get(), SSL_OP_NO_ENCRYPT_THEN_MAC);
  }
  SSL_CTX_set_num_tickets(server_context_.get(), options.tickets);
  if (options.version != 0x0304) SSL_CTX_set_options(server_context_.get(), SSL_OP_NO_TICKET);
  SSL_CTX_set_keylog_callback(server_context_.get(), &on_keylog);
  if (options.max_fragment_length != 0) {
    SSL_CTX_set_tlsext_max_fragment_length(client_context_.get(), options.max_fragment_length);
  }
  server_.reset(SSL_new(server_context_.get()));
  client_.reset(SSL_new(client_context_.get()));
  SSL_set_app_data(server_.get(), this);
  SSL_set_msg_callback(server_.get(), &on_message);
  SSL_set_msg_callback_arg(server_.get(), this);
  for (SSL* ssl : {server_.get(), client_.get()}) {
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  }
  SSL_set_accept_state(server_.get());
  SSL_set_connect_state(client_.get());
  handshake();

  keys_.header.flow.index = 1;
  keys_.header.flow.generation = 1;
  keys_.version = options.version;
  keys_.suite = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(server_.get()));
  const uint8_t code = SSL_SESSION_get_max_fragment_length(SSL_get_session(server_.get()));
  const uint32_t limit = code == 0 ? abi::kMaxPlaintextBytes : 256U << code;
  keys_.open.fragment_limit_bytes = limit;
  keys_.seal.fragment_limit_bytes = limit;
  if (options.version == 0x0304) {
    collect_keys13();
  } else {
    collect_keys12();
  }
}

void LibsslPeer::handshake() {
  for (int turn = 0; turn < 10; ++turn) {
    const int client_done = SSL_do_handshake(client_.get());
    const Bytes said = drain(SSL_get_wbio(client_.get()));
    if (!said.empty()) observed_.client_end = said;
    fill(SSL_get_rbio(server_.get()), said);
    const int server_done = SSL_do_handshake(server_.get());
    const Bytes answer = drain(SSL_get_wbio(server_.get()));
    note_server_bytes(answer);
    fill(SSL_get_rbio(client_.get()), answer);
    if (client_done == 1 && server_done == 1) {
      (void)client_reads();  // takes tickets
      require(drain(SSL_get_wbio(client_.get())).empty(), "the client went on talking");
      return;
    }
  }
  throw std::runtime_error("the handshake does not end");
}

// Keeps the start of the last record, which in TLS 1.2 is the server's Finished.
void LibsslPeer::note_server_bytes(const Bytes& bytes) {
  if (!bytes.empty()) observed_.server_end = bytes;
  size_t at = 0;
  while (at + sizeof(observed_.last_server_record) <= bytes.size()) {
    std::copy_n(bytes.begin() + static_cast<long>(at), sizeof(observed_.last_server_record),
                observed_.last_server_record);
    at += abi::kRecordHeaderBytes + static_cast<size_t>(bytes[at + 3] << 8 | bytes[at + 4]);
  }
}

void LibsslPeer::collect_keys13() {
  const auto take = [](const std::string& hex, abi::DirectionKeys& keys) {
    const Bytes secret = crypto::test::from_hex(hex);
    require(!secret.empty() && secret.size() <= sizeof(keys.secret), "no traffic secret");
    std::copy(secret.begin(), secret.end(), keys.secret);
    keys.secret_length = static_cast<uint8_t>(secret.size());
  };
  take(observed_.client_secret, keys_.open);
  take(observed_.server_secret, keys_.seal);
  keys_.seal.sequence = observed_.records_after_secret;
}

void LibsslPeer::collect_keys12() {
  const crypto::Suite* suite = crypto::find_suite(keys_.suite);
  require(suite != nullptr, "suite");
  uint8_t master[crypto::kMasterSecretLength];
  uint8_t client_random[crypto::kRandomLength];
  uint8_t server_random[crypto::kRandomLength];
  SSL_SESSION_get_master_key(SSL_get_session(server_.get()), master, sizeof(master));
  SSL_get_client_random(server_.get(), client_random, sizeof(client_random));
  SSL_get_server_random(server_.get(), server_random, sizeof(server_random));
  crypto::KeyBlock block;
  require(crypto::derive_key_block(provider(), *suite, static_cast<TlsVersion>(keys_.version),
                                   master, client_random, server_random, block),
          "key block");
  keys_.encrypt_then_mac = suite->is_cbc() && observed_.encrypt_then_mac ? 1 : 0;
  const long mac = keys_.encrypt_then_mac != 0 ? suite->mac_key_length : 0;
  const auto take = [mac](const crypto::TrafficKeys& from, const Bytes& end,
                          abi::DirectionKeys& keys) {
    std::copy_n(from.key.data(), from.key.size(), keys.key);
    std::copy_n(from.mac_key.data(), from.mac_key.size(), keys.mac_key);
    std::copy_n(from.iv.data(), from.iv.size(), keys.iv);
    std::copy_n(end.end() - mac - 16, 16, keys.chaining_block);
    keys.key_length = static_cast<uint8_t>(from.key.size());
    keys.mac_key_length = static_cast<uint8_t>(from.mac_key.size());
    keys.iv_length = static_cast<uint8_t>(from.iv.size());
    keys.sequence = 1;
  };
  take(block.client_write, observed_.client_end, keys_.open);
  take(block.server_write, observed_.server_end, keys_.seal);
  if (suite->is_cbc() || suite->explicit_length == 0) return;
  uint64_t nonce = 0;
  for (int i = 5; i < 13; ++i) nonce = nonce << 8 | observed_.last_server_record[i];
  keys_.seal.next_explicit_nonce = nonce + 1;
}

void LibsslPeer::on_keylog(const SSL* ssl, const char* line) {
  auto* self = static_cast<LibsslPeer*>(SSL_get_app_data(ssl));
  const std::string text(line);
  const std::string secret = text.substr(text.rfind(' ') + 1);
  if (text.starts_with("CLIENT_TRAFFIC_SECRET_0 ")) self->observed_.client_secret = secret;
  if (text.starts_with("SERVER_TRAFFIC_SECRET_0 ")) self->observed_.server_secret = secret;
}

void LibsslPeer::on_message(int write, int, int type, const void* bytes, size_t length, SSL*,
                            void* self) {
  Observed& observed = static_cast<LibsslPeer*>(self)->observed_;
  const auto* message = static_cast<const uint8_t*>(bytes);
  if (write == 1 && type == SSL3_RT_HANDSHAKE && length > 0 && message[0] == SSL3_MT_SERVER_HELLO) {
    observed.encrypt_then_mac = says_encrypt_then_mac({message, length});
  }
  if (write == 1 && type == SSL3_RT_HEADER && !observed.server_secret.empty()) {
    ++observed.records_after_secret;
  }
}

Bytes LibsslPeer::take_from_client() { return drain(SSL_get_wbio(client_.get())); }

void LibsslPeer::give_to_client(std::span<const uint8_t> bytes) {
  fill(SSL_get_rbio(client_.get()), bytes);
}

Bytes LibsslPeer::client_reads() {
  Bytes all;
  uint8_t buffer[4096];
  int got = 0;
  while ((got = SSL_read(client_.get(), buffer, sizeof(buffer))) > 0) {
    all.insert(all.end(), buffer, buffer + got);
  }
  return all;
}

}  // namespace sluice::tls::test
