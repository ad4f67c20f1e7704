// What records mean after the handshake, as tables of plaintext in -> action out.
#include "tls/post_handshake.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "fixture.h"
#include "tls/limits.h"
#include "tls/open.h"
#include "tls/seal.h"

namespace sluice::tls::test {
namespace {

using abi::CloseReason;
using abi::Counter;

const Bytes kUpdate = {24, 0, 0, 1, 0};
const Bytes kUpdateRequested = {24, 0, 0, 1, 1};

class Handler {
 public:
  explicit Handler(const Variant& suite) : pair(suite) {}
  Action handle(ContentType type, const Bytes& plaintext) {
    reply.assign(kMaxReplyBytes, 0);
    const Action action =
        handle_record(pair.server.layer, pair.server.keys, type, plaintext, reply.data());
    reply.resize(action.reply_bytes);
    return action;
  }
  uint64_t count(Counter counter) const { return pair.server.counters.get(counter); }

  Pair pair;
  Bytes reply;
};

struct Row {
  const char* name;
  ContentType type;
  Bytes plaintext;
  ActionKind kind;
  CloseReason reason = CloseReason::none;
  Alert alert = Alert::none;
  int peer_alert = 255;
};

void check(const Variant& suite, const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    Handler handler(suite);
    const Action action = handler.handle(row.type, row.plaintext);
    EXPECT_EQ(action.kind, row.kind) << row.name;
    EXPECT_EQ(action.refusal.reason, row.reason) << row.name;
    EXPECT_EQ(action.refusal.alert, row.alert) << row.name;
    EXPECT_EQ(action.peer_alert, row.peer_alert) << row.name;
    EXPECT_EQ(action.reply_bytes != 0, row.kind == ActionKind::Reply) << row.name;
  }
}

constexpr auto kData = ContentType::application_data;
constexpr auto kAlert = ContentType::alert;
constexpr auto kHandshake = ContentType::handshake;
constexpr auto kChange = ContentType::change_cipher_spec;
constexpr auto Deliver = ActionKind::Deliver;
constexpr auto Ignore = ActionKind::Ignore;
constexpr auto Close = ActionKind::Close;
constexpr auto PeerClosed = ActionKind::PeerClosed;
constexpr auto Reply = ActionKind::Reply;
constexpr auto BadAlert = CloseReason::bad_alert;
constexpr auto BadMessage = CloseReason::bad_handshake_message;
constexpr auto ClientAlert = CloseReason::client_alert;
constexpr auto BadType = CloseReason::unexpected_record_type;

TEST(PostHandshake, EveryVersion) {
  for (const Variant& suite : every_suite()) {
    SCOPED_TRACE(suite.name());
    check(suite, {
      {"data", kData, {1}, Deliver},
      {"no data", kData, {}, Ignore},
      {"close_notify", kAlert, {1, 0}, PeerClosed, CloseReason::none, Alert::none, 0},
      {"close_notify, fatal", kAlert, {2, 0}, PeerClosed, CloseReason::none, Alert::none, 0},
      {"user_canceled", kAlert, {1, 90}, Ignore, CloseReason::none, Alert::none, 90},
      {"fatal", kAlert, {2, 80}, Close, ClientAlert, Alert::none, 80},
      {"fatal of no RFC", kAlert, {2, 200}, Close, ClientAlert, Alert::none, 200},
      {"empty alert", kAlert, {}, Close, BadAlert, Alert::unexpected_message},
      {"half an alert", kAlert, {1}, Close, BadAlert, Alert::decode_error},
      {"two alerts", kAlert, {1, 0, 1, 0}, Close, BadAlert, Alert::decode_error},
      {"alert of level 0", kAlert, {0, 0}, Close, BadAlert, Alert::illegal_parameter},
      {"alert of level 3", kAlert, {3, 40}, Close, BadAlert, Alert::illegal_parameter},
      {"empty handshake", kHandshake, {}, Close, BadMessage, Alert::unexpected_message},
      {"finished", kHandshake, {20, 0, 0, 0}, Close, BadMessage, Alert::unexpected_message},
      {"hello request", kHandshake, {0, 0, 0, 0}, Close, BadMessage, Alert::unexpected_message},
      {"change_cipher_spec", kChange, {1}, Close, BadType, Alert::unexpected_message},
      {"heartbeat", static_cast<ContentType>(24), {1}, Close, BadType, Alert::unexpected_message},
    });
  }
}

TEST(PostHandshake, Tls13) {
  const auto illegal = Alert::illegal_parameter;
  const auto unexpected = Alert::unexpected_message;
  check(kAes256Tls13, {
    {"warning is fatal", kAlert, {1, 40}, Close, ClientAlert, Alert::none, 40},
    {"fatal user_canceled", kAlert, {2, 90}, Ignore, CloseReason::none, Alert::none, 90},
    {"no_renegotiation", kAlert, {1, 100}, Close, ClientAlert, Alert::none, 100},
    {"key update", kHandshake, kUpdate, Ignore},
    {"key update requested", kHandshake, kUpdateRequested, Reply},
    {"request 2", kHandshake, {24, 0, 0, 1, 2}, Close, BadMessage, illegal},
    {"request 255", kHandshake, {24, 0, 0, 1, 255}, Close, BadMessage, illegal},
    {"no body", kHandshake, {24, 0, 0, 0}, Close, BadMessage, Alert::decode_error},
    {"long body", kHandshake, {24, 0, 0, 2, 0, 0}, Close, BadMessage, Alert::decode_error},
    {"huge body", kHandshake, {24, 255, 255, 255}, Close, BadMessage, Alert::decode_error},
    {"byte behind", kHandshake, {24, 0, 0, 1, 0, 24}, Close, BadMessage, unexpected},
    {"two in a record", kHandshake, {24, 0, 0, 1, 0, 24, 0, 0, 1, 0}, Close, BadMessage,
     unexpected},
    {"start of one", kHandshake, {24, 0}, Ignore},
    {"client hello", kHandshake, {1, 0, 0, 2, 3, 3}, Close, BadMessage, unexpected},
    {"ticket from a client", kHandshake, {4, 0, 0, 1, 0}, Close, BadMessage, unexpected},
    {"certificate", kHandshake, {11}, Close, BadMessage, unexpected},
    {"end of early data", kHandshake, {5, 0, 0, 0}, Close, BadMessage, unexpected},
  });
}

TEST(PostHandshake, BeforeTls13) {
  for (const Variant& suite : every_suite()) {
    if (suite.tls13()) continue;
    SCOPED_TRACE(suite.name());
    check(suite, {
    {"warning", kAlert, {1, 41}, Ignore, CloseReason::none, Alert::none, 41},
    {"no_renegotiation", kAlert, {1, 100}, Ignore, CloseReason::none, Alert::none, 100},
    {"client hello", kHandshake, {1, 0, 0, 2, 3, 3}, Reply},
    {"start of one", kHandshake, {1, 0}, Ignore},
    {"header of one", kHandshake, {1, 0, 1, 0}, Reply},
    {"long hello", kHandshake, {1, 0, 0x40, 1}, Close, BadMessage, Alert::decode_error},
    {"two hellos", kHandshake, {1, 0, 0, 1, 9, 1, 0, 0, 1, 9}, Close, BadMessage,
     Alert::unexpected_message},
    {"hello, then finished", kHandshake, {1, 0, 0, 1, 9, 20}, Close, BadMessage,
     Alert::unexpected_message},
    {"key update", kHandshake, kUpdate, Close, BadMessage, Alert::unexpected_message},
    });
  }
}

// RFC 5246 7.2.2 and the older ones': these are always fatal, whatever their level says.
constexpr uint8_t kAlwaysFatal[] = {10, 20, 21, 22, 30, 40, 47, 48,
                                    49, 50, 51, 70, 71, 80, 86, 110};

// Every description at both levels: taken as RFC 8446 6 or RFC 5246 7.2 has it, and counted.
TEST(PostHandshake, EveryAlert) {
  for (const Variant& suite : every_suite()) {
    SCOPED_TRACE(suite.name());
    for (int description = 0; description < 256; ++description) {
      for (const uint8_t level : {uint8_t{1}, uint8_t{2}}) {
        const auto byte = static_cast<uint8_t>(description);
        const bool always = std::find(std::begin(kAlwaysFatal), std::end(kAlwaysFatal), byte) !=
                            std::end(kAlwaysFatal);
        const bool harmless = suite.tls13() ? byte == 90 : level == 1 && !always;
        Handler handler(suite);
        const Action action = handler.handle(kAlert, {level, byte});
        EXPECT_EQ(action.peer_alert, byte);
        EXPECT_EQ(handler.count(Counter::tls_close_notify_in), byte == 0 ? 1U : 0U);
        EXPECT_EQ(handler.count(Counter::tls_alerts_in), byte == 0 ? 0U : 1U);
        EXPECT_EQ(handler.count(Counter::tls_warnings_in), byte != 0 && harmless ? 1U : 0U);
        if (byte == 0) {
          EXPECT_EQ(action.kind, PeerClosed);
        } else {
          EXPECT_EQ(action.kind, harmless ? Ignore : Close) << description << " at " << int{level};
          EXPECT_EQ(action.refusal.reason, harmless ? CloseReason::none : ClientAlert);
          EXPECT_EQ(action.refusal.alert, Alert::none);
        }
      }
    }
  }
}

// KeyUpdate cut over records in every way (RFC 8446 5.1), and nothing between its parts.
TEST(PostHandshake, FragmentedKeyUpdate) {
  for (uint32_t cuts = 0; cuts < 16; ++cuts) {
    Handler handler(kAes128Tls13);
    Bytes part;
    for (uint32_t i = 0; i < kUpdate.size(); ++i) {
      part.push_back(kUpdateRequested[i]);
      const bool last = i + 1 == kUpdate.size();
      if (!last && (cuts & (1U << i)) == 0) continue;
      EXPECT_EQ(handler.handle(kHandshake, part).kind, last ? Reply : Ignore) << cuts;
      part.clear();
    }
    EXPECT_EQ(handler.pair.server.keys.open.key_generation(), 1U);
    EXPECT_EQ(handler.pair.server.keys.seal.key_generation(), 1U);
  }
  for (const ContentType between : {kData, kAlert, kChange}) {
    Handler handler(kAes128Tls13);
    EXPECT_EQ(handler.handle(kHandshake, {24, 0}).kind, Ignore);
    const Action action = handler.handle(between, {1, 0});
    EXPECT_EQ(action.kind, Close);
    EXPECT_EQ(action.refusal.alert, Alert::unexpected_message);
  }
}

TEST(PostHandshake, FragmentedRenegotiationIsSkippedWhole) {
  Handler handler(kAes128Tls12);
  Bytes hello(300, 0x33);
  hello[0] = 1;
  hello[1] = 0;
  hello[2] = 1;
  hello[3] = 40;  // 4 + 296
  uint32_t replies = 0;
  for (long at = 0; at < 300; at += 3) {
    const Bytes part(hello.begin() + at, hello.begin() + at + 3);
    const Action action = handler.handle(kHandshake, part);
    EXPECT_NE(action.kind, Close) << at;
    if (action.kind == Reply) ++replies;
    EXPECT_EQ(handler.handle(kData, {1}).kind, Deliver);  // RFC 5246 allows data between
  }
  EXPECT_EQ(replies, 1U);
  EXPECT_EQ(handler.handle(kHandshake, {1, 0, 0, 0}).kind, Reply);
}

// The answer is sealed with the old key, what follows with the new one.
TEST(PostHandshake, KeyUpdateOrder) {
  Handler handler(kAes128Tls13);
  End& client = handler.pair.client;
  End& server = handler.pair.server;
  const Bytes request = handler.pair.client_seals(kHandshake, kUpdateRequested);
  update_keys(client.layer, client.keys, Direction::Seal);
  const Bytes data = handler.pair.client_seals(kData, Bytes{7});

  uint8_t out[64];
  ConstPiece piece;
  OpenResult opened = open_record(server.layer, server.keys, one_piece(request, piece), out);
  ASSERT_EQ(opened.type, kHandshake);
  ASSERT_EQ(handler.handle(kHandshake, Bytes(out, out + opened.length)).kind, Reply);
  opened = open_record(server.layer, server.keys, one_piece(data, piece), out);
  EXPECT_EQ(opened.verdict, Verdict::Accept);

  opened = open_record(client.layer, client.keys, one_piece(handler.reply, piece), out);
  ASSERT_EQ(opened.verdict, Verdict::Accept);
  EXPECT_EQ(Bytes(out, out + opened.length), kUpdate);
  update_keys(client.layer, client.keys, Direction::Open);
  Bytes alert(kMaxReplyBytes);
  alert.resize(seal_alert(server.layer, server.keys, Alert::close_notify, alert.data()));
  opened = open_record(client.layer, client.keys, one_piece(alert, piece), out);
  EXPECT_EQ(opened.verdict, Verdict::Accept);
  EXPECT_EQ(handler.count(Counter::tls_key_updates_in), 1U);
  EXPECT_EQ(handler.count(Counter::tls_key_updates_out), 1U);
}

TEST(PostHandshake, StreamsOfNothingEnd) {
  const struct {
    const char* name;
    Variant suite;
    ContentType type;
    Bytes plaintext;
    CloseReason reason;
  } rows[] = {
      {"empty data", kAes128Tls13, kData, {}, CloseReason::too_many_empty_records},
      {"empty data 1.2", kAes128Tls12, kData, {}, CloseReason::too_many_empty_records},
      {"empty data CBC", kCbcSha256, kData, {}, CloseReason::too_many_empty_records},
      {"empty data 1.0", {kCbcSha1, TlsVersion::Tls10}, kData, {},
       CloseReason::too_many_empty_records},
      {"user_canceled", kAes128Tls13, kAlert, {1, 90}, CloseReason::too_many_warnings},
      {"warnings 1.2", kAes128Tls12, kAlert, {1, 100}, CloseReason::too_many_warnings},
      {"warnings 1.1", {kCbcSha1, TlsVersion::Tls11}, kAlert, {1, 41},
       CloseReason::too_many_warnings},
      {"key updates", kAes128Tls13, kHandshake, kUpdate, CloseReason::too_many_key_updates},
      {"requested key updates", kChachaTls13, kHandshake, kUpdateRequested,
       CloseReason::too_many_key_updates},
      {"renegotiation 1.2", kAes128Tls12, kHandshake, {1, 0, 0, 0},
       CloseReason::too_many_renegotiations},
      {"renegotiation 1.0", {kCbcSha1, TlsVersion::Tls10}, kHandshake, {1, 0, 0, 0},
       CloseReason::too_many_renegotiations},
  };
  for (const auto& row : rows) {
    Handler handler(row.suite);
    for (int i = 0; i < kIdleRecordCredits; ++i) {
      ASSERT_NE(handler.handle(row.type, row.plaintext).kind, Close) << row.name << " " << i;
    }
    const Action action = handler.handle(row.type, row.plaintext);
    EXPECT_EQ(action.kind, Close) << row.name;
    EXPECT_EQ(action.refusal.reason, row.reason) << row.name;
    EXPECT_EQ(action.refusal.alert, Alert::unexpected_message) << row.name;
  }
}

// OpenSSL's clients put an empty record in front of each with data in TLS 1.0: that never ends.
TEST(PostHandshake, EmptyRecordsInFrontOfDataAreFreeInTls10) {
  Handler handler({kCbcSha1, TlsVersion::Tls10});
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(handler.handle(kData, {}).kind, Ignore) << i;
    ASSERT_EQ(handler.handle(kData, {1}).kind, Deliver) << i;
  }
}

