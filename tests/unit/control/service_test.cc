// The service against workers that are late, wrong, slow or gone.
#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::control::testing {
namespace {

TEST(Service, CreditIsGivenBack) {
  Harness harness;
  FakeFlow& flow = harness.worker.begin();
  // Legal and endless: one-byte records of a ClientHello.
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < 3000; ++i) {
    const uint8_t header[4] = {1, 0, 0xff, 0};
    bytes.insert(bytes.end(), {22, 3, 1, 0, 1, i < 4 ? header[i] : uint8_t{0}});
  }
  for (size_t at = 0; at < bytes.size(); at += 600) {
    harness.worker.client_sends(flow, {bytes.begin() + static_cast<ptrdiff_t>(at),
                                       bytes.begin() + static_cast<ptrdiff_t>(at + 600)});
    harness.settle();
  }
  ASSERT_FALSE(flow.closed.has_value());
  EXPECT_EQ(flow.handed_over, bytes.size());
  EXPECT_GE(flow.credit, abi::kHandshakeCreditBytes - bytes.size() + 16'384);
}

TEST(Service, LateMessagesMiss) {
  Harness harness;
  ClientOptions options;
  Client client(options);
  FakeFlow& flow = harness.worker.begin();
  harness.run(client, flow);
  ASSERT_TRUE(flow.keys.has_value());
  abi::HandshakeBytes late;
  late.offset = flow.keys->consumed_bytes;
  late.length = 1;
  harness.worker.push(late, flow.id, 1, offsetof(abi::HandshakeBytes, bytes) + 1);
  harness.worker.end(flow, abi::CloseReason::client_reset);
  harness.settle();
  EXPECT_FALSE(flow.closed.has_value());
  EXPECT_EQ(harness.stats.bad_messages.load(), 0U);
}

TEST(Service, WorkerEndsAFlow) {
  Harness harness;
  FakeFlow& flow = harness.worker.begin();
  harness.settle();
  EXPECT_EQ(harness.service->in_flight(), 1U);
  harness.worker.end(flow, abi::CloseReason::client_reset);
  harness.settle();
  EXPECT_EQ(harness.service->in_flight(), 0U);
  EXPECT_FALSE(flow.closed.has_value());
  EXPECT_EQ(harness.stats.ended_by_worker.load(), 1U);
}

TEST(Service, ClientThatClosesGetsAnAnswerAllTheSame) {
  Harness harness;
  // Behind a part of its handshake: nothing more can come of it.
  FakeFlow& half = harness.worker.begin();
  harness.worker.end(half, abi::CloseReason::client_closed_in_handshake, true);
  harness.settle();
  ASSERT_TRUE(half.closed.has_value());
  EXPECT_EQ(half.closed->reset, 0);
  FakeFlow& wrong = harness.worker.begin();
  harness.worker.end(wrong, abi::CloseReason::record_overflow, true);
  harness.settle();
  ASSERT_TRUE(wrong.closed.has_value());
  EXPECT_EQ(wrong.closed->reset, 1);
  EXPECT_EQ(harness.service->in_flight(), 0U);
  // Behind the whole of it: the keys are the answer, and the only one.
  Client client(ClientOptions{});
  FakeFlow& whole = harness.worker.begin();
  harness.run(client, whole);
  harness.worker.end(whole, abi::CloseReason::client_closed_in_handshake, true);
  harness.settle();
  EXPECT_TRUE(whole.keys.has_value());
  EXPECT_FALSE(whole.closed.has_value());
}

TEST(Service, GapsAndWrongBoundariesEndTheFlow) {
  struct Row {
    const char* name;
    uint32_t offset;
    std::vector<uint8_t> bytes;
    uint8_t record_end;
  };
  const Row rows[] = {
      {"a gap", 1, {22, 3, 1, 0, 1, 1}, 1},
      {"a record shorter than its header says", 0, {22, 3, 1, 0, 9, 1}, 1},
      {"a record longer than its header says", 0, {22, 3, 1, 0, 1, 1, 1}, 1},
      {"no header", 0, {22}, 1},
  };
  Harness harness;
  for (const Row& row : rows) {
    FakeFlow& flow = harness.worker.begin();
    abi::HandshakeBytes message;
    message.offset = row.offset;
    message.length = static_cast<uint16_t>(row.bytes.size());
    std::copy(row.bytes.begin(), row.bytes.end(), message.bytes);
    message.record_end = row.record_end;
    harness.worker.push(
        message, flow.id, 1,
        static_cast<uint32_t>(offsetof(abi::HandshakeBytes, bytes) + row.bytes.size()));
    harness.settle();
    EXPECT_TRUE(flow.closed.has_value()) << row.name;
  }
  EXPECT_EQ(harness.service->in_flight(), 0U);
}

TEST(Service, RecordWithoutEndIsBounded) {
  Harness harness;
  FakeFlow& flow = harness.worker.begin();
  for (uint32_t at = 0; at < 20'000 && !flow.closed; at += 1984) {
    abi::HandshakeBytes message;
    message.offset = at;
    message.length = 1984;
    harness.worker.push(message, flow.id);
    harness.settle();
  }
  EXPECT_TRUE(flow.closed.has_value());
}

TEST(Service, HostileMessagesAreCounted) {
  Harness harness;
  abi::FlowId other_core;
  other_core.core = 5;
  harness.worker.push(abi::HandshakeBegin{}, other_core);
  abi::HandshakeBytes too_long;
  too_long.length = 60'000;
  harness.worker.push(too_long, abi::FlowId{});
  std::vector<uint8_t> noise(2048, 0xee);
  harness.worker.push_bytes(noise.data(), 2048);
  harness.worker.push(abi::CloseFlow{}, abi::FlowId{});  // the other direction
  harness.settle();
  EXPECT_EQ(harness.stats.bad_messages.load(), 4U);
  EXPECT_EQ(harness.service->in_flight(), 0U);
}

TEST(Service, ImpossibleTailBreaksTheRing) {
  Harness harness;
  bool failed = false;
  harness.service->set_ring_failure([&] { failed = true; });
  harness.worker.region().ring(0, 1, abi::Direction::ToControl)->control.tail.store(100'000);
  harness.service->poll();
  EXPECT_TRUE(failed);
  EXPECT_FALSE(harness.service->poll());
}

TEST(Service, BeginTwiceEndsTheFlow) {
  Harness harness;
  FakeFlow& flow = harness.worker.begin();
  harness.worker.push(abi::HandshakeBegin{}, flow.id);
  harness.settle();
  EXPECT_TRUE(flow.closed.has_value());
  EXPECT_EQ(harness.service->in_flight(), 0U);
}

TEST(Service, DetachDropsAndTheNextLifeStartsClean) {
  Harness harness;
  harness.worker.begin();
  harness.settle();
  EXPECT_EQ(harness.service->in_flight(), 1U);
  harness.service->detach();
  EXPECT_EQ(harness.service->in_flight(), 0U);
  EXPECT_FALSE(harness.service->poll());
  harness.worker = FakeWorker(8);
  harness.service->attach(harness.worker.attachment());
  Client client(ClientOptions{});
  FakeFlow& flow = harness.worker.begin();
  harness.run(client, flow, "new life");
  harness.exchange(client, flow, "new life");
}

TEST(Service, MessagesOfAnotherEpochAreRefused) {
  Harness harness;
  abi::HandshakeBegin begin;
  abi::fill_header(begin, abi::FlowId{}, harness.worker.region().epoch() + 1);
  harness.worker.push_bytes(&begin, sizeof begin);
  harness.settle();
  EXPECT_EQ(harness.stats.bad_messages.load(), 1U);
}

// A worker that takes nothing: messages wait in control, bounded, in order, and nothing is lost.
TEST(Service, FullRingMakesMessagesWait) {
  constexpr size_t kClients = 200;  // more than a ring of messages
  Harness harness;
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<FakeFlow*> flows;
  const auto turn = [&](size_t i) {
    clients[i]->advance();
    harness.worker.client_sends(*flows[i], clients[i]->take_output());
  };
  for (size_t i = 0; i < kClients; ++i) {
    ClientOptions options;
    options.version = i % 2 == 0 ? TLS1_3_VERSION : TLS1_2_VERSION;
    clients.push_back(std::make_unique<Client>(options));
    flows.push_back(&harness.worker.begin());
    turn(i);
    while (harness.service->poll()) {
    }
  }
  EXPECT_TRUE(harness.service->longest_sleep_us() <= 1000 || kClients * 2 < abi::kRingSlots);
  for (int round = 0; round < 4; ++round) {
    for (size_t pass = 0; pass < 100; ++pass) harness.settle();
    for (size_t i = 0; i < kClients; ++i) {
      clients[i]->input(flows[i]->to_client);
      flows[i]->to_client.clear();
      turn(i);
      if (i % 50 == 0) harness.settle();
    }
  }
  for (size_t i = 0; i < kClients; ++i) harness.exchange(*clients[i], *flows[i]);
}

TEST(Service, SleepIsAnnouncedAndRefusedWhenWorkIsThere) {
  Harness harness;
  auto& sleeping = harness.worker.region().endpoint(1).sleeping;
  EXPECT_TRUE(harness.service->may_sleep());
  EXPECT_EQ(sleeping.load(), 1U);
  harness.service->woke();
  EXPECT_EQ(sleeping.load(), 0U);
  harness.worker.begin();
  EXPECT_FALSE(harness.service->may_sleep());
  EXPECT_EQ(sleeping.load(), 0U);
  harness.settle();
  EXPECT_TRUE(harness.service->may_sleep());
}

TEST(Service, SecretsOfInstallKeysAreWipedFromTheSlot) {
  Harness harness;
  Client client(ClientOptions{});
  FakeFlow& flow = harness.worker.begin();
  harness.run(client, flow);
  ASSERT_TRUE(flow.keys.has_value());
  const std::string secret(reinterpret_cast<const char*>(flow.keys->seal.secret),
                           flow.keys->seal.secret_length);
  const abi::RingMemory* ring = harness.worker.region().ring(0, 1, abi::Direction::ToWorker);
  const std::string memory(reinterpret_cast<const char*>(ring), sizeof *ring);
  EXPECT_EQ(memory.find(secret), std::string::npos);
}

}  // namespace
}  // namespace sluice::control::testing
