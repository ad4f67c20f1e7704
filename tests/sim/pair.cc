// Side 0 opens actively, side 1 listens by cookie (or both open). The loop takes whatever comes
// first: a packet's arrival, a timer, an application that wakes up. Bytes are a function of their
// position and direction, so each read is checked on the spot; invariants are checked by Host after
// every step. When nothing is left to come and the connection is not over, that is a hang.
#include "pair.h"

#include <algorithm>
#include <vector>

namespace sluice::testbed {
namespace {

using tcp::CloseCause;
using tcp::Micros;
using tcp::State;

uint8_t stream_byte(uint32_t side, uint64_t position) {
  return static_cast<uint8_t>((position * 2654435761ULL >> 13) + position + side * 101);
}

class Pair {
 public:
  explicit Pair(const PairSettings& settings);
  Outcome run();

 private:
  struct Side {
    std::unique_ptr<Host> host;
    std::unique_ptr<Link> link;
    bool opened = false;
    bool fin_sent = false;
    Micros read_at = 0;
    Micros write_at = 0;
    SideOutcome outcome;
  };

  void open(uint32_t number);
  void arrive(uint32_t number, WireSegment wire);
  void listen(Side& side, const WireSegment& wire, Link& back);
  void apply(Side& side, const WireSegment& wire, const tcp::InputResult& result);
  void reset(Side& side, const WireSegment& wire);
  void serve(uint32_t number);
  void read(uint32_t number);
  void write(uint32_t number);
  void flush(Side& side);
  Micros next_at(uint32_t number) const;
  bool over(uint32_t number) const;
  bool has_bytes_to_send(uint32_t number) const;
  void judge(Outcome& outcome);
  void fail(const std::string& what) {
    if (problem_.empty()) problem_ = what;
  }

