// Handshakes when control is slow, silent, away or gone.
#include <gtest/gtest.h>

#include <set>

#include "tls_client.h"

namespace sluice::flow::test {
namespace {

using abi::CloseReason;
using abi::Counter;

TEST(ControlLife, ControlGoneInTheMiddleResetsOnlyHandshakes) {
  World world;
  answer_with(world, pattern(1000, 2));
  TlsClient established(world);
  std::mt19937 random(7);
  established.shake_hands(established.seal_stream(pattern(10, 1), 4000, random));
  ASSERT_TRUE(world.run_until([&] { return established.flight_complete; }));
  world.run_for(10'000);
  TlsClient middle(world);
  middle.write(client_hello());       // gets the server's flight, and says no more
  Peer& early = world.connect_tls();  // has said nothing yet
  ASSERT_TRUE(world.run_until([&] { return world.control.handshakes.size() == 2; }));
  world.run_for(10'000);
  world.control.detach(*world.engine, world.now);
  world.run_for(100'000);
  EXPECT_TRUE(middle.peer.reset());
  EXPECT_EQ(world.closes(CloseReason::control_lost), 1U);
  EXPECT_FALSE(early.closed);
  established.write(established.close_notify());
  established.finish();
  world.client_host.pump(world.now);
  world.run_for(1'000'000);
  EXPECT_EQ(established.plaintext, pattern(1000, 2));
  EXPECT_TRUE(established.got_close_notify);
  // The next life of control serves who waited.
  early.write(client_hello());
  world.client_host.pump(world.now);
  world.run_for(100'000);
  EXPECT_EQ(world.count(Counter::flows_waiting_for_control), 1U);
  world.control.on_record = [](FakeControl& from, FakeControl::Handshake& handshake) {
    from.close(handshake, CloseReason::handshake_failed, true);
  };
  world.control.attach(*world.engine, world.now);
  world.expect_clean();
  EXPECT_EQ(world.closes(CloseReason::handshake_failed), 1U);
  EXPECT_EQ(world.closes(CloseReason::finished), 1U);
}

TEST(ControlLife, WithoutControlItWaitsAndCompletesAfterAttach) {
  World world({.with_control = false});
  answer_with(world, pattern(3000, 2));
  TlsClient client(world);
  say_and_close(client, pattern(400, 1));
  world.run_for(2'000'000);
  EXPECT_EQ(world.count(Counter::tls_waited_for_control), 1U);
  EXPECT_EQ(world.count(Counter::flows_waiting_for_control), 1U);
  EXPECT_EQ(world.count(Counter::control_attached), 0U);
  world.control.attach(*world.engine, world.now);
  EXPECT_EQ(world.count(Counter::control_attached), 1U);
  ASSERT_TRUE(world.run_until([&] { return client.flight_complete; }));
  EXPECT_EQ(world.count(Counter::flows_waiting_for_control), 0U);
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(client.plaintext, pattern(3000, 2));
  EXPECT_GE(world.control.handshakes.at(0).begin.waited_us, 1'900'000U);
}

TEST(ControlLife, ControlThatNeverComesIsADeadline) {
  World world({.handshake_wait_us = 2'000'000, .with_control = false});
  Peer& client = world.connect_tls();
  client.write(client_hello());
  world.expect_clean(CloseReason::handshake_timeout);
  EXPECT_TRUE(client.reset());
}

TEST(ControlLife, WaitersAreBoundedAndAllServedWhenControlComes) {
  constexpr uint32_t kTooMany = 20;
  World world({.max_flows = 5000, .with_control = false});
  for (uint32_t i = 0; i < abi::kMaxWaitingForControl + kTooMany; ++i) {
    world.raw_connect(static_cast<uint16_t>(2000 + i), kTlsService, client_hello());
    world.engine->serve(world.now);
  }
  world.engine->advance(world.now);
  EXPECT_EQ(world.closes(CloseReason::control_queue_full), kTooMany);
  EXPECT_EQ(world.engine->flows_active(), abi::kMaxWaitingForControl);
  EXPECT_EQ(world.count(Counter::flows_waiting_for_control), abi::kMaxWaitingForControl);
  uint32_t resets = 0;
  for (const Wire& wire : world.raw_inbox) resets += (wire.flags & net::kRst) != 0 ? 1 : 0;
  EXPECT_EQ(resets, kTooMany);
  // 8,192 messages through rings of 512 slots.
  world.control.on_record = [](FakeControl& from, FakeControl::Handshake& handshake) {
    from.close(handshake, CloseReason::handshake_failed, true);
  };
  world.control.attach(*world.engine, world.now);
  world.expect_clean();
  EXPECT_EQ(world.closes(CloseReason::handshake_failed), abi::kMaxWaitingForControl);
  EXPECT_GT(world.count(Counter::ring_full), 0U);
}

TEST(ControlLife, SilentControlIsADeadlineThatControlHearsOf) {
  World world({.handshake_wait_us = 3'000'000});
  world.control.on_record = nullptr;
  Peer& client = world.connect_tls();
  client.write(client_hello());
  world.expect_clean(CloseReason::handshake_timeout);
  EXPECT_TRUE(client.reset());
  EXPECT_TRUE(world.control.handshakes.at(0).ended);
  EXPECT_EQ(world.control.handshakes[0].end.reason,
            static_cast<uint16_t>(CloseReason::handshake_timeout));
}

TEST(ControlLife, ClientThatClosesOnSilentControlIsADeadline) {
  World world({.handshake_wait_us = 2'000'000});
  world.control.answers_ends = false;
  Peer& client = world.connect_tls();
  client.write(client_hello());
  client.finish = true;
  world.expect_clean(CloseReason::client_closed_in_handshake);
}

// The report that the client has left finds no room in the ring: it is sent later.
TEST(ControlLife, TheReportThatTheClientLeftWaitsForTheRing) {
  World world({.endpoints = 2});
  world.control.reading = false;
  for (int i = 0; i < 60; ++i) {
    Peer& client = world.connect_tls();
    client.write(client_hello(16'000));
    client.finish = true;
  }
  world.run_for(1'000'000);
  EXPECT_EQ(world.engine->flows_active(), 60U);
  world.control.reading = true;
  const Micros begun = world.now;
  world.run_until_idle();
  EXPECT_LE(world.now - begun, 1'000'000U);
  world.expect_clean(CloseReason::client_closed_in_handshake);
}

// Control dies before it has answered: the next one gets the whole hello, the client sees nothing.
TEST(ControlLife, AHandshakeThatControlHasNotAnsweredBeginsAnew) {
  World world;
  answer_with(world, pattern(100, 2));
  const auto script = world.control.on_record;
  world.control.on_record = nullptr;
  TlsClient client(world);
  say_and_close(client, pattern(100, 1));
  ASSERT_TRUE(world.run_until([&] { return !world.control.handshakes.empty(); }));
  world.run_for(10'000);
  world.control.detach(*world.engine, world.now);
  world.run_for(500'000);
  EXPECT_EQ(world.engine->flows_active(), 1U);
  EXPECT_EQ(world.count(Counter::flows_waiting_for_control), 1U);
  world.control.on_record = script;
  world.control.attach(*world.engine, world.now);
  world.expect_clean(CloseReason::finished);
  ASSERT_EQ(world.control.handshakes.size(), 2U);
  EXPECT_EQ(world.control.handshakes[1].records.at(0), client_hello());
  EXPECT_EQ(client.plaintext, pattern(100, 2));
}

// The same in the middle of a record that did not fit into the ring.
TEST(ControlLife, HalfSentRecordsBeginAnewToo) {
  World world({.max_flows = 128, .endpoints = 2});
  world.control.reading = false;
  for (int i = 0; i < 90; ++i) world.connect_tls().write(client_hello(16'000));
  world.run_for(200'000);
  EXPECT_GT(world.count(Counter::ring_full), 0U);
  world.control.detach(*world.engine, world.now);
  world.control.reading = true;
  world.control.on_record = [](FakeControl& from, FakeControl::Handshake& handshake) {
    EXPECT_EQ(handshake.stream, client_hello(16'000));
    from.close(handshake, CloseReason::handshake_failed, true);
  };
  world.control.attach(*world.engine, world.now);
  world.expect_clean(CloseReason::handshake_failed);
}

// What control says of a flow that is ending meanwhile is late, not wrong, and changes nothing.
TEST(ControlLife, LateMessagesForAClosingFlowAreHarmless) {
  for (const int message : {0, 1, 2, 3}) {
    SCOPED_TRACE(message);
    World world;
    world.control.delay_us = 3000;
    world.control.on_record = [&](FakeControl& from, FakeControl::Handshake& handshake) {
      if (message == 0) from.transmit(handshake, pattern(100, 1));
      if (message == 1) from.grant(handshake, 100);
      if (message == 2) from.install(handshake, world.keys_for(handshake), 300, kBackend);
      if (message == 3) from.close(handshake, CloseReason::handshake_failed, true);
    };
    Peer& client = world.connect_tls();
    client.write(client_hello());
    client.write({99, 3, 3, 0, 1, 0});  // refused by the worker before control answers
    ASSERT_TRUE(
        world.run_until([&] { return client.finished_by_peer || client.closed; }, 1'000'000));
    world.run_for(100'000);
    EXPECT_FALSE(client.reset());
    EXPECT_EQ(client.received.size(), 7U);
    EXPECT_EQ(world.count(Counter::ring_bad_message), 0U);
    EXPECT_EQ(world.count(Counter::ring_stale_flow), 1U);
    client.finish = true;
    world.client_host.pump(world.now);
    world.expect_clean(CloseReason::unexpected_record_type);
  }
}

TEST(ControlLife, FullRingsStallHandshakesWhichThenGoOn) {
  constexpr int kClients = 90;  // 800 messages for one ring
  World world({.max_flows = 128, .endpoints = 2});
  answer_with(world, pattern(100, 2));
  world.control.reading = false;
  std::vector<std::unique_ptr<TlsClient>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::make_unique<TlsClient>(world));
    TlsClient& client = *clients.back();
    client.shake_hands();
    client.peer.outgoing = client_hello(16'000);
  }
  world.run_for(200'000);
  EXPECT_GT(world.count(Counter::ring_full), 0U);
  EXPECT_TRUE(world.engine->work_pending());
  world.control.reading = true;
  ASSERT_TRUE(world.run_until(
      [&] {
        for (const auto& client : clients) {
          if (!client->flight_complete) return false;
        }
        return true;
      },
      5'000'000));
  for (const auto& client : clients) {
    client->write(client->close_notify());
    client->finish();
  }
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(world.count(Counter::tls_handshakes_done), static_cast<uint64_t>(kClients));
}

TEST(ControlLife, FlowsSpreadOverHandshakeThreads) {
  World world({.endpoints = 5});
  world.control.on_record = nullptr;
  for (int i = 0; i < 60; ++i) world.connect_tls().write(client_hello());
  world.run_for(100'000);
  ASSERT_EQ(world.control.handshakes.size(), 60U);
  std::set<uint32_t> endpoints;
  for (const auto& handshake : world.control.handshakes) endpoints.insert(handshake.endpoint);
  EXPECT_EQ(endpoints, (std::set<uint32_t>{1, 2, 3, 4}));
  world.engine->shutdown(world.now);
  world.expect_clean(CloseReason::shutdown);
}

}  // namespace
}  // namespace sluice::flow::test
