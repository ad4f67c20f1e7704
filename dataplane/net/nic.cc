// Nic: everything about ports that happens before and beside the workers.
//
// Job: start DPDK, open the ports, divide the memory, connect the workers, and answer the main
// thread's questions. How a packet moves:
//   receive: port queue w -> worker w -> (another flow's) ring "frames" -> that flow's worker
//   send:    worker w -> its batch for the port -> its own queue, or, where the port has fewer
//            queues than workers, ring "packets" -> the worker that owns queue w % queues
// Every ordered pair of workers has its two rings, single producer and single consumer, so no
// worker ever waits for another one.
// Memory: of memory_mib, 45 % become packet buffers (shared evenly by all queues), 30 % large and
// 10 % small record buffers (shared evenly by the workers); the rest is DPDK's own.
#include "net/nic.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>

#include <algorithm>

#include "abi/assert.h"
#include "abi/limits.h"
#include "net/nic_internal.h"

namespace sluice::net {
namespace {

constexpr uint32_t kMinPacketBuffers = 6144;  // AF_XDP alone keeps 2,048 in each of two rings
constexpr uint32_t kMaxPacketBuffers = 65535;
constexpr uint32_t kMinRecords = 256;
constexpr uint32_t kMaxRecords = 262144;

// 0 when not even the minimum fits.
uint32_t share(uint64_t bytes, uint32_t among, uint32_t object, uint32_t least, uint32_t most) {
  const uint64_t count = bytes / (uint64_t{among} * object);
  return count < least ? 0 : static_cast<uint32_t>(std::min<uint64_t>(count, most));
}

struct Plan {
  uint32_t packet_buffers = 0;
  uint32_t small_records = 0;
  uint32_t large_records = 0;
};

bool plan_memory(const NicSettings& settings, const std::vector<std::unique_ptr<Port>>& ports,
                 Plan& plan, std::string& error) {
  const uint64_t total = uint64_t{settings.memory_mib} << 20;
  const auto workers = static_cast<uint32_t>(settings.workers.size());
  uint32_t queues = 0;
  uint32_t packet = 0;
  for (const auto& port : ports) {
    queues += port->queues;
    packet = std::max(packet, packet_object_bytes(port->data_bytes));
  }
  plan.packet_buffers = settings.packet_buffers;
  if (plan.packet_buffers == 0) {
    plan.packet_buffers =
        share(total / 100 * 45, queues, packet, kMinPacketBuffers, kMaxPacketBuffers);
  }
  plan.large_records = settings.large_records;
  if (plan.large_records == 0) {
    plan.large_records =
        share(total / 100 * 30, workers, RecordPool::object_bytes(kLargeRecordBytes), kMinRecords,
              kMaxRecords);
  }
  plan.small_records = settings.small_records;
  if (plan.small_records == 0) {
    plan.small_records =
        share(total / 100 * 10, workers, RecordPool::object_bytes(kSmallRecordBytes), kMinRecords,
              kMaxRecords);
  }
  if (plan.packet_buffers == 0 || plan.large_records == 0 || plan.small_records == 0) {
    error = "memory_mib = " + std::to_string(settings.memory_mib) + " is too little for " +
            std::to_string(workers) + " worker(s) and " + std::to_string(queues) + " queue(s)";
    return false;
  }
  return true;
}

bool check(const NicSettings& settings, std::string& error) {
  if (settings.workers.empty() || settings.workers.size() > abi::kMaxWorkers) {
    error = "between 1 and " + std::to_string(abi::kMaxWorkers) + " workers are needed";
  } else if (settings.ports.empty() || settings.ports.size() > kMaxPorts) {
    error = "between 1 and " + std::to_string(kMaxPorts) + " ports are needed";
  }
  return error.empty();
}

rte_ring* make_ring(const char* kind, uint32_t from, uint32_t to, std::string& error) {
  const std::string name = std::string(kind) + std::to_string(from) + "_" + std::to_string(to);
  rte_ring* ring = rte_ring_create(name.c_str(), kSteerRing, SOCKET_ID_ANY,
                                   RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
  if (ring == nullptr) error = "ring " + name + ": " + rte_strerror(rte_errno);
  return ring;
}

bool connect(std::vector<std::unique_ptr<NicWorker::Impl>>& workers, std::string& error) {
  const auto count = static_cast<uint32_t>(workers.size());
  for (auto& worker : workers) {
    worker->to.resize(count);
    worker->from.resize(count);
  }
  for (uint32_t from = 0; from < count; ++from) {
    for (uint32_t to = 0; to < count; ++to) {
      if (from == to) continue;
      const Pair pair = {make_ring("frames", from, to, error),
                         make_ring("packets", from, to, error)};
      if (pair.frames == nullptr || pair.packets == nullptr) return false;
      workers[from]->to[to] = pair;
      workers[to]->from[from] = pair;
    }
  }
  return true;
}

void bind_ports(NicWorker::Impl& worker, std::vector<std::unique_ptr<Port>>& ports) {
  worker.ports = &ports;
  worker.tx.resize(ports.size());
  for (size_t i = 0; i < ports.size(); ++i) {
    Port& port = *ports[i];
    TxBatch& batch = worker.tx[i];
    batch.port = &port;
    batch.queue = static_cast<uint16_t>(worker.index % port.queues);
    batch.owned = worker.index < port.queues;
    if (!batch.owned) batch.handover = worker.to[batch.queue].packets;
    worker.port_index[port.id] = static_cast<uint8_t>(i);
  }
}

}  // namespace

std::unique_ptr<Nic> Nic::open(const NicSettings& settings, std::string& error,
                               std::vector<std::string>& notes) {
  EalChoice choice;
  if (!check(settings, error) || !start_eal(settings, choice, error, notes)) return nullptr;
  const auto worker_count = static_cast<uint32_t>(settings.workers.size());
  // From here on ~Nic closes what has been opened.
  std::unique_ptr<Nic> nic(new Nic(std::make_unique<Impl>()));
  auto& ports = nic->impl_->ports;
  for (const PortSettings& port_settings : settings.ports) {
    auto port = std::make_unique<Port>();
    if (!find_port(port_settings, worker_count, *port, error, notes)) return nullptr;
    ports.push_back(std::move(port));
  }
  Plan plan;
  if (!plan_memory(settings, ports, plan, error)) return nullptr;
  for (auto& port : ports) {
    if (!open_port(*port, plan.packet_buffers, error, notes)) return nullptr;
    read_rss(*port, worker_count, notes);
  }
  std::vector<std::unique_ptr<NicWorker::Impl>> workers;
  for (uint32_t i = 0; i < worker_count; ++i) {
    auto worker = std::make_unique<NicWorker::Impl>();
    worker->index = i;
    const auto socket = static_cast<int>(rte_lcore_to_socket_id(i + 1));
    const std::string name = std::to_string(i);
    if (!fill_record_pool(worker->small, "small" + name, plan.small_records, socket, error) ||
        !fill_record_pool(worker->large, "large" + name, plan.large_records, socket, error)) {
      return nullptr;
    }
    workers.push_back(std::move(worker));
  }
  if (!connect(workers, error)) return nullptr;
  for (auto& worker : workers) {
    bind_ports(*worker, ports);
    nic->impl_->workers.emplace_back(new NicWorker(std::move(worker)));
  }
  return nic;
}

Nic::Nic(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Nic::~Nic() {
  impl_->workers.clear();  // they give packets back to pools that end below
  for (auto& port : impl_->ports) {
    rte_eth_dev_stop(port->id);
    rte_eth_dev_close(port->id);
  }
  rte_eal_cleanup();
}

uint32_t Nic::workers() const { return static_cast<uint32_t>(impl_->workers.size()); }

uint32_t Nic::ports() const { return static_cast<uint32_t>(impl_->ports.size()); }

const Interface& Nic::interface(uint32_t port) const { return impl_->ports[port]->interface; }

const RssMap* Nic::rss(uint32_t port) const { return impl_->ports[port]->rss.get(); }

PortInfo Nic::port_info(uint32_t port) const {
  const Port& from = *impl_->ports[port];
  PortInfo info;
  info.name = from.interface.name;
  info.driver = from.driver;
  info.mac = from.interface.mac;
  info.mtu = from.interface.mtu;
  info.queues = from.queues;
  info.packet_buffers = from.packet_buffers;
  info.chains = from.chains;
  info.checksum_offload = from.checksum;
  info.segmentation_offload = from.segmentation;
  info.checksum_verified = from.checksum_verified;
  info.receive_coalescing = from.coalescing;
  info.spreading = from.spreading;
  rte_eth_link link = {};
  info.link_up =
      rte_eth_link_get_nowait(from.id, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
  return info;
}

PortStatistics Nic::port_statistics(uint32_t port) const {
  rte_eth_stats stats = {};
  PortStatistics result;
  if (rte_eth_stats_get(impl_->ports[port]->id, &stats) != 0) return result;
  result.rx_packets = stats.ipackets;
  result.rx_bytes = stats.ibytes;
  result.rx_missed = stats.imissed;
  result.rx_errors = stats.ierrors;
  result.rx_no_buffer = stats.rx_nombuf;
  result.tx_packets = stats.opackets;
  result.tx_bytes = stats.obytes;
  result.tx_errors = stats.oerrors;
  return result;
}

NicWorker& Nic::worker(uint32_t index, abi::Counters& counters) {
  NicWorker& worker = *impl_->workers[index];
  worker.impl_->counters = &counters;
  return worker;
}

bool Nic::launch(uint32_t worker, int (*body)(void*), void* argument) {
  return rte_eal_remote_launch(body, argument, worker + 1) == 0;
}

void Nic::wait() { rte_eal_mp_wait_lcore(); }

}  // namespace sluice::net
