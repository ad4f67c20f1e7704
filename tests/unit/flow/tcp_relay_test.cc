// The plain relay: bytes both ways, half-close, every way in which one side can end badly.
#include <gtest/gtest.h>

#include "world.h"

namespace sluice::flow::test {
namespace {

using abi::CloseReason;
using abi::Counter;

constexpr size_t kMebibyte = 1 << 20;

NetConfig lossy(uint32_t seed) {
  return {.delay_us = 1000,
          .jitter_us = 1500,
          .loss_permille = 10,
          .duplicate_permille = 10,
          .seed = seed};
}

TEST(TcpRelay, BytesGoBothWaysThroughALossyNetwork) {
  for (uint32_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    World world({.net = lossy(seed)});
    const Bytes up = pattern(kMebibyte, seed);
    const Bytes down = pattern(kMebibyte, seed + 100);
    world.backend_host.listen(kBackend, [&](Peer& peer) {
      peer.write(down);
      peer.finish = true;
    });
    Peer& client = world.connect_tcp();
    client.write(up);
    client.finish = true;
    world.expect_clean(CloseReason::finished);
    ASSERT_EQ(world.backend_host.peers.size(), 1U);
    EXPECT_EQ(client.received, down);
    EXPECT_EQ(backend_of(world).received, up);
    EXPECT_TRUE(client.finished_by_peer);
    EXPECT_TRUE(backend_of(world).finished_by_peer);
  }
}

TEST(TcpRelay, CountsEachConnectionOnce) {
  World world;
  world.backend_host.listen(kBackend, [](Peer& peer) { peer.finish = true; });
  Peer& client = world.connect_tcp();
  client.finish = true;
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(world.count(Counter::flows_opened), 1U);
  EXPECT_EQ(world.count(Counter::tcp_connects), 1U);
  EXPECT_EQ(world.count(Counter::tcp_cookie_accepted), 1U);
  EXPECT_EQ(world.count(Counter::tcp_resets_out), 0U);
}

TEST(TcpRelay, ClientHalfClosesAndStillReceives) {
  World world;
  const Bytes down = pattern(300'000, 5);
  world.backend_host.listen(kBackend, [&](Peer& peer) {
    peer.on_data = [&](Peer& self) {
      if (!self.finished_by_peer) return;
      self.write(down);  // the answer comes behind the client's FIN
      self.finish = true;
    };
  });
  Peer& client = world.connect_tcp();
  client.write(pattern(1000, 4));
  client.finish = true;
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(client.received, down);
  EXPECT_EQ(backend_of(world).received, pattern(1000, 4));
}

TEST(TcpRelay, BackendHalfClosesAndStillReceives) {
  World world;
  const Bytes up = pattern(300'000, 6);
  world.backend_host.listen(kBackend, [](Peer& peer) {
    peer.write(pattern(10, 7));
    peer.finish = true;
  });
  Peer& client = world.connect_tcp();
  client.on_data = [&](Peer& self) {
    if (!self.finished_by_peer || self.finish) return;
    self.write(up);
    self.finish = true;
  };
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(client.received, pattern(10, 7));
  EXPECT_EQ(backend_of(world).received, up);
}

TEST(TcpRelay, ClientResetReachesTheBackend) {
  World world;
  Peer& client = world.connect_tcp();
  client.write(pattern(100, 1));
  ASSERT_TRUE(world.run_until([&] {
    return !world.backend_host.peers.empty() && backend_of(world).received.size() == 100;
  }));
  world.client_host.abort(client);
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::client_reset);
  EXPECT_TRUE(backend_of(world).reset());
}

TEST(TcpRelay, BackendResetReachesTheClient) {
  World world;
  Peer& client = world.connect_tcp();
  ASSERT_TRUE(world.run_until([&] { return !world.backend_host.peers.empty(); }));
  world.backend_host.abort(backend_of(world));
  world.backend_host.pump(world.now);
  world.expect_clean(CloseReason::backend_reset);
  EXPECT_TRUE(client.reset());
}

TEST(TcpRelay, BackendRefuses) {
  World world;
  world.backend_host.listening = false;
  Peer& client = world.connect_tcp();
  client.write(pattern(100, 1));
  world.expect_clean(CloseReason::backend_refused);
  EXPECT_TRUE(client.reset());
}

TEST(TcpRelay, BackendIsSilent) {
  World world;
  world.backend_host.silent = true;
  Peer& client = world.connect_tcp();
  client.write(pattern(100, 1));
  const Micros begun = world.now;
  world.run_until_idle();
  EXPECT_GE(world.now - begun, world.config.tcp.connect_timeout_us);
  EXPECT_LE(world.now - begun, world.config.tcp.connect_timeout_us + 2'000'000);
  world.expect_clean(CloseReason::backend_unreachable);
  EXPECT_TRUE(client.reset());
}

TEST(TcpRelay, BackendStopsAnsweringInTheMiddle) {
  World world;
  Peer& client = world.connect_tcp();
  ASSERT_TRUE(world.run_until([&] { return !world.backend_host.peers.empty(); }));
  world.run_for(10'000);
  world.backend_host.silent = true;
  client.write(pattern(100, 1));
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::backend_timeout);
  EXPECT_TRUE(client.reset());
}

TEST(TcpRelay, NoSourceAddressTowardsTheBackend) {
  World world({.sources = {}});
  Peer& client = world.connect_tcp();
  client.write(pattern(100, 1));
  world.expect_clean(CloseReason::no_backend_port);
  EXPECT_TRUE(client.reset());
}

TEST(TcpRelay, SourceIsOfTheBackendsSubnetElseTheOneWithAGateway) {
  const abi::IpAddress other = abi::IpAddress::from_ipv4(0x0a630309);
  abi::IpAddress ipv6;
  ipv6.bytes[0] = 0xfd;
  const SourceAddress far{other, 24, true};
  const SourceAddress near{kSourceAddress, 24, false};
  struct Row {
    std::vector<SourceAddress> sources;
    abi::IpAddress expected;
  };
  for (const Row& row : std::vector<Row>{{{far, near}, kSourceAddress},
                                         {{near, far}, kSourceAddress},
                                         {{{ipv6, 0, true}, far}, other}}) {
    World world({.sources = row.sources});
    std::vector<abi::IpAddress> used;
    world.tap = [&](const Wire& wire) {
      const bool opens = (wire.flags & (net::kSyn | net::kAck)) == net::kSyn;
      if (opens) used.push_back(wire.tuple.local.address);
    };
    world.connect_tcp();
    world.run_for(100'000);
    ASSERT_FALSE(used.empty());
    EXPECT_EQ(used[0], row.expected);
    world.engine->shutdown(world.now);
    world.expect_clean();
  }
}

TEST(TcpRelay, APortTowardsTheBackendNamesItsWorker) {
  World world({.with_control = false, .core = 2, .workers = 3});
  for (int i = 0; i < 20; ++i) world.connect_tcp();
  world.run_for(100'000);
  ASSERT_EQ(world.backend_host.peers.size(), 20U);
  for (const auto& peer : world.backend_host.peers) {
    const uint16_t port = peer->tcb.tuple.remote.port;
    EXPECT_GE(port, kFirstBackendPort);
    EXPECT_EQ((port - kFirstBackendPort) % 3, 2U);
  }
  world.engine->shutdown(world.now);
  world.expect_clean(CloseReason::shutdown);
}

// Our FIN went first, so the tuple rests in TIME_WAIT; the client comes again from the same port.
TEST(TcpRelay, ATupleInTimeWaitIsAcceptedAgain) {
  World world;
  world.backend_host.listen(kBackend, [](Peer& peer) {
    peer.write(pattern(100, 1));
    peer.finish = true;
  });
  const abi::SocketAddress from{kClientAddress, 30000};
  for (int round = 0; round < 5; ++round) {
    Peer& client = world.client_host.connect(from, kTcpService, world.now);
    client.on_data = [](Peer& self) { self.finish = self.finished_by_peer; };
    ASSERT_TRUE(world.run_until([&] { return client.closed && world.idle(); }, 30'000'000));
    EXPECT_EQ(client.received, pattern(100, 1));
    EXPECT_EQ(world.count(Counter::time_wait_entries), 1U);
    world.run_for(1'500'000);
  }
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(world.count(Counter::flows_opened), 5U);
}

TEST(TcpRelay, IdleConnectionEnds) {
  World world({.idle_timeout_us = 3'000'000});
  Peer& client = world.connect_tcp();
  const Micros begun = world.now;
  client.write(pattern(10, 1));
  world.run_until_idle();
  EXPECT_GE(world.now - begun, 3'000'000U);
  EXPECT_LE(world.now - begun, 3'100'000U);
  world.expect_clean(CloseReason::idle_timeout);
  EXPECT_TRUE(client.reset());
  EXPECT_TRUE(backend_of(world).reset());
}

TEST(TcpRelay, TrafficKeepsAConnectionFromBeingIdle) {
  World world({.idle_timeout_us = 3'000'000});
  Peer& client = world.connect_tcp();
  for (int i = 0; i < 10; ++i) {
    client.write(pattern(10, 1));
    world.client_host.pump(world.now);
    world.run_for(2'000'000);
  }
  EXPECT_EQ(world.engine->flows_active(), 1U);
  world.expect_clean(CloseReason::idle_timeout);
}

TEST(TcpRelay, ASegmentForNobodyIsAnsweredWithReset) {
  World world;
  Wire wire;
  wire.tuple = {{kRawAddress, 999}, {kTcpService.address, 81}};
  wire.seq = 5;
  wire.flags = net::kSyn;
  world.raw_input(wire);
  ASSERT_EQ(world.raw_inbox.size(), 1U);
  EXPECT_EQ(world.raw_inbox[0].flags, net::kRst | net::kAck);
  EXPECT_EQ(world.raw_inbox[0].ack, 6U);
  wire.flags = net::kAck;
  wire.ack = 77;
  wire.tuple.remote = kTcpService;  // no cookie of ours
  world.raw_input(wire);
  ASSERT_EQ(world.raw_inbox.size(), 2U);
  EXPECT_EQ(world.raw_inbox[1].flags, net::kRst);
  EXPECT_EQ(world.raw_inbox[1].seq, 77U);
  wire.flags = net::kRst;
  world.raw_input(wire);
  EXPECT_EQ(world.raw_inbox.size(), 2U);
  world.expect_clean();
}

TEST(TcpRelay, AFullTableRefusesAndServesAgainLater) {
  World world({.max_flows = 3});
  std::vector<Peer*> clients;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(&world.connect_tcp());
    clients.back()->write(pattern(10, 1));
  }
  world.run_for(1'000'000);
  EXPECT_EQ(world.engine->flows_active(), 3U);
  EXPECT_EQ(world.count(Counter::no_flow), 2U);
  EXPECT_EQ(world.count(Counter::tcp_accept_refused), 2U);
  for (Peer* client : clients) client->finish = true;
  for (const auto& peer : world.backend_host.peers) peer->finish = true;
  world.client_host.pump(world.now);
  world.backend_host.pump(world.now);
  world.run_until_idle();
  world.backend_host.listen(kBackend, [](Peer& peer) { peer.finish = true; });
  Peer& late = world.connect_tcp();
  late.finish = true;
  world.expect_clean(CloseReason::finished);
  EXPECT_TRUE(late.finished_by_peer);
}

// More connections one after another than the tables have entries.
TEST(TcpRelay, ManyConnectionsLeaveNothingBehind) {
  World world({.max_flows = 4});
  world.backend_host.listen(kBackend, [](Peer& peer) { peer.finish = true; });
  for (int i = 0; i < 300; ++i) {
    Peer& client = world.connect_tcp();
    client.write(pattern(100, 1));
    client.finish = true;
    world.run_until([&] { return world.engine->flows_active() == 0 && client.finished_by_peer; });
    world.run_for(10'000);
  }
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(world.count(Counter::flows_opened), 300U);
}

}  // namespace
}  // namespace sluice::flow::test
