// Hashes and HMAC (RFC 2104) of short messages, for the key schedule and the self-test. The MACs of
// CBC records are made in batches by `cbc_hmac`.
//
// Nothing here allocates. Inputs are therefore bounded; a function answers false, with its output
// wiped, when a length is outside what its comment allows. All lengths are public.
#pragma once

#include <cstdint>
#include <span>

#include "crypto/provider.h"
#include "crypto/secret.h"
#include "crypto/suite.h"

namespace sluice::crypto {

using Bytes = std::span<const uint8_t>;
using MutableBytes = std::span<uint8_t>;

using HashSecret = Secret<kMaxHashLength>;

inline constexpr size_t kMaxHmacMessageLength = 512;

[[nodiscard]] constexpr size_t block_length(Hash hash) {
  switch (hash) {
    case Hash::Md5:
    case Hash::Sha1:
    case Hash::Sha256:
      return 64;
    case Hash::Sha384:
      return 128;
  }
  return 0;
}

// H(message), any length; `output` has hash_length(hash) bytes. False for MD5, which exists here
// inside HMAC alone.
[[nodiscard]] bool digest(const Provider& provider, Hash hash, Bytes message, MutableBytes output);

// RFC 2104. A key of any length, a message up to kMaxHmacMessageLength; `mac` has hash_length(hash)
// bytes. With MD5, whose only user is the PRF, neither a key over a block nor an empty message.
[[nodiscard]] bool hmac(const Provider& provider, Hash hash, Bytes key, Bytes message,
                        MutableBytes mac);

}  // namespace sluice::crypto
