// What TCP tests stand on: counted buffers, small buffers, a stack with its connection, and
// segments that are copied as a wire would copy them. Everything counts what it hands out, so that
// a test can ask whether all of it came back.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <random>
#include <vector>

#include "abi/counters.h"
#include "net/segment.h"
#include "tcp/connection.h"
#include "tcp/input.h"
#include "tcp/output.h"
#include "tcp/pools.h"
#include "tcp/tcb.h"

namespace sluice::testbed {

// Seeded; the same numbers on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  uint32_t operator()() { return static_cast<uint32_t>(engine_()); }
  uint64_t below(uint64_t limit) { return limit == 0 ? 0 : engine_() % limit; }
  uint64_t between(uint64_t low, uint64_t high) { return low + below(high - low + 1); }
  bool chance(double probability) {
    return static_cast<double>(engine_() >> 11) * 0x1p-53 < probability;
  }
  template <class T>
  T pick(std::initializer_list<T> choices) {
    return *(choices.begin() + below(choices.size()));
  }

 private:
  std::mt19937_64 engine_;
};

// Heap buffers with a count of those alive.
class Buffers {
 public:
  // A slice of its own buffer, one reference. `truesize_bytes` is at least the length.
  net::Slice make(const uint8_t* bytes, uint32_t length, uint32_t truesize_bytes) {
    auto* buffer = new Buffer;
    buffer->owner.truesize_bytes = truesize_bytes;
    buffer->owner.release = &Buffers::release;
    buffer->live = &live_;
    buffer->memory.assign(bytes, bytes + length);
    ++live_;
    return {buffer->memory.data(), length, &buffer->owner};
  }
  uint32_t live() const { return live_; }

 private:
  struct Buffer {
    net::BufferOwner owner;
    uint32_t* live;
    std::vector<uint8_t> memory;
  };
  static void release(net::BufferOwner* owner) {
    auto* buffer = reinterpret_cast<Buffer*>(owner);
    --*buffer->live;
    delete buffer;
  }
  uint32_t live_ = 0;
};

// A bounded pool for tcp::SmallBufferPool.
class SmallBuffers {
 public:
  SmallBuffers(uint32_t count, uint32_t capacity_bytes) : left_(count), capacity_(capacity_bytes) {}
  tcp::SmallBufferPool hook() { return {&SmallBuffers::take, &SmallBuffers::release, this}; }
  uint32_t live() const { return live_; }

 private:
  struct Buffer {
    tcp::SmallBuffer small;
    SmallBuffers* pool;
    std::vector<uint8_t> memory;
  };
  static tcp::SmallBuffer* take(void* context) {
    auto* pool = static_cast<SmallBuffers*>(context);
    if (pool->left_ == 0) return nullptr;
    --pool->left_;
    ++pool->live_;
    auto* buffer = new Buffer;
    buffer->pool = pool;
    buffer->memory.resize(pool->capacity_);
    buffer->small.owner.truesize_bytes = pool->capacity_ + 128;
    buffer->small.owner.release = &SmallBuffers::release;
    buffer->small.data = buffer->memory.data();
    buffer->small.capacity_bytes = pool->capacity_;
    return &buffer->small;
  }
  static void release(net::BufferOwner* owner) {
    auto* buffer = reinterpret_cast<Buffer*>(owner);
    ++buffer->pool->left_;
    --buffer->pool->live_;
    delete buffer;
  }
  uint32_t left_;
  uint32_t capacity_;
  uint32_t live_ = 0;
};

// A segment with its own copy of the payload: what a wire carries.
struct WireSegment {
  net::Segment header;  // payload empty
  std::vector<uint8_t> payload;
};

inline WireSegment to_wire(const net::Segment& segment) {
  WireSegment wire;
  wire.header = segment;
  wire.header.payload.clear();
  for (uint32_t i = 0; i < segment.payload.count; ++i) {
    const net::Slice& piece = segment.payload.pieces[i];
    wire.payload.insert(wire.payload.end(), piece.data, piece.data + piece.length);
  }
  return wire;
}

inline net::FlowTuple reversed(const net::FlowTuple& tuple) { return {tuple.remote, tuple.local}; }

inline net::FlowTuple default_tuple() {
  net::FlowTuple tuple;
  tuple.local = {abi::IpAddress::from_ipv4(0x0a630202), 443};
  tuple.remote = {abi::IpAddress::from_ipv4(0x0a630102), 40001};
  return tuple;
}

// One worker's stack and one connection of it.
struct Host {
  tcp::TcpConfig config;
  tcp::Pools pools;
  abi::Counters counters;
  Buffers buffers;
  SmallBuffers small;
  tcp::Stack stack;
  tcp::Tcb tcb;

  explicit Host(const tcp::TcpConfig& settings, uint32_t node_count = 4096, uint8_t seed = 1)
      : Host(settings, tcp::PoolSizes{node_count, 1, node_count / 4, 1}, seed) {}
  Host(const tcp::TcpConfig& settings, const tcp::PoolSizes& sizes, uint8_t seed)
      : config(settings),
        pools(sizes),
        small(512, 2048),
        stack{config, pools, counters, small.hook(), {}} {
    stack.secrets.isn.fill(seed);
    stack.secrets.timestamp.fill(static_cast<uint8_t>(seed + 1));
    stack.secrets.cookie.fill(static_cast<uint8_t>(seed + 2));
  }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  // As the NIC delivers it: the payload in packet buffers of `truesize_bytes`.
  tcp::InputResult receive(const WireSegment& wire, tcp::Micros now,
                           uint32_t truesize_bytes = 2304) {
    net::Segment segment = wire.header;
    segment.payload.clear();
    constexpr uint32_t kPiece = 2048;
    for (uint32_t at = 0; at < wire.payload.size(); at += kPiece) {
      const auto length =
          std::min<uint32_t>(kPiece, static_cast<uint32_t>(wire.payload.size()) - at);
      segment.payload.append(
          buffers.make(wire.payload.data() + at, length, std::max(truesize_bytes, length)));
    }
    const net::Chain held = segment.payload;
    const tcp::InputResult result = tcp::tcp_input(stack, tcb, segment, now);
    for (uint32_t i = 0; i < held.count; ++i) net::release(held.pieces[i].owner);
    tcp::check_invariants(stack, tcb);
    return result;
  }
  template <class Emit>
  void output(Emit&& emit, tcp::Micros now) {
    tcp::tcp_output(stack, tcb, emit, now);
    tcp::check_invariants(stack, tcb);
  }
  bool send(const uint8_t* bytes, uint32_t length) {
    const net::Slice slice = buffers.make(bytes, length, length + 64);
    if (tcp::tcp_send(stack, tcb, slice)) return true;
    net::release(slice.owner);
    return false;
  }
  // Nothing of the pools is out any more.
  bool all_returned() const {
    return pools.all_returned() && buffers.live() == 0 && small.live() == 0;
  }
};

}  // namespace sluice::testbed
