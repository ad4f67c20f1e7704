// CBC flows in the engine: many at once share batches, their order holds, and a flow that ends
// while its records wait takes nothing with it.
#include <gtest/gtest.h>

#include "tls_client.h"

namespace sluice::flow::test {
namespace {

using abi::CloseReason;
using abi::Counter;
using tls::ContentType;
using tls::TlsVersion;

const tls::test::Variant kTls10{tls::test::kCbcSha1, TlsVersion::Tls10};
const tls::test::Variant kTls12{tls::test::kCbcSha256, TlsVersion::Tls12};

// Clients of every suite at the same time, up and down, over a network that reorders and loses.
TEST(CbcRelay, ManyFlowsOfEverySuiteAtOnce) {
  constexpr uint32_t kClients = 48;
  World world({.net = {.delay_us = 500, .jitter_us = 300, .loss_permille = 3, .seed = 4},
               .suites = tls::test::every_suite()});
  world.max_step_inputs = 4 * abi::kBurst;
  std::vector<std::unique_ptr<TlsClient>> clients;
  std::vector<Bytes> up;
  world.backend_host.listen(kBackend, [](Peer& peer) {
    peer.on_data = [](Peer& self) {  // an echo
      self.write(Bytes(self.received.begin() + static_cast<std::ptrdiff_t>(self.outgoing.size()),
                       self.received.end()));
      self.finish = self.finished_by_peer;
    };
  });
  std::mt19937 random(3);
  for (uint32_t i = 0; i < kClients; ++i) {
    clients.push_back(std::make_unique<TlsClient>(world));
    up.push_back(pattern(20'000 + i * 1000, i));
    TlsClient& client = *clients.back();
    client.shake_hands(
        join({client.seal_stream(up[i], i % 2 == 0 ? 16384 : 700, random), client.close_notify()}),
        true);
  }
  world.expect_clean(CloseReason::finished);
  for (uint32_t i = 0; i < kClients; ++i) {
    EXPECT_EQ(clients[i]->plaintext == up[i], true) << "client " << i;
    EXPECT_TRUE(clients[i]->got_close_notify);
  }
  EXPECT_GT(world.count(Counter::tls_cbc_batches), 0U);
  EXPECT_GT(world.count(Counter::tls_cbc_jobs), world.count(Counter::tls_cbc_batches));
}

// Records of one client behind each other, more than a batch has places, in one poll.
TEST(CbcRelay, ABurstOfSmallRecordsOfOneFlow) {
  for (const tls::test::Variant& suite : tls::test::kEveryCbc) {
    SCOPED_TRACE(suite.name());
    World world({.suite = suite});
    TlsClient client(world);
    establish(world, client);
    Bytes stream;
    Bytes expected;
    for (uint8_t i = 0; i < 200; ++i) {
      stream = join({stream, client.seal(ContentType::application_data, {i})});
      expected.push_back(i);
    }
    const uint32_t nodes = world.stack.nodes.free_count();
    backend_of(world).reading = false;
    say(world, client, stream);
    world.run_for(50'000);
    // They share slices, as small records of other suites do.
    EXPECT_LT(nodes - world.stack.nodes.free_count(), 40U);
    backend_of(world).reading = true;
    world.backend_host.pump(world.now);
    world.run_for(50'000);
    EXPECT_EQ(backend_of(world).received, expected);
    EXPECT_LT(world.count(Counter::tls_cbc_batches), 60U);
    close_both(world, client, backend_of(world));
    world.expect_clean(CloseReason::finished);
  }
}

// What stands behind a bad record is never opened, what stands before it arrives.
TEST(CbcRelay, ABadRecordAmongGoodOnesInOneBatch) {
  World world({.suite = kTls12});
  TlsClient client(world);
  establish(world, client);
  const Bytes before = client.seal(ContentType::application_data, pattern(100, 1));
  Bytes bad = client.seal(ContentType::application_data, pattern(100, 2));
  bad[40] ^= 1;
  const Bytes after = client.seal(ContentType::application_data, pattern(100, 3));
  say(world, client, join({before, bad, after}));
  ASSERT_TRUE(world.run_until([&] { return client.peer.finished_by_peer; }, 1'000'000));
  EXPECT_EQ(client.alert, 20);
  EXPECT_EQ(world.count(Counter::tls_bytes_opened), 200U);  // the batch had them all
  client.finish();
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::bad_record_mac);
  EXPECT_TRUE(backend_of(world).reset());
}

// RFC 5246 7.2.1: records behind close_notify are ignored, in one batch with it too.
TEST(CbcRelay, RecordsBehindCloseNotifyAreIgnored) {
  World world({.suite = kTls12});
  TlsClient client(world);
  establish(world, client);
  say(world, client,
      join({client.seal(ContentType::application_data, pattern(100, 1)), client.close_notify(),
            client.seal(ContentType::application_data, pattern(100, 2))}));
  client.finish();
  backend_of(world).finish = true;
  world.backend_host.pump(world.now);
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(backend_of(world).received, pattern(100, 1));
}

// The alert goes out behind the records that were sealed before it, also when they wait in a batch.
TEST(CbcRelay, AlertsKeepTheirPlaceBehindData) {
  for (const tls::test::Variant& suite : {kTls10, kTls12}) {
    World world({.suite = suite});
    TlsClient client(world);
    establish(world, client);
    backend_of(world).write(pattern(5000, 1));
    world.backend_host.pump(world.now);
    Bytes bad = client.seal(ContentType::alert, {1, 90});
    bad.back() ^= 1;
    say(world, client, bad);
    ASSERT_TRUE(world.run_until([&] { return client.peer.finished_by_peer; }, 1'000'000));
    EXPECT_FALSE(client.open_failed);
    EXPECT_EQ(client.alert, 20);
    client.finish();
    world.client_host.pump(world.now);
    world.expect_clean(CloseReason::bad_record_mac);
  }
}

// The backend is given up in the very turn in which the client's record is queued: the record's
// job is dropped, its buffer comes back, and the client hears why.
TEST(CbcRelay, AFlowThatEndsWhileItsRecordWaits) {
  for (const tls::test::Variant& suite : {kTls10, kTls12}) {
    World world({.suite = suite});
    world.backend_host.silent = true;
    TlsClient client(world);
    client.shake_hands();
    ASSERT_TRUE(world.run_until([&] { return client.flight_complete; }));
    world.run_for(100'000);
    // Until the last moment of the attempt to connect.
    const Micros given_up = world.now + world.config.tcp.connect_timeout_us;
    while (world.closes(CloseReason::backend_unreachable) == 0 && world.now < given_up) {
      client.write(client.seal(ContentType::application_data, pattern(10, 1)));
      world.client_host.pump(world.now);
      world.now = std::max(world.now + 400, world.engine->next_expiry_us() + 1);
      if (!world.step()) break;
      if (client.alert >= 0) break;
    }
    client.finish();
    world.client_host.pump(world.now);
    world.expect_clean(CloseReason::backend_unreachable);
    EXPECT_EQ(client.alert, 80);
  }
}

TEST(CbcRelay, ClientsResetWhileRecordsWaitForRoom) {
  World world({.suites = {kTls10, kTls12}});
  std::vector<std::unique_ptr<TlsClient>> clients;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(std::make_unique<TlsClient>(world));
    establish(world, *clients.back());
    world.backend_host.peers.back()->reading = false;
    std::mt19937 random(7);
    say(world, *clients.back(), clients.back()->seal_stream(pattern(400'000, 1), 9000, random));
    world.backend_host.peers.back()->write(pattern(400'000, 2));
  }
  world.run_for(50'000);
  for (const auto& client : clients) world.client_host.abort(client->peer);
  world.client_host.pump(world.now);
  world.run_for(1'000'000);
  for (const auto& peer : world.backend_host.peers) peer->reading = true;
  world.backend_host.pump(world.now);
  world.expect_clean(CloseReason::client_reset);
}

}  // namespace
}  // namespace sluice::flow::test
