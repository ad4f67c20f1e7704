// What a line can say beside segments and time: settings, the owner's calls, the world around the
// connection, and expectations of its state.
#include <map>

#include "abi/counters.h"
#include "runner.h"

namespace sluice::testbed {

using tcp::Micros;

namespace {

net::FlowTuple tuple_ipv6() {
  net::FlowTuple tuple = default_tuple();
  tuple.local.address.bytes = {0xfd, 0, 0, 0x99, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10};
  tuple.remote.address.bytes = {0xfd, 0, 0, 0x99, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02};
  return tuple;
}

}  // namespace

void Runner::set(const std::string& key, uint32_t value) {
  require(!host_, "set after opening");
  static const std::map<std::string, Micros tcp::TcpConfig::*> kTimes = {
      {"keepalive_ms", &tcp::TcpConfig::keepalive_idle_us},
      {"keepalive_interval_ms", &tcp::TcpConfig::keepalive_interval_us},
      {"user_timeout_ms", &tcp::TcpConfig::user_timeout_us},
      {"connect_timeout_ms", &tcp::TcpConfig::connect_timeout_us},
      {"time_wait_ms", &tcp::TcpConfig::time_wait_us},
      {"fin_wait2_ms", &tcp::TcpConfig::fin_wait2_us}};
  static const std::map<std::string, uint32_t tcp::TcpConfig::*> kNumbers = {
      {"send_limit", &tcp::TcpConfig::send_limit_bytes},
      {"receive_initial", &tcp::TcpConfig::receive_initial_bytes},  // behind receive_limit
      {"mtu", &tcp::TcpConfig::mtu_bytes},
      {"mss_clamp", &tcp::TcpConfig::mss_clamp},
      {"tso", &tcp::TcpConfig::tso_bytes}};
  const Micros micros = Micros{value} * 1000;
  if (const auto time = kTimes.find(key); time != kTimes.end())
    config_.*time->second = micros;
  else if (const auto number = kNumbers.find(key); number != kNumbers.end())
    config_.*number->second = value;
  else if (key == "receive_limit")
    config_.receive_limit_bytes = config_.receive_initial_bytes = value;
  else if (key == "keepalive_probes")
    config_.keepalive_probes = static_cast<uint8_t>(value);
  else if (key == "ecn")
    config_.ecn = value != 0;
  else if (key == "ipv6")
    tuple_ = value != 0 ? tuple_ipv6() : default_tuple();
  else if (key == "peer_port")
    tuple_.remote.port = static_cast<uint16_t>(value);
  else if (key == "ack_small")
    ack_small_ = value != 0;
  else if (key == "pacing")
    config_.pacing = value != 0;
  else if (key == "cubic")
    config_.congestion = value != 0 ? &tcp::kCubic : &tcp::kNewReno;
  else if (key == "nodes")
    sizes_.nodes = value;
  else if (key == "records")
    sizes_.records = value;
  else if (key == "in_flight")
    sizes_.in_flight = value;
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

void Runner::connect(const tcp::TimeWaitReuse* previous) {
  tcp::Tcb& tcb = host_->tcb;
  tcp::tcp_connect(host_->stack, tcb, tuple_, now_, previous);
  if (isn_) tcb.iss = tcb.snd_una = tcb.snd_nxt = tcb.snd_max = *isn_;
  tcb.ack_small = ack_small_;
  iss_ = tcb.iss;
  sent_bytes_ = read_bytes_ = 0;
  opened_ = true;
  flush();
}

// RFC 6191: an active open over the entry that `park` made.
void Runner::reconnect(bool allowed) {
  require(time_wait_ != nullptr && !opened_, "nothing is parked");
  tcp::TimeWaitReuse previous;
  const bool free = time_wait_->reuse(host_->stack, tuple_, now_, previous);
  require(free == allowed, free ? "reuse was allowed" : "reuse was refused");
  if (free) connect(&previous);
}

void Runner::park() {
  require(host_->tcb.state == tcp::State::TimeWait, "not in TIME-WAIT");
  if (!time_wait_) {
    time_wait_ = std::make_unique<tcp::TimeWaitTable>(host_->config, host_->stack.secrets, 4);
  }
  time_wait_->insert(host_->stack, host_->tcb, now_);
  tcp::tcp_release(host_->stack, host_->tcb);
  opened_ = false;
}

void Runner::icmp(const Words& words) {
  net::IcmpError error;
  error.tuple = tuple_;
  error.seq = iss_ + parse_number(words.at(2));
  const uint32_t number = words.size() > 3 ? parse_number(words[3]) : 0;
  if (words.at(1) == "toobig") {
    error.kind = net::IcmpErrorKind::TooBig;
    error.mtu_bytes = number;
  } else {
    error.code = static_cast<uint8_t>(number);
    if (words[1] == "unreachable") {
      error.kind = net::IcmpErrorKind::Unreachable;
    } else if (words[1] == "expired") {
      error.kind = net::IcmpErrorKind::TimeExceeded;
    } else if (words[1] == "parameter") {
      error.kind = net::IcmpErrorKind::Parameter;
    } else {
      throw ScriptError("unknown ICMP error: " + words[1]);
    }
  }
  tcp::tcp_icmp_error(host_->stack, host_->tcb, error, now_);
  tcp::check_invariants(host_->stack, host_->tcb);
  flush();
}

// Other connections have so many objects of a pool.
void Runner::hold(const std::string& pool, uint32_t count) {
  const auto settle = [&](auto& from, std::vector<uint32_t>& held) {
    for (; held.size() > count; held.pop_back()) from.give(held.back());
    while (held.size() < count) {
      held.push_back(from.take());
      require(held.back() != tcp::kNoRecord, "nothing left to hold");
    }
  };
  if (pool == "in_flight") {
    settle(host_->pools.in_flight, held_flights_);
  } else if (pool == "records") {
    settle(host_->pools.records, held_records_);
  } else {
    throw ScriptError("unknown pool: " + pool);
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

void Runner::expect_counter(const std::string& name, uint64_t expected) {
  for (uint16_t i = 0; i < abi::kCounters; ++i) {
    if (name != abi::kCounterInfo[i].name) continue;
    const uint64_t value = host_->counters.get(static_cast<abi::Counter>(i));
    require(value == expected, name + " is " + std::to_string(value));
    return;
  }
  throw ScriptError("unknown counter: " + name);
}

// False: not one of these.
bool Runner::call_owner(const Words& words) {
  const std::string& verb = words[0];
  const std::string argument = words.size() > 1 ? words[1] : "";
  tcp::Stack& stack = host_->stack;
  if (verb == "connect") {
    connect(nullptr);
  } else if (verb == "reconnect") {
    reconnect(argument == "yes");
  } else if (verb == "park") {
    park();
  } else if (verb == "listen") {
    listener_ = std::make_unique<tcp::Listener>(host_->config, stack.secrets);
  } else if (verb == "send") {
    send(parse_number(argument));
  } else if (verb == "read") {
    read(parse_number(argument));
  } else if (verb == "fin") {
    tcp::tcp_send_fin(stack, host_->tcb);
    flush();
  } else if (verb == "abort") {
    tcp::tcp_abort(stack, host_->tcb);
    flush();
  } else if (verb == "hold") {
    hold(argument, parse_number(words.at(2)));
  } else if (verb == "icmp") {
    icmp(words);
  } else if (verb == "blocked") {
    blocked_ = argument == "on";
    flush();
  } else if (verb == "pressure") {
    stack.pressure = argument == "hard"   ? tcp::Pressure::Hard
                     : argument == "soft" ? tcp::Pressure::Soft
                                          : tcp::Pressure::None;
  } else {
    return false;
  }
  return true;
}

bool Runner::call_expectation(const Words& words) {
  const std::string& verb = words[0];
  const std::string argument = words.size() > 1 ? words[1] : "";
  const tcp::Tcb& tcb = host_->tcb;
  const auto number = [&](uint32_t value) {
    require(value == parse_number(argument), verb + " is " + std::to_string(value));
  };
  if (verb == "state") {
    require(argument == to_string(tcb.state), std::string("state is ") + to_string(tcb.state));
  } else if (verb == "cause") {
    require(argument == to_string(tcb.close_cause),
            std::string("cause is ") + to_string(tcb.close_cause));
  } else if (verb == "readable") {
    number(tcb.receive.readable_bytes());
  } else if (verb == "mss") {
    number(tcb.mss);
  } else if (verb == "limit") {
    number(tcb.receive_space.limit_bytes);
  } else if (verb == "cwnd") {
    number(tcb.congestion.cwnd_bytes);
  } else if (verb == "ssthresh") {
    number(tcb.congestion.ssthresh_bytes);
  } else if (verb == "ecn") {
    require((argument == "on") == tcb.ecn, "ecn");
  } else if (verb == "result") {
    expect_result(words);
  } else if (verb == "counter") {
    expect_counter(argument, parse_number(words.at(2)));
  } else {
    return false;
  }
  return true;
}

void Runner::call(const Words& words) {
  if (words[0] == "set") {
    set(words.at(1), parse_number(words.at(2)));
    return;
  }
  open();
  if (!call_owner(words) && !call_expectation(words)) {
    throw ScriptError("unknown statement: " + words[0]);
  }
}

}  // namespace sluice::testbed
