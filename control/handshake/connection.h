// One connection's handshake by OpenSSL, and the hand-over of its keys.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "control/handshake/context.h"
#include "control/handshake/engine.h"
#include "control/handshake/openssl_types.h"
#include "crypto/secret.h"
#include "crypto/suite.h"

namespace sluice::control::handshake {

class Connection final : public Handshake {
 public:
  [[nodiscard]] static std::unique_ptr<Connection> create(Context& context);
  static void install_callbacks(SSL_CTX* ssl_context);

  Progress feed(std::span<const uint8_t> record, std::vector<uint8_t>& transmit) override;
  void take_session(Session& out) override;
  [[nodiscard]] const Failure& failure() const override { return failure_; }
  [[nodiscard]] const std::string& server_name() const override { return server_name_; }

 private:
  using TrafficSecret = crypto::Secret<crypto::kMaxHashLength>;

  // The ends of the last record's payload under the new keys, in one direction.
  struct Ends {
    size_t payload_bytes = 0;
    uint8_t first[8] = {};  // GCM's explicit nonce
    uint8_t last[64] = {};  // CBC's last ciphertext block, and a MAC behind it
    void note(std::span<const uint8_t> record);
    // The 16 bytes that end `behind` bytes before the payload does. False when there are none.
    [[nodiscard]] bool block_before(size_t behind, uint8_t (&out)[16]) const;
  };

  explicit Connection(Context& context) : context_(context) {}
  bool initialise();

  // OpenSSL's callbacks.
  static Connection& of(const SSL* ssl);
  static void on_keylog(const SSL* ssl, const char* line);
  static void on_message(int write, int version, int type, const void* bytes, size_t length,
                         SSL* ssl, void* argument);
  static int on_client_hello(SSL* ssl, int* alert, void* argument);
  static int on_server_name(SSL* ssl, int* alert, void* argument);
  static int on_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_length,
                     const unsigned char* offered, unsigned offered_length, void* argument);

  static int on_answer_record_size_limit(SSL* ssl, unsigned type, unsigned context,
                                         const unsigned char** out, size_t* out_length,
                                         X509* certificate, size_t index, int* alert,
                                         void* argument);

  int choose_host(const std::string& name, int* alert);
  bool read_record_size_limit(int* alert);
  void drain(std::vector<uint8_t>& transmit);
  void note_received(std::span<const uint8_t> record);
  void note_transmitted(std::span<const uint8_t> bytes);
  Progress fail(FailureCode code, std::string reason);
  Progress fail_by_openssl();
  Progress finish();
  bool export_tls13(const crypto::Suite& suite);
  bool export_legacy(const crypto::Suite& suite);
  bool export_chaining(const crypto::Suite& suite);

  Context& context_;
  SslPtr ssl_;
  BIO* read_bio_ = nullptr;  // both belong to ssl_
  BIO* write_bio_ = nullptr;
  Failure failure_;
  Session session_;
  std::string server_name_;
  uint32_t host_ = HostTable::kNone;
  bool host_is_fallback_ = false;
  bool refused_name_ = false;
  // TLS 1.3.
  TrafficSecret client_secret_;
  TrafficSecret server_secret_;
  uint64_t records_under_server_secret_ = 0;
  // TLS 1.2 and older.
  bool opening_ = false;       // the client's ChangeCipherSpec has come
  bool sealing_ = false;       // ours has left
  bool whole_records_ = true;  // all that OpenSSL wrote
  uint64_t records_opened_ = 0;
  uint64_t records_sealed_ = 0;
  Ends last_opened_;
  Ends last_sealed_;
  uint32_t record_size_limit_ = 0;  // what the client asks for; 0: nothing
  uint32_t client_fragment_limit_ = abi::kMaxPlaintextBytes;
};

}  // namespace sluice::control::handshake
