// Scarcity: slow readers, no buffers, no nodes, no room at the NIC. Only who causes it waits, memory
// stays bounded, and nothing is lost.
#include <gtest/gtest.h>

#include "tls_client.h"

namespace sluice::flow::test {
namespace {

using abi::CloseReason;
using abi::Counter;
using tls::ContentType;

constexpr size_t kMebibyte = 1 << 20;

Peer& backend_of(World& world, size_t number = 0) { return *world.backend_host.peers.at(number); }

void establish(World& world, TlsClient& client, const Bytes& after = {}) {
  const size_t backends = world.backend_host.peers.size();
  client.shake_hands(after);
  ASSERT_TRUE(world.run_until([&] {
    return client.flight_complete && world.backend_host.peers.size() > backends &&
           world.backend_host.peers.back()->connected;
  }));
  world.run_for(20'000);
}

void close_both(World& world, TlsClient& client, Peer& backend) {
  client.write(client.close_notify());
  client.finish();
  backend.finish = true;
  world.client_host.pump(world.now);
  world.backend_host.pump(world.now);
}

// Memory of one flow is held by what it may queue: both limits and a buffer or two of slack.
uint32_t held_by_pools(const World& world) {
  return world.small.in_use() * net::RecordPool::object_bytes(world.small.capacity_bytes()) +
         world.large.in_use() * net::RecordPool::object_bytes(world.large.capacity_bytes());
}
constexpr uint32_t kSlackBytes = 40'000;

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
  EXPECT_LT(taken, 4 * abi::kSendLimitBytes);
  EXPECT_LE(held_by_pools(world),
            abi::kSendLimitBytes + abi::kReceiveLimitBytes + kSlackBytes);
  world.run_for(5'000'000);
  EXPECT_EQ(backend_of(world).sent, taken) << "the backend's window must have closed";
  world.control.list(0, 10, 1);
  world.run_for(1'000'000);
  ASSERT_EQ(world.control.rows.size(), 1U);
  EXPECT_LE(world.control.rows[0].held_bytes,
            abi::kSendLimitBytes + abi::kReceiveLimitBytes + kSlackBytes);
  EXPECT_GT(world.control.rows[0].held_bytes, abi::kSendLimitBytes / 2);

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
  EXPECT_LT(taken, 4 * abi::kSendLimitBytes);
  EXPECT_LE(held_by_pools(world),
            abi::kSendLimitBytes + abi::kReceiveLimitBytes + kSlackBytes);
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
  EXPECT_LE(held_by_pools(world),
            abi::kSendLimitBytes + abi::kReceiveLimitBytes + kSlackBytes);
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

TEST(Pressure, AnIdleConnectionHoldsNothing) {
  World world;
  TlsClient client(world);
  establish(world, client, client.seal(ContentType::application_data, pattern(500, 1)));
  backend_of(world).write(pattern(500, 2));
  world.backend_host.pump(world.now);
  world.run_for(1'000'000);
  EXPECT_EQ(client.plaintext, pattern(500, 2));
  EXPECT_EQ(world.small.in_use() + world.large.in_use(), 0U);
  EXPECT_EQ(world.nodes.in_use(), 0U);
  EXPECT_FALSE(world.engine->work_pending());
  close_both(world, client, backend_of(world));
  world.expect_clean(CloseReason::finished);
}

// Takes every free record buffer away, and gives all back when it dies.
class Hoard {
 public:
  explicit Hoard(World& world) {
    for (net::RecordPool* pool : {&world.small, &world.large}) {
      while (net::RecordBuffer* const buffer = pool->allocate()) held_.push_back(buffer);
    }
  }
  ~Hoard() {
    for (net::RecordBuffer* buffer : held_) net::release(buffer);
  }
  Hoard(const Hoard&) = delete;
  Hoard& operator=(const Hoard&) = delete;

 private:
  std::vector<net::RecordBuffer*> held_;
};

TEST(Pressure, WithoutBuffersFlowsStallAndRecover) {
  World world;
  TlsClient client(world);
  establish(world, client);
  const Bytes up = pattern(100'000, 1);
  const Bytes down = pattern(100'000, 2);
  std::mt19937 random(1);
  {
    const Hoard hoard(world);
    client.write(client.seal_stream(up, 16384, random));
    backend_of(world).write(down);
    world.client_host.pump(world.now);
    world.backend_host.pump(world.now);
    world.run_for(500'000);
    EXPECT_EQ(world.engine->flows_active(), 1U);
    EXPECT_GT(world.count(Counter::no_buffer), 0U);
    EXPECT_TRUE(world.engine->work_pending());
    EXPECT_LT(backend_of(world).received.size(), up.size());
  }
  ASSERT_TRUE(world.run_until([&] {
    return backend_of(world).received.size() == up.size() &&
           client.plaintext.size() == down.size();
  }, 30'000'000));
  EXPECT_EQ(backend_of(world).received, up);
  EXPECT_EQ(client.plaintext, down);
  close_both(world, client, backend_of(world));
  world.expect_clean(CloseReason::finished);
}

TEST(Pressure, CloseNotifyWaitsForABuffer) {
  World world;
  TlsClient client(world);
  establish(world, client);
  {
    const Hoard hoard(world);
    backend_of(world).finish = true;
    world.backend_host.pump(world.now);
    world.run_for(200'000);
    EXPECT_EQ(world.engine->flows_active(), 1U);
    EXPECT_FALSE(client.peer.closed);
  }
  ASSERT_TRUE(world.run_until([&] { return client.peer.finished_by_peer; }, 2'000'000));
  EXPECT_TRUE(client.got_close_notify);
  close_both(world, client, backend_of(world));
  world.expect_clean(CloseReason::finished);
}

// An alert that cannot be said is a reset: the flow must not hang.
TEST(Pressure, WithoutBuffersAnOffenceIsAReset) {
  World world;
  TlsClient client(world);
  establish(world, client);
  const Hoard hoard(world);
  client.write({99, 3, 3, 0, 1, 0});
  world.client_host.pump(world.now);
  ASSERT_TRUE(world.run_until([&] { return world.engine->flows_active() == 0; }, 10'000'000));
  EXPECT_TRUE(world.run_until([&] { return client.peer.closed; }, 1'000'000));
  EXPECT_TRUE(backend_of(world).reset());
}

TEST(Pressure, WithoutBuffersAHandshakeEnds) {
  World world;
  {
    const Hoard hoard(world);
    Peer& client = world.connect_tls();
    client.write(client_hello());
    ASSERT_TRUE(world.run_until_idle(30'000'000));
    EXPECT_TRUE(client.reset());
  }
  world.expect_clean(CloseReason::out_of_buffers);
}

TEST(Pressure, WithoutNodesFlowsEndOrRecoverButNeverLeak) {
  for (const uint32_t left : {0U, 1U, 2U, 5U}) {
    SCOPED_TRACE(left);
    World world({.nodes = 1000});
    TlsClient client(world);
    establish(world, client);
    std::vector<tcp::SliceNode*> held;
    while (world.nodes.free_count() > left) held.push_back(world.nodes.take());
    std::mt19937 random(1);
    client.write(client.seal_stream(pattern(30'000, 1), 4000, random));
    backend_of(world).write(pattern(30'000, 2));
    world.client_host.pump(world.now);
    world.backend_host.pump(world.now);
    world.run_for(500'000);
    for (tcp::SliceNode* node : held) world.nodes.give(node);
    world.run_for(60'000'000);
    if (world.engine->flows_active() == 1) {
      EXPECT_EQ(backend_of(world).received, pattern(30'000, 1));
      EXPECT_EQ(client.plaintext, pattern(30'000, 2));
      close_both(world, client, backend_of(world));
      world.expect_clean(CloseReason::finished);
    } else {
      world.expect_clean(CloseReason::out_of_buffers);
    }
  }
}

// Without small buffers tiny segments hold whole packet buffers: the record waits, and comes through
// when there are some again.
TEST(Pressure, TinySegmentsWithoutSmallBuffersWaitAndRecover) {
  World world;
  TlsClient client(world);
  establish(world, client);
  client.peer.chunk_bytes = 20;
  std::vector<net::RecordBuffer*> held;
  while (net::RecordBuffer* const buffer = world.small.allocate()) held.push_back(buffer);
  client.write(client.seal(ContentType::application_data, pattern(16'000, 1)));
  world.client_host.pump(world.now);
  world.run_for(5'000'000);
  EXPECT_EQ(world.engine->flows_active(), 1U);
  EXPECT_LE(HeapBuffer::live(), 2 * abi::kReceiveLimitBytes / 2304 + 1000);
  for (net::RecordBuffer* buffer : held) net::release(buffer);
  ASSERT_TRUE(world.run_until([&] { return backend_of(world).received.size() == 16'000; },
                              120'000'000));
  EXPECT_EQ(backend_of(world).received, pattern(16'000, 1));
  close_both(world, client, backend_of(world));
  world.expect_clean(CloseReason::finished);
}

// All has been queued, and the client takes it slowly for longer than the idle time: bytes do move.
TEST(Pressure, ASlowDownloadIsNotIdle) {
  World world({.idle_timeout_us = 3'000'000});
  TlsClient client(world);
  establish(world, client);
  const Bytes down = pattern(400'000, 1);
  client.peer.reading = false;
  backend_of(world).write(down);
  world.backend_host.pump(world.now);
  for (int second = 0; second < 40; ++second) {
    world.run_for(1'000'000);
    client.peer.reading = true;
    client.peer.read_bytes = 15'000;
    world.client_host.pump(world.now);
    client.peer.reading = false;
  }
  EXPECT_EQ(world.engine->flows_active(), 1U);
  EXPECT_EQ(client.plaintext.size(), down.size());
  EXPECT_EQ(client.plaintext, down);
  close_both(world, client, backend_of(world));
  client.peer.reading = true;
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::finished);
}

TEST(Pressure, AFullNicLosesNothing) {
  World world;
  TlsClient client(world);
  establish(world, client);
  const Bytes up = pattern(300'000, 1);
  const Bytes down = pattern(300'000, 2);
  std::mt19937 random(1);
  client.write(client.seal_stream(up, 8000, random));
  backend_of(world).write(down);
  world.client_host.pump(world.now);
  world.backend_host.pump(world.now);
  for (int i = 0; i < 20; ++i) {
    world.nic_full = true;
    world.run_for(5'000);
    world.nic_full = false;
    world.run_for(1'000);
  }
  ASSERT_TRUE(world.run_until([&] {
    return backend_of(world).received.size() == up.size() &&
           client.plaintext.size() == down.size();
  }, 60'000'000));
  EXPECT_GT(world.segments_refused, 0U);
  EXPECT_EQ(backend_of(world).received, up);
  EXPECT_EQ(client.plaintext, down);
  // A segment that the NIC did not take was not sent: nothing had to be sent twice for that.
  EXPECT_EQ(world.count(Counter::tcp_fast_retransmits), 0U);
  close_both(world, client, backend_of(world));
  world.expect_clean(CloseReason::finished);
}

TEST(Pressure, ANicThatRefusesEveryThirdSegment) {
  for (uint32_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    World world({.net = {.seed = seed}});
    world.nic_full_permille = 333;
    world.backend_host.listen(kBackend, [&](Peer& peer) {
      peer.write(pattern(100'000, seed));
      peer.finish = true;
    });
    TlsClient client(world);
    std::mt19937 random(seed);
    Bytes stream = client.seal_stream(pattern(100'000, seed + 1), 8000, random);
    const Bytes end = client.close_notify();
    stream.insert(stream.end(), end.begin(), end.end());
    client.shake_hands(stream, true);
    world.expect_clean(CloseReason::finished);
    EXPECT_EQ(backend_of(world).received, pattern(100'000, seed + 1));
    EXPECT_EQ(client.plaintext, pattern(100'000, seed));
  }
}

TEST(Pressure, ResetsWaitForTheNicToo) {
  World world({.max_flows = 8});
  std::vector<Peer*> clients;
  for (int i = 0; i < 8; ++i) clients.push_back(&world.connect_tcp());
  world.run_for(100'000);
  EXPECT_EQ(world.engine->flows_active(), 8U);
  world.nic_full = true;
  world.engine->shutdown(world.now);
  EXPECT_EQ(world.engine->flows_active(), 8U);
  world.run_for(10'000);
  world.nic_full = false;
  world.expect_clean(CloseReason::shutdown);
  for (const Peer* client : clients) EXPECT_TRUE(client->reset());
}

}  // namespace
}  // namespace sluice::flow::test
