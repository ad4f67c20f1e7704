// Source ports that bring a backend's answers back: the search alone over keys, tables and
// families, and engines of several simulated workers behind a port that spreads by key and table.
#include "flow/source_port.h"

#include <gtest/gtest.h>

#include <array>
#include <set>

#include "world.h"

namespace sluice::flow::test {
namespace {

abi::IpAddress ip(const char* text) {
  abi::IpAddress address;
  if (!abi::parse_ip_address(text, address)) std::abort();
  return address;
}

const abi::SocketAddress kBackend6{ip("fd00:99:2::2"), 8080};

net::RssMap make_map(uint32_t key_bytes, uint32_t entries, uint16_t queues, uint32_t seed = 1) {
  std::mt19937 random(seed);
  net::RssSettings settings;
  for (uint32_t i = 0; i < key_bytes; ++i) {
    settings.key.push_back(static_cast<uint8_t>(random()));
  }
  for (uint32_t i = 0; i < entries; ++i) settings.reta.push_back(static_cast<uint16_t>(i % queues));
  std::shuffle(settings.reta.begin(), settings.reta.end(), random);
  settings.ipv4_tcp = settings.ipv6_tcp = true;
  net::RssMap map;
  std::string error;
  if (!map.build(settings, queues, error)) std::abort();
  return map;
}

EngineConfig config_of(uint16_t core, uint16_t workers, const net::RssMap* rss) {
  EngineConfig config;
  config.core = core;
  config.workers = workers;
  config.sources = {{kSourceAddress, 24, false, rss}, {ip("fd00:99:2::a"), 64, false, rss}};
  for (uint8_t i = 0; i < 16; ++i) config.hash_key[i] = i;
  return config;
}

std::vector<net::FlowTuple> proposals(SourcePorts& ports, const abi::SocketAddress& backend,
                                      size_t most) {
  std::vector<net::FlowTuple> found;
  SourcePorts::Search search = ports.search(backend);
  net::FlowTuple tuple;
  while (found.size() < most && search.next(tuple)) found.push_back(tuple);
  return found;
}

TEST(SourcePort, AnswersComeToTheQueueOfTheWorker) {
  struct Row {
    uint32_t key_bytes, entries;
    uint16_t workers;
  };
  for (const Row& row : {Row{40, 128, 2}, Row{52, 512, 4}, Row{40, 7, 3}, Row{52, 96, 5},
                         Row{40, 2048, 64}, Row{64, 2, 2}}) {
    const net::RssMap map = make_map(row.key_bytes, row.entries, row.workers);
    for (uint16_t core = 0; core < row.workers; ++core) {
      const EngineConfig config = config_of(core, row.workers, &map);
      for (const abi::SocketAddress& backend : {kBackend, kBackend6}) {
        SourcePorts ports(config);
        const auto found = proposals(ports, backend, 100);
        ASSERT_EQ(found.size(), 100U) << row.entries << " entries, worker " << core;
        std::set<uint16_t> different;
        for (const net::FlowTuple& tuple : found) {
          EXPECT_EQ(map.queue_of(tuple), core);
          EXPECT_GE(tuple.local.port, kFirstBackendPort);
          EXPECT_EQ(tuple.remote, backend);
          different.insert(tuple.local.port);
        }
        EXPECT_EQ(different.size(), 100U);
      }
    }
  }
}

TEST(SourcePort, WithoutRssThePortNamesTheWorker) {
  // A map that leaves out IPv6 leaves that family to the workers.
  net::RssSettings settings = make_map(40, 128, 3).settings();
  settings.ipv6_tcp = false;
  net::RssMap only_ipv4;
  std::string error;
  ASSERT_TRUE(only_ipv4.build(settings, 3, error));
  for (const net::RssMap* rss : std::array<const net::RssMap*, 2>{nullptr, &only_ipv4}) {
    for (uint16_t core = 0; core < 3; ++core) {
      const EngineConfig config = config_of(core, 3, rss);
      SourcePorts ports(config);
      for (const net::FlowTuple& tuple : proposals(ports, kBackend6, 50)) {
        EXPECT_EQ((tuple.local.port - kFirstBackendPort) % 3, core);
      }
    }
  }
}

TEST(SourcePort, AddressesAreTriedInTheirOrderAndAllTogetherAreBounded) {
  const net::RssMap map = make_map(40, 128, 2);
  EngineConfig config = config_of(1, 2, &map);
  const abi::IpAddress second = ip("10.99.2.11");
  const abi::IpAddress third = ip("10.99.2.12");
  config.sources.push_back({second, 24, false, &map});
  config.sources.push_back({ip("10.99.3.1"), 24, true, &map});  // only has a gateway
  config.sources.push_back({third, 24, true, nullptr});         // a port that the workers spread
  SourcePorts ports(config);
  const auto found = proposals(ports, kBackend, SIZE_MAX);
  ASSERT_EQ(found.size(), kMaxPortTries / 3 * 3);
  for (size_t i = 0; i < found.size(); ++i) {
    const size_t turn = i / (kMaxPortTries / 3);
    EXPECT_EQ(found[i].local.address, turn == 0 ? kSourceAddress : turn == 1 ? second : third);
    if (turn < 2) {
      EXPECT_EQ(map.queue_of(found[i]), 1);
    } else {
      EXPECT_EQ((found[i].local.port - kFirstBackendPort) % 2, 1U);
    }
  }
}

// A million connections to one backend: full addresses are not searched again each time.
TEST(SourcePort, ManyAddressesAreFilledOneAfterTheOther) {
  EngineConfig config = config_of(0, 1, nullptr);
  config.sources.clear();
  for (uint32_t i = 0; i < 8; ++i) {
    config.sources.push_back({abi::IpAddress::from_ipv4(0x0a63020a + i), 24, false, nullptr});
  }
  SourcePorts ports(config);
  std::set<std::pair<uint32_t, uint16_t>> taken;
  uint64_t proposed = 0;
  while (taken.size() < 6 * kBackendPorts) {
    ports.begin_turn();
    SourcePorts::Search search = ports.search(kBackend);
    net::FlowTuple tuple;
    do {
      ASSERT_TRUE(search.next(tuple)) << taken.size();
      ++proposed;
    } while (!taken.insert({tuple.local.address.ipv4(), tuple.local.port}).second);
  }
  EXPECT_LT(proposed, taken.size() * 5 / 4);
}

TEST(SourcePort, AGatewayReachesWhatIsInNoSubnet) {
  EngineConfig config = config_of(0, 1, nullptr);
  SourcePorts none(config);
  EXPECT_TRUE(proposals(none, {ip("192.0.2.1"), 80}, 1).empty());
  config.sources.push_back({ip("10.99.3.1"), 24, true, nullptr});
  SourcePorts ports(config);
  EXPECT_EQ(proposals(ports, {ip("192.0.2.1"), 80}, 1).at(0).local.address, ip("10.99.3.1"));
  EXPECT_EQ(proposals(ports, kBackend, 1).at(0).local.address, kSourceAddress);
  EXPECT_TRUE(proposals(ports, {ip("2001:db8::1"), 80}, 1).empty());
}

TEST(SourcePort, OneTurnsSearchesAreBounded) {
  const net::RssMap map = make_map(40, 128, 64);
  const EngineConfig config = config_of(5, 64, &map);
  SourcePorts ports(config);
  size_t found = 0;
  for (int i = 0; i < 1000; ++i) found += proposals(ports, kBackend, SIZE_MAX).size();
  EXPECT_LT(found, kMaxPortWork / kProposalWork);
  EXPECT_GT(found, 500U);
  ports.begin_turn();
  EXPECT_FALSE(proposals(ports, kBackend, 1).empty());
}

// RFC 6056: the first port can't be told from outside, and ports used lately come last.
TEST(SourcePort, StartsSomewhereAndGoesOn) {
  std::set<uint16_t> firsts;
  for (uint8_t secret = 0; secret < 50; ++secret) {
    EngineConfig config = config_of(0, 1, nullptr);
    config.hash_key[3] = secret;
    SourcePorts ports(config);
    firsts.insert(proposals(ports, kBackend, 1).at(0).local.port);
  }
  EXPECT_GE(firsts.size(), 49U);
  const EngineConfig config = config_of(0, 1, nullptr);
  SourcePorts ports(config);
  std::set<uint16_t> used;
  for (uint32_t i = 0; i < kBackendPorts; ++i) {
    ports.begin_turn();
    EXPECT_TRUE(used.insert(proposals(ports, kBackend, 1).at(0).local.port).second);
  }
}

// ---- Engines.

// What clients and backend of one worker of `workers` see.
struct Outcome {
  std::vector<Bytes> at_clients;
  std::set<Bytes> at_backend;
  bool operator==(const Outcome& other) const {
    return at_clients == other.at_clients && at_backend == other.at_backend;
  }
};

Outcome run_worker(uint16_t core, uint16_t workers, const net::RssMap* rss) {
  World world({.with_control = false,
               .sources = {{kSourceAddress, 24, false, rss}},
               .core = core,
               .workers = workers});
  world.tap = [&](const Wire& wire) {
    if (wire.tuple.remote == kBackend) {
      EXPECT_EQ(world.engine->owner_of(wire.tuple, rss), core) << "its answer would go elsewhere";
    }
  };
  world.backend_host.listen(kBackend, [](Peer& peer) {
    peer.on_data = [](Peer& self) {
      if (!self.finished_by_peer || self.finish) return;
      self.write(self.received);
      self.finish = true;
    };
  });
  std::vector<Peer*> clients;
  for (uint32_t i = 0; i < 32; ++i) {
    clients.push_back(&world.connect_tcp());
    clients.back()->write(pattern(2'000 + i * 100, i));
    clients.back()->finish = true;
  }
  world.expect_clean(abi::CloseReason::finished);
  Outcome outcome;
  for (const Peer* client : clients) outcome.at_clients.push_back(client->received);
  for (const auto& peer : world.backend_host.peers) outcome.at_backend.insert(peer->received);
  EXPECT_EQ(outcome.at_backend.size(), 32U);
  return outcome;
}

TEST(SourcePort, AnyNumberOfWorkersHasTheSameResults) {
  const Outcome alone = run_worker(0, 1, nullptr);
  for (const uint16_t workers : {uint16_t{2}, uint16_t{4}}) {
    for (const uint32_t entries : {128U, 100U}) {
      const net::RssMap map = make_map(40, entries, workers);
      for (uint16_t core = 0; core < workers; ++core) {
        EXPECT_TRUE(run_worker(core, workers, &map) == alone) << core << " of " << workers;
        EXPECT_TRUE(run_worker(core, workers, nullptr) == alone) << core << " of " << workers;
      }
    }
  }
}

TEST(SourcePort, EveryTupleHasOneOwner) {
  const net::RssMap map = make_map(52, 512, 4);
  World world({.with_control = false, .core = 1, .workers = 4});
  World other({.with_control = false, .core = 3, .workers = 4});
  std::mt19937 random(7);
  std::set<uint16_t> owners;
  for (int i = 0; i < 2000; ++i) {
    net::FlowTuple tuple{kTcpService, {kClientAddress, static_cast<uint16_t>(random())}};
    if (i % 2 == 1) tuple = {{kSourceAddress, static_cast<uint16_t>(random())}, kBackend};
    for (const net::RssMap* rss : std::array<const net::RssMap*, 2>{nullptr, &map}) {
      const uint16_t owner = world.engine->owner_of(tuple, rss);
      EXPECT_LT(owner, 4);
      EXPECT_EQ(owner, other.engine->owner_of(tuple, rss));
      owners.insert(owner);
    }
    EXPECT_EQ(world.engine->owner_of(tuple, &map), map.queue_of(tuple));
  }
  EXPECT_EQ(owners.size(), 4U);
}

}  // namespace
}  // namespace sluice::flow::test
