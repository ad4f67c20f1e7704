// TLS 1.3 padding by policy, and what a reduced record limit means for it (RFC 8446 5.4, RFC 8449).
#include <gtest/gtest.h>

#include <set>

#include "fixture.h"
#include "tls/limits.h"
#include "tls/open.h"
#include "tls/seal.h"

namespace sluice::tls::test {
namespace {

constexpr auto kData = ContentType::application_data;

struct Ends {
  Ends(const Variant& suite, const RecordPolicy& policy, uint32_t limit_bytes = 16384)
      : server(16, policy) {
    abi::InstallKeys message = make_keys(suite);
    message.seal.fragment_limit_bytes = limit_bytes;
    if (!install_keys(server.layer, message, server.keys) ||
        !install_keys(client.layer, mirrored(message), client.keys)) {
      throw std::runtime_error("keys were refused");
    }
  }
  // Seals so much data with what the policy chooses; the client opens it. The record's size.
  uint32_t exchange(uint32_t length) {
    const Bytes data(length, 0x5a);
    ConstPiece piece;
    const uint32_t padding = choose_padding(server.layer, server.keys, length);
    Bytes record(sealed_size(server.keys, length, padding));
    EXPECT_EQ(seal_record(server.layer, server.keys, kData, one_piece(data, piece), record.data(),
                          padding),
              record.size());
    Bytes out(open_output_bytes(client.keys, static_cast<uint32_t>(record.size()) - 5));
    const OpenResult opened =
        open_record(client.layer, client.keys, one_piece(record, piece), out.data());
    EXPECT_EQ(opened.verdict, Verdict::Accept) << length;
    out.resize(opened.length);
    EXPECT_EQ(out, data);
    return static_cast<uint32_t>(record.size());
  }
  End server;
  End client;
};

constexpr uint32_t kOutside = 5 + 16;  // header and tag

TEST(Padding, BlocksAreWhole) {
  for (const uint32_t block : {2U, 64U, 512U, 1000U, 16384U}) {
    Ends ends(kAes128Tls13, {.padding = Padding::Block, .padding_block_bytes = block});
    for (const uint32_t length : {0U, 1U, 63U, 511U, 512U, 999U, 1000U, 16000U, 16383U, 16384U}) {
      const uint32_t inner = ends.exchange(length) - kOutside;
      EXPECT_GE(inner, length + 1);
      EXPECT_LT(inner, length + 1 + block);
      EXPECT_TRUE(inner % block == 0 || inner == 16385) << length << " in " << block;
    }
  }
}

TEST(Padding, RandomOnesDiffer) {
  Ends ends(kChachaTls13, {.padding = Padding::Random, .padding_random_bytes = 100});
  std::set<uint32_t> sizes;
  for (int i = 0; i < 2000; ++i) {
    const uint32_t inner = ends.exchange(50) - kOutside;
    EXPECT_GE(inner, 51U);
    EXPECT_LE(inner, 151U);
    sizes.insert(inner);
  }
  EXPECT_EQ(sizes.size(), 101U);  // each of them, zero and a hundred too
  EXPECT_EQ(ends.exchange(16384), 16385U + kOutside);
}

// The limit binds content, type and padding: one more than the content's own.
TEST(Padding, StaysWithinTheClientsLimit) {
  for (const Padding padding : {Padding::Block, Padding::Random}) {
    Ends ends(kAes256Tls13,
              {.padding = padding, .padding_block_bytes = 1000, .padding_random_bytes = 16384},
              600);
    for (uint32_t length = 0; length <= 600; ++length) {
      EXPECT_LE(ends.exchange(length), 601U + kOutside);
    }
  }
}

TEST(Padding, NothingBeforeTls13) {
  for (const Variant& suite : every_suite()) {
    if (suite.tls13()) continue;
    Ends ends(suite, {.padding = Padding::Block});
    EXPECT_EQ(choose_padding(ends.server.layer, ends.server.keys, 100), 0U);
  }
}

TEST(Padding, AlertsAndKeyUpdatesHaveNone) {
  Ends ends(kAes128Tls13, {.padding = Padding::Block});
  uint8_t out[kMaxReplyBytes];
  EXPECT_EQ(seal_alert(ends.server.layer, ends.server.keys, Alert::close_notify, out),
            3U + kOutside);
  EXPECT_EQ(seal_key_update(ends.server.layer, ends.server.keys, out), 6U + kOutside);
}

// What is to fit a segment fits it with its padding.
TEST(Padding, PlaintextWithinCountsIt) {
  for (const Variant& suite : every_suite()) {
    for (const RecordPolicy& policy :
         {RecordPolicy{}, RecordPolicy{.padding = Padding::Block, .padding_block_bytes = 512},
          RecordPolicy{.padding = Padding::Random, .padding_random_bytes = 200}}) {
      Ends ends(suite, policy);
      for (const uint32_t bytes : {600U, 1000U, 1448U, 8948U}) {
        const uint32_t length = plaintext_within(ends.server.layer, ends.server.keys, bytes);
        const uint32_t padding = choose_padding(ends.server.layer, ends.server.keys, length);
        EXPECT_LE(sealed_size(ends.server.keys, length, padding), bytes) << suite.name();
        EXPECT_GT(length, 300U);
      }
      EXPECT_EQ(plaintext_within(ends.server.layer, ends.server.keys, 3), 1U);
      EXPECT_EQ(plaintext_within(ends.server.layer, ends.server.keys, 100'000), 16384U);
    }
  }
}

// RFC 8446 5.4: a client's padding counts towards the limit that we have set.
TEST(Padding, OfTheClientIsBoundByOurLimit) {
  for (const auto& [inner_bytes, accepted] : {std::pair{601U, true}, std::pair{602U, false}}) {
    abi::InstallKeys message = make_keys(kAes128Tls13);
    message.open.fragment_limit_bytes = 600;
    End server;
    ASSERT_TRUE(install_keys(server.layer, message, server.keys));
    Bytes inner(inner_bytes);
    inner[0] = 'x';
    inner[1] = 23;
    const Bytes record = forge13(message, 0, inner);
    ConstPiece piece;
    Bytes out(record.size());
    const OpenResult opened =
        open_record(server.layer, server.keys, one_piece(record, piece), out.data());
    EXPECT_EQ(opened.verdict, accepted ? Verdict::Accept : Verdict::Refuse);
    EXPECT_EQ(opened.refusal.alert, accepted ? Alert::none : Alert::record_overflow);
  }
}

}  // namespace
}  // namespace sluice::tls::test
