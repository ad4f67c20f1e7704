// Clients and backends that cost nothing: they answer exactly what a peer on a lossless link would,
// outside of whatever is measured. Payload is made before it is sent; what arrives is counted, and
// looked at only when `verify` is set.
//
// Segments carry timestamps and at most 1,448 bytes. A peer acknowledges every second full segment
// (RFC 5681 4.2); a packet that a port would have cut counts as its segments.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../unit/tls/fixture.h"
#include "bare_worker.h"
#include "net/frame.h"

namespace sluice::bench {

inline constexpr uint32_t kSegmentBytes = 1448;
inline constexpr uint32_t kRecordBytes = 16384;
inline constexpr uint32_t kMessageBytes = 1024;  // of a request, of a response

// A received packet's memory, as a port's ring would have filled it.
struct PacketBuffer : net::BufferOwner {
  static constexpr uint32_t kHeaderBytes = 14 + 20 + 20 + 12;  // Ethernet, IPv4, TCP, timestamps
  uint32_t payload_bytes = 0;
  net::Sum payload_sum = 0;
  bool free = true;
  alignas(64) std::array<uint8_t, 2048> bytes;
  uint8_t* payload() { return bytes.data() + kHeaderBytes; }
};

// Buffers in rotation, as a receive ring reuses them.
class PacketRing {
 public:
  explicit PacketRing(uint32_t buffers);
  PacketBuffer& take();
  PacketBuffer& at(uint32_t index) { return buffers_[index]; }
  uint32_t size() const { return static_cast<uint32_t>(buffers_.size()); }

 private:
  std::vector<PacketBuffer> buffers_;
  uint32_t next_ = 0;
};

void fill_payload(PacketBuffer& buffer, const uint8_t* data, uint32_t length);

// One end of a connection with the worker.
struct Peer {
  net::FlowTuple tuple;  // as the worker sees it
  uint32_t snd_nxt = 1000;
  uint32_t snd_una = 1000;
  uint32_t snd_wnd = 0;
  uint32_t rcv_nxt = 0;
  uint32_t ts_recent = 0;
  uint8_t shift = 0;
  bool connected = false;
  uint32_t unacknowledged = 0;  // full segments received since the last ACK
  uint64_t received_bytes = 0;
  uint64_t opened_bytes = 0;  // of them, or of their plaintext, looked at
  std::vector<uint32_t> acks;     // owed, in order
  std::vector<uint8_t> received;  // when verifying: what has not been looked at
};

// What the backends' segments carry.
enum class Workload : uint8_t { Bulk, Messages };

struct PeersConfig {
  uint32_t clients = 1;
  uint16_t suite = 0;
  Workload workload = Workload::Bulk;
  bool verify = false;
};

class Peers {
 public:
  Peers(BareWorker& worker, const PeersConfig& config);

  // All clients shake hands, and the worker connects them to backends.
  void connect_all();
  // Moves at least `bytes` over connection 0. Returns the application bytes that were moved.
  uint64_t download(uint64_t bytes);
  uint64_t upload(uint64_t bytes);
  // One request and its response on each of `count` connections, `burst` at a time, beginning where
  // the last call ended.
  void exchange(uint32_t count, uint32_t burst);

  uint64_t frames_in() const { return frames_in_; }
  uint64_t frames_out() const { return frames_out_; }
  bool correct() const { return correct_; }

 private:
  struct Shape {  // of one packet to the worker
    uint8_t flags = net::kAck;
    uint32_t ack = 0;
    const net::TcpOptions* options = nullptr;
  };

  void put(net::FrameBatch& batch, Peer& peer, PacketBuffer& buffer, const Shape& shape);
  void put_acks(net::FrameBatch& batch, PacketRing& ring, Peer& peer);
  void put_syn(net::FrameBatch& batch, Peer& peer, uint8_t flags);
  void turn();
  void hear(const SentPacket& packet);
  void hear_data(Peer& peer, const SentPacket& packet);
  Peer& only_backend();
  Peer& peer_of(const SentPacket& packet, bool& is_client);
  void refill_sealed();
  void seal_requests(uint32_t first, uint32_t count);
  void check_client(Peer& client, uint32_t number);
  void check_backend(Peer& backend);
  bool matches(const uint8_t* bytes, uint32_t length, uint64_t position) const;

  BareWorker& worker_;
  PeersConfig config_;
  uint32_t period_;  // of the pattern that all plaintext is
  bool correct_ = true;
  Micros now_ = 1'000'100'000;
  std::vector<Peer> clients_;
  std::vector<Peer> backends_;       // by the worker's source port
  std::vector<tls::FlowKeys> keys_;  // the clients' ends
  std::unique_ptr<tls::test::End> end_;
  PacketRing empty_;
  PacketRing data_;      // payload that never changes
  PacketRing requests_;  // one for each client, or a ring of sealed segments
  std::vector<uint8_t> pattern_;
  std::vector<uint8_t> sealed_;
  size_t sealed_at_ = 0;
  uint64_t uploaded_ = 0;  // plaintext bytes sealed
  uint32_t next_client_ = 0;
  net::FrameBatch from_clients_;
  net::FrameBatch from_backends_;
  std::vector<uint16_t> responding_;  // backends that got a whole request
  uint64_t frames_in_ = 0;
  uint64_t frames_out_ = 0;
};

}  // namespace sluice::bench
