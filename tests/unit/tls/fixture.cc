#include "fixture.h"

#include <algorithm>
#include <cstdio>
#include <stdexcept>

#include "crypto/aead.h"
#include "crypto/key_schedule.h"
#include "tls/seal.h"

namespace sluice::tls::test {

const crypto::Provider& provider() {
  static const auto created = crypto::Provider::create();
  if (!created) throw std::runtime_error("no crypto provider");
  return *created;
}

namespace {

const crypto::Suite& row_of(uint16_t suite) {
  const crypto::Suite* row = crypto::find_suite(suite);
  if (row == nullptr) throw std::runtime_error("unknown suite");
  return *row;
}

abi::DirectionKeys make_direction(const crypto::Suite& suite, TlsVersion version,
                                  std::mt19937& random) {
  abi::DirectionKeys keys;
  const auto fill = [&](uint8_t* out, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) out[i] = static_cast<uint8_t>(random());
  };
  keys.fragment_limit_bytes = abi::kMaxPlaintextBytes;
  if (version == TlsVersion::Tls13) {
    keys.secret_length = static_cast<uint8_t>(crypto::hash_length(suite.hash));
    fill(keys.secret, keys.secret_length);
    return keys;
  }
  keys.key_length = suite.key_length;
  fill(keys.key, keys.key_length);
  keys.mac_key_length = suite.mac_key_length;
  fill(keys.mac_key, keys.mac_key_length);
  keys.iv_length = static_cast<uint8_t>(suite.fixed_iv_length(version));
  fill(keys.iv, keys.iv_length);
  if (version == TlsVersion::Tls10) fill(keys.chaining_block, sizeof(keys.chaining_block));
  keys.sequence = 1;
  // Wraps at the third record.
  if (suite.is_aead() && suite.explicit_length != 0) keys.next_explicit_nonce = UINT64_MAX - 1;
  return keys;
}

}  // namespace

TlsVersion Variant::version() const {
  return version_ == TlsVersion{} ? row_of(suite).max_version : version_;
}

bool Variant::cbc() const { return row_of(suite).is_cbc(); }

std::string Variant::name() const {
  char text[64];
  std::snprintf(text, sizeof text, "0x%04x in 3.%d%s", suite,
                static_cast<int>(version()) & 0xff, encrypt_then_mac ? ", EtM" : "");
  return text;
}

std::vector<Variant> every_suite() {
  std::vector<Variant> all(std::begin(kEveryAead), std::end(kEveryAead));
  all.insert(all.end(), std::begin(kEveryCbc), std::end(kEveryCbc));
  return all;
}

abi::InstallKeys make_keys(const Variant& variant, uint32_t seed) {
  const crypto::Suite& suite = row_of(variant.suite);
  std::mt19937 random(seed);
  abi::InstallKeys message;
  message.header.flow.index = seed;
  message.header.flow.generation = 1;
  message.version = static_cast<uint16_t>(variant.version());
  message.suite = variant.suite;
  message.encrypt_then_mac = variant.encrypt_then_mac ? 1 : 0;
  message.open = make_direction(suite, variant.version(), random);
  message.seal = make_direction(suite, variant.version(), random);
  return message;
}

abi::InstallKeys mirrored(abi::InstallKeys message) {
  std::swap(message.open, message.seal);
  return message;
}

Pair::Pair(const Variant& variant, uint32_t seed) : Pair(make_keys(variant, seed)) {}

Pair::Pair(const abi::InstallKeys& message) {
  if (!install_keys(server.layer, message, server.keys) ||
      !install_keys(client.layer, mirrored(message), client.keys)) {
    throw std::runtime_error("keys were refused");
  }
}

Bytes Pair::client_seals(ContentType type, std::span<const uint8_t> plaintext) {
  const auto length = static_cast<uint32_t>(plaintext.size());
  Bytes record(sealed_size(client.keys, length));
  const ConstPiece piece{plaintext.data(), length};
  record.resize(seal_record(client.layer, client.keys, type, {&piece, 1}, record.data()));
  return record;
}

Bytes forge13(const abi::InstallKeys& message, uint64_t sequence, std::span<const uint8_t> inner,
              uint8_t outer_type, uint16_t version) {
  const crypto::Suite* suite = crypto::find_suite(message.suite);
  crypto::TrafficKeys traffic;
  crypto::AeadKey key;
  if (!crypto::derive_traffic_keys(provider(), *suite,
                                   {message.open.secret, message.open.secret_length}, traffic) ||
      !key.expand(provider(), suite->cipher, traffic.key.span())) {
    throw std::runtime_error("no traffic keys");
  }
  uint8_t nonce[crypto::kNonceLength];
  std::copy_n(traffic.iv.data(), sizeof(nonce), nonce);
  for (uint32_t i = 0; i < 8; ++i) nonce[11 - i] ^= static_cast<uint8_t>(sequence >> (8 * i));
  const auto length = static_cast<uint32_t>(inner.size());
  Bytes record(abi::kRecordHeaderBytes + length + crypto::kTagLength);
  write_header(record.data(), static_cast<ContentType>(outer_type), version,
               length + crypto::kTagLength);
  const ConstPiece piece{inner.data(), length};
  uint8_t* ciphertext = record.data() + abi::kRecordHeaderBytes;
  crypto::seal(provider(), key, nonce, {record.data(), abi::kRecordHeaderBytes}, {&piece, 1},
               ciphertext, ciphertext + length);
  return record;
}

std::vector<ConstPiece> cut(std::span<const uint8_t> bytes, size_t max_piece,
                            std::mt19937& random) {
  std::vector<ConstPiece> pieces;
  while (!bytes.empty()) {
    const auto length = static_cast<uint32_t>(
        std::min<size_t>(random() % (max_piece + 1), bytes.size()));
    pieces.push_back({bytes.data(), length});
    bytes = bytes.subspan(length);
  }
  return pieces;
}

Bytes random_bytes(size_t count, std::mt19937& random) {
  Bytes bytes(count);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

}  // namespace sluice::tls::test
