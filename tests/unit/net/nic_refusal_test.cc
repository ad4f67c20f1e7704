// Configurations that a port refuses, each in a process of its own: DPDK starts once in each.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "net/nic.h"
#include "support.h"

namespace sluice::net {
namespace {

using ::testing::HasSubstr;

// What Nic::open says; empty when it opens.
std::string error_of(const PortSettings& port) {
  NicSettings settings;
  settings.program = "nic_refusal_test";
  settings.workers = {0};
  settings.hugepages = Hugepages::Off;
  settings.memory_mib = 192;
  settings.packet_buffers = 6144;
  settings.small_records = 64;
  settings.large_records = 64;
  settings.log_level = "critical";
  settings.ports = {port};
  std::string error;
  std::vector<std::string> notes;
  return Nic::open(settings, error, notes) == nullptr ? error : "";
}

// The same of a child in a network namespace with a pair of interfaces.
std::string error_in_child(const PortSettings& port) {
  int ends[2];
  if (pipe(ends) != 0) std::abort();
  const pid_t child = fork();
  if (child == 0) {
    const bool ready =
        unshare(CLONE_NEWNET) == 0 && std::system(
                                          "ip link add nic-a type veth peer name nic-b && "
                                          "ip link set nic-a up && ip link set nic-b up") == 0;
    const std::string error = ready ? error_of(port) : "no namespace";
    const bool written = write(ends[1], error.data(), error.size()) >= 0;
    _exit(written ? 0 : 1);
  }
  close(ends[1]);
  std::string error(4096, '\0');
  const ssize_t length = read(ends[0], error.data(), error.size());
  close(ends[0]);
  waitpid(child, nullptr, 0);
  error.resize(length > 0 ? static_cast<size_t>(length) : 0);
  return error;
}

PortSettings port(const char* device, uint16_t mtu) {
  PortSettings settings;
  settings.name = "front";
  settings.device = device;
  settings.addresses = {{test::ip("10.99.1.10"), 24}, {test::ip("fd00:99:1::10"), 64}};
  settings.mtu = mtu;
  return settings;
}

constexpr char kPacketSocket[] = "net_af_packet0,iface=nic-a";
constexpr char kXdp[] = "net_af_xdp0,iface=nic-a,busy_budget=0";

struct NicRefusal : testing::Test {
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
  }
};

TEST_F(NicRefusal, JumboFramesWhereTheDeviceHasNone) {
  EXPECT_EQ(error_in_child(port(kPacketSocket, 9000)),
            "port front: mtu = 9000, but net_af_packet takes 576 to 1500");
  EXPECT_THAT(error_in_child(port(kXdp, 9000)),
              HasSubstr("port front: mtu = 9000, but net_af_xdp takes 576 to 3"));
  EXPECT_EQ(error_in_child(port("net_tap0,iface=nic-t", 9000)),
            "port front: mtu = 9000, but net_tap takes 576 to 1504");
}

TEST_F(NicRefusal, MtusOutsideOfTheProtocols) {
  EXPECT_THAT(error_in_child(port("net_ring0", 500)), HasSubstr("takes 576 to 9216"));
  EXPECT_THAT(error_in_child(port("net_ring0", 9217)), HasSubstr("takes 576 to 9216"));
  EXPECT_EQ(error_in_child(port("net_ring0", 9216)), "");
}

TEST_F(NicRefusal, TheUsualMtuIsTaken) {
  EXPECT_EQ(error_in_child(port(kPacketSocket, 1500)), "");
  EXPECT_EQ(error_in_child(port(kXdp, 1500)), "");
}

TEST_F(NicRefusal, ADeviceThatIsNotThere) {
  EXPECT_THAT(error_in_child(port("0000:7f:1f.7", 1500)), HasSubstr("port front: DPDK has no"));
}

}  // namespace
}  // namespace sluice::net
