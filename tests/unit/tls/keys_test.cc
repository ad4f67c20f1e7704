// install_keys by a table, nonces, KeyUpdate, wiping, the key cache.
#include "tls/keys.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "fixture.h"
#include "tls/limits.h"
#include "tls/seal.h"

namespace sluice::tls::test {
namespace {

using abi::Counter;

struct InstallRow {
  const char* name;
  Variant suite;
  void (*change)(abi::InstallKeys&);
  bool accepted;
};

const InstallRow kInstallRows[] = {
    {"1.3 as made", kAes128Tls13, [](abi::InstallKeys&) {}, true},
    {"1.2 as made", kAes256Tls12, [](abi::InstallKeys&) {}, true},
    {"unknown suite", kAes128Tls13, [](auto& m) { m.suite = 0x0035; }, false},
    {"suite of another version", kAes128Tls13, [](auto& m) { m.version = 0x0303; }, false},
    {"version 3.2", kAes128Tls12, [](auto& m) { m.version = 0x0302; }, false},
    {"encrypt-then-MAC", kAes128Tls12, [](auto& m) { m.encrypt_then_mac = 1; }, false},
    {"1.3 secret short", kAes256Tls13, [](auto& m) { m.open.secret_length = 32; }, false},
    {"1.3 secret over the array", kAes128Tls13, [](auto& m) { m.seal.secret_length = 255; }, false},
    {"1.3 no secret", kAes128Tls13, [](auto& m) { m.seal.secret_length = 0; }, false},
    {"1.3 with key", kAes128Tls13, [](auto& m) { m.open.key_length = 16; }, false},
    {"1.3 with iv", kAes128Tls13, [](auto& m) { m.open.iv_length = 12; }, false},
    {"1.3 with nonce", kAes128Tls13, [](auto& m) { m.seal.next_explicit_nonce = 1; }, false},
    {"1.2 with secret", kAes128Tls12, [](auto& m) { m.open.secret_length = 32; }, false},
    {"1.2 key short", kAes256Tls12, [](auto& m) { m.open.key_length = 16; }, false},
    {"1.2 key over the array", kAes256Tls12, [](auto& m) { m.open.key_length = 200; }, false},
    {"1.2 salt long", kAes256Tls12, [](auto& m) { m.seal.iv_length = 12; }, false},
    {"1.2 with MAC key", kAes256Tls12, [](auto& m) { m.seal.mac_key_length = 32; }, false},
    {"fragment limit 0", kAes128Tls13, [](auto& m) { m.seal.fragment_limit_bytes = 0; }, false},
    {"fragment limit 63", kAes128Tls13, [](auto& m) { m.open.fragment_limit_bytes = 63; }, false},
    {"fragment limit 64", kAes128Tls13, [](auto& m) { m.open.fragment_limit_bytes = 64; }, true},
    {"fragment limit high", kAes128Tls13,
     [](auto& m) { m.seal.fragment_limit_bytes = 16385; }, false},
    {"1.3 seal limit", kAes128Tls13, [](auto& m) { m.seal.sequence = kMaxSealedRecords13; }, false},
    {"1.3 under it", kAes128Tls13,
     [](auto& m) { m.seal.sequence = kMaxSealedRecords13 - 1; }, true},
    {"1.2 seal limit", kAes128Tls12, [](auto& m) { m.seal.sequence = kMaxSealedRecords12; }, false},
    {"open limit", kAes128Tls12, [](auto& m) { m.open.sequence = kMaxOpenedRecords; }, false},
    {"1.2 sequence of the Finished", kAes128Tls12, [](auto& m) { m.seal.sequence = 0; }, false},
    {"ChaCha20 in 1.2", kChachaTls12, [](auto&) {}, true},
    {"ChaCha20 with a salt", kChachaTls12, [](auto& m) { m.open.iv_length = 4; }, false},
    {"ChaCha20 with a nonce", kChachaTls12, [](auto& m) { m.seal.next_explicit_nonce = 1; }, false},
    {"ChaCha20 in 1.1", kChachaTls12, [](auto& m) { m.version = 0x0302; }, false},
    {"ChaCha20 has no seal limit", kChachaTls13,
     [](auto& m) { m.seal.sequence = kMaxSealedRecords12; }, true},
    {"ChaCha20 ends with the numbers", kChachaTls13,
     [](auto& m) { m.seal.sequence = kMaxOpenedRecords; }, false},
    {"1.3 with MAC key", kChachaTls13, [](auto& m) { m.open.mac_key_length = 20; }, false},
    {"CBC", kCbcSha1, [](auto&) {}, true},
    {"CBC, EtM", kCbcSha1, [](auto& m) { m.encrypt_then_mac = 1; }, true},
    {"CBC, EtM 2", kCbcSha1, [](auto& m) { m.encrypt_then_mac = 2; }, false},
    {"CBC in 1.1", kCbcSha1, [](auto& m) { m.version = 0x0302; }, true},
    {"CBC in 1.0", {kCbcSha1, TlsVersion::Tls10}, [](auto&) {}, true},
    {"CBC in 1.0 without IV", {kCbcSha1, TlsVersion::Tls10},
     [](auto& m) { m.open.iv_length = 0; }, false},
    {"CBC with IV in 1.1", {kCbcSha1, TlsVersion::Tls11},
     [](auto& m) { m.open.iv_length = 16; }, false},
    {"CBC in SSL 3.0", {kCbcSha1, TlsVersion::Tls10}, [](auto& m) { m.version = 0x0300; }, false},
    {"CBC in 1.3", kCbcSha1, [](auto& m) { m.version = 0x0304; }, false},
    {"CBC-SHA256 in 1.1", kCbcSha256, [](auto& m) { m.version = 0x0302; }, false},
    {"CBC, another MAC's key", kCbcSha256, [](auto& m) { m.seal.mac_key_length = 20; }, false},
    {"CBC without MAC key", kCbcSha256, [](auto& m) { m.seal.mac_key_length = 0; }, false},
    {"CBC, key of the other AES", kCbc256Sha1, [](auto& m) { m.open.key_length = 16; }, false},
    {"CBC with a nonce", kCbcSha1, [](auto& m) { m.open.next_explicit_nonce = 1; }, false},
    {"CBC, sequence of the Finished", kCbcSha1, [](auto& m) { m.open.sequence = 0; }, false},
    {"CBC seal limit", kCbcSha1, [](auto& m) { m.seal.sequence = kMaxSealedRecords12; }, false},
    {"CBC with a secret", kCbcSha1, [](auto& m) { m.open.secret_length = 32; }, false},
    {"CBC, one key for both", kCbcSha1, [](auto& m) { m.open = m.seal; }, false},
    {"one key for both", kAes128Tls12, [](auto& m) { m.open = m.seal; }, false},
    {"one secret for both", kAes128Tls13, [](auto& m) { m.open = m.seal; }, false},
};

bool all_zero(const void* data, size_t size) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  for (size_t i = 0; i < size; ++i) {
    if (bytes[i] != 0) return false;
  }
  return true;
}

// Whether the first eight bytes of a secret lie anywhere in the flow's keys.
bool holds(const FlowKeys& keys, const uint8_t* secret) {
  return memmem(&keys, sizeof(keys), secret, 8) != nullptr;
}

TEST(InstallKeys, Table) {
  for (const InstallRow& row : kInstallRows) {
    End end;
    abi::InstallKeys message = make_keys(row.suite);
    row.change(message);
    EXPECT_EQ(install_keys(end.layer, message, end.keys), row.accepted) << row.name;
    EXPECT_EQ(end.keys.installed(), row.accepted) << row.name;
    for (const abi::DirectionKeys& direction : {message.open, message.seal}) {
      const uint8_t* secret = row.suite.tls13() ? direction.secret : direction.key;
      EXPECT_EQ(holds(end.keys, secret), row.accepted) << row.name;
      if (!row.suite.cbc()) continue;
      EXPECT_EQ(holds(end.keys, direction.mac_key), row.accepted) << row.name;
    }
  }
}

// Starting the sequences again under the same keys would use nonces again.
TEST(InstallKeys, OnlyOnce) {
  End end;
  const abi::InstallKeys message = make_keys(kAes128Tls13);
  ASSERT_TRUE(install_keys(end.layer, message, end.keys));
  (void)end.keys.seal.take_sequence();
  EXPECT_FALSE(install_keys(end.layer, message, end.keys));
  EXPECT_EQ(end.keys.seal.sequence(), 1U);
}

TEST(Keys, SequenceAndExplicitNonceAreThoseInstalled) {
  End end;
  abi::InstallKeys message = make_keys(kAes128Tls12);
  message.seal.sequence = 1;
  message.seal.next_explicit_nonce = UINT64_MAX;
  ASSERT_TRUE(install_keys(end.layer, message, end.keys));
  const uint64_t first = end.keys.seal.take_sequence();
  const uint64_t second = end.keys.seal.take_sequence();
  EXPECT_EQ(first, 1U);
  EXPECT_EQ(end.keys.seal.explicit_nonce(first), UINT64_MAX);
  EXPECT_EQ(end.keys.seal.explicit_nonce(second), 0U);
}

TEST(Keys, NoNonceTwice) {
  for (const Variant& suite : kEveryAead) {
    End end;
    ASSERT_TRUE(install_keys(end.layer, make_keys(suite), end.keys));
    std::set<Bytes> seen;
    for (int i = 0; i < 2000; ++i) {
      const uint64_t sequence = end.keys.seal.take_sequence();
      uint8_t nonce[crypto::kNonceLength];
      if (!end.keys.salted()) {
        end.keys.seal.nonce_from_iv(sequence, nonce);
      } else {
        uint8_t part[8];
        const uint64_t value = end.keys.seal.explicit_nonce(sequence);
        std::memcpy(part, &value, sizeof(part));
        end.keys.seal.nonce_from_salt(part, nonce);
      }
      EXPECT_TRUE(seen.insert(Bytes(nonce, nonce + sizeof(nonce))).second) << i;
    }
  }
}

TEST(Keys, UpdateStartsAGenerationOfOneDirection) {
  Pair pair(kAes256Tls13);
  FlowKeys& keys = pair.server.keys;
  (void)keys.seal.take_sequence();
  (void)expanded_key(pair.server.layer, keys, Direction::Seal);
  (void)expanded_key(pair.server.layer, keys, Direction::Open);
  const Bytes before(keys.seal.key(*keys.suite).begin(), keys.seal.key(*keys.suite).end());
  update_keys(pair.server.layer, keys, Direction::Seal);
  const Bytes after(keys.seal.key(*keys.suite).begin(), keys.seal.key(*keys.suite).end());
  EXPECT_NE(before, after);
  EXPECT_EQ(keys.seal.sequence(), 0U);
  EXPECT_EQ(keys.seal.key_generation(), 1U);
  EXPECT_EQ(keys.open.key_generation(), 0U);
  EXPECT_EQ(pair.server.cache.used(), 1U);  // the old seal key is gone
}

TEST(Keys, EndWipesEverything) {
  Pair pair(kAes128Tls12);
  const abi::InstallKeys message = make_keys(kAes128Tls12);
  EXPECT_TRUE(holds(pair.server.keys, message.open.key));
  (void)expanded_key(pair.server.layer, pair.server.keys, Direction::Open);
  (void)expanded_key(pair.server.layer, pair.server.keys, Direction::Seal);
  EXPECT_EQ(pair.server.cache.used(), 2U);
  end_keys(pair.server.layer, pair.server.keys);
  EXPECT_EQ(pair.server.cache.used(), 0U);
  EXPECT_FALSE(pair.server.keys.installed());
  EXPECT_FALSE(holds(pair.server.keys, message.open.key));
  EXPECT_FALSE(holds(pair.server.keys, message.seal.key));
  end_keys(pair.server.layer, pair.server.keys);  // harmless
}

TEST(KeysDeathTest, SequenceCannotPassItsLimit) {
  End end;
  abi::InstallKeys message = make_keys(kAes128Tls13);
  message.open.sequence = kMaxOpenedRecords - 1;
  ASSERT_TRUE(install_keys(end.layer, message, end.keys));
  EXPECT_EQ(end.keys.open.take_sequence(), kMaxOpenedRecords - 1);
  EXPECT_DEATH((void)end.keys.open.take_sequence(), "assertion failed");
}

class KeyCacheTest : public testing::Test {
 protected:
  const crypto::AeadKey& get(const KeyName& name) {
    return cache_.get(provider(), name, crypto::Cipher::Aes128Gcm, key_);
  }
  uint64_t hits() const { return counters_.get(Counter::tls_key_cache_hits); }
  uint64_t misses() const { return counters_.get(Counter::tls_key_cache_misses); }

