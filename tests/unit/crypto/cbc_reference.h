// CBC records made with OpenSSL's AES and HMAC, right ones and, for the tests of opening, wrong
// ones.
#pragma once

#include "crypto/cbc_hmac.h"
#include "crypto/suite.h"
#include "vectors.h"

namespace sluice::crypto::test {

// A connection's one direction, and one record in it.
struct CbcCase {
  const Suite* suite;
  ByteVector key;
  ByteVector mac_key;
  TlsVersion version = TlsVersion::Tls12;
  bool encrypt_then_mac = false;
  uint64_t sequence = 0;
  uint8_t type = 23;
  ByteVector iv;  // 16 bytes, explicit or chained
};

// What a peer might do wrong, all of it before encryption or MAC.
struct CbcFlaws {
  int padding_length = -1;      // -1: the least; otherwise what makes whole blocks
  int wrong_padding_byte = -1;  // the n-th byte from the end is not the padding's length
  int wrong_mac_byte = -1;
};

// The fragment: what follows the record header.
ByteVector reference_cbc_seal(const CbcCase& with, const ByteVector& plaintext,
                              const CbcFlaws& flaws = {});

// AES-CBC alone, whole blocks.
ByteVector reference_cbc_encrypt(const CbcCase& with, const ByteVector& blocks);

}  // namespace sluice::crypto::test
