// Before the keys: what reaches control, what the worker refuses by itself, how a client may leave.
#include <gtest/gtest.h>

#include "tls_client.h"

namespace sluice::flow::test {
namespace {

using abi::CloseReason;
using abi::Counter;

Bytes text(const char* characters) {
  return Bytes(characters, characters + std::char_traits<char>::length(characters));
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
      {"data first",
       {23, 3, 3, 0, 5, 1, 2, 3, 4, 5},
       CloseReason::unexpected_record_type,
       {21, 3, 3, 0, 2, 2, 10},
       10},
      {"another major version",
       second_major,
       CloseReason::bad_record_version,
       {21, 3, 3, 0, 2, 2, 70},
       70},
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
    ASSERT_TRUE(
        world.run_until([&] { return client.finished_by_peer || client.closed; }, 1'000'000));
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
