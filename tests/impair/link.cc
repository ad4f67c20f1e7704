// One direction of the link.
//
// What happens to a frame, in this order: it is lost (inside or outside of a burst); it gets or
// loses its VLAN tag; a bit of it is flipped; it is doubled; it waits for the rate, in a queue
// that drops what exceeds it and marks above a threshold; it is under way for delay + jitter, and
// for more when it is to be overtaken. Jitter keeps the order - it stands for queues elsewhere -
// so that `reorder` alone says how much is reordered. A delay that keeps the order cannot fall
// faster than time passes; thrown for each frame it would stay near its most. So it is thrown
// anew every few multiples of itself.
//
// Time is handed in. All that is on its way lies in one priority queue by time of arrival. The
// queue in front of the rate is never held as a list: what waits there is what the transmitter
// has not sent by now, busy_until_ - now.
#include "link.h"

#include <algorithm>

#include "frame.h"

namespace sluice::impair {

constexpr Nanos kJitterHolds = 4;  // times itself
constexpr double kBitNanos = 8e9;  // nanoseconds of a byte at 1 bit/s

Link::Link(const LinkSettings& settings, uint32_t direction)
    : settings_(settings), direction_(direction), dice_(settings.seed, direction) {}

void Link::change(const LinkSettings& settings) {
  settings_ = settings;
  dice_ = Dice(settings.seed, direction_);
  number_ = 0;
  in_burst_ = false;
  busy_until_ = 0;
  counters_.queue_peak_bytes = 0;
}

void Link::put(std::span<const uint8_t> frame, Nanos now) {
  ++counters_.frames_in;
  counters_.bytes_in += frame.size();
  if (number_++ == 0) began_ = now;
  if (lost()) return;
  if (flying_.size() + 2 > kMaxFrames) {
    ++counters_.crowded;
    return;
  }
  const uint32_t slot = store(frame);
  if (!change_tag(store_[slot])) {
    ++counters_.foreign;
    free_.push_back(slot);
    return;
  }
  if (dice_.chance(settings_.corrupt, Throw::Corrupt, number_) &&
      flip_bit(store_[slot], dice_.bits(Throw::CorruptBit, number_))) {
    ++counters_.corrupted;
  }
  const bool twice = dice_.chance(settings_.duplicate, Throw::Duplicate, number_);
  const uint32_t second = twice ? store(store_[slot]) : 0;
  send(slot, 0, now);
  if (twice) {
    ++counters_.duplicated;
    send(second, 1, now);
  }
}

bool Link::lost() {
  in_burst_ = in_burst_ ? !dice_.chance(settings_.burst_end, Throw::Burst, number_)
                        : dice_.chance(settings_.burst_begin, Throw::Burst, number_);
  const double chance = in_burst_ ? settings_.burst_loss : settings_.loss;
  if (!dice_.chance(chance, Throw::Loss, number_)) return false;
  ++counters_.lost;
  if (in_burst_) ++counters_.lost_in_burst;
  return true;
}

// The first port's side is untagged.
bool Link::change_tag(std::vector<uint8_t>& frame) {
  if (settings_.vlan == 0) return true;
  if (direction_ == kDown) return remove_tag(frame, settings_.vlan);
  add_tag(frame, settings_.vlan);
  return true;
}

void Link::send(uint32_t slot, uint32_t copy, Nanos now) {
  Nanos leaves = now;
  if (settings_.rate_bits != 0 && !pass_queue(store_[slot], now, leaves)) {
    free_.push_back(slot);
    return;
  }
  Nanos at = std::max(leaves + settings_.delay + jitter(now), last_at_);
  if (dice_.chance(settings_.reorder, Throw::Reorder, number_, copy)) {
    at += settings_.reorder_extra;
    ++counters_.reordered;
  } else {
    last_at_ = at;
  }
  flying_.push({at, order_++, slot});
}

Nanos Link::jitter(Nanos now) const {
  if (settings_.jitter == 0) return 0;
  const uint64_t throw_number = (now - began_) / (kJitterHolds * settings_.jitter);
  return dice_.up_to(settings_.jitter, Throw::Jitter, throw_number);
}

// False: dropped. `leaves` is when its last bit has been sent.
bool Link::pass_queue(std::span<uint8_t> frame, Nanos now, Nanos& leaves) {
  const double byte_nanos = kBitNanos / static_cast<double>(settings_.rate_bits);
  const Nanos begins = std::max(now, busy_until_);
  const auto waiting = static_cast<uint64_t>(static_cast<double>(begins - now) / byte_nanos);
  // An idle transmitter takes any frame: a queue shorter than a frame is not a closed door.
  if (begins != now && waiting + frame.size() > settings_.queue_bytes) {
    ++counters_.queue_dropped;
    return false;
  }
  if (settings_.mark_bytes != 0 && waiting >= settings_.mark_bytes && mark_congestion(frame)) {
    ++counters_.marked;
  }
  counters_.queue_peak_bytes = std::max(counters_.queue_peak_bytes, waiting + frame.size());
  leaves = begins + static_cast<Nanos>(static_cast<double>(frame.size()) * byte_nanos);
  busy_until_ = leaves;
  return true;
}

uint32_t Link::store(std::span<const uint8_t> frame) {
  if (free_.empty()) {
    free_.push_back(static_cast<uint32_t>(store_.size()));
    store_.emplace_back();
  }
  const uint32_t slot = free_.back();
  free_.pop_back();
  store_[slot].assign(frame.begin(), frame.end());
  return slot;
}

void Link::take() {
  const uint32_t slot = flying_.top().slot;
  ++counters_.frames_out;
  counters_.bytes_out += store_[slot].size();
  flying_.pop();
  free_.push_back(slot);
}

}  // namespace sluice::impair
