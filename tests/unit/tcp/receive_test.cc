// What a connection holds against what it accounts for, and how its window grows with its path.
#include "tcp/receive.h"

#include <gtest/gtest.h>

#include <set>

#include "../../sim/testbed.h"
#include "abi/limits.h"

namespace sluice::tcp {
namespace {

using testbed::Host;
using testbed::WireSegment;

// An established connection; the peer's numbers begin at 1.
void establish(Host& host, Micros now) {
  tcp_connect(host.stack, host.tcb, testbed::default_tuple(), now);
  const auto accept_all = [](const net::Segment&) { return true; };
  host.output(accept_all, now);
  WireSegment reply;
  reply.header.tuple = testbed::default_tuple();
  reply.header.flags = net::kSyn | net::kAck;
  reply.header.ack = host.tcb.iss + 1;
  reply.header.window = 60'000;
  reply.header.options.mss = 1460;
  reply.header.options.has_window_scale = true;
  host.receive(reply, now);
  host.output(accept_all, now);
}

// What the queues keep alive: each owner once.
uint32_t really_held_bytes(const Tcb& tcb) {
  std::set<const net::BufferOwner*> owners;
  uint32_t bytes = 0;
  const auto walk = [&](const SliceNode* node) {
    for (; node != nullptr; node = node->next) {
      if (owners.insert(node->owner).second) bytes += node->owner->truesize_bytes;
    }
  };
  walk(tcb.receive.head());
  if (!tcb.out_of_order.empty()) walk(tcb.out_of_order.list->head);
  return bytes;
}

// Random text in order and out of order, of any size, read now and then, under changing pressure.
// Every buffer that is alive is held by a queue, and the queues account for at least as much.
TEST(Receive, BytesHeldAreBytesAccountedFor) {
  for (uint32_t seed = 1; seed <= 100; ++seed) {
    testbed::Random random(seed);
    TcpConfig config;
    config.receive_limit_bytes = random.pick<uint32_t>({8'000, 100'000, 1'000'000});
    Host host(config, random.pick<uint32_t>({16, 4096}));
    if (random.chance(0.3)) host.stack.small_buffers = {};
    Micros now = 100 * kSecond;
    establish(host, now);
    for (int step = 0; step < 300; ++step) {
      WireSegment wire;
      wire.header.tuple = testbed::default_tuple();
      wire.header.flags = net::kAck;
      wire.header.seq = host.tcb.rcv_nxt + static_cast<uint32_t>(random.between(0, 8)) * 700 - 700;
      wire.header.ack = host.tcb.snd_una;
      wire.header.window = 60'000;
      wire.payload.assign(random.pick<size_t>({1, 40, 700, 1460, 9000}), 'x');
      if (random.chance(0.05)) {
        host.stack.pressure = random.pick({Pressure::None, Pressure::Soft, Pressure::Hard});
      }
      host.receive(wire, now, random.pick<uint32_t>({1, 2304, 4352}));
      if (random.chance(0.3)) {
        const uint32_t readable = host.tcb.receive.readable_bytes();
        tcp_consume(host.stack, host.tcb, static_cast<uint32_t>(random.below(readable + 1)));
      }
      host.output([](const net::Segment&) { return true; }, now);
      now += random.below(5'000);
      const Tcb& tcb = host.tcb;
      const uint32_t accounted = tcb.receive.held_bytes() + tcb.out_of_order.held_bytes();
      ASSERT_LE(really_held_bytes(tcb), accounted) << "seed " << seed;
      ASSERT_EQ(accounted == 0, host.buffers.live() + host.small.live() == 0) << "seed " << seed;
      ASSERT_LE(tcb.receive_space.limit_bytes, config.receive_limit_bytes);
    }
    tcp_release(host.stack, host.tcb);
    EXPECT_TRUE(host.all_returned()) << "seed " << seed;
  }
}

// No right edge moves left, whatever the pressure. RFC 9293 3.8.6.
TEST(Receive, PressureTakesNothingBack) {
  Host host{TcpConfig{}};
  Micros now = 100 * kSecond;
  establish(host, now);
  testbed::Random random(4);
  uint32_t edge = 0;
  bool first = true;
  for (int step = 0; step < 3000; ++step) {
    host.stack.pressure = random.pick({Pressure::None, Pressure::Soft, Pressure::Hard});
    WireSegment wire;
    wire.header.tuple = testbed::default_tuple();
    wire.header.flags = net::kAck;
    wire.header.seq = host.tcb.rcv_nxt;
    wire.header.ack = host.tcb.snd_una;
    wire.payload.assign(std::min<size_t>(1460, host.tcb.rcv_adv - host.tcb.rcv_nxt), 'x');
    host.receive(wire, now);
    if (random.chance(0.5)) {
      tcp_consume(host.stack, host.tcb, host.tcb.receive.readable_bytes());
    }
    host.output(
        [&](const net::Segment& segment) {
          const uint32_t now_edge =
              segment.ack + (static_cast<uint32_t>(segment.window) << host.tcb.rcv_wscale);
          EXPECT_TRUE(first || static_cast<int32_t>(now_edge - edge) >= 0);
          edge = now_edge;
          first = false;
          return true;
        },
        now);
    now += 1'000;
  }
  tcp_release(host.stack, host.tcb);
}

// A whole TLS record in ordinary segments fits into what is left while memory is scarce.
TEST(Receive, TheFloorHoldsARecord) {
  EXPECT_GE(window_of_limit(abi::kReceiveFloorBytes),
            abi::kRecordHeaderBytes + abi::kMaxCiphertext12Bytes);
}

}  // namespace
}  // namespace sluice::tcp
