// A script is interpreted line by line by Runner. What Sluice sends is collected in `sent_` and
// taken from there by `>` lines; time moves only by `+` lines, timer by timer.
#include "script.h"

#include <deque>
#include <fstream>
#include <map>
#include <memory>
#include <optional>

#include "../sim/testbed.h"
#include "abi/counters.h"
#include "row.h"

namespace sluice::testbed {
namespace {

using tcp::Micros;

uint8_t pattern(uint32_t position) {
  return static_cast<uint8_t>(position * 7 + (position >> 8) + 3);
}

class Runner {
 public:
  void run_line(const std::string& line);
  void finish();

 private:
  void open();
  void set(const std::string& key, uint32_t value);
  void inject(const Row& row);
  void expect(const Row& row);
  void compare(const Row& row, const WireSegment& wire);
  void pass(Micros duration);
  void send(uint32_t length);
  void read(uint32_t length);
  void flush();
  void listen_input(net::Segment& segment, const WireSegment& wire);
  void take(const tcp::InputResult& result, const WireSegment& wire);
  void reply_reset(const WireSegment& wire);
  void expect_result(const std::vector<std::string>& words);
  void call(const std::vector<std::string>& words);
  void require(bool condition, const std::string& what) const {
    if (!condition) throw ScriptError(what);
  }

