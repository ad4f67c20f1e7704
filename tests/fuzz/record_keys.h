// What the fuzz targets of the record layer share: keys of every suite in every version, one end of
// a connection, bytes in pieces.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "tls/open.h"
#include "tls/seal.h"

namespace sluice::fuzz {

inline const crypto::Provider& provider() {
  static const auto created = crypto::Provider::create();
  if (!created) std::abort();
  return *created;
}

struct Variant {
  const crypto::Suite* suite;
  tls::TlsVersion version;
  bool encrypt_then_mac;
};

// One suite of each kind in each of its versions, CBC with and without encrypt-then-MAC.
inline const std::vector<Variant>& variants() {
  static const std::vector<Variant> all = [] {
    std::vector<Variant> made;
    static constexpr uint16_t kSuites[] = {0x1301, 0x1302, 0x1303, 0xC02F, 0xC030,
                                           0xCCA8, 0x002F, 0x0035, 0x003C, 0xC028};
    for (const uint16_t id : kSuites) {
      const crypto::Suite* suite = crypto::find_suite(id);
      if (suite == nullptr) std::abort();
      for (uint16_t version = 0x0301; version <= 0x0304; ++version) {
        const auto known = static_cast<tls::TlsVersion>(version);
        if (!suite->is_valid_in(known)) continue;
        made.push_back({suite, known, false});
        if (suite->is_cbc()) made.push_back({suite, known, true});
      }
    }
    return made;
  }();
  return all;
}

inline const Variant& variant_of(uint8_t byte) { return variants()[byte % variants().size()]; }

inline abi::InstallKeys make_keys(const Variant& variant) {
  const crypto::Suite& suite = *variant.suite;
  abi::InstallKeys message;
  message.suite = suite.id;
  message.version = static_cast<uint16_t>(variant.version);
  message.encrypt_then_mac = variant.encrypt_then_mac ? 1 : 0;
  uint8_t fill = 1;
  for (abi::DirectionKeys* keys : {&message.open, &message.seal}) {
    keys->fragment_limit_bytes = abi::kMaxPlaintextBytes;
    if (variant.version == tls::TlsVersion::Tls13) {
      keys->secret_length = static_cast<uint8_t>(crypto::hash_length(suite.hash));
      std::fill_n(keys->secret, keys->secret_length, fill++);
      continue;
    }
    keys->sequence = 1;
    keys->key_length = suite.key_length;
    keys->mac_key_length = suite.mac_key_length;
    keys->iv_length = static_cast<uint8_t>(suite.fixed_iv_length(variant.version));
    std::fill_n(keys->key, keys->key_length, fill);
    std::fill_n(keys->mac_key, keys->mac_key_length, fill++);
  }
  return message;
}

struct End {
  explicit End(const abi::InstallKeys& message) : layer(provider(), cache, counters) {
    if (!tls::install_keys(layer, message, keys)) std::abort();
  }
  ~End() { tls::end_keys(layer, keys); }

  abi::Counters counters;
  tls::KeyCache cache{2, counters};
  tls::RecordLayer layer;
  tls::FlowKeys keys;
};

inline std::vector<crypto::ConstPiece> cut(std::span<const uint8_t> bytes, size_t piece) {
  std::vector<crypto::ConstPiece> pieces;
  while (!bytes.empty()) {
    const size_t length = std::min(piece, bytes.size());
    pieces.push_back({bytes.data(), static_cast<uint32_t>(length)});
    bytes = bytes.subspan(length);
  }
  return pieces;
}

inline std::vector<uint8_t> seal(End& end, tls::ContentType type,
                                 std::span<const crypto::ConstPiece> content) {
  uint32_t length = 0;
  for (const crypto::ConstPiece& piece : content) length += piece.length;
  std::vector<uint8_t> record(tls::sealed_size(end.keys, length));
  const uint32_t sealed = tls::seal_record(end.layer, end.keys, type, content, record.data());
  if (sealed == 0 || sealed > record.size()) std::abort();
  record.resize(sealed);
  return record;
}

}  // namespace sluice::fuzz
