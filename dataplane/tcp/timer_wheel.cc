// A node stands on the level of the highest 6-bit digit in which its tick differs from the wheel's,
// in the slot that this digit names. So everything on a level lies in front of the wheel's hand,
// lower levels fire before higher ones, and the next event is the lowest occupied slot of the
// lowest occupied level: one bit scan a level, nothing is ticked through. When the hand enters a
// slot of a higher level its nodes are dealt out again below.
//
// Eight digits of 512 us reach further than any uptime; nothing wraps.
#include "tcp/timer_wheel.h"

#include <algorithm>
#include <bit>

#include "abi/assert.h"

namespace sluice::tcp {
namespace {

constexpr uint32_t kShift = TimerWheel::kSlotShift;
constexpr uint64_t kDigit = TimerWheel::kSlots - 1;
constexpr uint64_t kLastTick = (1ULL << (kShift * TimerWheel::kLevels)) - 1;

}  // namespace

TimerWheel::TimerWheel(uint32_t capacity, Micros now)
    : nodes_(new Node[capacity]),
      capacity_(capacity),
      tick_(now >> kTickShift),
      horizon_(now >> kTickShift) {
  heads_.fill(kNone);
}

void TimerWheel::link(uint32_t node) {
  Node& entry = nodes_[node];
  const uint64_t difference = entry.tick ^ tick_;
  const uint32_t level =
      difference == 0 ? 0 : static_cast<uint32_t>(std::bit_width(difference) - 1) / kShift;
  const auto index = static_cast<uint32_t>(entry.tick >> (level * kShift) & kDigit);
  const uint32_t slot = level * kSlots + index;
  entry.slot = static_cast<uint16_t>(slot);
  entry.previous = kNone;
  entry.next = heads_[slot];
  if (entry.next != kNone) nodes_[entry.next].previous = node;
  heads_[slot] = node;
  occupied_[level] |= 1ULL << index;
}

void TimerWheel::unlink(uint32_t node) {
  Node& entry = nodes_[node];
  if (entry.next != kNone) nodes_[entry.next].previous = entry.previous;
  if (entry.previous != kNone) {
    nodes_[entry.previous].next = entry.next;
  } else {
    heads_[entry.slot] = entry.next;
    if (entry.next == kNone) occupied_[entry.slot / kSlots] &= ~(1ULL << (entry.slot % kSlots));
  }
  entry.slot = kNoSlot;
}

void TimerWheel::schedule(uint32_t node, Micros at) {
  SLUICE_ASSERT(node < capacity_);
  if (at == kNever) return;
  Node& entry = nodes_[node];
  const uint64_t rounded_up = (at >> kTickShift) + ((at & ((1U << kTickShift) - 1)) != 0 ? 1 : 0);
  // Never in the tick that is being advanced: whoever is due at once again must not spin in it.
  const uint64_t tick = std::clamp(rounded_up, std::max(tick_, horizon_) + 1, kLastTick);
  if (entry.slot != kNoSlot) {
    if (entry.tick <= tick) return;
    unlink(node);
    --size_;
  }
  entry.tick = tick & kLastTick;
  link(node);
  ++size_;
}

void TimerWheel::cancel(uint32_t node) {
  SLUICE_ASSERT(node < capacity_);
  if (nodes_[node].slot == kNoSlot) return;
  unlink(node);
  --size_;
}

uint64_t TimerWheel::next_event_tick() const {
  for (uint32_t level = 0; level < kLevels; ++level) {
    if (occupied_[level] == 0) continue;
    const auto index = static_cast<uint64_t>(std::countr_zero(occupied_[level]));
    const uint64_t above = ~((1ULL << ((level + 1) * kShift)) - 1);
    return (tick_ & above) | index << (level * kShift);
  }
  return UINT64_MAX;
}

void TimerWheel::cascade() {
  for (uint32_t level = 1; level < kLevels; ++level) {
    const auto index = static_cast<uint32_t>(tick_ >> (level * kShift) & kDigit);
    if ((occupied_[level] & 1ULL << index) == 0) continue;
    uint32_t node = heads_[level * kSlots + index];
    heads_[level * kSlots + index] = kNone;
    occupied_[level] &= ~(1ULL << index);
    while (node != kNone) {
      const uint32_t next = nodes_[node].next;
      link(node);
      node = next;
    }
  }
}

uint32_t TimerWheel::pop_due(Micros now) {
  const uint64_t now_tick = std::max(now >> kTickShift, tick_);
  horizon_ = now_tick;
  for (;;) {
    const uint64_t next = next_event_tick();
    if (next > now_tick) {
      tick_ = now_tick;
      return kNone;
    }
    if (next != tick_) {
      tick_ = next;
      cascade();
    }
    const uint32_t node = heads_[tick_ & kDigit];
    if (node == kNone) continue;  // what was dealt out lies further on
    unlink(node);
    --size_;
    return node;
  }
}

Micros TimerWheel::next_expiry_us() const {
  const uint64_t next = next_event_tick();
  return next == UINT64_MAX ? kNever : next << kTickShift;
}

}  // namespace sluice::tcp
