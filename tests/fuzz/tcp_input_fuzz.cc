// A connection fed with segments that the fuzzer composes around the connection's own numbers,
// mixed with what its owner does and with time. Invariants are checked after every step, and at the
// end every node and buffer must have come back.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "../sim/testbed.h"
#include "abi/assert.h"

namespace sluice::testbed {
namespace {

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  bool empty() const { return left_ == 0; }
  uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  uint32_t half() { return static_cast<uint32_t>(byte()) << 8 | byte(); }
  uint32_t word() { return half() << 16 | half(); }

 private:
  const uint8_t* data_;
  size_t left_;
};

// A number near `base`, or anything.
uint32_t near(Input& input, uint32_t base) {
  const uint8_t how = input.byte();
  if (how < 96) return base;
  if (how < 160) return base + how - 128;
  if (how < 240) return base + input.half() - 32768;
  return input.word();
}

WireSegment compose(Input& input, const tcp::Tcb& tcb) {
  WireSegment wire;
  net::Segment& header = wire.header;
  header.tuple = tcb.tuple;
  const uint8_t kind = input.byte();
  header.flags = kind < 128 ? static_cast<uint8_t>(net::kAck) : input.byte();
  header.seq = near(input, tcb.state == tcp::State::SynSent ? 1000 : tcb.rcv_nxt);
  header.ack = near(input, (kind & 1) != 0 ? tcb.snd_max : tcb.snd_una);
  header.window = static_cast<uint16_t>(input.half());
  net::TcpOptions& options = header.options;
  options.has_timestamps = tcb.timestamps != ((kind & 0x1f) == 7);
  options.tsval = near(input, tcb.ts_recent);
  options.tsecr = near(input, tcb.ts_offset + 100'000);
  if ((kind & 2) != 0) {
    options.sack_count = input.byte() % 5;
    for (uint32_t i = 0; i < options.sack_count; ++i) {
      options.sack[i] = {near(input, tcb.snd_una), near(input, tcb.snd_max)};
    }
  }
  if ((header.flags & net::kSyn) != 0) {
    options.mss = static_cast<uint16_t>(input.half());
    options.has_window_scale = (kind & 4) != 0;
    options.window_scale = input.byte();
    options.sack_permitted = (kind & 8) != 0;
  }
  if ((kind & 0x30) != 0) wire.payload.assign(input.half() % 5000, 'x');
  return wire;
}

void drain(Host& host, Input& input, tcp::Micros now) {
  uint32_t sent = 0;
  const uint8_t accepts = input.byte();  // segments that the port takes
  host.output(
      [&](const net::Segment& segment) {
        SLUICE_ASSERT(segment.tuple == host.tcb.tuple);
        SLUICE_ASSERT(segment.payload.length <= 65'000);
        return sent++ < accepts;
      },
      now);
  SLUICE_ASSERT(sent <= 256);
}

void open(Host& host, Input& input, tcp::Micros now) {
  net::FlowTuple tuple = default_tuple();
  tcp::tcp_connect(host.stack, host.tcb, tuple, now);
  if ((input.byte() & 1) == 0) return;  // the fuzzer does the handshake
  const auto accept_all = [](const net::Segment&) { return true; };
  host.output(accept_all, now);
  WireSegment reply;
  reply.header.tuple = tuple;
  reply.header.flags = net::kSyn | net::kAck;
  reply.header.seq = input.word();
  reply.header.ack = host.tcb.iss + 1;
  reply.header.window = 60'000;
  const uint8_t bits = input.byte();
  reply.header.options.mss = 1460;
  reply.header.options.has_timestamps = (bits & 1) != 0;
  reply.header.options.sack_permitted = (bits & 2) != 0;
  reply.header.options.has_window_scale = (bits & 4) != 0;
  reply.header.options.window_scale = bits >> 4;
  host.receive(reply, now);
  host.output(accept_all, now);
}

void step(Host& host, Input& input, tcp::Micros& now) {
  static const uint8_t kBytes[20'000] = {};
  const uint8_t what = input.byte();
  if (what < 160) {
    const uint32_t truesize = what < 80 ? 2304 : 1U + what;
    host.receive(compose(input, host.tcb), now, truesize);
  } else if (what < 180) {
    if (!host.tcb.fin_queued) host.send(kBytes, 1 + input.half() % sizeof kBytes);
  } else if (what < 200) {
    tcp::tcp_consume(host.stack, host.tcb,
                     std::min(input.half(), host.tcb.receive.readable_bytes()));
  } else if (what < 230) {
    now += tcp::Micros{1} << (input.byte() % 27);
  } else if (what < 240) {
    tcp::tcp_send_fin(host.stack, host.tcb);
  } else if (what == 240) {
    tcp::tcp_abort(host.stack, host.tcb);
  }
  tcp::check_invariants(host.stack, host.tcb);
  if ((what & 1) != 0) drain(host, input, now);
}

}  // namespace
}  // namespace sluice::testbed

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  testbed::Input input(data, size);
  tcp::TcpConfig config;
  config.receive_limit_bytes = 3000U << (input.byte() % 8);
  config.tso_bytes = (input.byte() & 1) != 0 ? 64'000 : 0;
  config.keepalive_idle_us = 10 * tcp::kSecond;
  testbed::Host host(config, 1U << (input.byte() % 10));
  tcp::Micros now = 100 * tcp::kSecond;
  testbed::open(host, input, now);
  while (!input.empty()) testbed::step(host, input, now);
  tcp::tcp_release(host.stack, host.tcb);
  SLUICE_ASSERT(host.all_returned());
  return 0;
}
