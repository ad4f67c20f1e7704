// Answers ARP and ICMP echo on one device for some seconds, and says what it saw: the smallest
// user of nic, for trying a device by hand.
//   nic_ping DEVICE ADDRESS/PREFIX SECONDS [MEMORY_MIB [hugepages]]
//   nic_ping net_af_xdp0,iface=eth1,start_queue=0,queue_count=1,busy_budget=0 10.0.0.9/24 10
#include <time.h>

#include <cstdio>
#include <cstdlib>

#include "net/icmp.h"
#include "net/neighbor.h"
#include "net/nic.h"

namespace sluice::net {
namespace {

uint64_t now_us() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

bool parse_arguments(int argc, char** argv, NicSettings& settings) {
  if (argc < 4 || argc > 6) return false;
  PortSettings port;
  port.name = "ping";
  port.device = argv[1];
  const std::string text = argv[2];
  const size_t slash = text.find('/');
  InterfaceAddress address;
  if (slash == std::string::npos ||
      !abi::parse_ip_address(text.substr(0, slash), address.address)) {
    return false;
  }
  address.prefix_bits = static_cast<uint8_t>(std::atoi(text.c_str() + slash + 1));
  port.addresses = {address};
  settings.program = "nic_ping";
  settings.workers = {0};
  settings.hugepages = argc == 6 ? Hugepages::Required : Hugepages::Off;
  settings.memory_mib = argc > 4 ? static_cast<uint32_t>(std::atoi(argv[4])) : 128;
  settings.ports = {port};
  return true;
}

void turn(NicWorker& worker, NeighborTable& neighbors, IcmpResponder& icmp,
          abi::Counters& counters) {
  FrameBatch batch;
  const uint64_t now = now_us();
  worker.receive(0, batch);
  for (uint32_t i = 0; i < batch.count; ++i) {
    const Frame& frame = batch.frames[i];
    Packet packet;
    Segment segment;
    switch (parse_frame(frame, worker.interface(0), packet, segment)) {
      case PacketKind::Neighbor:
        neighbors.input(frame, packet, now);
        break;
      case PacketKind::Icmp:
        if (const uint32_t length = icmp.reply(frame, packet, worker.interface(0), now)) {
          worker.send_frame(0, {frame.data, length});
        }
        break;
      case PacketKind::Tcp:
        counters.add(abi::Counter::tcp_segments_in);
        break;
      case PacketKind::IcmpError:
        counters.add(abi::Counter::icmp_errors_in);
        break;
      case PacketKind::Fragment:
        counters.add(abi::Counter::drop_ip_fragment);
        break;
      case PacketKind::Drop:
        counters.add(packet.drop);
        break;
    }
    release_frame(frame);
  }
  neighbors.tick(now);
  std::array<uint8_t, kNeighborFrameBytes> out;
  while (const uint32_t length = neighbors.next_frame(out)) {
    worker.send_frame(0, {out.data(), length});
  }
  worker.flush();
}

int run(const NicSettings& settings, uint64_t seconds) {
  std::string error;
  std::vector<std::string> notes;
  const auto nic = Nic::open(settings, error, notes);
  for (const std::string& note : notes) std::printf("note: %s\n", note.c_str());
  if (nic == nullptr) {
    std::fprintf(stderr, "%s\n", error.c_str());
    return 1;
  }
  const PortInfo info = nic->port_info(0);
  std::printf("%s, %u queue(s) of %u buffers, MTU %u, chains %d, checksums %d, segmentation %d\n",
              info.driver.c_str(), info.queues, info.packet_buffers, info.mtu, info.chains,
              info.checksum_offload, info.segmentation_offload);
  abi::Counters counters;
  NicWorker& worker = nic->worker(0, counters);
  NeighborTable neighbors(worker.interface(0), counters);
  IcmpResponder icmp(counters);
  neighbors.announce();
  std::fflush(stdout);
  for (const uint64_t end = now_us() + seconds * 1'000'000; now_us() < end;) {
    turn(worker, neighbors, icmp, counters);
  }
  for (uint16_t i = 0; i < abi::kCounters; ++i) {
    const uint64_t value = counters.values()[i];
    if (value != 0) std::printf("%s %lu\n", abi::kCounterInfo[i].name, value);
  }
  const PortStatistics statistics = nic->port_statistics(0);
  std::printf("port: rx %lu missed %lu, tx %lu errors %lu\n", statistics.rx_packets,
              statistics.rx_missed, statistics.tx_packets, statistics.tx_errors);
  return 0;
}

}  // namespace
}  // namespace sluice::net

int main(int argc, char** argv) {
  sluice::net::NicSettings settings;
  if (!sluice::net::parse_arguments(argc, argv, settings)) {
    std::fprintf(stderr, "usage: %s DEVICE ADDRESS/PREFIX SECONDS [MEMORY_MIB [hugepages]]\n",
                 argv[0]);
    return 2;
  }
  return sluice::net::run(settings, static_cast<uint64_t>(std::atoi(argv[3])));
}
