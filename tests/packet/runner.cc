// Segments to and from the connection of a script, and the time between them.
#include "runner.h"

namespace sluice::testbed {

using tcp::Micros;

Runner::Runner() {
  // Without auto-tuning, which `set receive_initial` asks for: most scripts are about other things.
  config_.receive_initial_bytes = config_.receive_limit_bytes = 256 * 1024;
  // What most scripts are about is not congestion control: the plainest one, and no ECN.
  config_.ecn = false;
  config_.congestion = &tcp::kNewReno;
}

void Runner::open() {
  if (!host_) host_ = std::make_unique<Host>(config_, sizes_, 1);
}

std::string Runner::next_sent() const {
  if (sent_.empty()) return "";
  const WireSegment& wire = sent_.front();
  return describe(wire.header, static_cast<uint32_t>(wire.payload.size()), iss_, irs_);
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
  require(sent_.empty(), "was sent before time passed: " + next_sent());
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
  wire.header.tuple = tuple_;
  wire.header.flags = row.flags;
  wire.header.seq = irs_ + row.start;
  wire.header.ack = row.ack ? iss_ + *row.ack : 0;
  wire.header.ecn = static_cast<uint8_t>(row.ip_ecn.value_or(0));
  wire.header.window = static_cast<uint16_t>(row.window.value_or(65535));
  wire.header.options = row.options;
  for (uint32_t i = 0; i < row.options.sack_count; ++i) {
    wire.header.options.sack[i].start += iss_;
    wire.header.options.sack[i].end += iss_;
  }
  wire.header.options.tsval = row.timestamp.value_or(0);
  wire.header.options.tsecr = (row.flags & net::kAck) != 0 ? last_tsval_ : 0;
  if (row.echo_age_ms) {
    const Micros sent = now_ - Micros{*row.echo_age_ms} * 1000;
    wire.header.options.tsecr = tcp::timestamp_clock(sent) + host_->tcb.ts_offset;
  }
  for (uint32_t i = 0; i < row.length; ++i) wire.payload.push_back(pattern(row.start + i));
  if (opened_) {
    take(host_->receive(wire, now_, truesize_), wire);
  } else {
    net::Segment segment = wire.header;
    segment.payload.length = row.length;
    input_closed(segment, wire);
  }
  flush();
}

// RFC 9293 3.10.7.1 and 3.10.7.2, as the flow engine does it.
void Runner::input_closed(net::Segment& segment, const WireSegment& wire) {
  if (time_wait_) {
    tcp::TimeWaitAnswer answer;
    net::Segment reply;
    if (time_wait_->input(host_->stack, segment, now_, answer, reply) &&
        answer != tcp::TimeWaitAnswer::Ended) {
      if (answer == tcp::TimeWaitAnswer::Reply) sent_.push_back(to_wire(reply));
      return;
    }
  }
  require(listener_ != nullptr, "neither connect nor listen");
  listen_input(segment, wire);
}

void Runner::listen_input(net::Segment& segment, const WireSegment& wire) {
  net::Segment reply;
  if ((segment.flags & net::kSyn) != 0) {
    if (!tcp::make_syn_ack(host_->stack, *listener_, segment, now_, reply)) return;
    iss_ = reply.seq;
    sent_bytes_ = read_bytes_ = 0;
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

void Runner::expect(Row row) {
  flush();
  if (row.none) {
    require(sent_.empty(), "sent: " + next_sent());
    return;
  }
  for (; row.count != 0; --row.count, row.start += row.length) expect_one(row);
}

void Runner::expect_one(const Row& row) {
  require(!sent_.empty(), "nothing was sent, expected " + std::to_string(row.start));
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
  require(!row.ip_ecn || segment.ecn == *row.ip_ecn, "IP ECN is " + std::to_string(segment.ecn));
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
  hold("in_flight", 0);
  hold("records", 0);
  tcp::tcp_release(host_->stack, host_->tcb);
  require(host_->all_returned(), "nodes or buffers were not given back");
}

}  // namespace sluice::testbed
