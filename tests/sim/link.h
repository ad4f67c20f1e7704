// A simulated wire between two hosts: delay, rate, queue, loss, reordering, duplication,
// corruption. Everything random comes from one seed.
#pragma once

#include <cstdint>
#include <queue>
#include <vector>

#include "testbed.h"

namespace sluice::testbed {

struct LinkSettings {
  tcp::Micros delay_us = 1000;
  tcp::Micros jitter_us = 0;         // added at random: reorders when large
  uint64_t bytes_per_second = 0;     // 0: infinite
  uint32_t queue_bytes = 200'000;    // in front of the rate
  uint32_t mark_bytes = UINT32_MAX;  // of queue, beyond which ECN-capable packets are marked
  double loss = 0;
  double burst_loss = 0;  // chance that a lost packet begins an outage
  double duplicate = 0;
  double reorder = 0;  // held back by several delays
  double corrupt = 0;  // checksum fails: dropped
  double mangle = 0;   // a header field changes and the checksum does not notice
};

struct LinkCounters {
  uint64_t packets = 0;  // that were to cross
  uint64_t queue_dropped = 0;
  uint64_t lost = 0;  // by chance, corrupted ones too
  uint64_t marked = 0;
};

// One direction.
class Link {
 public:
  Link(const LinkSettings& settings, Random& random) : settings_(settings), random_(random) {}

  // Cuts what a port would cut, then sends each packet on its way.
  void send(const net::Segment& segment, tcp::Micros now);
  // When the next packet arrives; kNever when nothing is on the way.
  tcp::Micros next_at() const { return flying_.empty() ? tcp::kNever : flying_.top().at; }
  WireSegment take();
  const LinkCounters& counters() const { return counters_; }

 private:
  struct Flying {
    tcp::Micros at;
    uint64_t order;
    uint32_t slot;
    bool operator<(const Flying& other) const {  // the queue's top is the earliest
      return at != other.at ? at > other.at : order > other.order;
    }
  };
  void send_packet(WireSegment wire, tcp::Micros now);
  // Through the queue and the transmitter behind it. False: no room.
  bool pass_queue(WireSegment& wire, tcp::Micros now, tcp::Micros& leaves);
  void fly(WireSegment wire, tcp::Micros at);
  bool lost(tcp::Micros now);
  void mangle(WireSegment& wire);

  const LinkSettings& settings_;
  Random& random_;
  std::priority_queue<Flying> flying_;
  std::vector<WireSegment> store_;
  std::vector<uint32_t> free_;  // slots of the store
  LinkCounters counters_;
  uint64_t order_ = 0;
  uint64_t busy_until_ns_ = 0;
  tcp::Micros burst_until_ = 0;
};

}  // namespace sluice::testbed
