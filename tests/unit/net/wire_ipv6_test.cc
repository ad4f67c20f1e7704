// IPv6: round trips, what the builders write, and what parse_frame refuses, each for its reason.
#include <gtest/gtest.h>

#include <functional>

#include "net/ipv6.h"
#include "net/wire.h"
#include "support.h"

namespace sluice::net {
namespace {

using abi::Counter;
using test::ip;
using test::parse;
using test::Parsed;
using test::TestFrame;

constexpr size_t kTransport = kEthernetBytes + kIpv6HeaderBytes;  // of an untagged frame

Segment segment_of(std::vector<uint8_t>& payload, test::TestOwner& owner, uint8_t flags = kAck) {
  Segment segment = test::peer_segment6(flags);
  if (!payload.empty()) {
    segment.payload.append({payload.data(), static_cast<uint32_t>(payload.size()), &owner});
  }
  return segment;
}

TEST(WireIpv6, RoundTripsOverRandomCuts) {
  std::mt19937 random(6);
  test::TestOwner owner;
  for (int round = 0; round < 1000; ++round) {
    auto payload = test::random_bytes(random, random() % 3000);
    Segment segment = segment_of(payload, owner);
    segment.seq = static_cast<uint32_t>(random());
    segment.ecn = static_cast<uint8_t>(random() % 4);
    segment.options.has_timestamps = random() % 2 != 0;
    segment.options.tsval = segment.options.has_timestamps ? 12345 : 0;
    const uint16_t vlan = random() % 2 != 0 ? 7 : 0;
    const auto bytes = test::build(segment, test::peers6(vlan), test::kOurMac);
    const uint32_t headers = header_bytes(segment, test::peers6(vlan));
    ASSERT_EQ(headers,
              kTransport + 20 + (vlan != 0 ? 4 : 0) + (segment.options.has_timestamps ? 12 : 0));
    ASSERT_EQ(bytes.size(), headers + payload.size());
    TestFrame frame(bytes);
    if (random() % 2 != 0 && !payload.empty()) {
      frame.split(headers + static_cast<uint32_t>(random() % payload.size()),
                  200 + static_cast<uint32_t>(random() % 900));
    }
    const Parsed parsed = parse(frame.frame(), test::ours6(vlan));
    ASSERT_EQ(parsed.kind, PacketKind::Tcp) << round;
    EXPECT_EQ(parsed.segment.tuple.local, segment.tuple.remote);
    EXPECT_EQ(parsed.segment.tuple.remote, segment.tuple.local);
    EXPECT_EQ(parsed.segment.seq, segment.seq);
    EXPECT_EQ(parsed.segment.ecn, segment.ecn);
    EXPECT_EQ(parsed.segment.options.tsval, segment.options.tsval);
    EXPECT_EQ(test::bytes_of(parsed.segment.payload), payload);
    EXPECT_EQ(parsed.packet.time_to_live, kTimeToLive);
  }
}

// A port that joins segments hands over up to 64 KiB in many pieces.
TEST(WireIpv6, LargeReceivedSegments) {
  std::mt19937 random(7);
  test::TestOwner owner;
  auto payload = test::random_bytes(random, 65535 - 20);
  Segment segment = segment_of(payload, owner);
  TestFrame frame(test::build(segment, test::peers6(), test::kOurMac));
  frame.split(kTransport + 20 + 1428, 1428);
  const Parsed parsed = parse(frame.frame());
  ASSERT_EQ(parsed.kind, PacketKind::Tcp);
  EXPECT_EQ(parsed.segment.payload.length, payload.size());
  EXPECT_EQ(parsed.segment.payload.count, 46U);
  EXPECT_EQ(test::bytes_of(parsed.segment.payload), payload);
}

TEST(WireIpv6, RoomInAPacket) {
  Segment segment = test::peer_segment6(kAck);
  EXPECT_EQ(max_payload_bytes(segment, test::peers6()), 1440U);
  segment.options.has_timestamps = true;
  EXPECT_EQ(max_payload_bytes(segment, test::peers6()), 1428U);
  EXPECT_EQ(ip_header_bytes(segment), kIpv6HeaderBytes);
  segment.tuple.local.address = ip("10.99.1.2");
  EXPECT_EQ(header_bytes(segment, test::peers6()), 0U) << "two families";
}

// What a port that checksums or segments expects in the field: the pseudo header's sum.
TEST(WireIpv6, PartialChecksums) {
  std::mt19937 random(8);
  test::TestOwner owner;
  auto payload = test::random_bytes(random, 5000);
  const Segment segment = segment_of(payload, owner);
  const Cut cut{0, 5000, true, true};
  for (const ChecksumBy by : {ChecksumBy::Hardware, ChecksumBy::HardwareTso}) {
    std::array<uint8_t, kMaxHeaderBytes> out{};
    const Interface from = test::peers6();
    const uint32_t length = build_headers({segment, from, test::kOurMac, cut, by, 0}, out.data());
    ASSERT_EQ(length, kTransport + 20);
    // RFC 8200 8.1, by hand: addresses, length, next header.
    uint64_t sum = 0;
    for (size_t i = 22; i < 54; i += 2) sum += load_be16(out.data() + i);
    sum += kProtocolTcp + (by == ChecksumBy::Hardware ? 5020 : 0);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    EXPECT_EQ(load_be16(out.data() + kTransport + 16), sum);
  }
}

TEST(WireIpv6, FlowLabelBelongsToTheFlow) {
  Segment segment = test::peer_segment6(kAck);
  const auto label = [&] {
    const auto bytes = test::build(segment, test::peers6(), test::kOurMac);
    return load_be32(bytes.data() + kEthernetBytes) & 0xfffffU;
  };
  const uint32_t first = label();
  segment.seq += 1000;
  EXPECT_EQ(label(), first);
  segment.tuple.local.port ^= 1;
  EXPECT_NE(label(), first);
}

TEST(WireIpv6, EveryTruncationIsRefused) {
  Segment segment = test::peer_segment6(kSyn);
  segment.options.mss = 1440;
  segment.options.has_timestamps = true;
  const auto bytes = test::build(segment, test::peers6(9), test::kOurMac);
  for (size_t length = 0; length < bytes.size(); ++length) {
    TestFrame frame(
        std::vector<uint8_t>(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length)));
    EXPECT_EQ(parse(frame.frame(), test::ours6(9)).kind, PacketKind::Drop) << length;
  }
}

TEST(WireIpv6, PriorityTagCountsAsNone) {
  auto bytes = test::build(test::peer_segment6(kAck), test::peers6(), test::kOurMac);
  const uint8_t tag[4] = {0x81, 0, 0xa0, 0};
  bytes.insert(bytes.begin() + 12, tag, tag + 4);
  TestFrame frame(bytes);
  EXPECT_EQ(parse(frame.frame()).kind, PacketKind::Tcp);
  EXPECT_EQ(parse(frame.frame(), test::ours6(5)).packet.drop, Counter::drop_vlan);
}

struct Row {
  const char* what;
  std::function<void(std::vector<uint8_t>&)> damage;
  Counter reason;
};

void set_address(std::vector<uint8_t>& frame, size_t at, const char* text) {
  std::memcpy(frame.data() + at, ip(text).bytes.data(), 16);
}

// Offsets: IPv6 at 14, source 22, destination 38, TCP at 54.
TEST(WireIpv6, MalformedPackets) {
  const auto set = [](size_t at, uint8_t value) {
    return [at, value](std::vector<uint8_t>& b) { b[at] = value; };
  };
  const auto source = [](const char* text) {
    return [text](std::vector<uint8_t>& b) { set_address(b, 22, text); };
  };
  const auto destination = [](const char* text) {
    return [text](std::vector<uint8_t>& b) { set_address(b, 38, text); };
  };
  const auto mapped = [](size_t at, const char* ipv4) {
    return [at, ipv4](std::vector<uint8_t>& b) {
      std::memcpy(b.data() + at, ip(ipv4).bytes.data(), 16);
    };
  };
  const Row rows[] = {
      {"version 4", set(14, 0x45), Counter::drop_ip_header},
      {"length beyond the frame", [](auto& b) { store_be16(b.data() + 18, 200); },
       Counter::drop_runt},
      {"length 0", [](auto& b) { store_be16(b.data() + 18, 0); }, Counter::drop_ip_header},
      {"jumbogram",
       [](auto& b) {
         store_be16(b.data() + 18, 0);
         b[20] = kNextHopByHop;
       },
       Counter::drop_ipv6_jumbogram},
      {"empty, no next header",
       [](auto& b) {
         store_be16(b.data() + 18, 0);
         b[20] = kNextNone;
       },
       Counter::drop_ipv6_no_next},
      {"no next header", set(20, kNextNone), Counter::drop_ipv6_no_next},
      {"ESP", set(20, kNextEsp), Counter::drop_ipsec},
      {"AH", set(20, kNextAuthentication), Counter::drop_ipsec},
      {"UDP", set(20, 17), Counter::drop_udp},
      {"ICMP of IPv4", set(20, 1), Counter::drop_protocol},
      {"IPv4 in IPv6", set(20, 4), Counter::drop_protocol},
      {"mobility header", set(20, 135), Counter::drop_protocol},
      {"another address", destination("fd00:99:1::11"), Counter::drop_not_ours},
      {"our IPv4 address, mapped", mapped(38, "10.99.1.10"), Counter::drop_not_ours},
      {"TCP to all nodes", destination("ff02::1"), Counter::drop_not_ours},
      {"a group that is not ours", destination("ff02::2"), Counter::drop_not_ours},
      {"link broadcast", [](auto& b) { std::fill_n(b.begin(), 6, uint8_t{0xff}); },
       Counter::drop_not_ours},
      {"link multicast", set(0, 0x33), Counter::drop_not_ours},
      {"source: multicast", source("ff02::5"), Counter::drop_bad_source},
      {"source: unspecified", source("::"), Counter::drop_bad_source},
      {"source: loopback", source("::1"), Counter::drop_bad_source},
      {"source: IPv4-compatible", source("::192.0.2.1"), Counter::drop_bad_source},
      {"source: IPv4-mapped", mapped(22, "192.0.2.1"), Counter::drop_bad_source},
      {"source: ours", source("fd00:99:1::10"), Counter::drop_bad_source},
      {"source: our link-local one", source("fe80::ff:fe00:1"), Counter::drop_bad_source},
      {"TCP checksum", set(54 + 16, 0xee), Counter::drop_tcp_checksum},
      {"another address in the pseudo header", source("fd00:99:1::3"), Counter::drop_tcp_checksum},
      {"payload bit flip", [](auto& b) { b.back() ^= 1; }, Counter::drop_tcp_checksum},
      {"data offset 4", set(54 + 12, 0x40), Counter::drop_tcp_header},
      {"no whole TCP header",
       [](auto& b) {
         b.resize(54 + 16);
         store_be16(b.data() + 18, 16);
       },
       Counter::drop_tcp_header},
  };
  std::vector<uint8_t> payload(64, 0x33);
  test::TestOwner owner;
  const auto good = test::build(segment_of(payload, owner), test::peers6(), test::kOurMac);
  for (const Row& row : rows) {
    auto bytes = good;
    row.damage(bytes);
    TestFrame frame(bytes);
    const Parsed parsed = parse(frame.frame());
    EXPECT_EQ(parsed.kind, PacketKind::Drop) << row.what;
    EXPECT_STREQ(test::name_of(parsed.packet.drop), test::name_of(row.reason)) << row.what;
  }
}

// A TCP segment behind the given extension headers; the last one's next header is 6.
std::vector<uint8_t> behind(uint8_t first, const std::vector<uint8_t>& headers) {
  auto bytes = test::build(test::peer_segment6(kAck), test::peers6(), test::kOurMac);
  bytes[20] = first;
  bytes.insert(bytes.begin() + kTransport, headers.begin(), headers.end());
  store_be16(bytes.data() + 18, static_cast<uint32_t>(bytes.size() - kTransport));
  return bytes;
}

std::vector<uint8_t> chain_of(uint32_t count, uint8_t kind) {
  std::vector<uint8_t> headers;
  for (uint32_t i = 0; i < count; ++i) {
    const uint8_t next = i + 1 == count ? kProtocolTcp : kind;
    headers.insert(headers.end(), {next, 0, 1, 4, 0, 0, 0, 0});
  }
  return headers;
}

std::vector<uint8_t> long_options(uint32_t length) {
  std::vector<uint8_t> header(length, 0);  // Pad1 all over
  header[0] = kProtocolTcp;
  header[1] = static_cast<uint8_t>(length / 8 - 1);
  return header;
}

TEST(WireIpv6, ExtensionHeaders) {
  struct ExtensionRow {
    const char* what;
    uint8_t first;
    std::vector<uint8_t> headers;
    PacketKind kind;
    Counter reason = Counter::drop_runt;
  };
  std::vector<uint8_t> many_options(8 * 6, 0);
  many_options[0] = kProtocolTcp;
  many_options[1] = 5;
  for (size_t i = 2; i + 1 < many_options.size(); i += 2) many_options[i] = 5;  // router alerts
  const ExtensionRow rows[] = {
      {"hop-by-hop, padded", 0, {6, 0, 1, 4, 0, 0, 0, 0}, PacketKind::Tcp},
      {"router alert", 0, {6, 0, 5, 2, 0, 0, 1, 0}, PacketKind::Tcp},
      {"destination options", 60, {6, 0, 0, 0, 0, 0, 0, 0}, PacketKind::Tcp},
      {"option that may be skipped", 60, {6, 0, 0x1e, 4, 9, 9, 9, 9}, PacketKind::Tcp},
      {"all orders but hop-by-hop",
       60,
       {43, 0, 1, 4, 0, 0, 0, 0, 6, 0, 3, 0, 0, 0, 0, 0},
       PacketKind::Tcp},
      {"atomic fragment", 44, {6, 0, 0, 0, 1, 2, 3, 4}, PacketKind::Tcp},
      {"atomic fragment with reserved bits", 44, {6, 9, 0, 6, 1, 2, 3, 4}, PacketKind::Tcp},
      {"the most headers", 60, chain_of(kMaxExtensionHeaders, 60), PacketKind::Tcp},
      {"the longest header", 60, long_options(kMaxExtensionBytes), PacketKind::Tcp},
      {"one header too many", 60, chain_of(kMaxExtensionHeaders + 1, 60), PacketKind::Drop,
       Counter::drop_ipv6_extension},
      {"too long", 60, long_options(kMaxExtensionBytes + 8), PacketKind::Drop,
       Counter::drop_ipv6_extension},
      {"too many options", 60, many_options, PacketKind::Drop, Counter::drop_ipv6_extension},
      {"hop-by-hop behind another",
       60,
       {0, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0},
       PacketKind::Drop,
       Counter::drop_ipv6_extension},
      {"hop-by-hop twice",
       0,
       {0, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0},
       PacketKind::Drop,
       Counter::drop_ipv6_extension},
      {"option beyond its header",
       60,
       {6, 0, 1, 5, 0, 0, 0, 0},
       PacketKind::Drop,
       Counter::drop_ipv6_extension},
      {"option without a length",
       60,
       {6, 0, 1, 3, 0, 0, 0, 9},
       PacketKind::Drop,
       Counter::drop_ipv6_extension},
      {"header beyond the packet",
       60,
       {6, 20, 0, 0, 0, 0, 0, 0},
       PacketKind::Drop,
       Counter::drop_ipv6_extension},
      {"option to discard",
       60,
       {6, 0, 0x5e, 4, 0, 0, 0, 0},
       PacketKind::Drop,
       Counter::drop_ipv6_option},
      {"option to complain about",
       60,
       {6, 0, 0x9e, 4, 0, 0, 0, 0},
       PacketKind::Drop,
       Counter::drop_ipv6_option},
      {"home address",
       60,
       {6, 0, 0xc9, 4, 0, 0, 0, 0},
       PacketKind::Drop,
       Counter::drop_ipv6_option},
      {"jumbo payload",
       0,
       {6, 0, 0xc2, 4, 0, 1, 0, 0},
       PacketKind::Drop,
       Counter::drop_ipv6_jumbogram},
      {"routing type 0",
       43,
       {6, 0, 0, 0, 0, 0, 0, 0},
       PacketKind::Drop,
       Counter::drop_ipv6_routing},
      {"routing type 2",
       43,
       {6, 0, 2, 0, 0, 0, 0, 0},
       PacketKind::Drop,
       Counter::drop_ipv6_routing},
      {"segment routing, done", 43, {6, 0, 4, 0, 0, 0, 0, 0}, PacketKind::Tcp},
      {"segment routing, not done",
       43,
       {6, 0, 4, 1, 0, 0, 0, 0},
       PacketKind::Drop,
       Counter::drop_ipv6_routing},
      {"two fragment headers",
       44,
       {44, 0, 0, 0, 1, 2, 3, 4, 6, 0, 0, 0, 1, 2, 3, 4},
       PacketKind::Drop,
       Counter::drop_ipv6_extension},
      {"first fragment", 44, {6, 0, 0, 1, 1, 2, 3, 4}, PacketKind::Fragment},
      {"first fragment of UDP", 44, {17, 0, 0, 1, 1, 2, 3, 4}, PacketKind::Drop, Counter::drop_udp},
      {"first fragment of ICMPv6",
       44,
       {58, 0, 0, 1, 1, 2, 3, 4},
       PacketKind::Drop,
       Counter::drop_icmp},
      {"first fragment that ends within the headers",
       44,
       {60, 0, 0, 1, 1, 2, 3, 4, 6, 9, 0, 0},
       PacketKind::Drop,
       Counter::drop_fragment_tiny},
  };
  for (const ExtensionRow& row : rows) {
    TestFrame frame(behind(row.first, row.headers));
    const Parsed parsed = parse(frame.frame());
    EXPECT_EQ(parsed.kind, row.kind) << row.what;
    if (parsed.kind != PacketKind::Drop) continue;
    EXPECT_STREQ(test::name_of(parsed.packet.drop), test::name_of(row.reason)) << row.what;
  }
}

TEST(WireIpv6, GroupsAndTheirMacs) {
  EXPECT_EQ(solicited_node(ip("2001:db8::1:2a3b:4c5d")), ip("ff02::1:ff3b:4c5d"));
  EXPECT_EQ(multicast_mac(ip("ff02::1:ff3b:4c5d")), (Mac{{0x33, 0x33, 0xff, 0x3b, 0x4c, 0x5d}}));
  EXPECT_EQ(multicast_mac(kAllNodes), (Mac{{0x33, 0x33, 0, 0, 0, 1}}));
}

}  // namespace
}  // namespace sluice::net
