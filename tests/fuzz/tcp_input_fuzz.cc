// A connection fed with segments and ICMP errors that the fuzzer composes around the connection's
// own numbers, mixed with what its owner does, with time, and with other connections that take
// pools away. SACK blocks, D-SACKs, echoes of timestamps and congestion marks mostly fit what is in
// flight, so that recoveries come about. Invariants are checked after every step, and at the end
// every node and buffer must have come back.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "../sim/testbed.h"
#include "abi/assert.h"
#include "tcp/path.h"

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

// A number in what is in flight, mostly where a packet begins.
uint32_t in_flight(Input& input, const tcp::Tcb& tcb) {
  const uint8_t how = input.byte();
  if (how < 200) return tcb.snd_una + how % 50 * tcp::effective_mss(tcb);
  if (how < 220) return tcb.snd_max;
  return near(input, tcb.snd_una);
}

void compose_sack(Input& input, const tcp::Tcb& tcb, net::Segment& header) {
  net::TcpOptions& options = header.options;
  const uint8_t how = input.byte();
  options.sack_count = how % 5;
  for (uint32_t i = 0; i < options.sack_count; ++i) {
    net::SackBlock& block = options.sack[i];
    block.start = in_flight(input, tcb);
    block.end = (how & 0x40) != 0 ? in_flight(input, tcb)
                                  : block.start + input.byte() % 8 * tcp::effective_mss(tcb);
  }
  if (options.sack_count != 0 && (how & 0x80) != 0) {  // a D-SACK
    options.sack[0].end = header.ack - input.byte() % 4 * tcp::effective_mss(tcb);
    options.sack[0].start = options.sack[0].end - tcp::effective_mss(tcb);
  }
}

WireSegment compose(Input& input, const tcp::Tcb& tcb, tcp::Micros now) {
  WireSegment wire;
  net::Segment& header = wire.header;
  header.tuple = tcb.tuple;
  const uint8_t kind = input.byte();
  header.flags = kind < 128 ? static_cast<uint8_t>(net::kAck) : input.byte();
  header.seq = near(input, tcb.state == tcp::State::SynSent ? 1000 : tcb.rcv_nxt);
  header.ack = (kind & 0x40) != 0 ? in_flight(input, tcb)
                                  : near(input, (kind & 1) != 0 ? tcb.snd_max : tcb.snd_una);
  const uint8_t marks = input.byte();
  header.ecn = marks & 3;
  if (marks < 64) header.flags |= (marks & 4) != 0 ? net::kEce : net::kCwr;
  header.window = (kind & 8) != 0 ? uint16_t{60'000} : static_cast<uint16_t>(input.half());
  net::TcpOptions& options = header.options;
  options.has_timestamps = tcb.timestamps != ((kind & 0x1f) == 7);
  options.tsval = near(input, tcb.ts_recent);
  const uint32_t clock = tcp::timestamp_clock(now) + tcb.ts_offset;
  options.tsecr = (marks & 8) != 0 ? clock - input.half() % 1024 : near(input, clock);
  if ((kind & 2) != 0) compose_sack(input, tcb, header);
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
  const auto take = [&](const net::Segment& segment) {
    SLUICE_ASSERT(segment.tuple == host.tcb.tuple);
    SLUICE_ASSERT(segment.payload.length <= 65'000);
    return sent++ < accepts;
  };
  host.output(take, now);
  // A timer that input has set may have come since then; it runs with the next call.
  if (sent <= accepts && tcp::tcp_poll_at(host.tcb) <= now) host.output(take, now);
  SLUICE_ASSERT(sent <= 256);
  SLUICE_ASSERT(sent > accepts || tcp::tcp_poll_at(host.tcb) > now);
}

void icmp_error(Host& host, Input& input, tcp::Micros now) {
  net::IcmpError error;
  error.tuple = host.tcb.tuple;
  const uint8_t what = input.byte();
  error.kind = static_cast<net::IcmpErrorKind>(what % 4);
  error.code = what >> 4;
  error.seq = in_flight(input, host.tcb);
  error.mtu_bytes = static_cast<uint16_t>(input.half() % 2048);
  tcp::tcp_icmp_error(host.stack, host.tcb, error, now);
}

// Other connections take the in-flight block and records, or give them back.
struct Others {
  std::vector<uint32_t> flights;
  std::vector<uint32_t> records;

  template <class T>
  static void settle(tcp::Pool<T>& pool, std::vector<uint32_t>& held, uint32_t count) {
    for (; held.size() > count; held.pop_back()) pool.give(held.back());
    while (held.size() < count && pool.free_count() != 0) held.push_back(pool.take());
  }
  void take(tcp::Pools& pools, uint8_t what) {
    settle(pools.in_flight, flights, what & 1);
    const uint32_t all = pools.records.capacity();
    settle(pools.records, records, (what & 2) != 0 ? all - std::min(all, what / 16U) : 0);
  }
};

void open(Host& host, Input& input, tcp::Micros& now) {
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
  if ((bits & 8) != 0) reply.header.flags |= net::kEce;
  now += tcp::Micros{1} << (input.byte() % 20);
  host.receive(reply, now);
  host.output(accept_all, now);
}

void step(Host& host, Others& others, Input& input, tcp::Micros& now) {
  static const uint8_t kBytes[20'000] = {};
  const uint8_t what = input.byte();
  if (what < 160) {
    const uint32_t truesize = what < 80 ? 2304 : 1U + what;
    host.receive(compose(input, host.tcb, now), now, truesize);
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
  } else if (what < 250) {
    icmp_error(host, input, now);
  } else {
    others.take(host.pools, input.byte());
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
  const uint8_t kind = input.byte();
  config.pacing = (kind & 1) != 0;
  config.congestion = (kind & 2) != 0 ? &tcp::kCubic : &tcp::kNewReno;
  config.ecn = (kind & 4) != 0;
  const uint32_t nodes = 1U << (input.byte() % 10);
  const tcp::PoolSizes sizes{nodes, 1, (kind & 8) != 0 ? 1U << (kind >> 4) : 4096U, 1};
  testbed::Host host(config, sizes, 1);
  testbed::Others others;
  tcp::Micros now = 100 * tcp::kSecond;
  testbed::open(host, input, now);
  while (!input.empty()) testbed::step(host, others, input, now);
  others.take(host.pools, 0);
  tcp::tcp_release(host.stack, host.tcb);
  SLUICE_ASSERT(host.all_returned());
  return 0;
}
