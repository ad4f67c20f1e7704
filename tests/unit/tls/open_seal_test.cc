// Opening and sealing: every suite, lengths and cuts at random, every refusal by a table, and the
// records of RFC 8448.
#include <gtest/gtest.h>

#include <algorithm>

#include "fixture.h"
#include "tls/limits.h"
#include "tls/open.h"
#include "tls/pieces.h"
#include "tls/seal.h"
#include "vectors.h"

namespace sluice::tls::test {
namespace {

using abi::CloseReason;
using abi::Counter;

constexpr auto kData = ContentType::application_data;

struct Opened {
  OpenResult result;
  Bytes out;  // all of the room that was given, behind it a guard
};

Opened open_pieces(End& end, std::span<const ConstPiece> record) {
  Opened opened;
  const auto length = static_cast<uint32_t>(total_bytes(record)) - abi::kRecordHeaderBytes;
  opened.out.assign(open_output_bytes(end.keys, length) + 8, 0xEE);
  opened.result = open_record(end.layer, end.keys, record, opened.out.data());
  const Bytes guard(opened.out.end() - 8, opened.out.end());
  EXPECT_EQ(guard, Bytes(8, 0xEE));
  opened.out.resize(opened.out.size() - 8);
  return opened;
}

Opened open_whole(End& end, const Bytes& record) {
  ConstPiece piece;
  return open_pieces(end, one_piece(record, piece));
}

Bytes content(const Opened& opened) {
  return {opened.out.begin(), opened.out.begin() + opened.result.length};
}

TEST(OpenSeal, RandomLengthsAndCuts) {
  for (const Variant& suite : kEveryAead) {
    std::mt19937 random(suite.suite);
    Pair pair(suite);
    for (int round = 0; round < 400; ++round) {
      const uint32_t limit = round % 8 == 0 ? abi::kMaxPlaintextBytes : 600;
      const Bytes plaintext = random_bytes(random() % (limit + 1), random);
      const auto pieces = cut(plaintext, 1 + random() % 1448, random);
      Bytes record(sealed_size(pair.server.keys, static_cast<uint32_t>(plaintext.size())));
      ASSERT_EQ(seal_record(pair.server.layer, pair.server.keys, kData, pieces, record.data()),
                record.size());
      const Frame frame = next_record(phase_of(pair.server.keys), std::span<const uint8_t>(record));
      ASSERT_EQ(frame.verdict, Verdict::Accept);
      ASSERT_EQ(frame.record_bytes, record.size());
      const auto cuts = cut(record, 1 + random() % (round % 2 == 0 ? 7 : 1448), random);
      const Opened opened = open_pieces(pair.client, cuts);
      ASSERT_EQ(opened.result.verdict, Verdict::Accept) << suite.name() << " round " << round;
      ASSERT_EQ(opened.result.type, kData);
      ASSERT_EQ(content(opened), plaintext);
    }
    EXPECT_EQ(pair.server.counters.get(Counter::tls_records_sealed), 400U);
    EXPECT_EQ(pair.client.counters.get(Counter::tls_records_opened), 400U);
    EXPECT_EQ(pair.server.counters.get(Counter::tls_bytes_sealed),
              pair.client.counters.get(Counter::tls_bytes_opened));
  }
}

TEST(OpenSeal, EveryCutOfOneRecord) {
  for (const Variant& suite : kEveryAead) {
    const Bytes plaintext = {'s', 'l', 'u', 'i', 'c', 'e'};
    Pair pair(suite);
    const Bytes record = pair.client_seals(kData, plaintext);
    for (size_t i = 0; i <= record.size(); ++i) {
      for (size_t j = i; j <= record.size(); ++j) {
        End server;
        ASSERT_TRUE(install_keys(server.layer, make_keys(suite), server.keys));
        const auto piece = [&](size_t from, size_t to) {
          return ConstPiece{record.data() + from, static_cast<uint32_t>(to - from)};
        };
        const ConstPiece pieces[3] = {piece(0, i), piece(i, j), piece(j, record.size())};
        const Opened opened = open_pieces(server, pieces);
        ASSERT_EQ(opened.result.verdict, Verdict::Accept) << i << " " << j;
        ASSERT_EQ(content(opened), plaintext);
      }
    }
  }
}

// Any flipped bit: bad_record_mac, and not one byte of plaintext.
TEST(OpenSeal, EveryFlippedBitIsRefusedAndZeroed) {
  for (const Variant& suite : kEveryAead) {
    const Bytes plaintext(40, 0x5A);
    Pair pair(suite);
    const Bytes record = pair.client_seals(kData, plaintext);
    for (size_t bit = 0; bit < record.size() * 8; ++bit) {
      const size_t byte = bit / 8;
      if (byte == 3 || byte == 4) continue;  // the length: another record
      Bytes changed = record;
      changed[byte] ^= static_cast<uint8_t>(1U << (bit % 8));
      for (const size_t max_piece : {100000U, 9U}) {
        End server;
        ASSERT_TRUE(install_keys(server.layer, make_keys(suite), server.keys));
        std::mt19937 random(static_cast<uint32_t>(bit));
        const Opened opened = open_pieces(server, cut(changed, max_piece, random));
        ASSERT_EQ(opened.result.verdict, Verdict::Refuse) << "bit " << bit;
        ASSERT_EQ(opened.result.refusal.reason, CloseReason::bad_record_mac);
        ASSERT_EQ(opened.result.refusal.alert, Alert::bad_record_mac);
        ASSERT_EQ(opened.out, Bytes(opened.out.size(), 0));
      }
    }
  }
}

TEST(OpenSeal, RecordsOutOfOrderOrTwiceAreRefused) {
  for (const Variant& suite : kEveryAead) {
    Pair pair(suite);
    const Bytes first = pair.client_seals(kData, Bytes{1});
    const Bytes second = pair.client_seals(kData, Bytes{2});
    EXPECT_EQ(open_whole(pair.server, second).result.verdict, Verdict::Refuse);
    Pair again(suite);
    EXPECT_EQ(open_whole(again.server, first).result.verdict, Verdict::Accept);
    EXPECT_EQ(open_whole(again.server, first).result.verdict, Verdict::Refuse);
  }
}

struct InnerRow {
  const char* name;
  Bytes inner;  // content, type, padding
  Verdict verdict;
  CloseReason reason;
  Alert alert;
  ContentType type;
  uint32_t length;
};

Bytes inner(uint32_t content_bytes, uint8_t type, uint32_t padding) {
  Bytes bytes(content_bytes, 0x41);
  bytes.push_back(type);
  bytes.resize(bytes.size() + padding);
  return bytes;
}

InnerRow accept(const char* name, Bytes bytes, ContentType type, uint32_t length) {
  return {name, std::move(bytes), Verdict::Accept, CloseReason::none, Alert::none, type, length};
}
InnerRow refuse(const char* name, Bytes bytes, CloseReason reason, Alert alert) {
  return {name, std::move(bytes), Verdict::Refuse, reason, alert, kData, 0};
}

TEST(OpenTls13, InnerPlaintextTable) {
  constexpr auto BadInner = CloseReason::bad_inner_plaintext;
  constexpr auto Type = CloseReason::unexpected_record_type;
  constexpr auto Unexpected = Alert::unexpected_message;
  const InnerRow rows[] = {
      accept("data", inner(5, 23, 0), kData, 5),
      accept("empty data", inner(0, 23, 0), kData, 0),
      accept("padded", inner(5, 23, 100), kData, 5),
      accept("padding alone", inner(0, 23, 1000), kData, 0),
      accept("alert", inner(2, 21, 3), ContentType::alert, 2),
      accept("handshake", inner(5, 22, 0), ContentType::handshake, 5),
      accept("2^14", inner(16384, 23, 0), kData, 16384),
      accept("padded to 2^14 + 1", inner(100, 23, 16284), kData, 100),
      refuse("2^14 + 1 content", inner(16385, 23, 0), CloseReason::record_overflow,
             Alert::record_overflow),
      refuse("padded past 2^14 + 1", inner(100, 23, 16285), CloseReason::record_overflow,
             Alert::record_overflow),
      refuse("longest record", inner(16600, 23, 23), CloseReason::record_overflow,
             Alert::record_overflow),
      refuse("no type", Bytes(), BadInner, Unexpected),
      refuse("zeros", Bytes(50), BadInner, Unexpected),
      refuse("change_cipher_spec", inner(1, 20, 0), Type, Unexpected),
      refuse("type 24", inner(1, 24, 0), Type, Unexpected),
      refuse("type 255", inner(1, 255, 4), Type, Unexpected),
  };
  for (const InnerRow& row : rows) {
    const abi::InstallKeys message = make_keys(kAes128Tls13);
    End server;
    ASSERT_TRUE(install_keys(server.layer, message, server.keys));
    const Opened opened = open_whole(server, forge13(message, 0, row.inner));
    EXPECT_EQ(opened.result.verdict, row.verdict) << row.name;
    EXPECT_EQ(opened.result.refusal.reason, row.reason) << row.name;
    EXPECT_EQ(opened.result.refusal.alert, row.alert) << row.name;
    EXPECT_EQ(opened.result.length, row.length) << row.name;
    EXPECT_EQ(opened.result.type, row.type) << row.name;
    if (row.verdict == Verdict::Refuse) {
      EXPECT_EQ(opened.out, Bytes(opened.out.size(), 0)) << row.name;
    }
  }
}

// RFC 8446 5.1: the version is ignored, but it is authenticated as it stands.
TEST(OpenTls13, RecordVersionIsPartOfTheTag) {
  const abi::InstallKeys message = make_keys(kAes128Tls13);
  End server;
  ASSERT_TRUE(install_keys(server.layer, message, server.keys));
  const Bytes record = forge13(message, 0, inner(3, 23, 0), 23, 0x0301);
  EXPECT_EQ(open_whole(server, record).result.verdict, Verdict::Accept);
}

TEST(Open, ShortRecordsAreAsGoodAsForged) {
  for (const Variant& suite : kEveryAead) {
    const uint32_t overhead = suite.tls13() || suite.suite == kChachaTls12 ? 16 : 24;
    for (uint32_t length = 0; length <= overhead; ++length) {
      End server;
      ASSERT_TRUE(install_keys(server.layer, make_keys(suite), server.keys));
      Bytes record(abi::kRecordHeaderBytes + length, 0x11);
      write_header(record.data(), kData, 0x0303, length);
      const Opened opened = open_whole(server, record);
      EXPECT_EQ(opened.result.verdict, Verdict::Refuse) << length;
      EXPECT_EQ(opened.result.refusal.alert, Alert::bad_record_mac) << length;
    }
  }
}

TEST(Open, NegotiatedFragmentLimitBindsTheClient) {
  for (const Variant& suite : kEveryAead) {
    abi::InstallKeys message = make_keys(suite);
    End client;
    ASSERT_TRUE(install_keys(client.layer, mirrored(message), client.keys));
    message.open.fragment_limit_bytes = 512;
    End server;
    ASSERT_TRUE(install_keys(server.layer, message, server.keys));
    for (const uint32_t length : {512U, 513U}) {
      const Bytes plaintext(length, 1);
      const ConstPiece piece{plaintext.data(), length};
      Bytes record(sealed_size(client.keys, length));
      ASSERT_GT(seal_record(client.layer, client.keys, kData, {&piece, 1}, record.data()), 0U);
      const Opened opened = open_whole(server, record);
      EXPECT_EQ(opened.result.verdict, length == 512 ? Verdict::Accept : Verdict::Refuse);
      if (length == 513) {
        EXPECT_EQ(opened.result.refusal.alert, Alert::record_overflow);
        EXPECT_EQ(opened.out, Bytes(opened.out.size(), 0));
      }
    }
  }
}

TEST(Open, SequenceLimit) {
  abi::InstallKeys message = make_keys(kAes128Tls13);
  message.open.sequence = kMaxOpenedRecords - 1;
  Pair pair(kAes128Tls13);  // its records serve as input; the client cannot seal that far
  End server;
  ASSERT_TRUE(install_keys(server.layer, message, server.keys));
  const Bytes last = forge13(message, kMaxOpenedRecords - 1, inner(3, 23, 0));
  EXPECT_EQ(open_whole(server, last).result.verdict, Verdict::Accept);
  const Opened opened = open_whole(server, last);
  EXPECT_EQ(opened.result.refusal.reason, CloseReason::sequence_exhausted);
}

TEST(Seal, SizesAndBounds) {
  for (const Variant& suite : kEveryAead) {
    Pair pair(suite);
    const bool tls13 = pair.server.keys.tls13();
    EXPECT_EQ(max_plaintext(pair.server.keys), 16384U);
    const uint32_t extra = tls13 ? 1 : suite.suite == kChachaTls12 ? 0 : 8;
    EXPECT_EQ(sealed_size(pair.server.keys, 100), 121U + extra);
    EXPECT_LE(sealed_size(pair.server.keys, 0), kMaxSealOverheadBytes);
    uint8_t out[kMaxReplyBytes];
    EXPECT_LE(seal_alert(pair.server.layer, pair.server.keys, Alert::close_notify, out),
              kMaxReplyBytes);
  }
}

TEST(Seal, ExplicitNonceContinuesControlsNumbering) {
  abi::InstallKeys message = make_keys(kAes128Tls12);
  message.seal.next_explicit_nonce = 0x0102030405060708;
  Pair pair(message);
  uint8_t out[kMaxReplyBytes];
  ASSERT_GT(seal_alert(pair.server.layer, pair.server.keys, Alert::user_canceled, out), 0U);
  EXPECT_EQ(Bytes(out + 5, out + 13), (Bytes{1, 2, 3, 4, 5, 6, 7, 8}));
  ASSERT_GT(seal_alert(pair.server.layer, pair.server.keys, Alert::user_canceled, out), 0U);
  EXPECT_EQ(Bytes(out + 5, out + 13), (Bytes{1, 2, 3, 4, 5, 6, 7, 9}));
}

TEST(Seal, AlertLevels) {
  const std::pair<Alert, uint8_t> rows[] = {
      {Alert::close_notify, 1},    {Alert::user_canceled, 1},  {Alert::no_renegotiation, 1},
      {Alert::bad_record_mac, 2},  {Alert::decode_error, 2},   {Alert::unexpected_message, 2},
  };
  for (const auto& [alert, level] : rows) {
    Pair pair(kAes128Tls13);
    Bytes record(kMaxReplyBytes);
    record.resize(seal_alert(pair.server.layer, pair.server.keys, alert, record.data()));
    const Opened opened = open_whole(pair.client, record);
    EXPECT_EQ(opened.result.type, ContentType::alert);
    EXPECT_EQ(content(opened), (Bytes{level, static_cast<uint8_t>(alert)}));
    EXPECT_EQ(pair.server.counters.get(Counter::tls_close_notify_out),
              alert == Alert::close_notify ? 1U : 0U);
    EXPECT_EQ(pair.server.counters.get(Counter::tls_alerts_out), level == 2 ? 1U : 0U);
  }
}

TEST(SealDeathTest, LongerThanTheLimitIsAProgrammingError) {
  abi::InstallKeys message = make_keys(kAes128Tls13);
  message.seal.fragment_limit_bytes = 512;
  Pair pair(message);
  const Bytes plaintext(513, 1);
  const ConstPiece piece{plaintext.data(), 513};
  Bytes out(1024);
  EXPECT_DEATH((void)seal_record(pair.server.layer, pair.server.keys, kData, {&piece, 1},
                                 out.data()),
               "assertion failed");
}

// A small cache makes every record of three flows a miss: nothing but the speed may change.
TEST(OpenSeal, WorksWhileTheCacheThrashes) {
  End server(2);
  FlowKeys flows[3];
  std::vector<std::unique_ptr<End>> clients;
  for (uint32_t i = 0; i < 3; ++i) {
    const abi::InstallKeys message = make_keys(kAes128Tls13, 2 * i + 1);
    ASSERT_TRUE(install_keys(server.layer, message, flows[i]));
    clients.push_back(std::make_unique<End>());
    ASSERT_TRUE(install_keys(clients[i]->layer, mirrored(message), clients[i]->keys));
  }
  for (int round = 0; round < 50; ++round) {
    for (uint32_t i = 0; i < 3; ++i) {
      const Bytes plaintext(10 + i, static_cast<uint8_t>(round));
      const ConstPiece piece{plaintext.data(), static_cast<uint32_t>(plaintext.size())};
      Bytes record(sealed_size(flows[i], piece.length));
      ASSERT_GT(seal_record(server.layer, flows[i], kData, {&piece, 1}, record.data()), 0U);
      const Opened opened = open_whole(*clients[i], record);
      ASSERT_EQ(opened.result.verdict, Verdict::Accept);
      ASSERT_EQ(content(opened), plaintext);
    }
  }
  EXPECT_GT(server.counters.get(Counter::tls_key_cache_misses), 100U);
  for (FlowKeys& flow : flows) end_keys(server.layer, flow);
  EXPECT_EQ(server.cache.used(), 0U);
}

// RFC 8448 section 3: each record opened, and sealed again to the same bytes.
TEST(Rfc8448, RecordsOpenAndSeal) {
  int rows = 0;
  for (const auto& vector : crypto::test::read_vectors("rfc8448/records.txt")) {
    abi::InstallKeys message = make_keys(kAes128Tls13);
    const Bytes secret = vector.bytes("Secret");
    ASSERT_EQ(secret.size(), 32U);
    std::copy(secret.begin(), secret.end(), message.open.secret);
    message.open.sequence = std::stoul(vector.text("Sequence"));
    Pair pair(message);
    const auto type = static_cast<ContentType>(vector.bytes("Type")[0]);
    const Bytes record = vector.bytes("Record");
    const Opened opened = open_whole(pair.server, record);
    EXPECT_EQ(opened.result.verdict, Verdict::Accept) << vector.name();
    EXPECT_EQ(opened.result.type, type) << vector.name();
    EXPECT_EQ(content(opened), vector.bytes("Payload")) << vector.name();
    EXPECT_EQ(pair.client_seals(type, vector.bytes("Payload")), record) << vector.name();
    ++rows;
  }
  EXPECT_GE(rows, 4);
}

}  // namespace
}  // namespace sluice::tls::test
