// One direction of an impaired link: frames in with the time, frames out with the time.
#pragma once

#include <cstdint>
#include <queue>
#include <span>
#include <vector>

#include "dice.h"
#include "spec.h"

namespace sluice::impair {

inline constexpr Nanos kNever = UINT64_MAX;
inline constexpr uint32_t kUp = 0, kDown = 1;         // first port to second, and back
inline constexpr uint32_t kMaxFrames = 65'536;  // on their way at a time, in each direction

struct LinkCounters {
  uint64_t frames_in = 0, bytes_in = 0;
  uint64_t frames_out = 0, bytes_out = 0;
  uint64_t lost = 0;           // by chance, in bursts or not
  uint64_t lost_in_burst = 0;  // of these, in bursts
  uint64_t queue_dropped = 0;  // the queue had no room
  uint64_t crowded = 0;        // kMaxFrames were on their way
  uint64_t foreign = 0;        // came from the tagged side without its tag
  uint64_t duplicated = 0, reordered = 0, corrupted = 0, marked = 0;
  uint64_t queue_peak_bytes = 0;  // since the last change
};

class Link {
 public:
  // `direction` is kUp or kDown; it makes the dice of two links with the same seed different.
  Link(const LinkSettings& settings, uint32_t direction);

  // Another behaviour from the next frame on, with the dice thrown as from the first one; frames
  // that are on their way arrive when they would have.
  void change(const LinkSettings& settings);

  // A frame begins to cross; it is copied. `now` never goes back.
  void put(std::span<const uint8_t> frame, Nanos now);
  // When the next frame arrives, kNever when none is on its way.
  Nanos next_at() const { return flying_.empty() ? kNever : flying_.top().at; }
  // That frame's bytes; valid until take(). There must be one.
  std::span<const uint8_t> front() const { return store_[flying_.top().slot]; }
  void take();

  uint32_t on_their_way() const { return static_cast<uint32_t>(flying_.size()); }
  const LinkCounters& counters() const { return counters_; }

 private:
  struct Flying {
    Nanos at;
    uint64_t order;
    uint32_t slot;
    bool operator<(const Flying& other) const {  // the queue's top is the earliest
      return at != other.at ? at > other.at : order > other.order;
    }
  };
  bool lost();
  bool change_tag(std::vector<uint8_t>& frame);
  void send(uint32_t slot, uint32_t copy, Nanos now);
  Nanos jitter(Nanos now) const;
  bool pass_queue(std::span<uint8_t> frame, Nanos now, Nanos& leaves);
  uint32_t store(std::span<const uint8_t> frame);

  LinkSettings settings_;
  uint32_t direction_;
  Dice dice_;
  uint64_t number_ = 0;  // of the frame that is being put
  Nanos began_ = 0;      // when the first was put
  bool in_burst_ = false;
  Nanos busy_until_ = 0;  // the rate's transmitter
  Nanos last_at_ = 0;     // of the frames that keep their order
  uint64_t order_ = 0;
  std::priority_queue<Flying> flying_;
  std::vector<std::vector<uint8_t>> store_;  // slots; a free one keeps its memory
  std::vector<uint32_t> free_;
  LinkCounters counters_;
};

}  // namespace sluice::impair
