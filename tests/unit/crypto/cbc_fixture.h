// Random CBC connections and records, and this folder's answer to them.
#pragma once

#include <optional>

#include "arch_fixture.h"
#include "cbc_reference.h"

namespace sluice::crypto::test {

// One suite of each MAC and key length; key exchange makes no difference here.
inline constexpr uint16_t kCbcSuites[] = {0x002f, 0x0035, 0x003c, 0x003d, 0xc024};

// Every way a CBC record can be made: suite, version, order of encryption and MAC.
struct CbcForm {
  const Suite* suite;
  TlsVersion version;
  bool encrypt_then_mac;
};

inline std::vector<CbcForm> all_cbc_forms() {
  std::vector<CbcForm> forms;
  for (const uint16_t id : kCbcSuites) {
    const Suite* suite = find_suite(id);
    for (const TlsVersion version : {TlsVersion::Tls10, TlsVersion::Tls11, TlsVersion::Tls12}) {
      if (!suite->is_valid_in(version)) continue;
      forms.push_back({suite, version, false});
      forms.push_back({suite, version, true});
    }
  }
  return forms;
}

inline CbcCase random_case(std::mt19937_64& random, const CbcForm& form) {
  return {form.suite,
          random_bytes(random, form.suite->key_length),
          random_bytes(random, form.suite->mac_key_length),
          form.version,
          form.encrypt_then_mac,
          random(),
          static_cast<uint8_t>(20 + random_below(random, 4)),
          random_bytes(random, kCbcBlockLength)};
}

inline CbcRecord record_of(const CbcCase& with, const CbcHmacKey& key, uint8_t* fragment) {
  CbcRecord record{&key, with.sequence, with.type, with.version, with.encrypt_then_mac, fragment,
                   {}};
  std::copy(with.iv.begin(), with.iv.end(), record.iv);
  return record;
}

inline CbcOpenJob open_job(const CbcCase& with, const CbcHmacKey& key, ByteVector& fragment) {
  return {record_of(with, key, fragment.data()), static_cast<uint32_t>(fragment.size()), true, 99,
          99};
}

inline void expand(CbcHmacKey& key, const Provider& provider, const CbcCase& with) {
  ASSERT_TRUE(key.expand(provider, *with.suite, with.key, with.mac_key));
}

// One record by itself: its plaintext when it opens. What does not open must be all zeros.
inline std::optional<ByteVector> open_one(const Provider& provider, const CbcCase& with,
                                          ByteVector fragment) {
  CbcHmacKey key;
  expand(key, provider, with);
  CbcOpenJob job = open_job(with, key, fragment);
  open_batch(provider, {&job, 1});
  if (!job.ok) {
    EXPECT_EQ(job.plaintext_length, 0u);
    EXPECT_TRUE(std::all_of(fragment.begin(), fragment.end(), [](uint8_t b) { return b == 0; }));
    return std::nullopt;
  }
  const auto from = fragment.begin() + job.plaintext_offset;
  return ByteVector(from, from + job.plaintext_length);
}

inline ByteVector seal_one(const Provider& provider, const CbcCase& with,
                           const ByteVector& plaintext) {
  CbcHmacKey key;
  expand(key, provider, with);
  const auto length = static_cast<uint32_t>(plaintext.size());
  ByteVector fragment(
      cbc_sealed_length(with.suite->mac_hash, with.version, with.encrypt_then_mac, length));
  std::copy(plaintext.begin(), plaintext.end(),
            fragment.begin() + cbc_plaintext_offset(with.version));
  CbcSealJob job{record_of(with, key, fragment.data()), length};
  seal_batch(provider, {&job, 1});
  return fragment;
}

}  // namespace sluice::crypto::test
