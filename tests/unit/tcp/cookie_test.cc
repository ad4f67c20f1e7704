#include <gtest/gtest.h>

#include "../../sim/testbed.h"
#include "tcp/listen.h"

namespace sluice::tcp {
namespace {

Secrets secrets_of(uint8_t seed) {
  Secrets secrets;
  secrets.cookie.fill(seed);
  secrets.timestamp.fill(static_cast<uint8_t>(seed + 1));
  secrets.isn.fill(static_cast<uint8_t>(seed + 2));
  return secrets;
}

net::Segment make_syn(uint32_t irs) {
  net::Segment syn;
  syn.tuple = testbed::default_tuple();
  syn.flags = net::kSyn;
  syn.seq = irs;
  syn.options.mss = 1460;
  return syn;
}

net::Segment make_ack(const net::Segment& reply) {
  net::Segment ack;
  ack.tuple = reply.tuple;
  ack.flags = net::kAck;
  ack.seq = reply.ack;
  ack.ack = reply.seq + 1;
  ack.options.has_timestamps = reply.options.has_timestamps;
  ack.options.tsecr = reply.options.tsval;
  return ack;
}

struct OptionsRow {
  uint16_t mss;
  bool window_scale;
  uint8_t scale;
  bool sack;
  bool timestamps;
  uint16_t expected_mss;
  uint8_t expected_scale;
};

constexpr OptionsRow kRows[] = {
    {1460, true, 7, true, true, 1460, 7},     {1460, true, 7, true, false, 1460, 7},
    {1460, true, 8, true, false, 1460, 8},    {1460, true, 14, true, false, 1460, 10},
    {1460, true, 14, true, true, 1460, 14},   {1460, true, 3, false, true, 1460, 3},
    {1460, true, 3, false, false, 1460, 2},   {1460, true, 0, true, false, 1460, 0},
    {1460, false, 0, true, true, 1460, 0},    {0, false, 0, false, false, 536, 0},
    {100, true, 1, true, false, 216, 0},      {535, true, 9, true, true, 216, 9},
    {1400, true, 6, true, false, 1400, 6},    {1439, true, 6, true, false, 1400, 6},
    {65535, true, 255, true, false, 1460, 10}};

TEST(Cookie, CarriesTheOptions) {
  const TcpConfig config;
  const Listener listener(config, secrets_of(1));
  testbed::Random random(3);
  for (const OptionsRow& row : kRows) {
    net::Segment syn = make_syn(random());
    syn.options.mss = row.mss;
    syn.options.has_window_scale = row.window_scale;
    syn.options.window_scale = row.scale;
    syn.options.sack_permitted = row.sack;
    syn.options.has_timestamps = row.timestamps;
    const Micros now = 50 * kSecond + random() % (100 * kSecond);
    net::Segment reply;
    ASSERT_TRUE(listener.make_syn_ack(syn, now, reply));
    CookieContents contents;
    ASSERT_TRUE(listener.check_cookie(make_ack(reply), now + 300'000, contents));
    EXPECT_EQ(contents.irs, syn.seq);
    EXPECT_EQ(contents.iss, reply.seq);
    EXPECT_EQ(contents.mss, row.expected_mss);
    EXPECT_EQ(contents.window_scale, row.window_scale);
    EXPECT_EQ(contents.peer_window_scale, row.expected_scale);
    EXPECT_EQ(contents.sack_permitted, row.sack);
    EXPECT_EQ(contents.timestamps, row.timestamps);
  }
}

TEST(Cookie, MssTableFollowsTheMtu) {
  for (const uint32_t mtu : {576U, 1280U, 1500U, 9000U}) {
    TcpConfig config;
    config.mtu_bytes = mtu;
    const Listener listener(config, secrets_of(1));
    for (const bool ipv4 : {true, false}) {
      net::Segment syn = make_syn(9);
      if (!ipv4) syn.tuple.local.address.bytes[0] = syn.tuple.remote.address.bytes[0] = 0xfd;
      syn.options.mss = 65535;
      net::Segment reply;
      ASSERT_TRUE(listener.make_syn_ack(syn, kSecond, reply));
      CookieContents contents;
      ASSERT_TRUE(listener.check_cookie(make_ack(reply), kSecond, contents));
      EXPECT_EQ(contents.mss, mtu - (ipv4 ? 40 : 60));
      EXPECT_EQ(reply.options.mss, mtu - (ipv4 ? 40 : 60));
    }
  }
}

// RFC 3168 6.1.1: offered with both flags, remembered in the timestamp, whatever the scale.
TEST(Cookie, CarriesEcnInTheTimestamp) {
  struct Row {
    uint8_t flags;
    bool configured;
    bool timestamps;
    bool expected;
  };
  constexpr uint8_t kSetup = net::kEce | net::kCwr;
  constexpr Row kEcnRows[] = {{kSetup, true, true, true},     {kSetup, true, false, false},
                              {kSetup, false, true, false},   {net::kEce, true, true, false},
                              {net::kCwr, true, true, false}, {0, true, true, false}};
  for (const Row& row : kEcnRows) {
    TcpConfig config;
    config.ecn = row.configured;
    const Listener listener(config, secrets_of(1));
    for (uint8_t scale = 0; scale <= 15; ++scale) {
      net::Segment syn = make_syn(77);
      syn.flags |= row.flags;
      syn.options.has_timestamps = row.timestamps;
      syn.options.has_window_scale = scale <= 14;
      syn.options.window_scale = scale;
      const Micros now = 40 * kSecond + scale * 7'001;
      net::Segment reply;
      ASSERT_TRUE(listener.make_syn_ack(syn, now, reply));
      EXPECT_EQ((reply.flags & net::kEce) != 0, row.expected);
      EXPECT_EQ(reply.flags & net::kCwr, 0);
      EXPECT_EQ(reply.ecn, 0);
      CookieContents contents;
      ASSERT_TRUE(listener.check_cookie(make_ack(reply), now, contents));
      EXPECT_EQ(contents.ecn, row.expected);
      if (row.timestamps && scale <= 14) {
        EXPECT_EQ(contents.peer_window_scale, scale);
      }
    }
  }
}

// Whatever comes back as our timestamp: the scale is at most the table's step, never another one.
TEST(Cookie, AnAlteredTimestampChangesLittle) {
  const TcpConfig config;
  const Listener listener(config, secrets_of(1));
  net::Segment syn = make_syn(5);
  syn.options.has_timestamps = syn.options.has_window_scale = true;
  syn.options.window_scale = 7;
  net::Segment reply;
  ASSERT_TRUE(listener.make_syn_ack(syn, 40 * kSecond, reply));
  uint32_t ecn = 0;
  for (uint32_t low = 0; low < 64; ++low) {
    net::Segment ack = make_ack(reply);
    const uint32_t offset = timestamp_offset(secrets_of(1), ack.tuple);
    ack.options.tsecr = (((ack.options.tsecr - offset) & ~63U) | low) + offset;
    CookieContents contents;
    ASSERT_TRUE(listener.check_cookie(ack, 40 * kSecond, contents));
    EXPECT_EQ(contents.peer_window_scale, 7);
    ecn += contents.ecn ? 1 : 0;
  }
  EXPECT_EQ(ecn, 1U);  // the one with the right scale and an unused bit of zero
}

TEST(Cookie, ClampBoundsBothFamilies) {
  TcpConfig config;
  config.mss_clamp = 1380;
  const Listener listener(config, secrets_of(1));
  for (const bool ipv4 : {true, false}) {
    net::Segment syn = make_syn(9);
    if (!ipv4) syn.tuple.local.address.bytes[0] = syn.tuple.remote.address.bytes[0] = 0xfd;
    net::Segment reply;
    ASSERT_TRUE(listener.make_syn_ack(syn, kSecond, reply));
    CookieContents contents;
    ASSERT_TRUE(listener.check_cookie(make_ack(reply), kSecond, contents));
    EXPECT_EQ(contents.mss, 1380);
    EXPECT_EQ(reply.options.mss, 1380);
  }
}

TEST(Cookie, PortZeroGetsNoAnswer) {
  const TcpConfig config;
  const Listener listener(config, secrets_of(1));
  net::Segment syn = make_syn(9);
  syn.tuple.remote.port = 0;
  net::Segment reply;
  EXPECT_FALSE(listener.make_syn_ack(syn, kSecond, reply));
  EXPECT_FALSE(make_reset(syn, reply));
}

TEST(Cookie, BelongsToOneTupleNumberAndSecret) {
  const TcpConfig config;
  const Listener listener(config, secrets_of(1));
  const Listener other(config, secrets_of(7));
  net::Segment reply;
  ASSERT_TRUE(listener.make_syn_ack(make_syn(1000), 90 * kSecond, reply));
  CookieContents contents;
  const auto refused = [&](net::Segment ack) {
    return !listener.check_cookie(ack, 90 * kSecond, contents);
  };
  net::Segment ack = make_ack(reply);
  EXPECT_FALSE(refused(ack));
  ack.tuple.remote.port ^= 1;
  EXPECT_TRUE(refused(ack));
  ack = make_ack(reply);
  ack.tuple.local.port ^= 1;
  EXPECT_TRUE(refused(ack));
  ack = make_ack(reply);
  ack.tuple.remote.address.bytes[15] ^= 1;
  EXPECT_TRUE(refused(ack));
  ack = make_ack(reply);
  ++ack.seq;
  EXPECT_TRUE(refused(ack));
  for (uint32_t bit = 0; bit < 32; ++bit) {
    ack = make_ack(reply);
    ack.ack = (reply.seq ^ 1U << bit) + 1;
    EXPECT_TRUE(refused(ack)) << "bit " << bit;
  }
  ack = make_ack(reply);
  EXPECT_FALSE(other.check_cookie(ack, 90 * kSecond, contents));
  for (const int flags : {int{net::kSyn}, net::kAck | net::kRst, net::kAck | net::kSyn, 0}) {
    ack.flags = static_cast<uint8_t>(flags);
    EXPECT_TRUE(refused(ack));
  }
}

TEST(Cookie, LivesForOneToTwoKeyLifetimes) {
  const TcpConfig config;
  const Listener listener(config, secrets_of(1));
  const Micros period = Listener::kKeyLifetime;
  for (const Micros made : {10 * period, 10 * period + 1, 11 * period - 1}) {
    net::Segment reply;
    ASSERT_TRUE(listener.make_syn_ack(make_syn(1), made, reply));
    CookieContents contents;
    EXPECT_TRUE(listener.check_cookie(make_ack(reply), made + period, contents));
    EXPECT_TRUE(listener.check_cookie(make_ack(reply), 12 * period - 1, contents));
    EXPECT_FALSE(listener.check_cookie(make_ack(reply), 12 * period, contents));
    EXPECT_FALSE(listener.check_cookie(make_ack(reply), 20 * period, contents));
  }
}

TEST(Cookie, RandomAcknowledgementsAreRefused) {
  const TcpConfig config;
  const Listener listener(config, secrets_of(1));
  testbed::Random random(5);
  uint32_t accepted = 0;
  uint32_t early = 0;
  constexpr uint32_t kTries = 100'000;
  for (uint32_t i = 0; i < kTries; ++i) {
    net::Segment ack = make_syn(random());
    ack.flags = net::kAck;
    ack.ack = random();
    CookieContents contents;
    accepted += listener.check_cookie(ack, 90 * kSecond, contents) ? 1 : 0;
    early += listener.is_probably_early(ack, 90 * kSecond) ? 1 : 0;
  }
  EXPECT_LE(accepted, 1U);  // 2^-24 each
  EXPECT_NEAR(early, kTries / 16, kTries / 160);
}

TEST(Cookie, TextAheadOfTheAckIsRecognised) {
  const TcpConfig config;
  const Listener listener(config, secrets_of(1));
  testbed::Random random(6);
  for (int i = 0; i < 1000; ++i) {
    net::Segment reply;
    ASSERT_TRUE(listener.make_syn_ack(make_syn(random()), 90 * kSecond, reply));
    net::Segment text = make_ack(reply);
    text.seq += 1460;
    CookieContents contents;
    EXPECT_FALSE(listener.check_cookie(text, 91 * kSecond, contents));
    EXPECT_TRUE(listener.is_probably_early(text, 91 * kSecond));
  }
}

// The connection goes on with tsvals at or above the SYN-ACK's. RFC 7323 4.3.
TEST(Cookie, TimestampsNeverGoBack) {
  const TcpConfig config;
  const Listener listener(config, secrets_of(1));
  for (Micros now = 70 * kSecond; now < 71 * kSecond; now += 777) {
    for (const uint8_t scale : {uint8_t{0}, uint8_t{7}, uint8_t{14}}) {
      net::Segment syn = make_syn(1);
      syn.options.has_timestamps = syn.options.has_window_scale = true;
      syn.options.window_scale = scale;
      net::Segment reply;
      ASSERT_TRUE(listener.make_syn_ack(syn, now, reply));
      const uint32_t later =
          static_cast<uint32_t>(now / 1000) + timestamp_offset(secrets_of(1), syn.tuple);
      EXPECT_LT(later - reply.options.tsval, 64U);
    }
  }
}

TEST(Cookie, ResetsForNobody) {  // RFC 9293 3.10.7.1
  net::Segment in = make_syn(700);
  net::Segment out;
  ASSERT_TRUE(make_reset(in, out));
  EXPECT_EQ(out.flags, net::kRst | net::kAck);
  EXPECT_EQ(out.seq, 0U);
  EXPECT_EQ(out.ack, 701U);
  in.flags = net::kAck;
  in.ack = 4242;
  ASSERT_TRUE(make_reset(in, out));
  EXPECT_EQ(out.flags, net::kRst);
  EXPECT_EQ(out.seq, 4242U);
  in.flags = net::kRst;
  EXPECT_FALSE(make_reset(in, out));
}

TEST(InitialSequenceNumber, MovesWithTheClockAndDiffersByTuple) {  // RFC 6528
  const Secrets secrets = secrets_of(1);
  net::FlowTuple tuple = testbed::default_tuple();
  const uint32_t first = initial_sequence_number(secrets, tuple, 0);
  EXPECT_EQ(initial_sequence_number(secrets, tuple, 4'000'000) - first, 1'000'000U);
  ++tuple.local.port;
  EXPECT_NE(initial_sequence_number(secrets, tuple, 0), first);
  EXPECT_EQ(timestamp_offset(secrets, tuple), timestamp_offset(secrets, testbed::default_tuple()));
}

}  // namespace
}  // namespace sluice::tcp