// The answer to our own request costs nothing, however often we ask.
TEST(PostHandshake, KeyUpdatesThatWeAskForAreFree) {
  End server(16, RecordPolicy{.key_update_after_records = 2});
  ASSERT_TRUE(install_keys(server.layer, make_keys(kAes128Tls13), server.keys));
  uint8_t reply[kMaxReplyBytes];
  for (int round = 0; round < 500; ++round) {
    (void)server.keys.open.take_sequence();
    (void)server.keys.open.take_sequence();
    ASSERT_TRUE(key_update_due(server.layer, server.keys));
    ASSERT_GT(seal_key_update(server.layer, server.keys, reply), 0U);
    ASSERT_FALSE(key_update_due(server.layer, server.keys)) << "asked once";
    const Action action = handle_record(server.layer, server.keys, kHandshake, kUpdate, reply);
    ASSERT_EQ(action.kind, Ignore) << round;
    ASSERT_EQ(server.keys.open.sequence(), 0U);
  }
}

TEST(PostHandshake, DataEarnsCredit) {
  Handler handler(kAes128Tls13);
  for (int round = 0; round < 1000; ++round) {
    for (int i = 0; i < kDataRecordsPerCredit; ++i) {
      ASSERT_EQ(handler.handle(kData, {1}).kind, Deliver);
    }
    ASSERT_EQ(handler.handle(kHandshake, kUpdate).kind, Ignore) << round;
  }
  // The credit has a ceiling: no amount of data buys a longer stream of nothing.
  for (int i = 0; i < 100000; ++i) (void)handler.handle(kData, {1});
  int ignored = 0;
  while (handler.handle(kData, {}).kind == Ignore) ++ignored;
  EXPECT_EQ(ignored, kIdleRecordCredits);
}

