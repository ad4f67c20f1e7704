// The worker's loop: one list of polls, run to completion.
//
//   turn(now): control's coming and going -> a burst of each port -> frames from other workers
//              -> serve the flows that were touched -> control's rings -> timers -> ARP, ND
//              -> transmit
//
// What becomes of a frame is in worker_frames.cc. Which worker owns which flow: Engine::owner_of.
//
// Time is read once a turn (vDSO, no system call). Under the `relax` policy a worker that found
// nothing for a while sleeps in ppoll on its wake socket, for at most kSleepUs or until the next
// timer.
#include <poll.h>
#include <sys/random.h>
#include <time.h>

#include <algorithm>
#include <cstring>

#include "abi/sleep.h"
#include "flow/small_buffers.h"
#include "worker_impl.h"

namespace sluice::dataplane {

using abi::Counter;

namespace {

constexpr uint32_t kIdlePollsBeforeSleep = 64;
constexpr Micros kSleepUs = 50;
constexpr Micros kPublishUs = 1000;
constexpr uint32_t kKeyCacheEntries = 512;
// Shares of what a queue has beyond its idle need that flows hold when packet buffers are scarce.
constexpr uint32_t kSoftPressurePermille = 250;
constexpr uint32_t kHardPressurePermille = 500;
constexpr uint32_t kTsoBytes = 65000;  // with headers an IP packet's length describes it

Micros now_us() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<Micros>(time.tv_sec) * 1'000'000 + static_cast<Micros>(time.tv_nsec) / 1000;
}

// One MSS is announced to everybody: that of the port with the smallest MTU and clamp.
tcp::TcpConfig make_tcp_config(const abi::config::DataplaneConfig& config) {
  tcp::TcpConfig tcp;
  tcp.mtu_bytes = abi::kMaxMtuBytes;
  for (const auto& port : config.ports) {
    tcp.mtu_bytes = std::min<uint32_t>(tcp.mtu_bytes, port.mtu);
    if (port.mss_clamp == 0) continue;
    tcp.mss_clamp =
        tcp.mss_clamp == 0 ? port.mss_clamp : std::min<uint32_t>(tcp.mss_clamp, port.mss_clamp);
  }
  tcp.tso_bytes = kTsoBytes;  // cut by the port, or by net/nic_tx.cc
  return tcp;
}

flow::EngineConfig engine_config(const WorkerSettings& settings, const net::Nic& nic) {
  const abi::config::DataplaneConfig& config = *settings.config;
  flow::EngineConfig engine;
  engine.start_us = now_us();
  engine.core = settings.number;
  engine.workers = settings.workers;
  engine.max_flows = config.max_connections;
  engine.source_limit = {config.max_connections_per_source, config.source_bits_ipv4,
                         config.source_bits_ipv6};
  engine.handshake_wait_us = Micros{config.handshake_wait_ms} * 1000;
  engine.idle_timeout_us = Micros{config.idle_timeout_ms} * 1000;
  engine.record_size = {config.records.dynamic_size, config.records.full_size_after_bytes,
                        Micros{config.records.small_size_after_idle_ms} * 1000};
  std::memcpy(engine.hash_key, settings.hash_key, sizeof engine.hash_key);
  for (const auto& listener : config.listeners) {
    const bool tls = listener.protocol == abi::config::ListenerProtocol::Tls;
    engine.listeners.push_back(
        {listener.address, tls ? flow::Protocol::Tls : flow::Protocol::Tcp, listener.backend});
  }
  for (uint32_t i = 0; i < config.ports.size(); ++i) {
    const auto& port = config.ports[i];
    for (const auto& address : port.addresses) {
      const bool gateway = address.address.is_ipv4() ? port.has_gateway : port.has_gateway6;
      engine.sources.push_back({address.address, address.prefix_length, gateway, nic.rss(i)});
    }
  }
  return engine;
}

tls::RecordPolicy record_policy(const abi::config::RecordsConfig& config) {
  tls::RecordPolicy policy;
  switch (config.padding) {
    case abi::config::RecordPadding::None:
      policy.padding = tls::Padding::None;
      break;
    case abi::config::RecordPadding::Block:
      policy.padding = tls::Padding::Block;
      break;
    case abi::config::RecordPadding::Random:
      policy.padding = tls::Padding::Random;
      break;
  }
  policy.padding_block_bytes = config.padding_block_bytes;
  policy.padding_random_bytes = config.padding_random_bytes;
  policy.key_update_after_records = config.key_update_after_records;
  return policy;
}

}  // namespace

