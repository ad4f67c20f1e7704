// The client's side of TLS over a simulated connection: a hello and a "Finished" of the right form
// for the toy handshake, then records with keys that mirror those which control installs.
#pragma once

#include <random>

#include "../tls/fixture.h"
#include "world.h"

namespace sluice::flow::test {

// Handshake records with a body of `length` bytes; the first looks like a ClientHello.
Bytes client_hello(uint32_t length = 300);
Bytes client_finished(uint32_t length = 60);

class TlsClient {
 public:
  // Connects, and hangs itself into the peer's on_data.
  explicit TlsClient(World& world);
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  Bytes seal(tls::ContentType type, const Bytes& plaintext);
  // Records of 1..max_record bytes each.
  Bytes seal_stream(const Bytes& plaintext, uint32_t max_record, std::mt19937& random);
  Bytes close_notify() { return seal(tls::ContentType::alert, {1, 0}); }

  // Sends the hello, and Finished together with everything in `after` (and then FIN) as soon as the
  // server's flight is there.
  void shake_hands(const Bytes& after = {}, bool fin = false);
  void write(const Bytes& bytes) { peer.write(bytes); }
  void finish() { peer.finish = true; }

  World& world;
  Peer& peer;
  tls::test::End end;  // mirrored keys

  bool flight_complete = false;
  Bytes flight;
  Bytes plaintext;  // application data opened
  bool got_close_notify = false;
  int alert = -1;  // a fatal one
  uint32_t key_updates = 0;
  uint32_t renegotiation_refused = 0;
  bool open_failed = false;
  std::vector<uint32_t> data_records;  // sizes on the wire
  std::function<void(TlsClient&)> on_plaintext;

 private:
  void on_data();
  bool open_next();

  Bytes after_flight_;
  bool shaking_ = false;
  bool fin_after_flight_ = false;
  size_t parsed_ = 0;
};

// Shakes hands and runs until client and backend stand connected through the relay.
void establish(World& world, TlsClient& client, const Bytes& after = {});
void say(World& world, TlsClient& client, const Bytes& bytes);
// Shakes hands, says `up` and closes in order.
void say_and_close(TlsClient& client, const Bytes& up);
// Both ends close in order now.
void close_both(World& world, TlsClient& client, Peer& backend);

}  // namespace sluice::flow::test
