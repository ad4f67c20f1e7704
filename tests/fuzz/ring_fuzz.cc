// A hostile peer at the other end of a ring, driven by the fuzzer's bytes.
//
// The bytes are a program of the peer's moves: write anything into a slot, set either counter to
// anything, let the victim take or put a message. Whatever the moves, the victim takes only
// messages that were validated, and uses such a message as its real consumers do: each byte that
// its fields promise is read. ASan watches the ring's ends (the memory is exactly one RingMemory
// long).
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "abi/assert.h"
#include "abi/ring.h"
#include "abi/validate.h"

namespace sluice::abi {
namespace {

constexpr uint32_t kEpoch = 7;
constexpr uint16_t kCore = 1;

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool empty() const { return size_ == 0; }
  template <class T>
  T take() {
    T value{};
    take_bytes(reinterpret_cast<uint8_t*>(&value), sizeof value);
    return value;
  }
  size_t take_bytes(uint8_t* out, size_t wanted) {
    const size_t length = std::min(wanted, size_);
    if (length > 0) std::memcpy(out, data_, length);
    data_ += length;
    size_ -= length;
    return length;
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

uint32_t sum(const uint8_t* bytes, size_t length) {
  uint32_t total = 0;
  for (size_t i = 0; i < length; ++i) total += bytes[i];
  return total;
}

// What a validated message promises must hold.
uint32_t use(const MessageBuffer& message) {
  uint32_t total = 0;
  if (const auto* chunk = message.as<HandshakeBytes>()) {
    SLUICE_ASSERT(chunk->length >= 1 && chunk->length <= kMaxChunkBytes);
    total += sum(chunk->bytes, chunk->length);
  }
  if (const auto* chunk = message.as<TransmitBytes>()) {
    SLUICE_ASSERT(chunk->length >= 1 && chunk->length <= kMaxChunkBytes);
    total += sum(chunk->bytes, chunk->length);
  }
  if (const auto* keys = message.as<InstallKeys>()) {
    SLUICE_ASSERT(keys->alpn_length <= sizeof keys->alpn && keys->backend.port != 0);
    for (const DirectionKeys* direction : {&keys->open, &keys->seal}) {
      SLUICE_ASSERT(direction->secret_length <= sizeof direction->secret);
      SLUICE_ASSERT(direction->key_length <= sizeof direction->key);
      SLUICE_ASSERT(direction->mac_key_length <= sizeof direction->mac_key);
      SLUICE_ASSERT(direction->iv_length <= sizeof direction->iv);
      SLUICE_ASSERT(direction->fragment_limit_bytes <= kMaxPlaintextBytes);
      total += sum(direction->secret, direction->secret_length);
    }
  }
  if (const auto* end = message.as<CloseFlow>()) SLUICE_ASSERT(end->reason < kCloseReasons);
  if (const auto* end = message.as<HandshakeEnd>()) SLUICE_ASSERT(end->reason < kCloseReasons);
  if (const auto* row = message.as<FlowRow>()) SLUICE_ASSERT(row->phase < kFlowPhases);
  return total;
}

uint32_t take_messages(RingConsumer& consumer, MessageBuffer& message) {
  uint32_t total = 0;
  for (uint32_t i = 0; i < kRingBatch && consumer.pop(message) == RingResult::Ok; ++i) {
    const bool for_worker = validate_for_worker(message, kEpoch, kCore) == MessageError::None;
    const bool for_control = validate_for_control(message, kEpoch, kCore) == MessageError::None;
    SLUICE_ASSERT(!(for_worker && for_control));
    if (for_worker || for_control) total += use(message);
  }
  return total;
}

// A slot with a header that is often right, so that the fuzzer gets to the content.
void write_slot(Input& input, RingMemory& memory) {
  Slot& slot = memory.slots[input.take<uint16_t>() % kRingSlots];
  MessageHeader header = input.take<MessageHeader>();
  if (const auto fix = input.take<uint8_t>(); fix % 4 != 0) {
    header.epoch = kEpoch;
    header.flow.core = kCore;
  }
  std::memcpy(slot.bytes, &header, sizeof header);
  input.take_bytes(slot.bytes + sizeof header, input.take<uint16_t>() % (kSlotBytes - 24));
}

uint32_t play(Input input, RingMemory& memory) {
  RingConsumer consumer(&memory);
  RingProducer producer(&memory);
  MessageBuffer message{};
  uint32_t total = 0;
  while (!input.empty()) {
    switch (input.take<uint8_t>() % 6) {
      case 0:
        write_slot(input, memory);
        break;
      case 1:
        memory.control.tail.store(input.take<uint32_t>());
        break;
      case 2:
        memory.control.head.store(input.take<uint32_t>());
        break;
      case 3:
        memory.control.tail.fetch_add(input.take<uint8_t>());
        break;
      case 4:
        total += take_messages(consumer, message);
        break;
      case 5: {
        GrantCredit credit;
        fill_header(credit, FlowId{1, kCore, 0, 3}, kEpoch);
        credit.bytes = input.take<uint32_t>();
        SLUICE_ASSERT(producer.free_slots() <= kRingSlots);
        producer.push(&credit, sizeof credit);
        break;
      }
    }
  }
  return total + take_messages(consumer, message);
}

}  // namespace
}  // namespace sluice::abi

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::abi;
  static const std::unique_ptr<RingMemory> memory = std::make_unique<RingMemory>();
  memory->control.tail.store(0);
  memory->control.head.store(0);
  std::memset(memory->slots, 0, sizeof memory->slots);
  const uint32_t total = play(Input(data, size), *memory);
  asm volatile("" : : "r"(total));  // so that the reads happen
  return 0;
}
