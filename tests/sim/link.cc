// A packet is put into a queue ordered by its time of arrival; equal times keep their order.
//
// Mangling changes what TCP must survive without help: flags, ACK, window, options. It leaves alone
// the sequence number and the payload of segments with text: those are what a checksum protects, no
// TCP can notice a change of them.
#include "link.h"

#include <algorithm>

namespace sluice::testbed {

using tcp::Micros;

constexpr Micros kMaxBurst = 100'000;
constexpr uint64_t kSecondNs = 1'000'000'000;
constexpr uint64_t kHeaderBytes = 60;          // of every packet, about
constexpr uint8_t kCongestionExperienced = 3;  // RFC 3168 5

void Link::send(const net::Segment& segment, Micros now) {
  const WireSegment whole = to_wire(segment);
  const auto length = static_cast<uint32_t>(whole.payload.size());
  const uint32_t cut = segment.cut_bytes == 0 ? length : segment.cut_bytes;
  if (length <= cut) {
    send_packet(whole, now);
    return;
  }
  for (uint32_t at = 0; at < length; at += cut) {
    const uint32_t part = std::min(cut, length - at);
    WireSegment packet;
    packet.header = whole.header;
    packet.header.seq += at;
    if (at + part != length) {
      packet.header.flags &= static_cast<uint8_t>(~(net::kFin | net::kPsh));
    }
    packet.payload.assign(whole.payload.begin() + at, whole.payload.begin() + at + part);
    send_packet(std::move(packet), now);
  }
}

bool Link::lost(Micros now) {
  if (now < burst_until_) return true;
  if (!random_.chance(settings_.loss)) return false;
  if (random_.chance(settings_.burst_loss)) burst_until_ = now + random_.below(kMaxBurst);
  return true;
}

bool Link::pass_queue(WireSegment& wire, Micros now, Micros& leaves) {
  if (settings_.bytes_per_second == 0) return true;
  const uint64_t now_ns = now * 1000;
  const uint64_t backlog_ns = busy_until_ns_ > now_ns ? busy_until_ns_ - now_ns : 0;
  const uint64_t backlog_bytes = backlog_ns * settings_.bytes_per_second / kSecondNs;
  if (backlog_bytes > settings_.queue_bytes) return false;
  if (backlog_bytes > settings_.mark_bytes && wire.header.ecn != 0) {
    wire.header.ecn = kCongestionExperienced;
    ++counters_.marked;
  }
  const uint64_t bytes = wire.payload.size() + kHeaderBytes;
  busy_until_ns_ = now_ns + backlog_ns + bytes * kSecondNs / settings_.bytes_per_second;
  leaves = busy_until_ns_ / 1000;
  return true;
}

void Link::fly(WireSegment wire, Micros at) {
  if (free_.empty()) {
    free_.push_back(static_cast<uint32_t>(store_.size()));
    store_.emplace_back();
  }
  const uint32_t slot = free_.back();
  free_.pop_back();
  store_[slot] = std::move(wire);
  flying_.push({at, order_++, slot});
}

void Link::send_packet(WireSegment wire, Micros now) {
  ++counters_.packets;
  Micros leaves = now;
  if (!pass_queue(wire, now, leaves)) {
    ++counters_.queue_dropped;
    return;
  }
  if (lost(now) || random_.chance(settings_.corrupt)) {
    ++counters_.lost;
    return;
  }
  Micros at = leaves + settings_.delay_us + random_.below(settings_.jitter_us + 1);
  if (random_.chance(settings_.reorder)) {
    at += random_.below(4 * (settings_.delay_us + settings_.jitter_us) + 1);
  }
  if (random_.chance(settings_.duplicate)) {
    fly(wire, at + random_.below(settings_.delay_us + 1));
  }
  if (random_.chance(settings_.mangle)) mangle(wire);
  fly(std::move(wire), at);
}

void Link::mangle(WireSegment& wire) {
  net::Segment& header = wire.header;
  const auto noise = static_cast<uint32_t>(random_.below(1ULL << 32));
  switch (random_.below(8)) {
    case 0:
      header.flags ^= static_cast<uint8_t>(1U << random_.below(6));
      break;
    case 1:
      header.ack = random_.chance(0.5) ? noise : header.ack + noise % 4000 - 2000;
      break;
    case 2:
      header.window = static_cast<uint16_t>(random_.chance(0.3) ? 0 : noise);
      break;
    case 3:
      if (wire.payload.empty()) {
        header.seq = random_.chance(0.5) ? noise : header.seq + noise % 4000 - 2000;
      }
      break;
    case 4:
      header.options.tsval = random_.chance(0.5) ? noise : header.options.tsval + noise % 200 - 100;
      break;
    case 5:
      header.options.tsecr = noise;
      break;
    case 6:
      header.options.has_timestamps = !header.options.has_timestamps;
      break;
    case 7:
      header.options.sack_count = static_cast<uint8_t>(noise % 5);
      for (net::SackBlock& block : header.options.sack) {
        block = {static_cast<uint32_t>(random_.below(1ULL << 32)), header.ack + noise % 5000};
      }
      break;
  }
}

WireSegment Link::take() {
  const uint32_t slot = flying_.top().slot;
  flying_.pop();
  free_.push_back(slot);
  return std::move(store_[slot]);
}

}  // namespace sluice::testbed
