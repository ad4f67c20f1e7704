// What a peer may do against the rules of the record protocol, by tables: bytes in, alert out, the
// reason counted; with every suite, in every state of a connection.
#include <gtest/gtest.h>

#include "tls/limits.h"
#include "tls_client.h"

namespace sluice::flow::test {
namespace {

using abi::CloseReason;
using abi::Counter;
using tls::ContentType;
using tls::TlsVersion;

uint8_t minor_of(const tls::test::Variant& suite) {
  return static_cast<uint8_t>(std::min<int>(3, static_cast<int>(suite.version()) & 15));
}

Bytes plain_record(const tls::test::Variant& suite, uint8_t type, const Bytes& body) {
  return join({{type, 3, minor_of(suite), 0, static_cast<uint8_t>(body.size())}, body});
}

Bytes repeated(TlsClient& client, int times, ContentType type, const Bytes& plaintext) {
  Bytes all;
  for (int i = 0; i < times; ++i) all = join({all, client.seal(type, plaintext)});
  return all;
}

struct Row {
  const char* name;
  CloseReason reason;
  int alert;  // -1: none
  std::function<Bytes(TlsClient&)> bytes;
};

// Rules of every version.
std::vector<Row> common_rows(const tls::test::Variant& suite) {
  constexpr auto Unexpected = CloseReason::unexpected_record_type;
  const auto plain = [suite](uint8_t type, const Bytes& body) {
    return [=](TlsClient&) { return plain_record(suite, type, body); };
  };
  const auto alert = [](const Bytes& bytes) {
    return [=](TlsClient& client) { return client.seal(ContentType::alert, bytes); };
  };
  return {
      {"plaintext data", CloseReason::bad_record_mac, 20, plain(23, pattern(64, 1))},
      {"plaintext change_cipher_spec", Unexpected, 10, plain(20, {1})},
      {"heartbeat", Unexpected, 10, plain(24, pattern(40, 1))},
      {"a record left out", CloseReason::bad_record_mac, 20,
       [](TlsClient& client) {
         (void)client.seal(ContentType::application_data, {1});
         return client.seal(ContentType::application_data, {2});
       }},
      {"a record twice", CloseReason::bad_record_mac, 20,
       [](TlsClient& client) {
         const Bytes record = client.seal(ContentType::application_data, {1});
         return join({record, record});
       }},
      {"a type changed on the way", CloseReason::bad_record_mac, 20,
       [suite](TlsClient& client) {
         Bytes record = client.seal(ContentType::alert, {1, 90});
         if (suite.tls13()) {
           record[1] ^= 1;  // the type is inside; the version is covered as well
         } else {
           record[0] = 23;
         }
         return record;
       }},
      {"an alert in two records", CloseReason::bad_alert, 50,
       [](TlsClient& client) {
         return join({client.seal(ContentType::alert, {2}), client.seal(ContentType::alert, {80})});
       }},
      {"two alerts in a record", CloseReason::bad_alert, 50, alert({1, 90, 1, 90})},
      {"an alert of level 7", CloseReason::bad_alert, 47, alert({7, 80})},
      {"an empty alert", CloseReason::bad_alert, 10, alert({})},
      {"an empty handshake record", CloseReason::bad_handshake_message, 10,
       [](TlsClient& client) { return client.seal(ContentType::handshake, {}); }},
      {"fatal internal_error", CloseReason::client_alert, -1, alert({2, 80})},
      {"records without data", CloseReason::too_many_empty_records, 10,
       [](TlsClient& client) {
         return repeated(client, 33, ContentType::application_data, {});
       }},
      {"warnings", CloseReason::too_many_warnings, 10,
       [](TlsClient& client) { return repeated(client, 33, ContentType::alert, {1, 90}); }},
  };
}

std::vector<Row> rows_of(const tls::test::Variant& suite) {
  std::vector<Row> rows = common_rows(suite);
  const auto add = [&](const char* name, CloseReason reason, int alert,
                       std::function<Bytes(TlsClient&)> bytes) {
    rows.push_back({name, reason, alert, std::move(bytes)});
  };
  const auto handshake = [](const Bytes& bytes) {
    return [=](TlsClient& client) { return client.seal(ContentType::handshake, bytes); };
  };
  if (!suite.tls13()) {
    const auto plain = [suite](uint8_t type, const Bytes& body) {
      return [=](TlsClient&) { return plain_record(suite, type, body); };
    };
    add("plaintext alert", CloseReason::bad_record_mac, 20, plain(21, {2, 40}));
    add("plaintext hello", CloseReason::bad_record_mac, 20, plain(22, pattern(60, 1)));
    add("another version", CloseReason::bad_record_version, 70, [](TlsClient& client) {
      Bytes record = client.seal(ContentType::application_data, {1});
      record[2] ^= 7;
      return record;
    });
    add("warning of a kind that is always fatal", CloseReason::client_alert, -1,
        [](TlsClient& client) { return client.seal(ContentType::alert, {1, 20}); });
    add("renegotiations", CloseReason::too_many_renegotiations, 10, [](TlsClient& client) {
      return repeated(client, 33, ContentType::handshake, {1, 0, 0, 0});
    });
    add("a Finished", CloseReason::bad_handshake_message, 10, handshake({20, 0, 0, 12}));
    return rows;
  }
  add("plaintext alert", CloseReason::unexpected_record_type, 10,
      [suite](TlsClient&) { return plain_record(suite, 21, {2, 40}); });
  add("plaintext hello", CloseReason::unexpected_record_type, 10,
      [suite](TlsClient&) { return plain_record(suite, 22, pattern(60, 1)); });
  add("protected change_cipher_spec", CloseReason::unexpected_record_type, 10,
      [](TlsClient& client) { return client.seal(ContentType::change_cipher_spec, {1}); });
  add("data inside a handshake message", CloseReason::bad_handshake_message, 10,
      [](TlsClient& client) {
        return join({client.seal(ContentType::handshake, {24, 0}),
                     client.seal(ContentType::application_data, {1})});
      });
  add("an alert inside a handshake message", CloseReason::bad_handshake_message, 10,
      [](TlsClient& client) {
        return join({client.seal(ContentType::handshake, {24, 0}),
                     client.seal(ContentType::alert, {1, 0})});
      });
  add("a header of a handshake message in parts, then nonsense", CloseReason::bad_handshake_message,
      50, [](TlsClient& client) {
        return join({client.seal(ContentType::handshake, {24}),
                     client.seal(ContentType::handshake, {0}),
                     client.seal(ContentType::handshake, {9, 9})});
      });
  add("a KeyUpdate and a byte", CloseReason::bad_handshake_message, 10,
      handshake({24, 0, 0, 1, 0, 0}));
  add("a ClientHello", CloseReason::bad_handshake_message, 10, handshake({1, 0, 0, 2, 3, 3}));
  add("KeyUpdates", CloseReason::too_many_key_updates, 10, [](TlsClient& client) {
    Bytes all;
    for (int i = 0; i < 33; ++i) {
      all = join({all, client.seal(ContentType::handshake, {24, 0, 0, 1, 0})});
      tls::update_keys(client.end.layer, client.end.keys, tls::Direction::Seal);
    }
    return all;
  });
  return rows;
}

class TlsRules : public testing::TestWithParam<tls::test::Variant> {};
INSTANTIATE_TEST_SUITE_P(Suites, TlsRules, testing::ValuesIn(tls::test::every_suite()));

TEST_P(TlsRules, EachHasItsAlertAndItsReason) {
  for (const Row& row : rows_of(GetParam())) {
    SCOPED_TRACE(row.name);
    World world({.max_flows = 1, .suite = GetParam()});
    TlsClient client(world);
    establish(world, client);
    say(world, client, row.bytes(client));
    ASSERT_TRUE(world.run_until([&] { return client.peer.finished_by_peer || client.peer.closed; },
                                2'000'000));
    EXPECT_EQ(client.alert, row.alert);
    EXPECT_FALSE(client.got_close_notify);
    EXPECT_FALSE(client.open_failed);
    world.run_for(50'000);
    EXPECT_TRUE(backend_of(world).reset()) << "what is cut short must not look clean";
    EXPECT_FALSE(backend_of(world).finished_by_peer);
    client.finish();
    world.client_host.pump(world.now);
    world.expect_clean(row.reason);
    EXPECT_EQ(world.count(Counter::tls_alerts_out), row.alert < 0 ? 0U : 1U);
  }
}

// The same before the backend has answered: it never sees a byte.
TEST_P(TlsRules, EachWhileTheBackendIsBeingConnected) {
  for (const Row& row : rows_of(GetParam())) {
    SCOPED_TRACE(row.name);
    World world({.max_flows = 1, .suite = GetParam()});
    world.backend_host.silent = true;
    TlsClient client(world);
    client.shake_hands(row.bytes(client));
    ASSERT_TRUE(world.run_until([&] { return client.peer.finished_by_peer || client.peer.closed; },
                                2'000'000));
    EXPECT_EQ(client.alert, row.alert);
    client.finish();
    world.client_host.pump(world.now);
    world.expect_clean(row.reason);
  }
}

TEST_P(TlsRules, OversizeForTheNegotiatedLimit) {
  for (const uint32_t length : {600U, 601U}) {
    World world({.max_flows = 1, .suite = GetParam()});
    world.change_keys = [](abi::InstallKeys& keys) { keys.open.fragment_limit_bytes = 600; };
    TlsClient client(world);
    establish(world, client);
    // The client's own bound is the peer's, so it can seal more; a handshake record is not split.
    say(world, client, client.seal(ContentType::alert, Bytes(length, 2)));
    ASSERT_TRUE(world.run_until([&] { return client.peer.finished_by_peer; }, 1'000'000));
    EXPECT_EQ(client.alert, length == 600 ? 50 : 22);
    client.finish();
    world.client_host.pump(world.now);
    world.expect_clean(length == 600 ? CloseReason::bad_alert : CloseReason::record_overflow);
  }
}

// Harmless in TLS 1.3 and before: user_canceled. Then close_notify, in the same breath.
TEST_P(TlsRules, WarningsAndCloseNotifyInOrder) {
  World world({.max_flows = 1, .suite = GetParam()});
  TlsClient client(world);
  establish(world, client);
  say(world, client,
      join({client.seal(ContentType::alert, {1, 90}),
            client.seal(ContentType::application_data, pattern(50, 1)),
            client.seal(ContentType::alert, {1, 90}), client.close_notify()}));
  backend_of(world).finish = true;
  client.finish();
  world.backend_host.pump(world.now);
  world.expect_clean(CloseReason::finished);
  EXPECT_EQ(backend_of(world).received, pattern(50, 1));
  EXPECT_TRUE(backend_of(world).finished_by_peer);
  EXPECT_EQ(world.count(Counter::tls_warnings_in), 2U);
}

// ---- A change_cipher_spec at every point of a connection.

enum class Point : uint8_t { First, BehindHello, BehindFlight, Again, BehindKeys };

struct ChangeRow {
  Point point;
  Bytes body;
  bool passes;
  int plain_alert;  // before the server's flight, -1 for none
};

TEST(ChangeCipherSpec, AtEveryPoint) {
  const ChangeRow rows[] = {
      {Point::First, {1}, false, 10},        {Point::First, {0}, false, 10},
      {Point::BehindHello, {1}, true, -1},   {Point::BehindHello, {0}, false, 10},
      {Point::BehindHello, {2}, false, 10},  {Point::BehindHello, {1, 1}, false, 10},
      {Point::BehindFlight, {1}, true, -1},  {Point::BehindFlight, {0}, false, -1},
      {Point::BehindFlight, {255}, false, -1}, {Point::Again, {1}, true, -1},
      {Point::Again, {7}, false, -1},        {Point::BehindKeys, {1}, false, -1},
      {Point::BehindKeys, {0}, false, -1},
  };
  for (const ChangeRow& row : rows) {
    SCOPED_TRACE(testing::Message() << "point " << int(row.point) << ", first byte "
                                    << int{row.body[0]} << " of " << row.body.size());
    World world({.max_flows = 1});
    // Control does not count them as records of its handshake.
    world.control.on_record = [&](FakeControl& from, FakeControl::Handshake& handshake) {
      if (handshake.records.back()[0] == 20) return;
      const bool first = handshake.records.back()[0] == 22;
      if (first) from.transmit(handshake, pattern(world.flight_bytes, handshake.begin.client.port));
      if (!first && !handshake.installed) {
        from.install(handshake, world.keys_for(handshake),
                     static_cast<uint32_t>(handshake.stream.size()), kBackend);
      }
    };
    TlsClient client(world);
    const Bytes change = plain_record(world.config.suite, 20, row.body);
    const auto say_now = [&](const Bytes& bytes) {
      say(world, client, bytes);
      world.run_for(20'000);
    };
    if (row.point == Point::First) say_now(change);
    if (row.point == Point::BehindHello) {
      world.control.delay_us = 10'000;
      say_now(join({client_hello(), change}));
    } else {
      say_now(client_hello());
    }
    if (row.point == Point::Again) say_now(plain_record(world.config.suite, 20, {1}));
    if (row.point == Point::BehindFlight || row.point == Point::Again) say_now(change);
    say_now(client_finished());
    if (row.point == Point::BehindKeys) say_now(change);
    if (row.passes) {
      ASSERT_FALSE(world.backend_host.peers.empty());
      say_now(join({client.seal(ContentType::application_data, {42}), client.close_notify()}));
      backend_of(world).finish = true;
      client.finish();
      world.backend_host.pump(world.now);
      world.expect_clean(CloseReason::finished);
      EXPECT_EQ(backend_of(world).received, Bytes{42});
      continue;
    }
    ASSERT_TRUE(world.run_until([&] { return client.peer.finished_by_peer || client.peer.closed; },
                                2'000'000));
    if (row.plain_alert >= 0) {
      EXPECT_EQ(client.peer.received, (Bytes{21, 3, 3, 0, 2, 2, 10}));
    }
    EXPECT_EQ(client.alert, row.point == Point::BehindKeys ? 10 : -1);
    client.finish();
    world.client_host.pump(world.now);
    world.expect_clean(CloseReason::unexpected_record_type);
  }
}

}  // namespace
}  // namespace sluice::flow::test
