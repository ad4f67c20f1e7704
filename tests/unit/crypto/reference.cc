// OpenSSL's EVP as the second opinion. Any failure of a call throws.
#include "reference.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <memory>
#include <stdexcept>

namespace sluice::crypto::test {
namespace {

void require(int result) {
  if (result != 1) throw std::runtime_error("an OpenSSL call failed");
}

const EVP_MD* message_digest(Hash hash) {
  switch (hash) {
    case Hash::Md5:
      return EVP_md5();
    case Hash::Sha1:
      return EVP_sha1();
    case Hash::Sha256:
      return EVP_sha256();
    case Hash::Sha384:
      return EVP_sha384();
  }
  throw std::runtime_error("no such hash");
}

const EVP_CIPHER* evp_cipher(Cipher cipher) {
  switch (cipher) {
    case Cipher::Aes128Gcm:
      return EVP_aes_128_gcm();
    case Cipher::Aes256Gcm:
      return EVP_aes_256_gcm();
    case Cipher::Chacha20Poly1305:
      return EVP_chacha20_poly1305();
    case Cipher::Aes128Cbc:
      return EVP_aes_128_cbc();
    case Cipher::Aes256Cbc:
      return EVP_aes_256_cbc();
  }
  throw std::runtime_error("no such cipher");
}

// OSSL_PARAM's constructor wants mutable data that it does not change, and no null pointers.
OSSL_PARAM octets(const char* name, const ByteVector& bytes) {
  static uint8_t nothing = 0;
  uint8_t* data = bytes.empty() ? &nothing : const_cast<uint8_t*>(bytes.data());
  return OSSL_PARAM_construct_octet_string(name, data, bytes.size());
}

OSSL_PARAM digest_name(Hash hash) {
  return OSSL_PARAM_construct_utf8_string(
      OSSL_KDF_PARAM_DIGEST, const_cast<char*>(EVP_MD_get0_name(message_digest(hash))), 0);
}

ByteVector derive(const char* algorithm, const OSSL_PARAM* params, size_t length) {
  const std::unique_ptr<EVP_KDF, decltype(&EVP_KDF_free)> kdf(
      EVP_KDF_fetch(nullptr, algorithm, nullptr), EVP_KDF_free);
  const std::unique_ptr<EVP_KDF_CTX, decltype(&EVP_KDF_CTX_free)> context(
      EVP_KDF_CTX_new(kdf.get()), EVP_KDF_CTX_free);
  ByteVector out(length);
  require(EVP_KDF_derive(context.get(), out.data(), out.size(), params));
  return out;
}

}  // namespace

Sealed reference_seal(Cipher kind, const ByteVector& key, const ByteVector& nonce,
                      const ByteVector& aad, const ByteVector& plaintext) {
  const EVP_CIPHER* cipher = evp_cipher(kind);
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(
      EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  Sealed sealed{ByteVector(plaintext.size()), ByteVector(kTagLength)};
  int length = 0;
  uint8_t unused[16];
  require(EVP_EncryptInit_ex(context.get(), cipher, nullptr, key.data(), nonce.data()));
  if (!aad.empty()) {
    require(EVP_EncryptUpdate(context.get(), nullptr, &length, aad.data(),
                              static_cast<int>(aad.size())));
  }
  if (!plaintext.empty()) {
    require(EVP_EncryptUpdate(context.get(), sealed.ciphertext.data(), &length, plaintext.data(),
                              static_cast<int>(plaintext.size())));
  }
  require(EVP_EncryptFinal_ex(context.get(), unused, &length));
  require(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kTagLength, sealed.tag.data()));
  return sealed;
}

ByteVector reference_digest(Hash hash, const ByteVector& message) {
  ByteVector out(hash_length(hash));
  require(EVP_Digest(message.data(), message.size(), out.data(), nullptr, message_digest(hash),
                     nullptr));
  return out;
}

ByteVector reference_hmac(Hash hash, const ByteVector& key, const ByteVector& message) {
  ByteVector out(hash_length(hash));
  unsigned int length = 0;
  static const uint8_t kNothing = 0;
  if (HMAC(message_digest(hash), key.empty() ? &kNothing : key.data(), static_cast<int>(key.size()),
           message.data(), message.size(), out.data(), &length) == nullptr) {
    throw std::runtime_error("HMAC failed");
  }
  return out;
}

ByteVector reference_hkdf_extract(Hash hash, const ByteVector& salt, const ByteVector& input) {
  int mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
                               digest_name(hash), octets(OSSL_KDF_PARAM_SALT, salt),
                               octets(OSSL_KDF_PARAM_KEY, input), OSSL_PARAM_construct_end()};
  return derive("HKDF", params, hash_length(hash));
}

ByteVector reference_hkdf_expand(Hash hash, const ByteVector& key, const ByteVector& info,
                                 size_t length) {
  int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
                               digest_name(hash), octets(OSSL_KDF_PARAM_KEY, key),
                               octets(OSSL_KDF_PARAM_INFO, info), OSSL_PARAM_construct_end()};
  return derive("HKDF", params, length);
}

ByteVector reference_prf(Hash hash, const ByteVector& secret, const ByteVector& labelled_seed,
                         size_t length) {
  const OSSL_PARAM params[] = {digest_name(hash), octets(OSSL_KDF_PARAM_SECRET, secret),
                               octets(OSSL_KDF_PARAM_SEED, labelled_seed),
                               OSSL_PARAM_construct_end()};
  return derive("TLS1-PRF", params, length);
}

ByteVector reference_prf_tls10(const ByteVector& secret, const ByteVector& labelled_seed,
                               size_t length) {
  char name[] = "MD5-SHA1";
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, name, 0),
                               octets(OSSL_KDF_PARAM_SECRET, secret),
                               octets(OSSL_KDF_PARAM_SEED, labelled_seed),
                               OSSL_PARAM_construct_end()};
  return derive("TLS1-PRF", params, length);
}

}  // namespace sluice::crypto::test
