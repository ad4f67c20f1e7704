// A hierarchical timer wheel with virtual time. Nodes are named by number (a flow's index), live in
// an array allocated once, and are re-armed lazily: a node fires no later than it was scheduled
// for, and whoever is called looks whether something is due and schedules again.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "tcp/stack.h"

namespace sluice::tcp {

class TimerWheel {
 public:
  static constexpr uint32_t kTickShift = 9;  // a tick is 512 us
  static constexpr uint32_t kLevels = 8;     // 64 slots each
  static constexpr uint32_t kSlotShift = 6;
  static constexpr uint32_t kSlots = 1U << kSlotShift;

  // `capacity` nodes, numbered from 0.
  TimerWheel(uint32_t capacity, Micros now);

  // Fires at `at` or within a tick after, and not before the next tick that advance has not seen.
  // A node that is already scheduled earlier keeps its time. kNever is ignored.
  void schedule(uint32_t node, Micros at);
  void cancel(uint32_t node);
  bool scheduled(uint32_t node) const { return nodes_[node].slot != kNoSlot; }
  uint32_t size() const { return size_; }

  // Calls fired(node) for every node that is due; it may schedule and cancel any node, also itself.
  template <class Fired>
  void advance(Micros now, Fired&& fired) {
    for (uint32_t node = pop_due(now); node != kNone; node = pop_due(now)) fired(node);
  }
  // A time at or before the next firing, at which advance makes progress; kNever when empty.
  Micros next_expiry_us() const;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint16_t kNoSlot = UINT16_MAX;
  struct Node {
    uint64_t tick : 48 = 0;        // eight digits
    uint64_t slot : 16 = kNoSlot;  // level * kSlots + index
    uint32_t next = kNone;
    uint32_t previous = kNone;  // kNone for the first of a slot
  };
  static_assert(sizeof(Node) == 16);

  void link(uint32_t node);
  void unlink(uint32_t node);
  // The next due node, unlinked; kNone, with the wheel's time moved to `now`, when there is none.
  uint32_t pop_due(Micros now);
  uint64_t next_event_tick() const;
  void cascade();

  std::unique_ptr<Node[]> nodes_;
  uint32_t capacity_;
  uint32_t size_ = 0;
  uint64_t tick_;     // the hand: all nodes before it have fired
  uint64_t horizon_;  // the tick of the latest advance
  std::array<uint64_t, kLevels> occupied_{};
  std::array<uint32_t, kLevels * kSlots> heads_;
};

}  // namespace sluice::tcp
