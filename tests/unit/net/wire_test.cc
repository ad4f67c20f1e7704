// Bytes <-> Segment: round trips over random cuts, and random damage.
#include "net/wire.h"

#include <gtest/gtest.h>

#include "support.h"

namespace sluice::net {
namespace {

using test::parse;
using test::Parsed;
using test::TestFrame;

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
  const uint8_t kinds[] = {kSyn,        kSyn | kAck, kAck,        kAck | kPsh,
                           kFin | kAck, kRst,        kAck | kUrg, kAck | kEce | kCwr};
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
      auto run = static_cast<uint32_t>(std::min<size_t>(payload.size() - at, 1 + random() % 900));
      if (segment.payload.count + 1 == abi::kMaxSegmentPieces) {
        run = static_cast<uint32_t>(payload.size() - at);
      }
      ASSERT_TRUE(segment.payload.append({payload.data() + at, run, &owner}));
      at += run;
    }
    const uint16_t vlan = random() % 2 != 0 ? 7 : 0;
    const auto bytes = test::build(segment, test::peers(vlan), test::kOurMac);
    ASSERT_EQ(bytes.size(), header_bytes(segment, test::peers(vlan)) + segment.payload.length);
    TestFrame frame(bytes);
    const uint32_t headers = header_bytes(segment, test::peers(vlan));
    if (random() % 2 != 0 && bytes.size() > headers) {  // the receiver's buffers
      const auto first = static_cast<uint32_t>(headers + random() % (bytes.size() - headers));
      frame.split(first, static_cast<uint32_t>(200 + random() % 2000));
    }
    const Parsed parsed = parse(frame.frame(), test::ours(vlan));
    ASSERT_EQ(parsed.kind, PacketKind::Tcp) << round;
    expect_same(parsed.segment, segment);
    const uint32_t fit = segment.options.has_timestamps ? 3 : 4;
    EXPECT_EQ(parsed.segment.options.sack_count,
              std::min<uint32_t>(fit, segment.options.sack_count));
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
                   tso ? ChecksumBy::HardwareTso : ChecksumBy::Hardware, 0},
                  out);
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
