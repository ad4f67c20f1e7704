// What all connections of one worker share: configuration, pools, counters, secrets.
#pragma once

#include <cstdint>

#include "abi/counters.h"
#include "abi/limits.h"
#include "net/segment.h"
#include "tcp/node_pool.h"
#include "tcp/siphash.h"

namespace sluice::tcp {

using Micros = uint64_t;  // monotonic microseconds, handed in by the caller
inline constexpr Micros kNever = UINT64_MAX;
inline constexpr Micros kSecond = 1'000'000;

// A moment in milliseconds, modulo 2^32: for differences below 49 days.
using Millis32 = uint32_t;
inline Millis32 to_millis(Micros moment) { return static_cast<Millis32>(moment / 1000); }
inline Micros since(Millis32 then, Micros now) {
  return static_cast<Micros>(to_millis(now) - then) * 1000;
}

struct CongestionOps;
struct Pools;                       // pools.h
extern const CongestionOps kCubic;  // congestion.h

// How scarce the memory is that all connections of a worker share. Windows shrink before anything
// is dropped: Soft comes well before Hard.
enum class Pressure : uint8_t {
  None,
  Soft,  // windows neither grow nor are opened again beyond kReceiveFloorBytes
  Hard,  // also: nothing is kept out of order, and what is in order is copied or refused
};

struct TcpConfig {
  uint32_t mtu_bytes = 1500;  // of the port; the MSS we announce follows from it
  uint32_t mss_clamp = 0;     // most that is announced or sent as an MSS; 0: what the MTU allows
  // Payload of one emitted segment where the port segments (TSO), at most 65,000; 0: one MSS.
  uint32_t tso_bytes = 0;

  // Truesize of the buffers that one connection may hold in its receive queue and reassembly list:
  // at first, and where the peer fills it round trip after round trip (receive_space.h).
  uint32_t receive_initial_bytes = abi::kReceiveInitialBytes;
  uint32_t receive_limit_bytes = abi::kReceiveLimitBytes;
  // The same of its send queue: beside twice cwnd, and the most.
  uint32_t send_initial_bytes = abi::kSendInitialBytes;
  uint32_t send_limit_bytes = abi::kSendLimitBytes;

  Micros rto_initial_us = 1 * kSecond;       // RFC 6298 2.1
  Micros rto_min_us = 200'000;               // RFC 6298 2.4 says 1 s; 200 ms is what everyone runs
  Micros rto_max_us = 60 * kSecond;          // RFC 6298 2.5
  Micros delayed_ack_us = 40'000;            // RFC 9293 3.8.6.3: below 500 ms
  Micros user_timeout_us = 100 * kSecond;    // RFC 9293 3.8.3: R2 is at least 100 s
  Micros connect_timeout_us = 10 * kSecond;  // until the handshake is done, active open
  Micros time_wait_us = 60 * kSecond;        // 2 MSL
  Micros fin_wait2_us = 300 * kSecond;       // our FIN acknowledged and nothing heard; 0: for ever

  Micros keepalive_idle_us = 0;  // RFC 9293 3.8.4; 0: off
  Micros keepalive_interval_us = 75 * kSecond;
  uint8_t keepalive_probes = 9;

  uint8_t challenge_acks_per_second = 10;  // per connection, RFC 5961 7

  bool ecn = true;      // RFC 3168: offered to backends, accepted from clients
  bool pacing = false;  // new data is spread over the round trip

  const CongestionOps* congestion = &kCubic;
};

// A small buffer into which received bytes are copied together, so that tiny segments cannot pin
// packet buffers. `owner` first: the owner that queues see is this struct.
struct SmallBuffer {
  net::BufferOwner owner;
  uint8_t* data = nullptr;
  uint32_t capacity_bytes = 0;
  uint32_t used_bytes = 0;  // set to 0 by take; TCP's afterwards
};

// Where small buffers come from. Without `take` nothing is copied together.
struct SmallBufferPool {
  SmallBuffer* (*take)(void* context) = nullptr;       // one reference; null when none is free
  void (*release)(net::BufferOwner* owner) = nullptr;  // as in every owner that take returns
  void* context = nullptr;
};

// Random, the same in all workers of a process, never shown.
struct Secrets {
  SipHashKey isn{};        // RFC 6528
  SipHashKey timestamp{};  // offsets of tsval
  SipHashKey cookie{};     // SYN cookies; the rotating keys are derived from it
};

struct Stack {
  Stack(const TcpConfig& with, Pools& of, abi::Counters& count, const SmallBufferPool& small,
        const Secrets& hidden);

  const TcpConfig& config;
  Pools& pools;
  SliceNodePool& nodes;  // of the pools
  abi::Counters& counters;
  SmallBufferPool small_buffers;
  Secrets secrets;
  // Set by the owner now and then, by how many packet buffers and nodes connections hold.
  Pressure pressure = Pressure::None;
  // The most that a send queue may hold now; set by the owner from the memory that is left, at most
  // config.send_limit_bytes.
  uint32_t send_limit_bytes;
};

}  // namespace sluice::tcp
