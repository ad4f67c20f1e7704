// What the tests of the record layer share: a worker, keys for both ends of a flow, a client that
// can seal anything, pieces cut at random.
#pragma once

#include <cstdint>
#include <memory>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "abi/counters.h"
#include "abi/messages.h"
#include "crypto/provider.h"
#include "crypto/suite.h"
#include "tls/keys.h"
#include "tls/record.h"

namespace sluice::tls::test {

using Bytes = std::vector<uint8_t>;

// A suite as a connection may have it: in its newest version unless another is given.
struct Variant {
  constexpr Variant(uint16_t with, TlsVersion in = TlsVersion{}, bool etm = false)  // NOLINT
      : suite(with), encrypt_then_mac(etm), version_(in) {}

  TlsVersion version() const;
  bool tls13() const { return version() == TlsVersion::Tls13; }
  bool cbc() const;
  std::string name() const;  // "0x002f in 3.1, EtM"

  uint16_t suite;
  bool encrypt_then_mac;

 private:
  TlsVersion version_;
};
inline void PrintTo(const Variant& variant, std::ostream* out) { *out << variant.name(); }

inline constexpr uint16_t kAes128Tls13 = 0x1301;
inline constexpr uint16_t kAes256Tls13 = 0x1302;
inline constexpr uint16_t kChachaTls13 = 0x1303;
inline constexpr uint16_t kAes128Tls12 = 0xC02F;  // ECDHE_RSA_WITH_AES_128_GCM_SHA256
inline constexpr uint16_t kAes256Tls12 = 0xC030;
inline constexpr uint16_t kChachaTls12 = 0xCCA8;
inline constexpr uint16_t kCbcSha1 = 0x002F;         // RSA_WITH_AES_128_CBC_SHA
inline constexpr uint16_t kCbc256Sha1 = 0x0035;      // RSA_WITH_AES_256_CBC_SHA
inline constexpr uint16_t kCbcSha256 = 0x003C;       // RSA_WITH_AES_128_CBC_SHA256
inline constexpr uint16_t kCbc256Sha256 = 0x003D;    // RSA_WITH_AES_256_CBC_SHA256
inline constexpr uint16_t kCbc256Sha384 = 0xC028;    // ECDHE_RSA_WITH_AES_256_CBC_SHA384

inline constexpr Variant kEveryAead[] = {kAes128Tls13, kAes256Tls13, kChachaTls13,
                                         kAes128Tls12, kAes256Tls12, kChachaTls12};
inline constexpr Variant kEveryCbc[] = {
    {kCbcSha1, TlsVersion::Tls10},      {kCbc256Sha1, TlsVersion::Tls10, true},
    {kCbcSha1, TlsVersion::Tls11, true}, {kCbc256Sha1, TlsVersion::Tls11},
    {kCbcSha1, TlsVersion::Tls12},      {kCbc256Sha1, TlsVersion::Tls12, true},
    {kCbcSha256, TlsVersion::Tls12},    {kCbc256Sha256, TlsVersion::Tls12, true},
    {kCbc256Sha384, TlsVersion::Tls12}, {kCbc256Sha384, TlsVersion::Tls12, true},
};
// All of both.
std::vector<Variant> every_suite();

const crypto::Provider& provider();

// One end's record layer and keys.
struct End {
  explicit End(uint32_t cache_entries = 16, const RecordPolicy& policy = {})
      : cache(cache_entries, counters), layer(provider(), cache, counters, policy) {}
  ~End() { end_keys(layer, keys); }

  abi::Counters counters;
  KeyCache cache;
  RecordLayer layer;
  FlowKeys keys;
};

// Keys that are valid for this suite, drawn from `seed`.
abi::InstallKeys make_keys(const Variant& variant, uint32_t seed = 1);

// The message for the other end: what one opens the other seals.
abi::InstallKeys mirrored(abi::InstallKeys message);

// A server and its client with mirrored keys.
struct Pair {
  explicit Pair(const Variant& variant, uint32_t seed = 1);
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
