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
    abi::Counter reason;
  };
  const Row rows[] = {{"echo reply", 34, 0, abi::Counter::drop_icmp},
                      {"timestamp", 34, 13, abi::Counter::drop_icmp},
                      {"redirect", 34, 5, abi::Counter::drop_icmp_redirect},
                      {"a code", 35, 1, abi::Counter::drop_icmp}};
  for (const Row& row : rows) {
    TestFrame request(echo_request(8));
    auto& bytes = request.bytes();
    bytes[row.offset] = row.value;
    std::memset(bytes.data() + 36, 0, 2);
    const uint16_t sum = checksum_finish(checksum_add(bytes.data() + 34, 16));
    std::memcpy(bytes.data() + 36, &sum, 2);
    const test::Parsed parsed = test::parse(request.frame());
    EXPECT_EQ(parsed.kind, PacketKind::Drop) << row.what;
    EXPECT_STREQ(test::name_of(parsed.packet.drop), test::name_of(row.reason)) << row.what;
  }
  TestFrame damaged(echo_request(8));
  damaged.bytes()[45] ^= 1;
  EXPECT_EQ(test::parse(damaged.frame()).packet.drop, abi::Counter::drop_icmp);
  TestFrame cut(echo_request(100));  // the reply is built in one piece of memory
  cut.split(60, 1000);
  EXPECT_EQ(answer(cut, 1'000'000), 0U);
  EXPECT_EQ(counters.get(abi::Counter::drop_icmp), 1U);
}

// Options and a priority tag are the asker's: the reply has neither.
TEST_F(IcmpTest, ReplyHasPlainHeaders) {
  auto bytes = echo_request(20);
  const uint8_t options[4] = {148, 4, 0, 0};
  bytes.insert(bytes.begin() + 34, options, options + 4);
  bytes[14] = 0x46;
  store_be16(bytes.data() + 16, 24 + 28);
  std::memset(bytes.data() + 24, 0, 2);
  const uint16_t sum = checksum_finish(checksum_add(bytes.data() + 14, 24));
  std::memcpy(bytes.data() + 24, &sum, 2);
  const uint8_t tag[4] = {0x81, 0, 0xe0, 0};
  bytes.insert(bytes.begin() + 12, tag, tag + 4);
  TestFrame request(bytes);
  ASSERT_EQ(answer(request, 1'000'000), kEthernetBytes + kIpv4HeaderBytes + 28);
  EXPECT_EQ(load_be16(request.bytes().data() + 12), kEthertypeIpv4);
  EXPECT_EQ(request.bytes()[14], 0x45);
  EXPECT_EQ(checksum_fold(checksum_add(request.bytes().data() + 34, 28)), 0xffff);
}

TEST_F(IcmpTest, AnswersEchoOverIpv6) {
  interface = test::ours6();
  std::vector<uint8_t> message(8 + 56);
  message[0] = 128;
  for (size_t i = 4; i < message.size(); ++i) message[i] = static_cast<uint8_t>(i);
  for (const char* to : {"fd00:99:1::10", "fe80::ff:fe00:1"}) {
    TestFrame request(test::icmpv6_frame(message, "fd00:99:1::2", to, 3));
    ASSERT_EQ(answer(request, 1'000'000), request.bytes().size());
    const uint8_t* ip = request.bytes().data() + kEthernetBytes;
    EXPECT_EQ(std::memcmp(request.bytes().data(), test::kPeerMac.bytes.data(), 6), 0);
    EXPECT_EQ(std::memcmp(ip + 8, test::ip(to).bytes.data(), 16), 0);
    EXPECT_EQ(std::memcmp(ip + 24, test::ip("fd00:99:1::2").bytes.data(), 16), 0);
    EXPECT_EQ(ip[7], kTimeToLive);
    EXPECT_EQ(ip[40], 129);
    EXPECT_EQ(std::memcmp(ip + 44, message.data() + 4, 60), 0);
    EXPECT_EQ(checksum_fold(pseudo_header(ip, kProtocolIcmpv6, 64) + checksum_add(ip + 40, 64)),
              0xffff);
  }
  TestFrame to_all(test::icmpv6_frame(message, "fd00:99:1::2", "ff02::1"));
  EXPECT_EQ(test::parse(to_all.frame()).packet.drop, abi::Counter::drop_icmp);
}

// Behind a destination options header: the reply does not repeat it.
TEST_F(IcmpTest, EchoOverIpv6LosesExtensionHeaders) {
  interface = test::ours6();
  std::vector<uint8_t> payload = {kProtocolIcmpv6, 0, 1, 4, 0, 0, 0, 0};
  payload.resize(8 + 8 + 10, 7);
  payload[8] = 128;
  payload[9] = 0;
  auto bytes = test::ipv6_frame(60, payload);
  test::seal_ipv6(bytes, kProtocolIcmpv6, 54 + 8, 2);
  // The pseudo header speaks of the message alone.
  TestFrame request(bytes);
  ASSERT_EQ(answer(request, 1'000'000), kEthernetBytes + kIpv6HeaderBytes + 18);
  EXPECT_EQ(request.bytes()[20], kProtocolIcmpv6);
  EXPECT_EQ(load_be16(request.bytes().data() + 18), 18);
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
