// What a NIC does: TCP by addresses and ports, everything else of IP (fragments, ICMP) by its
// addresses, the rest to the table's first queue. Written on packets' bytes and the plain hash, so
// that it shares nothing with the tables that it is there to test.
#include "spread_port.h"

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <vector>

#include "net/wire.h"

namespace sluice::dataplane::test {
namespace {

constexpr uint16_t kBurst = 32;
constexpr uint16_t kDescriptors = 512;
constexpr uint64_t kOffloads =
    RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM;

struct Sides {
  uint16_t kernel = 0;
  uint16_t workers = 0;
};

// The queue of a frame by the key and the table.
uint16_t queue_of(const net::RssSettings& settings, const uint8_t* frame, uint32_t length) {
  uint8_t input[36];
  uint32_t used = 0;
  const auto add = [&](uint32_t offset, uint32_t bytes) {
    std::memcpy(input + used, frame + offset, bytes);
    used += bytes;
  };
  if (length >= 14 + 20 + 20 && frame[12] == 0x08 && frame[13] == 0x00) {
    add(26, 8);
    const bool fragment = (frame[20] & 0x3f) != 0 || frame[21] != 0;
    if (frame[23] == 6 && !fragment) add(14 + (frame[14] & 0x0fU) * 4U, 4);
  } else if (length >= 14 + 40 + 4 && frame[12] == 0x86 && frame[13] == 0xdd) {
    add(22, 32);
    if (frame[20] == 6) add(54, 4);
  } else {
    return settings.reta[0];
  }
  return settings.reta[net::toeplitz(settings.key, {input, used}) % settings.reta.size()];
}

// Packets that the other side does not take are lost, as on a wire.
void send(uint16_t port, uint16_t queue, rte_mbuf* mbuf) {
  for (int tries = 0; rte_eth_tx_burst(port, queue, &mbuf, 1) == 0; ++tries) {
    if (tries == 1'000) return rte_pktmbuf_free(mbuf);
  }
}

// Where the headers of a packet end whose checksum is to be completed; describes them.
uint32_t describe(rte_mbuf* mbuf, bool ipv4) {
  mbuf->l2_len = 14;
  mbuf->l3_len = ipv4 ? 20 : 40;
  const auto* tcp = rte_pktmbuf_mtod_offset(mbuf, const uint8_t*, mbuf->l2_len + mbuf->l3_len);
  mbuf->l4_len = static_cast<uint8_t>((tcp[12] >> 4) * 4);
  mbuf->ol_flags = RTE_MBUF_F_TX_TCP_CKSUM;
  mbuf->ol_flags |= ipv4 ? RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM : RTE_MBUF_F_TX_IPV6;
  return static_cast<uint32_t>(mbuf->l2_len + mbuf->l3_len + mbuf->l4_len);
}

// One packet of a segment: `payload` behind the segment's headers, made to fit.
rte_mbuf* make_packet(rte_mempool* pool, const uint8_t* headers, uint32_t header_bytes,
                      const uint8_t* payload, uint32_t bytes, uint32_t offset, bool last) {
  rte_mbuf* mbuf = rte_pktmbuf_alloc(pool);
  if (mbuf == nullptr) return nullptr;
  auto* frame = reinterpret_cast<uint8_t*>(
      rte_pktmbuf_append(mbuf, static_cast<uint16_t>(header_bytes + bytes)));
  std::memcpy(frame, headers, header_bytes);
  std::memcpy(frame + header_bytes, payload, bytes);
  const bool ipv4 = frame[12] == 0x08;
  describe(mbuf, ipv4);
  uint8_t* tcp = frame + 14 + mbuf->l3_len;
  if (ipv4) {
    net::store_be16(frame + 16, header_bytes - 14 + bytes);
  } else {
    net::store_be16(frame + 18, header_bytes - 14 - 40 + bytes);
  }
  net::store_be32(tcp + 4, net::load_be32(tcp + 4) + offset);
  if (!last) tcp[13] &= static_cast<uint8_t>(~(net::kFin | net::kPsh));
  return mbuf;
}

// Cuts what a worker left to its port to cut. (net_tap cuts IPv4 alone, and never 64 KiB.)
void cut(rte_mbuf* segment, rte_mempool* pool, uint16_t kernel) {
  static uint8_t whole[65536 + 128];
  const uint32_t length = segment->pkt_len;
  const uint32_t header_bytes =
      describe(segment, rte_pktmbuf_mtod(segment, const uint8_t*)[12] == 0x08);
  const void* bytes = rte_pktmbuf_read(segment, 0, length, whole);
  const auto* data = static_cast<const uint8_t*>(bytes);
  for (uint32_t at = header_bytes; at < length; at += segment->tso_segsz) {
    const uint32_t part = std::min<uint32_t>(segment->tso_segsz, length - at);
    rte_mbuf* packet = make_packet(pool, data, header_bytes, data + at, part, at - header_bytes,
                                   at + part == length);
    if (packet != nullptr) send(kernel, 0, packet);
  }
  rte_pktmbuf_free(segment);
}

// Towards the kernel, with what the worker left to its port done.
void complete(rte_mbuf* mbuf, rte_mempool* pool, uint16_t kernel) {
  const uint64_t came = mbuf->ol_flags;
  mbuf->ol_flags = 0;
  if ((came & RTE_MBUF_F_RX_LRO) != 0) return cut(mbuf, pool, kernel);
  if ((came & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE) {
    describe(mbuf, rte_pktmbuf_mtod(mbuf, const uint8_t*)[12] == 0x08);
  }
  send(kernel, 0, mbuf);
}

bool start(uint16_t id, uint16_t queues, rte_mempool* pool) {
  rte_eth_conf conf = {};
  rte_eth_dev_info info;
  if (rte_eth_dev_info_get(id, &info) != 0) return false;
  conf.txmode.offloads = info.tx_offload_capa & kOffloads;
  if (rte_eth_dev_configure(id, queues, queues, &conf) != 0) return false;
  for (uint16_t queue = 0; queue < queues; ++queue) {
    if (rte_eth_rx_queue_setup(id, queue, kDescriptors, 0, nullptr, pool) != 0 ||
        rte_eth_tx_queue_setup(id, queue, kDescriptors, 0, nullptr) != 0) {
      return false;
    }
  }
  return rte_eth_dev_start(id) == 0;
}

bool start_eal(const std::vector<std::string>& devices) {
  std::vector<std::string> arguments = {
      "spread",         "--lcores=0@0",        "-m",       "128",
      "--no-huge",      "--no-shconf",         "--no-pci", "--no-telemetry",
      "--iova-mode=va", "--log-level=critical"};
  for (const std::string& device : devices) arguments.push_back("--vdev=" + device);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  return rte_eal_init(static_cast<int>(argv.size()) - 1, argv.data()) >= 0;
}

}  // namespace

int SpreadPort::run(const SpreadPlan& plan, Shared& shared) {
  const bool vhost = plan.link == Link::Vhost;
  const std::string workers = vhost ? "net_vhost0" : "net_memif0";
  const std::string arguments = vhost ? ",queues=1,tso=1,legacy-ol-flags=0,iface="
                                      : ",role=server,socket-abstract=no,socket=";
  if (!start_eal({"net_tap0,iface=" + plan.interface, workers + arguments + plan.socket})) return 1;
  Sides sides;
  rte_mempool* pool = rte_pktmbuf_pool_create("spread", 16384, 0, 0, 2048 + 128, 0);
  if (pool == nullptr || rte_eth_dev_get_port_by_name("net_tap0", &sides.kernel) != 0 ||
      rte_eth_dev_get_port_by_name(workers.c_str(), &sides.workers) != 0 ||
      !start(sides.kernel, 1, pool) || !start(sides.workers, plan.queues, pool)) {
    return 1;
  }
  shared.ready = true;
  while (!shared.stop) {
    rte_mbuf* mbufs[kBurst];
    uint16_t count = rte_eth_rx_burst(sides.kernel, 0, mbufs, kBurst);
    uint32_t moved = count;
    for (uint16_t i = 0; i < count; ++i) {
      const auto* frame = rte_pktmbuf_mtod(mbufs[i], const uint8_t*);
      uint16_t queue = queue_of(plan.settings, frame, mbufs[i]->data_len);
      if (shared.misdirected) queue = static_cast<uint16_t>((queue + 1) % plan.queues);
      mbufs[i]->ol_flags = 0;
      send(sides.workers, queue, mbufs[i]);
    }
    for (uint16_t queue = 0; queue < plan.queues; ++queue) {
      count = rte_eth_rx_burst(sides.workers, queue, mbufs, kBurst);
      moved += count;
      for (uint16_t i = 0; i < count; ++i) {
        shared.largest_bytes = std::max(shared.largest_bytes.load(), mbufs[i]->pkt_len);
        complete(mbufs[i], pool, sides.kernel);
      }
    }
    if (moved == 0) usleep(20);
  }
  return 0;
}

SpreadPort::SpreadPort(const SpreadPlan& plan) {
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  shared_ = new (memory) Shared;
  process_ = fork();
  if (process_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int result = run(plan, *shared_);
  if (result != 0) shared_->failed = true;
  _exit(result);
}

bool SpreadPort::wait_ready() {
  for (int i = 0; i < 1'000 && !shared_->ready && !shared_->failed; ++i) usleep(10'000);
  return shared_->ready;
}

SpreadPort::~SpreadPort() {
  shared_->stop = true;
  if (process_ > 0) waitpid(process_, nullptr, 0);
  munmap(shared_, sizeof(Shared));
}

}  // namespace sluice::dataplane::test
