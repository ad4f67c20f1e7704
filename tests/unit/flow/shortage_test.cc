// No buffers, no nodes, no room at the NIC: flows wait or end by name, and nothing is lost.
#include <gtest/gtest.h>

#include "tls_client.h"

namespace sluice::flow::test {
namespace {

using abi::CloseReason;
using abi::Counter;
using tls::ContentType;

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

TEST(Shortage, WithoutBuffersFlowsStallAndRecover) {
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
  ASSERT_TRUE(world.run_until(
      [&] {
        return backend_of(world).received.size() == up.size() &&
               client.plaintext.size() == down.size();
      },
      30'000'000));
  EXPECT_EQ(backend_of(world).received, up);
  EXPECT_EQ(client.plaintext, down);
  close_both(world, client, backend_of(world));
  world.expect_clean(CloseReason::finished);
}

TEST(Shortage, CloseNotifyWaitsForABuffer) {
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
TEST(Shortage, WithoutBuffersAnOffenceIsAReset) {
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

TEST(Shortage, WithoutBuffersAHandshakeEnds) {
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

TEST(Shortage, WithoutNodesFlowsEndOrRecoverButNeverLeak) {
  for (const uint32_t left : {0U, 1U, 2U, 5U}) {
    SCOPED_TRACE(left);
    World world({.nodes = 1000});
    TlsClient client(world);
    establish(world, client);
    std::vector<tcp::SliceNode*> held;
    while (world.pools.nodes.free_count() > left) held.push_back(world.pools.nodes.take());
    std::mt19937 random(1);
    client.write(client.seal_stream(pattern(30'000, 1), 4000, random));
    backend_of(world).write(pattern(30'000, 2));
    world.client_host.pump(world.now);
    world.backend_host.pump(world.now);
    world.run_for(500'000);
    for (tcp::SliceNode* node : held) world.pools.nodes.give(node);
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

// Without small buffers tiny segments hold whole packet buffers, more than the receive limit allows
// before the record is whole.
TEST(Shortage, ARecordInTinySegmentsComesThroughWithoutSmallBuffers) {
  World world;
  TlsClient client(world);
  establish(world, client);
  client.peer.chunk_bytes = 20;
  std::vector<net::RecordBuffer*> held;
  while (net::RecordBuffer* const buffer = world.small.allocate()) held.push_back(buffer);
  client.write(client.seal(ContentType::application_data, pattern(16'000, 1)));
  client.write(client.seal(ContentType::application_data, pattern(16'000, 2)));
  world.client_host.pump(world.now);
  ASSERT_TRUE(
      world.run_until([&] { return backend_of(world).received.size() == 32'000; }, 60'000'000));
  EXPECT_EQ(backend_of(world).received, join({pattern(16'000, 1), pattern(16'000, 2)}));
  for (net::RecordBuffer* buffer : held) net::release(buffer);
  close_both(world, client, backend_of(world));
  world.expect_clean(CloseReason::finished);
}

TEST(Shortage, AHelloInTinySegmentsComesThroughWithoutSmallBuffers) {
  World world;
  std::vector<net::RecordBuffer*> held;
  while (net::RecordBuffer* const buffer = world.small.allocate()) held.push_back(buffer);
  world.control.on_record = nullptr;
  Peer& client = world.connect_tls();
  client.chunk_bytes = 20;
  for (int i = 0; i < 4; ++i) client.write(client_hello(15'000));
  ASSERT_TRUE(world.run_until(
      [&] {
        return !world.control.handshakes.empty() && world.control.handshakes[0].records.size() == 4;
      },
      5'000'000));
  for (const Bytes& record : world.control.handshakes[0].records) {
    EXPECT_EQ(record, client_hello(15'000));
  }
  for (net::RecordBuffer* buffer : held) net::release(buffer);
  world.engine->shutdown(world.now);
  world.expect_clean(CloseReason::shutdown);
}

// The same without any record buffer: the flow waits, and comes through when there are some again.
TEST(Shortage, TinySegmentsWithoutBuffersWaitAndRecover) {
  World world;
  TlsClient client(world);
  establish(world, client);
  client.peer.chunk_bytes = 20;
  client.write(client.seal(ContentType::application_data, pattern(16'000, 1)));
  {
    const Hoard hoard(world);
    world.client_host.pump(world.now);
    world.run_for(5'000'000);
    EXPECT_EQ(world.engine->flows_active(), 1U);
    EXPECT_TRUE(backend_of(world).received.empty());
  }
  ASSERT_TRUE(
      world.run_until([&] { return backend_of(world).received.size() == 16'000; }, 120'000'000));
  EXPECT_EQ(backend_of(world).received, pattern(16'000, 1));
  close_both(world, client, backend_of(world));
  world.expect_clean(CloseReason::finished);
}

TEST(Shortage, AFullNicLosesNothing) {
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
  ASSERT_TRUE(world.run_until(
      [&] {
        return backend_of(world).received.size() == up.size() &&
               client.plaintext.size() == down.size();
      },
      60'000'000));
  EXPECT_GT(world.segments_refused, 0U);
  EXPECT_EQ(backend_of(world).received, up);
  EXPECT_EQ(client.plaintext, down);
  // A segment that the NIC did not take was not sent: nothing had to be sent twice for that.
  EXPECT_EQ(world.count(Counter::tcp_fast_retransmits), 0U);
  close_both(world, client, backend_of(world));
  world.expect_clean(CloseReason::finished);
}

TEST(Shortage, ANicThatRefusesEveryThirdSegment) {
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

TEST(Shortage, ResetsWaitForTheNicToo) {
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
