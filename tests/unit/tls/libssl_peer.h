// A libssl client after a real handshake with a libssl server in memory, and the server's keys as
// control would hand them over. From then on the test is the server.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <string>

#include "abi/messages.h"
#include "fixture.h"

namespace sluice::tls::test {

struct Free {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};

struct PeerOptions {
  uint16_t version = 0x0304;
  std::string ciphers;                // OpenSSL's names: of TLS 1.3, or of older versions
  uint32_t tickets = 0;               // TLS 1.3: NewSessionTickets of the server
  uint8_t max_fragment_length = 0;    // RFC 6066 code, 0 for none
  bool encrypt_then_mac = true;       // the client offers it; RFC 7366
};

class LibsslPeer {
 public:
  // Throws when the handshake fails.
  explicit LibsslPeer(const PeerOptions& options);

  SSL* client() { return client_.get(); }
  const abi::InstallKeys& keys() const { return keys_; }

  // What the client has written since the last call.
  Bytes take_from_client();
  void give_to_client(std::span<const uint8_t> bytes);
  // Everything that the client can read now.
  Bytes client_reads();

 private:
  // What the callbacks of the handshake saw.
  struct Observed {
    std::string client_secret;
    std::string server_secret;
    uint64_t records_after_secret = 0;
    uint8_t last_server_record[13] = {};
    // The end of what each has sent: its Finished.
    Bytes client_end;
    Bytes server_end;
    bool encrypt_then_mac = false;
  };

  void handshake();
  void collect_keys13();
  void collect_keys12();
  void note_server_bytes(const Bytes& bytes);

  static void on_keylog(const SSL* ssl, const char* line);
  static void on_message(int write, int version, int type, const void* bytes, size_t length,
                         SSL* ssl, void* self);

  Observed observed_;
  std::unique_ptr<SSL_CTX, Free> server_context_;
  std::unique_ptr<SSL_CTX, Free> client_context_;
  std::unique_ptr<SSL, Free> server_;
  std::unique_ptr<SSL, Free> client_;
  abi::InstallKeys keys_;
};

}  // namespace sluice::tls::test
