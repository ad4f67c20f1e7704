// Control is not trusted: messages that are wrong, late, or about somebody else's flow, rings with
// impossible counters.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "tls_client.h"

namespace sluice::flow::test {
namespace {

using abi::CloseReason;
using abi::Counter;
using tls::ContentType;

// A relay that must not notice anything, and a flow in the middle of its handshake.
struct Scene {
  explicit Scene(const WorldConfig& config = {}) : world(config), bystander(world) {
    bystander.shake_hands();
    EXPECT_TRUE(world.run_until([&] { return bystander.flight_complete; }));
    world.run_for(20'000);
    world.control.on_record = nullptr;
    victim = &world.connect_tls();
    victim->write(client_hello());
    world.client_host.pump(world.now);
    world.run_for(20'000);
    EXPECT_EQ(world.control.handshakes.size(), 2U);
  }
  FakeControl::Handshake& handshake() { return world.control.handshakes[1]; }
  uint64_t bad() const { return world.count(Counter::ring_bad_message); }
  uint64_t stale() const { return world.count(Counter::ring_stale_flow); }

  void finish(CloseReason victims_end) {
    backend_of(world).write(pattern(20'000, 3));
    bystander.write(bystander.seal(ContentType::application_data, pattern(10'000, 4)));
    bystander.write(bystander.close_notify());
    bystander.finish();
    backend_of(world).finish = true;
    world.client_host.pump(world.now);
    world.backend_host.pump(world.now);
    world.run_for(1'000'000);
    EXPECT_EQ(bystander.plaintext, pattern(20'000, 3));
    EXPECT_TRUE(bystander.got_close_notify);
    EXPECT_EQ(backend_of(world).received, pattern(10'000, 4));
    if (!victim->closed) {
      victim->finish = true;
      world.engine->shutdown(world.now);
    }
    world.expect_clean();
    EXPECT_EQ(world.closes(CloseReason::finished), 1U);
    EXPECT_EQ(world.closes(victims_end), 1U);
  }

  World world;
  TlsClient bystander;
  Peer* victim = nullptr;
};

TEST(Hostile, MessagesOfWrongFormAreCountedAndRefused) {
  Scene scene;
  World& world = scene.world;
  FakeControl& control = world.control;
  const abi::FlowId id = scene.handshake().id;
  const uint32_t endpoint = scene.handshake().endpoint;
  uint64_t expected = 0;
  const auto refused = [&](const char* what) {
    world.run_for(1000);
    EXPECT_EQ(scene.bad(), ++expected) << what;
  };

  abi::CloseFlow close;
  close.reason = static_cast<uint16_t>(CloseReason::handshake_failed);
  abi::fill_header(close, id, control.region().epoch() + 1);
  control.send_raw(endpoint, &close, sizeof close);
  refused("another life's epoch");
  abi::fill_header(close, id, control.region().epoch());
  close.header.length = sizeof close - 1;
  control.send_raw(endpoint, &close, sizeof close);
  refused("too short");
  close.header.length = 2;
  control.send_raw(endpoint, &close, sizeof close);
  refused("shorter than a header");
  close.header.length = 60'000;
  control.send_raw(endpoint, &close, sizeof close);
  refused("longer than a slot");
  close.header.length = sizeof close;
  close.reason = abi::kCloseReasons;
  control.send_raw(endpoint, &close, sizeof close);
  refused("no such reason");
  close.reason = static_cast<uint16_t>(CloseReason::handshake_failed);
  close.header.type = 999;
  control.send_raw(endpoint, &close, sizeof close);
  refused("no such type");
  close.header.type = 0;
  control.send_raw(endpoint, &close, sizeof close);
  refused("type 0");
  control.send(endpoint, abi::HandshakeEnd{}, id);
  refused("a message for control");
  abi::TransmitBytes bytes;
  bytes.length = abi::kMaxChunkBytes + 1;
  control.send(endpoint, bytes, id);
  refused("more bytes than a chunk has");
  bytes.length = 100;
  control.send(endpoint, bytes, id, 40);
  refused("more bytes than the message");
  bytes.length = 0;
  control.send(endpoint, bytes, id, 32);
  refused("no bytes");
  abi::ListFlows list;
  list.max_rows = 1;
  control.send(endpoint, list, abi::FlowId{});
  refused("a listing for a handshake thread");
  list.max_rows = 0;
  control.send(0, list, abi::FlowId{});
  refused("a listing of nothing");
  list.max_rows = UINT32_MAX;
  control.send(0, list, abi::FlowId{});
  refused("a listing of everything");

  EXPECT_EQ(world.engine->flows_active(), 2U);
  EXPECT_FALSE(scene.victim->closed);
  EXPECT_TRUE(scene.victim->received.empty());
  EXPECT_EQ(scene.stale(), 0U);
  scene.finish(CloseReason::shutdown);
}

TEST(Hostile, MessagesForOtherFlowsMiss) {
  Scene scene;
  World& world = scene.world;
  FakeControl& control = world.control;
  const abi::FlowId id = scene.handshake().id;
  const uint32_t endpoint = scene.handshake().endpoint;
  abi::CloseFlow close;
  close.reason = static_cast<uint16_t>(CloseReason::handshake_failed);

  uint64_t expected_stale = 0;
  for (const auto& change : std::vector<std::function<void(abi::FlowId&)>>{
           [](abi::FlowId& other) { ++other.generation; },
           [](abi::FlowId& other) { --other.generation; },
           [](abi::FlowId& other) { other.index = UINT32_MAX; },
           [](abi::FlowId& other) { other.index += 50; }}) {
    abi::FlowId other = id;
    change(other);
    control.send(endpoint, close, other);
    world.run_for(1000);
    EXPECT_EQ(scene.stale(), ++expected_stale);
  }
  abi::FlowId other = id;
  other.core = 1;  // another worker's: never sent here by an honest control
  control.send(endpoint, close, other);
  world.run_for(1000);
  EXPECT_EQ(scene.stale() + scene.bad(), ++expected_stale);

  const uint64_t bad = scene.bad();
  for (uint32_t e = 0; e < world.config.endpoints; ++e) {
    if (e != endpoint) control.send(e, close, id);
  }
  world.run_for(1000);
  EXPECT_EQ(scene.bad(), bad + world.config.endpoints - 1) << "another endpoint's flow";
  EXPECT_FALSE(scene.victim->closed);
  scene.finish(CloseReason::shutdown);
}

// Well formed, about the right flow, and wrong: that flow ends, by name, and no other.
TEST(Hostile, WrongContentEndsItsFlowAlone) {
  struct Row {
    const char* name;
    std::function<void(FakeControl&, FakeControl::Handshake&, const abi::InstallKeys&)> act;
  };
  const auto hello_bytes = static_cast<uint32_t>(client_hello().size());
  const std::vector<Row> rows = {
      {"more credit than was lent",
       [&](FakeControl& control, FakeControl::Handshake& handshake, const abi::InstallKeys&) {
         control.grant(handshake, hello_bytes + 1);
       }},
      {"consumed more than was sent",
       [&](FakeControl& control, FakeControl::Handshake& handshake, const abi::InstallKeys& keys) {
         control.install(handshake, keys, hello_bytes + 1, kBackend);
       }},
      {"consumed less than was released",
       [&](FakeControl& control, FakeControl::Handshake& handshake, const abi::InstallKeys& keys) {
         control.grant(handshake, 100);
         control.install(handshake, keys, 99, kBackend);
       }},
      {"a suite that nobody knows",
       [&](FakeControl& control, FakeControl::Handshake& handshake, abi::InstallKeys keys) {
         keys.suite = 0x1399;
         control.install(handshake, keys, hello_bytes, kBackend);
       }},
      {"a suite of another version",
       [&](FakeControl& control, FakeControl::Handshake& handshake, abi::InstallKeys keys) {
         keys.suite = keys.suite == 0xc02f ? 0x1301 : 0xc02f;
         control.install(handshake, keys, hello_bytes, kBackend);
       }},
      {"a sequence at its end",
       [&](FakeControl& control, FakeControl::Handshake& handshake, abi::InstallKeys keys) {
         keys.seal.sequence = UINT64_MAX;
         control.install(handshake, keys, hello_bytes, kBackend);
       }},
      {"bytes without end",
       [&](FakeControl& control, FakeControl::Handshake& handshake, const abi::InstallKeys&) {
         control.transmit(handshake, Bytes(abi::kMaxHandshakeBytes + 1));
       }},
  };
  const tls::test::Variant suites[] = {tls::test::kAes128Tls13, tls::test::kChachaTls12,
                                       {tls::test::kCbcSha1, tls::TlsVersion::Tls10},
                                       {tls::test::kCbc256Sha384, tls::TlsVersion::Tls12, true}};
  for (size_t i = 0; i < rows.size() * std::size(suites); ++i) {
    const Row& row = rows[i / std::size(suites)];
    const tls::test::Variant& suite = suites[i % std::size(suites)];
    SCOPED_TRACE(testing::Message() << row.name << ", " << suite.name());
    Scene scene({.suite = suite});
    row.act(scene.world.control, scene.handshake(), scene.world.keys_for(scene.handshake()));
    scene.world.run_for(500'000);
    EXPECT_EQ(scene.bad(), 1U);
    EXPECT_TRUE(scene.victim->reset());
    EXPECT_EQ(scene.world.count(Counter::tcp_connects), 1U);
    scene.finish(CloseReason::bad_keys);
  }
}

TEST(Hostile, KeysOfAnEstablishedFlowCannotBeReplaced) {
  Scene scene;
  World& world = scene.world;
  FakeControl::Handshake& established = world.control.handshakes[0];
  abi::InstallKeys keys = world.keys_for(established);
  keys.consumed_bytes = static_cast<uint32_t>(established.stream.size());
  keys.backend = kBackend;
  world.control.send(established.endpoint, keys, established.id);
  world.run_for(100'000);
  EXPECT_EQ(scene.bad(), 1U);
  EXPECT_FALSE(scene.bystander.peer.closed);  // control has no say in a relay
  EXPECT_FALSE(backend_of(world).reset());
  world.engine->shutdown(world.now);
  world.expect_clean();
  EXPECT_EQ(world.closes(CloseReason::bad_keys), 0U);
}

class HostileKeys : public testing::TestWithParam<tls::test::Variant> {};
INSTANTIATE_TEST_SUITE_P(Suites, HostileKeys, testing::ValuesIn(tls::test::every_suite()));

TEST_P(HostileKeys, InstallKeysIsWipedFromItsSlotAndFromTheEngine) {
  World world({.suite = GetParam()});
  TlsClient client(world);
  client.shake_hands();
  ASSERT_TRUE(world.run_until([&] { return client.flight_complete; }));
  world.run_for(50'000);
  const abi::InstallKeys keys = world.keys_for(world.control.handshakes.at(0));
  for (uint32_t e = 0; e < world.config.endpoints; ++e) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(
        world.control.region().ring(0, e, abi::Direction::ToWorker));
    const Bytes ring(bytes, bytes + sizeof(abi::RingMemory));
    for (const abi::DirectionKeys* direction : {&keys.open, &keys.seal}) {
      const auto holds = [&](const uint8_t* secret, size_t length) {
        return length != 0 &&
               std::search(ring.begin(), ring.end(), secret, secret + length) != ring.end();
      };
      EXPECT_FALSE(holds(direction->secret, direction->secret_length));
      EXPECT_FALSE(holds(direction->key, direction->key_length));
      EXPECT_FALSE(holds(direction->mac_key, direction->mac_key_length));
    }
  }
  world.engine->shutdown(world.now);
  world.expect_clean();
}

TEST(Hostile, AnImpossibleTailBreaksOneRingUntilTheNextLife) {
  Scene scene;
  World& world = scene.world;
  const uint32_t endpoint = scene.handshake().endpoint;
  for (uint64_t life = 1; life <= 2; ++life) {
    world.control.region()
        .ring(0, endpoint, abi::Direction::ToWorker)
        ->control.tail.store(0x80000000U);
    for (int i = 0; i < 5; ++i) {
      world.engine->control_poll(world.now);
      world.run_for(1000);
    }
    EXPECT_EQ(world.count(Counter::ring_bad_index), life) << "counted once";
    // The others still work.
    const size_t listings = world.control.listing_ends.size();
    world.control.list(0, 10, life);
    world.control.step(world.now);
    world.run_for(1000);
    world.run_until([&] { return world.control.listing_ends.size() > listings; }, 10'000);
    EXPECT_EQ(world.control.listing_ends.size(), listings + 1);
    world.control.detach(*world.engine, world.now);
    world.control.attach(*world.engine, world.now);
  }
  // A handshake in the new life works.
  world.control.on_record = [&](FakeControl& from, FakeControl::Handshake& handshake) {
    world.toy_handshake(from, handshake);
  };
  TlsClient late(world);
  late.shake_hands();
  EXPECT_TRUE(world.run_until([&] { return late.flight_complete; }, 1'000'000));
  world.client_host.abort(late.peer);
  world.client_host.pump(world.now);
  world.run_for(100'000);
  scene.finish(CloseReason::shutdown);
}

TEST(Hostile, AnImpossibleHeadLeavesFlowsToTheirDeadline) {
  World world({.endpoints = 2, .handshake_wait_us = 1'000'000});
  world.control.reading = false;
  world.control.region().ring(0, 1, abi::Direction::ToControl)->control.head.store(0x80000000U);
  std::vector<Peer*> clients;
  for (int i = 0; i < 60; ++i) {
    clients.push_back(&world.connect_tls());
    clients.back()->write(client_hello(16'000));  // 540 messages: the ring must look at the head
  }
  world.run_until_idle(3'000'000);
  EXPECT_GT(world.count(Counter::ring_bad_index), 0U);
  world.control.detach(*world.engine, world.now);
  world.expect_clean(CloseReason::handshake_timeout);
}

// Anything at all in the slots.
TEST(Hostile, RandomMessagesNeverHarmABystander) {
  for (uint32_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Scene scene;
    World& world = scene.world;
    std::mt19937 random(seed);
    const abi::FlowId id = scene.handshake().id;
    constexpr uint16_t kTypes[] = {64, 65, 66, 67, 68, 1, 2};
    constexpr uint16_t kLengths[] = {32, 40, sizeof(abi::InstallKeys), 24, 2048, 500};
    for (int i = 0; i < 200; ++i) {
      abi::MessageBuffer message;
      for (uint8_t& byte : message.bytes) {
        byte = random() % 3 == 0 ? static_cast<uint8_t>(random()) : uint8_t{0};
      }
      abi::MessageHeader header;
      header.type = random() % 20 == 0 ? static_cast<uint16_t>(random()) : kTypes[random() % 7];
      header.length = kLengths[random() % 6];
      if (header.type == 66 && random() % 2 == 0) header.length = sizeof(abi::InstallKeys);
      header.epoch = world.control.region().epoch();
      header.flow = id;
      if (random() % 4 == 0) header.flow.generation = static_cast<uint32_t>(random());
      if (random() % 4 == 0) header.flow.index = static_cast<uint32_t>(random() % 70);
      // The bystander is another endpoint's, or has another generation.
      if (header.flow.index == world.control.handshakes[0].id.index) header.flow.index = 60;
      std::memcpy(message.bytes, &header, sizeof header);
      world.control.send_raw(static_cast<uint32_t>(random() % world.config.endpoints),
                             message.bytes, sizeof message.bytes);
      if (random() % 4 == 0) world.run_for(100);
    }
    world.run_for(10'000);
    EXPECT_GT(scene.bad() + scene.stale(), 100U);
    backend_of(world).write(pattern(20'000, 3));
    backend_of(world).finish = true;
    scene.bystander.write(scene.bystander.close_notify());
    scene.bystander.finish();
    world.client_host.pump(world.now);
    world.backend_host.pump(world.now);
    world.run_for(1'000'000);
    EXPECT_EQ(scene.bystander.plaintext, pattern(20'000, 3));
    EXPECT_TRUE(scene.bystander.got_close_notify);
    world.engine->shutdown(world.now);
    world.expect_clean();
  }
}

}  // namespace
}  // namespace sluice::flow::test
