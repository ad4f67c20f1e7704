#include "fixture.h"

#include <algorithm>
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

abi::DirectionKeys make_direction(const crypto::Suite& suite, std::mt19937& random) {
  abi::DirectionKeys keys;
  const auto fill = [&](uint8_t* out, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) out[i] = static_cast<uint8_t>(random());
  };
  keys.fragment_limit_bytes = abi::kMaxPlaintextBytes;
  if (suite.is_valid_in(crypto::TlsVersion::Tls13)) {
    keys.secret_length = static_cast<uint8_t>(crypto::hash_length(suite.hash));
    fill(keys.secret, keys.secret_length);
  } else {
    keys.key_length = suite.key_length;
    fill(keys.key, keys.key_length);
    keys.iv_length = suite.iv_length;
    fill(keys.iv, keys.iv_length);
    keys.sequence = 1;
    keys.next_explicit_nonce = UINT64_MAX - 1;  // wraps at the third record
  }
  return keys;
}

}  // namespace

abi::InstallKeys make_keys(uint16_t suite_id, uint32_t seed) {
  const crypto::Suite* suite = crypto::find_suite(suite_id);
  if (suite == nullptr) throw std::runtime_error("unknown suite");
  std::mt19937 random(seed);
  abi::InstallKeys message;
  message.header.flow.index = seed;
  message.header.flow.generation = 1;
  message.version = static_cast<uint16_t>(suite->max_version);
  message.suite = suite_id;
  message.open = make_direction(*suite, random);
  message.seal = make_direction(*suite, random);
  return message;
}

abi::InstallKeys mirrored(abi::InstallKeys message) {
  std::swap(message.open, message.seal);
  return message;
}

Pair::Pair(uint16_t suite, uint32_t seed) : Pair(make_keys(suite, seed)) {}

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
