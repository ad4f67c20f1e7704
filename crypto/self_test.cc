// Known-answer tests at start-up.
//
// Job: refuse to serve with a library or a CPU that computes wrongly. Each path that carries
// traffic is taken once: the hashes (through HMAC, HKDF and the old PRF), the AEADs one-shot and in
// pieces, CBC records of each MAC alone and in full lanes; what is right and what is forged. The
// full vectors are in the unit tests; these run in every process, and take microseconds.
#include "crypto/self_test.h"

#include <algorithm>
#include <array>

#include "crypto/aead.h"
#include "crypto/cbc_hmac.h"
#include "crypto/hash.h"
#include "crypto/key_schedule.h"

namespace sluice::crypto {
namespace {

// RFC 5869 A.1 and, for SHA-384, RFC 4231 4.3 (HMAC test case 2).
constexpr std::array<uint8_t, 16> kHkdfOutput = {0x3c, 0xb2, 0x5f, 0x25, 0xfa, 0xac, 0xd5, 0x7a,
                                                 0x90, 0x43, 0x4f, 0x64, 0xd0, 0x36, 0x2f, 0x2a};
constexpr std::array<uint8_t, 48> kHmac384 = {
    0xaf, 0x45, 0xd2, 0xe3, 0x76, 0x48, 0x40, 0x31, 0x61, 0x7f, 0x78, 0xd2, 0xb5, 0x8a, 0x6b, 0x1b,
    0x9c, 0x7e, 0xf4, 0x64, 0xf5, 0xa0, 0x1b, 0x47, 0xe4, 0x2e, 0xc3, 0x73, 0x63, 0x22, 0x44, 0x5e,
    0x8e, 0x22, 0x40, 0xca, 0x5e, 0x69, 0xe2, 0xc7, 0x8b, 0x32, 0x39, 0xec, 0xfa, 0xb2, 0x16, 0x49};

bool hash_answers_are_right(const Provider& provider) {
  std::array<uint8_t, 22> input;
  input.fill(0x0b);
  std::array<uint8_t, 13> salt;
  for (size_t i = 0; i < salt.size(); ++i) salt[i] = static_cast<uint8_t>(i);
  std::array<uint8_t, 10> info;
  for (size_t i = 0; i < info.size(); ++i) info[i] = static_cast<uint8_t>(0xf0 + i);
  HashSecret extracted;
  std::array<uint8_t, kHkdfOutput.size()> expanded{};
  if (!hkdf_extract(provider, Hash::Sha256, salt, input, extracted)) return false;
  if (!hkdf_expand(provider, Hash::Sha256, extracted.span(), info, expanded)) return false;

  constexpr std::array<uint8_t, 4> kKey = {'J', 'e', 'f', 'e'};
  constexpr std::array<uint8_t, 28> kMessage = {'w', 'h', 'a', 't', ' ', 'd', 'o', ' ', 'y', 'a',
                                                ' ', 'w', 'a', 'n', 't', ' ', 'f', 'o', 'r', ' ',
                                                'n', 'o', 't', 'h', 'i', 'n', 'g', '?'};
  std::array<uint8_t, kHmac384.size()> mac{};
  if (!hmac(provider, Hash::Sha384, kKey, kMessage, mac)) return false;
  return expanded == kHkdfOutput && mac == kHmac384;
}

// Zero key, zero nonce, one zero block: the GCM specification's test cases 2 and 14, and RFC 8439.
struct AeadAnswer {
  Cipher cipher;
  std::array<uint8_t, 16> ciphertext;
  std::array<uint8_t, kTagLength> tag;
};
constexpr AeadAnswer kAeadAnswers[] = {
    {Cipher::Aes128Gcm,
     {0x03, 0x88, 0xda, 0xce, 0x60, 0xb6, 0xa3, 0x92, 0xf3, 0x28, 0xc2, 0xb9, 0x71, 0xb2, 0xfe,
      0x78},
     {0xab, 0x6e, 0x47, 0xd4, 0x2c, 0xec, 0x13, 0xbd, 0xf5, 0x3a, 0x67, 0xb2, 0x12, 0x57, 0xbd,
      0xdf}},
    {Cipher::Aes256Gcm,
     {0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e, 0x07, 0x4e, 0xc5, 0xd3, 0xba, 0xf3, 0x9d,
      0x18},
     {0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99, 0x6b, 0xf0, 0x26, 0x5b, 0x98, 0xb5, 0xd4, 0x8a, 0xb9,
      0x19}},
    {Cipher::Chacha20Poly1305,
     {0x9f, 0x07, 0xe7, 0xbe, 0x55, 0x51, 0x38, 0x7a, 0x98, 0xba, 0x97, 0x7c, 0x73, 0x2d, 0x08,
      0x0d},
     {0xc3, 0x4a, 0x88, 0x04, 0x73, 0x20, 0xf5, 0x2a, 0xa2, 0xc6, 0x68, 0x3e, 0xf8, 0x08, 0x4d,
      0x2f}},
};

bool aead_answer_is_right(const Provider& provider, const AeadAnswer& answer, uint32_t cut) {
  constexpr std::array<uint8_t, kMaxKeyLength> kZeroKey{};
  constexpr std::array<uint8_t, kNonceLength> kZeroNonce{};
  constexpr std::array<uint8_t, 16> kZeroBlock{};
  AeadKey key;
  if (!key.expand(provider, answer.cipher,
                  std::span<const uint8_t>(kZeroKey).first(key_length(answer.cipher)))) {
    return false;
  }
  const ConstPiece plaintext[] = {{kZeroBlock.data(), cut}, {kZeroBlock.data() + cut, 16 - cut}};
  std::array<uint8_t, 16> out{};
  std::array<uint8_t, kTagLength> tag{};
  seal(provider, key, kZeroNonce, {}, plaintext, out.data(), tag.data());
  if (out != answer.ciphertext || tag != answer.tag) return false;

  const ConstPiece ciphertext[] = {{answer.ciphertext.data(), cut},
                                   {answer.ciphertext.data() + cut, 16 - cut}};
  if (!open(provider, key, kZeroNonce, {}, ciphertext, tag.data(), out.data())) return false;
  if (out != kZeroBlock) return false;
  tag[15] ^= 1;
  out.fill(0xff);
  if (open(provider, key, kZeroNonce, {}, ciphertext, tag.data(), out.data())) return false;
  return out == kZeroBlock;  // zeroed, not released
}

// RFC 2246 5 over a master secret and randoms of zeros, by an independent program.
bool old_prf_is_right(const Provider& provider) {
  constexpr std::array<uint8_t, 16> kAnswer = {0xd0, 0x9d, 0xda, 0xec, 0x01, 0x9a, 0x36, 0x67,
                                               0xf9, 0xc3, 0xaf, 0x02, 0xe2, 0xd0, 0x51, 0x7b};
  constexpr std::array<uint8_t, kMasterSecretLength> kSecret{};
  constexpr std::array<uint8_t, 2 * kRandomLength> kRandoms{};
  std::array<uint8_t, kAnswer.size()> output{};
  return tls10_prf(provider, kSecret, "key expansion", kRandoms, output) && output == kAnswer;
}

// The last block of a TLS 1.2 record "abc" with keys, IV and sequence of zeros, by an independent
// program.
struct CbcAnswer {
  uint16_t suite;
  std::array<uint8_t, kCbcBlockLength> last_block;
};
constexpr CbcAnswer kCbcAnswers[] = {
    {0x002f,
     {0xec, 0x96, 0x6d, 0x75, 0xb0, 0x93, 0xab, 0xb5, 0x6d, 0x92, 0x6f, 0x76, 0x8a, 0x7e, 0x63,
      0x1a}},
    {0x003d,
     {0xff, 0x03, 0x19, 0xa8, 0x06, 0x0a, 0x2e, 0xfe, 0xaa, 0x93, 0x97, 0xae, 0xec, 0xfd, 0x2e,
      0x10}},
    {0xc024,
     {0x2c, 0x64, 0x6f, 0x77, 0x47, 0x4b, 0x31, 0x58, 0xb0, 0x2f, 0x7a, 0x4b, 0x8a, 0xa1, 0x02,
      0xb5}},
};

bool cbc_answer_is_right(const Provider& provider, const CbcAnswer& answer, size_t records) {
  constexpr size_t kMostRecords = kMaxLanes32;
  constexpr size_t kMostBytes = 96;
  constexpr std::array<uint8_t, 3> kText = {'a', 'b', 'c'};
  constexpr std::array<uint8_t, kMaxHashLength> kZeros{};
  const Suite& suite = *find_suite(answer.suite);
  CbcHmacKey key;
  if (!key.expand(provider, suite, std::span(kZeros).first(suite.key_length),
                  std::span(kZeros).first(suite.mac_key_length))) {
    return false;
  }
  const uint32_t length = cbc_sealed_length(suite.mac_hash, TlsVersion::Tls12, false, kText.size());
  std::array<std::array<uint8_t, kMostBytes>, kMostRecords> fragments{};
  std::array<CbcSealJob, kMostRecords> seals;
  std::array<CbcOpenJob, kMostRecords> opens;
  for (size_t i = 0; i < records; ++i) {
    std::copy(kText.begin(), kText.end(), fragments[i].begin() + kCbcBlockLength);
    seals[i] = {{&key, 0, 23, TlsVersion::Tls12, false, fragments[i].data(), {}}, kText.size()};
    opens[i] = {seals[i].record, length, false, 0, 0};
  }
  seal_batch(provider, std::span(seals).first(records));
  for (size_t i = 0; i < records; ++i) {
    if (!std::equal(answer.last_block.begin(), answer.last_block.end(),
                    fragments[i].begin() + length - kCbcBlockLength)) {
      return false;
    }
  }
  fragments[records - 1][kCbcBlockLength] ^= 1;  // a forged one among them
  open_batch(provider, std::span(opens).first(records));
  for (size_t i = 0; i + 1 < records; ++i) {
    if (!opens[i].ok || opens[i].plaintext_length != kText.size() ||
        !std::equal(kText.begin(), kText.end(), fragments[i].begin() + kCbcBlockLength)) {
      return false;
    }
  }
  return !opens[records - 1].ok;
}

}  // namespace

bool self_test(const Provider& provider) {
  if (!hash_answers_are_right(provider) || !old_prf_is_right(provider)) return false;
  for (const CbcAnswer& answer : kCbcAnswers) {
    if (!cbc_answer_is_right(provider, answer, 2)) return false;
    if (!cbc_answer_is_right(provider, answer, kMaxLanes32)) return false;
  }
  return std::all_of(std::begin(kAeadAnswers), std::end(kAeadAnswers),
                     [&](const AeadAnswer& answer) {
                       return aead_answer_is_right(provider, answer, 0) &&
                              aead_answer_is_right(provider, answer, 5);
                     });
}

}  // namespace sluice::crypto
