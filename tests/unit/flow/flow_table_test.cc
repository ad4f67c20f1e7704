// The flow table against a std::unordered_map, with hashes that the test chooses: clusters that
// wrap around the end of the array, equal hashes of different tuples, a full table.
#include "flow/flow_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <unordered_map>
#include <vector>

namespace sluice::flow {
namespace {

constexpr uint8_t kKey[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

net::FlowTuple tuple_of_number(uint32_t number) {
  net::FlowTuple tuple;
  tuple.local = {abi::IpAddress::from_ipv4(0x0a63010a), 443};
  tuple.remote = {abi::IpAddress::from_ipv4(0x0a000000 + number / 60000),
                  static_cast<uint16_t>(1 + number % 60000)};
  return tuple;
}

// A table whose references name the tuples: reference n (both sides) has tuple 2n + side.
struct Fixture {
  explicit Fixture(uint32_t entries) : table(entries, kKey) {}

  static uint32_t number_of(FlowRef reference) {
    return reference.index * 2 + static_cast<uint32_t>(reference.side);
  }
  static FlowRef reference_of(uint32_t number) {
    return {number / 2, static_cast<Side>(number % 2)};
  }
  FlowRef find(uint32_t number, uint32_t hash) const {
    return table.find(tuple_of_number(number), hash,
                      [](FlowRef reference) { return tuple_of_number(number_of(reference)); });
  }

  FlowTable table;
};

TEST(FlowTable, HashDependsOnEveryPartOfTheTupleAndOnTheKey) {
  const net::FlowTuple tuple = tuple_of_number(7);
  const uint32_t hash = hash_tuple(kKey, tuple);
  EXPECT_EQ(hash, hash_tuple(kKey, tuple_of_number(7)));
  net::FlowTuple other = tuple;
  other.local.port ^= 1;
  EXPECT_NE(hash, hash_tuple(kKey, other));
  other = tuple;
  other.remote.port ^= 1;
  EXPECT_NE(hash, hash_tuple(kKey, other));
  other = tuple;
  other.local.address.bytes[0] ^= 1;
  EXPECT_NE(hash, hash_tuple(kKey, other));
  other = tuple;
  other.remote.address.bytes[15] ^= 1;
  EXPECT_NE(hash, hash_tuple(kKey, other));
  other = {tuple.remote, tuple.local};
  EXPECT_NE(hash, hash_tuple(kKey, other));
  uint8_t key[16] = {};
  EXPECT_NE(hash, hash_tuple(key, tuple));
}

TEST(FlowTable, EqualHashesOfDifferentTuplesAreToldApart) {
  Fixture fixture(8);
  for (uint32_t number = 0; number < 8; ++number) {
    ASSERT_TRUE(fixture.table.insert(0xdeadbeef, Fixture::reference_of(number)));
  }
  for (uint32_t number = 0; number < 8; ++number) {
    const FlowRef found = fixture.find(number, 0xdeadbeef);
    ASSERT_TRUE(found.valid());
    EXPECT_EQ(Fixture::number_of(found), number);
  }
  EXPECT_FALSE(fixture.find(8, 0xdeadbeef).valid());
  EXPECT_FALSE(fixture.table.erase(0xdeadbeef, Fixture::reference_of(8)));
  EXPECT_EQ(fixture.table.size(), 8U);
}

TEST(FlowTable, AFullTableRefusesAndTakesAgainAfterAnErase) {
  Fixture fixture(5);
  for (uint32_t number = 0; number < 5; ++number) {
    ASSERT_TRUE(fixture.table.insert(number * 3, Fixture::reference_of(number)));
  }
  EXPECT_FALSE(fixture.table.insert(99, Fixture::reference_of(5)));
  EXPECT_EQ(fixture.table.size(), 5U);
  EXPECT_FALSE(fixture.find(5, 99).valid());
  ASSERT_TRUE(fixture.table.erase(6, Fixture::reference_of(2)));
  EXPECT_TRUE(fixture.table.insert(99, Fixture::reference_of(5)));
  EXPECT_TRUE(fixture.find(5, 99).valid());
  EXPECT_FALSE(fixture.find(2, 6).valid());
}

// Few distinct home slots, next to the end of the array: every cluster wraps.
TEST(FlowTable, WrappedClustersStayFindableWhateverIsErased) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    Fixture fixture(8);  // sixteen places
    std::vector<uint32_t> hashes(8);
    std::vector<uint32_t> order(8);
    for (uint32_t number = 0; number < 8; ++number) {
      const auto home = static_cast<uint32_t>(13 + random() % 4);  // modulo 16: 13, 14, 15, 0
      hashes[number] = static_cast<uint32_t>(random()) << 8 | home;
      order[number] = number;
      ASSERT_TRUE(fixture.table.insert(hashes[number], Fixture::reference_of(number)));
    }
    std::shuffle(order.begin(), order.end(), random);
    for (uint32_t erased = 0; erased < 8; ++erased) {
      const uint32_t number = order[erased];
      ASSERT_TRUE(fixture.table.erase(hashes[number], Fixture::reference_of(number)));
      for (uint32_t i = 0; i < 8; ++i) {
        ASSERT_EQ(fixture.find(order[i], hashes[order[i]]).valid(), i > erased);
      }
    }
    EXPECT_EQ(fixture.table.size(), 0U);
  }
}

TEST(FlowTable, RandomOperationsAgreeWithAMap) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    constexpr uint32_t kEntries = 300;
    constexpr uint32_t kNumbers = 600;
    Fixture fixture(kEntries);
    std::unordered_map<uint32_t, uint32_t> reference;  // number -> hash
    // Odd seeds crowd the hashes into few homes.
    const auto draw_hash = [&](uint32_t number) {
      return seed % 2 == 0 ? fixture.table.hash(tuple_of_number(number))
                           : static_cast<uint32_t>(random() & 0xffff001fU);
    };
    for (uint32_t step = 0; step < 20000; ++step) {
      const auto number = static_cast<uint32_t>(random() % kNumbers);
      const auto known = reference.find(number);
      if (known == reference.end()) {
        const uint32_t hash = draw_hash(number);
        ASSERT_FALSE(fixture.find(number, hash).valid());
        const bool inserted = fixture.table.insert(hash, Fixture::reference_of(number));
        ASSERT_EQ(inserted, reference.size() < kEntries);
        if (inserted) reference.emplace(number, hash);
      } else if (random() % 2 == 0) {
        ASSERT_EQ(Fixture::number_of(fixture.find(number, known->second)), number);
      } else {
        ASSERT_TRUE(fixture.table.erase(known->second, Fixture::reference_of(number)));
        ASSERT_FALSE(fixture.table.erase(known->second, Fixture::reference_of(number)));
        reference.erase(known);
      }
      ASSERT_EQ(fixture.table.size(), reference.size());
    }
    for (const auto& [number, hash] : reference) {
      ASSERT_EQ(Fixture::number_of(fixture.find(number, hash)), number);
    }
  }
}

}  // namespace
}  // namespace sluice::flow
