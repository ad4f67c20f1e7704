// One flow engine between a client and a backend, in virtual time, with control at its rings. A
// test sets the scene, runs until something has happened, and ends with expect_clean: no flow, no
// buffer, no node, no key is left.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "../tls/fixture.h"
#include "crypto/provider.h"
#include "fake_control.h"
#include "flow/engine.h"
#include "flow/small_buffers.h"
#include "host.h"
#include "net_sim.h"
#include "tls/key_cache.h"

namespace sluice::flow::test {

inline const abi::SocketAddress kTlsService{abi::IpAddress::from_ipv4(0x0a63010a), 443};
inline const abi::SocketAddress kTcpService{abi::IpAddress::from_ipv4(0x0a63010a), 80};
inline const abi::IpAddress kClientAddress = abi::IpAddress::from_ipv4(0x0a630102);
inline const abi::IpAddress kRawAddress = abi::IpAddress::from_ipv4(0x0a630103);
inline const abi::IpAddress kSourceAddress = abi::IpAddress::from_ipv4(0x0a63020a);
inline const abi::SocketAddress kBackend{abi::IpAddress::from_ipv4(0x0a630202), 8080};

struct WorldConfig {
  NetConfig net;
  uint32_t max_flows = 64;
  uint32_t small_buffers = 2048;
  uint32_t large_buffers = 512;
  uint32_t nodes = 65536;
  uint32_t endpoints = 3;
  Micros handshake_wait_us = 10'000'000;
  Micros idle_timeout_us = 300'000'000;
  Micros linger_us = 5'000'000;
  bool with_control = true;
  std::vector<SourceAddress> sources = {{kSourceAddress, 24, false}};
  uint16_t core = 0;
  uint16_t workers = 1;
  // Of all clients; with `suites`, each client has one of them, by its port.
  tls::test::Variant suite = tls::test::kAes128Tls13;
  std::vector<tls::test::Variant> suites;
  tls::RecordPolicy records;
  RecordSize record_size;
  tcp::TcpConfig tcp;
};

class World {
 public:
  explicit World(const WorldConfig& config = {});
  ~World();

  Peer& connect_tcp() { return client_host.connect(next_client_address(), kTcpService, now); }
  Peer& connect_tls() { return client_host.connect(next_client_address(), kTlsService, now); }
  // A client without a stack: the segment goes straight to the engine, answers into raw_inbox.
  void raw_input(const Wire& wire);
  // The raw client with this port does TCP's handshake and sends `data` with its ACK.
  void raw_connect(uint16_t port, const abi::SocketAddress& service, const Bytes& data);

  // Goes to the next moment at which something happens, and does it. False: nothing ever will.
  bool step();
  // False when `limit_us` passed first.
  template <class Done>
  bool run_until(Done&& done, Micros limit_us = 600'000'000) {
    const Micros end = now + limit_us;
    while (!done()) {
      if (now > end || !step()) return done();
    }
    return true;
  }
  void run_for(Micros duration_us);
  // No flow is left, no packet is on its way, and no client is still trying.
  bool idle() const;
  bool run_until_idle(Micros limit_us = 600'000'000) {
    return run_until([this] { return idle(); }, limit_us);
  }

  uint64_t count(abi::Counter counter) const { return counters.get(counter); }
  uint64_t closes(abi::CloseReason reason) const;
  // Runs until no flow is left, then looks for leaks.
  void expect_clean(Micros limit_us = 600'000'000);
  // As expect_clean, and all flows have ended for this reason.
  void expect_clean(abi::CloseReason only_reason, Micros limit_us = 600'000'000);

  // The keys of a client, by its port, as its worker gets them.
  abi::InstallKeys keys_of(uint16_t client_port) const;
  abi::InstallKeys keys_for(const FakeControl::Handshake& handshake) const {
    return keys_of(handshake.begin.client.port);
  }
  // The script that control starts with: flight after the first record, keys after the second.
  void toy_handshake(FakeControl& from, FakeControl::Handshake& handshake);

  WorldConfig config;
  Micros now = 1'000'000'000;
  NetSim net;
  abi::Counters counters;
  tls::KeyCache key_cache;
  tls::RecordLayer records;
  net::RecordPool small;
  net::RecordPool large;
  tcp::Pools pools;
  tcp::Stack stack;
  tcp::Listener listener;
  std::unique_ptr<Engine> engine;
  FakeControl control;
  Host client_host;
  Host backend_host;

  bool nic_full = false;           // emit returns false
  uint32_t nic_full_permille = 0;  // by chance
  uint64_t segments_refused = 0;
  bool control_closed_to_engine = false;  // the engine's side of the rings is not polled
  std::vector<Wire> raw_inbox;
  std::function<void(const Wire&)> tap;  // sees what the engine sends
  uint32_t flight_bytes = 3000;          // of the toy handshake
  uint32_t handshake_records = 2;
  std::function<void(abi::InstallKeys&)> change_keys;  // of both ends, before a client is made
  uint32_t max_step_inputs = abi::kBurst;

 private:
  abi::SocketAddress next_client_address();
  bool emit(const net::Segment& segment);
  void receive();
  Micros next_at() const;

  void* small_arena_ = nullptr;
  void* large_arena_ = nullptr;
  uint16_t next_client_port_ = 20000;
  uint64_t heap_before_;
};

// The backend's connections in order of their arrival.
inline Peer& backend_of(World& world, size_t number = 0) {
  return *world.backend_host.peers.at(number);
}
// The backend answers with this when the client's direction has ended, and closes.
void answer_with(World& world, const Bytes& down);

// All parts in this order (the operands of + may be sealed in another).
Bytes join(std::initializer_list<Bytes> parts);
// Bytes that tell their position, different for each seed.
Bytes pattern(size_t length, uint32_t seed);

}  // namespace sluice::flow::test
