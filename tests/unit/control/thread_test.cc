// Real handshake threads: waking, sleeping, attaching and stopping while handshakes go on.
#include "control/handshake/thread.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "harness.h"

namespace sluice::control::testing {
namespace {

using std::chrono::milliseconds;

// Until keys or a close have come, at most five seconds.
void run(FakeWorker& worker, Client& client, FakeFlow& flow) {
  const auto end = std::chrono::steady_clock::now() + milliseconds(5000);
  while (!flow.keys && !flow.closed && std::chrono::steady_clock::now() < end) {
    client.advance();
    worker.client_sends(flow, client.take_output());
    EXPECT_TRUE(worker.drain());
    client.input(flow.to_client);
    flow.to_client.clear();
    std::this_thread::sleep_for(milliseconds(1));  // long enough for the thread to sleep at times
  }
  EXPECT_TRUE(worker.drain());
  client.input(flow.to_client);
  flow.to_client.clear();
  client.advance();
}

void expect_handshake(FakeWorker& worker, uint16_t version) {
  ClientOptions options;
  options.version = version;
  Client client(options);
  FakeFlow& flow = worker.begin();
  run(worker, client, flow);
  ASSERT_TRUE(flow.keys.has_value());
  RecordLayer records(*flow.keys);
  client.input(records.seal(23, "hello"));
  EXPECT_EQ(client.read(), "hello");
}

TEST(Thread, WakesForEveryHandshake) {
  FakeWorker worker;
  auto thread = handshake::HandshakeThread::create(test_pki().config, 1, [] {});
  ASSERT_TRUE(thread.has_value());
  (*thread)->start();
  (*thread)->attach(worker.attachment());
  for (int i = 0; i < 30; ++i) {
    expect_handshake(worker, i % 2 == 0 ? TLS1_3_VERSION : TLS1_2_VERSION);
  }
  EXPECT_EQ((*thread)->stats().done.load(), 30U);
}

TEST(Thread, SeveralLivesOfTheDataplane) {
  auto thread = handshake::HandshakeThread::create(test_pki().config, 1, [] {});
  ASSERT_TRUE(thread.has_value());
  (*thread)->start();
  for (uint32_t life = 1; life <= 5; ++life) {
    FakeWorker worker(life);
    (*thread)->attach(worker.attachment());
    expect_handshake(worker, TLS1_3_VERSION);
    worker.begin();  // one stays in flight
    if (life % 2 == 0) (*thread)->detach();
  }
}

TEST(Thread, TwoThreadsShareTheConfiguration) {
  FakeWorker first;
  FakeWorker second;
  auto one = handshake::HandshakeThread::create(test_pki().config, 1, [] {});
  auto two = handshake::HandshakeThread::create(test_pki().config, 1, [] {});
  ASSERT_TRUE(one.has_value() && two.has_value());
  (*one)->start();
  (*two)->start();
  (*one)->attach(first.attachment());
  (*two)->attach(second.attachment());
  std::thread other([&] {
    for (int i = 0; i < 20; ++i) expect_handshake(second, TLS1_2_VERSION);
  });
  for (int i = 0; i < 20; ++i) expect_handshake(first, TLS1_3_VERSION);
  other.join();
}

}  // namespace
}  // namespace sluice::control::testing
