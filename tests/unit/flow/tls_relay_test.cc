// After InstallKeys: records to plaintext and back with every suite, and everything that a client
// may say against the rules.
#include <gtest/gtest.h>

#include "tls_client.h"

namespace sluice::flow::test {
namespace {

using abi::CloseReason;
using abi::Counter;
using tls::ContentType;

class TlsRelay : public testing::TestWithParam<tls::test::Variant> {};
INSTANTIATE_TEST_SUITE_P(Suites, TlsRelay, testing::ValuesIn(tls::test::every_suite()));

TEST_P(TlsRelay, BytesGoBothWaysInRecordsOfAnyCut) {
  for (uint32_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    World world({.net = {.delay_us = 1000,
                         .jitter_us = 800,
                         .loss_permille = 5,
                         .duplicate_permille = 5,
                         .seed = seed},
                 .suite = GetParam()});
    const Bytes up = pattern(400'000, seed);
    const Bytes down = pattern(500'000, seed + 50);
    world.backend_host.listen(kBackend, [&](Peer& peer) {
      peer.chunk_bytes = 5000;
      peer.write(down);
      peer.finish = true;
    });
    TlsClient client(world);
    client.peer.chunk_bytes = 2500;  // records are cut where they like
    std::mt19937 random(seed);
    const uint32_t max_record = seed == 1 ? 16384 : seed == 2 ? 100 : 3000;
    client.shake_hands(join({client.seal_stream(up, max_record, random), client.close_notify()}),
                       true);
    world.expect_clean(CloseReason::finished);
    EXPECT_EQ(client.plaintext, down);
    EXPECT_EQ(backend_of(world).received, up);
    EXPECT_TRUE(client.got_close_notify);
    EXPECT_TRUE(client.peer.finished_by_peer);
    EXPECT_TRUE(backend_of(world).finished_by_peer);
    EXPECT_EQ(world.count(Counter::tls_bytes_opened), up.size());
    EXPECT_EQ(world.count(Counter::tls_bytes_sealed), down.size());
    EXPECT_EQ(world.count(Counter::tls_close_notify_in), 1U);
    EXPECT_EQ(world.count(Counter::tls_close_notify_out), 1U);
  }
}

TEST_P(TlsRelay, CloseNotifyIsAHalfClose) {
  World world({.suite = GetParam()});
  TlsClient client(world);
  establish(world, client);
  say(world, client, client.close_notify());
  ASSERT_TRUE(world.run_until([&] { return backend_of(world).finished_by_peer; }, 1'000'000));
  EXPECT_FALSE(client.got_close_notify);
  backend_of(world).write(pattern(200'000, 3));
  backend_of(world).finish = true;
  world.backend_host.pump(world.now);
  ASSERT_TRUE(world.run_until([&] { return client.got_close_notify; }));
  EXPECT_EQ(client.plaintext, pattern(200'000, 3));
  client.finish();
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::finished);
}

TEST_P(TlsRelay, BackendFinIsCloseNotifyAndAHalfClose) {
  World world({.suite = GetParam()});
  TlsClient client(world);
  establish(world, client);
  backend_of(world).write(pattern(100, 3));
  backend_of(world).finish = true;
  world.backend_host.pump(world.now);
  ASSERT_TRUE(world.run_until([&] { return client.peer.finished_by_peer; }, 1'000'000));
  EXPECT_TRUE(client.got_close_notify);
  std::mt19937 random(1);
  say(world, client,
      join({client.seal_stream(pattern(200'000, 4), 9000, random), client.close_notify()}));
  client.finish();
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(backend_of(world).received, pattern(200'000, 4));
  EXPECT_TRUE(backend_of(world).finished_by_peer);
}

TEST_P(TlsRelay, ClientFinWithoutCloseNotifyIsATruncation) {
  World world({.suite = GetParam()});
  TlsClient client(world);
  establish(world, client);
  client.write(client.seal(ContentType::application_data, pattern(100, 1)));
  client.finish();
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::client_truncated);
  EXPECT_TRUE(backend_of(world).reset());
  EXPECT_FALSE(backend_of(world).finished_by_peer);
  EXPECT_TRUE(client.peer.finished_by_peer);
  EXPECT_FALSE(client.got_close_notify);
}

TEST_P(TlsRelay, ClientFinInsideARecordIsATruncation) {
  for (const size_t cut : {1U, 4U, 5U, 90U}) {
    World world({.suite = GetParam()});
    TlsClient client(world);
    establish(world, client);
    Bytes record = client.seal(ContentType::application_data, pattern(100, 1));
    record.resize(cut);
    client.write(record);
    client.finish();
    world.client_host.pump(world.now);
    world.expect_clean(CloseReason::client_truncated);
    EXPECT_TRUE(backend_of(world).reset());
    EXPECT_TRUE(backend_of(world).received.empty());
  }
}

// What a client may send that ends the flow; each with its alert, sealed.
struct Offence {
  const char* name;
  CloseReason reason;
  int alert;
  std::function<Bytes(TlsClient&)> bytes;
};

std::vector<Offence> offences(const tls::test::Variant& suite) {
  const auto minor = static_cast<uint8_t>(std::min<int>(3, static_cast<int>(suite.version()) & 15));
  const auto flipped = [](TlsClient& client) {
    Bytes record = client.seal(ContentType::application_data, pattern(100, 1));
    record.back() ^= 1;
    return record;
  };
  const uint16_t longest = suite.tls13() ? abi::kMaxCiphertext13Bytes : abi::kMaxCiphertext12Bytes;
  const uint16_t length = longest + 1;
  const auto overflow = [length, minor](TlsClient&) {
    return Bytes{23, 3, minor, static_cast<uint8_t>(length >> 8), static_cast<uint8_t>(length)};
  };
  return {
      {"flipped tag bit", CloseReason::bad_record_mac, 20, flipped},
      {"too short for a tag", CloseReason::bad_record_mac, 20,
       [minor](TlsClient&) { return Bytes{23, 3, minor, 0, 3, 1, 2, 3}; }},
      {"empty", CloseReason::bad_record_mac, 20,
       [minor](TlsClient&) {
         return Bytes{23, 3, minor, 0, 0};
       }},
      {"too long", CloseReason::record_overflow, 22, overflow},
      {"unknown type", CloseReason::unexpected_record_type, 10,
       [minor](TlsClient&) { return Bytes{99, 3, minor, 0, 1, 0}; }},
      {"change_cipher_spec", CloseReason::unexpected_record_type, 10,
       [minor](TlsClient&) { return Bytes{20, 3, minor, 0, 1, 1}; }},
      {"fatal alert", CloseReason::client_alert, -1,
       [](TlsClient& client) {
         return client.seal(ContentType::alert, {2, 42});
       }},
      {"malformed alert", CloseReason::bad_alert, 50,
       [](TlsClient& client) {
         return client.seal(ContentType::alert, {2, 42, 1});
       }},
      {"a handshake message", CloseReason::bad_handshake_message, 10,
       [](TlsClient& client) {
         return client.seal(ContentType::handshake, {11, 0, 0, 1, 0});
       }},
      {"empty records without end", CloseReason::too_many_empty_records, 10,
       [](TlsClient& client) {
         Bytes records;
         for (int i = 0; i < 40; ++i) {
           records = join({records, client.seal(ContentType::application_data, {})});
         }
         return records;
       }},
  };
}

TEST_P(TlsRelay, EachOffenceHasItsAlertAndItsReason) {
  for (const Offence& row : offences(GetParam())) {
    SCOPED_TRACE(row.name);
    World world({.max_flows = 2, .suite = GetParam()});
    TlsClient client(world);
    establish(world, client);
    backend_of(world).write(pattern(1000, 9));
    world.backend_host.pump(world.now);
    say(world, client,
        join({client.seal(ContentType::application_data, pattern(10, 1)), row.bytes(client)}));
    ASSERT_TRUE(world.run_until([&] { return client.peer.finished_by_peer || client.peer.closed; },
                                2'000'000));
    EXPECT_EQ(client.alert, row.alert);
    EXPECT_FALSE(client.got_close_notify);
    EXPECT_TRUE(client.peer.finished_by_peer);
    EXPECT_FALSE(client.peer.reset());
    world.run_for(100'000);
    EXPECT_TRUE(backend_of(world).reset());
    client.finish();
    world.client_host.pump(world.now);
    world.expect_clean(row.reason);
    EXPECT_EQ(world.count(Counter::tls_alerts_out), row.alert < 0 ? 0U : 1U);
  }
}

// The same when the backend has already closed, and close_notify and FIN have gone to the client.
TEST_P(TlsRelay, OffencesBehindTheBackendsFin) {
  for (const Offence& row : offences(GetParam())) {
    SCOPED_TRACE(row.name);
    World world({.max_flows = 2, .suite = GetParam()});
    TlsClient client(world);
    establish(world, client);
    backend_of(world).finish = true;
    world.backend_host.pump(world.now);
    // The client's ACK of our FIN is held up by a round trip.
    const Bytes offence = row.bytes(client);
    ASSERT_TRUE(world.run_until([&] { return client.got_close_notify; }, 1'000'000));
    say(world, client, offence);
    world.run_for(100'000);
    EXPECT_EQ(client.alert, -1);
    client.finish();
    world.client_host.pump(world.now);
    world.expect_clean(row.reason);
    EXPECT_TRUE(backend_of(world).reset());
  }
}

// The offence crosses our FIN on the way: it is not acknowledged yet.
TEST_P(TlsRelay, OffencesThatCrossOurFin) {
  for (const Offence& row : offences(GetParam())) {
    SCOPED_TRACE(row.name);
    World world({.net = {.delay_us = 20'000}, .max_flows = 2, .suite = GetParam()});
    TlsClient client(world);
    establish(world, client);
    backend_of(world).finish = true;
    world.backend_host.pump(world.now);
    world.run_for(10'000);
    say(world, client, row.bytes(client));
    world.run_for(500'000);
    EXPECT_EQ(client.alert, -1);
    EXPECT_TRUE(client.got_close_notify);
    client.finish();
    world.client_host.pump(world.now);
    world.expect_clean(row.reason);
  }
}

TEST_P(TlsRelay, BackendResetIsAnAlertAndNeverACleanEnd) {
  World world({.max_flows = 1, .suite = GetParam()});
  TlsClient client(world);
  establish(world, client);
  backend_of(world).write(pattern(1000, 1));
  world.backend_host.pump(world.now);
  world.run_for(10'000);
  world.backend_host.abort(backend_of(world));
  world.backend_host.pump(world.now);
  ASSERT_TRUE(world.run_until([&] { return client.peer.finished_by_peer; }, 1'000'000));
  EXPECT_EQ(client.plaintext, pattern(1000, 1));
  EXPECT_EQ(client.alert, 80);
  EXPECT_FALSE(client.got_close_notify);
  client.finish();
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::backend_reset);
}

// A server that answers early and closes, and resets when more is sent to it.
TEST_P(TlsRelay, BackendResetBehindItsFin) {
  World world({.net = {.delay_us = 20'000}, .max_flows = 1, .suite = GetParam()});
  TlsClient client(world);
  establish(world, client);
  backend_of(world).write(pattern(1000, 1));
  backend_of(world).finish = true;
  world.backend_host.pump(world.now);
  world.run_for(1000);
  world.backend_host.abort(backend_of(world));
  world.backend_host.pump(world.now);
  ASSERT_TRUE(world.run_until([&] { return client.peer.finished_by_peer; }, 1'000'000));
  EXPECT_EQ(client.plaintext, pattern(1000, 1));
  EXPECT_TRUE(client.got_close_notify);
  client.finish();
  world.client_host.pump(world.now);
  world.expect_clean(CloseReason::backend_reset);
}

}  // namespace
}  // namespace sluice::flow::test
