// Bytes <-> Segment: round trips, a table of malformed packets, random cuts.
#include "net/wire.h"

#include <gtest/gtest.h>

#include <functional>

#include "support.h"

namespace sluice::net {
namespace {

using abi::Counter;
using test::TestFrame;

struct Parsed {
  PacketKind kind;
  Packet packet;
  Segment segment;
};

Parsed parse(const Frame& frame, const Interface& interface = test::ours()) {
  Parsed parsed;
  parsed.kind = parse_frame(frame, interface, parsed.packet, parsed.segment);
  return parsed;
}

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

void expect_same(const Segment& seen, const Segment& sent) {
  EXPECT_EQ(seen.tuple.local, sent.tuple.remote);
  EXPECT_EQ(seen.tuple.remote, sent.tuple.local);
  EXPECT_EQ(seen.seq, sent.seq);
  EXPECT_EQ(seen.ack, sent.ack);
  EXPECT_EQ(seen.window, sent.window);
  EXPECT_EQ(seen.flags, sent.flags);
  EXPECT_EQ(seen.ecn, sent.ecn);
  EXPECT_EQ(seen.options.has_timestamps, sent.options.has_timestamps);
  EXPECT_EQ(seen.options.tsval, sent.options.tsval);
  EXPECT_EQ(seen.options.tsecr, sent.options.tsecr);
  EXPECT_EQ(seen.options.mss, sent.options.mss);
  EXPECT_EQ(seen.options.sack_permitted, sent.options.sack_permitted);
  EXPECT_EQ(seen.options.has_window_scale, sent.options.has_window_scale);
  EXPECT_EQ(seen.options.window_scale, sent.options.window_scale);
  EXPECT_EQ(test::bytes_of(seen.payload), test::bytes_of(sent.payload));
}

Segment random_segment(std::mt19937& random, std::vector<uint8_t>& payload) {
  const uint8_t kinds[] = {kSyn, kSyn | kAck, kAck, kAck | kPsh, kFin | kAck, kRst, kAck | kUrg,
                           kAck | kEce | kCwr};
  const auto pick = [&](uint32_t below) { return static_cast<uint8_t>(random() % below); };
  Segment segment = test::peer_segment(kinds[pick(std::size(kinds))]);
  segment.seq = static_cast<uint32_t>(random());
  segment.ack = static_cast<uint32_t>(random());
  segment.window = static_cast<uint16_t>(random());
  segment.ecn = pick(4);
  TcpOptions& options = segment.options;
  if ((options.has_timestamps = random() % 2 != 0)) {
    options.tsval = static_cast<uint32_t>(random());
    options.tsecr = static_cast<uint32_t>(random());
  }
  if ((segment.flags & kSyn) != 0) {
    options.mss = static_cast<uint16_t>(random() % 2 != 0 ? 1460 : 0);
    options.sack_permitted = random() % 2 != 0;
    if ((options.has_window_scale = random() % 2 != 0)) options.window_scale = pick(15);
  } else {
    options.sack_count = pick(5);
    for (uint8_t i = 0; i < options.sack_count; ++i) {
      options.sack[i] = {static_cast<uint32_t>(random()), static_cast<uint32_t>(random())};
    }
    payload = test::random_bytes(random, random() % 3000);
  }
  return segment;
}

TEST(Wire, RoundTripsOfRandomSegmentsOverRandomCuts) {
  std::mt19937 random(20261121);
  test::TestOwner owner;
  for (int round = 0; round < 3000; ++round) {
    std::vector<uint8_t> payload;
    Segment segment = random_segment(random, payload);
    for (size_t at = 0; at < payload.size();) {  // the sender's slices
      auto run = static_cast<uint32_t>(std::min<size_t>(payload.size() - at,
                                                        1 + random() % 900));
      if (segment.payload.count + 1 == abi::kMaxSegmentPieces) {
        run = static_cast<uint32_t>(payload.size() - at);
      }
      ASSERT_TRUE(segment.payload.append({payload.data() + at, run, &owner}));
      at += run;
    }
    const uint16_t vlan = random() % 2 != 0 ? 7 : 0;
    const auto bytes = test::build(segment, test::peers(vlan), test::kOurMac);
    ASSERT_EQ(bytes.size(),
              header_bytes(segment, test::peers(vlan)) + segment.payload.length);
    TestFrame frame(bytes);
    const uint32_t headers = header_bytes(segment, test::peers(vlan));
    if (random() % 2 != 0 && bytes.size() > headers) {  // the receiver's buffers
      const auto first =
          static_cast<uint32_t>(headers + random() % (bytes.size() - headers));
      frame.split(first, static_cast<uint32_t>(200 + random() % 2000));
    }
    const Parsed parsed = parse(frame.frame(), test::ours(vlan));
    ASSERT_EQ(parsed.kind, PacketKind::Tcp) << round;
    expect_same(parsed.segment, segment);
    const uint32_t fit = segment.options.has_timestamps ? 3 : 4;
    EXPECT_EQ(parsed.segment.options.sack_count, std::min<uint32_t>(fit,
                                                                    segment.options.sack_count));
    for (uint8_t i = 0; i < parsed.segment.options.sack_count; ++i) {
      EXPECT_EQ(parsed.segment.options.sack[i].start, segment.options.sack[i].start);
      EXPECT_EQ(parsed.segment.options.sack[i].end, segment.options.sack[i].end);
    }
  }
}

TEST(Wire, CutsOfASegmentAddUp) {
  std::mt19937 random(5);
  auto payload = test::random_bytes(random, 10'000);
  test::TestOwner owner;
  Segment segment = test::peer_segment(kAck | kPsh | kFin | kCwr);
  segment.options.has_timestamps = true;
  segment.options.tsval = 42;
  segment.cut_bytes = 1001;
  for (uint32_t at = 0; at < 10'000; at += 777) {
    segment.payload.append({payload.data() + at, std::min(777U, 10'000 - at), &owner});
  }
  const uint32_t most = max_payload_bytes(segment, test::peers());
  ASSERT_EQ(most, 1001U);
  std::vector<uint8_t> joined;
  for (uint32_t offset = 0; offset < 10'000; offset += most) {
    const uint32_t length = std::min(most, 10'000 - offset);
    const Cut cut{offset, length, offset == 0, offset + length == 10'000};
    std::vector<uint8_t> out(2000);
    out.resize(build_frame(segment, cut, test::peers(), test::kOurMac, out));
    TestFrame frame(out);
    const Parsed parsed = parse(frame.frame());
    ASSERT_EQ(parsed.kind, PacketKind::Tcp);
    EXPECT_EQ(parsed.segment.seq, segment.seq + offset);
    EXPECT_EQ((parsed.segment.flags & (kFin | kPsh)) != 0, cut.last);
    EXPECT_EQ((parsed.segment.flags & kCwr) != 0, cut.first);
    EXPECT_TRUE(parsed.segment.options.has_timestamps);
    EXPECT_EQ(parsed.segment.options.tsval, 42U);
    const auto part = test::bytes_of(parsed.segment.payload);
    joined.insert(joined.end(), part.begin(), part.end());
  }
  EXPECT_EQ(joined, payload);
}

TEST(Wire, PayloadPerPacket) {
  Segment segment = test::peer_segment(kAck);
  EXPECT_EQ(max_payload_bytes(segment, test::peers()), 1460U);
  segment.options.has_timestamps = true;
  EXPECT_EQ(max_payload_bytes(segment, test::peers()), 1448U);
  segment.cut_bytes = 500;
  EXPECT_EQ(max_payload_bytes(segment, test::peers()), 500U);
}

// What a port that checksums expects in the fields (pseudo header, not complemented).
TEST(Wire, ChecksumsForHardware) {
  std::vector<uint8_t> payload(100, 0x5a);
  test::TestOwner owner;
  Segment segment = test::peer_segment(kAck);
  segment.payload.append({payload.data(), 100, &owner});
  const Interface from = test::peers();
  for (const bool tso : {false, true}) {
    uint8_t out[kMaxHeaderBytes];
    const Cut cut{0, 100, true, true};
    build_headers({segment, from, test::kOurMac, cut,
                   tso ? ChecksumBy::HardwareTso : ChecksumBy::Hardware, 0}, out);
    uint8_t pseudo[12] = {10, 99, 1, 2, 10, 99, 1, 10, 0, kProtocolTcp, 0, 0};
    if (!tso) store_be16(pseudo + 10, 120);
    const uint16_t expected = checksum_fold(checksum_add(pseudo, sizeof pseudo));
    EXPECT_EQ(std::memcmp(out + 34 + 16, &expected, 2), 0);
    EXPECT_EQ(load_be16(out + 14 + 10), 0) << "the port fills in IP's";
  }
}

TEST(Wire, BuildRefusesWhatDoesNotFit) {
  std::vector<uint8_t> payload(100);
  test::TestOwner owner;
  Segment segment = test::peer_segment(kAck);
  segment.payload.append({payload.data(), 100, &owner});
  std::vector<uint8_t> out(153);
  EXPECT_EQ(build_frame(segment, {0, 100, true, true}, test::peers(), test::kOurMac, out), 0U);
  out.resize(154);
  EXPECT_EQ(build_frame(segment, {0, 100, true, true}, test::peers(), test::kOurMac, out), 154U);
  EXPECT_EQ(build_frame(segment, {1, 100, true, true}, test::peers(), test::kOurMac, out), 0U);
  EXPECT_EQ(build_frame(segment, {101, 0, true, true}, test::peers(), test::kOurMac, out), 0U);
  segment.tuple.remote.address = test::ip("fd00::1");
  EXPECT_EQ(header_bytes(segment, test::peers()), 0U);
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
    TestFrame frame(std::vector<uint8_t>(bytes.begin(),
                                         bytes.begin() + static_cast<std::ptrdiff_t>(length)));
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
      {"IPv6 is not spoken yet", [](auto& b) { store_be16(b.data() + 12, 0x86dd); },
       Counter::drop_ethertype},
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
      {"IP header longer than the frame", [](auto& b) { b.resize(50); b[14] = 0x4f; },
       Counter::drop_runt},
      {"IP length below the header", [](auto& b) { store_be16(b.data() + 16, 19); },
       Counter::drop_ip_header},
      {"IP length beyond the frame", [](auto& b) { store_be16(b.data() + 16, 2000); },
       Counter::drop_runt},
      {"IP checksum", set(24, 0x12), Counter::drop_ip_checksum, false},
      {"first fragment", set(20, 0x20), Counter::drop_ip_fragment},
      {"last fragment", set(21, 0x10), Counter::drop_ip_fragment},
      {"another address", set32(30, 0x0a630163), Counter::drop_not_ours},
      {"source: own address", set32(26, 0x0a63010a), Counter::drop_bad_source},
      {"source: limited broadcast", set32(26, 0xffffffff), Counter::drop_bad_source},
      {"source: subnet broadcast", set32(26, 0x0a6301ff), Counter::drop_bad_source},
      {"source: multicast", set32(26, 0xe0000001), Counter::drop_bad_source},
      {"source: loopback", set32(26, 0x7f000001), Counter::drop_bad_source},
      {"source: this network", set32(26, 0x00000005), Counter::drop_bad_source},
      {"UDP", set(23, 17), Counter::drop_protocol},
      {"TCP checksum", set(50, 0xee), Counter::drop_tcp_checksum, false},
      {"payload bit flip", [](auto& b) { b.back() ^= 1; }, Counter::drop_tcp_checksum, false},
      {"data offset 4", set(46, 0x40), Counter::drop_tcp_header},
      {"data offset beyond the packet", [](auto& b) { b.resize(60); store_be16(b.data() + 16, 46);
       b[46] = 0xf0; }, Counter::drop_tcp_header},
      {"no whole TCP header", [](auto& b) { b.resize(52); store_be16(b.data() + 16, 38); },
       Counter::drop_tcp_header},
      {"source port 0", [](auto& b) { store_be16(b.data() + 34, 0); }, Counter::drop_tcp_header},
      {"destination port 0", [](auto& b) { store_be16(b.data() + 36, 0); },
       Counter::drop_tcp_header},
      {"option of length 0", [](auto& b) { b[54] = 8; b[55] = 0; }, Counter::drop_tcp_header},
      {"option of length 1", [](auto& b) { b[54] = 30; b[55] = 1; }, Counter::drop_tcp_header},
      {"option beyond the header", [](auto& b) { b[54] = 30; b[55] = 13; },
       Counter::drop_tcp_header},
      {"option without a length",
       [](auto& b) { std::fill_n(b.begin() + 54, 11, uint8_t{1}); b[65] = 8; },
       Counter::drop_tcp_header},
      {"timestamps of length 8", [](auto& b) { b[54] = 8; b[55] = 8; }, Counter::drop_tcp_header},
      {"MSS of length 6", [](auto& b) { b[54] = 2; b[55] = 6; }, Counter::drop_tcp_header},
      {"window scale of length 4", [](auto& b) { b[54] = 3; b[55] = 4; },
       Counter::drop_tcp_header},
      {"SACK permitted of length 3", [](auto& b) { b[54] = 4; b[55] = 3; },
       Counter::drop_tcp_header},
      {"SACK without a block", [](auto& b) { b[54] = 5; b[55] = 2; }, Counter::drop_tcp_header},
      {"SACK with half a block", [](auto& b) { b[54] = 5; b[55] = 6; }, Counter::drop_tcp_header},
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
      {"loose source route", {1, 131, 7, 4, 1, 2, 3, 4}, PacketKind::Drop,
       Counter::drop_ip_options},
      {"strict source route", {137, 7, 4, 1, 2, 3, 4, 0}, PacketKind::Drop,
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

// Random damage never crashes and never yields a payload beyond the frame.
TEST(Wire, RandomDamage) {
  std::mt19937 random(99);
  test::TestOwner owner;
  for (int round = 0; round < 20'000; ++round) {
    std::vector<uint8_t> payload;
    Segment segment = random_segment(random, payload);
    if (!payload.empty()) {
      segment.payload.append({payload.data(), static_cast<uint32_t>(payload.size()), &owner});
    }
    auto bytes = test::build(segment, test::peers(), test::kOurMac);
    for (uint32_t flips = 1 + random() % 4; flips > 0; --flips) {
      bytes[random() % std::min<size_t>(bytes.size(), 80)] = static_cast<uint8_t>(random());
    }
    if (random() % 4 == 0) bytes.resize(1 + random() % bytes.size());
    TestFrame frame(bytes);
    frame.frame().checksum_ok = random() % 2 != 0;
    const Parsed parsed = parse(frame.frame());
    if (parsed.kind != PacketKind::Tcp) continue;
    uint32_t total = 0;
    for (uint32_t i = 0; i < parsed.segment.payload.count; ++i) {
      const Slice& piece = parsed.segment.payload.pieces[i];
      ASSERT_GE(piece.data, frame.bytes().data());
      ASSERT_LE(piece.data + piece.length, frame.bytes().data() + frame.bytes().size());
      total += piece.length;
    }
    ASSERT_EQ(total, parsed.segment.payload.length);
    ASSERT_LE(parsed.segment.options.sack_count, 4);
    ASSERT_LE(parsed.segment.options.window_scale, 14);
  }
}

}  // namespace
}  // namespace sluice::net
