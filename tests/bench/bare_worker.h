// A worker's turn without a NIC: frames in, built frames out, cycles counted.
//
// It does what dataplane/worker does between the receive and the transmit call of a port, with the
// same code: parse_frame -> Engine::input -> serve (record layer, relay, tcp_output) -> next hop,
// neighbour, headers. What a NIC and its driver do stands still: frames lie in plain buffers, and
// what is sent stays in `sent()` until the next turn, which begins by giving it back as the
// driver's clean-up would.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "abi/region.h"
#include "flow/engine.h"
#include "net/frame.h"
#include "net/interface.h"
#include "net/joiner.h"
#include "net/neighbor.h"
#include "net/wire.h"
#include "tcp/pools.h"
#include "tls/key_cache.h"

namespace sluice::bench {

using tcp::Micros;

inline const abi::SocketAddress kService{abi::IpAddress::from_ipv4(0x0a63010a), 443};
inline const abi::IpAddress kSourceAddress = abi::IpAddress::from_ipv4(0x0a63020a);
inline const abi::SocketAddress kBackend{abi::IpAddress::from_ipv4(0x0a630202), 8080};
inline const abi::IpAddress kClientGateway = abi::IpAddress::from_ipv4(0x0a630101);
inline const net::Mac kWorkerMac{{2, 0, 0, 0, 0, 1}};
inline const net::Mac kPeerMac{{2, 0, 0, 0, 0, 2}};

// Who checksums and segments.
enum class Offload : uint8_t { Port, Software };

// A packet that has left: the headers, and either the payload behind them or slices of it.
struct SentPacket {
  uint32_t header_bytes = 0;
  uint32_t payload_bytes = 0;
  uint32_t slice_count = 0;  // 0: the payload was copied
  std::array<net::Slice, abi::kMaxSegmentPieces> slices;
  alignas(64) std::array<uint8_t, 2048> bytes;
};

// Where the cycles of turns went. Everything but `turn` is measured only while `detailed`: reading
// the counter itself costs.
struct StageCycles {
  uint64_t turn = 0;
  uint64_t take = 0;    // parse, join, tcp_in
  uint64_t tcp_in = 0;  // lookup of the flow included
  uint64_t serve = 0;   // cipher, relay, tcp_output, build
  uint64_t cipher = 0;  // ipsec-mb's share
  uint64_t build = 0;   // next hop, headers, copies, and reap
  uint64_t reap = 0;    // release of what was sent
  uint64_t rest = 0;    // control's rings, timers
};

class BareWorker {
 public:
  BareWorker(uint32_t max_flows, Offload offload);
  ~BareWorker();
  BareWorker(const BareWorker&) = delete;
  BareWorker& operator=(const BareWorker&) = delete;

  // One burst of the client's port and one of the backend's.
  void turn(const net::FrameBatch& from_clients, const net::FrameBatch& from_backends, Micros now);

  // What the last turn has sent.
  uint32_t sent_count() const { return sent_count_; }
  const SentPacket& sent(uint32_t i) const { return ring_[i]; }

  // Plays control: answers every hello that has come with keys for `suite`, the client's port as
  // their seed, and no handshake. Outside of any measurement.
  void play_control(uint16_t suite);

  uint64_t count(abi::Counter counter) const { return counters_.get(counter); }
  uint32_t flows_active() const { return engine_->flows_active(); }
  Offload offload() const { return offload_; }

  StageCycles stages;
  bool detailed = false;

 private:
  // Packets of one turn at most. The next turn begins with the same ones again, as a pool gives
  // out first what came back last.
  static constexpr uint32_t kRing = 512;

  void meet_neighbors();
  void deliver(net::Segment& segment, Micros now);
  void take(const net::FrameBatch& batch, Micros now);
  bool emit(const net::Segment& segment);
  bool put(const net::Segment& segment, const net::Cut& cut, const net::Mac& destination);
  void reap();

  abi::Counters counters_;
  net::Interface interface_;
  net::NeighborTable neighbors_;
  tls::KeyCache key_cache_;
  tls::RecordLayer records_;
  net::RecordPool small_;
  net::RecordPool large_;
  tcp::TcpConfig tcp_config_;
  tcp::Pools pools_;
  tcp::Stack stack_;
  tcp::Listener listener_;
  std::unique_ptr<flow::Engine> engine_;
  abi::Region region_;
  abi::RingConsumer from_engine_;
  abi::RingProducer to_engine_;
  std::vector<void*> arenas_;

  Offload offload_;
  Micros now_ = 1'000'000'000;
  net::Packet packet_;
  net::Joiner joiner_;
  Micros met_us_ = 0;
  std::vector<SentPacket> ring_;
  uint32_t sent_count_ = 0;
};

}  // namespace sluice::bench