  abi::Counters counters_;
  KeyCache cache_{8, counters_};
  Bytes key_ = Bytes(16, 7);
};

TEST_F(KeyCacheTest, SizesAreRoundedUp) {
  EXPECT_EQ(KeyCache(0, counters_).capacity(), 2U);
  EXPECT_EQ(KeyCache(5, counters_).capacity(), 8U);
  EXPECT_EQ(KeyCache(8, counters_).capacity(), 8U);
}

TEST_F(KeyCacheTest, HitsByTheWholeName) {
  const KeyName name{1, 1, 0, Direction::Open};
  (void)get(name);
  EXPECT_EQ(misses(), 1U);
  (void)get(name);
  EXPECT_EQ(hits(), 1U);
  (void)get({1, 1, 0, Direction::Seal});
  (void)get({1, 1, 1, Direction::Open});
  (void)get({1, 2, 0, Direction::Open});
  (void)get({9, 1, 0, Direction::Open});
  EXPECT_EQ(hits(), 1U);
  EXPECT_EQ(misses(), 5U);
}

// Eight entries are four sets: flows 1, 3 and 5 share one per direction.
TEST_F(KeyCacheTest, TheOlderOfASetIsReplaced) {
  const KeyName a{1, 1, 0, Direction::Open};
  const KeyName b{3, 1, 0, Direction::Open};
  const KeyName c{5, 1, 0, Direction::Open};
  (void)get(a);
  (void)get(b);
  (void)get(a);
  (void)get(c);
  EXPECT_EQ(cache_.used(), 2U);
  const uint64_t before = misses();
  (void)get(a);
  EXPECT_EQ(misses(), before);
  (void)get(b);
  EXPECT_EQ(misses(), before + 1);
}

TEST_F(KeyCacheTest, ForgetWipesOneEntry) {
  const KeyName a{1, 1, 0, Direction::Open};
  const KeyName b{3, 1, 0, Direction::Open};
  const crypto::AeadKey& key = get(a);
  (void)get(b);
  cache_.forget({1, 9, 0, Direction::Open});
  EXPECT_EQ(cache_.used(), 2U);
  cache_.forget(a);
  EXPECT_EQ(cache_.used(), 1U);
  EXPECT_FALSE(key.ready());
  EXPECT_TRUE(all_zero(key.expanded(), 1008));
}

class CbcKeyCacheTest : public KeyCacheTest {
 protected:
  const crypto::CbcHmacKey* pin(uint32_t flow) {
    return cache_.pin(provider(), {flow, 1, 0, Direction::Seal}, *crypto::find_suite(kCbcSha1),
                      key_, mac_key_);
  }
  Bytes mac_key_ = Bytes(20, 9);
};

// Flows 1, 3 and 5 share a set of two.
TEST_F(CbcKeyCacheTest, APinnedKeyIsNotReplaced) {
  const crypto::CbcHmacKey* a = pin(1);
  const crypto::CbcHmacKey* b = pin(3);
  ASSERT_NE(a, nullptr);
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(misses(), 2U);
  EXPECT_EQ(pin(5), nullptr);
  EXPECT_EQ(pin(1), a);
  EXPECT_EQ(pin(3), b);
  EXPECT_EQ(hits(), 2U);
  cache_.unpin_all();
  EXPECT_NE(pin(5), nullptr);
  EXPECT_EQ(misses(), 3U);
  EXPECT_EQ(pin(3), b) << "the older one went";
  EXPECT_EQ(cache_.used(), 2U);
}

TEST_F(CbcKeyCacheTest, SharesItsPlacesWithTheOtherKind) {
  (void)get({1, 1, 0, Direction::Seal});
  (void)get({3, 1, 0, Direction::Seal});
  const crypto::CbcHmacKey* key = pin(5);
  ASSERT_NE(key, nullptr);
  cache_.unpin_all();
  (void)get({1, 1, 0, Direction::Seal});
  (void)get({3, 1, 0, Direction::Seal});
  EXPECT_EQ(cache_.used(), 2U);
  cache_.forget({3, 1, 0, Direction::Seal});
  EXPECT_EQ(cache_.used(), 1U);
}

TEST(KeyLimits, KeyUpdateIsDueInTls13Only) {
  abi::InstallKeys message = make_keys(kAes128Tls13);
  message.seal.sequence = kKeyUpdateAfterRecords - 1;
  Pair pair(message);
  uint8_t out[kMaxReplyBytes];
  EXPECT_FALSE(key_update_due(pair.server.layer, pair.server.keys));
  EXPECT_GT(seal_alert(pair.server.layer, pair.server.keys, Alert::user_canceled, out), 0U);
  EXPECT_TRUE(key_update_due(pair.server.layer, pair.server.keys));
  EXPECT_GT(seal_key_update(pair.server.layer, pair.server.keys, out), 0U);
  EXPECT_FALSE(key_update_due(pair.server.layer, pair.server.keys));

  abi::InstallKeys old = make_keys(kAes128Tls12);
  old.seal.sequence = kMaxSealedRecords12 - 1;
  Pair old_pair(old);
  EXPECT_FALSE(key_update_due(old_pair.server.layer, old_pair.server.keys));
}

// At the limit data stops first, then everything; an alert still fits between.
TEST(KeyLimits, DataStopsBeforeAlerts) {
  for (const uint16_t suite : {kAes128Tls13, kAes128Tls12}) {
    abi::InstallKeys message = make_keys(suite);
    const uint64_t limit = suite == kAes128Tls13 ? kMaxSealedRecords13 : kMaxSealedRecords12;
    message.seal.sequence = limit - kSealReserveRecords - 1;
    Pair pair(message);
    End& server = pair.server;
    const Bytes data(100, 'x');
    const ConstPiece piece{data.data(), 100};
    uint8_t out[200];
    constexpr auto kData = ContentType::application_data;
    EXPECT_GT(seal_record(server.layer, server.keys, kData, {&piece, 1}, out), 0U);
    EXPECT_EQ(seal_record(server.layer, server.keys, kData, {&piece, 1}, out), 0U);
    for (uint64_t i = 0; i < kSealReserveRecords; ++i) {
      EXPECT_GT(seal_alert(server.layer, server.keys, Alert::close_notify, out), 0U) << i;
    }
    EXPECT_EQ(seal_alert(server.layer, server.keys, Alert::close_notify, out), 0U);
    EXPECT_EQ(server.keys.seal.sequence(), limit);
  }
}

}  // namespace
}  // namespace sluice::tls::test
