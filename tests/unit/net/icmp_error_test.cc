// ICMP errors of both families: what they say of a segment of ours, and which are refused.
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
using Bytes = std::vector<uint8_t>;

constexpr size_t kMessage4 = kEthernetBytes + kIpv4HeaderBytes;  // in the frame
constexpr size_t kMessage6 = kEthernetBytes + kIpv6HeaderBytes;

// The IP packet that we sent, cut behind `tcp_bytes` of TCP.
Bytes quote(bool ipv4, size_t tcp_bytes = 8) {
  const Segment sent = [&] {
    Segment segment = ipv4 ? test::peer_segment(kAck) : test::peer_segment6(kAck);
    std::swap(segment.tuple.local, segment.tuple.remote);
    segment.seq = 0x01020304;
    return segment;
  }();
  Bytes packet = test::build(sent, test::ours6(), test::kPeerMac);
  packet.erase(packet.begin(), packet.begin() + kEthernetBytes);
  packet.resize((ipv4 ? kIpv4HeaderBytes : kIpv6HeaderBytes) + tcp_bytes);
  return packet;
}

void seal4(Bytes& frame) {
  uint8_t* header = frame.data() + kEthernetBytes;
  std::memset(header + 10, 0, 2);
  uint16_t sum = checksum_finish(checksum_add(header, kIpv4HeaderBytes));
  std::memcpy(header + 10, &sum, 2);
  uint8_t* icmp = frame.data() + kMessage4;
  std::memset(icmp + 2, 0, 2);
  sum = checksum_finish(checksum_add(icmp, frame.size() - kMessage4));
  std::memcpy(icmp + 2, &sum, 2);
}

// From a router of the way.
Bytes error4(uint8_t type, uint8_t code, uint16_t mtu, const Bytes& quoted) {
  Bytes frame(kMessage4 + 8);
  build_ethernet(test::peers(), test::kOurMac, kEthertypeIpv4, frame.data());
  frame.insert(frame.end(), quoted.begin(), quoted.end());
  uint8_t* header = frame.data() + kEthernetBytes;
  header[0] = 0x45;
  store_be16(header + 2, static_cast<uint32_t>(frame.size() - kEthernetBytes));
  header[8] = 60;
  header[9] = kProtocolIcmp;
  store_be32(header + 12, ip("192.0.2.254").ipv4());
  store_be32(header + 16, ip("10.99.1.10").ipv4());
  frame[kMessage4] = type;
  frame[kMessage4 + 1] = code;
  store_be16(frame.data() + kMessage4 + 6, mtu);
  seal4(frame);
  return frame;
}

Bytes error6(uint8_t type, uint8_t code, uint32_t mtu, const Bytes& quoted) {
  Bytes message(8);
  message[0] = type;
  message[1] = code;
  store_be32(message.data() + 4, mtu);
  message.insert(message.end(), quoted.begin(), quoted.end());
  return test::icmpv6_frame(message, "2001:db8:ffff::1", "fd00:99:1::10", 60);
}

struct KindRow {
  uint8_t type;
  uint8_t code;
  uint32_t mtu;
  IcmpErrorKind kind;
  uint32_t mtu_seen;
};

TEST(IcmpError, KindsOfIpv4) {
  const KindRow rows[] = {
      {3, 4, 1400, IcmpErrorKind::TooBig, 1400},  {3, 4, 68, IcmpErrorKind::TooBig, 68},
      {3, 4, 0, IcmpErrorKind::TooBig, 0},        {3, 0, 0, IcmpErrorKind::Unreachable, 0},
      {3, 3, 0, IcmpErrorKind::Unreachable, 0},   {3, 13, 999, IcmpErrorKind::Unreachable, 0},
      {11, 0, 0, IcmpErrorKind::TimeExceeded, 0}, {12, 0, 0, IcmpErrorKind::Parameter, 0}};
  for (const KindRow& row : rows) {
    TestFrame frame(error4(row.type, row.code, static_cast<uint16_t>(row.mtu), quote(true)));
    const Parsed parsed = parse(frame.frame());
    ASSERT_EQ(parsed.kind, PacketKind::IcmpError) << int{row.type} << "/" << int{row.code};
    const IcmpError& error = parsed.packet.error;
    EXPECT_EQ(error.kind, row.kind);
    EXPECT_EQ(error.code, row.code);
    EXPECT_EQ(error.mtu_bytes, row.mtu_seen);
    EXPECT_EQ(error.seq, 0x01020304U);
    EXPECT_EQ(error.tuple.local, (abi::SocketAddress{ip("10.99.1.10"), 443}));
    EXPECT_EQ(error.tuple.remote, (abi::SocketAddress{ip("10.99.1.2"), 40000}));
  }
}

