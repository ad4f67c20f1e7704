// How long records to a client are: one segment at first and after idle, full ones in bulk, and
// none ever waits for bytes; padding and automatic KeyUpdates on the relay's way.
#include <gtest/gtest.h>

#include <algorithm>

#include "tls/limits.h"
#include "tls_client.h"

namespace sluice::flow::test {
namespace {

using abi::CloseReason;
using abi::Counter;
using tls::ContentType;

constexpr uint32_t kSegmentBytes = 1460;  // the client's MSS less options: never more

void backend_says(World& world, const Bytes& bytes) {
  backend_of(world).write(bytes);
  world.backend_host.pump(world.now);
}

void finish_all(World& world, TlsClient& client) {
  close_both(world, client, backend_of(world));
  world.expect_clean(CloseReason::finished);
}

class RecordSizes : public testing::TestWithParam<tls::test::Variant> {};
INSTANTIATE_TEST_SUITE_P(Suites, RecordSizes, testing::ValuesIn(tls::test::every_suite()));

TEST_P(RecordSizes, SmallAtFirstFullInBulkSmallAfterIdle) {
  World world({.suite = GetParam()});
  TlsClient client(world);
  establish(world, client);
  const uint32_t mss = tcp::effective_mss(client.peer.tcb);
  ASSERT_LE(mss, kSegmentBytes);
  backend_says(world, pattern(400'000, 1));
  world.run_for(500'000);
  ASSERT_EQ(client.plaintext, pattern(400'000, 1));
  // The first 64 KiB came in records that fit a segment, and fill it as well as the suite can.
  uint32_t small_bytes = 0;
  size_t i = 0;
  for (; i < client.data_records.size() && client.data_records[i] <= mss; ++i) {
    small_bytes += client.data_records[i];
  }
  EXPECT_GT(small_bytes, 60'000U);
  EXPECT_LT(small_bytes, 110'000U);
  const auto longest = *std::max_element(client.data_records.begin(), client.data_records.end());
  EXPECT_GT(longest, 16384U);
  EXPECT_GT(world.count(Counter::tls_small_records), 40U);

  client.data_records.clear();
  world.run_for(1'500'000);
  backend_says(world, pattern(20'000, 2));
  world.run_for(200'000);
  ASSERT_EQ(client.plaintext.size(), 420'000U);
  for (const uint32_t record : client.data_records) EXPECT_LE(record, mss);
  finish_all(world, client);
}

TEST_P(RecordSizes, NoByteWaits) {
  World world({.suite = GetParam()});
  TlsClient client(world);
  establish(world, client);
  for (uint32_t i = 1; i <= 20; ++i) {
    backend_says(world, {static_cast<uint8_t>(i)});
    world.run_for(3'000);
    EXPECT_EQ(client.plaintext.size(), i);
  }
  finish_all(world, client);
}

TEST(RecordSize, CanBeSwitchedOff) {
  World world({.record_size = {.dynamic = false}});
  TlsClient client(world);
  establish(world, client);
  backend_says(world, pattern(100'000, 1));
  world.run_for(300'000);
  EXPECT_EQ(world.count(Counter::tls_small_records), 0U);
  EXPECT_EQ(client.plaintext.size(), 100'000U);
  finish_all(world, client);
}

TEST(RecordSize, ThresholdsAreTheConfigurations) {
  World world({.record_size = {.dynamic = true, .full_after_bytes = 3000, .idle_us = 50'000}});
  TlsClient client(world);
  establish(world, client);
  for (int round = 0; round < 3; ++round) {
    client.data_records.clear();
    backend_says(world, pattern(60'000, 1));
    world.run_for(40'000);
    ASSERT_GT(client.data_records.size(), 4U);
    EXPECT_LE(client.data_records[0], kSegmentBytes);
    EXPECT_LE(client.data_records[1], kSegmentBytes);
    EXPECT_GT(*std::max_element(client.data_records.begin(), client.data_records.end()), 4000U);
    world.run_for(100'000);
  }
  finish_all(world, client);
}

TEST(RecordSize, PaddingFillsBlocks) {
  World world({.records = {.padding = tls::Padding::Block, .padding_block_bytes = 512}});
  TlsClient client(world);
  establish(world, client);
  for (uint32_t i = 1; i <= 10; ++i) {
    backend_says(world, pattern(i * 137, i));
    world.run_for(10'000);
  }
  backend_says(world, pattern(200'000, 1));
  world.run_for(500'000);
  EXPECT_EQ(client.plaintext.size(), 137U * 55 + 200'000);
  for (const uint32_t record : client.data_records) {
    EXPECT_TRUE((record - 21) % 512 == 0 || record == 16385 + 21) << record;
  }
  finish_all(world, client);
}

TEST(RecordSize, RandomPaddingWithAClientsLimit) {
  World world({.records = {.padding = tls::Padding::Random, .padding_random_bytes = 300}});
  world.change_keys = [](abi::InstallKeys& keys) { keys.seal.fragment_limit_bytes = 512; };
  TlsClient client(world);
  establish(world, client);
  backend_says(world, pattern(50'000, 1));
  world.run_for(500'000);
  EXPECT_EQ(client.plaintext, pattern(50'000, 1));
  for (const uint32_t record : client.data_records) EXPECT_LE(record, 513U + 21);
  finish_all(world, client);
}

// A low limit: ours come by themselves, and the client is asked for its own once.
TEST(RecordSize, KeyUpdatesByCount) {
  World world({.suite = tls::test::kChachaTls13, .records = {.key_update_after_records = 5}});
  TlsClient client(world);
  establish(world, client);
  backend_says(world, pattern(100'000, 1));
  world.run_for(300'000);
  EXPECT_EQ(client.plaintext, pattern(100'000, 1));
  const uint32_t ours = client.key_updates;
  EXPECT_GE(ours, 8U);
  EXPECT_LE(client.end.keys.open.sequence(), 6U);
  // An upload alone: the client's key is worn, so it is asked.
  for (uint32_t i = 0; i < 12; ++i) {
    say(world, client, client.seal(ContentType::application_data, pattern(10, i)));
  }
  world.run_for(20'000);
  EXPECT_EQ(client.key_updates, ours + 1);
  say(world, client, client.seal(ContentType::handshake, {24, 0, 0, 1, 0}));
  tls::update_keys(client.end.layer, client.end.keys, tls::Direction::Seal);
  say(world, client, client.seal(ContentType::application_data, pattern(10, 99)));
  world.run_for(20'000);
  EXPECT_EQ(world.count(Counter::tls_key_updates_in), 1U);
  EXPECT_EQ(backend_of(world).received.size(), 130U);
  finish_all(world, client);
}

}  // namespace
}  // namespace sluice::flow::test
