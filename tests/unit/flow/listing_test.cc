// What control may ask of a worker's flows, who is woken for the answer, and the end of them all.
#include <gtest/gtest.h>

#include "tls_client.h"

namespace sluice::flow::test {
namespace {

using abi::CloseReason;
using abi::Counter;
using tls::ContentType;

TEST(Listing, PagesThroughManyFlows) {
  constexpr uint32_t kFlows = 100;
  World world({.max_flows = 200});
  for (uint32_t i = 0; i < kFlows; ++i) {
    world.raw_connect(static_cast<uint16_t>(2000 + i), kTlsService, {22, 3, 1});
  }
  TlsClient client(world);
  client.shake_hands(client.seal(ContentType::application_data, pattern(123, 1)));
  world.run_for(100'000);
  uint32_t next = 0;
  uint32_t pages = 0;
  while (next != UINT32_MAX) {
    const size_t before = world.control.rows.size();
    world.control.list(next, 7, 1000 + pages);
    world.control.step(world.now);
    ASSERT_TRUE(world.run_until([&] { return world.control.listing_ends.size() > pages; }, 10'000));
    EXPECT_EQ(world.control.listing_ends.back().token, 1000 + pages);
    EXPECT_LE(world.control.rows.size() - before, 7U);
    next = world.control.listing_ends.back().next_index;
    ++pages;
  }
  ASSERT_EQ(world.control.rows.size(), kFlows + 1);
  EXPECT_EQ(pages, (kFlows + 1 + 6) / 7);
  uint32_t relays = 0;
  for (size_t i = 0; i < world.control.rows.size(); ++i) {
    const abi::FlowRow& row = world.control.rows[i];
    EXPECT_TRUE(i == 0 || world.control.rows[i - 1].header.flow.index < row.header.flow.index);
    EXPECT_EQ(row.service, kTlsService);
    if (row.phase != static_cast<uint8_t>(abi::FlowPhase::Relaying)) {
      EXPECT_EQ(row.phase, static_cast<uint8_t>(abi::FlowPhase::ExpectClientHello));
      EXPECT_EQ(row.tls_version, 0U);
      EXPECT_EQ(row.backend.port, 0U);
      continue;
    }
    ++relays;
    EXPECT_EQ(row.tls_version, 0x0304);
    EXPECT_EQ(row.suite, 0x1301U);
    EXPECT_EQ(row.host_tag, 77U);
    EXPECT_EQ(row.backend, kBackend);
    EXPECT_GE(row.backend_local_port, kFirstBackendPort);
    EXPECT_EQ(row.bytes_from_client, 123U);
    EXPECT_GT(row.client_rtt_us, 0U);
  }
  EXPECT_EQ(relays, 1U);
  world.engine->shutdown(world.now);
  world.expect_clean();
}

TEST(Listing, WaitsForRoomInTheRingAndRefusesASecondOneMeanwhile) {
  World world({.max_flows = 2000});
  for (uint32_t i = 0; i < 700; ++i) {
    world.raw_connect(static_cast<uint16_t>(2000 + i), kTlsService, {22, 3, 1});
  }
  world.run_for(10'000);
  world.control.reading = false;
  for (uint64_t token = 1; token <= 3; ++token) {
    world.control.list(0, abi::kRingSlots / 2, token);
    world.control.step(world.now);
    world.run_for(1000);
    world.engine->advance(world.now);
  }
  EXPECT_EQ(world.count(Counter::ring_bad_message), 1U) << "the third came during the second";
  world.control.reading = true;
  for (int i = 0; i < 10; ++i) {
    world.control.step(world.now);
    world.engine->advance(world.now);
  }
  world.control.step(world.now);
  EXPECT_EQ(world.control.listing_ends.size(), 2U);
  EXPECT_EQ(world.control.rows.size(), 2U * (abi::kRingSlots / 2));
  world.engine->shutdown(world.now);
  world.expect_clean(CloseReason::shutdown);
}

TEST(Listing, OfNothingEndsAtOnce) {
  World world;
  world.control.list(12345678, 10, 5);
  world.control.step(world.now);
  ASSERT_TRUE(world.run_until([&] { return !world.control.listing_ends.empty(); }, 10'000));
  EXPECT_EQ(world.control.listing_ends[0].next_index, UINT32_MAX);
  EXPECT_TRUE(world.control.rows.empty());
}

TEST(Control, SleepersThatGotAMessageAreNamedOnce) {
  World world({.endpoints = 3});
  EXPECT_EQ(world.engine->take_wake_ups(), 0U);
  for (uint32_t e = 0; e < 3; ++e) world.control.region().endpoint(e).sleeping.store(1);
  world.control.list(0, 1, 1);
  world.control.step(world.now);
  EXPECT_TRUE(world.engine->control_pending());
  world.run_for(1000);
  EXPECT_EQ(world.engine->take_wake_ups(), 1U);
  EXPECT_EQ(world.engine->take_wake_ups(), 0U);
  world.control.region().endpoint(0).sleeping.store(0);
  world.control.list(0, 1, 2);
  world.control.step(world.now);
  world.run_for(1000);
  EXPECT_EQ(world.engine->take_wake_ups(), 0U) << "awake";
}

TEST(Control, ShutdownResetsEveryFlowInEveryPhase) {
  World world;
  TlsClient relaying(world);
  relaying.shake_hands(relaying.seal(ContentType::application_data, pattern(1000, 1)));
  ASSERT_TRUE(world.run_until([&] { return relaying.flight_complete; }));
  world.run_for(20'000);
  world.control.on_record = nullptr;
  Peer& silent = world.connect_tls();
  Peer& handshaking = world.connect_tls();
  handshaking.write(client_hello());
  Peer& plain = world.connect_tcp();
  world.client_host.pump(world.now);
  world.run_for(20'000);
  EXPECT_EQ(world.engine->flows_active(), 4U);
  world.engine->shutdown(world.now);
  EXPECT_EQ(world.engine->flows_active(), 0U);
  world.expect_clean(CloseReason::shutdown);
  for (const Peer* peer : {&relaying.peer, &silent, &handshaking, &plain}) {
    EXPECT_TRUE(peer->reset());
  }
  for (const auto& peer : world.backend_host.peers) EXPECT_TRUE(peer->reset());
}

}  // namespace
}  // namespace sluice::flow::test
