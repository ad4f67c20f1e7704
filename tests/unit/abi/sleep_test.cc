// The sleep protocol under two real threads: a message pushed while the consumer falls asleep
// always wakes it. A wait that runs into its timeout with a message in the ring is a lost wake-up;
// so is a round in which both sides looked and neither saw what the other had written.
#include "abi/sleep.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "abi/attach.h"
#include "abi/validate.h"

namespace sluice::abi {
namespace {

constexpr uint32_t kRounds = 100 * 1000;
constexpr int kLostAfterMs = 5000;

struct Stage {
  std::unique_ptr<RingMemory> memory = std::make_unique<RingMemory>();
  std::atomic<uint32_t> sleeping{0};
  Descriptor producer_end;
  Descriptor consumer_end;
  std::atomic<uint32_t> taken{0};
  std::atomic<bool> stop{false};
  uint32_t lost = 0;
  uint32_t sleeps = 0;

  Stage() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    producer_end.reset(ends[0]);
    consumer_end.reset(ends[1]);
  }
};

// The two sides leave a meeting point some hundred cycles apart, which varying pauses make up for.
void linger(uint32_t turns) {
  for (uint32_t turn = 0; turn < turns; ++turn) asm volatile("");
}

// Takes until the ring is empty, then sleeps as the protocol says.
void consume(Stage& stage) {
  RingConsumer consumer(stage.memory.get());
  MessageBuffer message;
  while (stage.taken.load(std::memory_order_relaxed) < kRounds) {
    if (consumer.pop(message) == RingResult::Ok) {
      stage.taken.fetch_add(1, std::memory_order_release);
      continue;
    }
    announce_sleep(stage.sleeping);
    if (!consumer.has_message()) {
      ++stage.sleeps;
      pollfd wanted{stage.consumer_end.get(), POLLIN, 0};
      if (poll(&wanted, 1, kLostAfterMs) == 0) {
        ++stage.lost;
        stage.stop.store(true);
        return;
      }
    }
    end_sleep(stage.sleeping);
    drain_wake(stage.consumer_end.get());
  }
}

TEST(Sleep, NoWakeUpIsLost) {
  Stage stage;
  std::thread consumer(consume, std::ref(stage));
  RingProducer producer(stage.memory.get());
  GrantCredit credit;
  fill_header(credit, FlowId{}, 1);
  uint32_t wakes = 0;
  for (uint32_t i = 0; i < kRounds && !stage.stop.load(std::memory_order_relaxed); ++i) {
    // The consumer is about to find its ring empty; a varying pause meets it at every point.
    while (stage.taken.load(std::memory_order_acquire) < i && !stage.stop.load()) {
      std::this_thread::yield();
    }
    linger(i % 257);
    ASSERT_EQ(producer.push(&credit, sizeof credit), RingResult::Ok);
    if (must_wake(stage.sleeping)) {
      wake(stage.producer_end.get());
      ++wakes;
    }
  }
  consumer.join();
  EXPECT_EQ(stage.lost, 0U);
  EXPECT_EQ(stage.taken.load(), kRounds);
  EXPECT_GE(wakes, 1U);
  EXPECT_GE(stage.sleeps, 1U);
}

// The dangerous moment alone, met head-on in every round: both sides write, fence and look. Without
// the fences the processor's store buffers let both look first, within a few thousand rounds.
TEST(Sleep, OneSideAlwaysSeesTheOther) {
  const auto memory = std::make_unique<RingMemory>();
  std::atomic<uint32_t> sleeping{0};
  std::atomic<uint32_t> ready{0};
  std::atomic<uint32_t> looked{0};
  std::vector<uint8_t> sleeper_saw(kRounds);
  std::vector<uint8_t> producer_saw(kRounds);
  const auto meet = [](std::atomic<uint32_t>& gate, uint32_t round) {
    gate.fetch_add(1);
    for (uint32_t spins = 1; gate.load() < 2 * (round + 1); ++spins) {
      if (spins % 1024 == 0) std::this_thread::yield();
    }
  };
  std::thread sleeper([&] {
    RingConsumer consumer(memory.get());
    MessageBuffer message;
    for (uint32_t round = 0; round < kRounds; ++round) {
      meet(ready, round);
      linger(round * 7 % 401);
      announce_sleep(sleeping);
      sleeper_saw[round] = consumer.has_message() ? 1 : 0;
      meet(looked, round);
      end_sleep(sleeping);
      EXPECT_EQ(consumer.pop(message), RingResult::Ok);
    }
  });
  RingProducer producer(memory.get());
  GrantCredit credit;
  fill_header(credit, FlowId{}, 1);
  for (uint32_t round = 0; round < kRounds; ++round) {
    meet(ready, round);
    linger(round * 13 % 397);
    EXPECT_EQ(producer.push(&credit, sizeof credit), RingResult::Ok);
    producer_saw[round] = must_wake(sleeping) ? 1 : 0;
    meet(looked, round);
  }
  sleeper.join();
  uint32_t lost = 0;
  for (uint32_t round = 0; round < kRounds; ++round) {
    lost += sleeper_saw[round] == 0 && producer_saw[round] == 0 ? 1 : 0;
  }
  EXPECT_EQ(lost, 0U);
}

}  // namespace
}  // namespace sluice::abi