  const PairSettings& settings_;
  Random random_;
  Side sides_[2];
  std::unique_ptr<tcp::Listener> listener_;
  Micros now_;
  std::string problem_;
};

Pair::Pair(const PairSettings& settings)
    : settings_(settings), random_(settings.seed), now_(100 * tcp::kSecond) {
  for (uint32_t i = 0; i < 2; ++i) {
    sides_[i].host = std::make_unique<Host>(settings.config[i], settings.nodes[i],
                                            static_cast<uint8_t>(settings.seed * 2 + i));
    if (!settings.small_buffers[i]) sides_[i].host->stack.small_buffers = {};
    sides_[i].link = std::make_unique<Link>(settings.link[i], random_);
    sides_[i].read_at = sides_[i].write_at = now_;
  }
  listener_ =
      std::make_unique<tcp::Listener>(sides_[1].host->config, sides_[1].host->stack.secrets);
}

void Pair::open(uint32_t number) {
  Side& side = sides_[number];
  const net::FlowTuple tuple = number == 0 ? default_tuple() : reversed(default_tuple());
  tcp::tcp_connect(side.host->stack, side.host->tcb, tuple, now_);
  side.opened = true;
  flush(side);
}

void Pair::flush(Side& side) {
  side.host->output(
      [&](const net::Segment& segment) {
        if (random_.chance(0.01)) return false;  // the port is full
        side.link->send(segment, now_);
        return true;
      },
      now_);
}

void Pair::reset(Side& side, const WireSegment& wire) {
  net::Segment in = wire.header;
  in.payload.length = static_cast<uint32_t>(wire.payload.size());
  net::Segment out;
  if (tcp::make_reset(in, out)) side.link->send(out, now_);
}

void Pair::listen(Side& side, const WireSegment& wire, Link& back) {
  Host& host = *side.host;
  net::Segment in = wire.header;
  in.payload.length = static_cast<uint32_t>(wire.payload.size());
  net::Segment reply;
  if ((in.flags & net::kSyn) != 0) {
    if (tcp::make_syn_ack(host.stack, *listener_, in, now_, reply)) back.send(reply, now_);
  } else if (tcp::tcp_accept_cookie(host.stack, *listener_, host.tcb, in, now_)) {
    side.opened = true;
    apply(side, wire, host.receive(wire, now_, settings_.truesize_bytes));
    flush(side);
  } else if (!listener_->is_probably_early(in, now_)) {
    reset(side, wire);
  }
}

void Pair::apply(Side& side, const WireSegment& wire, const tcp::InputResult& result) {
  side.outcome.connected |= result.connected;
  side.outcome.peer_finished |= result.peer_finished;
  if (result.answer_reset) reset(side, wire);
  if (result.closed && result.cause == CloseCause::None) fail("closed without a cause");
}

void Pair::arrive(uint32_t number, WireSegment wire) {
  Side& side = sides_[number];
  wire.header.tuple = reversed(wire.header.tuple);
  if ((wire.header.flags & net::kSyn) != 0) {
    net::TcpOptions& options = wire.header.options;
    options.has_timestamps = options.has_timestamps && settings_.timestamps;
    options.sack_permitted = options.sack_permitted && settings_.sack;
    if (!settings_.window_scale) {
      options.has_window_scale = false;
      options.window_scale = 0;
    }
  }
  if (!side.opened) {
    if (number == 1 && !settings_.simultaneous_open) listen(side, wire, *side.link);
    return;
  }
  if (side.host->tcb.state == State::Closed) {
    reset(side, wire);
    return;
  }
  apply(side, wire, side.host->receive(wire, now_, settings_.truesize_bytes));
}

void Pair::read(uint32_t number) {
  Side& side = sides_[number];
  const AppSettings& app = settings_.app[number];
  Host& host = *side.host;
  const Micros elapsed = now_ - 100 * tcp::kSecond;
  if (app.stall_for_us != 0 && elapsed >= app.stall_at_us &&
      elapsed < app.stall_at_us + app.stall_for_us) {
    side.read_at = 100 * tcp::kSecond + app.stall_at_us + app.stall_for_us;
    return;
  }
  if (now_ < side.read_at) return;
  uint8_t buffer[4096];
  uint32_t left = app.read_bytes;
  while (left != 0 && !host.tcb.receive.empty()) {
    const uint32_t length =
        host.tcb.receive.peek(0, buffer, std::min<uint32_t>(left, sizeof buffer));
    for (uint32_t i = 0; i < length; ++i) {
      if (buffer[i] != stream_byte(1 - number, side.outcome.received_bytes + i)) {
        fail("side " + std::to_string(number) + " got a wrong byte at " +
             std::to_string(side.outcome.received_bytes + i));
        return;
      }
    }
    tcp::tcp_consume(host.stack, host.tcb, length);
    tcp::check_invariants(host.stack, host.tcb);
    side.outcome.received_bytes += length;
    left -= length;
  }
  if (app.read_pause_us != 0) side.read_at = now_ + app.read_pause_us;
  if (app.abort_after_bytes != 0 && side.outcome.received_bytes >= app.abort_after_bytes) {
    tcp::tcp_abort(host.stack, host.tcb);
  }
}

bool Pair::has_bytes_to_send(uint32_t number) const {
  return sides_[number].outcome.sent_bytes < settings_.app[number].total_bytes;
}

void Pair::write(uint32_t number) {
  Side& side = sides_[number];
  const AppSettings& app = settings_.app[number];
  Host& host = *side.host;
  if (side.fin_sent || now_ < side.write_at) return;
  uint8_t buffer[16384];
  while (has_bytes_to_send(number)) {
    const uint32_t space = tcp::tcp_send_space_bytes(host.stack, host.tcb);
    if (space < 128) return;
    const uint64_t length =
        std::min<uint64_t>({app.total_bytes - side.outcome.sent_bytes,
                            random_.between(1, app.chunk_bytes), space - 64, sizeof buffer});
    for (uint64_t i = 0; i < length; ++i) {
      buffer[i] = stream_byte(number, side.outcome.sent_bytes + i);
    }
    if (!host.send(buffer, static_cast<uint32_t>(length))) {
      side.write_at = now_ + 10'000;
      return;
    }
    side.outcome.sent_bytes += length;
    if (app.write_pause_us != 0) {
      side.write_at = now_ + app.write_pause_us;
      return;
    }
  }
  tcp::tcp_send_fin(host.stack, host.tcb);
  side.fin_sent = true;
}

void Pair::serve(uint32_t number) {
  Side& side = sides_[number];
  if (!side.opened) return;
  read(number);
  if (side.host->tcb.state != State::Closed && side.outcome.connected) write(number);
  tcp::check_invariants(side.host->stack, side.host->tcb);
  flush(side);
}

bool Pair::over(uint32_t number) const {
  const Side& side = sides_[number];
  if (!side.opened) return false;
  const tcp::Tcb& tcb = side.host->tcb;
  return (tcb.state == State::Closed || tcb.state == State::TimeWait) && tcb.receive.empty() &&
         !tcb.rst_pending && !tcb.output_wanted;
}

Micros Pair::next_at(uint32_t number) const {
  const Side& side = sides_[number];
  Micros at = sides_[1 - number].link->next_at();
  if (!side.opened) return at;
  const tcp::Tcb& tcb = side.host->tcb;
  // A port that was full is offered its segment again a little later.
  at = std::min(at, std::max(tcp::tcp_poll_at(tcb), now_ + 10));
  if (!tcb.receive.empty()) at = std::min(at, std::max(side.read_at, now_ + 1));
  if (tcb.state != State::Closed && side.outcome.connected && !side.fin_sent &&
      side.write_at > now_) {
    at = std::min(at, side.write_at);
  }
  return at;
}

void Pair::judge(Outcome& outcome) {
  for (uint32_t i = 0; i < 2; ++i) {
    Side& side = sides_[i];
    side.outcome.state = side.host->tcb.state;
    side.outcome.cause = side.host->tcb.close_cause;
    side.outcome.retransmits = side.host->counters.get(abi::Counter::tcp_retransmits);
    outcome.side[i] = side.outcome;
    tcp::tcp_release(side.host->stack, side.host->tcb);
    if (!side.host->all_returned()) fail("side " + std::to_string(i) + " kept nodes or buffers");
  }
  outcome.complete = true;
  for (uint32_t i = 0; i < 2; ++i) {
    const SideOutcome& side = outcome.side[i];
    const bool whole =
        side.received_bytes == settings_.app[1 - i].total_bytes && side.peer_finished;
    const bool finished = side.state == State::TimeWait || side.cause == CloseCause::Finished;
    if (finished && !whole && settings_.link[1 - i].mangle == 0) {
      fail("side " + std::to_string(i) + " finished without all bytes");
    }
    outcome.complete = outcome.complete && whole && finished;
  }
  outcome.duration_us = now_ - 100 * tcp::kSecond;
  outcome.problem = problem_;
}

Outcome Pair::run() {
  Outcome outcome;
  open(0);
  if (settings_.simultaneous_open) open(1);
  uint64_t steps = 0;
  while (problem_.empty()) {
    // A side that never heard of a connection that has ended elsewhere will not.
    const bool silent = !sides_[1].opened && over(0) && sides_[0].link->next_at() == tcp::kNever;
    if ((over(0) && over(1)) || silent) break;
    const Micros at = std::min(next_at(0), next_at(1));
    if (at == tcp::kNever) {
      fail("hang: nothing is left to come");
    } else if (at > 100 * tcp::kSecond + settings_.limit_us || ++steps > 2'000'000) {
      fail("hang: no end in sight");
    }
    if (!problem_.empty()) break;
    now_ = std::max(now_, at);
    for (uint32_t i = 0; i < 2; ++i) {
      Link& inbound = *sides_[1 - i].link;
      while (inbound.next_at() <= now_) arrive(i, inbound.take());
      serve(i);
    }
  }
  judge(outcome);
  return outcome;
}

}  // namespace

Outcome run_pair(const PairSettings& settings) { return Pair(settings).run(); }

}  // namespace sluice::testbed
