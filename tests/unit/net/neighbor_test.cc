// The neighbour table as exchanges of ARP frames over virtual time.
#include "net/neighbor.h"

#include <gtest/gtest.h>

#include <optional>
#include <set>

#include "support.h"

namespace sluice::net {
namespace {

using test::ip;
using test::TestFrame;

constexpr uint64_t kSecond = 1'000'000;

struct NeighborTest : testing::Test {
  // What the table wants to send next.
  std::optional<Arp> sent() {
    std::array<uint8_t, kNeighborFrameBytes> out;
    const uint32_t length = table.next_frame(out);
    if (length == 0) return std::nullopt;
    Arp arp;
    EXPECT_TRUE(parse_arp({out.data() + kEthernetBytes, kArpBytes}, arp));
    EXPECT_GE(length, kMinFrameBytes);
    std::memcpy(sent_to.bytes.data(), out.data(), 6);
    return arp;
  }
  NeighborTable::Input hear(const Arp& arp, const Mac& to, bool answer = true) {
    std::vector<uint8_t> bytes(kNeighborFrameBytes);
    Interface from = test::peers();
    from.mac = arp.sender_mac;
    bytes.resize(build_arp(arp, from, to, bytes));
    TestFrame frame(bytes);
    Packet packet;
    Segment segment;
    EXPECT_EQ(parse_frame(frame.frame(), interface, packet, segment), PacketKind::Neighbor);
    return table.input(frame.frame(), packet, now_us, answer);
  }
  NeighborTable::Input hear_reply(const char* from, const Mac& sender) {
    return hear({ArpOperation::Reply, sender, test::kOurMac, ip(from), ip("10.99.1.10")},
                test::kOurMac);
  }
  // Lets time pass in steps in which the whole table is swept.
  void pass(uint64_t us) {
    for (const uint64_t end = now_us + us; now_us < end;) {
      now_us += 10'000;
      table.tick(now_us);
    }
  }
  bool known(const char* address) { return table.lookup(ip(address), now_us, mac); }

  Interface interface = test::ours();
  abi::Counters counters;
  NeighborTable table{interface, counters};
  uint64_t now_us = 100 * kSecond;
  Mac mac;
  Mac sent_to;
};

TEST_F(NeighborTest, ResolvesAndUnparks) {
  EXPECT_FALSE(known("10.99.1.2"));
  EXPECT_TRUE(table.park(ip("10.99.1.2"), 11));
  EXPECT_TRUE(table.park(ip("10.99.1.2"), 12));
  const auto request = sent();
  ASSERT_TRUE(request);
  EXPECT_EQ(request->operation, ArpOperation::Request);
  EXPECT_EQ(request->sender, ip("10.99.1.10"));
  EXPECT_EQ(request->target, ip("10.99.1.2"));
  EXPECT_EQ(sent_to, Mac::broadcast());
  EXPECT_FALSE(known("10.99.1.2"));
  EXPECT_FALSE(sent()) << "one request, however often we look";
  EXPECT_TRUE(hear_reply("10.99.1.2", test::kPeerMac).share);
  EXPECT_EQ(table.state(ip("10.99.1.2")), NeighborState::Reachable);
  ASSERT_TRUE(known("10.99.1.2"));
  EXPECT_EQ(mac, test::kPeerMac);
  Unparked out;
  for (const uintptr_t packet : {11U, 12U}) {
    ASSERT_TRUE(table.next_unparked(out));
    EXPECT_EQ(out.packet, packet);
    EXPECT_TRUE(out.resolved);
    EXPECT_EQ(out.mac, test::kPeerMac);
  }
  EXPECT_FALSE(table.next_unparked(out));
  EXPECT_EQ(table.parked(), 0U);
}

TEST_F(NeighborTest, AsksOnceASecondAndGivesUp) {
  EXPECT_FALSE(known("10.99.1.2"));
  ASSERT_TRUE(table.park(ip("10.99.1.2"), 5));
  uint32_t requests = 0;
  for (int i = 0; i < 60; ++i) {
    pass(kSecond / 10);
    while (sent()) ++requests;
  }
  EXPECT_EQ(requests, NeighborTable::kTries);
  EXPECT_EQ(table.state(ip("10.99.1.2")), NeighborState::Free);
  Unparked out;
  ASSERT_TRUE(table.next_unparked(out));
  EXPECT_EQ(out.packet, 5U);
  EXPECT_FALSE(out.resolved);
}

TEST_F(NeighborTest, ParkingIsBounded) {
  EXPECT_FALSE(known("10.99.1.2"));
  for (uint32_t i = 1; i <= kNeighborParked; ++i) EXPECT_TRUE(table.park(ip("10.99.1.2"), i));
  EXPECT_FALSE(table.park(ip("10.99.1.2"), 99));
  EXPECT_EQ(counters.get(abi::Counter::arp_queue_drop), 1U);
  EXPECT_FALSE(table.park(ip("10.99.1.3"), 99)) << "never looked up";
  // All neighbours together, and again after everything has come back.
  for (int round = 0; round < 3; ++round) {
    uint32_t parked = table.parked();
    for (uint32_t host = 2; host < 250; ++host) {
      const auto hop = abi::IpAddress::from_ipv4(0x0a630100U + host);
      if (table.lookup(hop, now_us, mac, Peer::Known)) continue;
      for (uint32_t i = 0; i < kNeighborParked; ++i) parked += table.park(hop, 7) ? 1 : 0;
    }
    EXPECT_EQ(parked, kNeighborParkedTotal);
    pass(10 * kSecond);
    uint32_t back = 0;
    Unparked out;
    while (table.next_unparked(out)) ++back;
    EXPECT_EQ(back, kNeighborParkedTotal);
  }
}

TEST_F(NeighborTest, AnswersForOurAddressesOnly) {
  const Arp request = {ArpOperation::Request, test::kPeerMac, Mac{}, ip("10.99.1.2"),
                       ip("10.99.1.10")};
  EXPECT_TRUE(hear(request, Mac::broadcast()).share);
  const auto reply = sent();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->operation, ArpOperation::Reply);
  EXPECT_EQ(reply->sender, ip("10.99.1.10"));
  EXPECT_EQ(reply->sender_mac, test::kOurMac);
  EXPECT_EQ(reply->target, ip("10.99.1.2"));
  EXPECT_EQ(sent_to, test::kPeerMac);
  EXPECT_EQ(table.state(ip("10.99.1.2")), NeighborState::Stale) << "who asks will talk to us";

