#include "tcp/timer_wheel.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

namespace sluice::tcp {
namespace {

constexpr Micros kTick = 1U << TimerWheel::kTickShift;

std::vector<uint32_t> advance(TimerWheel& wheel, Micros now) {
  std::vector<uint32_t> fired;
  wheel.advance(now, [&](uint32_t node) { fired.push_back(node); });
  return fired;
}

TEST(TimerWheel, FiresWithinATick) {
  for (const Micros delay : {Micros{1}, Micros{511}, Micros{512}, Micros{40'000}, Micros{200'000},
                             60 * kSecond, 7200 * kSecond, 100 * 86400 * kSecond}) {
    const Micros start = 123'456'789;
    TimerWheel wheel(4, start);
    wheel.schedule(2, start + delay);
    EXPECT_TRUE(wheel.scheduled(2));
    EXPECT_TRUE(advance(wheel, start + delay - 1).empty()) << delay;
    EXPECT_EQ(advance(wheel, start + delay + 2 * kTick), std::vector<uint32_t>{2}) << delay;
    EXPECT_FALSE(wheel.scheduled(2));
    EXPECT_EQ(wheel.next_expiry_us(), kNever);
  }
}

TEST(TimerWheel, EarlierWinsLaterIsLazy) {
  TimerWheel wheel(1, 0);
  wheel.schedule(0, 50'000);
  wheel.schedule(0, 900'000);  // keeps the earlier time
  EXPECT_EQ(advance(wheel, 60'000).size(), 1U);
  wheel.schedule(0, 900'000);
  wheel.schedule(0, 100'000);  // moves
  EXPECT_EQ(advance(wheel, 110'000).size(), 1U);
  EXPECT_EQ(wheel.size(), 0U);
}

TEST(TimerWheel, NeverIsNotATime) {
  TimerWheel wheel(1, 0);
  wheel.schedule(0, kNever);
  EXPECT_FALSE(wheel.scheduled(0));
}

TEST(TimerWheel, CancelAndAgain) {
  TimerWheel wheel(2, 0);
  wheel.schedule(0, 1'000);
  wheel.schedule(1, 1'000);
  wheel.cancel(0);
  wheel.cancel(0);
  EXPECT_EQ(advance(wheel, 5'000), std::vector<uint32_t>{1});
}

// A node that is always due must not keep advance from returning.
TEST(TimerWheel, DueAtOnceAgainWaitsForTheNextTick) {
  TimerWheel wheel(1, 0);
  wheel.schedule(0, 0);
  uint32_t fired = 0;
  for (Micros now = kTick; now <= 10 * kTick; now += kTick) {
    wheel.advance(now, [&](uint32_t node) {
      ++fired;
      wheel.schedule(node, 0);
    });
  }
  EXPECT_EQ(fired, 10U);
  fired = 0;
  wheel.advance(1000 * kTick, [&](uint32_t node) {  // also across a long sleep
    ++fired;
    wheel.schedule(node, 0);
  });
  EXPECT_EQ(fired, 1U);
}

// Against a map, over random schedules, cancels and jumps in time.
TEST(TimerWheel, AgreesWithAModel) {
  std::mt19937_64 random(7);
  constexpr uint32_t kNodes = 500;
  Micros now = 1'000'000;
  TimerWheel wheel(kNodes, now);
  std::map<uint32_t, Micros> model;
  for (int step = 0; step < 200'000; ++step) {
    const auto node = static_cast<uint32_t>(random() % kNodes);
    const uint64_t action = random() % 10;
    if (action < 6) {
      const Micros at = now + (random() % (1ULL << (random() % 40)));
      const auto found = model.find(node);
      if (found == model.end() || at < found->second) model[node] = at;
      wheel.schedule(node, at);
    } else if (action == 6) {
      model.erase(node);
      wheel.cancel(node);
    } else {
      const Micros next = wheel.next_expiry_us();
      now += random() % (1ULL << (random() % 32));
      bool early = false;
      wheel.advance(now, [&](uint32_t fired) {
        const auto found = model.find(fired);
        ASSERT_NE(found, model.end());
        EXPECT_LE(found->second, now);
        early = early || found->second < next;
        model.erase(found);
      });
      // Rounding up to a tick, a node may be due up to one tick after its time.
      EXPECT_FALSE(early && next > now) << "next_expiry_us was too late";
      for (const auto& [left, at] : model) {
        ASSERT_GT(at + 2 * kTick, now) << "node " << left << " is late";
      }
    }
    ASSERT_EQ(wheel.size(), model.size());
  }
}

}  // namespace
}  // namespace sluice::tcp
