// Bulk transfers that share a bottleneck, in virtual time: every sender is behind one link, every
// receiver behind the other end of it.
#pragma once

#include <memory>
#include <vector>

#include "link.h"
#include "testbed.h"

namespace sluice::testbed {

struct TransferSettings {
  const tcp::CongestionOps* congestion = &tcp::kCubic;
  tcp::Micros start_us = 0;  // when it connects
};

struct DumbbellSettings {
  uint64_t seed = 1;
  LinkSettings there;  // the bottleneck, from the senders
  LinkSettings back;
  bool ecn = false;
  bool sack = true;
  bool pacing = false;
  uint32_t tso_bytes = 0;
  // What the receivers' applications have read from then until the end counts; 0: all.
  tcp::Micros measure_from_us = 0;
  tcp::Micros end_us = 0;
  std::vector<TransferSettings> transfers;
};

struct TransferOutcome {
  double mbit_per_second = 0;  // of text, while connected and measured
  uint64_t retransmits = 0;
  uint64_t fast_retransmits = 0;
  uint64_t timeouts = 0;
  uint64_t spurious = 0;  // recoveries that were undone
};

struct DumbbellOutcome {
  std::vector<TransferOutcome> transfers;
  LinkCounters bottleneck;
};

class Dumbbell {
 public:
  explicit Dumbbell(const DumbbellSettings& settings);
  DumbbellOutcome run();

 private:
  struct Transfer {
    std::unique_ptr<Host> sender;
    std::unique_ptr<Host> receiver;
    std::unique_ptr<tcp::Listener> listener;
    const TransferSettings* settings = nullptr;
    bool started = false;
    bool accepted = false;
    tcp::Micros connected_at = 0;
    uint64_t delivered_bytes = 0;
  };

  void start(Transfer& transfer, uint32_t number);
  void at_sender(WireSegment wire);
  void at_receiver(WireSegment wire);
  void feed(Transfer& transfer);
  void flush(Host& host, Link& link);
  Transfer& transfer_of(uint16_t port);
  tcp::Micros next_at() const;
  DumbbellOutcome judge();

  const DumbbellSettings& settings_;
  Random random_;
  Link there_;
  Link back_;
  std::vector<Transfer> transfers_;
  tcp::Micros now_;
};

}  // namespace sluice::testbed
