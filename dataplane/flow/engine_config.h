// What an engine is made of: its configuration, and what it uses and does not own.
#pragma once

#include <cstdint>
#include <vector>

#include "abi/counters.h"
#include "abi/limits.h"
#include "flow/flow.h"
#include "flow/source_limit.h"
#include "net/record_pool.h"
#include "net/rss.h"
#include "net/segment.h"
#include "tcp/listen.h"
#include "tcp/stack.h"
#include "tls/keys.h"

namespace sluice::flow {

// Where segments leave. `emit` returns false when there is no room now: the segment is kept and
// offered again in the next poll.
struct Output {
  void* context = nullptr;
  bool (*emit)(void* context, const net::Segment& segment) = nullptr;
  bool operator()(const net::Segment& segment) const { return emit(context, segment); }
};

struct ListenerConfig {
  abi::SocketAddress address;
  Protocol protocol = Protocol::Tls;
  abi::SocketAddress backend;  // of a Tcp listener
};

// An own address from which backends behind `prefix` are reached.
struct SourceAddress {
  abi::IpAddress address;
  uint8_t prefix_bits = 32;  // of the subnet, in IPv4 bits for an IPv4 address
  bool has_gateway = false;  // also reaches what is in no subnet
  // How its port spreads what it receives; outlives the engine. Null: the workers do it.
  const net::RssMap* rss = nullptr;
};

// Records to clients: one segment each until so many bytes have gone without an idle time, then as
// long as they may be. 64 KiB: a slow start from ten segments sends them in three round trips, and
// from then on a full record is a small part of what is in flight. One second: the initial RTO of
// RFC 6298, when TCP begins anew as well.
struct RecordSize {
  bool dynamic = true;
  uint32_t full_after_bytes = 64 * 1024;
  Micros idle_us = 1'000'000;
};

struct EngineConfig {
  uint16_t core = 0;  // worker number
  uint16_t workers = 1;
  uint32_t max_flows = abi::kDefaultMaxFlows;
  SourceLimit source_limit;
  Micros handshake_wait_us = 10'000'000;
  Micros idle_timeout_us = 300'000'000;
  Micros linger_us = 5'000'000;  // a closing flow waits so long for the client to read
  RecordSize record_size;
  std::vector<ListenerConfig> listeners;
  std::vector<SourceAddress> sources;
  uint8_t hash_key[16] = {};
  uint32_t max_time_wait = 65536;
  Micros start_us = 0;  // the time at construction
};

// What the engine uses and does not own. All belong to the same worker.
struct EngineResources {
  net::RecordPool& small_buffers;
  net::RecordPool& large_buffers;  // hold any record, sealed or opened
  abi::Counters& counters;
  tls::RecordLayer& records;
  tcp::Stack& stack;
  tcp::Listener& listener;
  Output output;
};

// Messages to control for one flow in one turn: a handshake in tiny records leaves room for others.
inline constexpr uint32_t kMaxChunksPerTurn = 16;
// Out-of-order text kept before the keys: a ClientHello needs little, and whoever sends it has
// proven nothing but an address.
inline constexpr uint32_t kMaxEarlyOutOfOrderBytes = 16 * 1024;
// Flow indices looked at in one turn of a listing.
inline constexpr uint32_t kListingScan = 256;
// Flow indices looked at in one turn when packet buffers are scarce.
inline constexpr uint32_t kReliefScan = 64;
// A record in too many pieces is put together here.
inline constexpr uint32_t kScratchBytes = abi::kRecordHeaderBytes + abi::kMaxCiphertext12Bytes;

}  // namespace sluice::flow
