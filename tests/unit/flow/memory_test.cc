// What an idle connection costs, in fixed memory: by the sizes of what each has, and by what the
// process really holds with a million of them.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "../tls/fixture.h"
#include "flow/engine.h"
#include "flow/small_buffers.h"
#include "tls/key_cache.h"

namespace sluice::flow::test {
namespace {

using abi::Counter;

constexpr uint64_t kMostBytes = 1024;  // of a flow, everything that is there for each of them
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
constexpr bool kSanitized = __has_feature(address_sanitizer);
#else
constexpr bool kSanitized = false;
#endif
constexpr uint32_t kFlows = kSanitized ? 100'000 : 1'000'000;

const abi::SocketAddress kService{abi::IpAddress::from_ipv4(0x0a63010a), 80};
const abi::SocketAddress kBackend{abi::IpAddress::from_ipv4(0x0a630202), 8080};

uint64_t resident_bytes() {
  std::FILE* const file = std::fopen("/proc/self/statm", "r");
  unsigned long total = 0;
  unsigned long resident = 0;
  if (file == nullptr || std::fscanf(file, "%lu %lu", &total, &resident) != 2) std::abort();
  std::fclose(file);
  return uint64_t{resident} * 4096;
}

// An engine between peers of whom only SYN-ACKs are known.
struct Bare {
  explicit Bare(uint32_t flows)
      : key_cache(64, counters),
        records(tls::test::provider(), key_cache, counters),
        small(2048),
        large(18'560),
        pools({1024, 1024, 1024, 1024}),
        stack{tcp_config, pools, counters, SmallBuffers::of(small), {}},
        listener(tcp_config, stack.secrets) {
    EngineConfig config;
    config.max_flows = flows;
    config.max_time_wait = 16;
    config.listeners = {{kService, Protocol::Tcp, kBackend}};
    for (uint32_t i = 0; i < 32; ++i) {  // ports for a million connections to one backend
      config.sources.push_back({abi::IpAddress::from_ipv4(0x0a63020a + i), 24, false, nullptr});
    }
    config.start_us = now;
    const Output output{this, [](void* self, const net::Segment& out) {
                          static_cast<Bare*>(self)->sent = out;
                          return true;
                        }};
    engine = std::make_unique<Engine>(
        config, EngineResources{small, large, counters, records, stack, listener, output});
  }

  void input(const net::FlowTuple& tuple, uint32_t seq, uint32_t ack, uint8_t flags) {
    segment.tuple = tuple;
    segment.seq = seq;
    segment.ack = ack;
    segment.flags = flags;
    segment.window = 65535;
    segment.options = net::TcpOptions{};
    segment.payload.clear();
    if ((flags & net::kSyn) != 0) segment.options.mss = 1460;
    engine->input(segment, now);
    engine->serve(now);
  }

  // A client's handshake, then the backend's. Returns whether the flow relays.
  void connect(uint32_t number) {
    const net::FlowTuple client{kService,
                                {abi::IpAddress::from_ipv4(0x0b000000 + number / 50'000),
                                 static_cast<uint16_t>(10'000 + number % 50'000)}};
    input(client, 1000, 0, net::kSyn);
    input(client, 1001, sent.seq + 1, net::kAck);  // our SYN to the backend follows
    const net::FlowTuple backend = sent.tuple;
    input(backend, 5000, sent.seq + 1, net::kSyn | net::kAck);
  }

  tcp::Micros now = 1'000'000'000;
  abi::Counters counters;
  tls::KeyCache key_cache;
  tls::RecordLayer records;
  net::RecordPool small;
  net::RecordPool large;
  tcp::TcpConfig tcp_config;
  tcp::Pools pools;
  tcp::Stack stack;
  tcp::Listener listener;
  std::unique_ptr<Engine> engine;
  net::Segment segment;
  net::Segment sent;
};

TEST(Memory, AMillionIdleFlows) {
  const uint64_t before = resident_bytes();
  auto bare = std::make_unique<Bare>(kFlows);
  for (uint32_t i = 0; i < kFlows; ++i) {
    bare->connect(i);
    bare->now += 10;
    if (i % 16 == 0) bare->engine->advance(bare->now);
  }
  ASSERT_EQ(bare->engine->flows_active(), kFlows);
  ASSERT_EQ(bare->counters.get(Counter::tcp_connects), kFlows);
  EXPECT_TRUE(bare->pools.all_returned()) << "an idle connection holds nothing of the pools";
  const uint64_t each = (resident_bytes() - before) / kFlows;
  std::printf("%u idle flows hold %lu bytes each\n", kFlows, static_cast<unsigned long>(each));
  // Engine, tables, wheel and all; a little of it does not grow with the flows. The sanitizer keeps
  // books of its own.
  EXPECT_TRUE(kSanitized || each <= kMostBytes + 16);
}

TEST(Memory, SizesOfWhatEachFlowHas) {
  const uint64_t wheel_node = 16;    // timer_wheel.h asserts it
  const uint64_t lists = 3 * 4;      // free, dirty, stalled
  const uint64_t table = 2 * 2 * 8;  // two tuples, at most half full
  EXPECT_LE(sizeof(Flow) + wheel_node + lists + table, kMostBytes);
  EXPECT_LE(sizeof(tcp::Tcb), 288U);
}

}  // namespace
}  // namespace sluice::flow::test
