// The worker's loop: one list of polls, run to completion.
//
//   turn(now): control's coming and going -> a burst of each port -> frames from other workers
//              -> serve the flows that were touched -> control's rings -> timers -> ARP -> transmit
//
// A frame is parsed where it arrives. TCP whose flow belongs to another worker is handed over with
// its buffer: client flows by the hash of their tuple, backend flows by their local port (worker w
// of n connects from ports p with p % n == w). ARP is answered where it arrives and shared with the
// rest.
//
// Time is read once a turn (vDSO, no system call). Under the `relax` policy a worker that found
// nothing for a while sleeps in ppoll on its wake socket, for at most kSleepUs or until the next
// timer.
#include "worker.h"

#include <poll.h>
#include <sys/random.h>
#include <time.h>

#include <algorithm>
#include <cstring>

#include "abi/assert.h"
#include "abi/sleep.h"
#include "crypto/provider.h"
#include "flow/engine.h"
#include "flow/small_buffers.h"
#include "net/icmp.h"
#include "net/neighbor.h"
#include "net/wire.h"
#include "tcp/pools.h"
#include "tls/key_cache.h"

namespace sluice::dataplane {

using abi::Counter;
using tcp::Micros;

namespace {

constexpr uint32_t kIdlePollsBeforeSleep = 64;
constexpr Micros kSleepUs = 50;
constexpr Micros kPublishUs = 1000;
constexpr uint32_t kKeyCacheEntries = 512;

Micros now_us() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<Micros>(time.tv_sec) * 1'000'000 + static_cast<Micros>(time.tv_nsec) / 1000;
}

}  // namespace

// One MSS is announced to everybody: that of the port with the smallest MTU.
static tcp::TcpConfig make_tcp_config(const abi::config::DataplaneConfig& config) {
  tcp::TcpConfig tcp;
  for (const auto& port : config.ports) {
    tcp.mtu_bytes = std::min<uint32_t>(tcp.mtu_bytes, port.mtu);
  }
  return tcp;
}

struct Worker::Impl {
  Impl(const WorkerSettings& settings, net::Nic& nic, crypto::Provider provider);

  bool turn(Micros now);
  void follow_control(Worker& worker, Micros now);
  void handle(const net::Frame& frame, bool redirected, Micros now);
  void handle_tcp(const net::Frame& frame, bool redirected, Micros now);
  uint16_t owner_of(const net::Segment& segment) const;
  bool emit(const net::Segment& segment);
  void drain_neighbors(uint32_t port, Micros now);
  void send_wake_ups();
  void publish(Micros now);
  void idle(Micros now);

  WorkerSettings settings;
  abi::Counters counters;
  net::NicWorker& nic;
  crypto::Provider provider;
  tls::KeyCache key_cache;
  tls::RecordLayer records;
  tcp::Pools pools;
  tcp::TcpConfig tcp_config;
  tcp::Stack stack;
  tcp::Listener listener;
  std::vector<std::unique_ptr<net::NeighborTable>> neighbors;  // by port
  net::IcmpResponder icmp;
  std::unique_ptr<flow::Engine> engine;
  net::FrameBatch batch;
  net::Packet packet;
  net::Segment segment;
  ControlLife* life = nullptr;
  Micros now = 0;
  Micros published_us = 0;
  uint32_t idle_polls = 0;
  bool relax = false;
};

// ---- Construction

namespace {

flow::EngineConfig engine_config(const WorkerSettings& settings) {
  const abi::config::DataplaneConfig& config = *settings.config;
  flow::EngineConfig engine;
  engine.start_us = now_us();
  engine.core = settings.number;
  engine.workers = settings.workers;
  engine.max_flows = config.max_connections;
  engine.handshake_wait_us = Micros{config.handshake_wait_ms} * 1000;
  engine.idle_timeout_us = Micros{config.idle_timeout_ms} * 1000;
  std::memcpy(engine.hash_key, settings.hash_key, sizeof engine.hash_key);
  for (const auto& listener : config.listeners) {
    const bool tls = listener.protocol == abi::config::ListenerProtocol::Tls;
    engine.listeners.push_back(
        {listener.address, tls ? flow::Protocol::Tls : flow::Protocol::Tcp, listener.backend});
  }
  for (const auto& port : config.ports) {
    for (const auto& address : port.addresses) {
      engine.sources.push_back({address.address, address.prefix_length, port.has_gateway});
    }
  }
  return engine;
}

}  // namespace

