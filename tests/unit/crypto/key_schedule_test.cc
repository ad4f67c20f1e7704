// Derivations against published vectors, against OpenSSL on random input, and at their limits.
#include "crypto/key_schedule.h"

#include <gtest/gtest.h>

#include "arch_fixture.h"
#include "reference.h"
#include "vectors.h"

namespace sluice::crypto {
namespace {

using test::ByteVector;
using test::random_below;
using test::random_bytes;
using test::read_vectors;
using test::Vector;

class KeySchedule : public test::OnEveryArch {};
INSTANTIATE_TEST_SUITE_P(Arch, KeySchedule, test::kEveryArch, test::arch_test_name);

ByteVector copy_of(Bytes bytes) { return {bytes.begin(), bytes.end()}; }

ByteVector text_bytes(std::string_view text) { return {text.begin(), text.end()}; }

bool all_zero(Bytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

TEST_P(KeySchedule, Rfc5869) {
  for (const Vector& vector : read_vectors("rfc5869/hkdf_sha256.txt")) {
    SCOPED_TRACE(vector.name());
    HashSecret extracted;
    ASSERT_TRUE(hkdf_extract(provider(), Hash::Sha256, vector.bytes("Salt"), vector.bytes("IKM"),
                             extracted));
    EXPECT_EQ(copy_of(extracted.span()), vector.bytes("PRK"));
    ByteVector expanded(vector.bytes("OKM").size());
    ASSERT_TRUE(
        hkdf_expand(provider(), Hash::Sha256, extracted.span(), vector.bytes("Info"), expanded));
    EXPECT_EQ(expanded, vector.bytes("OKM"));
  }
}

TEST_P(KeySchedule, Tls12Prf) {
  for (const Vector& vector : read_vectors("tls12_prf/prf.txt")) {
    SCOPED_TRACE(vector.name());
    const Hash hash = vector.text("Hash") == "SHA256" ? Hash::Sha256 : Hash::Sha384;
    ByteVector output(vector.bytes("Output").size());
    ASSERT_TRUE(tls12_prf(provider(), hash, vector.bytes("Secret"), vector.text("Label"),
                          vector.bytes("Seed"), output));
    EXPECT_EQ(output, vector.bytes("Output"));
  }
}

TEST_P(KeySchedule, Rfc8448Secrets) {
  for (const Vector& vector : read_vectors("rfc8448/key_schedule.txt")) {
    SCOPED_TRACE(vector.name());
    ByteVector output(vector.bytes("Output").size());
    ASSERT_TRUE(hkdf_expand_label(provider(), Hash::Sha256, vector.bytes("Secret"),
                                  vector.text("Label"), vector.bytes("Context"), output));
    EXPECT_EQ(output, vector.bytes("Output"));
  }
}

// The chain of RFC 8446 7.1: Early Secret -> Handshake Secret -> Master Secret.
TEST_P(KeySchedule, Rfc8448Chain) {
  const ByteVector zeros(32);
  ByteVector empty_hash(32);
  ASSERT_TRUE(digest(provider(), Hash::Sha256, {}, empty_hash));
  const ByteVector shared =
      test::from_hex("8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d");

  HashSecret secret;
  ASSERT_TRUE(hkdf_extract(provider(), Hash::Sha256, {}, zeros, secret));
  EXPECT_EQ(test::to_hex(secret.data(), secret.size()),
            "33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a");
  ByteVector derived(32);
  ASSERT_TRUE(
      hkdf_expand_label(provider(), Hash::Sha256, secret.span(), "derived", empty_hash, derived));
  EXPECT_EQ(test::to_hex(derived.data(), derived.size()),
            "6f2615a108c702c5678f54fc9dbab69716c076189c48250cebeac3576c3611ba");
  ASSERT_TRUE(hkdf_extract(provider(), Hash::Sha256, derived, shared, secret));
  EXPECT_EQ(test::to_hex(secret.data(), secret.size()),
            "1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac");
  ASSERT_TRUE(
      hkdf_expand_label(provider(), Hash::Sha256, secret.span(), "derived", empty_hash, derived));
  ASSERT_TRUE(hkdf_extract(provider(), Hash::Sha256, derived, zeros, secret));
  EXPECT_EQ(test::to_hex(secret.data(), secret.size()),
            "18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919");
}

TEST_P(KeySchedule, Rfc8448ClientFinishedIsAnHmac) {
  const ByteVector finished_key =
      test::from_hex("b80ad01015fb2f0bd65ff7d4da5d6bf83f84821d1f87fdc7d3c75b5a7b42d9c4");
  const ByteVector transcript =
      test::from_hex("9608102a0f1ccc6db6250b7b7e417b1a000eaada3daae4777a7686c9ff83df13");
  ByteVector verify_data(32);
  ASSERT_TRUE(hmac(provider(), Hash::Sha256, finished_key, transcript, verify_data));
  EXPECT_EQ(test::to_hex(verify_data.data(), verify_data.size()),
            "a8ec436d677634ae525ac1fcebe11a039ec17694fac6e98527b642f2edd5ce61");
}

TEST_P(KeySchedule, Rfc8448TrafficKeys) {
  for (const Vector& vector : read_vectors("rfc8448/traffic_keys.txt")) {
    SCOPED_TRACE(vector.name());
    TrafficKeys keys;
    ASSERT_TRUE(derive_traffic_keys(provider(), *find_suite(0x1301), vector.bytes("Secret"), keys));
    EXPECT_EQ(copy_of(keys.key.span()), vector.bytes("Key"));
    EXPECT_EQ(copy_of(keys.iv.span()), vector.bytes("IV"));
  }
}

TEST_P(KeySchedule, HashesHmacAndHkdfAgreeWithOpenSsl) {
  const uint64_t seed = 20260101;
  std::mt19937_64 random(seed);
  for (int round = 0; round < 200; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", round " + std::to_string(round));
    const Hash hash = random() % 2 == 0 ? Hash::Sha256 : Hash::Sha384;
    const ByteVector key = random_bytes(random, random_below(random, 200));
    const ByteVector message =
        random_bytes(random, random_below(random, kMaxHmacMessageLength + 1));
    const ByteVector info = random_bytes(random, random_below(random, kMaxInfoLength + 1));
    ByteVector result(hash_length(hash));
    ASSERT_TRUE(digest(provider(), hash, message, result));
    ASSERT_EQ(result, test::reference_digest(hash, message));
    ASSERT_TRUE(hmac(provider(), hash, key, message, result));
    ASSERT_EQ(result, test::reference_hmac(hash, key, message));

    // OpenSSL's HKDF wants a non-empty key.
    const ByteVector input = random_bytes(random, 1 + random_below(random, kMaxHmacMessageLength));
    HashSecret extracted;
    ASSERT_TRUE(hkdf_extract(provider(), hash, key, input, extracted));
    ASSERT_EQ(copy_of(extracted.span()), test::reference_hkdf_extract(hash, key, input));
    ByteVector expanded(1 + random_below(random, size_t{255} * hash_length(hash)));
    ASSERT_TRUE(hkdf_expand(provider(), hash, extracted.span(), info, expanded));
    ASSERT_EQ(expanded,
              test::reference_hkdf_expand(hash, copy_of(extracted.span()), info, expanded.size()));
  }
}

// Everything that a key block yields, joined as RFC 5246 6.3 cuts it.
ByteVector joined(const KeyBlock& block) {
  ByteVector all;
  for (const Bytes part : {block.client_write.mac_key.span(), block.server_write.mac_key.span(),
                           block.client_write.key.span(), block.server_write.key.span(),
                           block.client_write.iv.span(), block.server_write.iv.span()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

TEST_P(KeySchedule, KeyBlocksOfEverySuiteAndVersionAgreeWithOpenSsl) {
  const uint64_t seed = 20260102;
  std::mt19937_64 random(seed);
  for (int round = 0; round < 20; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", round " + std::to_string(round));
    for (const Suite& suite : all_suites()) {
      for (const TlsVersion version : {TlsVersion::Tls10, TlsVersion::Tls11, TlsVersion::Tls12}) {
        const ByteVector master = random_bytes(random, kMasterSecretLength);
        const ByteVector client = random_bytes(random, kRandomLength);
        const ByteVector server = random_bytes(random, kRandomLength);
        KeyBlock block;
        const bool derived =
            derive_key_block(provider(), suite, version, master, client, server, block);
        ASSERT_EQ(derived, suite.is_valid_in(version));
        if (!derived) continue;
        ByteVector labelled_seed = text_bytes("key expansion");
        labelled_seed.insert(labelled_seed.end(), server.begin(), server.end());
        labelled_seed.insert(labelled_seed.end(), client.begin(), client.end());
        const size_t mac = block.client_write.mac_key.size();
        const size_t iv = block.client_write.iv.size();
        ASSERT_EQ(mac, suite.is_cbc() ? hash_length(suite.mac_hash) : 0);
        ASSERT_EQ(iv, suite.fixed_iv_length(version));
        const size_t length = 2 * (mac + suite.key_length + iv);
        const ByteVector expected =
            version == TlsVersion::Tls12
                ? test::reference_prf(suite.hash, master, labelled_seed, length)
                : test::reference_prf_tls10(master, labelled_seed, length);
        ASSERT_EQ(joined(block), expected) << suite.iana_name;
      }
    }
  }
}

TEST_P(KeySchedule, Tls10PrfAgreesWithOpenSslForSecretsOfEveryLength) {
  const uint64_t seed = 20260107;
  std::mt19937_64 random(seed);
  for (size_t length = 0; length <= 128; ++length) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", length " + std::to_string(length));
    const ByteVector secret = random_bytes(random, length);
    const ByteVector labelled_seed =
        random_bytes(random, 1 + random_below(random, kMaxPrfSeedLength));
    ByteVector output(1 + random_below(random, 300), 0xff);
    ASSERT_TRUE(tls10_prf(provider(), secret, "", labelled_seed, output));
    // OpenSSL wants a secret, however short.
    if (length == 0) continue;
    ASSERT_EQ(output, test::reference_prf_tls10(secret, labelled_seed, output.size()));
  }
  ByteVector output(32, 0xff);
  EXPECT_FALSE(tls10_prf(provider(), ByteVector(129), "label", {}, output));
  EXPECT_TRUE(all_zero(output));
}

TEST_P(KeySchedule, HmacOfTheOlderHashesAgreesWithOpenSsl) {
  const uint64_t seed = 20260108;
  std::mt19937_64 random(seed);
  for (size_t length = 1; length <= kMaxHmacMessageLength; ++length) {
    for (const Hash hash : {Hash::Md5, Hash::Sha1}) {
      SCOPED_TRACE("seed " + std::to_string(seed) + ", length " + std::to_string(length));
      const ByteVector key = random_bytes(random, random_below(random, block_length(hash) + 1));
      const ByteVector message = random_bytes(random, length);
      ByteVector mac(hash_length(hash));
      ASSERT_TRUE(hmac(provider(), hash, key, message, mac));
      ASSERT_EQ(mac, test::reference_hmac(hash, key, message));
    }
  }
  ByteVector mac(16, 0xff);
  EXPECT_FALSE(hmac(provider(), Hash::Md5, ByteVector(65), ByteVector(1), mac));
  EXPECT_FALSE(hmac(provider(), Hash::Md5, ByteVector(16), {}, mac));
  EXPECT_FALSE(digest(provider(), Hash::Md5, {}, mac));
  EXPECT_TRUE(all_zero(mac));
}

// The label structure written out by hand: 2 bytes of length, "tls13 traffic upd", no context.
TEST_P(KeySchedule, NextGenerationAgreesWithOpenSslAndMayReplaceItself) {
  for (const Hash hash : {Hash::Sha256, Hash::Sha384}) {
    std::mt19937_64 random(20260103);
    HashSecret secret;
    ASSERT_TRUE(secret.assign(random_bytes(random, hash_length(hash))));
    ByteVector expected = copy_of(secret.span());
    for (int generation = 0; generation < 3; ++generation) {
      ByteVector info = {0, static_cast<uint8_t>(hash_length(hash)), 17};
      const ByteVector label = text_bytes("tls13 traffic upd");
      info.insert(info.end(), label.begin(), label.end());
      info.push_back(0);
      expected = test::reference_hkdf_expand(hash, expected, info, hash_length(hash));
      ASSERT_TRUE(next_traffic_secret(provider(), hash, secret.span(), secret));
      ASSERT_EQ(copy_of(secret.span()), expected);
    }
  }
}

TEST_P(KeySchedule, WhatDoesNotFitIsRefusedAndTheOutputWiped) {
  const ByteVector key(32, 1);
  const ByteVector too_long(kMaxHmacMessageLength + 1, 1);
  ByteVector output(32, 0xff);
  EXPECT_FALSE(hmac(provider(), Hash::Sha256, key, too_long, output));
  EXPECT_TRUE(all_zero(output));
  ByteVector wrong_size(31, 0xff);
  EXPECT_FALSE(hmac(provider(), Hash::Sha256, key, key, wrong_size));
  EXPECT_TRUE(all_zero(wrong_size));
  EXPECT_FALSE(digest(provider(), Hash::Sha384, key, output));

  ByteVector too_much(255 * 32 + 1, 0xff);
  EXPECT_FALSE(hkdf_expand(provider(), Hash::Sha256, key, {}, too_much));
  EXPECT_TRUE(all_zero(too_much));
  EXPECT_FALSE(hkdf_expand(provider(), Hash::Sha256, key, ByteVector(kMaxInfoLength + 1), output));
  EXPECT_FALSE(hkdf_expand_label(provider(), Hash::Sha256, key, "", {}, output));
  EXPECT_FALSE(hkdf_expand_label(provider(), Hash::Sha256, key, std::string(250, 'x'), {}, output));
  EXPECT_FALSE(hkdf_expand_label(provider(), Hash::Sha256, key, "key", ByteVector(49), output));
  EXPECT_TRUE(hkdf_expand_label(provider(), Hash::Sha256, key, std::string(249, 'x'),
                                ByteVector(48), output));
  EXPECT_FALSE(
      tls12_prf(provider(), Hash::Sha256, key, "label", ByteVector(kMaxPrfSeedLength - 4), output));
  EXPECT_TRUE(all_zero(output));

  HashSecret secret;
  ASSERT_TRUE(secret.assign(key));
  EXPECT_FALSE(hkdf_extract(provider(), Hash::Sha256, key, too_long, secret));
  EXPECT_TRUE(secret.empty());
}

TEST_P(KeySchedule, SecretsOfTheWrongLengthOrVersionGiveNoKeys) {
  const Suite& tls13 = *find_suite(0x1301);
  const Suite& tls12 = *find_suite(0xc02f);
  const ByteVector secret(32, 1);
  TrafficKeys keys;
  ASSERT_TRUE(derive_traffic_keys(provider(), tls13, secret, keys));
  EXPECT_FALSE(derive_traffic_keys(provider(), tls13, ByteVector(31, 1), keys));
  EXPECT_TRUE(keys.key.empty() && keys.iv.empty());
  EXPECT_FALSE(derive_traffic_keys(provider(), *find_suite(0x1302), secret, keys));
  EXPECT_FALSE(derive_traffic_keys(provider(), tls12, secret, keys));

  HashSecret next;
  EXPECT_FALSE(next_traffic_secret(provider(), Hash::Sha384, secret, next));

  const ByteVector master(48, 2);
  KeyBlock block;
  ASSERT_TRUE(
      derive_key_block(provider(), tls12, TlsVersion::Tls12, master, secret, secret, block));
  EXPECT_FALSE(
      derive_key_block(provider(), tls12, TlsVersion::Tls12, secret, secret, secret, block));
  EXPECT_TRUE(block.client_write.key.empty() && block.server_write.iv.empty());
  EXPECT_FALSE(
      derive_key_block(provider(), tls12, TlsVersion::Tls12, master, master, secret, block));
  EXPECT_FALSE(derive_key_block(provider(), tls12, TlsVersion::Tls12, master, secret, {}, block));
  EXPECT_FALSE(
      derive_key_block(provider(), tls12, TlsVersion::Tls11, master, secret, secret, block));
  EXPECT_FALSE(
      derive_key_block(provider(), tls13, TlsVersion::Tls13, master, secret, secret, block));
}

}  // namespace
}  // namespace sluice::crypto
