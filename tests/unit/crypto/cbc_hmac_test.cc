// CBC records against OpenSSL's AES and HMAC: every suite, version and order of encryption and MAC,
// on every instruction set; batches; what a peer or an attacker may have changed.
#include "crypto/cbc_hmac.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <numeric>

#include "cbc_fixture.h"

namespace sluice::crypto {
namespace {

using test::all_cbc_forms;
using test::ByteVector;
using test::CbcCase;
using test::CbcForm;
using test::open_one;
using test::random_below;
using test::random_bytes;
using test::random_case;
using test::reference_cbc_seal;
using test::seal_one;

constexpr uint64_t kSeed = 20260110;

class CbcHmac : public test::OnEveryArch {};
INSTANTIATE_TEST_SUITE_P(Arch, CbcHmac, test::kEveryArch, test::arch_test_name);

std::string name_of(const CbcCase& with) {
  return std::string(with.suite->iana_name) + ", version " +
         std::to_string(static_cast<int>(with.version)) +
         (with.encrypt_then_mac ? ", encrypt-then-MAC" : ", MAC-then-encrypt");
}

// All small lengths, then edges of blocks and records, then some at random.
std::vector<size_t> lengths(std::mt19937_64& random) {
  std::vector<size_t> all(300);
  std::iota(all.begin(), all.end(), 0);
  for (const size_t edge : {512, 1024, 1400, 4096, 16384 - 64, 16384}) {
    for (size_t length = edge - 2; length <= std::min<size_t>(edge + 2, 16384); ++length) {
      all.push_back(length);
    }
  }
  for (int i = 0; i < 10; ++i) all.push_back(random_below(random, 16385));
  return all;
}

TEST_P(CbcHmac, EverySuiteVersionAndLengthAgreesWithOpenSsl) {
  std::mt19937_64 random(kSeed);
  for (const CbcForm& form : all_cbc_forms()) {
    for (const size_t length : lengths(random)) {
      const CbcCase with = random_case(random, form);
      SCOPED_TRACE(name_of(with) + ", length " + std::to_string(length));
      const ByteVector plaintext = random_bytes(random, length);
      const ByteVector expected = reference_cbc_seal(with, plaintext);
      ASSERT_EQ(seal_one(provider(), with, plaintext), expected);
      ASSERT_EQ(open_one(provider(), with, expected), plaintext);
    }
  }
}

TEST_P(CbcHmac, EveryPaddingLengthOpens) {
  std::mt19937_64 random(kSeed + 1);
  for (const CbcForm& form : all_cbc_forms()) {
    const size_t mac = form.encrypt_then_mac ? 0 : form.suite->mac_key_length;
    for (int padding = 0; padding < 256; ++padding) {
      // The least length that makes whole blocks, and one that spans some compressions more.
      const size_t least = (512 - (mac + 1 + static_cast<size_t>(padding)) % 16) % 16;
      for (const size_t length : {least, least + 16 * random_below(random, 40)}) {
        const CbcCase with = random_case(random, form);
        SCOPED_TRACE(name_of(with) + ", padding " + std::to_string(padding) + ", length " +
                     std::to_string(length));
        const ByteVector plaintext = random_bytes(random, length);
        const test::CbcFlaws flaws{.padding_length = padding};
        ASSERT_EQ(open_one(provider(), with, reference_cbc_seal(with, plaintext, flaws)),
                  plaintext);
        // One byte of the padding has another value, at its end, at its front, anywhere. Under
        // encrypt-then-MAC another last byte may be a right padding of another length.
        for (const int byte : {0, padding, static_cast<int>(random_below(random, padding + 1))}) {
          if (form.encrypt_then_mac && byte == 0) continue;
          test::CbcFlaws wrong = flaws;
          wrong.wrong_padding_byte = byte;
          ASSERT_FALSE(open_one(provider(), with, reference_cbc_seal(with, plaintext, wrong)));
        }
      }
    }
  }
}

TEST_P(CbcHmac, EveryWrongByteOfTheMacIsRefused) {
  std::mt19937_64 random(kSeed + 2);
  for (const CbcForm& form : all_cbc_forms()) {
    for (int byte = 0; byte < form.suite->mac_key_length; ++byte) {
      const CbcCase with = random_case(random, form);
      SCOPED_TRACE(name_of(with) + ", byte " + std::to_string(byte));
      const ByteVector plaintext = random_bytes(random, random_below(random, 400));
      const test::CbcFlaws flaws{.wrong_mac_byte = byte};
      ASSERT_FALSE(open_one(provider(), with, reference_cbc_seal(with, plaintext, flaws)));
    }
  }
}

TEST_P(CbcHmac, EveryChangedByteOfAFragmentIsRefused) {
  std::mt19937_64 random(kSeed + 3);
  for (const CbcForm& form : all_cbc_forms()) {
    const CbcCase with = random_case(random, form);
    SCOPED_TRACE(name_of(with));
    const ByteVector sealed = reference_cbc_seal(with, random_bytes(random, 100));
    for (size_t at = 0; at < sealed.size(); ++at) {
      ByteVector changed = sealed;
      changed[at] = static_cast<uint8_t>(changed[at] ^ (1 << random_below(random, 8)));
      ASSERT_FALSE(open_one(provider(), with, changed)) << "byte " << at;
    }
  }
}

TEST_P(CbcHmac, WhatTheMacCoversBesidesTheFragmentIsBound) {
  std::mt19937_64 random(kSeed + 4);
  for (const CbcForm& form : all_cbc_forms()) {
    const CbcCase with = random_case(random, form);
    SCOPED_TRACE(name_of(with));
    const ByteVector plaintext = random_bytes(random, 77);
    const ByteVector sealed = reference_cbc_seal(with, plaintext);
    CbcCase other = with;
    ASSERT_EQ(open_one(provider(), other, sealed), plaintext);
    other.sequence ^= uint64_t{1} << random_below(random, 64);
    EXPECT_FALSE(open_one(provider(), other, sealed));
    other = with;
    other.type ^= 1;
    EXPECT_FALSE(open_one(provider(), other, sealed));
    other = with;
    other.encrypt_then_mac = !with.encrypt_then_mac;
    EXPECT_FALSE(open_one(provider(), other, sealed));
    other = with;
    other.mac_key.back() ^= 1;
    EXPECT_FALSE(open_one(provider(), other, sealed));
    other = with;
    other.version = with.version == TlsVersion::Tls12 ? TlsVersion::Tls11 : TlsVersion::Tls12;
    EXPECT_FALSE(open_one(provider(), other, sealed));
  }
}

// Public lengths, refused before anything is decrypted: no length but these can have been sealed.
TEST_P(CbcHmac, OnlyLengthsOfSealedRecordsOpen) {
  std::mt19937_64 random(kSeed + 5);
  for (const CbcForm& form : all_cbc_forms()) {
    const CbcCase with = random_case(random, form);
    SCOPED_TRACE(name_of(with));
    const ByteVector sealed = reference_cbc_seal(with, random_bytes(random, 200));
    for (size_t length = 0; length < sealed.size(); ++length) {
      const auto end = sealed.begin() + static_cast<ptrdiff_t>(length);
      ASSERT_FALSE(open_one(provider(), with, ByteVector(sealed.begin(), end)));
    }
    for (const size_t length : {sealed.size() + 1, sealed.size() + 16, size_t{18432}, size_t{18433},
                                size_t{18448}, size_t{65535}}) {
      ASSERT_FALSE(open_one(provider(), with, ByteVector(length, 0xa5)));
    }
  }
}

// All blocks padding, as it were, and no room for a MAC.
TEST_P(CbcHmac, PaddingThatLeavesNoRoomForTheMacIsRefused) {
  std::mt19937_64 random(kSeed + 6);
  for (const CbcForm& form : all_cbc_forms()) {
    if (form.encrypt_then_mac) continue;
    for (size_t blocks = 2; blocks <= 18; ++blocks) {
      for (int padding = 0; padding < 256; ++padding) {
        const CbcCase with = random_case(random, form);
        ByteVector fragment = with.version == TlsVersion::Tls10 ? ByteVector{} : with.iv;
        const ByteVector inside(16 * blocks, static_cast<uint8_t>(padding));
        const ByteVector encrypted = test::reference_cbc_encrypt(with, inside);
        fragment.insert(fragment.end(), encrypted.begin(), encrypted.end());
        ASSERT_FALSE(open_one(provider(), with, fragment));
      }
    }
  }
}

TEST_P(CbcHmac, Tls10ChainsFromRecordToRecord) {
  std::mt19937_64 random(kSeed + 7);
  CbcCase with = random_case(random, {find_suite(0x002f), TlsVersion::Tls10, false});
  CbcHmacKey key;
  test::expand(key, provider(), with);
  CbcCase sealing = with;
  CbcCase opening = with;
  for (int i = 0; i < 20; ++i) {
    const ByteVector plaintext = random_bytes(random, random_below(random, 2000));
    const ByteVector expected = reference_cbc_seal(sealing, plaintext);
    ByteVector fragment(expected.size());
    std::copy(plaintext.begin(), plaintext.end(), fragment.begin());
    CbcSealJob seal{test::record_of(sealing, key, fragment.data()),
                    static_cast<uint32_t>(plaintext.size())};
    seal_batch(provider(), {&seal, 1});
    ASSERT_EQ(fragment, expected);
    sealing.iv.assign(std::begin(seal.record.iv), std::end(seal.record.iv));
    ASSERT_TRUE(std::equal(sealing.iv.begin(), sealing.iv.end(), expected.end() - 16));

    CbcOpenJob open = test::open_job(opening, key, fragment);
    open_batch(provider(), {&open, 1});
    ASSERT_TRUE(open.ok);
    opening.iv.assign(std::begin(open.record.iv), std::end(open.record.iv));
    ASSERT_EQ(opening.iv, sealing.iv);
    ++sealing.sequence;
    ++opening.sequence;
  }
}

// What one record of a batch is like has no influence on another.
TEST_P(CbcHmac, BatchesOfMixedRecordsInAnyOrder) {
  std::mt19937_64 random(kSeed + 8);
  const std::vector<CbcForm> forms = all_cbc_forms();
  for (size_t count = 1; count <= 130; ++count) {
    SCOPED_TRACE("seed " + std::to_string(kSeed + 8) + ", count " + std::to_string(count));
    std::deque<CbcHmacKey> keys;
    std::vector<ByteVector> plaintexts, sealed, fragments(count), opened;
    std::vector<bool> broken;
    std::vector<CbcSealJob> seals;
    std::vector<CbcOpenJob> opens;
    for (size_t i = 0; i < count; ++i) {
      const CbcCase with = random_case(random, forms[random_below(random, forms.size())]);
      test::expand(keys.emplace_back(), provider(), with);
      const size_t most = random_below(random, 8) == 0 ? 16385 : 700;
      plaintexts.push_back(random_bytes(random, random_below(random, most)));
      sealed.push_back(reference_cbc_seal(with, plaintexts[i]));
      fragments[i].resize(sealed[i].size());
      std::copy(plaintexts[i].begin(), plaintexts[i].end(),
                fragments[i].begin() + cbc_plaintext_offset(with.version));
      seals.push_back({test::record_of(with, keys.back(), fragments[i].data()),
                       static_cast<uint32_t>(plaintexts[i].size())});
      opened.push_back(sealed[i]);
      broken.push_back(random_below(random, 4) == 0);
      if (broken[i]) opened[i][random_below(random, opened[i].size())] ^= 0x40;
    }
    for (size_t i = 0; i < count; ++i) {
      opens.push_back({seals[i].record, static_cast<uint32_t>(opened[i].size()), false, 0, 0});
      opens[i].record.fragment = opened[i].data();
    }
    seal_batch(provider(), seals);
    open_batch(provider(), opens);
    for (size_t i = 0; i < count; ++i) {
      ASSERT_EQ(fragments[i], sealed[i]) << i;
      ASSERT_EQ(opens[i].ok, !broken[i]) << i;
      if (broken[i]) continue;
      const auto from = opened[i].begin() + opens[i].plaintext_offset;
      ASSERT_EQ(ByteVector(from, from + opens[i].plaintext_length), plaintexts[i]) << i;
    }
  }
}

TEST_P(CbcHmac, KeysOfTheWrongSuiteOrLengthAreRefused) {
  CbcHmacKey key;
  const Suite& suite = *find_suite(0xc028);
  const ByteVector cipher_key(32, 1);
  const ByteVector mac_key(48, 2);
  EXPECT_TRUE(key.expand(provider(), suite, cipher_key, mac_key));
  EXPECT_TRUE(key.ready());
  EXPECT_FALSE(key.expand(provider(), suite, ByteVector(16), mac_key));
  EXPECT_FALSE(key.ready());
  EXPECT_FALSE(key.expand(provider(), suite, cipher_key, ByteVector(32)));
  EXPECT_FALSE(key.expand(provider(), *find_suite(0xc030), cipher_key, {}));
}

TEST_P(CbcHmac, AKeyThatIsNotReadyAborts) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  CbcHmacKey key;
  ByteVector fragment(64);
  CbcOpenJob job{{&key, 0, 23, TlsVersion::Tls12, false, fragment.data(), {}}, 64, false, 0, 0};
  EXPECT_DEATH(open_batch(provider(), {&job, 1}), "");
}

}  // namespace
}  // namespace sluice::crypto
