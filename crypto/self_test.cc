// Known-answer tests at start-up.
//
// Job: refuse to serve with a library or a CPU that computes wrongly. Each path that carries
// traffic is taken once: both hashes (through HMAC and HKDF), both key sizes of GCM, one-shot and
// in pieces, a good tag and a bad one. The full vectors are in the unit tests; these run in every
// process, and take microseconds.
#include "crypto/self_test.h"

#include <algorithm>
#include <array>

#include "crypto/aead.h"
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

// The GCM specification's test cases 2 and 14: zero key, zero nonce, one zero block.
struct GcmAnswer {
  Cipher cipher;
  std::array<uint8_t, 16> ciphertext;
  std::array<uint8_t, kTagLength> tag;
};
constexpr GcmAnswer kGcmAnswers[] = {
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
};

bool gcm_answer_is_right(const Provider& provider, const GcmAnswer& answer, uint32_t cut) {
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

}  // namespace

bool self_test(const Provider& provider) {
  if (!hash_answers_are_right(provider)) return false;
  return std::all_of(std::begin(kGcmAnswers), std::end(kGcmAnswers), [&](const GcmAnswer& answer) {
    return gcm_answer_is_right(provider, answer, 0) && gcm_answer_is_right(provider, answer, 5);
  });
}

}  // namespace sluice::crypto
