// One Nic with DPDK's own devices, without hugepages, in a network namespace of its own.
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <thread>

#include "nic_support.h"

namespace sluice::net {
namespace {

PortSettings port(const char* name, const char* device, uint16_t queues) {
  PortSettings settings;
  settings.name = name;
  settings.device = device;
  settings.addresses = {{ip("10.99.1.10"), 24}};
  settings.max_queues = queues;
  return settings;
}

bool open_nic() {
  NicSettings settings;
  settings.program = "nic_test";
  settings.workers = {0, std::thread::hardware_concurrency() > 1 ? 1U : 0U};
  settings.hugepages = Hugepages::Off;
  settings.memory_mib = 224;
  settings.packet_buffers = 3000;
  settings.small_records = 64;
  settings.large_records = 64;
  settings.ports = {port("ring", "net_ring0", 2), port("shared", "net_ring1", 1),
                    port("tap", "net_tap0,iface=nettest-tap", 1), port("silent", "net_null0", 2),
                    port("bond", "net_bonding0,mode=0,slave=net_null1", 2)};
  settings.eal_arguments = {"--vdev=net_null1"};
  std::string error;
  std::vector<std::string> notes;
  nic = Nic::open(settings, error, notes);
  if (nic == nullptr) {
    std::fprintf(stderr, "%s\n", error.c_str());
    return false;
  }
  for (const std::string& note : notes) std::printf("%s\n", note.c_str());
  for (uint32_t i = 0; i < 2; ++i) workers[i] = &nic->worker(i, counters[i]);
  return true;
}

}  // namespace
}  // namespace sluice::net

int main(int argc, char** argv) {
  constexpr int kSkipped = 77;  // meson's exit code for a test that cannot run here
  testing::InitGoogleTest(&argc, argv);
  if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) {
    std::fprintf(stderr, "needs root and a network namespace of its own: skipped\n");
    return kSkipped;
  }
  if (!sluice::net::open_nic()) return 1;
  const int result = RUN_ALL_TESTS();
  sluice::net::nic.reset();
  return result;
}
