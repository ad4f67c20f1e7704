// The worker's loop in virtual time: packets that have arrived, serve, control, timers.
#include "world.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "net/limits.h"

namespace sluice::flow::test {

namespace {

constexpr uint32_t kKeyCacheEntries = 64;
constexpr Micros kPollUs = 10;  // between two turns of a busy worker

tcp::Secrets make_secrets() {
  tcp::Secrets secrets;
  secrets.isn.fill(11);
  secrets.timestamp.fill(12);
  secrets.cookie.fill(13);
  return secrets;
}

void* fill_pool(net::RecordPool& pool, uint32_t buffers) {
  const size_t bytes = size_t{net::RecordPool::object_bytes(pool.capacity_bytes())} * buffers;
  void* const arena = std::aligned_alloc(64, bytes);
  pool.add_arena(arena, bytes);
  return arena;
}

EngineConfig engine_config(const WorldConfig& config, Micros now) {
  EngineConfig engine;
  engine.max_flows = config.max_flows;
  engine.handshake_wait_us = config.handshake_wait_us;
  engine.idle_timeout_us = config.idle_timeout_us;
  engine.linger_us = config.linger_us;
  engine.record_size = config.record_size;
  engine.listeners = {{kTlsService, Protocol::Tls, {}}, {kTcpService, Protocol::Tcp, kBackend}};
  engine.sources = config.sources;
  engine.core = config.core;
  engine.workers = config.workers;
  for (uint8_t i = 0; i < 16; ++i) engine.hash_key[i] = i;
  engine.start_us = now;
  return engine;
}

}  // namespace

World::World(const WorldConfig& with)
    : config(with),
      net(config.net),
      key_cache(kKeyCacheEntries, counters),
      records(tls::test::provider(), key_cache, counters, config.records),
      small(net::kSmallRecordBytes),
      large(net::kLargeRecordBytes),
      pools({config.nodes, 4096, 65536, 1024}),
      stack{config.tcp, pools, counters, SmallBuffers::of(small), make_secrets()},
      listener(config.tcp, stack.secrets),
      control(config.endpoints),
      client_host(net, config.net.seed + 1),
      backend_host(net, config.net.seed + 2),
      heap_before_(HeapBuffer::live()) {
  small_arena_ = fill_pool(small, config.small_buffers);
  large_arena_ = fill_pool(large, config.large_buffers);
  const Output output{this, [](void* self, const net::Segment& segment) {
                        return static_cast<World*>(self)->emit(segment);
                      }};
  engine = std::make_unique<Engine>(
      engine_config(config, now),
      EngineResources{small, large, counters, records, stack, listener, output});
  control.on_record = [this](FakeControl& from, FakeControl::Handshake& handshake) {
    toy_handshake(from, handshake);
  };
  backend_host.listen(kBackend, [](Peer&) {});
  if (config.with_control) control.attach(*engine, now);
}

World::~World() {
  engine.reset();
  std::free(small_arena_);
  std::free(large_arena_);
}

abi::SocketAddress World::next_client_address() { return {kClientAddress, next_client_port_++}; }

bool World::emit(const net::Segment& segment) {
  if (nic_full || (nic_full_permille != 0 && net.random(1000) < nic_full_permille)) {
    ++segments_refused;
    return false;
  }
  Wire wire = capture(segment);
  if (tap) tap(wire);
  if (segment.tuple.remote.address == kRawAddress) {
    raw_inbox.push_back(std::move(wire));
  } else {
    net.send(std::move(wire), now);
  }
  return true;
}

void World::raw_input(const Wire& wire) {
  deliver(wire, 0, [this](net::Segment& segment) { engine->input(segment, now); });
}

void World::raw_connect(uint16_t port, const abi::SocketAddress& service, const Bytes& data) {
  Wire syn;
  syn.tuple = {{kRawAddress, port}, service};
  syn.seq = 1000;
  syn.window = 65535;
  syn.flags = net::kSyn;
  syn.options.mss = 1460;
  const size_t before = raw_inbox.size();
  raw_input(syn);
  ASSERT_EQ(raw_inbox.size(), before + 1) << "no SYN-ACK";
  const Wire reply = raw_inbox.back();
  ASSERT_EQ(reply.flags & (net::kSyn | net::kAck), net::kSyn | net::kAck);
  Wire ack = syn;
  ack.seq = 1001;
  ack.ack = reply.seq + 1;
  ack.flags = net::kAck;
  ack.options = {};
  ack.payload = data;
  raw_input(ack);
}

void World::receive() {
  Wire wire;
  for (uint32_t i = 0; i < max_step_inputs && net.receive(now, wire); ++i) {
    const abi::IpAddress& to = wire.tuple.remote.address;
    if (to == kTlsService.address || to == kSourceAddress) {
      const uint32_t cuts = net.random(3);
      deliver(wire, cuts, [this](net::Segment& segment) { engine->input(segment, now); });
    } else if (to == kBackend.address) {
      backend_host.input(wire, now);
    } else {
      client_host.input(wire, now);
    }
  }
}

Micros World::next_at() const {
  Micros at = std::min({net.next_at(), engine->next_expiry_us(), client_host.next_at(),
                        backend_host.next_at(), control.next_at()});
  if (engine->work_pending() || (!control_closed_to_engine && engine->control_pending())) {
    at = std::min(at, now + kPollUs);
  }
  return at;
}

bool World::step() {
  const Micros at = next_at();
  if (at == tcp::kNever) return false;
  now = std::max(at, now + 1);
  receive();
  if (engine->work_pending()) engine->serve(now);
  control.step(now);
  if (!control_closed_to_engine && engine->control_poll(now)) engine->serve(now);
  engine->advance(now);
  control.step(now);
  client_host.pump(now);
  backend_host.pump(now);
  return true;
}

void World::run_for(Micros duration_us) {
  const Micros end = now + duration_us;
  while (next_at() <= end && step()) {
  }
  now = std::max(now, end);
}

bool World::idle() const {
  if (engine->flows_active() != 0 || net.next_at() != tcp::kNever) return false;
  if (client_host.has_unread() || backend_host.has_unread()) return false;
  for (const auto& peer : client_host.peers) {
    if (!peer->closed && peer->tcb.snd_una != peer->tcb.snd_max) return false;
  }
  return true;
}

uint64_t World::closes(abi::CloseReason reason) const {
  return counters
      .values()[static_cast<uint16_t>(abi::Counter::close_none) + static_cast<uint16_t>(reason)];
}

void World::expect_clean(Micros limit_us) {
  EXPECT_TRUE(run_until_idle(limit_us)) << "a flow hangs";
  if (engine->flows_active() != 0) return;
  EXPECT_EQ(small.in_use(), 0U);
  EXPECT_EQ(large.in_use(), 0U);
  EXPECT_TRUE(pools.all_returned());
  EXPECT_EQ(key_cache.used(), 0U);
  EXPECT_EQ(control.bad_messages, 0U);
  EXPECT_EQ(count(abi::Counter::flows_active), 0U);
  EXPECT_EQ(count(abi::Counter::flows_waiting_for_control), 0U);
  EXPECT_EQ(count(abi::Counter::flows_opened), count(abi::Counter::flows_closed));
  uint64_t closed = 0;
  for (uint16_t reason = 0; reason < abi::kCloseReasons; ++reason) {
    closed += closes(static_cast<abi::CloseReason>(reason));
  }
  EXPECT_EQ(closed, count(abi::Counter::flows_closed));
  EXPECT_EQ(closes(abi::CloseReason::none), 0U);
  // TIME_WAIT entries are all that may remain, and they go too.
  run_for(config.tcp.time_wait_us + 10'000'000);
  engine->advance(now);
  EXPECT_EQ(count(abi::Counter::time_wait_entries), 0U);
  EXPECT_FALSE(engine->work_pending());
  client_host.release_all();
  backend_host.release_all();
  EXPECT_EQ(HeapBuffer::live(), heap_before_) << "packet buffers have leaked";
}

void World::expect_clean(abi::CloseReason only_reason, Micros limit_us) {
  expect_clean(limit_us);
  EXPECT_EQ(closes(only_reason), count(abi::Counter::flows_closed))
      << abi::close_reason_name(static_cast<uint16_t>(only_reason));
  if (closes(only_reason) == count(abi::Counter::flows_closed)) return;
  for (uint16_t reason = 0; reason < abi::kCloseReasons; ++reason) {
    const uint64_t times = closes(static_cast<abi::CloseReason>(reason));
    if (times != 0) ADD_FAILURE() << times << " closed for " << abi::close_reason_name(reason);
  }
}

abi::InstallKeys World::keys_of(uint16_t client_port) const {
  const tls::test::Variant suite =
      config.suites.empty() ? config.suite : config.suites[client_port % config.suites.size()];
  abi::InstallKeys keys = tls::test::make_keys(suite, client_port);
  if (change_keys) change_keys(keys);
  return keys;
}

void World::toy_handshake(FakeControl& from, FakeControl::Handshake& handshake) {
  if (handshake.installed) return;
  if (handshake.records.size() == 1) {
    from.transmit(handshake, pattern(flight_bytes, handshake.begin.client.port));
  }
  if (handshake.records.size() == handshake_records) {
    from.install(handshake, keys_for(handshake), static_cast<uint32_t>(handshake.stream.size()),
                 kBackend);
  }
}

void answer_with(World& world, const Bytes& down) {
  world.backend_host.listen(kBackend, [down](Peer& peer) {
    peer.on_data = [down](Peer& self) {
      if (!self.finished_by_peer || self.finish) return;
      self.write(down);
      self.finish = true;
    };
  });
}

Bytes join(std::initializer_list<Bytes> parts) {
  Bytes all;
  for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

Bytes pattern(size_t length, uint32_t seed) {
  Bytes bytes(length);
  uint32_t state = seed * 2654435761U + 1;
  for (size_t i = 0; i < length; ++i) {
    if (i % 4 == 0) state = state * 1664525U + 1013904223U;
    bytes[i] = static_cast<uint8_t>(state >> (8 * (i % 4)));
  }
  return bytes;
}

}  // namespace sluice::flow::test