Worker::Impl::Impl(const WorkerSettings& with, net::Nic& all, crypto::Provider made)
    : settings(with),
      nic(all.worker(with.number, counters)),
      provider(std::move(made)),
      key_cache(kKeyCacheEntries, counters),
      records(provider, key_cache, counters, record_policy(with.config->records)),
      pools(tcp::PoolSizes::of(with.config->max_connections)),
      tcp_config(make_tcp_config(*with.config)),
      stack{tcp_config, pools, counters, flow::SmallBuffers::of(nic.small_records()), with.secrets},
      listener(tcp_config, stack.secrets),
      fragments(counters),
      icmp(counters),
      relax(with.config->idle == abi::config::IdlePolicy::Relax) {
  for (uint32_t port = 0; port < nic.ports(); ++port) {
    segmentation_offload |= all.port_info(port).segmentation_offload;
  }
  for (uint32_t port = 0; port < nic.ports(); ++port) {
    neighbors.push_back(std::make_unique<net::NeighborTable>(nic.interface(port), counters));
    if (settings.number == 0) neighbors.back()->announce();
  }
  const flow::Output output{this, [](void* self, const net::Segment& out) {
                              return static_cast<Impl*>(self)->emit(out);
                            }};
  engine = std::make_unique<flow::Engine>(
      engine_config(settings, all),
      flow::EngineResources{nic.small_records(), nic.large_records(), counters, records, stack,
                            listener, output});
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

const abi::Counters& Worker::counters() const { return impl_->counters; }

bool Worker::mispredicted() const { return impl_->mispredicted.load(std::memory_order_relaxed); }

// ---- The loop

int Worker::run(void* argument) {
  Worker& worker = *static_cast<Worker*>(argument);
  Impl& self = *worker.impl_;
  self.now = now_us();
  while (!worker.stop_.load(std::memory_order_relaxed)) {
    self.follow_control(worker, self.now);
    const bool busy = self.turn(self.now);
    if (busy) {
      self.idle_polls = 0;
    } else if (self.relax && ++self.idle_polls >= kIdlePollsBeforeSleep) {
      self.idle(self.now);
    }
    self.account(busy, now_us());
  }
  self.now = now_us();
  self.engine->shutdown(self.now);
  for (int i = 0; i < 16 && self.nic.pending(); ++i) self.nic.flush();
  self.publish(self.now);
  worker.control_slot_.held.store(nullptr, std::memory_order_release);
  return 0;
}

// A turn is over at `next_us`, which is the next one's time. Single turns are shorter than the
// clock's unit; their sum is right because each begins where the last one ended.
void Worker::Impl::account(bool busy, Micros next_us) {
  const Micros spent_us = next_us - now;
  now = next_us;
  counters.add(Counter::polls);
  counters.add(Counter::loop_us, spent_us);
  if (!busy) return;
  counters.add(Counter::busy_polls);
  counters.add(Counter::busy_us, spent_us);
}

bool Worker::Impl::turn(Micros at) {
  bool busy = false;
  for (uint32_t port = 0; port < nic.ports(); ++port) {
    if (nic.receive(port, batch) == 0) continue;
    busy = true;
    handle_batch(Arrival::Received, at);
  }
  if (settings.workers > 1 && nic.receive_redirected(batch) != 0) {
    busy = true;
    handle_batch(Arrival::HandedOver, at);
  }
  if (engine->work_pending()) engine->serve(at);
  if (engine->control_poll(at)) {
    busy = true;
    engine->serve(at);
  }
  engine->advance(at);
  for (uint32_t port = 0; port < nic.ports(); ++port) {
    neighbors[port]->tick(at);
    drain_neighbors(port);
  }
  fragments.tick(at);
  nic.flush();
  send_wake_ups();
  if (at - published_us >= kPublishUs) publish(at);
  return busy || engine->work_pending();
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
  const net::PacketBufferUse use = nic.packet_buffer_use();
  if (use.held_permille > kHardPressurePermille) {
    stack.pressure = tcp::Pressure::Hard;
  } else if (use.held_permille > kSoftPressurePermille ||
             pools.nodes.free_count() < pools.nodes.capacity() / 4) {
    stack.pressure = tcp::Pressure::Soft;
  } else {
    stack.pressure = tcp::Pressure::None;
  }
  // Where we cut, a segment needs a buffer for each of its packets at once, or it waits: while they
  // are scarce packets go one by one.
  tcp_config.tso_bytes =
      segmentation_offload || stack.pressure == tcp::Pressure::None ? kTsoBytes : 0;
  counters.set(Counter::packet_buffers_in_use, use.in_use);
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
