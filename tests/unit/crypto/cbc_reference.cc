// The record as RFC 5246 6.2.3.2 and RFC 7366 3 say, step by step.
#include "cbc_reference.h"

#include <openssl/evp.h>

#include <memory>
#include <stdexcept>

#include "reference.h"

namespace sluice::crypto::test {
namespace {

void require(int result) {
  if (result != 1) throw std::runtime_error("an OpenSSL call failed");
}

void append(ByteVector& to, const ByteVector& bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

void append_number(ByteVector& to, uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) to.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

ByteVector mac_of(const CbcCase& with, const ByteVector& covered) {
  ByteVector message;
  append_number(message, with.sequence, 8);
  message.push_back(with.type);
  append_number(message, static_cast<uint16_t>(with.version), 2);
  append_number(message, covered.size(), 2);
  append(message, covered);
  return reference_hmac(with.suite->mac_hash, with.mac_key, message);
}

void flip(ByteVector& bytes, size_t at) { bytes.at(at) = static_cast<uint8_t>(bytes.at(at) ^ 1); }

void pad(ByteVector& bytes, const CbcFlaws& flaws) {
  size_t length = (kCbcBlockLength - (bytes.size() + 1) % kCbcBlockLength) % kCbcBlockLength;
  if (flaws.padding_length >= 0) length = static_cast<size_t>(flaws.padding_length);
  bytes.insert(bytes.end(), length + 1, static_cast<uint8_t>(length));
  if (flaws.wrong_padding_byte >= 0) {
    flip(bytes, bytes.size() - 1 - static_cast<size_t>(flaws.wrong_padding_byte));
  }
}

}  // namespace

ByteVector reference_cbc_encrypt(const CbcCase& with, const ByteVector& blocks) {
  const EVP_CIPHER* cipher =
      with.suite->cipher == Cipher::Aes128Cbc ? EVP_aes_128_cbc() : EVP_aes_256_cbc();
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(
      EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  ByteVector out(blocks.size());
  int length = 0;
  require(EVP_EncryptInit_ex(context.get(), cipher, nullptr, with.key.data(), with.iv.data()));
  require(EVP_CIPHER_CTX_set_padding(context.get(), 0));
  require(EVP_EncryptUpdate(context.get(), out.data(), &length, blocks.data(),
                            static_cast<int>(blocks.size())));
  if (static_cast<size_t>(length) != blocks.size()) throw std::runtime_error("not whole blocks");
  return out;
}

ByteVector reference_cbc_seal(const CbcCase& with, const ByteVector& plaintext,
                              const CbcFlaws& flaws) {
  ByteVector inside = plaintext;
  if (!with.encrypt_then_mac) {
    ByteVector mac = mac_of(with, plaintext);
    if (flaws.wrong_mac_byte >= 0) flip(mac, static_cast<size_t>(flaws.wrong_mac_byte));
    append(inside, mac);
  }
  pad(inside, flaws);
  ByteVector fragment;
  if (with.version != TlsVersion::Tls10) append(fragment, with.iv);
  append(fragment, reference_cbc_encrypt(with, inside));
  if (with.encrypt_then_mac) {
    ByteVector mac = mac_of(with, fragment);
    if (flaws.wrong_mac_byte >= 0) flip(mac, static_cast<size_t>(flaws.wrong_mac_byte));
    append(fragment, mac);
  }
  return fragment;
}

}  // namespace sluice::crypto::test
