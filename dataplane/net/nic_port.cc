// Ports: what a device can do, and its queues.
//
// Job: open each configured device with one receive and one transmit queue per worker, as far as
// it has them, and record which of the costly things it does itself: chained packets (MULTI_SEGS),
// checksums, segmentation, coalescing (LRO; scattered buffers go with it). What it does not,
// nic_tx.cc does in software. AF_XDP and AF_PACKET offer none of them; their packets are copied
// into a buffer of the queue's own pool, which for AF_XDP is the area shared with the kernel.
// Limits: a packet fits in one buffer (2 KiB, or more where the MTU asks for it).
#include <rte_errno.h>

#include <algorithm>

#include "net/nic_internal.h"

namespace sluice::net {
namespace {

constexpr uint16_t kDescriptors = 1024;
constexpr uint32_t kDefaultDataBytes = 2048;
constexpr uint16_t kMaxChain = 40;  // where a driver names no limit
constexpr uint64_t kVerifyOffloads = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
constexpr uint64_t kCoalesceOffloads = RTE_ETH_RX_OFFLOAD_TCP_LRO | RTE_ETH_RX_OFFLOAD_SCATTER;
// TCP by its ports, the rest (fragments, ICMP) by its addresses. Not IPV6_TCP_EX, which would let
// the sender's extension headers decide.
constexpr uint64_t kRssTypes =
    RTE_ETH_RSS_IP | RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP;
constexpr uint32_t kReceiveShare = 8;  // one of so many buffers is never sent from

std::string failed(const Port& port, const char* what, int code) {
  return "port " + port.interface.name + ": " + what + ": " + rte_strerror(code < 0 ? -code : code);
}

// Drivers write 0 or all ones for "no limit".
uint16_t chain_limit(uint16_t named) { return named == 0 || named > kMaxChain ? kMaxChain : named; }

void read_capabilities(const rte_eth_dev_info& info, Port& port) {
  const uint64_t tx = info.tx_offload_capa;
  port.chains = (tx & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0;
  port.checksum = (tx & RTE_ETH_TX_OFFLOAD_TCP_CKSUM) != 0;
  port.ip_checksum = port.checksum && (tx & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0;
  // net_tap's is software, for IPv4 alone, and loses what needs more than its few buffers.
  const bool pretends = port.driver == "net_tap";
  port.segmentation =
      port.chains && port.checksum && !pretends && (tx & RTE_ETH_TX_OFFLOAD_TCP_TSO) != 0;
  port.checksum_verified = (info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_TCP_CKSUM) != 0;
  port.coalescing = (info.rx_offload_capa & kCoalesceOffloads) == kCoalesceOffloads;
  port.max_packet_mbufs = chain_limit(info.tx_desc_lim.nb_mtu_seg_max);
  port.max_segmented_mbufs = chain_limit(info.tx_desc_lim.nb_seg_max);
}

// What the device takes, by its own word. A frame has a header of 14 bytes and a checksum of 4
// where the driver does not say how it counts.
uint32_t largest_mtu(const rte_eth_dev_info& info) {
  const bool says = info.max_mtu != 0 && info.max_mtu != UINT16_MAX;
  uint32_t most = says ? info.max_mtu : UINT16_MAX;
  constexpr uint32_t kOverhead = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
  if (!says && info.max_rx_pktlen > kOverhead) {
    most = std::min(most, info.max_rx_pktlen - kOverhead);
  }
  return std::min(most, abi::kMaxMtuBytes);
}

bool fill_interface(const PortSettings& settings, Port& port, std::string& error) {
  Interface& interface = port.interface;
  interface.name = settings.name;
  interface.mtu = settings.mtu;
  interface.vlan = settings.vlan;
  interface.has_gateway = settings.has_gateway;
  interface.gateway = settings.gateway;
  interface.has_gateway6 = settings.has_gateway6;
  interface.gateway6 = settings.gateway6;
  for (const InterfaceAddress& address : settings.addresses) {
    if (!interface.add_address(address)) {
      error = "port " + settings.name + ": " + abi::to_string(address.address) +
              ": too many addresses or too long a prefix";
      return false;
    }
  }
  rte_ether_addr mac;
  const int code = rte_eth_macaddr_get(port.id, &mac);
  if (code != 0) {
    error = failed(port, "no link address", code);
    return false;
  }
  std::copy(std::begin(mac.addr_bytes), std::end(mac.addr_bytes), interface.mac.bytes.begin());
  return true;
}

bool configure(Port& port, std::string& error) {
  rte_eth_conf conf = {};
  conf.rxmode.mtu = port.interface.mtu;
  conf.txmode.offloads = (port.chains ? RTE_ETH_TX_OFFLOAD_MULTI_SEGS : 0) |
                         (port.checksum ? RTE_ETH_TX_OFFLOAD_TCP_CKSUM : 0) |
                         (port.ip_checksum ? RTE_ETH_TX_OFFLOAD_IPV4_CKSUM : 0) |
                         (port.segmentation ? RTE_ETH_TX_OFFLOAD_TCP_TSO : 0);
  rte_eth_dev_info info;
  int code = rte_eth_dev_info_get(port.id, &info);
  if (code == 0) {
    if (port.checksum_verified) conf.rxmode.offloads |= info.rx_offload_capa & kVerifyOffloads;
    if (port.coalescing) conf.rxmode.offloads |= kCoalesceOffloads;
    conf.rxmode.max_lro_pkt_size = port.coalescing ? info.max_lro_pkt_size : 0;
  }
  if (code == 0 && port.queues > 1 && (info.flow_type_rss_offloads & kRssTypes) != 0) {
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf = info.flow_type_rss_offloads & kRssTypes;
  }
  if (code == 0) code = rte_eth_dev_configure(port.id, port.queues, port.queues, &conf);
  if (code != 0) {
    error = failed(port, "the device refuses its configuration", code);
    return false;
  }
  code = rte_eth_dev_set_mtu(port.id, port.interface.mtu);
  if (code != 0 && code != -ENOTSUP) {
    error = failed(port, "the device refuses the MTU", code);
    return false;
  }
  return true;
}

bool make_pools(Port& port, std::string& error) {
  const int socket = rte_eth_dev_socket_id(port.id);
  for (uint16_t queue = 0; queue < port.queues; ++queue) {
    const std::string name = "p" + std::to_string(port.id) + "q" + std::to_string(queue);
    rte_mempool* pool = make_packet_pool("pkt_" + name, port.packet_buffers, port.data_bytes,
                                         socket, port.af_xdp, error);
    if (pool == nullptr) return false;
    port.pools.push_back(pool);
    if (!port.chains) continue;
    pool = make_packet_pool("view_" + name, 8U * kDescriptors, 0, socket, false, error);
    if (pool == nullptr) return false;
    port.view_pools.push_back(pool);
  }
  return true;
}

// IPv6 asks for neighbours by multicast. A device is told our groups; one that takes no list opens
// for all multicast, or for everything.
void listen_to_groups(const Port& port, std::vector<std::string>& notes) {
  if (!port.interface.speaks_ipv6()) return;
  std::vector<rte_ether_addr> groups = {{{0x33, 0x33, 0, 0, 0, 1}}};  // all nodes
  const auto add = [&groups](const abi::IpAddress& address) {         // RFC 4291 2.7.1, RFC 2464 7
    const auto& bytes = address.bytes;
    groups.push_back({{0x33, 0x33, 0xff, bytes[13], bytes[14], bytes[15]}});
  };
  add(port.interface.link_local());
  for (uint8_t i = 0; i < port.interface.address_count; ++i) {
    const abi::IpAddress& address = port.interface.addresses[i].address;
    if (!address.is_ipv4()) add(address);
  }
  const auto count = static_cast<uint32_t>(groups.size());
  if (rte_eth_dev_set_mc_addr_list(port.id, groups.data(), count) == 0 ||
      rte_eth_allmulticast_enable(port.id) == 0 || rte_eth_promiscuous_enable(port.id) == 0) {
    return;
  }
  notes.push_back("port " + port.interface.name +
                  " takes no multicast groups: IPv6 works if it passes all of them anyway");
}

bool set_up_queues(Port& port, std::string& error) {
  uint16_t rx_descriptors = kDescriptors;
  uint16_t tx_descriptors = kDescriptors;
  int code = rte_eth_dev_adjust_nb_rx_tx_desc(port.id, &rx_descriptors, &tx_descriptors);
  const auto socket = static_cast<unsigned>(rte_eth_dev_socket_id(port.id));
  for (uint16_t queue = 0; queue < port.queues && code == 0; ++queue) {
    code =
        rte_eth_rx_queue_setup(port.id, queue, rx_descriptors, socket, nullptr, port.pools[queue]);
    if (code == 0) code = rte_eth_tx_queue_setup(port.id, queue, tx_descriptors, socket, nullptr);
  }
  if (code != 0) error = failed(port, "the device refuses its queues", code);
  return code == 0;
}

}  // namespace

bool find_port(const PortSettings& settings, uint32_t workers, Port& port, std::string& error,
               std::vector<std::string>& notes) {
  port.interface.name = settings.name;
  port.rss = settings.spread;
  int code = rte_eth_dev_get_port_by_name(device_name(settings.device).c_str(), &port.id);
  if (code != 0) {
    error = "port " + settings.name + ": DPDK has no device " + device_name(settings.device) +
            "; check the device string, and for a PCI device that it is bound to vfio-pci";
    return false;
  }
  rte_eth_dev_info info;
  code = rte_eth_dev_info_get(port.id, &info);
  if (code != 0) {
    error = failed(port, "the device does not say what it can do", code);
    return false;
  }
  port.driver = info.driver_name;
  port.af_xdp = port.driver.find("af_xdp") != std::string::npos;
  read_capabilities(info, port);
  uint32_t most = std::min<uint32_t>(info.max_rx_queues, info.max_tx_queues);
  if (settings.max_queues != 0) most = std::min<uint32_t>(most, settings.max_queues);
  port.queues = static_cast<uint16_t>(std::clamp<uint32_t>(workers, 1, std::max(most, 1U)));
  if (!fill_interface(settings, port, error)) return false;
  const uint32_t most_mtu = largest_mtu(info);
  if (settings.mtu < kMinMtuBytes || settings.mtu > most_mtu) {
    error = "port " + settings.name + ": mtu = " + std::to_string(settings.mtu) + ", but " +
            port.driver + " takes " + std::to_string(kMinMtuBytes) + " to " +
            std::to_string(most_mtu);
    return false;
  }
  const uint32_t frame = uint32_t{settings.mtu} + kEthernetBytes + kVlanTagBytes;
  port.data_bytes = std::max(kDefaultDataBytes, (frame + 127U) & ~127U);
  if (port.queues < workers) {
    notes.push_back("port " + settings.name + " has " + std::to_string(port.queues) +
                    " queue(s) for " + std::to_string(workers) +
                    " workers: packets change cores through rings");
  }
  return true;
}

bool open_port(Port& port, uint32_t packet_buffers, std::string& error,
               std::vector<std::string>& notes) {
  port.packet_buffers = packet_buffers;
  port.receive_reserve = packet_buffers / kReceiveShare;
  if (!configure(port, error) || !make_pools(port, error) || !set_up_queues(port, error)) {
    return false;
  }
  const int code = rte_eth_dev_start(port.id);
  if (code != 0) error = failed(port, "the device does not start", code);
  if (code == 0) listen_to_groups(port, notes);
  return code == 0;
}

}  // namespace sluice::net