  Arp other = request;
  other.target = ip("10.99.1.77");
  EXPECT_FALSE(hear(other, Mac::broadcast()).valid);
  EXPECT_FALSE(sent());
  hear(request, Mac::broadcast(), false);  // shared by another worker, which answered
  EXPECT_FALSE(sent());
}

TEST_F(NeighborTest, AgesAndProbesByUnicast) {
  known("10.99.1.2");
  sent();
  hear_reply("10.99.1.2", test::kPeerMac);
  pass(NeighborTable::kReachableUs + kSecond);
  EXPECT_EQ(table.state(ip("10.99.1.2")), NeighborState::Stale);
  EXPECT_FALSE(sent()) << "unused entries are left alone";
  ASSERT_TRUE(known("10.99.1.2")) << "packets go on";
  ASSERT_TRUE(sent());
  EXPECT_EQ(sent_to, test::kPeerMac);
  hear_reply("10.99.1.2", test::kPeerMac);
  EXPECT_EQ(table.state(ip("10.99.1.2")), NeighborState::Reachable);

  pass(NeighborTable::kReachableUs + kSecond);
  known("10.99.1.2");
  uint32_t unicast = 0;
  uint32_t broadcast = 0;
  for (int i = 0; i < 100; ++i) {  // now it is silent
    while (sent()) ++(sent_to == Mac::broadcast() ? broadcast : unicast);
    pass(kSecond / 10);
  }
  EXPECT_EQ(unicast, NeighborTable::kTries);
  EXPECT_EQ(broadcast, NeighborTable::kTries);
  EXPECT_EQ(table.state(ip("10.99.1.2")), NeighborState::Free);
}

TEST_F(NeighborTest, ForgetsUnusedEntries) {
  hear({ArpOperation::Request, test::kPeerMac, Mac{}, ip("10.99.1.2"), ip("10.99.1.10")},
       Mac::broadcast());
  pass(NeighborTable::kStaleUs + kSecond);
  EXPECT_EQ(table.state(ip("10.99.1.2")), NeighborState::Free);
}

TEST_F(NeighborTest, FailoverByGratuitousArp) {
  known("10.99.1.2");
  hear_reply("10.99.1.2", test::kPeerMac);
  const Mac other = Mac{{0x02, 0, 0, 0, 0, 0x33}};
  const Arp takeover = {ArpOperation::Request, other, Mac{}, ip("10.99.1.2"), ip("10.99.1.2")};
  hear(takeover, Mac::broadcast());
  ASSERT_TRUE(known("10.99.1.2"));
  EXPECT_EQ(mac, test::kPeerMac) << "confirmed a moment ago";
  pass(2 * kSecond);
  EXPECT_TRUE(hear(takeover, Mac::broadcast()).share);
  ASSERT_TRUE(known("10.99.1.2"));
  EXPECT_EQ(mac, other);
}

TEST_F(NeighborTest, UnsolicitedAnswersCreateNothing) {
  hear_reply("10.99.1.2", test::kPeerMac);
  EXPECT_EQ(table.state(ip("10.99.1.2")), NeighborState::Free);
}

TEST_F(NeighborTest, AskersNeverPushOutWhatWeUse) {
  interface.addresses[0].prefix_bits = 8;
  known("10.99.1.1");
  hear_reply("10.99.1.1", test::kPeerMac);
  for (uint32_t i = 0; i < 20'000; ++i) {
    now_us += 100;
    const auto asker = abi::IpAddress::from_ipv4(0x0a000001U + i);
    hear({ArpOperation::Request, test::kPeerMac, Mac{}, asker, ip("10.99.1.10")}, Mac::broadcast());
    while (sent()) {
    }
  }
  EXPECT_EQ(table.state(ip("10.99.1.1")), NeighborState::Reachable);
}

// A flood of SYNs from invented on-link addresses: what is in use stays, requests are limited.
TEST_F(NeighborTest, InventedNeighborsNeverPushOutWhatWeUse) {
  interface.addresses[0].prefix_bits = 8;
  known("10.99.1.1");
  hear_reply("10.99.1.1", test::kPeerMac);
  uint32_t requests = 0;
  for (uint32_t i = 0; i < 100'000; ++i) {
    now_us += 10;
    table.lookup(abi::IpAddress::from_ipv4(0x0a000001U + i), now_us, mac);
    while (sent()) ++requests;
  }
  EXPECT_EQ(table.state(ip("10.99.1.1")), NeighborState::Reachable);
  EXPECT_LE(requests, kNeighborRequestBurst + kNeighborRequestsPerSecond + 1);
}

// The same flood takes all the questions that the limit allows; those who matter are asked for all
// the same, from the first question on.
TEST_F(NeighborTest, InventedNeighborsNeverCutUsOff) {
  interface.addresses[0].prefix_bits = 8;
  interface.has_gateway = true;
  interface.gateway = ip("10.99.1.1");
  uint32_t invented = 0;
  const auto flood = [&](uint64_t us) {
    uint64_t lost_us = 0;
    for (const uint64_t end = now_us + us; now_us < end; now_us += 1000) {
      for (uint32_t i = 0; i < 20; ++i) {
        const auto address = abi::IpAddress::from_ipv4(0x0a000001U + invented++ % 0x400000);
        table.lookup(address, now_us, mac);
      }
      if (!known("10.99.1.1") || !known("10.99.1.2")) lost_us += 1000;
      table.tick(now_us);
      while (const auto arp = sent()) {
        if (arp->target == ip("10.99.1.1")) hear_reply("10.99.1.1", test::kPeerMac);
        if (arp->target == ip("10.99.1.2")) hear_reply("10.99.1.2", test::kPeerMac);
      }
    }
    return lost_us;
  };
  known("10.99.1.2");
  hear_reply("10.99.1.2", test::kPeerMac);
  EXPECT_LE(flood(4 * NeighborTable::kReachableUs), 1000U) << "the gateway's first question";
}

// A backend that nothing is known of yet, while the flood lasts: its first question goes out at
// once, its packets have a place, and the answer finds them - also where strangers' packets made an
// entry of its address before and its question was held back.
TEST_F(NeighborTest, InventedNeighborsNeverHideANewBackend) {
  interface.addresses[0].prefix_bits = 8;
  uint32_t invented = 0;
  const auto flood = [&] {
    for (uint32_t i = 0; i < 5'000; ++i) {
      const auto address = abi::IpAddress::from_ipv4(0x0a000001U + invented++ % 0x400000);
      if (!table.lookup(address, now_us, mac)) table.park(address, 1'000'000 + i);
    }
  };
  for (uint32_t host = 1; host <= 60; ++host) {
    const auto backend = abi::IpAddress::from_ipv4(0x0ac80000U + host);
    flood();
    if (host % 2 == 0) table.lookup(backend, now_us, mac);
    ASSERT_FALSE(table.lookup(backend, now_us, mac, Peer::Known));
    ASSERT_TRUE(table.park(backend, host)) << host;
    flood();
    bool asked = false;
    while (const auto arp = sent()) asked = asked || arp->target == backend;
    ASSERT_TRUE(asked) << host;
    flood();
    hear({ArpOperation::Reply, test::kPeerMac, test::kOurMac, backend, ip("10.99.1.10")},
         test::kOurMac);
    bool back = false;
    for (Unparked out; table.next_unparked(out);) {
      back = back || (out.packet == host && out.resolved);
    }
    EXPECT_TRUE(back) << host;
    flood();
    EXPECT_EQ(table.state(backend), NeighborState::Reachable) << host;
    now_us += 10'000;
    table.tick(now_us);
  }
}

// However many we knew once: a new client on the link finds a place.
TEST_F(NeighborTest, DormantNeighborsGiveWay) {
  interface.addresses[0].prefix_bits = 8;
  for (uint32_t host = 1; host <= 20'000; ++host) {
    const auto address = abi::IpAddress::from_ipv4(0x0a000000U + host);
    table.lookup(address, now_us, mac, Peer::Known);
    hear({ArpOperation::Reply, test::kPeerMac, test::kOurMac, address, ip("10.99.1.10")},
         test::kOurMac);
    while (sent()) {
    }
    now_us += 1'000;
  }
  pass(NeighborTable::kDormantUs);
  EXPECT_FALSE(known("10.200.0.1"));
  EXPECT_EQ(table.state(ip("10.200.0.1")), NeighborState::Incomplete);
}

TEST_F(NeighborTest, ConflictIsNoticedAndDefendedRarely) {
  const Arp thief = {ArpOperation::Request, test::kPeerMac, Mac{}, ip("10.99.1.10"),
                     ip("10.99.1.10")};
  EXPECT_TRUE(hear(thief, Mac::broadcast()).conflict);
  const auto defence = sent();
  ASSERT_TRUE(defence);
  EXPECT_EQ(defence->sender, ip("10.99.1.10"));
  EXPECT_EQ(defence->target, ip("10.99.1.10"));
  EXPECT_TRUE(hear(thief, Mac::broadcast()).conflict);
  EXPECT_FALSE(sent()) << "two that defend would never stop (RFC 5227 2.4)";
  EXPECT_EQ(table.conflicts(), 2U);
  now_us += NeighborTable::kConflictUs;
  hear(thief, Mac::broadcast());
  EXPECT_TRUE(sent());
}

TEST_F(NeighborTest, RefusesNonsense) {
  const Arp good = {ArpOperation::Request, test::kPeerMac, Mac{}, ip("10.99.1.2"),
                    ip("10.99.1.10")};
  struct Row {
    const char* what;
    Arp arp;
  };
  Row rows[] = {{"off-link sender", good}, {"broadcast sender", good}, {"ourselves", good}};
  rows[0].arp.sender = ip("192.0.2.1");
  rows[1].arp.sender = ip("10.99.1.255");
  rows[2].arp.sender = ip("10.99.1.10");
  rows[2].arp.sender_mac = test::kOurMac;
  for (const Row& row : rows) {
    EXPECT_FALSE(hear(row.arp, Mac::broadcast()).valid) << row.what;
    EXPECT_FALSE(sent()) << row.what;
  }
  Arp probe = good;  // RFC 5227: somebody checks whether our address is free
  probe.sender = ip("0.0.0.0");
  EXPECT_FALSE(hear(probe, Mac::broadcast()).share);
  EXPECT_TRUE(sent());
}

TEST_F(NeighborTest, TruncatedAndForeignPacketsAreRefused) {
  std::vector<uint8_t> bytes(kNeighborFrameBytes);
  const Arp good = {ArpOperation::Request, test::kPeerMac, Mac{}, ip("10.99.1.2"),
                    ip("10.99.1.10")};
  bytes.resize(build_arp(good, test::peers(), Mac::broadcast(), bytes));
  for (uint32_t length = kEthernetBytes; length < kEthernetBytes + kArpBytes; ++length) {
    TestFrame frame(std::vector<uint8_t>(bytes.begin(), bytes.begin() + length));
    Packet packet;
    Segment segment;
    ASSERT_EQ(parse_frame(frame.frame(), interface, packet, segment), PacketKind::Neighbor);
    EXPECT_FALSE(table.input(frame.frame(), packet, now_us).valid) << length;
  }
  for (const uint32_t offset : {14U, 16U, 18U, 19U, 20U, 21U}) {
    TestFrame frame(bytes);
    frame.bytes()[offset] ^= 0x55;
    Packet packet;
    Segment segment;
    ASSERT_EQ(parse_frame(frame.frame(), interface, packet, segment), PacketKind::Neighbor);
    EXPECT_FALSE(table.input(frame.frame(), packet, now_us).valid) << offset;
  }
}

TEST_F(NeighborTest, AnnouncesEachAddress) {
  ASSERT_TRUE(interface.add_address({ip("10.99.1.11"), 24}));
  table.announce();
  std::set<uint32_t> announced;
  while (const auto arp = sent()) {
    EXPECT_EQ(arp->sender, arp->target);
    EXPECT_EQ(sent_to, Mac::broadcast());
    announced.insert(arp->sender.ipv4());
  }
  EXPECT_EQ(announced.size(), 2U);
}

TEST_F(NeighborTest, OtherFamiliesAreNotAskedFor) {
  EXPECT_FALSE(known("fd00::2"));
  EXPECT_FALSE(sent());
}

}  // namespace
}  // namespace sluice::net
