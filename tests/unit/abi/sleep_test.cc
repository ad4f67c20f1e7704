// The sleep protocol under two real threads: a message pushed while the consumer falls asleep always
// wakes it. A wait that runs into its timeout with a message in the ring is a lost wake-up.
#include "abi/sleep.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <memory>
#include <thread>

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
    for (uint32_t pause = 0; pause < i % 257; ++pause) asm volatile("");
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

}  // namespace
}  // namespace sluice::abi