Worker::Impl::Impl(const WorkerSettings& with, net::Nic& all, crypto::Provider made)
    : settings(with),
      nic(all.worker(with.number, counters)),
      provider(std::move(made)),
      key_cache(kKeyCacheEntries, counters),
      records{provider, key_cache, counters},
      pools(tcp::PoolSizes::of(with.config->max_connections)),
      tcp_config(make_tcp_config(*with.config)),
      stack{tcp_config, pools, counters, flow::SmallBuffers::of(nic.small_records()), with.secrets},
      listener(tcp_config, stack.secrets),
      icmp(counters),
      relax(with.config->idle == abi::config::IdlePolicy::Relax) {
  for (uint32_t port = 0; port < nic.ports(); ++port) {
    neighbors.push_back(std::make_unique<net::NeighborTable>(nic.interface(port), counters));
    if (settings.number == 0) neighbors.back()->announce();
  }
  const flow::Output output{this, [](void* self, const net::Segment& out) {
                              return static_cast<Impl*>(self)->emit(out);
                            }};
  engine = std::make_unique<flow::Engine>(
      engine_config(settings), flow::EngineResources{nic.small_records(), nic.large_records(),
                                                     counters, records, stack, listener, output});
}

std::unique_ptr<Worker> Worker::create(const WorkerSettings& settings, net::Nic& nic,
                                       std::string& error) {
  auto provider = crypto::Provider::create();
  if (!provider) {
    error = "cryptography: " + std::string(crypto::to_string(provider.error()));
    return nullptr;
  }
  return std::unique_ptr<Worker>(
      new Worker(std::make_unique<Impl>(settings, nic, std::move(*provider))));
}

