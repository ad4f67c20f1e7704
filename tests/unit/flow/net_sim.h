// A network in virtual time: packets are deep copies that arrive later, late, twice or never, by a
// seed. No real time, no sockets.
#pragma once

#include <cstdint>
#include <queue>
#include <random>
#include <vector>

#include "net/segment.h"
#include "tcp/stack.h"

namespace sluice::flow::test {

using Bytes = std::vector<uint8_t>;
using tcp::Micros;

// Memory like a packet buffer's, counted: what is left at the end of a test has leaked.
class HeapBuffer : public net::BufferOwner {
 public:
  // One reference. `truesize_bytes` 0: what the bytes need.
  static HeapBuffer* create(const uint8_t* data, size_t length, uint32_t truesize_bytes = 0);
  static uint64_t live() { return live_; }
  net::Slice slice(uint32_t offset, uint32_t length) {
    return {bytes_.data() + offset, length, this};
  }
  uint32_t length() const { return static_cast<uint32_t>(bytes_.size()); }

 private:
  static void destroy(net::BufferOwner* owner);
  static inline uint64_t live_ = 0;
  Bytes bytes_;
};

// A segment with its payload copied together. The tuple is its sender's.
struct Wire {
  net::FlowTuple tuple;
  uint32_t seq = 0;
  uint32_t ack = 0;
  uint16_t window = 0;
  uint8_t flags = 0;
  net::TcpOptions options;
  Bytes payload;
};
Wire capture(const net::Segment& segment);

// Gives `receive` the packet as its receiver sees it: tuple turned around, payload in `cuts` + 1
// slices of one packet buffer.
template <class Receive>
void deliver(const Wire& wire, uint32_t cuts, Receive&& receive) {
  net::Segment segment;
  segment.tuple = {wire.tuple.remote, wire.tuple.local};
  segment.seq = wire.seq;
  segment.ack = wire.ack;
  segment.window = wire.window;
  segment.flags = wire.flags;
  segment.options = wire.options;
  constexpr uint32_t kPacketBufferBytes = 2304;
  const auto length = static_cast<uint32_t>(wire.payload.size());
  HeapBuffer* const buffer =
      HeapBuffer::create(wire.payload.data(), length, std::max(kPacketBufferBytes, length + 256));
  const uint32_t step = length / (cuts + 1) + 1;
  for (uint32_t at = 0; at < length; at += step) {
    segment.payload.append(buffer->slice(at, std::min(step, length - at)));
  }
  receive(segment);
  net::release(buffer);
}

struct NetConfig {
  Micros delay_us = 200;
  Micros jitter_us = 0;  // more than a packet's time: reordering
  uint32_t loss_permille = 0;
  uint32_t duplicate_permille = 0;
  uint32_t seed = 1;
};

class NetSim {
 public:
  explicit NetSim(const NetConfig& config) : config_(config), random_(config.seed) {}
  void send(Wire wire, Micros now);
  // The next packet that has arrived by `now`.
  bool receive(Micros now, Wire& out);
  Micros next_at() const { return queue_.empty() ? tcp::kNever : queue_.top().at; }
  NetConfig& config() { return config_; }
  uint32_t random(uint32_t below) { return static_cast<uint32_t>(random_()) % below; }

 private:
  struct Packet {
    Micros at;
    uint64_t number;
    Wire wire;
    bool operator<(const Packet& other) const {  // the queue's top is the earliest
      return at != other.at ? at > other.at : number > other.number;
    }
  };

  NetConfig config_;
  std::mt19937 random_;
  uint64_t sent_ = 0;
  std::priority_queue<Packet> queue_;
};

}  // namespace sluice::flow::test