TEST(IcmpError, KindsOfIpv6) {
  const KindRow rows[] = {
      {2, 0, 1280, IcmpErrorKind::TooBig, 1280}, {2, 7, 1400, IcmpErrorKind::TooBig, 1400},
      {1, 0, 0, IcmpErrorKind::Unreachable, 0},  {1, 4, 5, IcmpErrorKind::Unreachable, 0},
      {3, 0, 0, IcmpErrorKind::TimeExceeded, 0}, {4, 1, 6, IcmpErrorKind::Parameter, 0}};
  for (const KindRow& row : rows) {
    TestFrame frame(error6(row.type, row.code, row.mtu, quote(false)));
    const Parsed parsed = parse(frame.frame());
    ASSERT_EQ(parsed.kind, PacketKind::IcmpError) << int{row.type} << "/" << int{row.code};
    const IcmpError& error = parsed.packet.error;
    EXPECT_EQ(error.kind, row.kind);
    EXPECT_EQ(error.mtu_bytes, row.mtu_seen);
    EXPECT_EQ(error.seq, 0x01020304U);
    EXPECT_EQ(error.tuple.local, (abi::SocketAddress{ip("fd00:99:1::10"), 443}));
    EXPECT_EQ(error.tuple.remote, (abi::SocketAddress{ip("fd00:99:1::2"), 40000}));
  }
}

// Routers quote as much as they like; headers of the quoted packet may be there.
TEST(IcmpError, LongAndExtendedQuotes) {
  TestFrame long4(error4(3, 4, 1400, quote(true, 500)));
  EXPECT_EQ(parse(long4.frame()).kind, PacketKind::IcmpError);
  TestFrame long6(error6(2, 0, 1400, quote(false, 500)));
  EXPECT_EQ(parse(long6.frame()).kind, PacketKind::IcmpError);
  const Bytes headers[] = {
      {6, 0, 1, 4, 0, 0, 0, 0},  // destination options
      {6, 0, 0, 0, 0, 0, 0, 9},  // an atomic fragment
      {6, 0, 0, 1, 0, 0, 0, 9},  // a first fragment
  };
  for (const Bytes& header : headers) {
    Bytes quoted = quote(false);
    quoted[6] = &header == &headers[0] ? kNextDestination : kNextFragment;
    quoted.insert(quoted.begin() + kIpv6HeaderBytes, header.begin(), header.end());
    TestFrame frame(error6(2, 0, 1400, quoted));
    const Parsed parsed = parse(frame.frame());
    ASSERT_EQ(parsed.kind, PacketKind::IcmpError) << &header - headers;
    EXPECT_EQ(parsed.packet.error.seq, 0x01020304U);
  }
  Bytes options = quote(true);
  options[0] = 0x46;
  options.insert(options.begin() + kIpv4HeaderBytes, {1, 1, 1, 1});
  TestFrame frame(error4(3, 4, 1400, options));
  ASSERT_EQ(parse(frame.frame()).kind, PacketKind::IcmpError);
}

struct Row {
  const char* what;
  std::function<void(Bytes&)> damage;  // of the quote
};

void expect_refused(const char* what, const Bytes& bytes, Counter reason) {
  TestFrame frame(bytes);
  const Parsed parsed = parse(frame.frame());
  EXPECT_EQ(parsed.kind, PacketKind::Drop) << what;
  EXPECT_STREQ(test::name_of(parsed.packet.drop), test::name_of(reason)) << what;
}

TEST(IcmpError, RefusedQuotesOfIpv4) {
  const Row rows[] = {
      {"seven bytes of TCP", [](Bytes& b) { b.pop_back(); }},
      {"half a header", [](Bytes& b) { b.resize(12); }},
      {"nothing", [](Bytes& b) { b.clear(); }},
      {"version 6", [](Bytes& b) { b[0] = 0x65; }},
      {"header length 16", [](Bytes& b) { b[0] = 0x44; }},
      {"header length beyond the quote", [](Bytes& b) { b[0] = 0x4f; }},
      {"UDP", [](Bytes& b) { b[9] = 17; }},
      {"a later fragment", [](Bytes& b) { b[7] = 1; }},
      {"source is not ours", [](Bytes& b) { b[15] = 11; }},
      {"source port 0", [](Bytes& b) { store_be16(b.data() + 20, 0); }},
      {"destination port 0", [](Bytes& b) { store_be16(b.data() + 22, 0); }},
  };
  for (const Row& row : rows) {
    Bytes quoted = quote(true);
    row.damage(quoted);
    expect_refused(row.what, error4(3, 4, 1400, quoted), Counter::drop_icmp_error);
  }
  expect_refused("an MTU below 68", error4(3, 4, 67, quote(true)), Counter::drop_icmp_error);
  expect_refused("a code of no meaning", error4(3, 16, 0, quote(true)), Counter::drop_icmp_error);
  expect_refused("source quench", error4(4, 0, 0, quote(true)), Counter::drop_icmp);
  Bytes damaged = error4(3, 4, 1400, quote(true));
  damaged.back() ^= 1;
  expect_refused("checksum", damaged, Counter::drop_icmp);
}

