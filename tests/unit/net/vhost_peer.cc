// The peer knows nothing of Sluice's code: DPDK's own checksum functions judge the packets. A
// packet that came with a checksum to be completed, or to be segmented, goes back the same way, so
// the nearest thing to LRO that virtual devices have - chains of up to 64 KiB - comes back with it.
#include "vhost_peer.h"

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace sluice::net {
namespace {

constexpr uint16_t kBurst = 32;
constexpr uint64_t kPartialChecksum = RTE_MBUF_F_RX_L4_CKSUM_NONE;

struct Headers {
  rte_ipv4_hdr* ipv4 = nullptr;
  rte_ipv6_hdr* ipv6 = nullptr;
  rte_tcp_hdr* tcp = nullptr;
};

// False: no TCP packet with its headers in the first segment.
bool find_headers(rte_mbuf* mbuf, Headers& headers) {
  auto* ethernet = rte_pktmbuf_mtod(mbuf, rte_ether_hdr*);
  if (mbuf->data_len < 14 + 40) return false;
  mbuf->l2_len = sizeof *ethernet;
  if (ethernet->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4)) {
    headers.ipv4 = reinterpret_cast<rte_ipv4_hdr*>(ethernet + 1);
    mbuf->l3_len = rte_ipv4_hdr_len(headers.ipv4);
    if (headers.ipv4->next_proto_id != IPPROTO_TCP) return false;
  } else if (ethernet->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV6)) {
    headers.ipv6 = reinterpret_cast<rte_ipv6_hdr*>(ethernet + 1);
    mbuf->l3_len = sizeof *headers.ipv6;
    if (headers.ipv6->proto != IPPROTO_TCP || mbuf->data_len < 14 + 40 + 20) return false;
  } else {
    return false;
  }
  headers.tcp = rte_pktmbuf_mtod_offset(mbuf, rte_tcp_hdr*, mbuf->l2_len + mbuf->l3_len);
  mbuf->l4_len = static_cast<uint8_t>((headers.tcp->data_off >> 4) * 4);
  return true;
}

// Linux's and virtio's rule: a checksum to be completed holds the pseudo header's sum, with the
// whole length even where the packet is to be segmented. These ports complete every checksum.
bool right(const rte_mbuf* mbuf, const Headers& headers) {
  if ((mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) != kPartialChecksum) return false;
  if (headers.ipv4 == nullptr) return headers.tcp->cksum == rte_ipv6_phdr_cksum(headers.ipv6, 0);
  // Over a header with its checksum in place the sum is all ones, of which the complement is 0.
  return rte_ipv4_cksum(headers.ipv4) == 0 &&
         headers.tcp->cksum == rte_ipv4_phdr_cksum(headers.ipv4, 0);
}

template <size_t kBytes>
void swap_bytes(void* a, void* b) {
  uint8_t saved[kBytes];
  std::memcpy(saved, a, kBytes);
  std::memcpy(a, b, kBytes);
  std::memcpy(b, saved, kBytes);
}

void turn_around(rte_mbuf* mbuf, const Headers& headers) {
  auto* link = rte_pktmbuf_mtod(mbuf, uint8_t*);
  swap_bytes<6>(link, link + 6);
  uint8_t* ip = link + mbuf->l2_len;
  if (headers.ipv4 != nullptr) {
    swap_bytes<4>(ip + 12, ip + 16);
  } else {
    swap_bytes<16>(ip + 8, ip + 24);
  }
  swap_bytes<2>(ip + mbuf->l3_len, ip + mbuf->l3_len + 2);
  const uint64_t came = mbuf->ol_flags;
  mbuf->ol_flags = headers.ipv4 != nullptr ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
  if ((came & RTE_MBUF_F_RX_L4_CKSUM_MASK) == kPartialChecksum) {
    mbuf->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
  }
  if ((came & RTE_MBUF_F_RX_LRO) != 0) mbuf->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
}

void handle(uint16_t id, PeerPort& seen, rte_mbuf* mbuf) {
  Headers headers;
  if (!find_headers(mbuf, headers)) return rte_pktmbuf_free(mbuf);
  seen.largest_bytes = std::max(seen.largest_bytes.load(), mbuf->pkt_len);
  if ((mbuf->ol_flags & RTE_MBUF_F_RX_LRO) != 0) ++seen.to_segment;
  if ((mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == kPartialChecksum) ++seen.to_checksum;
  if (!right(mbuf, headers)) ++seen.wrong;
  turn_around(mbuf, headers);
  for (int tries = 0; rte_eth_tx_burst(id, 0, &mbuf, 1) == 0; ++tries) {
    if (tries == 10'000) return rte_pktmbuf_free(mbuf);
  }
  ++seen.packets;
}

bool start(uint16_t id, rte_mempool* pool) {
  rte_eth_conf conf = {};
  rte_eth_dev_info info;
  if (rte_eth_dev_info_get(id, &info) != 0) return false;
  conf.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
  conf.txmode.offloads =
      info.tx_offload_capa & (RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_TCP_CKSUM);
  return rte_eth_dev_configure(id, 1, 1, &conf) == 0 &&
         rte_eth_rx_queue_setup(id, 0, 512, 0, nullptr, pool) == 0 &&
         rte_eth_tx_queue_setup(id, 0, 512, 0, nullptr) == 0 && rte_eth_dev_start(id) == 0;
}

int run(const std::vector<std::string>& devices, PeerState& state) {
  std::vector<std::string> arguments = {
      "peer",           "--lcores=0@0",     "-m",       "192",
      "--no-huge",      "--no-shconf",      "--no-pci", "--no-telemetry",
      "--iova-mode=va", "--log-level=error"};
  for (const std::string& device : devices) arguments.push_back("--vdev=" + device);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  if (rte_eal_init(static_cast<int>(argv.size()) - 1, argv.data()) < 0) return 1;
  // A buffer holds a whole packet of 64 KiB only in pieces: chains this way as well.
  rte_mempool* pool = rte_pktmbuf_pool_create("peer", 8192, 0, 0, 2048 + 128, 0);
  const auto ports = static_cast<uint16_t>(devices.size());
  for (uint16_t id = 0; id < ports; ++id) {
    if (pool == nullptr || !start(id, pool)) return 1;
  }
  state.ready = true;
  while (!state.stop) {
    for (uint16_t id = 0; id < ports; ++id) {
      rte_mbuf* mbufs[kBurst];
      const uint16_t count = rte_eth_rx_burst(id, 0, mbufs, kBurst);
      for (uint16_t i = 0; i < count; ++i) handle(id, state.ports[id], mbufs[i]);
      if (count == 0) usleep(20);
    }
  }
  return 0;
}

}  // namespace

VhostPeer::VhostPeer(const std::vector<std::string>& devices) {
  void* memory =
      mmap(nullptr, sizeof(PeerState), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  state_ = new (memory) PeerState;
  process_ = fork();
  if (process_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int result = run(devices, *state_);
  if (result != 0) state_->failed = true;
  _exit(result);
}

bool VhostPeer::wait_ready() {
  for (int i = 0; i < 1'000 && !state_->ready && !state_->failed; ++i) usleep(10'000);
  return state_->ready;
}

VhostPeer::~VhostPeer() {
  state_->stop = true;
  if (process_ > 0) waitpid(process_, nullptr, 0);
  munmap(state_, sizeof(PeerState));
}

}  // namespace sluice::net
