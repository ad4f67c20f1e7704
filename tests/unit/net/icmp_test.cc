#include "net/icmp.h"

#include <gtest/gtest.h>

#include "support.h"

namespace sluice::net {
namespace {

using test::TestFrame;

// An echo request from the peer with `payload` bytes, checksums right.
std::vector<uint8_t> echo_request(uint32_t payload) {
  std::vector<uint8_t> frame(kEthernetBytes + kIpv4HeaderBytes + 8 + payload);
  build_ethernet(test::peers(), test::kOurMac, kEthertypeIpv4, frame.data());
  uint8_t* ip = frame.data() + kEthernetBytes;
  ip[0] = 0x45;
  store_be16(ip + 2, kIpv4HeaderBytes + 8 + payload);
  ip[8] = 3;
  ip[9] = kProtocolIcmp;
  store_be32(ip + 12, test::ip("10.99.1.2").ipv4());
  store_be32(ip + 16, test::ip("10.99.1.10").ipv4());
  uint16_t sum = checksum_finish(checksum_add(ip, kIpv4HeaderBytes));
  std::memcpy(ip + 10, &sum, 2);
  uint8_t* icmp = ip + kIpv4HeaderBytes;
  icmp[0] = 8;
  store_be32(icmp + 4, 0x12340001);
  for (uint32_t i = 0; i < payload; ++i) icmp[8 + i] = static_cast<uint8_t>(i);
  sum = checksum_finish(checksum_add(icmp, 8 + payload));
  std::memcpy(icmp + 2, &sum, 2);
  return frame;
}

struct IcmpTest : testing::Test {
  uint32_t answer(TestFrame& request, uint64_t now_us) {
    Packet packet;
    Segment segment;
    EXPECT_EQ(parse_frame(request.frame(), interface, packet, segment), PacketKind::Icmp);
    return responder.reply(request.frame(), packet, interface, now_us);
  }
  Interface interface = test::ours();
  abi::Counters counters;
  IcmpResponder responder{counters};
};

TEST_F(IcmpTest, AnswersEcho) {
  for (const uint32_t payload : {0U, 1U, 56U, 1472U}) {
    TestFrame request(echo_request(payload));
    const auto before = request.bytes();
    ASSERT_EQ(answer(request, 1'000'000), before.size());
    const auto& after = request.bytes();
    EXPECT_EQ(std::memcmp(after.data(), test::kPeerMac.bytes.data(), 6), 0);
    EXPECT_EQ(std::memcmp(after.data() + 6, test::kOurMac.bytes.data(), 6), 0);
    const uint8_t* ip = after.data() + kEthernetBytes;
    EXPECT_EQ(checksum_fold(checksum_add(ip, kIpv4HeaderBytes)), 0xffff);
    EXPECT_EQ(load_be32(ip + 12), test::ip("10.99.1.10").ipv4());
    EXPECT_EQ(load_be32(ip + 16), test::ip("10.99.1.2").ipv4());
    EXPECT_EQ(ip[8], kTimeToLive);
    const uint8_t* icmp = ip + kIpv4HeaderBytes;
    EXPECT_EQ(icmp[0], 0);
    EXPECT_EQ(checksum_fold(checksum_add(icmp, 8 + payload)), 0xffff);
    EXPECT_EQ(std::memcmp(icmp + 4, before.data() + 38, 4 + payload), 0);
  }
  EXPECT_EQ(counters.get(abi::Counter::icmp_echo_replies), 4U);
}

TEST_F(IcmpTest, RefusesTheRest) {
  struct Row {
    const char* what;
    uint32_t offset;
    uint8_t value;
  };
  const Row rows[] = {{"echo reply", 34, 0},
                      {"unreachable", 34, 3},
                      {"a code", 35, 1},
                      {"wrong checksum", 45, 0xee}};
  for (const Row& row : rows) {
    TestFrame request(echo_request(8));
    request.bytes()[row.offset] = row.value;
    EXPECT_EQ(answer(request, 1'000'000), 0U) << row.what;
  }
  EXPECT_EQ(counters.get(abi::Counter::drop_icmp), 4U);
  TestFrame cut(echo_request(100));  // the reply is built in one piece of memory
  cut.split(60, 1000);
  EXPECT_EQ(answer(cut, 1'000'000), 0U);
}

TEST_F(IcmpTest, IsRateLimited) {
  uint64_t now_us = 5'000'000;
  uint32_t answered = 0;
  for (uint32_t i = 0; i < 2 * kIcmpBurst; ++i) {
    TestFrame request(echo_request(8));
    answered += answer(request, now_us) != 0 ? 1 : 0;
  }
  EXPECT_EQ(answered, kIcmpBurst);
  EXPECT_EQ(counters.get(abi::Counter::icmp_rate_limited), kIcmpBurst);
  for (uint32_t i = 0; i < 10'000; ++i) {  // a second at ten times the rate
    now_us += 100;
    TestFrame request(echo_request(8));
    answered += answer(request, now_us) != 0 ? 1 : 0;
  }
  EXPECT_NEAR(answered, kIcmpBurst + kIcmpRepliesPerSecond, 2);
}

}  // namespace
}  // namespace sluice::net
