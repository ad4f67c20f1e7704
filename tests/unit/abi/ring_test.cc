// The ring between two honest ends: order, wrap-around, full, empty, batches, two threads, wiping.
#include "abi/ring.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "abi/validate.h"
#include "guarded.h"

namespace sluice::abi {
namespace {

using test::Guarded;

class RingTest : public testing::Test {
 protected:
  Guarded<RingMemory> memory_;
  RingProducer producer_{memory_.get()};
  RingConsumer consumer_{memory_.get()};
  Guarded<MessageBuffer> message_;

  RingResult push(uint32_t number) {
    GrantCredit credit;
    fill_header(credit, FlowId{}, 1);
    credit.bytes = number;
    return producer_.push(&credit, sizeof credit);
  }
  // The number of the next message, or UINT32_MAX.
  uint32_t pop() {
    if (consumer_.pop(*message_) != RingResult::Ok) return UINT32_MAX;
    const auto* const credit = message_->as<GrantCredit>();
    return credit == nullptr ? UINT32_MAX : credit->bytes;
  }
};

TEST_F(RingTest, StartsEmpty) {
  EXPECT_EQ(consumer_.pop(*message_), RingResult::Empty);
  EXPECT_FALSE(consumer_.has_message());
  EXPECT_EQ(producer_.free_slots(), kRingSlots);
}

TEST_F(RingTest, IsFullAfterItsSlots) {
  for (uint32_t i = 0; i < kRingSlots; ++i) ASSERT_EQ(push(i), RingResult::Ok);
  EXPECT_EQ(producer_.free_slots(), 0U);
  EXPECT_EQ(push(0), RingResult::Full);
  EXPECT_EQ(pop(), 0U);
  EXPECT_EQ(producer_.free_slots(), 1U);
  EXPECT_EQ(push(kRingSlots), RingResult::Ok);
  EXPECT_EQ(push(0), RingResult::Full);
  for (uint32_t i = 1; i <= kRingSlots; ++i) ASSERT_EQ(pop(), i);
  EXPECT_EQ(consumer_.pop(*message_), RingResult::Empty);
  EXPECT_EQ(producer_.free_slots_now(), kRingSlots);
}

TEST_F(RingTest, KeepsOrderThroughManyWraps) {
  uint32_t pushed = 0;
  uint32_t popped = 0;
  for (uint32_t round = 0; round < 2000; ++round) {
    const uint32_t batch = round * 7 % (kRingBatch + 1);
    for (uint32_t i = 0; i < batch; ++i) ASSERT_EQ(push(pushed++), RingResult::Ok);
    while (popped < pushed && (round + popped) % 5 != 0) ASSERT_EQ(pop(), popped++);
    while (pushed - popped > kRingSlots - kRingBatch) ASSERT_EQ(pop(), popped++);
    ASSERT_EQ(consumer_.has_message(), popped != pushed);
  }
  while (popped < pushed) ASSERT_EQ(pop(), popped++);
  EXPECT_GT(pushed, 20 * kRingSlots);
}

TEST_F(RingTest, CarriesTheLongestMessage) {
  TransmitBytes sent;
  sent.length = kMaxChunkBytes;
  std::fill(std::begin(sent.bytes), std::end(sent.bytes), uint8_t{0x5a});
  fill_header(sent, FlowId{1, 0, 0, 2}, 1);
  for (uint32_t i = 0; i < kRingSlots; ++i) {
    ASSERT_EQ(producer_.push(&sent, sizeof sent), RingResult::Ok);
    ASSERT_EQ(consumer_.pop(*message_), RingResult::Ok);
    ASSERT_EQ(std::memcmp(message_->bytes, &sent, sizeof sent), 0);
  }
}

TEST_F(RingTest, ZeroesSlotsThatCarriedKeys) {
  InstallKeys keys;
  std::fill(std::begin(keys.open.secret), std::end(keys.open.secret), uint8_t{0xa5});
  fill_header(keys, FlowId{}, 1);
  ASSERT_EQ(producer_.push(&keys, sizeof keys), RingResult::Ok);
  const uint8_t* const slot = memory_->slots[0].bytes;
  ASSERT_NE(std::count(slot, slot + kSlotBytes, uint8_t{0xa5}), 0);
  ASSERT_EQ(consumer_.pop(*message_), RingResult::Ok);
  EXPECT_EQ(std::count(slot, slot + kSlotBytes, uint8_t{0}), kSlotBytes);
  const auto* const received = message_->as<InstallKeys>();
  ASSERT_NE(received, nullptr);
  EXPECT_EQ(received->open.secret[47], 0xa5);
}

TEST(Ring, WithoutMemoryIsBroken) {
  RingProducer producer;
  RingConsumer consumer;
  MessageBuffer message;
  const GrantCredit credit;
  EXPECT_EQ(producer.push(&credit, sizeof credit), RingResult::Broken);
  EXPECT_EQ(producer.free_slots_now(), 0U);
  EXPECT_EQ(consumer.pop(message), RingResult::Broken);
  EXPECT_FALSE(consumer.has_message());
}

TEST(RingThreads, AMillionMessagesArriveInOrder) {
  constexpr uint32_t kMessages = 1000 * 1000;
  const Guarded<RingMemory> memory;
  std::thread sender([&memory] {
    RingProducer producer(memory.get());
    GrantCredit credit;
    fill_header(credit, FlowId{}, 1);
    for (uint32_t i = 0; i < kMessages;) {
      credit.bytes = i;
      credit.header.flow.index = ~i;
      if (producer.push(&credit, sizeof credit) == RingResult::Ok) {
        ++i;
      } else {
        std::this_thread::yield();
      }
    }
  });
  RingConsumer consumer(memory.get());
  MessageBuffer message;
  uint32_t wrong = 0;
  for (uint32_t i = 0; i < kMessages;) {
    if (consumer.pop(message) != RingResult::Ok) {
      std::this_thread::yield();
      continue;
    }
    const auto* const credit = message.as<GrantCredit>();
    if (credit == nullptr || credit->bytes != i || credit->header.flow.index != ~i) ++wrong;
    ++i;
  }
  sender.join();
  EXPECT_EQ(wrong, 0U);
  EXPECT_EQ(consumer.pop(message), RingResult::Empty);
}

}  // namespace
}  // namespace sluice::abi
