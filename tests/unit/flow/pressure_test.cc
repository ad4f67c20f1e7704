// Slow readers: only who causes it waits, and memory stays bounded.
#include <gtest/gtest.h>

#include "tls_client.h"

namespace sluice::flow::test {
namespace {

using abi::CloseReason;
using abi::Counter;
using tls::ContentType;

constexpr size_t kMebibyte = 1 << 20;

// Memory of one flow is held by what it may queue: both limits and a buffer or two of slack.
uint32_t held_by_pools(const World& world) {
  return world.small.in_use() * net::RecordPool::object_bytes(world.small.capacity_bytes()) +
         world.large.in_use() * net::RecordPool::object_bytes(world.large.capacity_bytes());
}
constexpr uint32_t kSlackBytes = 40'000;
// Of a queue whose reader stands still: its first share, and twice the window it had until then.
constexpr uint32_t kQueueBytes = abi::kSendInitialBytes + 640 * 1024;

TEST(Pressure, SlowClientClosesTheBackendsWindowAndDisturbsNobody) {
  World world;
  TlsClient slow(world);
  establish(world, slow);
  const Bytes down = pattern(4 * kMebibyte, 1);
  slow.peer.reading = false;
  backend_of(world).write(down);
  world.backend_host.pump(world.now);
  world.run_for(5'000'000);
  // What has left the backend is bounded by the queues on the way.
  const size_t taken = backend_of(world).sent;
  EXPECT_LT(taken, 4 * kQueueBytes);
  EXPECT_LE(held_by_pools(world), kQueueBytes + abi::kReceiveInitialBytes + kSlackBytes);
  world.run_for(5'000'000);
  EXPECT_EQ(backend_of(world).sent, taken) << "the backend's window must have closed";
  world.control.list(0, 10, 1);
  world.run_for(1'000'000);
  ASSERT_EQ(world.control.rows.size(), 1U);
  EXPECT_LE(world.control.rows[0].held_bytes,
            kQueueBytes + abi::kReceiveInitialBytes + kSlackBytes);
  EXPECT_GT(world.control.rows[0].held_bytes, abi::kSendInitialBytes / 2);

  TlsClient other(world);
  establish(world, other);
  const Micros begun = world.now;
  backend_of(world, 1).write(pattern(kMebibyte, 2));
  world.backend_host.pump(world.now);
  ASSERT_TRUE(world.run_until([&] { return other.plaintext.size() == kMebibyte; }, 2'000'000));
  EXPECT_LT(world.now - begun, 1'000'000U);
  close_both(world, other, backend_of(world, 1));

  slow.peer.reading = true;
  slow.peer.read_bytes = 50'000;
  world.client_host.pump(world.now);
  ASSERT_TRUE(world.run_until([&] { return slow.plaintext.size() == down.size(); }));
  EXPECT_EQ(slow.plaintext, down);
  close_both(world, slow, backend_of(world));
  world.expect_clean(CloseReason::finished);
}

TEST(Pressure, SlowBackendClosesTheClientsWindow) {
  World world;
  world.backend_host.listen(kBackend, [](Peer& peer) { peer.reading = false; });
  TlsClient client(world);
  establish(world, client);
  const Bytes up = pattern(4 * kMebibyte, 1);
  std::mt19937 random(1);
  client.write(client.seal_stream(up, 16384, random));
  world.client_host.pump(world.now);
  world.run_for(5'000'000);
  const size_t taken = client.peer.sent;
  EXPECT_LT(taken, 4 * kQueueBytes);
  EXPECT_LE(held_by_pools(world), kQueueBytes + abi::kReceiveInitialBytes + kSlackBytes);
  world.run_for(5'000'000);
  EXPECT_EQ(client.peer.sent, taken);
  backend_of(world).reading = true;
  world.backend_host.pump(world.now);
  ASSERT_TRUE(world.run_until([&] { return backend_of(world).received.size() == up.size(); }));
  EXPECT_EQ(backend_of(world).received, up);
  close_both(world, client, backend_of(world));
  world.expect_clean(CloseReason::finished);
}

// The client closes while whole records still wait for room at the backend: no truncation.
TEST(Pressure, RecordsThatWaitForRoomAreDeliveredAfterTheClientsFin) {
  World world;
  world.backend_host.listen(kBackend, [](Peer& peer) {
    peer.reading = false;
    peer.on_data = [](Peer& self) { self.finish = self.finished_by_peer; };
  });
  TlsClient client(world);
  establish(world, client);
  // More than the backend and the send queue towards it take, less than all queues together.
  const Bytes up = pattern(520'000, 1);
  std::mt19937 random(1);
  client.write(client.seal_stream(up, 16384, random));
  client.write(client.close_notify());
  client.finish();
  world.client_host.pump(world.now);
  ASSERT_TRUE(world.run_until([&] { return client.peer.fin_sent; }, 60'000'000));
  world.run_for(3'000'000);
  EXPECT_EQ(world.engine->flows_active(), 1U);
  backend_of(world).reading = true;
  world.backend_host.pump(world.now);
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(backend_of(world).received, up);
}

TEST(Pressure, TinyRecordsShareBuffers) {
  World world;
  world.backend_host.listen(kBackend, [](Peer& peer) { peer.reading = false; });
  TlsClient client(world);
  establish(world, client);
  std::mt19937 random(1);
  const Bytes up = pattern(40'000, 1);
  client.write(client.seal_stream(up, 3, random));
  world.client_host.pump(world.now);
  world.run_for(10'000'000);
  EXPECT_LE(held_by_pools(world), kQueueBytes + abi::kReceiveInitialBytes + kSlackBytes);
  backend_of(world).reading = true;
  world.backend_host.pump(world.now);
  ASSERT_TRUE(world.run_until([&] { return backend_of(world).received.size() == up.size(); }));
  EXPECT_EQ(backend_of(world).received, up);
  close_both(world, client, backend_of(world));
  world.expect_clean(CloseReason::finished);
}

TEST(Pressure, OneByteSegmentsCannotPinThePool) {
  World world;
  world.control.on_record = nullptr;
  Peer& client = world.connect_tls();
  client.chunk_bytes = 1;
  client.write(client_hello(12'000));
  world.run_for(5'000'000);
  EXPECT_EQ(world.control.handshakes.size(), 1U);
  EXPECT_LE(held_by_pools(world), 40'000U);
  EXPECT_LE(HeapBuffer::live(), 100U) << "packet buffers are pinned by single bytes";
  world.engine->shutdown(world.now);
  world.expect_clean(CloseReason::shutdown);
}

// Packet buffers are scarce over all flows: nothing is kept out of order, what is in order is
// copied, and a lossy transfer still comes through whole.
TEST(Pressure, ScarcePacketBuffersAreNotHeldAndNothingIsLost) {
  World world({.net = {.delay_us = 1000, .jitter_us = 500, .loss_permille = 10, .seed = 7}});
  world.stack.pressure = tcp::Pressure::Hard;
  const Bytes up = pattern(300'000, 1);
  const Bytes down = pattern(300'000, 2);
  world.backend_host.listen(kBackend, [&](Peer& peer) {
    peer.write(down);
    peer.finish = true;
  });
  Peer& client = world.connect_tcp();
  client.write(up);
  client.finish = true;
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(client.received, down);
  EXPECT_EQ(backend_of(world).received, up);
  EXPECT_GT(world.count(Counter::tcp_pressure_drop), 0U);
  EXPECT_EQ(world.count(Counter::tcp_out_of_order), world.count(Counter::tcp_pressure_drop));
}

TEST(Pressure, AnIdleConnectionHoldsNothing) {
  World world;
  TlsClient client(world);
  establish(world, client, client.seal(ContentType::application_data, pattern(500, 1)));
  backend_of(world).write(pattern(500, 2));
  world.backend_host.pump(world.now);
  world.run_for(1'000'000);
  EXPECT_EQ(client.plaintext, pattern(500, 2));
  EXPECT_EQ(world.small.in_use() + world.large.in_use(), 0U);
  EXPECT_EQ(world.pools.nodes.in_use(), 0U);
  EXPECT_FALSE(world.engine->work_pending());
  close_both(world, client, backend_of(world));
  world.expect_clean(CloseReason::finished);
}

// All has been queued, and leaves the queue slowly for longer than the idle time: bytes do move.
TEST(Pressure, ASlowDownloadIsNotIdle) {
  World world({.idle_timeout_us = 3'000'000});
  TlsClient client(world);
  establish(world, client);
  const Bytes down = pattern(400'000, 1);
  client.peer.reading = false;
  backend_of(world).write(down);
  world.backend_host.pump(world.now);
  for (int second = 0; second < 15; ++second) {
    world.run_for(1'000'000);
    client.peer.reading = true;
    client.peer.read_bytes = 15'000;
    world.client_host.pump(world.now);
    client.peer.reading = false;
  }
  EXPECT_EQ(world.engine->flows_active(), 1U);
  EXPECT_LT(client.plaintext.size(), down.size());
  client.peer.reading = true;
  world.client_host.pump(world.now);
  ASSERT_TRUE(world.run_until([&] { return client.plaintext.size() == down.size(); }, 1'000'000));
  EXPECT_EQ(client.plaintext, down);
  close_both(world, client, backend_of(world));
  world.expect_clean(CloseReason::finished);
}

}  // namespace
}  // namespace sluice::flow::test
