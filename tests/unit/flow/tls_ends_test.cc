// How a relay with TLS ends, and what a client may do to its keys.
#include <gtest/gtest.h>

#include "tls/limits.h"
#include "tls_client.h"

namespace sluice::flow::test {
namespace {

using abi::CloseReason;
using abi::Counter;
using tls::ContentType;

TEST(TlsRelayEnds, BackendRefuses) {
  World world({.max_flows = 1});
  world.backend_host.listening = false;
  TlsClient client(world);
  client.shake_hands(client.seal(ContentType::application_data, pattern(100, 1)));
  ASSERT_TRUE(world.run_until([&] { return client.peer.finished_by_peer; }, 1'000'000));
  EXPECT_EQ(client.alert, 80);
  client.finish();
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::backend_refused);
}

TEST(TlsRelayEnds, BackendIsSilent) {
  World world({.max_flows = 1});
  world.backend_host.silent = true;
  TlsClient client(world);
  client.shake_hands(client.seal(ContentType::application_data, pattern(100, 1)));
  ASSERT_TRUE(world.run_until([&] { return client.peer.finished_by_peer; }, 20'000'000));
  EXPECT_EQ(client.alert, 80);
  client.finish();
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::backend_unreachable);
}

TEST(TlsRelayEnds, NoSourceAddress) {
  World world({.max_flows = 1, .sources = {}});
  TlsClient client(world);
  client.shake_hands();
  ASSERT_TRUE(world.run_until([&] { return client.peer.finished_by_peer; }, 1'000'000));
  EXPECT_EQ(client.alert, 80);
  client.finish();
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::no_backend_port);
}

