// Before the keys: what reaches control, what the worker refuses by itself, what becomes of a flow
// when control is slow, silent, away or gone.
#include <gtest/gtest.h>

#include <set>

#include "tls_client.h"

namespace sluice::flow::test {
namespace {

using abi::CloseReason;
using abi::Counter;

Bytes text(const char* characters) {
  return Bytes(characters, characters + std::char_traits<char>::length(characters));
}

// The client says this and closes in order.
void say_and_close(TlsClient& client, const Bytes& up) {
  std::mt19937 random(7);
  Bytes stream = client.seal_stream(up, 4000, random);
  const Bytes end = client.close_notify();
  stream.insert(stream.end(), end.begin(), end.end());
  client.shake_hands(stream, true);
}

void answer_with(World& world, const Bytes& down) {
  world.backend_host.listen(kBackend, [down](Peer& peer) {
    peer.on_data = [down](Peer& self) {
      if (!self.finished_by_peer || self.finish) return;
      self.write(down);
      self.finish = true;
    };
  });
}

TEST(Handshake, ClientHelloInOneByteSegments) {
  World world;
  answer_with(world, pattern(5000, 2));
  TlsClient client(world);
  client.peer.chunk_bytes = 1;
  say_and_close(client, pattern(500, 1));
  world.expect_clean(CloseReason::finished);
  ASSERT_EQ(world.control.handshakes.size(), 1U);
  const auto& handshake = world.control.handshakes[0];
  ASSERT_EQ(handshake.records.size(), 2U);
  EXPECT_EQ(handshake.records[0], client_hello());
  EXPECT_EQ(handshake.records[1], client_finished());
  EXPECT_EQ(handshake.begin.client.address, kClientAddress);
  EXPECT_EQ(handshake.begin.service, kTlsService);
  EXPECT_EQ(client.plaintext, pattern(5000, 2));
  EXPECT_EQ(world.backend_host.peers[0]->received, pattern(500, 1));
  EXPECT_TRUE(client.got_close_notify);
}

TEST(Handshake, BytesBehindConsumedAreOpened) {
  World world;
  world.control.delay_us = 5000;
  answer_with(world, pattern(100, 2));
  TlsClient client(world);
  // Hello, Finished and data in one breath: control is lent also what it will not consume.
  Bytes stream = client_hello();
  const Bytes finished = client_finished();
  stream.insert(stream.end(), finished.begin(), finished.end());
  std::mt19937 random(3);
  const Bytes data = client.seal_stream(pattern(20'000, 1), 3000, random);
  stream.insert(stream.end(), data.begin(), data.end());
  client.write(stream);
  ASSERT_TRUE(world.run_until([&] {
    return !world.backend_host.peers.empty() &&
           world.backend_host.peers[0]->received.size() == 20'000;
  }));
  EXPECT_EQ(world.backend_host.peers[0]->received, pattern(20'000, 1));
  EXPECT_GT(world.control.handshakes[0].records.size(), 2U);
  client.write(client.close_notify());
  client.finish();
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(client.plaintext, pattern(100, 2));
}

TEST(Handshake, ClientMayCloseBeforeControlHasAnswered) {
  World world;
  world.control.delay_us = 20'000;
  answer_with(world, pattern(70'000, 2));
  TlsClient client(world);
  Bytes stream = client_hello();
  for (const Bytes& part :
       {client_finished(), client.seal(tls::ContentType::application_data, pattern(1000, 1)),
        client.close_notify()}) {
    stream.insert(stream.end(), part.begin(), part.end());
  }
  client.write(stream);
  client.finish();
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(client.plaintext, pattern(70'000, 2));
  EXPECT_TRUE(client.got_close_notify);
}

// Control gives no credit back: it is lent what it was promised and not a byte more.
TEST(Handshake, CreditIsRespected) {
  World world;
  std::vector<uint32_t> lent;
  world.control.on_record = [&](FakeControl&, FakeControl::Handshake& handshake) {
    lent.push_back(static_cast<uint32_t>(handshake.stream.size()) - handshake.granted);
  };
  TlsClient client(world);
  client.write(client_hello());
  for (int i = 0; i < 60; ++i) client.write(client_finished(4000));
  world.run_for(2'000'000);
  ASSERT_FALSE(lent.empty());
  auto& handshake = world.control.handshakes[0];
  EXPECT_LE(handshake.stream.size(), abi::kHandshakeCreditBytes);
  EXPECT_GT(handshake.stream.size(), abi::kHandshakeCreditBytes - 4005);
  const size_t before = handshake.stream.size();
  world.control.grant(handshake, 10'000);
  world.run_for(500'000);
  EXPECT_GT(handshake.stream.size(), before + 10'000 - 4005);
  EXPECT_LE(handshake.stream.size(), abi::kHandshakeCreditBytes + 10'000);
  for (const uint32_t bytes : lent) EXPECT_LE(bytes, abi::kHandshakeCreditBytes);
  world.control.close(handshake, CloseReason::handshake_failed, true);
  world.expect_clean(CloseReason::handshake_failed);
}

TEST(Handshake, TooManyBytesEndIt) {
  World world;
  world.control.on_record = [](FakeControl& from, FakeControl::Handshake& handshake) {
    from.grant(handshake, static_cast<uint32_t>(handshake.records.back().size()));
  };
  TlsClient client(world);
  client.write(client_hello());
  for (int i = 0; i < 80; ++i) client.write(client_finished(4000));
  world.expect_clean(CloseReason::handshake_too_long);
  const auto& handshake = world.control.handshakes.at(0);
  EXPECT_LE(handshake.stream.size(), abi::kMaxHandshakeBytes);
  EXPECT_GT(handshake.stream.size(), abi::kMaxHandshakeBytes - 4005);
  EXPECT_TRUE(handshake.ended);
  EXPECT_EQ(handshake.end.reason, static_cast<uint16_t>(CloseReason::handshake_too_long));
}

struct Refused {
  const char* name;
  Bytes input;
  CloseReason reason;
  Bytes answer;  // what the client receives before FIN
  uint8_t alert;
};

std::vector<Refused> refused_inputs() {
  Bytes sslv3 = client_hello();
  sslv3[2] = 0;   // the record's version
  sslv3[10] = 0;  // the hello's
  Bytes overflow = client_hello();
  overflow[3] = 0x40;
  overflow[4] = 0x01;
  Bytes second_major = client_hello();
  const Bytes other_major = {22, 4, 1, 0, 5, 0, 0, 0, 0, 0};
  second_major.insert(second_major.end(), other_major.begin(), other_major.end());
  return {
      {"http", text("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), CloseReason::not_tls, {}, 255},
      {"ssh", text("SSH-2.0-OpenSSH_9.2p1\r\n"), CloseReason::not_tls, {}, 255},
      {"sslv2", {0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10}, CloseReason::sslv2_hello, {}, 255},
      {"sslv3", sslv3, CloseReason::sslv3_hello, {21, 3, 0, 0, 2, 2, 70}, 70},
      {"overflow", overflow, CloseReason::record_overflow, {21, 3, 3, 0, 2, 2, 22}, 22},
      {"alert", {21, 3, 1, 0, 2, 2, 40}, CloseReason::client_alert, {}, 255},
      {"data first", {23, 3, 3, 0, 5, 1, 2, 3, 4, 5}, CloseReason::unexpected_record_type,
       {21, 3, 3, 0, 2, 2, 10}, 10},
      {"another major version", second_major, CloseReason::bad_record_version,
       {21, 3, 3, 0, 2, 2, 70}, 70},
  };
}

// One flow alone, so that the engine's lists have no slack either.
TEST(Handshake, WrongInputIsRefusedByTheWorkerAndReported) {
  for (const Refused& row : refused_inputs()) {
    SCOPED_TRACE(row.name);
    World world({.max_flows = 1});
    world.control.on_record = nullptr;
    Peer& client = world.connect_tls();
    client.write(row.input);
    ASSERT_TRUE(world.run_until([&] { return client.finished_by_peer || client.closed; },
                                1'000'000));
    EXPECT_EQ(client.received, row.answer);
    EXPECT_TRUE(client.finished_by_peer);
    EXPECT_FALSE(client.reset());
    client.finish = true;
    world.client_host.pump(world.now);
    world.expect_clean(row.reason);
    ASSERT_EQ(world.control.ends.size(), 1U);
    EXPECT_EQ(world.control.ends[0].reason, static_cast<uint16_t>(row.reason));
    EXPECT_EQ(world.control.ends[0].alert, row.alert);
    EXPECT_EQ(world.control.ends[0].client.address, kClientAddress);
    EXPECT_EQ(world.control.ends[0].service, kTlsService);
    EXPECT_EQ(world.count(Counter::tls_alerts_out), row.alert == 255 ? 0U : 1U);
    EXPECT_EQ(world.backend_host.peers.size(), 0U);
  }
}

TEST(Handshake, ARefusedClientThatNeverClosesIsResetAfterTheLinger) {
  World world;
  Peer& client = world.connect_tls();
  client.write(text("GET / HTTP/1.1\r\n"));
  const Micros begun = world.now;
  world.expect_clean(CloseReason::not_tls);
  EXPECT_GE(world.now - begun, world.config.linger_us);
}

// The worker does not know the keys that an alert would need: control ends it.
TEST(Handshake, AfterTheServersFlightControlAnswersARefusal) {
  World world;
  world.handshake_records = 5;
  TlsClient client(world);
  client.peer.on_data = nullptr;
  client.write(client_hello());
  ASSERT_TRUE(world.run_until([&] { return client.peer.received.size() == world.flight_bytes; }));
  client.write({99, 3, 3, 0, 1, 0});
  world.client_host.pump(world.now);
  ASSERT_TRUE(world.run_until([&] { return client.peer.finished_by_peer; }, 1'000'000));
  EXPECT_EQ(client.peer.received.size(), world.flight_bytes);
  client.finish();
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::unexpected_record_type);
  EXPECT_TRUE(world.control.handshakes.at(0).ended);
  EXPECT_EQ(world.control.handshakes[0].end.awaits_answer, 1);
}

// A broken record behind everything that the handshake needed is met by the relay, with keys.
TEST(Handshake, ARefusalBehindTheLastRecordGetsASealedAlert) {
  World world;
  world.control.delay_us = 20'000;
  TlsClient client(world);
  client.write(client_hello());
  ASSERT_TRUE(world.run_until([&] { return client.flight_complete; }));
  client.write(client_finished());
  client.write({99, 3, 3, 0, 1, 0});
  world.client_host.pump(world.now);
  ASSERT_TRUE(world.run_until([&] { return client.peer.finished_by_peer; }, 1'000'000));
  EXPECT_EQ(client.alert, 10);
  client.finish();
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::unexpected_record_type);
}

TEST(Handshake, CloseFlowAfterAnAlertDeliversTheAlertThenFin) {
  const Bytes alert = {21, 3, 3, 0, 2, 2, 40};
  World world({.max_flows = 1});
  world.control.on_record = [&](FakeControl& from, FakeControl::Handshake& handshake) {
    from.transmit(handshake, alert);
    from.close(handshake, CloseReason::handshake_failed);
  };
  Peer& client = world.connect_tls();
  client.write(client_hello());
  ASSERT_TRUE(world.run_until([&] { return client.finished_by_peer; }, 1'000'000));
  EXPECT_EQ(client.received, alert);
  client.finish = true;
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::handshake_failed);
  EXPECT_FALSE(world.control.handshakes.at(0).ended) << "control knows already";
  EXPECT_FALSE(client.reset());
}

TEST(Handshake, CloseFlowCanAskForReset) {
  World world;
  world.control.on_record = [&](FakeControl& from, FakeControl::Handshake& handshake) {
    from.close(handshake, CloseReason::handshake_timeout, true);
  };
  Peer& client = world.connect_tls();
  client.write(client_hello());
  world.expect_clean(CloseReason::handshake_timeout);
  EXPECT_TRUE(client.reset());
}

TEST(Handshake, ControlGoneInTheMiddleResetsOnlyHandshakes) {
  World world;
  answer_with(world, pattern(1000, 2));
  TlsClient established(world);
  std::mt19937 random(7);
  established.shake_hands(established.seal_stream(pattern(10, 1), 4000, random));
  ASSERT_TRUE(world.run_until([&] { return established.flight_complete; }));
  world.run_for(10'000);
  TlsClient middle(world);
  middle.write(client_hello());  // gets the server's flight, and says no more
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

TEST(Handshake, WithoutControlItWaitsAndCompletesAfterAttach) {
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

TEST(Handshake, ControlThatNeverComesIsADeadline) {
  World world({.handshake_wait_us = 2'000'000, .with_control = false});
  Peer& client = world.connect_tls();
  client.write(client_hello());
  world.expect_clean(CloseReason::handshake_timeout);
  EXPECT_TRUE(client.reset());
}

TEST(Handshake, WaitersAreBoundedAndAllServedWhenControlComes) {
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

TEST(Handshake, HalfAHelloIsADeadline) {
  World world({.handshake_wait_us = 3'000'000});
  Peer& client = world.connect_tls();
  Bytes half = client_hello();
  half.resize(100);
  client.write(half);
  const Micros begun = world.now;
  world.run_until_idle();
  EXPECT_GE(world.now - begun, 3'000'000U);
  EXPECT_LE(world.now - begun, 3'100'000U);
  world.expect_clean(CloseReason::handshake_timeout);
  EXPECT_TRUE(client.reset());
  EXPECT_TRUE(world.control.handshakes.empty());
}

TEST(Handshake, SilentControlIsADeadlineThatControlHearsOf) {
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

TEST(Handshake, ClientThatSaysNothingAndClosesIsNotReported) {
  World world;
  Peer& client = world.connect_tls();
  client.finish = true;
  world.expect_clean(CloseReason::client_gone);
  EXPECT_TRUE(client.finished_by_peer);
  EXPECT_TRUE(world.control.ends.empty());
}

TEST(Handshake, ClientThatClosesInsideARecordIsClosed) {
  World world;
  Peer& client = world.connect_tls();
  client.write(client_hello());
  Bytes half = client_finished();
  half.resize(20);
  client.write(half);
  client.finish = true;
  const Micros begun = world.now;
  world.run_until_idle();
  EXPECT_LE(world.now - begun, 1'000'000U);
  world.expect_clean(CloseReason::client_closed_in_handshake);
  EXPECT_TRUE(world.control.handshakes.at(0).ended);
}

TEST(Handshake, ClientThatClosesAndOwesRecordsIsClosedByControl) {
  World world;
  world.control.delay_us = 10'000;
  Peer& client = world.connect_tls();
  client.write(client_hello());
  client.finish = true;
  const Micros begun = world.now;
  world.run_until_idle();
  EXPECT_LE(world.now - begun, 1'000'000U);
  world.expect_clean(CloseReason::client_closed_in_handshake);
  EXPECT_EQ(client.received.size(), world.flight_bytes);
  EXPECT_TRUE(client.finished_by_peer);
  EXPECT_TRUE(world.control.handshakes.at(0).ended);
}

TEST(Handshake, ClientThatClosesOnSilentControlIsADeadline) {
  World world({.handshake_wait_us = 2'000'000});
  world.control.answers_ends = false;
  Peer& client = world.connect_tls();
  client.write(client_hello());
  client.finish = true;
  world.expect_clean(CloseReason::client_closed_in_handshake);
}

// The report that the client has left finds no room in the ring: it is sent later.
TEST(Handshake, TheReportThatTheClientLeftWaitsForTheRing) {
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

// Control dies before it has answered: the next one gets the whole hello, and the client sees nothing.
TEST(Handshake, AHandshakeThatControlHasNotAnsweredBeginsAnew) {
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
TEST(Handshake, HalfSentRecordsBeginAnewToo) {
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

TEST(Handshake, ClientResetIsReported) {
  World world;
  world.control.on_record = nullptr;
  Peer& client = world.connect_tls();
  client.write(client_hello());
  ASSERT_TRUE(world.run_until([&] { return !world.control.handshakes.empty(); }));
  world.client_host.abort(client);
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::client_reset);
  EXPECT_TRUE(world.control.handshakes[0].ended);
}

// What control says of a flow that is ending meanwhile is late, not wrong, and changes nothing.
TEST(Handshake, LateMessagesForAClosingFlowAreHarmless) {
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
    ASSERT_TRUE(world.run_until([&] { return client.finished_by_peer || client.closed; },
                                1'000'000));
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

TEST(Handshake, FullRingsStallHandshakesWhichThenGoOn) {
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
  ASSERT_TRUE(world.run_until([&] {
    for (const auto& client : clients) {
      if (!client->flight_complete) return false;
    }
    return true;
  }, 5'000'000));
  for (const auto& client : clients) {
    client->write(client->close_notify());
    client->finish();
  }
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(world.count(Counter::tls_handshakes_done), static_cast<uint64_t>(kClients));
}

TEST(Handshake, FlowsSpreadOverHandshakeThreads) {
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

// The first data segments come before the ACK that opens the connection, or that ACK is lost.
TEST(Handshake, SegmentsThatOvertakeTheOpeningAckAreNotPunished) {
  World world;
  world.control.on_record = nullptr;
  Peer& client = world.connect_tls();
  client.write(client_hello(4000));
  world.run_until([&] { return world.net.next_at() != tcp::kNever && client.connected; });
  // Everything of the client's first flight is under way: it arrives last one first.
  std::vector<Wire> flight;
  Wire wire;
  while (world.net.receive(world.now + 10'000, wire)) flight.push_back(wire);
  ASSERT_GE(flight.size(), 3U);
  for (auto packet = flight.rbegin(); packet != flight.rend(); ++packet) {
    world.net.send(*packet, world.now);
  }
  world.run_for(1'000'000);
  EXPECT_FALSE(client.closed);
  ASSERT_EQ(world.control.handshakes.size(), 1U);
  EXPECT_EQ(world.control.handshakes[0].stream, client_hello(4000));
  world.engine->shutdown(world.now);
  world.expect_clean(CloseReason::shutdown);
}

}  // namespace
}  // namespace sluice::flow::test
