// DPDK for the impairment port.
//
// Job: run beside another DPDK program on the same machine without disturbing it - no hugepages, a
// file prefix of its own, nothing left in the file system - and move whole frames through
// net_af_xdp or net_af_packet, which need nothing but an interface of the kernel. Limits: a frame
// fits in one buffer. Offloads are neither asked for nor used: on the interface and on its veth
// peer they have to be off.
#include "port.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>

#include <cstdlib>
#include <cstring>

namespace sluice::impair {
namespace {

constexpr uint16_t kDescriptors = 1024;
constexpr uint32_t kBuffers = 8192;  // of one port: AF_XDP's rings hold up to 4,096 of them
constexpr uint16_t kDataRoom = 2048 + RTE_PKTMBUF_HEADROOM;

std::string device_name(const std::string& device) { return device.substr(0, device.find(',')); }

// AF_XDP takes a pool as one area and reckons with objects behind one another; without
// NO_IOVA_CONTIG objects would keep clear of page borders, and frames at the end would vanish.
rte_mempool* make_pool(uint16_t port, std::string& error) {
  const std::string name = "frames_" + std::to_string(port);
  constexpr uint32_t kElement = sizeof(rte_mbuf) + kDataRoom;
  rte_mempool* pool = rte_mempool_create_empty(name.c_str(), kBuffers, kElement, 0,
                                               sizeof(rte_pktmbuf_pool_private), SOCKET_ID_ANY,
                                               RTE_MEMPOOL_F_NO_IOVA_CONTIG);
  if (pool != nullptr) {
    rte_pktmbuf_pool_private shape = {};
    shape.mbuf_data_room_size = kDataRoom;
    rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), nullptr);
    rte_pktmbuf_pool_init(pool, &shape);
    if (rte_mempool_populate_default(pool) >= 0 && pool->nb_mem_chunks == 1) {
      rte_mempool_obj_iter(pool, rte_pktmbuf_init, nullptr);
      return pool;
    }
    rte_mempool_free(pool);
  }
  error = "no memory for packet buffers: " + std::string(rte_strerror(rte_errno));
  return nullptr;
}

}  // namespace

bool start_dpdk(const EalSettings& settings, std::string& error) {
  // libxdp: a dispatcher for several programs would need a mounted bpffs.
  setenv("LIBXDP_SKIP_DISPATCHER", "1", 0);
  std::vector<std::string> arguments = {"sluice-impair",
                                        "--lcores=0@" + std::to_string(settings.core),
                                        "--file-prefix=" + settings.prefix,
                                        "--no-huge",
                                        "--no-shconf",
                                        "--no-telemetry",
                                        "--no-pci",
                                        "--iova-mode=va",
                                        "--log-level=warning",
                                        "-m",
                                        std::to_string(settings.memory_mib)};
  for (const std::string& device : settings.devices) {
    arguments.insert(arguments.end(), {"--vdev", device});
  }
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  if (rte_eal_init(static_cast<int>(argv.size()) - 1, argv.data()) >= 0) return true;
  error = "DPDK does not start: " + std::string(rte_strerror(rte_errno));
  return false;
}

std::unique_ptr<Port> Port::open(const std::string& device, std::string& error) {
  uint16_t id = 0;
  if (rte_eth_dev_get_port_by_name(device_name(device).c_str(), &id) != 0) {
    error = "DPDK has no device " + device_name(device);
    return nullptr;
  }
  std::unique_ptr<Port> port(new Port(id));
  if (!port->start(error)) {
    error = device_name(device) + ": " + error;
    return nullptr;
  }
  return port;
}

bool Port::start(std::string& error) {
  pool_ = make_pool(id_, error);
  if (pool_ == nullptr) return false;
  const rte_eth_conf conf = {};
  uint16_t rx = kDescriptors;
  uint16_t tx = kDescriptors;
  int code = rte_eth_dev_configure(id_, 1, 1, &conf);
  if (code == 0) code = rte_eth_dev_adjust_nb_rx_tx_desc(id_, &rx, &tx);
  if (code == 0) code = rte_eth_rx_queue_setup(id_, 0, rx, SOCKET_ID_ANY, nullptr, pool_);
  if (code == 0) code = rte_eth_tx_queue_setup(id_, 0, tx, SOCKET_ID_ANY, nullptr);
  if (code == 0) code = rte_eth_dev_start(id_);
  if (code != 0) error = std::string("the device does not start: ") + rte_strerror(-code);
  return code == 0;
}

Port::~Port() {
  release_received();
  rte_pktmbuf_free_bulk(sending_.data(), to_send_);
  rte_eth_dev_stop(id_);
  rte_eth_dev_close(id_);
}

void Port::release_received() {
  rte_pktmbuf_free_bulk(received_.data(), received_count_);
  received_count_ = 0;
}

std::span<const std::span<const uint8_t>> Port::receive() {
  release_received();
  received_count_ = rte_eth_rx_burst(id_, 0, received_.data(), kBurst);
  for (uint16_t i = 0; i < received_count_; ++i) {
    frames_[i] = {rte_pktmbuf_mtod(received_[i], const uint8_t*), received_[i]->data_len};
  }
  return {frames_.data(), received_count_};
}

bool Port::send(std::span<const uint8_t> frame) {
  if (to_send_ == kBurst || frame.size() > kDataRoom - RTE_PKTMBUF_HEADROOM) return false;
  rte_mbuf* mbuf = rte_pktmbuf_alloc(pool_);
  if (mbuf == nullptr) return false;
  char* room = rte_pktmbuf_append(mbuf, static_cast<uint16_t>(frame.size()));
  std::memcpy(room, frame.data(), frame.size());
  sending_[to_send_++] = mbuf;
  return true;
}

uint32_t Port::flush() {
  if (to_send_ == 0) return 0;
  const uint16_t sent = rte_eth_tx_burst(id_, 0, sending_.data(), to_send_);
  to_send_ = static_cast<uint16_t>(to_send_ - sent);
  std::memmove(sending_.data(), sending_.data() + sent, to_send_ * sizeof(rte_mbuf*));
  return sent;
}

uint64_t Port::rx_missed() const {
  rte_eth_stats stats = {};
  return rte_eth_stats_get(id_, &stats) == 0 ? stats.imissed + stats.rx_nombuf : 0;
}

}  // namespace sluice::impair
