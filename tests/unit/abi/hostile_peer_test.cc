// The peer may write anything anywhere into the region. Each row spoils one thing; the victim must
// refuse it under the right name, count it, read nothing out of bounds (guard pages lie around ring
// and buffer), and go on with the next message where the ring itself is not broken.
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <random>

#include "abi/ring.h"
#include "abi/validate.h"
#include "guarded.h"

namespace sluice::abi {
namespace {

using test::Guarded;

constexpr uint32_t kEpoch = 41;
constexpr uint16_t kCore = 3;

struct Tally {
  uint32_t accepted = 0;
  uint32_t bad_index = 0;
  uint32_t bad_message = 0;
  std::array<uint32_t, 6> errors{};
};

class HostilePeer : public testing::Test {
 protected:
  Guarded<RingMemory> memory_;
  RingConsumer victim_{memory_.get()};
  RingProducer peer_{memory_.get()};
  Guarded<MessageBuffer> message_;
  Tally tally_;

  void push_good() {
    CloseFlow end;
    fill_header(end, FlowId{5, kCore, 0, 17}, kEpoch);
    end.reason = static_cast<uint16_t>(CloseReason::handshake_failed);
    ASSERT_EQ(peer_.push(&end, sizeof end), RingResult::Ok);
  }
  MessageHeader header_of(uint32_t slot) const {
    MessageHeader header;
    std::memcpy(&header, memory_->slots[slot].bytes, sizeof header);
    return header;
  }
  void set_header(uint32_t slot, const MessageHeader& header) {
    std::memcpy(memory_->slots[slot].bytes, &header, sizeof header);
  }
  // A worker's poll of one ring.
  void poll() {
    for (uint32_t i = 0; i < kRingBatch; ++i) {
      const RingResult result = victim_.pop(*message_);
      if (result == RingResult::Broken) ++tally_.bad_index;
      if (result != RingResult::Ok) return;
      const MessageError error = validate_for_worker(*message_, kEpoch, kCore);
      ++tally_.errors[static_cast<size_t>(error)];
      ++(error == MessageError::None ? tally_.accepted : tally_.bad_message);
    }
  }
};

TEST_F(HostilePeer, ImpossibleTailBreaksTheRing) {
  for (const uint32_t tail : {kRingSlots + 1, 0x7fffffffU, 0x80000000U, UINT32_MAX}) {
    SCOPED_TRACE(tail);
    RingConsumer victim(memory_.get());
    memory_->control.tail.store(tail);
    EXPECT_TRUE(victim.has_message());  // so that a sleeper looks
    EXPECT_EQ(victim.pop(*message_), RingResult::Broken);
    memory_->control.tail.store(1);  // repentance comes too late
    EXPECT_EQ(victim.pop(*message_), RingResult::Broken);
    EXPECT_TRUE(victim.broken());
    EXPECT_FALSE(victim.has_message());
  }
}

TEST_F(HostilePeer, ImpossibleHeadBreaksTheRing) {
  for (const uint32_t head : {1U, kRingSlots, 0x80000000U, UINT32_MAX - kRingSlots}) {
    SCOPED_TRACE(head);
    RingProducer victim(memory_.get());
    memory_->control.head.store(head);
    EXPECT_EQ(victim.free_slots_now(), 0U);
    EXPECT_TRUE(victim.broken());
    const GrantCredit credit;
    EXPECT_EQ(victim.push(&credit, sizeof credit), RingResult::Broken);
    memory_->control.head.store(0);
    EXPECT_EQ(victim.push(&credit, sizeof credit), RingResult::Broken);
  }
}

TEST_F(HostilePeer, ATailThatFallsBackIsSeenAsBroken) {
  push_good();
  push_good();
  poll();
  EXPECT_EQ(tally_.accepted, 2U);
  memory_->control.tail.store(1);
  poll();
  EXPECT_EQ(tally_.bad_index, 1U);
}

TEST_F(HostilePeer, BelievedTailYieldsOnlyRefusedMessages) {
  memory_->control.tail.store(kRingSlots);  // possible, but nothing was written
  for (uint32_t i = 0; i < kRingSlots / kRingBatch; ++i) poll();
  EXPECT_EQ(tally_.bad_message, kRingSlots);
  EXPECT_EQ(tally_.accepted, 0U);
}

TEST_F(HostilePeer, HeaderFieldsAreRefusedByName) {
  struct Row {
    const char* name;
    std::function<void(MessageHeader&)> spoil;
    MessageError expected;
  };
  const uint16_t size = sizeof(CloseFlow);
  const Row rows[] = {
      {"length 0", [](auto& h) { h.length = 0; }, MessageError::UnknownType},
      {"length 23", [](auto& h) { h.length = 23; }, MessageError::UnknownType},
      {"length 24", [](auto& h) { h.length = 24; }, MessageError::WrongLength},
      {"one short", [](auto& h) { h.length = size - 1; }, MessageError::WrongLength},
      {"one long", [](auto& h) { h.length = size + 1; }, MessageError::WrongLength},
      {"a slot", [](auto& h) { h.length = kSlotBytes; }, MessageError::WrongLength},
      {"over a slot", [](auto& h) { h.length = kSlotBytes + 1; }, MessageError::UnknownType},
      {"length 65535", [](auto& h) { h.length = 65535; }, MessageError::UnknownType},
      {"type 0", [](auto& h) { h.type = 0; }, MessageError::UnknownType},
      {"type 6", [](auto& h) { h.type = 6; }, MessageError::UnknownType},
      {"type 63", [](auto& h) { h.type = 63; }, MessageError::UnknownType},
      {"type 69", [](auto& h) { h.type = 69; }, MessageError::UnknownType},
      {"type 65535", [](auto& h) { h.type = 65535; }, MessageError::UnknownType},
      {"our own type", [](auto& h) { h.type = 1; }, MessageError::WrongDirection},
      {"another type", [](auto& h) { h.type = 66; }, MessageError::WrongLength},
      {"earlier epoch", [](auto& h) { h.epoch = kEpoch - 1; }, MessageError::WrongEpoch},
      {"later epoch", [](auto& h) { h.epoch = kEpoch + 1; }, MessageError::WrongEpoch},
      {"another worker", [](auto& h) { h.flow.core = kCore + 1; }, MessageError::BadField},
      {"no worker", [](auto& h) { h.flow.core = 65535; }, MessageError::BadField},
  };
  uint32_t slot = 0;
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    tally_ = Tally{};
    push_good();
    push_good();
    MessageHeader header = header_of(slot);
    row.spoil(header);
    set_header(slot, header);
    poll();
    EXPECT_EQ(tally_.errors[static_cast<size_t>(row.expected)], 1U);
    EXPECT_EQ(tally_.bad_message, 1U);
    EXPECT_EQ(tally_.accepted, 1U) << "the next message is unaffected";
    EXPECT_EQ(tally_.bad_index, 0U);
    slot += 2;
  }
}

// The flow's index and generation are the flow table's to check: they pass here, unchanged.
TEST_F(HostilePeer, FlowIndexReachesTheFlowTable) {
  push_good();
  MessageHeader header = header_of(0);
  header.flow.index = UINT32_MAX;
  set_header(0, header);
  poll();
  EXPECT_EQ(tally_.accepted, 1U);
  EXPECT_EQ(message_->header().flow.index, UINT32_MAX);
}

// What was popped is private: the peer's later writes change nothing.
TEST_F(HostilePeer, APoppedMessageIsACopy) {
  push_good();
  ASSERT_EQ(victim_.pop(*message_), RingResult::Ok);
  std::memset(memory_->slots[0].bytes, 0xff, kSlotBytes);
  EXPECT_EQ(validate_for_worker(*message_, kEpoch, kCore), MessageError::None);
}

TEST_F(HostilePeer, RandomSlotsAndCountersNeverEscape) {
  constexpr uint32_t kSeed = 20261121;
  std::mt19937 random(kSeed);
  uint32_t broken = 0;
  for (uint32_t round = 0; round < 3000; ++round) {
    RingConsumer victim(memory_.get());
    const bool possible = random() % 4 != 0;
    memory_->control.tail.store(
        static_cast<uint32_t>(possible ? random() % (kRingSlots + 1) : random()));
    for (uint32_t slot = 0; slot < 4; ++slot) {
      MessageHeader header;
      header.type = static_cast<uint16_t>(random() % 72);
      header.length = static_cast<uint16_t>(random());
      header.epoch = random() % 8 == 0 ? 0 : kEpoch;
      header.flow.core = random() % 8 == 0 ? 9 : kCore;
      set_header(slot, header);
      for (uint32_t i = sizeof header; i < 64; ++i) {
        memory_->slots[slot].bytes[i] = static_cast<uint8_t>(random());
      }
    }
    RingResult result = RingResult::Ok;
    for (uint32_t i = 0; i < 8 && result == RingResult::Ok; ++i) {
      result = victim.pop(*message_);
      if (result != RingResult::Ok) break;
      ASSERT_LE(message_->header().length, kSlotBytes);
      validate_for_worker(*message_, kEpoch, kCore);
      validate_for_control(*message_, kEpoch, kCore);
    }
    broken += result == RingResult::Broken ? 1 : 0;
  }
  EXPECT_GT(broken, 500U) << "seed " << kSeed;
}

}  // namespace
}  // namespace sluice::abi
