// What the tests of the record layer share: a worker, keys for both ends of a flow, a client that
// can seal anything, pieces cut at random.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "abi/counters.h"
#include "abi/messages.h"
#include "crypto/provider.h"
#include "crypto/suite.h"
#include "tls/keys.h"
#include "tls/record.h"

namespace sluice::tls::test {

using Bytes = std::vector<uint8_t>;

inline constexpr uint16_t kAes128Tls13 = 0x1301;
inline constexpr uint16_t kAes256Tls13 = 0x1302;
inline constexpr uint16_t kAes128Tls12 = 0xC02F;  // ECDHE_RSA_WITH_AES_128_GCM_SHA256
inline constexpr uint16_t kAes256Tls12 = 0xC030;
inline constexpr uint16_t kEverySuite[] = {kAes128Tls13, kAes256Tls13, kAes128Tls12, kAes256Tls12};

const crypto::Provider& provider();

// One end's record layer and keys.
struct End {
  explicit End(uint32_t cache_entries = 16) : cache(cache_entries, counters) {}
  ~End() { end_keys(layer, keys); }

  abi::Counters counters;
  KeyCache cache;
  RecordLayer layer{provider(), cache, counters};
  FlowKeys keys;
};

// Keys that are valid for this suite, drawn from `seed`.
abi::InstallKeys make_keys(uint16_t suite, uint32_t seed = 1);

// The message for the other end: what one opens the other seals.
abi::InstallKeys mirrored(abi::InstallKeys message);

// A server and its client with mirrored keys.
struct Pair {
  explicit Pair(uint16_t suite, uint32_t seed = 1);
  explicit Pair(const abi::InstallKeys& message);

  // What the client seals for the server, which then opens and handles it.
  Bytes client_seals(ContentType type, std::span<const uint8_t> plaintext);
  End server;
  End client;
};

// Seals `inner` as it is (type and padding included) with the keys that `message` gives the
// server to open: the client of the table tests, which may break every rule.
Bytes forge13(const abi::InstallKeys& message, uint64_t sequence, std::span<const uint8_t> inner,
              uint8_t outer_type = 23, uint16_t version = 0x0303);

// Cuts `bytes` into pieces of at most `max_piece` bytes at random, some of them empty.
std::vector<ConstPiece> cut(std::span<const uint8_t> bytes, size_t max_piece,
                            std::mt19937& random);

Bytes random_bytes(size_t count, std::mt19937& random);

inline std::span<const ConstPiece> one_piece(const Bytes& bytes, ConstPiece& piece) {
  piece = {bytes.data(), static_cast<uint32_t>(bytes.size())};
  return {&piece, 1};
}

}  // namespace sluice::tls::test