Worker::Worker(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Worker::~Worker() = default;

// ---- The loop

int Worker::run(void* argument) {
  Worker& worker = *static_cast<Worker*>(argument);
  Impl& self = *worker.impl_;
  while (!worker.stop_.load(std::memory_order_relaxed)) {
    self.now = now_us();
    self.follow_control(worker, self.now);
    const bool busy = self.turn(self.now);
    self.counters.add(Counter::polls);
    if (busy) {
      self.counters.add(Counter::busy_polls);
      self.idle_polls = 0;
    } else if (self.relax && ++self.idle_polls >= kIdlePollsBeforeSleep) {
      self.idle(self.now);
    }
  }
  self.now = now_us();
  self.engine->shutdown(self.now);
  for (int i = 0; i < 16 && self.nic.pending(); ++i) self.nic.flush();
  self.publish(self.now);
  worker.control_slot_.held.store(nullptr, std::memory_order_release);
  return 0;
}

bool Worker::Impl::turn(Micros at) {
  bool busy = false;
  for (uint32_t port = 0; port < nic.ports(); ++port) {
    if (nic.receive(port, batch) == 0) continue;
    busy = true;
    for (uint32_t i = 0; i < batch.count; ++i) handle(batch.frames[i], false, at);
  }
  if (settings.workers > 1 && nic.receive_redirected(batch) != 0) {
    busy = true;
    for (uint32_t i = 0; i < batch.count; ++i) handle(batch.frames[i], true, at);
  }
  if (engine->work_pending()) engine->serve(at);
  if (engine->control_poll(at)) {
    busy = true;
    engine->serve(at);
  }
  engine->advance(at);
  for (uint32_t port = 0; port < nic.ports(); ++port) {
    neighbors[port]->tick(at);
    drain_neighbors(port, at);
  }
  nic.flush();
  send_wake_ups();
  if (at - published_us >= kPublishUs) publish(at);
  return busy || engine->work_pending();
}

// ---- Frames in

void Worker::Impl::handle(const net::Frame& frame, bool redirected, Micros at) {
  const net::Interface& interface = nic.interface(frame.port);
  switch (net::parse_frame(frame, interface, packet, segment)) {
    case net::PacketKind::Tcp:
      return handle_tcp(frame, redirected, at);
    case net::PacketKind::Arp: {
      const auto input = neighbors[frame.port]->input(frame, packet, at, !redirected);
      if (input.conflict) counters.add(Counter::arp_conflicts);
      if (input.share && !redirected && settings.workers > 1) nic.share(frame);
      break;
    }
    case net::PacketKind::Icmp:
      if (const uint32_t length = icmp.reply(frame, packet, interface, at); length != 0) {
        nic.send_frame(frame.port, {frame.data, length});
      }
      break;
    case net::PacketKind::Drop:
      counters.add(packet.drop);
      break;
  }
  net::release_frame(frame);
}

void Worker::Impl::handle_tcp(const net::Frame& frame, bool redirected, Micros at) {
  if (settings.workers > 1 && !redirected) {
    const uint16_t owner = owner_of(segment);
    if (owner != settings.number) {
      nic.redirect(owner, frame);
      return;
    }
  }
  engine->input(segment, at);
  net::release_frame(frame);
}

// The worker of a segment: a backend's answer goes to a port that names it, all else by hash.
uint16_t Worker::Impl::owner_of(const net::Segment& in) const {
  if (in.tuple.local.port >= flow::kFirstBackendPort && !engine->listens_on(in.tuple.local)) {
    return static_cast<uint16_t>((in.tuple.local.port - flow::kFirstBackendPort) %
                                 settings.workers);
  }
  return static_cast<uint16_t>(flow::hash_tuple(settings.hash_key, in.tuple) % settings.workers);
}

// ---- Segments out

bool Worker::Impl::emit(const net::Segment& out) {
  for (uint32_t port = 0; port < nic.ports(); ++port) {
    const net::Interface& interface = nic.interface(port);
    if (!interface.owns(out.tuple.local.address)) continue;
    abi::IpAddress hop;
    if (!interface.next_hop(out.tuple.remote.address, hop)) return true;
    net::Mac mac;
    if (neighbors[port]->lookup(hop, now, mac)) {
      if (!nic.send(port, out, mac)) return false;
    } else if (const uintptr_t prepared = nic.prepare(port, out); prepared != 0) {
      if (!neighbors[port]->park(hop, prepared)) nic.drop_prepared(prepared);
    }
    return true;
  }
  return true;  // an address that no port has: TCP will retransmit and give up
}

void Worker::Impl::drain_neighbors(uint32_t port, Micros) {
  uint8_t frame[net::kArpFrameBytes];
  while (const uint32_t length = neighbors[port]->next_frame(frame)) {
    nic.send_frame(port, {frame, length});
  }
  net::Unparked unparked;
  while (neighbors[port]->next_unparked(unparked)) {
    if (unparked.resolved) {
      nic.send_prepared(port, unparked.packet, unparked.mac);
    } else {
      nic.drop_prepared(unparked.packet);
    }
  }
}

// ---- Control

void Worker::Impl::follow_control(Worker& worker, Micros at) {
  ControlLife* const wanted = worker.control_slot_.wanted.load(std::memory_order_acquire);
  if (wanted == life) return;
  if (life != nullptr) engine->detach(at);
  life = wanted;
  if (life != nullptr) {
    engine->attach(&life->attached.region, at);
    publish(at);
  }
  worker.control_slot_.held.store(life, std::memory_order_release);
}

void Worker::Impl::send_wake_ups() {
  if (life == nullptr) return;
  uint32_t endpoints = engine->take_wake_ups();
  while (endpoints != 0) {
    const auto endpoint = static_cast<uint32_t>(__builtin_ctz(endpoints));
    endpoints &= endpoints - 1;
    abi::wake(life->attached.endpoint_wake[endpoint].get());
  }
}

void Worker::Impl::publish(Micros at) {
  published_us = at;
  stack.pressure = nic.packet_buffers_scarce();
  counters.set(Counter::buffers_in_use,
               nic.small_records().in_use() + nic.large_records().in_use());
  counters.set(Counter::nodes_in_use, pools.nodes.in_use());
  if (life == nullptr) return;
  abi::WorkerBlock& block = life->attached.region.worker(settings.number);
  const auto& values = counters.values();
  for (uint32_t i = 0; i < abi::kCounters; ++i) {
    block.counters[i].store(values[i], std::memory_order_relaxed);
  }
  block.published_us.store(at, std::memory_order_release);
}

// The relax policy. The wake socket only exists while control is attached; without it the sleep is
// as short, and nobody is there to send a wake-up.
void Worker::Impl::idle(Micros at) {
  if (nic.pending() || engine->work_pending()) return;
  const Micros next = engine->next_expiry_us();
  if (next <= at) return;
  const Micros sleep_us = std::min(kSleepUs, next - at);
  const timespec time{0, static_cast<long>(sleep_us) * 1000};
  counters.add(Counter::sleeps);
  if (life == nullptr) {
    ppoll(nullptr, 0, &time, nullptr);
    return;
  }
  std::atomic<uint32_t>& sleeping = life->attached.region.worker(settings.number).sleeping;
  abi::announce_sleep(sleeping);
  if (!engine->control_pending()) {
    const int fd = life->attached.worker_wake[settings.number].get();
    pollfd wait{fd, POLLIN, 0};
    if (ppoll(&wait, 1, &time, nullptr) > 0) abi::drain_wake(fd);
  }
  abi::end_sleep(sleeping);
}

}  // namespace sluice::dataplane
