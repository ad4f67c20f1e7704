// One script at work: a host, what it has sent, and the numbers that rows are relative to.
// What Sluice sends is collected in `sent_` and taken from there by `>` lines; time moves only by
// `+` lines, timer by timer.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../sim/testbed.h"
#include "row.h"
#include "tcp/path.h"
#include "tcp/time_wait.h"

namespace sluice::testbed {

class Runner {
 public:
  Runner();
  void run_line(const std::string& line);
  void finish();

 private:
  using Words = std::vector<std::string>;

  // runner.cc: segments and time.
  void open();
  void inject(const Row& row);
  void expect(Row row);
  void expect_one(const Row& row);
  void compare(const Row& row, const WireSegment& wire);
  void pass(tcp::Micros duration);
  void flush();
  void input_closed(net::Segment& segment, const WireSegment& wire);
  void listen_input(net::Segment& segment, const WireSegment& wire);
  void take(const tcp::InputResult& result, const WireSegment& wire);
  void reply_reset(const WireSegment& wire);
  std::string next_sent() const;

  // runner_calls.cc: everything else that a line can say.
  void call(const Words& words);
  bool call_owner(const Words& words);
  bool call_expectation(const Words& words);
  void set(const std::string& key, uint32_t value);
  void connect(const tcp::TimeWaitReuse* previous);
  void reconnect(bool allowed);
  void park();
  void icmp(const Words& words);
  void hold(const std::string& pool, uint32_t count);
  void send(uint32_t length);
  void read(uint32_t length);
  void expect_result(const Words& words);
  void expect_counter(const std::string& name, uint64_t expected);

  void require(bool condition, const std::string& what) const {
    if (!condition) throw ScriptError(what);
  }

  tcp::TcpConfig config_;
  net::FlowTuple tuple_ = default_tuple();
  tcp::PoolSizes sizes_{4096, 1, 1024, 1};
  uint32_t truesize_ = 2304;
  uint32_t piece_ = 65535;
  bool ack_small_ = false;
  std::optional<uint32_t> isn_;
  std::unique_ptr<Host> host_;
  std::unique_ptr<tcp::Listener> listener_;
  std::unique_ptr<tcp::TimeWaitTable> time_wait_;
  bool opened_ = false;  // the Tcb is in use
  bool blocked_ = false;
  tcp::Micros now_ = 100 * tcp::kSecond;
  uint32_t iss_ = 0;
  uint32_t irs_ = 1000;
  uint32_t last_tsval_ = 0;
  uint32_t sent_bytes_ = 0;
  uint32_t read_bytes_ = 0;
  std::deque<WireSegment> sent_;
  std::vector<uint32_t> held_flights_;  // of the pools: what other connections have
  std::vector<uint32_t> held_records_;
  tcp::InputResult seen_;
};

// The payload byte at a position of either stream.
inline uint8_t pattern(uint32_t position) {
  return static_cast<uint8_t>(position * 7 + (position >> 8) + 3);
}

}  // namespace sluice::testbed
