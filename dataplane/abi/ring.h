// Single-producer single-consumer ring of fixed slots in the shared region.
//
// The region holds two free-running counters and kRingSlots slots; everything else (own position,
// last seen position of the peer, base pointers) is private memory, so a hostile peer can spoil the
// content of messages and the two counters, and nothing else: an impossible counter marks the ring
// broken, a slot number is always `position % kRingSlots`, a length is clamped before it is used.
//
// Publish protocol. Producer: fill slot, store tail (release) <-> consumer: load tail (acquire),
// read slot. Consumer: done with slot, store head (release) <-> producer: load head (acquire),
// refill.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

#include "abi/messages.h"

namespace sluice::abi {

struct RingControl {
  alignas(64) std::atomic<uint32_t> tail;  // messages ever published; producer's line
  alignas(64) std::atomic<uint32_t> head;  // messages ever taken; consumer's line
};
static_assert(sizeof(RingControl) == 128);
static_assert(std::atomic<uint32_t>::is_always_lock_free);
static_assert((kRingSlots & (kRingSlots - 1)) == 0);

struct alignas(64) Slot {
  uint8_t bytes[kSlotBytes];
};

// What lies in the region for one ring.
struct RingMemory {
  RingControl control;
  Slot slots[kRingSlots];
};

enum class RingResult : uint8_t { Ok, Empty, Full, Broken };

// A message copied out of its slot: private memory, length within [header, slot].
struct alignas(8) MessageBuffer {
  uint8_t bytes[kSlotBytes];

  MessageHeader header() const {
    MessageHeader header;
    std::memcpy(&header, bytes, sizeof header);
    return header;
  }
  // The message as M when type and minimum length fit (validate.h checks the content), else null.
  template <class M>
  const M* as() const {
    const MessageHeader h = header();
    if (h.type != static_cast<uint16_t>(M::kType) || h.length > sizeof(M)) return nullptr;
    return reinterpret_cast<const M*>(bytes);
  }
};

class RingProducer {
 public:
  RingProducer() = default;
  explicit RingProducer(RingMemory* memory) : memory_(memory) {}

  uint32_t free_slots() {
    const uint32_t used = tail_ - cached_head_;
    if (used < kRingSlots) return kRingSlots - used;
    return refresh() == RingResult::Ok ? kRingSlots - (tail_ - cached_head_) : 0;
  }
  // As free_slots, but looks at the peer's counter first.
  uint32_t free_slots_now() {
    return refresh() == RingResult::Ok ? kRingSlots - (tail_ - cached_head_) : 0;
  }

  // `length` bytes at `message`, header first; length assumed in [sizeof(MessageHeader),
  // kSlotBytes].
  RingResult push(const void* message, uint32_t length) {
    if (memory_ == nullptr || broken_) return RingResult::Broken;
    if (tail_ - cached_head_ >= kRingSlots) {
      if (const RingResult result = refresh(); result != RingResult::Ok) return result;
      if (tail_ - cached_head_ >= kRingSlots) return RingResult::Full;
    }
    std::memcpy(memory_->slots[tail_ % kRingSlots].bytes, message, length);
    ++tail_;
    memory_->control.tail.store(tail_, std::memory_order_release);  // pairs with pop's acquire
    return RingResult::Ok;
  }
  bool broken() const { return broken_; }

 private:
  RingResult refresh() {
    if (memory_ == nullptr || broken_) return RingResult::Broken;
    const uint32_t head = memory_->control.head.load(std::memory_order_acquire);  // pairs with pop
    if (tail_ - head > kRingSlots) {
      broken_ = true;
      return RingResult::Broken;
    }
    cached_head_ = head;
    return RingResult::Ok;
  }

  RingMemory* memory_ = nullptr;
  uint32_t tail_ = 0;
  uint32_t cached_head_ = 0;
  bool broken_ = false;
};

class RingConsumer {
 public:
  RingConsumer() = default;
  explicit RingConsumer(RingMemory* memory) : memory_(memory) {}

  // Copies one message out. A length outside [header, slot] is returned as a message of type 0,
  // which no validation accepts.
  RingResult pop(MessageBuffer& out) {
    if (memory_ == nullptr || broken_) return RingResult::Broken;
    if (head_ == cached_tail_) {
      const uint32_t tail =
          memory_->control.tail.load(std::memory_order_acquire);  // pairs with push
      if (tail - head_ > kRingSlots) {
        broken_ = true;
        return RingResult::Broken;
      }
      cached_tail_ = tail;
      if (head_ == cached_tail_) return RingResult::Empty;
    }
    Slot& slot = memory_->slots[head_ % kRingSlots];
    MessageHeader header;
    std::memcpy(&header, slot.bytes, sizeof header);
    const uint32_t length = header.length;
    if (length < sizeof(MessageHeader) || length > kSlotBytes) {
      header = MessageHeader{};
      header.length = sizeof(MessageHeader);
      std::memcpy(out.bytes, &header, sizeof header);
    } else {
      std::memcpy(out.bytes, slot.bytes, length);
      std::memcpy(out.bytes, &header, sizeof header);  // the header that was checked
    }
    if (header.type == static_cast<uint16_t>(MessageType::InstallKeys)) wipe(slot);
    ++head_;
    memory_->control.head.store(head_, std::memory_order_release);  // pairs with refresh's acquire
    return RingResult::Ok;
  }

  // Whether a message can be taken; for the sleep protocol.
  bool has_message() const {
    return memory_ != nullptr && !broken_ &&
           (head_ != cached_tail_ ||
            memory_->control.tail.load(std::memory_order_acquire) != head_);
  }
  bool broken() const { return broken_; }

 private:
  static void wipe(Slot& slot) {
    std::memset(slot.bytes, 0, sizeof slot.bytes);
    asm volatile("" : : "r"(slot.bytes) : "memory");  // the store is the purpose
  }

  RingMemory* memory_ = nullptr;
  uint32_t head_ = 0;
  uint32_t cached_tail_ = 0;
  bool broken_ = false;
};

}  // namespace sluice::abi
