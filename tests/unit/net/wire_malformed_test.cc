// What parse_frame refuses, each for its named reason, and what options mean.
#include <gtest/gtest.h>

#include <functional>

#include "net/wire.h"
#include "support.h"

namespace sluice::net {
namespace {

using abi::Counter;
using test::parse;
using test::Parsed;
using test::TestFrame;

// Recomputes both checksums of an untagged frame after a test has changed it.
void seal(std::vector<uint8_t>& bytes) {
  uint8_t* ip = bytes.data() + kEthernetBytes;
  const uint32_t header = (ip[0] & 0x0fU) * 4;
  const uint32_t total = load_be16(ip + 2);
  if (header < 20 || total < header + 18 || kEthernetBytes + total > bytes.size()) return;
  store_be16(ip + 10, 0);
  const uint16_t ip_sum = checksum_finish(checksum_add(ip, header));
  std::memcpy(ip + 10, &ip_sum, 2);
  uint8_t* tcp = ip + header;
  uint8_t rest[4] = {0, kProtocolTcp, 0, 0};
  store_be16(rest + 2, total - header);
  store_be16(tcp + 16, 0);
  const uint16_t tcp_sum = checksum_finish(checksum_add(ip + 12, 8) + checksum_add(rest, 4) +
                                           checksum_add(tcp, total - header));
  std::memcpy(tcp + 16, &tcp_sum, 2);
}

// Every length below the whole frame is refused, whatever the cut; none reads behind the end
// (the sanitizer build watches).
TEST(Wire, EveryTruncationIsRefused) {
  Segment segment = test::peer_segment(kSyn);
  segment.options.mss = 1460;
  segment.options.sack_permitted = true;
  segment.options.has_timestamps = true;
  segment.options.has_window_scale = true;
  const auto bytes = test::build(segment, test::peers(9), test::kOurMac);
  for (size_t length = 0; length < bytes.size(); ++length) {
    TestFrame frame(
        std::vector<uint8_t>(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length)));
    EXPECT_EQ(parse(frame.frame(), test::ours(9)).kind, PacketKind::Drop) << length;
  }
}

TEST(Wire, PaddingIsNotPayload) {
  auto bytes = test::build(test::peer_segment(kAck), test::peers(), test::kOurMac);
  bytes.resize(kMinFrameBytes, 0xee);
  TestFrame frame(bytes);
  const Parsed parsed = parse(frame.frame());
  ASSERT_EQ(parsed.kind, PacketKind::Tcp);
  EXPECT_EQ(parsed.segment.payload.length, 0U);
}

struct Row {
  const char* what;
  std::function<void(std::vector<uint8_t>&)> damage;
  Counter reason;
  bool reseal = true;
};

// Offsets in the untagged frame: IP at 14, TCP at 34, options at 54.
TEST(Wire, MalformedPackets) {
  const auto set = [](size_t at, uint8_t value) {
    return [at, value](std::vector<uint8_t>& b) { b[at] = value; };
  };
  const auto set32 = [](size_t at, uint32_t value) {
    return [at, value](std::vector<uint8_t>& b) { store_be32(b.data() + at, value); };
  };
  const Row rows[] = {
      {"ethertype", set(13, 0x99), Counter::drop_ethertype},
      {"IPv4 that calls itself IPv6", [](auto& b) { store_be16(b.data() + 12, 0x86dd); },
       Counter::drop_ip_header},
      {"a tag where none is expected",
       [](auto& b) {
         const uint8_t tag[4] = {0x81, 0, 0, 5};
         b.insert(b.begin() + 12, tag, tag + 4);
       },
       Counter::drop_vlan, false},
      {"two tags",
       [](auto& b) {
         const uint8_t tags[8] = {0x81, 0, 0, 0, 0x81, 0, 0, 0};
         b.insert(b.begin() + 12, tags, tags + 8);
       },
       Counter::drop_ethertype, false},
      {"multicast link source", set(6, 0x03), Counter::drop_bad_source},
      {"another host's MAC", set(5, 0x77), Counter::drop_not_ours},
      {"unicast IP in a link broadcast", [](auto& b) { std::fill_n(b.begin(), 6, uint8_t{0xff}); },
       Counter::drop_not_ours},
      {"IP version", set(14, 0x65), Counter::drop_ip_header},
      {"IP header length 16", set(14, 0x44), Counter::drop_ip_header},
      {"IP header longer than the frame",
       [](auto& b) {
         b.resize(50);
         b[14] = 0x4f;
       },
       Counter::drop_runt},
      {"IP length below the header", [](auto& b) { store_be16(b.data() + 16, 19); },
       Counter::drop_ip_header},
      {"IP length beyond the frame", [](auto& b) { store_be16(b.data() + 16, 2000); },
       Counter::drop_runt},
      {"IP checksum", set(24, 0x12), Counter::drop_ip_checksum, false},
      {"first fragment without the options",
       [](auto& b) {
         b.resize(14 + 40);
         store_be16(b.data() + 16, 40);
         b[20] = 0x20;
       },
       Counter::drop_fragment_tiny},
      {"fragment of ICMP",
       [](auto& b) {
         b[20] = 0x20;
         b[23] = kProtocolIcmp;
       },
       Counter::drop_icmp},
      {"fragment of UDP",
       [](auto& b) {
         b[20] = 0x20;
         b[23] = kProtocolUdp;
       },
       Counter::drop_udp},
      {"another address", set32(30, 0x0a630163), Counter::drop_not_ours},
      {"source: own address", set32(26, 0x0a63010a), Counter::drop_bad_source},
      {"source: limited broadcast", set32(26, 0xffffffff), Counter::drop_bad_source},
      {"source: subnet broadcast", set32(26, 0x0a6301ff), Counter::drop_bad_source},
      {"source: multicast", set32(26, 0xe0000001), Counter::drop_bad_source},
      {"source: loopback", set32(26, 0x7f000001), Counter::drop_bad_source},
      {"source: this network", set32(26, 0x00000005), Counter::drop_bad_source},
      {"UDP", set(23, 17), Counter::drop_udp},
      {"ESP", set(23, 50), Counter::drop_ipsec},
      {"AH", set(23, 51), Counter::drop_ipsec},
      {"SCTP", set(23, 132), Counter::drop_protocol},
      {"ICMPv6 in IPv4", set(23, 58), Counter::drop_protocol},
      {"TCP checksum", set(50, 0xee), Counter::drop_tcp_checksum, false},
      {"payload bit flip", [](auto& b) { b.back() ^= 1; }, Counter::drop_tcp_checksum, false},
      {"data offset 4", set(46, 0x40), Counter::drop_tcp_header},
      {"data offset beyond the packet",
       [](auto& b) {
         b.resize(60);
         store_be16(b.data() + 16, 46);
         b[46] = 0xf0;
       },
       Counter::drop_tcp_header},
      {"no whole TCP header",
       [](auto& b) {
         b.resize(52);
         store_be16(b.data() + 16, 38);
       },
       Counter::drop_tcp_header},
      {"source port 0", [](auto& b) { store_be16(b.data() + 34, 0); }, Counter::drop_tcp_header},
      {"destination port 0", [](auto& b) { store_be16(b.data() + 36, 0); },
       Counter::drop_tcp_header},
      {"option of length 0",
       [](auto& b) {
         b[54] = 8;
         b[55] = 0;
       },
       Counter::drop_tcp_header},
      {"option of length 1",
       [](auto& b) {
         b[54] = 30;
         b[55] = 1;
       },
       Counter::drop_tcp_header},
      {"option beyond the header",
       [](auto& b) {
         b[54] = 30;
         b[55] = 13;
       },
       Counter::drop_tcp_header},
      {"option without a length",
       [](auto& b) {
         std::fill_n(b.begin() + 54, 11, uint8_t{1});
         b[65] = 8;
       },
       Counter::drop_tcp_header},
      {"timestamps of length 8",
       [](auto& b) {
         b[54] = 8;
         b[55] = 8;
       },
       Counter::drop_tcp_header},
      {"MSS of length 6",
       [](auto& b) {
         b[54] = 2;
         b[55] = 6;
       },
       Counter::drop_tcp_header},
      {"window scale of length 4",
       [](auto& b) {
         b[54] = 3;
         b[55] = 4;
       },
       Counter::drop_tcp_header},
      {"SACK permitted of length 3",
       [](auto& b) {
         b[54] = 4;
         b[55] = 3;
       },
       Counter::drop_tcp_header},
      {"SACK without a block",
       [](auto& b) {
         b[54] = 5;
         b[55] = 2;
       },
       Counter::drop_tcp_header},
      {"SACK with half a block",
       [](auto& b) {
         b[54] = 5;
         b[55] = 6;
       },
       Counter::drop_tcp_header},
  };
  std::vector<uint8_t> payload(64, 0x33);
  test::TestOwner owner;
  Segment segment = test::peer_segment(kAck);
  segment.options.has_timestamps = true;
  segment.payload.append({payload.data(), 64, &owner});
  const auto good = test::build(segment, test::peers(), test::kOurMac);
  ASSERT_EQ(good.size(), 14U + 20 + 32 + 64);
  for (const Row& row : rows) {
    auto bytes = good;
    row.damage(bytes);
    if (row.reseal) seal(bytes);
    TestFrame frame(bytes);
    const Parsed parsed = parse(frame.frame());
    EXPECT_EQ(parsed.kind, PacketKind::Drop) << row.what;
    EXPECT_STREQ(abi::kCounterInfo[static_cast<uint16_t>(parsed.packet.drop)].name,
                 abi::kCounterInfo[static_cast<uint16_t>(row.reason)].name)
        << row.what;
  }
}

// IP options at 34, TCP behind them.
TEST(Wire, IpOptions) {
  struct OptionRow {
    const char* what;
    std::array<uint8_t, 8> options;
    PacketKind kind;
    Counter reason;
  };
  const OptionRow rows[] = {
      {"router alert", {148, 4, 0, 0, 0, 0, 0, 0}, PacketKind::Tcp, Counter::drop_runt},
      {"end, then nonsense", {0, 131, 1, 255, 9, 9, 9, 9}, PacketKind::Tcp, Counter::drop_runt},
      {"loose source route",
       {1, 131, 7, 4, 1, 2, 3, 4},
       PacketKind::Drop,
       Counter::drop_ip_options},
      {"strict source route",
       {137, 7, 4, 1, 2, 3, 4, 0},
       PacketKind::Drop,
       Counter::drop_ip_options},
      {"length 0", {7, 0, 0, 0, 0, 0, 0, 0}, PacketKind::Drop, Counter::drop_ip_header},
      {"length 1", {7, 1, 0, 0, 0, 0, 0, 0}, PacketKind::Drop, Counter::drop_ip_header},
      {"beyond the header", {7, 9, 0, 0, 0, 0, 0, 0}, PacketKind::Drop, Counter::drop_ip_header},
      {"no length", {1, 1, 1, 1, 1, 1, 1, 7}, PacketKind::Drop, Counter::drop_ip_header},
  };
  const auto plain = test::build(test::peer_segment(kAck), test::peers(), test::kOurMac);
  for (const OptionRow& row : rows) {
    auto bytes = plain;
    bytes.insert(bytes.begin() + 34, row.options.begin(), row.options.end());
    bytes[14] = 0x47;
    store_be16(bytes.data() + 16, static_cast<uint32_t>(bytes.size()) - kEthernetBytes);
    seal(bytes);
    TestFrame frame(bytes);
    const Parsed parsed = parse(frame.frame());
    EXPECT_EQ(parsed.kind, row.kind) << row.what;
    if (row.kind == PacketKind::Drop) {
      EXPECT_EQ(parsed.packet.drop, row.reason) << row.what;
    }
  }
}

TEST(Wire, OptionSemantics) {
  Segment segment = test::peer_segment(kSyn);
  segment.options.has_window_scale = true;
  segment.options.window_scale = 200;
  segment.options.mss = 9000;
  auto bytes = test::build(segment, test::peers(), test::kOurMac);
  TestFrame syn(bytes);
  EXPECT_EQ(parse(syn.frame()).segment.options.window_scale, 14) << "RFC 7323 2.3";
  bytes[47] = kAck;  // the same options outside of a SYN mean nothing
  seal(bytes);
  TestFrame ack(bytes);
  const Parsed parsed = parse(ack.frame());
  ASSERT_EQ(parsed.kind, PacketKind::Tcp);
  EXPECT_EQ(parsed.segment.options.mss, 0);
  EXPECT_FALSE(parsed.segment.options.has_window_scale);
}

TEST(Wire, ChecksumsThatThePortVerifiedAreBelieved) {
  auto bytes = test::build(test::peer_segment(kAck), test::peers(), test::kOurMac);
  bytes[50] ^= 0xff;
  TestFrame frame(bytes);
  EXPECT_EQ(parse(frame.frame()).kind, PacketKind::Drop);
  frame.frame().checksum_ok = true;
  EXPECT_EQ(parse(frame.frame()).kind, PacketKind::Tcp);
}

TEST(Wire, PriorityTagCountsAsNone) {
  auto bytes = test::build(test::peer_segment(kAck), test::peers(), test::kOurMac);
  const uint8_t tag[4] = {0x81, 0, 0xe0, 0};
  bytes.insert(bytes.begin() + 12, tag, tag + 4);
  TestFrame frame(bytes);
  EXPECT_EQ(parse(frame.frame()).kind, PacketKind::Tcp);
  EXPECT_EQ(parse(frame.frame(), test::ours(5)).packet.drop, Counter::drop_vlan);
}

// Headers that lie behind the first piece are refused rather than gathered.
TEST(Wire, HeadersMustBeInTheFirstPiece) {
  std::vector<uint8_t> payload(64, 0x33);
  test::TestOwner owner;
  Segment segment = test::peer_segment(kAck);
  segment.payload.append({payload.data(), 64, &owner});
  const auto bytes = test::build(segment, test::peers(), test::kOurMac);
  for (uint32_t first = 1; first < bytes.size(); ++first) {
    TestFrame frame(bytes);
    frame.split(first, 2000);
    EXPECT_EQ(parse(frame.frame()).kind, first < 54 ? PacketKind::Drop : PacketKind::Tcp) << first;
  }
}

}  // namespace
}  // namespace sluice::net