TEST(IcmpError, RefusedQuotesOfIpv6) {
  const Row rows[] = {
      {"seven bytes of TCP", [](Bytes& b) { b.pop_back(); }},
      {"half a header", [](Bytes& b) { b.resize(39); }},
      {"nothing", [](Bytes& b) { b.clear(); }},
      {"version 4", [](Bytes& b) { b[0] = 0x45; }},
      {"UDP", [](Bytes& b) { b[6] = 17; }},
      {"ESP", [](Bytes& b) { b[6] = kNextEsp; }},
      {"source is not ours", [](Bytes& b) { b[23] ^= 1; }},
      {"to a group", [](Bytes& b) { b[24] = 0xff; }},
      {"port 0", [](Bytes& b) { store_be16(b.data() + 40, 0); }},
      {"a later fragment",
       [](Bytes& b) {
         b[6] = kNextFragment;
         const uint8_t header[8] = {6, 0, 0, 8, 0, 0, 0, 1};
         b.insert(b.begin() + 40, header, header + 8);
       }},
      {"headers without end",
       [](Bytes& b) {
         b[6] = kNextDestination;
         b.resize(40);
         for (int i = 0; i < 20; ++i) b.insert(b.end(), {kNextDestination, 0, 1, 4, 0, 0, 0, 0});
       }},
      {"ours, but IPv4 in IPv6 clothes",
       [](Bytes& b) {
         std::memcpy(b.data() + 8, ip("10.99.1.10").bytes.data(), 16);
         std::memcpy(b.data() + 24, ip("10.99.1.2").bytes.data(), 16);
       }},
  };
  for (const Row& row : rows) {
    Bytes quoted = quote(false);
    row.damage(quoted);
    expect_refused(row.what, error6(2, 0, 1400, quoted), Counter::drop_icmp_error);
  }
  expect_refused("RFC 8201 4: an MTU below 1280", error6(2, 0, 1279, quote(false)),
                 Counter::drop_icmp_error);
  expect_refused("an error of no meaning", error6(100, 0, 0, quote(false)),
                 Counter::drop_icmp_error);
  expect_refused("a code of no meaning", error6(1, 9, 0, quote(false)), Counter::drop_icmp_error);
  Bytes damaged = error6(2, 0, 1400, quote(false));
  damaged.back() ^= 1;
  expect_refused("checksum", damaged, Counter::drop_icmp);
}

// The error came to one of our addresses and quotes another one of them.
TEST(IcmpError, TheQuoteNamesTheAddressThatTheErrorCameTo) {
  Interface interface = test::ours6();
  ASSERT_TRUE(interface.add_address({ip("fd00:99:1::11"), 64}));
  Bytes quoted = quote(false);
  quoted[23] = 0x11;
  TestFrame frame(error6(2, 0, 1400, quoted));
  EXPECT_EQ(parse(frame.frame(), interface).packet.drop, Counter::drop_icmp_error);
}

TEST(IcmpError, EveryTruncationIsRefused) {
  for (const bool ipv4 : {true, false}) {
    const Bytes whole = ipv4 ? error4(3, 4, 1400, quote(true)) : error6(2, 0, 1400, quote(false));
    for (size_t length = 0; length < whole.size(); ++length) {
      TestFrame frame(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)));
      EXPECT_EQ(parse(frame.frame()).kind, PacketKind::Drop) << length;
    }
    TestFrame cut(whole);  // the quote is read in one piece
    cut.split((ipv4 ? kMessage4 : kMessage6) + 20, 1000);
    EXPECT_EQ(parse(cut.frame()).packet.drop, Counter::drop_icmp_error);
  }
}

}  // namespace
}  // namespace sluice::net
