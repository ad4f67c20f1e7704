// The handshake service between a fake worker and an OpenSSL client, all on the test's thread.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "control/handshake/context.h"
#include "control/handshake/openssl_types.h"
#include "control/handshake/service.h"
#include "fake_worker.h"
#include "record_layer.h"
#include "test_certificates.h"

namespace sluice::control::testing {

using handshake::SslContextPtr;
using handshake::SslPtr;

// rsa.sluice.test (default; alpn h2, http/1.1), ecdsa.sluice.test, dual.sluice.test,
// *.wild.sluice.test, exact.wild.sluice.test.
struct TestPki {
  TempDirectory directory;
  TestCa ca{directory};
  ControlConfig config;
  TestPki();
};
const TestPki& test_pki();  // made once: keys take time
// The configuration of test_pki() with all hosts under this policy.
ControlConfig with_policy(const handshake::PolicySpec& spec);

struct ClientOptions {
  uint16_t version = TLS1_3_VERSION;  // both minimum and maximum
  uint16_t minimum_version = 0;       // another minimum
  std::string suites;                 // of that version; empty: OpenSSL's default
  std::string suites13;               // of TLS 1.3 beside older ones
  std::string server_name = "rsa.sluice.test";
  std::string groups;
  std::string signature_algorithms;
  std::vector<std::string> alpn;
  bool middlebox_compatibility = true;
  bool session_tickets = true;
  bool encrypt_then_mac = true;
  bool extended_master_secret = true;
  bool fallback_scsv = false;              // RFC 7507
  std::vector<uint8_t> record_size_limit;  // the extension's body; empty: not sent
  SSL_SESSION* session = nullptr;
};

class Client {
 public:
  explicit Client(const ClientOptions& options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  // Goes on with the handshake. True when it is complete.
  bool advance();
  std::vector<uint8_t> take_output();
  void input(const std::vector<uint8_t>& bytes);
  void write(const std::string& text);
  std::string read();
  [[nodiscard]] SSL* ssl() const { return ssl_.get(); }
  // The alert that came from the server, -1 for none.
  [[nodiscard]] int alert_received() const { return alert_; }
  [[nodiscard]] SSL_SESSION* session() const { return session_.get(); }
  [[nodiscard]] int server_hellos() const { return server_hellos_; }
  // What the server answered to record_size_limit, 0 for nothing.
  [[nodiscard]] uint32_t record_size_limit() const { return record_size_limit_; }

 private:
  static void on_message(int write, int version, int type, const void* bytes, size_t length,
                         SSL* ssl, void* self);
  static int on_add_limit(SSL* ssl, unsigned type, unsigned context, const unsigned char** out,
                          size_t* length, X509* certificate, size_t index, int* alert, void* self);
  static int on_limit(SSL* ssl, unsigned type, unsigned context, const unsigned char* in,
                      size_t length, X509* certificate, size_t index, int* alert, void* self);
  static int on_session(SSL* ssl, SSL_SESSION* session);

  SslContextPtr context_;
  SslPtr ssl_;
  BIO* read_bio_ = nullptr;
  BIO* write_bio_ = nullptr;
  int alert_ = -1;
  int server_hellos_ = 0;
  ByteVector offered_record_size_limit_;
  uint32_t record_size_limit_ = 0;
  struct FreeSession {
    void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
  };
  std::unique_ptr<SSL_SESSION, FreeSession> session_;
};

struct Harness {
  explicit Harness(ControlConfig with = test_pki().config);
  // Turns of worker, service and client until keys, a close, or nothing moves. `early_data` is what
  // the client writes the moment its handshake is complete.
  void run(Client& client, FakeFlow& flow, const std::string& early_data = {});
  // After run() brought keys: bytes both ways, several records, must arrive as they were sent.
  void exchange(Client& client, FakeFlow& flow, const std::string& early_data = {});
  // Service and worker until nothing moves.
  void settle();

  ControlConfig config;
  std::unique_ptr<Loop> loop;
  std::unique_ptr<handshake::Context> context;
  handshake::ServiceStats stats;
  FakeWorker worker;
  std::unique_ptr<handshake::Service> service;
};

}  // namespace sluice::control::testing
