// The share of one source prefix.
#include "flow/source_limit.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace sluice::flow {
namespace {

constexpr uint8_t kKey[16] = {1, 2, 3};

abi::IpAddress ipv6(uint8_t network, uint8_t host) {
  abi::IpAddress address;
  address.bytes[0] = 0x20;
  address.bytes[6] = network;  // the last byte of a /56
  address.bytes[7] = host;
  address.bytes[15] = host;
  return address;
}

TEST(SourceLimiter, CountsByPrefix) {
  SourceLimiter limiter({2, 24, 56}, 1000, kKey);
  EXPECT_TRUE(limiter.enter(abi::IpAddress::from_ipv4(0x0a000001)));
  EXPECT_TRUE(limiter.enter(abi::IpAddress::from_ipv4(0x0a0000ff)));
  EXPECT_FALSE(limiter.enter(abi::IpAddress::from_ipv4(0x0a000002)));
  EXPECT_TRUE(limiter.enter(abi::IpAddress::from_ipv4(0x0a000102)));
  limiter.leave(abi::IpAddress::from_ipv4(0x0a0000ff));
  EXPECT_TRUE(limiter.enter(abi::IpAddress::from_ipv4(0x0a000003)));
  EXPECT_FALSE(limiter.enter(abi::IpAddress::from_ipv4(0x0a000003)));

  EXPECT_TRUE(limiter.enter(ipv6(1, 1)));
  EXPECT_TRUE(limiter.enter(ipv6(1, 200)));
  EXPECT_FALSE(limiter.enter(ipv6(1, 3)));
  EXPECT_TRUE(limiter.enter(ipv6(2, 3)));
}

TEST(SourceLimiter, WholeAddressesAndNoLimit) {
  SourceLimiter whole({1, 32, 128}, 1000, kKey);
  EXPECT_TRUE(whole.enter(abi::IpAddress::from_ipv4(0x0a000001)));
  EXPECT_TRUE(whole.enter(abi::IpAddress::from_ipv4(0x0a000002)));
  EXPECT_FALSE(whole.enter(abi::IpAddress::from_ipv4(0x0a000002)));

  SourceLimiter none({}, 1000, kKey);
  for (int i = 0; i < 2000; ++i) {
    EXPECT_TRUE(none.enter(abi::IpAddress::from_ipv4(0x0a000001)));
  }
  none.leave(abi::IpAddress::from_ipv4(0x0a000001));
}

// As many sources as flows, each with its share: hardly anyone pays for a stranger.
TEST(SourceLimiter, StrangersDoNotPay) {
  constexpr uint32_t kFlows = 10'000;
  SourceLimiter limiter({1, 32, 128}, kFlows, kKey);
  std::mt19937 random(7);
  std::vector<abi::IpAddress> inside;
  uint32_t refused = 0;
  for (uint32_t i = 0; i < kFlows; ++i) {
    const auto client = abi::IpAddress::from_ipv4(static_cast<uint32_t>(random()));
    if (limiter.enter(client)) {
      inside.push_back(client);
    } else {
      ++refused;
    }
  }
  EXPECT_LT(refused, kFlows / 10);
  for (const auto& client : inside) limiter.leave(client);
  for (const auto& client : inside) {  // nothing has stuck
    EXPECT_TRUE(limiter.enter(client));
    limiter.leave(client);
  }
}

}  // namespace
}  // namespace sluice::flow
