// The ports: DPDK's environment, devices and queues behind plain structs. Nothing of DPDK shows.
//
// Nic is made once, by the main thread, before the workers run. Each worker then has its NicWorker
// and touches nothing else: it polls its own queue of every port, the packets that other workers
// hand to it, and sends. See nic.cc and README.md for how packets move.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "abi/counters.h"
#include "net/frame.h"
#include "net/interface.h"
#include "net/record_pool.h"
#include "net/rss.h"
#include "net/segment.h"

namespace sluice::net {

enum class Hugepages : uint8_t { Auto, Required, Off };

struct PortSettings {
  std::string name;
  std::string device;  // a vdev ("net_af_xdp0,iface=x,...") or a PCI address with arguments
  std::vector<InterfaceAddress> addresses;
  uint16_t mtu = 1500;
  uint16_t vlan = 0;
  uint16_t max_queues = 0;  // 0: one per worker, as far as the device has them
  // How packets come to the device's queues where the device itself can't say, because something
  // in front of it spreads them. Used when there is a queue for each worker.
  std::shared_ptr<const RssMap> spread;
  bool has_gateway = false;
  bool has_gateway6 = false;
  abi::IpAddress gateway;   // IPv4
  abi::IpAddress gateway6;  // IPv6
};

struct NicSettings {
  std::string program = "sluice-dataplane";
  std::vector<uint32_t> workers;  // processor of each worker
  uint32_t main_core = 0;         // processor of the main thread
  Hugepages hugepages = Hugepages::Auto;
  uint32_t memory_mib = 1024;
  std::string log_level = "warning";  // DPDK's own lines: debug, info, notice, warning, error
  std::vector<std::string> eal_arguments;
  std::vector<PortSettings> ports;
  uint32_t packet_buffers = 0;  // per queue; 0: from memory_mib
  uint32_t small_records = 0;   // per worker; 0: from memory_mib
  uint32_t large_records = 0;   // per worker; 0: from memory_mib
};

struct PortInfo {
  std::string name;
  std::string driver;
  Mac mac;
  uint16_t mtu = 0;
  uint16_t queues = 0;
  uint32_t packet_buffers = 0;  // per queue
  bool link_up = false;
  bool chains = false;            // payload leaves as external buffers (MULTI_SEGS)
  bool checksum_offload = false;  // towards the wire
  bool segmentation_offload = false;
  bool checksum_verified = false;   // from the wire
  bool receive_coalescing = false;  // LRO
  std::string spreading;            // what spreads packets over the queues: "RSS, 40-byte key, ..."
};

struct PortStatistics {
  uint64_t rx_packets = 0, rx_bytes = 0, rx_missed = 0, rx_errors = 0, rx_no_buffer = 0;
  uint64_t tx_packets = 0, tx_bytes = 0, tx_errors = 0;
};

// Of a worker's own queues, an estimate.
struct PacketBufferUse {
  uint32_t in_use = 0;
  uint32_t held_permille = 0;  // of what a queue's pool has beyond its idle need; the fullest's
};

class Nic;

// A worker's hands on the ports; only that worker's thread calls these.
class NicWorker {
 public:
  ~NicWorker();
  NicWorker(const NicWorker&) = delete;
  NicWorker& operator=(const NicWorker&) = delete;

  uint32_t index() const;
  uint32_t ports() const;
  const Interface& interface(uint32_t port) const;
  // How the port spreads TCP over the workers' queues; null: it does not, or does not say how.
  const RssMap* rss(uint32_t port) const;
  RecordPool& small_records();
  RecordPool& large_records();
  // Walks the pools' caches: about once a millisecond. The first call takes what is in use then for
  // what the queues need without traffic.
  PacketBufferUse packet_buffer_use();

  // A burst from this worker's queue of `port`; 0 where it has none. The previous content of
  // `batch` is forgotten: release its frames first. Counts rx_packets and rx_bytes.
  uint32_t receive(uint32_t port, FrameBatch& batch);
  // A burst of what other workers handed over, of any port (Frame::port). Counts redirected_in.
  uint32_t receive_redirected(FrameBatch& batch);
  // Hands a frame, with its reference, to its owner. Nobody may have retained it. False: the
  // ring was full, the frame was dropped and counted (redirect_full).
  bool redirect(uint32_t worker, const Frame& frame);
  // Hands a copy of the frame's first piece to every other worker (ARP). Counts as redirect.
  void share(const Frame& frame);

  // Sends a segment; its payload is retained while the port needs it. A payload over one packet's
  // size (segment.cut_bytes, or the MTU) is cut, by the port where it can. False: nothing of it
  // was sent (tx_full, tx_no_buffer count it), the caller may try again after flush();
  // drop_protocol counts addresses of a family that cannot be sent at all.
  bool send(uint32_t port, const Segment& segment, const Mac& destination);
  // Sends a whole frame, copied: ARP, ICMP.
  bool send_frame(uint32_t port, std::span<const uint8_t> frame);
  // A segment of at most one packet, prepared before its destination's MAC is known, for
  // NeighborTable::park. 0: no buffer, or more than one packet. Ends in one of the other two.
  uintptr_t prepare(uint32_t port, const Segment& segment);
  bool send_prepared(uint32_t port, uintptr_t packet, const Mac& destination);
  void drop_prepared(uintptr_t packet);
  // Gives the ports what has collected; what they do not take stays for the next flush. Also
  // passes on what workers without a queue of their own have handed to this one.
  void flush();
  // Whether packets still wait in a batch: a worker must not sleep then.
  bool pending() const;

  struct Impl;

 private:
  friend class Nic;
  explicit NicWorker(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

class Nic {
 public:
  // Starts DPDK and opens every port; once in a process. Null: `error` is one line that says what
  // failed and what to do. `notes` collects what an operator should know (no hugepages, ...).
  static std::unique_ptr<Nic> open(const NicSettings& settings, std::string& error,
                                   std::vector<std::string>& notes);
  ~Nic();  // stops the ports and cleans DPDK up; the workers have ended
  Nic(const Nic&) = delete;
  Nic& operator=(const Nic&) = delete;

  uint32_t workers() const;
  uint32_t ports() const;
  const Interface& interface(uint32_t port) const;
  const RssMap* rss(uint32_t port) const;
  PortInfo port_info(uint32_t port) const;
  PortStatistics port_statistics(uint32_t port) const;
  // `counters` outlives the worker; set before its first call.
  NicWorker& worker(uint32_t index, abi::Counters& counters);

  // Runs `body(argument)` on the worker's own thread, bound to its processor.
  bool launch(uint32_t worker, int (*body)(void*), void* argument);
  void wait();  // until every launched worker has returned

  struct Impl;

 private:
  explicit Nic(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::net