TEST(TlsRelayEnds, ClientClosesWhileTheBackendIsBeingConnected) {
  World world({.net = {.delay_us = 20'000}});
  world.backend_host.listen(kBackend, [](Peer& peer) {
    peer.on_data = [](Peer& self) { self.finish = self.finished_by_peer; };
  });
  TlsClient client(world);
  client.shake_hands(
      join({client.seal(ContentType::application_data, pattern(100, 1)), client.close_notify()}),
      true);
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(backend_of(world).received, pattern(100, 1));
  EXPECT_TRUE(client.got_close_notify);
}

TEST(TlsRelayEnds, ClientResetsReachTheBackend) {
  World world;
  TlsClient client(world);
  establish(world, client);
  world.client_host.abort(client.peer);
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::client_reset);
  EXPECT_TRUE(backend_of(world).reset());
}

// Everything has been said, and the client resets instead of closing: the backend still gets all.
TEST(TlsRelayEnds, ClientResetBehindBothEndsCostsTheBackendNothing) {
  World world;
  world.backend_host.listen(kBackend, [](Peer& peer) { peer.reading = false; });
  TlsClient client(world);
  std::mt19937 random(1);
  const Bytes up = pattern(100'000, 1);
  establish(world, client);
  say(world, client, join({client.seal_stream(up, 16384, random), client.close_notify()}));
  backend_of(world).finish = true;
  world.backend_host.pump(world.now);
  ASSERT_TRUE(world.run_until([&] { return client.peer.finished_by_peer; }, 1'000'000));
  world.run_for(1'000'000);
  EXPECT_TRUE(client.got_close_notify);
  world.client_host.abort(client.peer);
  world.client_host.pump(world.now);
  world.run_for(1'000'000);
  EXPECT_EQ(world.engine->flows_active(), 1U);
  backend_of(world).reading = true;
  world.backend_host.pump(world.now);
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(backend_of(world).received, up);
  EXPECT_TRUE(backend_of(world).finished_by_peer);
}

TEST(TlsRelayEnds, ClientVanishes) {
  World world;
  TlsClient client(world);
  establish(world, client);
  world.client_host.silent = true;
  backend_of(world).write(pattern(1000, 1));
  world.backend_host.pump(world.now);
  ASSERT_TRUE(world.run_until([&] { return world.engine->flows_active() == 0; }));
  EXPECT_TRUE(world.run_until([&] { return backend_of(world).reset(); }, 1'000'000));
  world.expect_clean(CloseReason::client_timeout);
}

TEST(TlsRelayEnds, IdleConnectionIsReset) {
  World world({.idle_timeout_us = 4'000'000});
  TlsClient client(world);
  establish(world, client);
  world.expect_clean(CloseReason::idle_timeout);
  EXPECT_TRUE(client.peer.reset());
  EXPECT_TRUE(backend_of(world).reset());
}

TEST(TlsRelayEnds, DataBehindCloseNotifyIsIgnored) {
  World world;
  world.backend_host.listen(kBackend, [](Peer& peer) {
    peer.on_data = [](Peer& self) { self.finish = self.finished_by_peer; };
  });
  TlsClient client(world);
  establish(world, client);
  say(world, client,
      join({client.seal(ContentType::application_data, pattern(50, 1)), client.close_notify(),
            client.seal(ContentType::application_data, pattern(50, 2)), Bytes(30, 0x55)}));
  client.finish();
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(backend_of(world).received, pattern(50, 1));
}

TEST(TlsRelayEnds, UnusableKeysResetTheFlow) {
  World world({.max_flows = 1});
  world.control.on_record = [&](FakeControl& from, FakeControl::Handshake& handshake) {
    abi::InstallKeys keys = world.keys_for(handshake);
    keys.seal = keys.open;  // every nonce twice
    from.install(handshake, keys, 100, kBackend);
  };
  Peer& client = world.connect_tls();
  client.write(client_hello());
  world.expect_clean(CloseReason::bad_keys);
  EXPECT_TRUE(client.reset());
  EXPECT_EQ(world.count(Counter::ring_bad_message), 1U);
  EXPECT_EQ(world.count(Counter::tcp_connects), 0U);
}

Bytes key_update(TlsClient& client, uint8_t request) {
  const Bytes record = client.seal(ContentType::handshake, {24, 0, 0, 1, request});
  tls::update_keys(client.end.layer, client.end.keys, tls::Direction::Seal);
  return record;
}

TEST(TlsRelayKeys, KeyUpdatesBothWaysInTheMiddleOfData) {
  World world({.suite = 0x1302});
  TlsClient client(world);
  establish(world, client);
  for (uint8_t round = 0; round < 10; ++round) {
    backend_of(world).write(pattern(30'000, round));
    world.backend_host.pump(world.now);
    say(world, client,
        join({client.seal(ContentType::application_data, pattern(5000, round)),
              key_update(client, round % 2),
              client.seal(ContentType::application_data, pattern(5000, round))}));
    world.run_for(50'000);
  }
  EXPECT_EQ(backend_of(world).received.size(), 100'000U);
  EXPECT_EQ(client.plaintext.size(), 300'000U);
  EXPECT_FALSE(client.open_failed);
  EXPECT_EQ(client.key_updates, 5U);
  EXPECT_EQ(world.count(Counter::tls_key_updates_in), 10U);
  EXPECT_EQ(world.count(Counter::tls_key_updates_out), 5U);
  say(world, client, client.close_notify());
  backend_of(world).finish = true;
  client.finish();
  world.backend_host.pump(world.now);
  world.expect_clean(CloseReason::finished);
}

// close_notify and FIN are on their way to the client: an answer has no place any more.
TEST(TlsRelayKeys, KeyUpdateRequestThatCrossesOurFin) {
  World world({.net = {.delay_us = 20'000}});
  TlsClient client(world);
  establish(world, client);
  backend_of(world).finish = true;
  world.backend_host.pump(world.now);
  world.run_for(10'000);
  say(world, client,
      join({key_update(client, 1), client.seal(ContentType::application_data, pattern(500, 1))}));
  world.run_for(200'000);
  EXPECT_TRUE(client.got_close_notify);
  say(world, client,
      join({key_update(client, 1), client.seal(ContentType::application_data, pattern(500, 2)),
            client.close_notify()}));
  client.finish();
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(backend_of(world).received, join({pattern(500, 1), pattern(500, 2)}));
}

TEST(TlsRelayKeys, RenegotiationIsRefusedAndTheConnectionGoesOn) {
  World world({.suite = 0xc02f});
  TlsClient client(world);
  establish(world, client);
  Bytes hello(300, 7);
  hello[0] = 1;
  hello[1] = 0;
  hello[2] = static_cast<uint8_t>((hello.size() - 4) >> 8);
  hello[3] = static_cast<uint8_t>(hello.size() - 4);
  say(world, client,
      join({client.seal(ContentType::handshake, hello),
            client.seal(ContentType::application_data, pattern(500, 1)), client.close_notify()}));
  backend_of(world).finish = true;
  client.finish();
  world.backend_host.pump(world.now);
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(client.renegotiation_refused, 1U);
  EXPECT_EQ(backend_of(world).received, pattern(500, 1));
}

TEST(TlsRelayKeys, ClientsFragmentLimitBindsWhatIsSealed) {
  World world;
  world.change_keys = [](abi::InstallKeys& keys) { keys.seal.fragment_limit_bytes = 512; };
  TlsClient client(world);
  establish(world, client);
  backend_of(world).write(pattern(100'000, 1));
  backend_of(world).finish = true;
  world.backend_host.pump(world.now);
  say(world, client, client.close_notify());
  client.finish();
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(client.plaintext, pattern(100'000, 1));
  EXPECT_GE(world.count(Counter::tls_records_sealed), 100'000U / 512);
}

TEST(TlsRelayKeys, ManyRecordsBringAKeyUpdateOfOurOwn) {
  World world;
  world.change_keys = [](abi::InstallKeys& keys) {
    keys.seal.sequence = tls::kKeyUpdateAfterRecords - 2;
    keys.seal.fragment_limit_bytes = 1000;
  };
  TlsClient client(world);
  establish(world, client);
  backend_of(world).write(pattern(100'000, 1));
  backend_of(world).finish = true;
  world.backend_host.pump(world.now);
  say(world, client, client.close_notify());
  client.finish();
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(client.plaintext, pattern(100'000, 1));
  EXPECT_EQ(client.key_updates, 1U);
  EXPECT_TRUE(client.got_close_notify);
}

// TLS 1.2 cannot change its keys: the last numbers are for the alert that says so.
TEST(TlsRelayKeys, ASequenceAtItsEndClosesTls12) {
  World world({.suite = 0xc030});
  world.change_keys = [](abi::InstallKeys& keys) {
    keys.seal.sequence = tls::kMaxSealedRecords12 - tls::kSealReserveRecords - 3;
    keys.seal.fragment_limit_bytes = 1000;
  };
  TlsClient client(world);
  establish(world, client);
  backend_of(world).write(pattern(100'000, 1));
  world.backend_host.pump(world.now);
  ASSERT_TRUE(world.run_until([&] { return client.peer.finished_by_peer; }, 1'000'000));
  EXPECT_EQ(client.plaintext.size(), 3000U);
  EXPECT_EQ(client.alert, 80);
  EXPECT_FALSE(client.got_close_notify);
  client.finish();
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::sequence_exhausted);
  EXPECT_TRUE(backend_of(world).reset());
}

}  // namespace
}  // namespace sluice::flow::test
