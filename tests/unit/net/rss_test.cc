// Toeplitz against the published vectors, the tables against the direct computation, and what a
// port may say of itself.
#include "net/rss.h"

#include <gtest/gtest.h>

#include "support.h"

namespace sluice::net {
namespace {

using test::ip;

// "Verifying the RSS Hash Calculation", Microsoft's documentation of the hash's reference key.
const std::vector<uint8_t> kMicrosoftKey = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

struct Vector {
  const char* destination;
  uint16_t destination_port;
  const char* source;
  uint16_t source_port;
  uint32_t tcp_hash;
};
constexpr Vector kVectors[] = {
    {"161.142.100.80", 1766, "66.9.149.187", 2794, 0x51ccc178},
    {"65.69.140.83", 4739, "199.92.111.2", 14230, 0xc626b0ea},
    {"12.22.207.184", 38024, "24.19.198.95", 12898, 0x5c2b394a},
    {"209.142.163.6", 2217, "38.27.205.30", 48228, 0xafc7327f},
    {"202.188.127.2", 1303, "153.39.163.191", 44251, 0x10e828a2},
    {"3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x40207d3d},
    {"ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0xdde51bbf},
    {"fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x02d1feef},
};

FlowTuple tuple_of(const Vector& row) {
  return {{ip(row.destination), row.destination_port}, {ip(row.source), row.source_port}};
}

RssSettings settings(std::vector<uint8_t> key, uint32_t entries, uint16_t queues) {
  RssSettings out;
  out.key = std::move(key);
  for (uint32_t i = 0; i < entries; ++i) out.reta.push_back(static_cast<uint16_t>(i % queues));
  out.ipv4_tcp = true;
  out.ipv6_tcp = true;
  return out;
}

std::vector<uint8_t> random_key(uint32_t bytes, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> key(bytes);
  for (uint8_t& byte : key) byte = static_cast<uint8_t>(random());
  return key;
}

TEST(Rss, PublishedVectors) {
  RssMap map;
  std::string error;
  ASSERT_TRUE(map.build(settings(kMicrosoftKey, 128, 4), 4, error)) << error;
  for (const Vector& row : kVectors) {
    const FlowTuple tuple = tuple_of(row);
    EXPECT_EQ(map.hash(tuple), row.tcp_hash) << row.source;
    EXPECT_EQ(map.queue_of(tuple), row.tcp_hash % 128 % 4) << row.source;
  }
}

// The same vectors over addresses alone, of the function without the tables.
TEST(Rss, PublishedVectorsOfAddresses) {
  const uint8_t first[] = {66, 9, 149, 187, 161, 142, 100, 80};
  const uint8_t second[] = {199, 92, 111, 2, 65, 69, 140, 83};
  EXPECT_EQ(toeplitz(kMicrosoftKey, first), 0x323e8fc2U);
  EXPECT_EQ(toeplitz(kMicrosoftKey, second), 0xd718262aU);
  EXPECT_EQ(toeplitz(kMicrosoftKey, {}), 0U);
}

TEST(Rss, TablesAgreeForAnyKeyAndTable) {
  for (const uint32_t key_bytes : {40U, 41U, 52U, 64U}) {
    for (const uint32_t entries : {1U, 2U, 3U, 64U, 96U, 127U, 128U, 511U, 512U, 2048U}) {
      RssMap map;
      std::string error;
      const auto queues = static_cast<uint16_t>(std::min(entries, 3U));
      ASSERT_TRUE(
          map.build(settings(random_key(key_bytes, entries), entries, queues), queues, error));
      EXPECT_TRUE(map.self_test(entries, 200)) << key_bytes << " bytes, " << entries;
    }
  }
}

// What the search over source ports relies on.
TEST(Rss, ThePartsOfTheHashAddUp) {
  RssMap map;
  std::string error;
  ASSERT_TRUE(map.build(settings(random_key(52, 9), 512, 8), 8, error));
  for (const Vector& row : kVectors) {
    FlowTuple tuple = tuple_of(row);
    const uint32_t base = map.base(tuple);
    for (uint32_t port = 0; port < 65536; port += 251) {
      tuple.local.port = static_cast<uint16_t>(port);
      ASSERT_EQ(map.base(tuple), base);
      ASSERT_EQ(base ^ map.port_part(tuple.local.address, tuple.local.port), map.hash(tuple));
    }
  }
}

TEST(Rss, OneFamilyAlone) {
  RssSettings from = settings(random_key(16, 1), 128, 2);
  from.ipv6_tcp = false;
  RssMap map;
  std::string error;
  ASSERT_TRUE(map.build(from, 2, error)) << "16 bytes are enough for IPv4";
  EXPECT_TRUE(map.covers(ip("10.0.0.1")));
  EXPECT_FALSE(map.covers(ip("fd00::1")));
  EXPECT_TRUE(map.self_test(1, 100));
}

TEST(Rss, RefusesWhatCannotBe) {
  struct Row {
    RssSettings from;
    const char* error;
  };
  RssSettings no_family = settings(kMicrosoftKey, 128, 2);
  no_family.ipv4_tcp = no_family.ipv6_tcp = false;
  const Row rows[] = {
      {no_family, "it does not hash TCP's ports"},
      {settings(random_key(39, 1), 128, 2), "its key of 39 bytes is too short"},
      {settings(kMicrosoftKey, 0, 1), "its table has 0 entries"},
      {settings(kMicrosoftKey, kMaxRetaEntries + 1, 1), "its table has 65537 entries"},
      {settings(kMicrosoftKey, 128, 3), "its table names a queue that is not open"},
      {settings(kMicrosoftKey, 128, 1), "its table leaves queues without packets"},
  };
  for (const Row& row : rows) {
    RssMap map;
    std::string error;
    EXPECT_FALSE(map.build(row.from, 2, error));
    EXPECT_EQ(error, row.error);
  }
}

}  // namespace
}  // namespace sluice::net
