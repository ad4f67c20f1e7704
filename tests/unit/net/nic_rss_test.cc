// What nic makes of a port's own word about its RSS: read back from DPDK's devices that have any.
#include "nic_support.h"

namespace sluice::net {
namespace {

TEST_F(NicTest, PortsWithoutRssAreSpreadByTheWorkers) {
  for (const uint32_t port : {kRing, kShared, kTap}) {
    EXPECT_EQ(nic->rss(port), nullptr);
    EXPECT_EQ(nic->port_info(port).spreading, "the workers");
  }
  EXPECT_EQ(workers[1]->rss(kRing), nullptr);
}

// Its table sends everything to queue 0 and leaves worker 1 without answers.
TEST_F(NicTest, APortWhoseWordMakesNoMapIsNotTrusted) {
  EXPECT_EQ(nic->rss(kSilent), nullptr);
  EXPECT_EQ(nic->port_info(kSilent).spreading, "the workers");
}

TEST_F(NicTest, KeyAndTableAreReadBackAsTheyAre) {
  const RssMap* map = nic->rss(kBond);
  ASSERT_NE(map, nullptr);
  EXPECT_EQ(workers[0]->rss(kBond), map);
  EXPECT_EQ(map->settings().key.size(), 40U);
  ASSERT_EQ(map->settings().reta.size(), 128U);
  for (uint32_t i = 0; i < 128; ++i) EXPECT_EQ(map->settings().reta[i], i % 2);
  EXPECT_TRUE(map->covers(ip("10.0.0.1")));
  EXPECT_TRUE(map->covers(ip("fd00::1")));
  EXPECT_EQ(nic->port_info(kBond).spreading, "RSS, key of 40 bytes, table of 128, IPv4, IPv6");
}

}  // namespace
}  // namespace sluice::net
