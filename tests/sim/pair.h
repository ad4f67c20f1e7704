// Two hosts with an application each, joined by two links, in virtual time.
#pragma once

#include <memory>
#include <string>

#include "link.h"
#include "testbed.h"

namespace sluice::testbed {

struct AppSettings {
  uint32_t total_bytes = 0;       // to send, then FIN
  uint32_t chunk_bytes = 16384;   // at most, of one tcp_send
  uint32_t read_bytes = 65536;    // at most, at a time
  tcp::Micros read_pause_us = 0;  // between reads; 0: at once
  tcp::Micros stall_at_us = 0;    // stops reading then,
  tcp::Micros stall_for_us = 0;   // for so long
  tcp::Micros write_pause_us = 0;
  uint32_t abort_after_bytes = 0;  // 0: never; otherwise tcp_abort once so many were received
};

struct PairSettings {
  uint64_t seed = 0;
  tcp::TcpConfig config[2];
  uint32_t nodes[2] = {4096, 4096};
  bool small_buffers[2] = {true, true};
  uint32_t truesize_bytes = 2304;
  AppSettings app[2];
  LinkSettings link[2];  // [side]: from that side
  // Stripped from SYNs, as a middlebox or an old stack would.
  bool timestamps = true;
  bool sack = true;
  bool window_scale = true;
  bool simultaneous_open = false;
  tcp::Micros limit_us = 4000 * tcp::kSecond;
};

struct SideOutcome {
  tcp::State state = tcp::State::Closed;
  tcp::CloseCause cause = tcp::CloseCause::None;
  bool connected = false;
  uint64_t sent_bytes = 0;  // handed to tcp_send
  uint64_t received_bytes = 0;
  bool peer_finished = false;
  uint64_t retransmits = 0;
};

struct Outcome {
  std::string problem;    // empty: bytes equal or a clean reset, everything returned
  bool complete = false;  // both directions whole, both sides finished
  SideOutcome side[2];
  tcp::Micros duration_us = 0;
};

Outcome run_pair(const PairSettings& settings);

}  // namespace sluice::testbed
