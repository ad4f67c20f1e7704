// What the parts of nic share among themselves. Included by net/nic*.cc alone.
#pragma once

#include <rte_ethdev.h>
#include <rte_ring.h>

#include <memory>
#include <string>
#include <vector>

#include "net/buf.h"
#include "net/nic.h"

namespace sluice::net {

// nic_eal.cc
struct EalChoice {
  bool hugepages = false;
};
bool start_eal(const NicSettings& settings, EalChoice& choice, std::string& error,
               std::vector<std::string>& notes);
// The name under which DPDK knows the device of a settings string.
std::string device_name(const std::string& device);

// One opened port. Immutable once the workers run.
struct Port {
  uint16_t id = 0;      // DPDK's
  uint16_t queues = 0;  // receive and transmit queues alike
  bool chains = false;
  bool checksum = false;     // completes TCP checksums
  bool ip_checksum = false;  // and IPv4's
  bool segmentation = false;
  bool checksum_verified = false;
  bool coalescing = false;
  bool af_xdp = false;
  uint16_t max_packet_mbufs = 1;     // of a packet that leaves as it is
  uint16_t max_segmented_mbufs = 1;  // of one that the port segments
  uint32_t data_bytes = 0;           // of a packet buffer, behind the headroom
  uint32_t packet_buffers = 0;       // per queue
  uint32_t receive_reserve = 0;      // of these, not for copies to send
  std::string driver;
  std::string spreading;
  std::shared_ptr<const RssMap> rss;  // null: the workers spread
  Interface interface;
  std::vector<rte_mempool*> pools;       // one per queue: received and copied packets
  std::vector<rte_mempool*> view_pools;  // one per queue where chains: mbufs without memory
};

// nic_port.cc: find and describe, then (the pools' sizes are known) configure and start.
bool find_port(const PortSettings& settings, uint32_t workers, Port& port, std::string& error,
               std::vector<std::string>& notes);
bool open_port(Port& port, uint32_t packet_buffers, std::string& error,
               std::vector<std::string>& notes);
// nic_rss.cc: what the started port says of its spreading, checked.
void read_rss(Port& port, uint32_t workers, std::vector<std::string>& notes);

// A buffer to send from. Never one of the last: a queue whose buffers all wait to be sent could not
// receive the acknowledgements that free them. What workers have cached counts as gone.
inline rte_mbuf* sending_buffer(const Port& port, uint16_t queue) {
  rte_mempool* pool = port.pools[queue];
  if (shared_free_count(pool) <= port.receive_reserve) return nullptr;
  return rte_pktmbuf_alloc(pool);
}

// The rings of one ordered pair of workers.
struct Pair {
  rte_ring* frames = nullptr;   // received, for the flow's owner
  rte_ring* packets = nullptr;  // to transmit, for the queue's owner
};

// Packets of one worker that wait for the next flush of one port.
struct TxBatch {
  Port* port = nullptr;
  uint16_t queue = 0;
  bool owned = false;            // this worker's own queue; otherwise worker `queue` owns it
  rte_ring* handover = nullptr;  // towards that worker
  uint32_t stalled = 0;          // flushes in a row that moved nothing
  uint32_t count = 0;
  rte_mbuf* packets[kTxBatch];
  bool idle_known = false;
  uint32_t idle_in_use = 0;  // packet buffers that the queue needs without traffic
};

struct NicWorker::Impl {
  uint32_t index = 0;
  abi::Counters* counters = nullptr;
  std::vector<std::unique_ptr<Port>>* ports = nullptr;
  std::vector<TxBatch> tx;                             // by port
  std::vector<Pair> to;                                // by worker; null rings for itself
  std::vector<Pair> from;                              // by worker
  uint32_t next_from = 0;                              // whose ring is read first
  std::array<uint8_t, RTE_MAX_ETHPORTS> port_index{};  // DPDK's port id -> ours
  RecordPool small{kSmallRecordBytes};
  RecordPool large{kLargeRecordBytes};

  // nic_worker.cc
  void to_frame(rte_mbuf* mbuf, FrameBatch& batch);
  // nic_tx.cc
  bool make_room(TxBatch& batch, uint32_t packets);
  void flush_port(TxBatch& batch);
  void drop_at(TxBatch& batch, uint32_t at);
  uint32_t transmit(TxBatch& batch);
  void take_handed_over();
  void put(TxBatch& batch, rte_mbuf* packet);
};

struct Nic::Impl {
  std::vector<std::unique_ptr<Port>> ports;
  std::vector<std::unique_ptr<NicWorker>> workers;
};

}  // namespace sluice::net