TEST(PostHandshake, ExhaustedSealKeyClosesInsteadOfAnswering) {
  abi::InstallKeys message = make_keys(kAes128Tls13);
  message.seal.sequence = kMaxSealedRecords13 - 1;
  End server;
  ASSERT_TRUE(install_keys(server.layer, message, server.keys));
  uint8_t reply[kMaxReplyBytes];
  ASSERT_GT(seal_alert(server.layer, server.keys, Alert::user_canceled, reply), 0U);
  const Action action =
      handle_record(server.layer, server.keys, kHandshake, kUpdateRequested, reply);
  EXPECT_EQ(action.kind, Close);
  EXPECT_EQ(action.refusal.reason, CloseReason::sequence_exhausted);
}

TEST(PostHandshake, Counters) {
  Handler handler(kAes128Tls12);
  (void)handler.handle(kAlert, {1, 0});
  (void)handler.handle(kAlert, {1, 41});
  (void)handler.handle(kAlert, {2, 41});
  EXPECT_EQ(handler.count(Counter::tls_close_notify_in), 1U);
  EXPECT_EQ(handler.count(Counter::tls_alerts_in), 2U);
  EXPECT_EQ(handler.count(Counter::tls_warnings_in), 1U);
  (void)handler.handle(kHandshake, {1, 0, 0, 0});
  EXPECT_EQ(handler.count(Counter::tls_renegotiations_refused), 1U);
}

}  // namespace
}  // namespace sluice::tls::test
