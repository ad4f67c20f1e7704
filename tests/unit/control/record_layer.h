// A worker's record layer for tests, from nothing but an InstallKeys message: opens the client's
// records, seals records for it, one sequence number after the other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "abi/messages.h"
#include "crypto/aead.h"
#include "crypto/key_schedule.h"

namespace sluice::control::testing {

struct OpenedRecord {
  uint8_t type = 0;
  std::string plaintext;
};

class RecordLayer {
 public:
  explicit RecordLayer(const abi::InstallKeys& keys);
  // `record` with its header. Empty when the tag does not verify.
  std::optional<OpenedRecord> open(const std::vector<uint8_t>& record);
  std::vector<uint8_t> seal(uint8_t type, const std::string& plaintext);

 private:
  struct Direction {
    std::vector<uint8_t> key;
    std::vector<uint8_t> iv;
    uint64_t sequence = 0;
    uint64_t next_explicit_nonce = 0;
  };
  Direction make(const abi::DirectionKeys& keys) const;
  std::vector<uint8_t> nonce(const Direction& direction, const uint8_t* explicit_nonce) const;
  std::vector<uint8_t> aad12(const Direction& direction, uint8_t type, size_t length) const;

  crypto::Provider provider_;
  const crypto::Suite& suite_;
  bool tls13_;
  Direction open_;
  Direction seal_;
};

// Cuts whole records off the front of `bytes`.
std::vector<std::vector<uint8_t>> take_records(std::vector<uint8_t>& bytes);

}  // namespace sluice::control::testing
