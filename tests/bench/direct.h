// ipsec-mb called directly on contiguous bytes: what a whole record costs at least.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "crypto/suite.h"

namespace sluice::bench {

class DirectGcm {
 public:
  DirectGcm(crypto::Cipher cipher, std::span<const uint8_t> key);
  ~DirectGcm();
  DirectGcm(const DirectGcm&) = delete;
  DirectGcm& operator=(const DirectGcm&) = delete;

  // One record: 12-byte nonce, 16-byte tag. open writes the tag that it should have.
  void seal(const uint8_t* nonce, std::span<const uint8_t> aad, std::span<const uint8_t> in,
            uint8_t* out, uint8_t* tag);
  void open(const uint8_t* nonce, std::span<const uint8_t> aad, std::span<const uint8_t> in,
            uint8_t* out, uint8_t* tag);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::bench