  tcp::TcpConfig config_;
  uint32_t nodes_ = 4096;
  uint32_t truesize_ = 2304;
  uint32_t piece_ = 65535;
  bool ack_small_ = false;
  std::optional<uint32_t> isn_;
  std::unique_ptr<Host> host_;
  std::unique_ptr<tcp::Listener> listener_;
  bool opened_ = false;  // the Tcb is in use
  bool blocked_ = false;
  Micros now_ = 100 * tcp::kSecond;
  uint32_t iss_ = 0;
  uint32_t irs_ = 1000;
  uint32_t last_tsval_ = 0;
  uint32_t sent_bytes_ = 0;
  uint32_t read_bytes_ = 0;
  std::deque<WireSegment> sent_;
  tcp::InputResult seen_;
};

void Runner::open() {
  if (!host_) host_ = std::make_unique<Host>(config_, nodes_);
}

void Runner::set(const std::string& key, uint32_t value) {
  const Micros micros = Micros{value} * 1000;
  require(!host_, "set after opening");
  if (key == "receive_limit")
    config_.receive_limit_bytes = value;
  else if (key == "send_limit")
    config_.send_limit_bytes = value;
  else if (key == "mtu")
    config_.mtu_bytes = value;
  else if (key == "tso")
    config_.tso_bytes = value;
  else if (key == "keepalive_ms")
    config_.keepalive_idle_us = micros;
  else if (key == "keepalive_interval_ms")
    config_.keepalive_interval_us = micros;
  else if (key == "keepalive_probes")
    config_.keepalive_probes = static_cast<uint8_t>(value);
  else if (key == "user_timeout_ms")
    config_.user_timeout_us = micros;
  else if (key == "connect_timeout_ms")
    config_.connect_timeout_us = micros;
  else if (key == "time_wait_ms")
    config_.time_wait_us = micros;
  else if (key == "fin_wait2_ms")
    config_.fin_wait2_us = micros;
  else if (key == "ack_small")
    ack_small_ = value != 0;
  else if (key == "nodes")
    nodes_ = value;
  else if (key == "isn")
    isn_ = value;
  else if (key == "peer_isn")
    irs_ = value;
  else if (key == "start_ms")
    now_ = micros;
  else if (key == "truesize")
    truesize_ = value;
  else if (key == "piece")
    piece_ = value;
  else
    throw ScriptError("unknown setting: " + key);
}

void Runner::flush() {
  if (!opened_) return;
  host_->output(
      [this](const net::Segment& segment) {
        if (blocked_) return false;
        sent_.push_back(to_wire(segment));
        if (segment.options.has_timestamps) last_tsval_ = segment.options.tsval;
        return true;
      },
      now_);
  require(blocked_ || tcp::tcp_poll_at(host_->tcb) > now_, "tcp_poll_at asks again at once");
}

void Runner::pass(Micros duration) {
  require(sent_.empty(),
          "was sent before time passed: " +
              (sent_.empty()
                   ? ""
                   : describe(sent_.front().header,
                              static_cast<uint32_t>(sent_.front().payload.size()), iss_, irs_)));
  const Micros end = now_ + duration;
  while (opened_ && !blocked_ && tcp::tcp_poll_at(host_->tcb) <= end) {
    now_ = std::max(now_, tcp::tcp_poll_at(host_->tcb));
    flush();
  }
  now_ = end;
}

void Runner::inject(const Row& row) {
  open();
  WireSegment wire;
  wire.header.tuple = default_tuple();
  wire.header.flags = row.flags;
  wire.header.seq = irs_ + row.start;
  wire.header.ack = row.ack ? iss_ + *row.ack : 0;
  wire.header.window = static_cast<uint16_t>(row.window.value_or(65535));
  wire.header.options = row.options;
  for (uint32_t i = 0; i < row.options.sack_count; ++i) {
    wire.header.options.sack[i].start += iss_;
    wire.header.options.sack[i].end += iss_;
  }
  wire.header.options.tsval = row.timestamp.value_or(0);
  wire.header.options.tsecr = (row.flags & net::kAck) != 0 ? last_tsval_ : 0;
  for (uint32_t i = 0; i < row.length; ++i) wire.payload.push_back(pattern(row.start + i));
  if (opened_) {
    take(host_->receive(wire, now_, truesize_), wire);
  } else {
    require(listener_ != nullptr, "neither connect nor listen");
    net::Segment segment = wire.header;
    listen_input(segment, wire);
  }
  flush();
}

void Runner::listen_input(net::Segment& segment, const WireSegment& wire) {
  net::Segment reply;
  if ((segment.flags & net::kSyn) != 0) {
    if (!tcp::make_syn_ack(host_->stack, *listener_, segment, now_, reply)) return;
    iss_ = reply.seq;
    last_tsval_ = reply.options.tsval;
    sent_.push_back(to_wire(reply));
  } else if (tcp::tcp_accept_cookie(host_->stack, *listener_, host_->tcb, segment, now_)) {
    opened_ = true;
    take(host_->receive(wire, now_, truesize_), wire);
  } else {
    reply_reset(wire);
  }
}

void Runner::reply_reset(const WireSegment& wire) {
  net::Segment segment = wire.header;
  segment.payload.length = static_cast<uint32_t>(wire.payload.size());
  net::Segment reply;
  if (tcp::make_reset(segment, reply)) sent_.push_back(to_wire(reply));
}

void Runner::take(const tcp::InputResult& result, const WireSegment& wire) {
  seen_.readable |= result.readable;
  seen_.writable |= result.writable;
  seen_.connected |= result.connected;
  seen_.peer_finished |= result.peer_finished;
  seen_.time_wait |= result.time_wait;
  seen_.closed |= result.closed;
  seen_.answer_reset |= result.answer_reset;
  if (result.answer_reset) reply_reset(wire);
}

void Runner::expect(const Row& row) {
  flush();
  if (row.none) {
    require(sent_.empty(),
            "sent: " +
                (sent_.empty()
                     ? std::string()
                     : describe(sent_.front().header,
                                static_cast<uint32_t>(sent_.front().payload.size()), iss_, irs_)));
    return;
  }
  require(!sent_.empty(), "nothing was sent");
  const WireSegment wire = sent_.front();
  sent_.pop_front();
  try {
    compare(row, wire);
  } catch (const ScriptError& error) {
    throw ScriptError(
        std::string(error.what()) +
        "; sent: " + describe(wire.header, static_cast<uint32_t>(wire.payload.size()), iss_, irs_));
  }
}

void Runner::compare(const Row& row, const WireSegment& wire) {
  const net::Segment& segment = wire.header;
  const net::TcpOptions& options = segment.options;
  require(segment.flags == row.flags, "flags");
  require(segment.seq - iss_ == row.start, "sequence number");
  require(wire.payload.size() == row.length, "length");
  require((segment.flags & net::kAck) == 0 || !row.ack || segment.ack - irs_ == *row.ack, "ack");
  require(!row.window || segment.window == *row.window, "window");
  for (uint32_t i = 0; i < row.length; ++i) {
    require(wire.payload[i] == pattern(row.start + i), "payload at " + std::to_string(i));
  }
  if (!row.has_options) return;
  require(options.mss == row.options.mss, "mss");
  require(options.has_window_scale == row.options.has_window_scale, "window scale");
  require(options.window_scale == row.options.window_scale, "window scale");
  require(options.sack_permitted == row.options.sack_permitted, "SACK permitted");
  require(!row.options.has_timestamps || options.has_timestamps, "timestamps are missing");
  require(!row.no_timestamps || !options.has_timestamps, "timestamps");
  require(!row.timestamp || options.tsecr == *row.timestamp, "tsecr");
  require(options.sack_count == row.options.sack_count, "number of SACK blocks");
  for (uint32_t i = 0; i < options.sack_count; ++i) {
    require(options.sack[i].start - irs_ == row.options.sack[i].start &&
                options.sack[i].end - irs_ == row.options.sack[i].end,
            "SACK block " + std::to_string(i));
  }
}

void Runner::send(uint32_t length) {
  std::vector<uint8_t> bytes;
  for (uint32_t i = 0; i < length; ++i) bytes.push_back(pattern(1 + sent_bytes_ + i));
  for (uint32_t at = 0; at < length; at += piece_) {
    require(host_->send(bytes.data() + at, std::min(piece_, length - at)), "tcp_send: no node");
  }
  sent_bytes_ += length;
  flush();
}

void Runner::read(uint32_t length) {
  std::vector<uint8_t> bytes(length);
  require(host_->tcb.receive.peek(0, bytes.data(), length) == length, "too few bytes to read");
  for (uint32_t i = 0; i < length; ++i) {
    require(bytes[i] == pattern(1 + read_bytes_ + i), "wrong byte at " + std::to_string(i));
  }
  tcp::tcp_consume(host_->stack, host_->tcb, length);
  read_bytes_ += length;
  flush();
}

void Runner::expect_result(const std::vector<std::string>& words) {
  const std::map<std::string, bool> actual = {
      {"readable", seen_.readable},        {"writable", seen_.writable},
      {"connected", seen_.connected},      {"peer_finished", seen_.peer_finished},
      {"time_wait", seen_.time_wait},      {"closed", seen_.closed},
      {"answer_reset", seen_.answer_reset}};
  for (const auto& [name, value] : actual) {
    bool wanted = false;
    for (size_t i = 1; i < words.size(); ++i) wanted = wanted || words[i] == name;
    require(wanted == value, "result " + name + " is " + (value ? "set" : "not set"));
  }
  seen_ = tcp::InputResult{};
}

void Runner::call(const std::vector<std::string>& words) {
  const std::string& verb = words[0];
  const std::string argument = words.size() > 1 ? words[1] : "";
  if (verb == "set") {
    set(argument, parse_number(words.at(2)));
    return;
  }
  open();
  tcp::Stack& stack = host_->stack;
  tcp::Tcb& tcb = host_->tcb;
  if (verb == "connect") {
    tcp::tcp_connect(stack, tcb, default_tuple(), now_);
    if (isn_) tcb.iss = tcb.snd_una = tcb.snd_nxt = tcb.snd_max = *isn_;
    tcb.ack_small = ack_small_;
    iss_ = tcb.iss;
    opened_ = true;
    flush();
  } else if (verb == "listen") {
    listener_ = std::make_unique<tcp::Listener>(host_->config, stack.secrets);
  } else if (verb == "send") {
    send(parse_number(argument));
  } else if (verb == "read") {
    read(parse_number(argument));
  } else if (verb == "fin") {
    tcp::tcp_send_fin(stack, tcb);
    flush();
  } else if (verb == "abort") {
    tcp::tcp_abort(stack, tcb);
    flush();
  } else if (verb == "blocked") {
    blocked_ = argument == "on";
    flush();
  } else if (verb == "state") {
    require(argument == to_string(tcb.state), std::string("state is ") + to_string(tcb.state));
  } else if (verb == "cause") {
    require(argument == to_string(tcb.close_cause),
            std::string("cause is ") + to_string(tcb.close_cause));
  } else if (verb == "readable") {
    require(tcb.receive.readable_bytes() == parse_number(argument),
            "readable is " + std::to_string(tcb.receive.readable_bytes()));
  } else if (verb == "result") {
    expect_result(words);
  } else if (verb == "counter") {
    for (uint16_t i = 0; i < abi::kCounters; ++i) {
      if (argument != abi::kCounterInfo[i].name) continue;
      const uint64_t value = host_->counters.get(static_cast<abi::Counter>(i));
      require(value == parse_number(words.at(2)), argument + " is " + std::to_string(value));
      return;
    }
    throw ScriptError("unknown counter: " + argument);
  } else {
    throw ScriptError("unknown statement: " + verb);
  }
}

void Runner::run_line(const std::string& line) {
  if (line[0] == '<') {
    inject(parse_row(line));
  } else if (line[0] == '>') {
    expect(parse_row(line));
  } else if (line[0] == '+') {
    pass(static_cast<Micros>(std::stod(line.substr(1)) * 1000 + 0.5));
  } else {
    call(words_of(line));
  }
}

void Runner::finish() {
  pass(0);  // nothing unexpected was sent
  tcp::tcp_release(host_->stack, host_->tcb);
  require(host_->all_returned(), "nodes or buffers were not given back");
}

}  // namespace

std::vector<ScriptTest> load_scripts(const std::string& file) {
  std::vector<ScriptTest> tests;
  std::ifstream stream(file);
  int line_number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++line_number;
    line.resize(std::min(line.find('#'), line.size()));
    const size_t first = line.find_first_not_of(" \t");
    line = first == std::string::npos ? "" : line.substr(first);
    if (line.rfind("== ", 0) == 0) {
      tests.push_back({line.substr(3), line_number, {}});
    } else if (!tests.empty()) {
      tests.back().lines.push_back(line);
    }
  }
  return tests;
}

std::string run_script(const ScriptTest& test) {
  Runner runner;
  int line_number = test.first_line;
  try {
    for (const std::string& line : test.lines) {
      ++line_number;
      if (!line.empty()) runner.run_line(line);
    }
    runner.finish();
  } catch (const std::exception& error) {
    return "line " + std::to_string(line_number) + ": " + error.what();
  }
  return "";
}

}  // namespace sluice::testbed
