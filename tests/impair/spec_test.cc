#include "spec.h"

#include <gtest/gtest.h>

namespace sluice::impair {
namespace {

TEST(Spec, EveryKeyIsRead) {
  const auto spec = parse_spec(
      "delay=10ms,jitter=1.5ms,loss=1%,burst=0.5%/25%/80%,reorder=2%/500us,duplicate=0.5%,"
      "corrupt=0.1%,rate=1gbit,queue=512k,mark=64k,vlan=4094,seed=7");
  ASSERT_TRUE(spec) << spec.error();
  LinkSettings wanted;
  wanted.delay = 10'000'000;
  wanted.jitter = 1'500'000;
  wanted.loss = 0.01;
  wanted.burst_begin = 0.005;
  wanted.burst_end = 0.25;
  wanted.burst_loss = 0.8;
  wanted.reorder = 0.02;
  wanted.reorder_extra = 500'000;
  wanted.duplicate = 0.005;
  wanted.corrupt = 0.001;
  wanted.rate_bits = 1'000'000'000;
  wanted.queue_bytes = 512 << 10;
  wanted.mark_bytes = 64 << 10;
  wanted.vlan = 4094;
  wanted.seed = 7;
  EXPECT_EQ(spec->up, wanted);
  EXPECT_EQ(spec->down, wanted);
}

TEST(Spec, NoneIsAWire) {
  const auto spec = parse_spec("none");
  ASSERT_TRUE(spec);
  EXPECT_EQ(*spec, Spec{});
}

TEST(Spec, OneDirectionAlone) {
  const auto spec = parse_spec("up.loss=3%,loss=1%,down.delay=2s,down.rate=64kbit");
  ASSERT_TRUE(spec) << spec.error();
  EXPECT_EQ(spec->up.loss, 0.03);
  EXPECT_EQ(spec->down.loss, 0.01);
  EXPECT_EQ(spec->up.delay, 0U);
  EXPECT_EQ(spec->down.delay, 2'000'000'000U);
  EXPECT_EQ(spec->up.rate_bits, 0U);
  EXPECT_EQ(spec->down.rate_bits, 64'000U);
}

struct Wrong {
  const char* text;
  const char* part;  // of the message
};

TEST(Spec, WhatIsWrongIsSaid) {
  const Wrong rows[] = {
      {"", "empty"},
      {"delay", "'delay' is not key=value"},
      {"delay=10ms,", "'' is not key=value"},
      {"latency=10ms", "unknown key 'latency'; there are delay, jitter"},
      {"left.delay=1ms", "unknown key 'left.delay'"},
      {"delay=1ms,delay=2ms", "'delay' is given twice"},
      {"up.delay=1ms,up.delay=2ms", "'up.delay' is given twice"},
      {"delay=10", "delay: '10' is not a number with a unit (ns, us, ms, s)"},
      {"delay=ms", "delay: 'ms' is not a number"},
      {"delay= 1ms", "delay: ' 1ms' is not a number"},
      {"delay=11s", "delay: '11s' is out of range; at most 10s"},
      {"delay=-1ms", "delay: '-1ms' is out of range"},
      {"jitter=infs", "jitter: 'infs' is out of range"},
      {"jitter=nanms", "jitter: 'nanms' is out of range"},
      {"delay=1e3ms", "delay: '1e3ms' is not a number"},
      {"loss=0.1", "loss: '0.1' is not a number with a unit (%); 0% to 100%"},
      {"loss=101%", "loss: '101%' is out of range"},
      {"burst=1%", "burst: two shares are needed"},
      {"burst=1%/0%", "burst: a burst has to end"},
      {"burst=1%/10%/20%/30%", "burst: '20%/30%' is not a number"},
      {"reorder=2%", "reorder: share and extra delay are needed"},
      {"reorder=2%/5", "reorder: '5' is not a number with a unit"},
      {"rate=0bit", "rate: a rate is at least 1bit"},
      {"rate=1g", "rate: '1g' is not a number with a unit (bit, kbit, mbit, gbit)"},
      {"rate=101gbit", "at most 100gbit"},
      {"queue=64k", "queue: there is no queue without a rate"},
      {"up.rate=1mbit,mark=64k", "mark: there is no queue without a rate"},
      {"rate=1mbit,queue=65m", "queue: '65m' is out of range; at most 64m"},
      {"vlan=4095", "vlan: '4095' is out of range; at most 4094"},
      {"seed=x", "seed: 'x' is not a number with a unit (no unit)"},
  };
  for (const Wrong& row : rows) {
    const auto spec = parse_spec(row.text);
    ASSERT_FALSE(spec) << row.text;
    EXPECT_NE(spec.error().find(row.part), std::string::npos) << row.text << ": " << spec.error();
  }
}

}  // namespace
}  // namespace sluice::impair
