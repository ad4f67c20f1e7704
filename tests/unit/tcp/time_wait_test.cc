#include "tcp/time_wait.h"

#include <gtest/gtest.h>

#include "../../sim/testbed.h"

namespace sluice::tcp {
namespace {

using abi::Counter;

struct Fixture {
  testbed::Host host{TcpConfig{}};
  TimeWaitTable table{host.config, host.stack.secrets, 8};
  Micros now = 100 * kSecond;

  static net::FlowTuple tuple(uint16_t port) {
    net::FlowTuple tuple = testbed::default_tuple();
    tuple.local.port = port;
    return tuple;
  }
  void insert(uint16_t port, bool timestamps = true) {
    Tcb tcb;
    tcb.tuple = tuple(port);
    tcb.state = State::TimeWait;
    tcb.snd_max = 5000;
    tcb.rcv_nxt = 9000;
    tcb.timestamps = timestamps;
    tcb.ts_recent = 100;
    table.insert(host.stack, tcb, now);
  }
  net::Segment segment(uint16_t port, uint8_t flags, uint32_t seq) {
    net::Segment segment;
    segment.tuple = tuple(port);
    segment.flags = flags;
    segment.seq = seq;
    segment.ack = 5000;
    return segment;
  }
  net::Segment reply;
  TimeWaitAnswer answer = TimeWaitAnswer::None;
  bool input(const net::Segment& segment) {
    return table.input(host.stack, segment, now, answer, reply);
  }
};

TEST(TimeWait, AnswersTheFinAgainAndWaitsAnew) {
  Fixture fixture;
  fixture.insert(1);
  EXPECT_FALSE(fixture.input(fixture.segment(2, net::kFin | net::kAck, 8999)));
  fixture.now += 50 * kSecond;
  ASSERT_TRUE(fixture.input(fixture.segment(1, net::kFin | net::kAck, 8999)));
  EXPECT_EQ(fixture.answer, TimeWaitAnswer::Reply);
  EXPECT_EQ(fixture.reply.flags, net::kAck);
  EXPECT_EQ(fixture.reply.seq, 5000U);
  EXPECT_EQ(fixture.reply.ack, 9000U);
  EXPECT_EQ(fixture.reply.options.tsecr, 100U);
  fixture.now += 59 * kSecond;
  EXPECT_TRUE(fixture.input(fixture.segment(1, net::kAck, 9000)));
  EXPECT_EQ(fixture.answer, TimeWaitAnswer::None);
  EXPECT_EQ(fixture.table.next_expiry_us(fixture.now), fixture.now + kSecond);
  fixture.now += kSecond;
  EXPECT_FALSE(fixture.input(fixture.segment(1, net::kAck, 9000)));
  EXPECT_EQ(fixture.table.size(), 0U);
  EXPECT_EQ(fixture.table.next_expiry_us(fixture.now), kNever);
}

TEST(TimeWait, IsNotAssassinated) {  // RFC 1337
  Fixture fixture;
  fixture.insert(1);
  EXPECT_TRUE(fixture.input(fixture.segment(1, net::kRst, 9000)));
  EXPECT_EQ(fixture.answer, TimeWaitAnswer::None);
  EXPECT_TRUE(fixture.table.contains(Fixture::tuple(1)));
}

TEST(TimeWait, ANewSynEndsIt) {  // RFC 6191
  struct Row {
    bool timestamps;
    bool syn_timestamps;
    uint32_t tsval;
    uint32_t seq;
    TimeWaitAnswer expected;
  };
  for (const Row& row : {Row{true, true, 101, 1, TimeWaitAnswer::Ended},
                         Row{true, true, 100, 9001, TimeWaitAnswer::Ended},
                         Row{true, true, 100, 8000, TimeWaitAnswer::Reply},
                         Row{true, true, 99, 9001, TimeWaitAnswer::Reply},
                         Row{true, false, 0, 9001, TimeWaitAnswer::Ended},
                         Row{false, false, 0, 9001, TimeWaitAnswer::Ended},
                         Row{false, true, 1, 8000, TimeWaitAnswer::Reply}}) {
    Fixture fixture;
    fixture.insert(1, row.timestamps);
    net::Segment syn = fixture.segment(1, net::kSyn, row.seq);
    syn.options.has_timestamps = row.syn_timestamps;
    syn.options.tsval = row.tsval;
    ASSERT_TRUE(fixture.input(syn));
    EXPECT_EQ(fixture.answer, row.expected);
    EXPECT_EQ(fixture.table.contains(Fixture::tuple(1)), row.expected == TimeWaitAnswer::Reply);
  }
}

TEST(TimeWait, AnActiveOpenMayReuseAfterASecond) {
  Fixture fixture;
  fixture.insert(1);
  fixture.insert(2, false);
  TimeWaitReuse previous;
  fixture.now += kSecond;
  EXPECT_FALSE(fixture.table.reuse(fixture.host.stack, Fixture::tuple(1), fixture.now, previous));
  fixture.now += 1000;
  EXPECT_FALSE(fixture.table.reuse(fixture.host.stack, Fixture::tuple(2), fixture.now, previous));
  EXPECT_TRUE(fixture.table.reuse(fixture.host.stack, Fixture::tuple(1), fixture.now, previous));
  EXPECT_TRUE(previous.found);
  EXPECT_EQ(previous.snd_nxt, 5000U);
  EXPECT_TRUE(fixture.table.reuse(fixture.host.stack, Fixture::tuple(1), fixture.now, previous));
  EXPECT_FALSE(previous.found);
  EXPECT_EQ(fixture.host.counters.get(Counter::tcp_time_wait_reused), 1U);
}

TEST(TimeWait, ReuseStartsAboveTheOldNumbers) {
  Fixture fixture;
  Tcb first;
  tcp_connect(fixture.host.stack, first, Fixture::tuple(1), fixture.now);
  const TimeWaitReuse previous{true, first.iss + 1'000'000};
  Tcb second;
  tcp_connect(fixture.host.stack, second, Fixture::tuple(1), fixture.now, &previous);
  EXPECT_GT(static_cast<int32_t>(second.iss - previous.snd_nxt), 0);
}

TEST(TimeWait, IsBoundedAndDropsTheOldest) {
  Fixture fixture;
  for (uint16_t port = 1; port <= 12; ++port) {
    fixture.now += kSecond;
    fixture.insert(port);
  }
  EXPECT_EQ(fixture.table.size(), 8U);
  EXPECT_FALSE(fixture.table.contains(Fixture::tuple(4)));
  EXPECT_TRUE(fixture.table.contains(Fixture::tuple(5)));
  EXPECT_EQ(fixture.host.counters.get(Counter::time_wait_entries), 8U);
}

TEST(TimeWait, ManyTurnsOfTheRing) {
  Fixture fixture;
  TimeWaitReuse previous;
  for (uint32_t turn = 0; turn < 1000; ++turn) {
    fixture.insert(static_cast<uint16_t>(turn % 11));
    fixture.now += 700'000;
    if (turn % 3 == 0) {
      fixture.table.reuse(fixture.host.stack, Fixture::tuple(static_cast<uint16_t>(turn % 7)),
                          fixture.now, previous);
    }
    ASSERT_LE(fixture.table.size(), 8U);
  }
  fixture.now += 61 * kSecond;
  fixture.table.expire(fixture.host.stack, fixture.now);
  EXPECT_EQ(fixture.table.size(), 0U);
}

}  // namespace
}  // namespace sluice::tcp
