// The same operations by OpenSSL, for comparison.
#pragma once

#include <string>

#include "crypto/suite.h"
#include "vectors.h"

namespace sluice::crypto::test {

struct Sealed {
  ByteVector ciphertext;
  ByteVector tag;
};

Sealed reference_seal(Cipher cipher, const ByteVector& key, const ByteVector& nonce,
                      const ByteVector& aad, const ByteVector& plaintext);
ByteVector reference_digest(Hash hash, const ByteVector& message);
ByteVector reference_hmac(Hash hash, const ByteVector& key, const ByteVector& message);
ByteVector reference_hkdf_extract(Hash hash, const ByteVector& salt, const ByteVector& input);
ByteVector reference_hkdf_expand(Hash hash, const ByteVector& key, const ByteVector& info,
                                 size_t length);
ByteVector reference_prf(Hash hash, const ByteVector& secret, const ByteVector& labelled_seed,
                         size_t length);
// MD5 and SHA-1 together.
ByteVector reference_prf_tls10(const ByteVector& secret, const ByteVector& labelled_seed,
                               size_t length);

}  // namespace sluice::crypto::test
