// A computer at the other end of the simulated network: a client or a backend, with a TCP stack of
// its own and connections that a test scripts.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "net_sim.h"
#include "tcp/connection.h"
#include "tcp/input.h"
#include "tcp/listen.h"
#include "tcp/output.h"
#include "tcp/tcb.h"

namespace sluice::flow::test {

// One connection of a host. The test writes `outgoing` and reads `received`.
struct Peer {
  tcp::Tcb tcb;
  Bytes outgoing;            // the whole stream; grows while the test goes on
  size_t sent = 0;           // of it, handed to TCP
  bool finish = false;       // FIN behind `outgoing`
  uint32_t chunk_bytes = 0;  // writes of 1..chunk_bytes at random, each a segment of its own
  bool reading = true;
  uint32_t read_bytes = UINT32_MAX;  // at most so many at a time
  Bytes received;
  std::function<void(Peer&)> on_data;  // after `received` has grown, or the peer has finished

  bool connected = false;
  bool fin_sent = false;
  bool finished_by_peer = false;  // the other side's FIN, behind all of `received`
  bool closed = false;            // the Tcb is over
  bool aborting = false;
  tcp::CloseCause cause = tcp::CloseCause::None;

  void write(const Bytes& bytes) { outgoing.insert(outgoing.end(), bytes.begin(), bytes.end()); }
  bool reset() const { return closed && cause == tcp::CloseCause::PeerReset; }
};

class Host {
 public:
  Host(NetSim& net, uint32_t seed);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  Peer& connect(const abi::SocketAddress& local, const abi::SocketAddress& remote, Micros now);
  void listen(const abi::SocketAddress& address, std::function<void(Peer&)> on_accept);
  void abort(Peer& peer) { peer.aborting = true; }
  // Forgets all connections without a word.
  void release_all();

  void input(const Wire& wire, Micros now);
  // Reads, writes, answers and runs timers on all connections.
  void pump(Micros now);
  Micros next_at() const;
  bool has_unread() const;

  // Not listening: SYNs are answered with RST; silent: off the network.
  bool listening = true;
  bool silent = false;
  std::vector<std::unique_ptr<Peer>> peers;
  tcp::TcpConfig config;

 private:
  void emit(const net::Segment& segment, Micros now) {
    if (!silent) net_.send(capture(segment), now);
  }
  uint32_t draw(uint32_t below) { return static_cast<uint32_t>(random_()) % below; }
  void output(Peer& peer, Micros now);
  void read(Peer& peer);
  void write(Peer& peer, Micros now);
  bool write_chunk(Peer& peer);
  void input_no_peer(net::Segment& segment, Micros now);

  NetSim& net_;
  std::mt19937 random_;
  abi::Counters counters_;
  tcp::Pools pools_;
  tcp::Stack stack_;
  tcp::Listener listener_;
  abi::SocketAddress address_;
  std::function<void(Peer&)> on_accept_;
};

}  // namespace sluice::flow::test
