// What a link does to the frames that cross it, and the text that says so.
//
//   delay=10ms,jitter=1ms,loss=1%,burst=0.1%/20%,reorder=2%/5ms,duplicate=0.5%,corrupt=0.1%,
//   rate=1gbit,queue=512k,mark=64k,vlan=7,seed=7
//
// A key counts for both directions; `up.` or `down.` in front of it, for one (and then it goes
// before the common one, wherever it stands). "none" is a wire that does nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace sluice::impair {

using Nanos = uint64_t;

inline constexpr Nanos kMaxDelay = 10'000'000'000;         // of each: delay, jitter, reorder
inline constexpr uint64_t kMaxRateBits = 100'000'000'000;  // a second
inline constexpr uint64_t kMaxQueueBytes = 64 << 20;       // of queue and mark
inline constexpr uint16_t kMaxVlan = 4094;
inline constexpr uint64_t kDefaultQueueBytes = 256 << 10;  // where a rate stands without a queue

struct LinkSettings {
  Nanos delay = 0;   // every frame's
  Nanos jitter = 0;  // up to so much on top, changing with time; frames keep their order
  double loss = 0;   // chance of a frame to be lost; with bursts, outside of them
  // Gilbert-Elliott: before each frame a burst begins or ends by these chances.
  double burst_begin = 0;
  double burst_end = 1;
  double burst_loss = 1;  // chance of a frame within a burst to be lost
  double reorder = 0;     // chance of a frame to be overtaken
  Nanos reorder_extra = 0;
  double duplicate = 0;
  double corrupt = 0;      // chance of one flipped bit behind the Ethernet header
  uint64_t rate_bits = 0;  // a second, Ethernet header included; 0: no limit
  uint64_t queue_bytes = kDefaultQueueBytes;  // what waits for the rate; what exceeds it is dropped
  uint64_t mark_bytes = 0;                    // from this much on ECT becomes CE; 0: never
  uint16_t vlan = 0;                          // the second port's side is tagged so; 0: it is not
  uint64_t seed = 1;

  bool operator==(const LinkSettings&) const = default;
};

struct Spec {
  LinkSettings up;    // from the first port to the second
  LinkSettings down;  // from the second port to the first

  bool operator==(const Spec&) const = default;
};

// The error is one line that names the key and says what would be right.
tl::expected<Spec, std::string> parse_spec(std::string_view text);

}  // namespace sluice::impair
