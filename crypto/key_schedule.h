// From secrets to traffic keys: HKDF (RFC 5869), the TLS 1.3 labels (RFC 8446 7.1 to 7.3), the PRFs
// of TLS 1.2 (RFC 5246 5) and of 1.0 and 1.1 (RFC 2246 5), and the key block (RFC 5246 6.3).
//
// Nothing here allocates. Inputs are therefore bounded; a function answers false, with its output
// wiped, when a length is outside what its comment allows. All lengths are public.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "crypto/hash.h"
#include "crypto/provider.h"
#include "crypto/secret.h"
#include "crypto/suite.h"

namespace sluice::crypto {

// What one direction of a connection needs. `mac_key` has the suite's mac_key_length, `iv` its
// fixed_iv_length in the connection's version.
struct TrafficKeys {
  Secret<kMaxHashLength> mac_key;
  Secret<kMaxKeyLength> key;
  Secret<kMaxIvLength> iv;
};

// Both directions of a connection before TLS 1.3, named after who writes with them.
struct KeyBlock {
  TrafficKeys client_write;
  TrafficKeys server_write;
};

inline constexpr size_t kMaxInfoLength = 320;      // HKDF info: 2 + 1 + 255 + 1 + 48 fit
inline constexpr size_t kMaxPrfSeedLength = 256;   // label and seed of a PRF together
inline constexpr size_t kMasterSecretLength = 48;  // before TLS 1.3
inline constexpr size_t kRandomLength = 32;        // ClientHello.random, ServerHello.random

// RFC 5869 2.2. An empty salt is hash_length zero bytes; `input` up to kMaxHmacMessageLength.
[[nodiscard]] bool hkdf_extract(const Provider& provider, Hash hash, Bytes salt, Bytes input,
                                HashSecret& pseudorandom_key);

// RFC 5869 2.3. `info` up to kMaxInfoLength, `output` up to 255 * hash_length.
[[nodiscard]] bool hkdf_expand(const Provider& provider, Hash hash, Bytes pseudorandom_key,
                               Bytes info, MutableBytes output);

// RFC 8446 7.1. `label` without its "tls13 " (1 to 249 bytes), `context` up to kMaxHashLength.
[[nodiscard]] bool hkdf_expand_label(const Provider& provider, Hash hash, Bytes secret,
                                     std::string_view label, Bytes context, MutableBytes output);

// RFC 8446 7.3. `traffic_secret` has hash_length(suite.hash) bytes; false also for a suite that is
// not TLS 1.3.
[[nodiscard]] bool derive_traffic_keys(const Provider& provider, const Suite& suite,
                                       Bytes traffic_secret, TrafficKeys& keys);

// RFC 8446 7.2: application_traffic_secret_N+1, after a KeyUpdate. `next` may be the Secret that
// `current` points into.
[[nodiscard]] bool next_traffic_secret(const Provider& provider, Hash hash, Bytes current,
                                       HashSecret& next);

// RFC 5246 5: PRF(secret, label, seed), any output length.
[[nodiscard]] bool tls12_prf(const Provider& provider, Hash hash, Bytes secret,
                             std::string_view label, Bytes seed, MutableBytes output);

// RFC 2246 5: MD5 and SHA-1 together, of TLS 1.0 and 1.1. A secret up to 128 bytes.
[[nodiscard]] bool tls10_prf(const Provider& provider, Bytes secret, std::string_view label,
                             Bytes seed, MutableBytes output);

// RFC 5246 6.3: MAC keys, keys and IVs (or salts) of both directions. The master secret has 48
// bytes, the randoms 32; false also for a version that the suite is not valid in, and for TLS 1.3.
[[nodiscard]] bool derive_key_block(const Provider& provider, const Suite& suite,
                                    TlsVersion version, Bytes master_secret, Bytes client_random,
                                    Bytes server_random, KeyBlock& block);

}  // namespace sluice::crypto
