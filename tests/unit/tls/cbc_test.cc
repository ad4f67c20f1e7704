// CBC records: lengths and cuts, batches over many flows, TLS 1.0's chaining and splitting, IVs,
// and everything that is wrong with a record answered by the one alert.
#include "tls/cbc.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "fixture.h"
#include "tls/limits.h"
#include "tls/seal.h"

namespace sluice::tls::test {
namespace {

using abi::CloseReason;
using abi::Counter;

constexpr auto kData = ContentType::application_data;

Bytes sealed(End& end, ContentType type, const Bytes& plaintext) {
  Bytes out(cbc_sealed_size(end.keys, type, static_cast<uint32_t>(plaintext.size())));
  const ConstPiece piece{plaintext.data(), static_cast<uint32_t>(plaintext.size())};
  EXPECT_EQ(seal_record(end.layer, end.keys, type, {&piece, 1}, out.data()), out.size());
  return out;
}

struct Opened {
  OpenResult result;
  Bytes data;
  uint32_t records = 0;
};

// Opens every record of a stream, cut at random; stops at the first that is refused.
Opened open_stream(End& end, std::span<const uint8_t> stream, std::mt19937& random) {
  Opened opened;
  while (!stream.empty()) {
    const Frame frame = next_record(phase_of(end.keys), stream);
    if (frame.verdict != Verdict::Accept || frame.record_bytes > stream.size()) {
      ADD_FAILURE() << "framing";
      break;
    }
    const auto pieces = cut(stream.first(frame.record_bytes), 1 + random() % 1448, random);
    stream = stream.subspan(frame.record_bytes);
    Bytes out(open_output_bytes(end.keys, frame.header.length) + 8, 0xEE);
    opened.result = open_record(end.layer, end.keys, pieces, out.data());
    EXPECT_EQ(Bytes(out.end() - 8, out.end()), Bytes(8, 0xEE));
    if (opened.result.verdict != Verdict::Accept) {
      EXPECT_EQ(Bytes(out.begin(), out.end() - 8), Bytes(out.size() - 8)) << "not zeroed";
      break;
    }
    opened.data.insert(opened.data.end(), out.begin(), out.begin() + opened.result.length);
    ++opened.records;
  }
  return opened;
}

class Cbc : public testing::TestWithParam<Variant> {};
INSTANTIATE_TEST_SUITE_P(Suites, Cbc, testing::ValuesIn(kEveryCbc));

TEST_P(Cbc, RandomLengthsAndCuts) {
  std::mt19937 random(GetParam().suite);
  Pair pair(GetParam());
  for (uint32_t round = 0; round < 300; ++round) {
    const uint32_t limit = round % 8 == 0 ? abi::kMaxPlaintextBytes : 600;
    const auto length = static_cast<uint32_t>(round == 0 ? limit : random() % (limit + 1));
    const Bytes plaintext = random_bytes(length, random);
    const Opened opened =
        open_stream(pair.server, sealed(pair.client, kData, plaintext), random);
    ASSERT_EQ(opened.result.verdict, Verdict::Accept) << round;
    ASSERT_EQ(opened.data, plaintext) << round;
    const bool split = GetParam().version() == TlsVersion::Tls10 && length > 1;
    ASSERT_EQ(opened.records, split ? 2U : 1U);
  }
  EXPECT_EQ(pair.client.counters.get(Counter::tls_bytes_sealed),
            pair.server.counters.get(Counter::tls_bytes_opened));
  EXPECT_EQ(pair.client.counters.get(Counter::tls_records_sealed),
            pair.server.counters.get(Counter::tls_records_opened));
}

// Many flows' records through one batch each way, more than a call takes and a cache of few keys.
TEST_P(Cbc, BatchesOverManyFlows) {
  constexpr uint32_t kFlows = 75;
  std::mt19937 random(5);
  End servers(4);
  End clients(4);
  std::vector<FlowKeys> server(kFlows);
  std::vector<FlowKeys> client(kFlows);
  std::vector<Bytes> plaintext(kFlows);
  for (uint32_t i = 0; i < kFlows; ++i) {
    const abi::InstallKeys message = make_keys(GetParam(), i + 1);
    ASSERT_TRUE(install_keys(servers.layer, message, server[i]));
    ASSERT_TRUE(install_keys(clients.layer, mirrored(message), client[i]));
  }
  for (int round = 0; round < 3; ++round) {
    std::vector<CbcSeal> seals(kFlows);
    std::vector<Bytes> records(kFlows);
    for (uint32_t i = 0; i < kFlows; ++i) {
      plaintext[i] = random_bytes(1 + random() % 3000, random);
      const auto pieces = cut(plaintext[i], 500, random);
      records[i].resize(sealed_size(client[i], static_cast<uint32_t>(plaintext[i].size())));
      prepare_seal(client[i], kData, pieces, records[i].data(), seals[i]);
    }
    seals[7].keys = nullptr;  // its flow has ended
    seal_batch(clients.layer, seals);
    std::vector<CbcOpen> opens;
    std::vector<Bytes> rooms;
    std::vector<uint32_t> flows;
    for (uint32_t i = 0; i < kFlows; ++i) {
      std::span<const uint8_t> rest(records[i]);
      while (i != 7 && !rest.empty()) {
        const Frame frame = next_record(phase_of(server[i]), rest);
        ASSERT_EQ(frame.verdict, Verdict::Accept);
        rooms.emplace_back(frame.header.length);
        const ConstPiece piece{rest.data(), frame.record_bytes};
        prepare_open(server[i], {&piece, 1}, rooms.back().data(), opens.emplace_back());
        flows.push_back(i);
        rest = rest.subspan(frame.record_bytes);
      }
    }
    open_batch(servers.layer, opens);
    std::vector<Bytes> got(kFlows);
    for (size_t i = 0; i < opens.size(); ++i) {
      ASSERT_EQ(opens[i].result.verdict, Verdict::Accept) << i;
      Bytes& data = got[flows[i]];
      data.insert(data.end(), opens[i].plaintext, opens[i].plaintext + opens[i].result.length);
    }
    for (uint32_t i = 0; i < kFlows; ++i) {
      ASSERT_EQ(got[i], i == 7 ? Bytes() : plaintext[i]) << i;
    }
    if (GetParam().version() == TlsVersion::Tls10) break;  // flow 7's chain is broken
  }
  EXPECT_GT(servers.counters.get(Counter::tls_cbc_jobs), 70U);
  EXPECT_GT(servers.counters.get(Counter::tls_cbc_batches), 2U);
  for (uint32_t i = 0; i < kFlows; ++i) {
    end_keys(servers.layer, server[i]);
    end_keys(clients.layer, client[i]);
  }
  EXPECT_EQ(servers.cache.used(), 0U);
}

// Several records of one flow may share a batch of opening, in TLS 1.0 too.
TEST_P(Cbc, OneFlowsRecordsShareABatch) {
  Pair pair(GetParam());
  std::vector<Bytes> records;
  Bytes expected;
  for (uint8_t i = 0; i < 40; ++i) {
    const Bytes one{i};
    records.push_back(sealed(pair.client, kData, one));
    expected.push_back(i);
  }
  std::vector<CbcOpen> opens(records.size());
  std::vector<Bytes> rooms(records.size());
  for (size_t i = 0; i < records.size(); ++i) {
    const ConstPiece piece{records[i].data(), static_cast<uint32_t>(records[i].size())};
    rooms[i].resize(records[i].size());
    prepare_open(pair.server.keys, {&piece, 1}, rooms[i].data(), opens[i]);
  }
  open_batch(pair.server.layer, opens);
  Bytes got;
  for (const CbcOpen& open : opens) {
    ASSERT_EQ(open.result.verdict, Verdict::Accept);
    got.insert(got.end(), open.plaintext, open.plaintext + open.result.length);
  }
  EXPECT_EQ(got, expected);
  EXPECT_EQ(pair.server.counters.get(Counter::tls_cbc_batches), 2U);
}

// Any flipped bit, any other length, another sequence or type: one alert, one reason, no plaintext.
TEST_P(Cbc, EverythingWrongIsBadRecordMac) {
  std::mt19937 random(3);
  Pair pair(GetParam());
  const Bytes record = sealed(pair.client, ContentType::alert, {1, 90});
  const auto expect_refused = [&](const Bytes& bytes, const char* what) {
    End server;
    ASSERT_TRUE(install_keys(server.layer, make_keys(GetParam()), server.keys));
    const Opened opened = open_stream(server, bytes, random);
    ASSERT_EQ(opened.result.verdict, Verdict::Refuse) << what;
    ASSERT_EQ(opened.result.refusal.reason, CloseReason::bad_record_mac) << what;
    ASSERT_EQ(opened.result.refusal.alert, Alert::bad_record_mac) << what;
    ASSERT_EQ(server.counters.get(Counter::tls_records_opened), 0U);
  };
  // TLS 1.0's first block decides nothing that the MAC does not cover.
  for (size_t bit = 5 * 8; bit < record.size() * 8; ++bit) {
    Bytes changed = record;
    changed[bit / 8] ^= static_cast<uint8_t>(1U << (bit % 8));
    expect_refused(changed, "flipped bit");
  }
  for (uint32_t length = 0; length < record.size() - 5; ++length) {
    Bytes shorter(record.begin(), record.begin() + 5 + length);
    shorter[3] = 0;
    shorter[4] = static_cast<uint8_t>(length);
    expect_refused(shorter, "cut");
  }
  Bytes other_type = record;
  other_type[0] = 22;
  expect_refused(other_type, "another type");
  const Bytes second = sealed(pair.client, ContentType::alert, {1, 90});
  expect_refused(second, "another sequence");
  End reversed;
  ASSERT_TRUE(install_keys(reversed.layer, make_keys(GetParam()), reversed.keys));
  expect_refused(sealed(reversed, ContentType::alert, {1, 90}), "the other direction's keys");
}

TEST_P(Cbc, FragmentLimitBindsTheClient) {
  std::mt19937 random(3);
  abi::InstallKeys message = make_keys(GetParam());
  End client;
  ASSERT_TRUE(install_keys(client.layer, mirrored(message), client.keys));
  message.open.fragment_limit_bytes = 512;
  End server;
  ASSERT_TRUE(install_keys(server.layer, message, server.keys));
  // Handshake records are not split.
  EXPECT_EQ(open_stream(server, sealed(client, ContentType::handshake, Bytes(512)), random)
                .result.verdict,
            Verdict::Accept);
  const Opened opened =
      open_stream(server, sealed(client, ContentType::handshake, Bytes(513)), random);
  EXPECT_EQ(opened.result.refusal.reason, CloseReason::record_overflow);
  EXPECT_EQ(opened.result.refusal.alert, Alert::record_overflow);
}

TEST_P(Cbc, SizesAreAsComputed) {
  Pair pair(GetParam());
  for (const uint32_t bytes : {0U, 20U, 100U, 101U, 107U, 111U, 112U, 113U, 500U, 1400U, 1448U}) {
    const uint32_t within = cbc_plaintext_within(pair.server.keys, bytes);
    if (within == 0) {
      EXPECT_GT(sealed_size(pair.server.keys, 1), bytes);
      continue;
    }
    EXPECT_LE(sealed_size(pair.server.keys, within), bytes);
    EXPECT_GT(sealed_size(pair.server.keys, within + 1), bytes);
  }
  EXPECT_LE(sealed_size(pair.server.keys, abi::kMaxPlaintextBytes),
            abi::kMaxPlaintextBytes + kMaxSealOverheadBytes);
  uint8_t out[kMaxReplyBytes];
  EXPECT_LE(seal_alert(pair.server.layer, pair.server.keys, Alert::close_notify, out),
            kMaxReplyBytes);
}

// TLS 1.1 and 1.2: an IV of its own for each record; TLS 1.0: none at all.
TEST_P(Cbc, ExplicitIvsNeverComeTwice) {
  if (GetParam().version() == TlsVersion::Tls10) return;
  Pair pair(GetParam());
  std::set<Bytes> seen;
  for (int i = 0; i < 2000; ++i) {
    const Bytes record = sealed(pair.server, kData, {1, 2, 3});
    EXPECT_TRUE(seen.insert(Bytes(record.begin() + 5, record.begin() + 21)).second);
  }
}

TEST_P(Cbc, LimitsCloseInsteadOfWrapping) {
  abi::InstallKeys message = make_keys(GetParam());
  message.seal.sequence = kMaxSealedRecords12 - kSealReserveRecords;
  End server;
  ASSERT_TRUE(install_keys(server.layer, message, server.keys));
  EXPECT_TRUE(seal_limit_reached(server.keys, kData));
  EXPECT_FALSE(seal_limit_reached(server.keys, ContentType::alert));
  EXPECT_FALSE(key_update_due(server.layer, server.keys));
  Bytes out(200);
  const ConstPiece piece{out.data(), 1};
  EXPECT_EQ(seal_record(server.layer, server.keys, kData, {&piece, 1}, out.data() + 50), 0U);
}

TEST(RandomSource, DrawsDifferAndAreErased) {
  RandomSource random(provider());
  std::set<Bytes> seen;
  for (int i = 0; i < 5000; ++i) {
    Bytes draw(16);
    random.fill(draw);
    EXPECT_TRUE(seen.insert(draw).second);
    // Of what was given out nothing is left in it.
    EXPECT_EQ(memmem(&random, sizeof random, draw.data(), draw.size()), nullptr);
  }
  uint32_t counts[10] = {};
  for (int i = 0; i < 10'000; ++i) ++counts[random.below(10)];
  for (const uint32_t count : counts) EXPECT_NEAR(count, 1000, 200);
  EXPECT_EQ(random.below(1), 0U);
}

TEST(RandomSource, TwoSourcesDiffer) {
  RandomSource a(provider());
  RandomSource b(provider());
  Bytes from_a(32);
  Bytes from_b(32);
  a.fill(from_a);
  b.fill(from_b);
  EXPECT_NE(from_a, from_b);
}

}  // namespace
}  // namespace sluice::tls::test
