// HMACs of many records at once, each in a lane of vector registers. For `cbc_hmac` and its tests.
//
// A record's length may be secret (what a CBC record's padding leaves): then time, memory accesses
// and the number of compressions follow from `max_length` alone.
#pragma once

#include <cstdint>
#include <span>

#include "crypto/cbc_hmac.h"
#include "crypto/sha.h"

namespace sluice::crypto {

inline constexpr uint32_t kPseudoHeaderLength = 13;  // RFC 5246 6.2.3.1
inline constexpr uint32_t kMaxPaddingLength = 255;   // RFC 5246 6.2.3.2, the length byte apart

struct MacJob {
  const CbcHmacKey* key;
  uint8_t header[kPseudoHeaderLength];  // covered first; its length field is the caller's business
  const uint8_t* message;               // covered next
  uint32_t max_length;                  // bytes of the message at most; public
  uint32_t length;  // bytes of it that are covered; when secret, at most kMaxPaddingLength less
  bool length_is_secret;
  uint8_t mac[kMaxHashLength];  // the answer, hash_length(key->mac_hash()) bytes
};

// Any number of jobs of any hashes.
void mac_batch(const ShaKernels& kernels, std::span<MacJob> jobs);

// The chaining words behind `key`'s inner and outer block (RFC 2104), in host order; `key` is as
// long as the hash.
void hmac_states(const ShaKernels& kernels, Hash hash, std::span<const uint8_t> key,
                 uint8_t* inner_state, uint8_t* outer_state);

// The functions for a CPU: `wide` when it has AVX-512 (F, BW, DQ, VL), `sha` with the SHA
// extensions. AVX2 is there in any case.
[[nodiscard]] ShaKernels choose_sha_kernels(bool wide, bool sha);

}  // namespace sluice::crypto
