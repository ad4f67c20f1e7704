// Neighbour discovery over virtual time: the exchanges of RFC 4861.
#include <gtest/gtest.h>

#include "nd_support.h"

namespace sluice::net {
namespace {

using test::advertisement;
using test::ip;
using test::kSecond;
using test::kThiefMac;
using test::NdTest;
using test::solicitation;

TEST_F(NdTest, ResolvesAndUnparks) {
  EXPECT_FALSE(known("fd00:99:1::2"));
  EXPECT_TRUE(table.park(ip("fd00:99:1::2"), 11));
  const auto question = sent();
  ASSERT_TRUE(question);
  EXPECT_EQ(question->type, NdType::Solicitation);
  EXPECT_EQ(question->source, ip("fd00:99:1::10"));
  EXPECT_EQ(question->destination, ip("ff02::1:ff00:2"));
  EXPECT_EQ(question->target, ip("fd00:99:1::2"));
  EXPECT_EQ(question->link_address, test::kOurMac);
  EXPECT_EQ(sent_to, multicast_mac(ip("ff02::1:ff00:2")));
  EXPECT_FALSE(known("fd00:99:1::2"));
  EXPECT_FALSE(sent()) << "one question, however often we look";
  EXPECT_TRUE(hear(advertisement("fd00:99:1::2", test::kPeerMac)).share);
  EXPECT_EQ(table.state(ip("fd00:99:1::2")), NeighborState::Reachable);
  ASSERT_TRUE(known("fd00:99:1::2"));
  EXPECT_EQ(mac, test::kPeerMac);
  Unparked out;
  ASSERT_TRUE(table.next_unparked(out));
  EXPECT_EQ(out.packet, 11U);
  EXPECT_TRUE(out.resolved);
  EXPECT_EQ(table.parked(), 0U);
}

TEST_F(NdTest, AsksALinkLocalGatewayFromTheLinkLocalAddress) {
  EXPECT_FALSE(known("fe80::1"));
  const auto question = sent();
  ASSERT_TRUE(question);
  EXPECT_EQ(question->source, interface.link_local());
}

TEST_F(NdTest, AsksOnceASecondAndGivesUp) {
  EXPECT_FALSE(known("fd00:99:1::2"));
  ASSERT_TRUE(table.park(ip("fd00:99:1::2"), 5));
  uint32_t questions = 0;
  for (int i = 0; i < 60; ++i) {
    pass(kSecond / 10);
    while (sent()) ++questions;
  }
  EXPECT_EQ(questions, NeighborTable::kTries);
  EXPECT_EQ(table.state(ip("fd00:99:1::2")), NeighborState::Free);
  Unparked out;
  ASSERT_TRUE(table.next_unparked(out));
  EXPECT_FALSE(out.resolved);
}

TEST_F(NdTest, AnswersForEachAddressOfOurs) {
  for (const char* own : {"fd00:99:1::10", "fe80::ff:fe00:1"}) {
    EXPECT_TRUE(hear(solicitation("fd00:99:1::2", own)).share);
    const auto answer = sent();
    ASSERT_TRUE(answer) << own;
    EXPECT_EQ(answer->type, NdType::Advertisement);
    EXPECT_EQ(answer->source, ip(own));
    EXPECT_EQ(answer->target, ip(own));
    EXPECT_EQ(answer->destination, ip("fd00:99:1::2"));
    EXPECT_TRUE(answer->solicited);
    EXPECT_TRUE(answer->override_);
    EXPECT_EQ(answer->link_address, test::kOurMac);
    EXPECT_EQ(sent_to, test::kPeerMac);
  }
  EXPECT_EQ(table.state(ip("fd00:99:1::2")), NeighborState::Stale) << "who asks will talk to us";
  EXPECT_FALSE(hear(solicitation("fd00:99:1::2", "fd00:99:1::1:10")).valid)
      << "another address of the same group";
  EXPECT_FALSE(sent());
  hear(solicitation("fd00:99:1::2", "fd00:99:1::10"), false);  // shared by another worker
  EXPECT_FALSE(sent());
}

// By unicast and without the option: the answer goes to the frame's own source.
TEST_F(NdTest, AnswersAProbeOfReachability) {
  NdMessage message = solicitation("fd00:99:1::2", "fd00:99:1::10", false);
  message.destination = message.target;
  EXPECT_TRUE(hear(message).valid);
  ASSERT_TRUE(sent());
  EXPECT_EQ(sent_to, test::kPeerMac);
  EXPECT_EQ(table.state(ip("fd00:99:1::2")), NeighborState::Free) << "nothing was said of it";
}

// RFC 4862 5.4.3: somebody checks whether our address is free.
TEST_F(NdTest, DefendsAgainstDuplicateDetection) {
  const auto input = hear(solicitation("::", "fd00:99:1::10", false));
  EXPECT_TRUE(input.valid);
  EXPECT_FALSE(input.share);
  const auto answer = sent();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->destination, kAllNodes);
  EXPECT_FALSE(answer->solicited);
  EXPECT_EQ(sent_to, multicast_mac(kAllNodes));
}

TEST_F(NdTest, ConflictIsNoticedAndDefendedRarely) {
  NdMessage thief = advertisement("fd00:99:1::10", kThiefMac);
  thief.destination = kAllNodes;
  thief.solicited = false;
  EXPECT_TRUE(hear(thief).conflict);
  const auto defence = sent();
  ASSERT_TRUE(defence);
  EXPECT_EQ(defence->target, ip("fd00:99:1::10"));
  EXPECT_EQ(defence->destination, kAllNodes);
  EXPECT_TRUE(hear(thief).conflict);
  EXPECT_FALSE(sent()) << "two that defend would never stop";
  NdMessage asker = solicitation("fd00:99:1::10", "fd00:99:1::10");
  asker.link_address = kThiefMac;
  EXPECT_TRUE(hear(asker).conflict) << "it asks from our address";
  EXPECT_EQ(table.conflicts(), 3U);
  NdMessage echo = thief;
  echo.link_address = test::kOurMac;
  EXPECT_FALSE(hear(echo).conflict) << "our own words, come back";
}

// Whatever the thief speaks of: the address that is defended is ours.
TEST_F(NdTest, DefendsNobodyElsesAddress) {
  NdMessage thief = advertisement("fd00:99:1::2", kThiefMac);
  thief.source = ip("fd00:99:1::10");
  EXPECT_TRUE(hear(thief).conflict);
  const auto defence = sent();
  ASSERT_TRUE(defence);
  EXPECT_EQ(defence->target, ip("fd00:99:1::10"));
  EXPECT_EQ(defence->source, ip("fd00:99:1::10"));
}

TEST_F(NdTest, FlagsOfAnAdvertisement) {
  known("fd00:99:1::2");
  NdMessage message = advertisement("fd00:99:1::2", test::kPeerMac);
  message.has_link_address = false;
  hear(message);
  EXPECT_EQ(table.state(ip("fd00:99:1::2")), NeighborState::Incomplete) << "it says no address";
  message.has_link_address = true;
  message.solicited = false;
  hear(message);
  EXPECT_EQ(table.state(ip("fd00:99:1::2")), NeighborState::Stale) << "RFC 4861 7.2.5: not asked";
  pass(2 * kSecond);
  known("fd00:99:1::2");
  hear(advertisement("fd00:99:1::2", test::kPeerMac));
  EXPECT_EQ(table.state(ip("fd00:99:1::2")), NeighborState::Reachable);

  NdMessage other = advertisement("fd00:99:1::2", kThiefMac);
  hear(other);
  known("fd00:99:1::2");
  EXPECT_EQ(mac, test::kPeerMac) << "confirmed a moment ago";
  pass(2 * kSecond);
  other.override_ = false;
  hear(other);
  EXPECT_EQ(table.state(ip("fd00:99:1::2")), NeighborState::Stale);
  known("fd00:99:1::2");
  EXPECT_EQ(mac, test::kPeerMac) << "without O the address stays, in doubt";
  other.override_ = true;
  other.solicited = false;
  hear(other);
  known("fd00:99:1::2");
  EXPECT_EQ(mac, kThiefMac);
}

TEST_F(NdTest, UnsolicitedAdvertisementsCreateNothing) {
  hear(advertisement("fd00:99:1::2", test::kPeerMac));
  EXPECT_EQ(table.state(ip("fd00:99:1::2")), NeighborState::Free);
}

TEST_F(NdTest, ProbesUnreachabilityByUnicastFirst) {
  known("fd00:99:1::2");
  sent();
  hear(advertisement("fd00:99:1::2", test::kPeerMac));
  pass(NeighborTable::kReachableUs + kSecond);
  EXPECT_EQ(table.state(ip("fd00:99:1::2")), NeighborState::Stale);
  known("fd00:99:1::2");
  uint32_t unicast = 0;
  uint32_t multicast = 0;
  for (int i = 0; i < 100; ++i) {  // it is silent
    while (sent()) ++(sent_to.is_multicast() ? multicast : unicast);
    pass(kSecond / 10);
  }
  EXPECT_EQ(unicast, NeighborTable::kTries);
  EXPECT_EQ(multicast, NeighborTable::kTries);
  EXPECT_EQ(table.state(ip("fd00:99:1::2")), NeighborState::Free);
}

TEST_F(NdTest, FloodsAreBounded) {
  known("fd00:99:1::2");
  sent();
  hear(advertisement("fd00:99:1::2", test::kPeerMac));
  uint32_t answers = 0;
  uint32_t questions = 0;
  uint32_t shares = 0;
  for (uint32_t i = 0; i < 20'000; ++i) {
    now_us += 50;
    NdMessage asker = solicitation("fd00:99:1::2", "fd00:99:1::10");
    store_be32(asker.source.bytes.data() + 8, i + 7);
    shares += hear(asker).share ? 1 : 0;
    abi::IpAddress invented = ip("fd00:99:1::");
    store_be32(invented.bytes.data() + 12, i + 1000);
    table.lookup(invented, now_us, mac);
    while (const auto message = sent()) {
      ++(message->type == NdType::Advertisement ? answers : questions);
    }
  }
  EXPECT_EQ(table.state(ip("fd00:99:1::2")), NeighborState::Reachable);
  EXPECT_LE(answers, kNeighborAnswerBurst + kNeighborAnswersPerSecond + 1);
  EXPECT_LE(shares, kNeighborAnswerBurst + kNeighborAnswersPerSecond + 1);
  EXPECT_LE(questions, kNeighborRequestBurst + kNeighborRequestsPerSecond + 1);
  EXPECT_GT(counters.get(abi::Counter::neighbor_rate_limited), 0U);
}

TEST_F(NdTest, InventedNeighborsNeverHideANewBackend) {
  for (uint32_t i = 0; i < 20'000; ++i) {
    abi::IpAddress invented = ip("fd00:99:1::");
    store_be32(invented.bytes.data() + 12, i + 1000);
    if (!table.lookup(invented, now_us, mac)) table.park(invented, 1'000'000 + i);
    if (i != 10'000) continue;
    ASSERT_FALSE(table.lookup(ip("fd00:99:1::2"), now_us, mac, Peer::Known));
    ASSERT_TRUE(table.park(ip("fd00:99:1::2"), 7));
  }
  bool asked = false;
  while (const auto message = sent()) asked = asked || message->target == ip("fd00:99:1::2");
  EXPECT_TRUE(asked);
  hear(advertisement("fd00:99:1::2", test::kPeerMac));
  Unparked out;
  while (table.next_unparked(out) && out.packet != 7) {
  }
  EXPECT_EQ(out.packet, 7U);
  EXPECT_TRUE(out.resolved);
}

// Three rounds, a second apart; in each, for each address: report, question, advertisement.
TEST_F(NdTest, Announces) {
  table.announce();
  for (uint32_t round = 0; round < NeighborTable::kAnnounceRounds; ++round) {
    uint32_t reports = 0;
    uint32_t questions = 0;
    uint32_t advertisements = 0;
    uint32_t requests = 0;
    std::array<uint8_t, kNeighborFrameBytes> out;
    while (table.next_frame(out) != 0) {
      if (load_be16(out.data() + 12) == kEthertypeArp) {
        ++requests;
      } else if (out[20] == kNextHopByHop) {
        EXPECT_EQ(out[21], 1) << "hop limit, RFC 3810 5";
        EXPECT_EQ(out[62], 143);
        const Sum sum =
            pseudo_header(out.data() + 14, kProtocolIcmpv6, 28) + checksum_add(out.data() + 62, 28);
        EXPECT_EQ(checksum_fold(sum), 0xffff);
        ++reports;
      } else {
        ++(out[54] == 135 ? questions : advertisements);
      }
    }
    EXPECT_EQ(requests, 1U);
    EXPECT_EQ(reports, 2U) << "of the given and of the link-local address";
    EXPECT_EQ(questions, 2U);
    EXPECT_EQ(advertisements, 2U);
    pass(kSecond + kSecond / 10);
  }
  std::array<uint8_t, kNeighborFrameBytes> out;
  pass(5 * kSecond);
  EXPECT_EQ(table.next_frame(out), 0U);
}

TEST_F(NdTest, AnswersListenerQueries) {
  std::vector<uint8_t> query(28);
  query[0] = 130;
  std::vector<uint8_t> out(kNeighborFrameBytes);
  const auto ask = [&](const char* from, uint8_t hop_limit) {
    hear_frame(test::icmpv6_frame(query, from, "ff02::1", hop_limit));
    uint32_t reports = 0;
    while (table.next_frame(out) != 0) ++reports;
    return reports;
  };
  EXPECT_EQ(ask("fe80::1", 1), 2U);
  EXPECT_EQ(ask("fe80::1", 1), 0U) << "once a second";
  pass(2 * kSecond);
  EXPECT_EQ(ask("fd00:99:1::2", 1), 0U) << "RFC 3810 6.2: only from the link";
  EXPECT_EQ(ask("fe80::1", 64), 0U);
  EXPECT_EQ(ask("fe80::1", 1), 2U);
}

}  // namespace
}  // namespace sluice::net
