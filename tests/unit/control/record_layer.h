// A worker's record layer for tests, from nothing but an InstallKeys message: opens the client's
// records, seals records for it, one sequence number after the other. It is written anew over
// OpenSSL's ciphers, so that a mistake of Sluice's own record layer is not made here again.
#pragma once

#include <openssl/evp.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "abi/messages.h"

namespace sluice::control::testing {

struct OpenedRecord {
  uint8_t type = 0;
  std::string plaintext;
};

using ByteVector = std::vector<uint8_t>;

class RecordLayer {
 public:
  explicit RecordLayer(const abi::InstallKeys& keys);
  // `record` with its header. Empty when tag, MAC or padding is wrong.
  std::optional<OpenedRecord> open(const ByteVector& record);
  ByteVector seal(uint8_t type, const std::string& plaintext);

 private:
  struct Direction {
    ByteVector key;
    ByteVector mac_key;
    ByteVector iv;     // or salt
    ByteVector chain;  // TLS 1.0
    uint64_t sequence = 0;
    uint64_t next_explicit_nonce = 0;
  };
  Direction make(const abi::DirectionKeys& keys) const;
  ByteVector nonce(const Direction& direction, const uint8_t* explicit_nonce) const;
  ByteVector header_for_mac(const Direction& direction, uint8_t type, size_t length) const;
  ByteVector mac(const Direction& direction, uint8_t type, const ByteVector& covered) const;
  ByteVector cbc(const ByteVector& key, const ByteVector& iv, const ByteVector& input,
                 bool encrypt) const;
  bool aead(const Direction& direction, const ByteVector& nonce, const ByteVector& aad,
            const ByteVector& input, ByteVector& tag, bool encrypt, ByteVector& output) const;
  std::optional<OpenedRecord> open_aead(const ByteVector& record);
  std::optional<OpenedRecord> open_cbc(const ByteVector& record);
  ByteVector seal_aead(uint8_t type, const std::string& plaintext);
  ByteVector seal_cbc(uint8_t type, const std::string& plaintext);

  const uint16_t version_;
  const uint16_t suite_;
  const EVP_CIPHER* cipher_;
  const EVP_MD* digest_;  // of CBC's MAC; null for an AEAD
  const bool tls13_;
  const bool encrypt_then_mac_;
  size_t explicit_bytes_;
  Direction open_;
  Direction seal_;
};

// Cuts whole records off the front of `bytes`.
std::vector<ByteVector> take_records(ByteVector& bytes);

}  // namespace sluice::control::testing
