#include "record_layer.h"

#include <stdexcept>

namespace sluice::control::testing {
namespace {

crypto::Provider make_provider() {
  auto provider = crypto::Provider::create();
  if (!provider) throw std::runtime_error("no provider");
  return std::move(*provider);
}

const crypto::Suite& suite_of(const abi::InstallKeys& keys) {
  const crypto::Suite* suite = crypto::find_suite(keys.suite);
  if (suite == nullptr) throw std::runtime_error("unknown suite");
  return *suite;
}

void append_big_endian(std::vector<uint8_t>& out, uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(value >> shift));
}

}  // namespace

RecordLayer::RecordLayer(const abi::InstallKeys& keys)
    : provider_(make_provider()),
      suite_(suite_of(keys)),
      tls13_(keys.version == 0x0304),
      open_(make(keys.open)),
      seal_(make(keys.seal)) {}

RecordLayer::Direction RecordLayer::make(const abi::DirectionKeys& keys) const {
  Direction direction;
  direction.sequence = keys.sequence;
  direction.next_explicit_nonce = keys.next_explicit_nonce;
  if (tls13_) {
    crypto::TrafficKeys traffic;
    if (!crypto::derive_traffic_keys(provider_, suite_, {keys.secret, keys.secret_length},
                                     traffic)) {
      throw std::runtime_error("no traffic keys");
    }
    direction.key.assign(traffic.key.data(), traffic.key.data() + traffic.key.size());
    direction.iv.assign(traffic.iv.data(), traffic.iv.data() + traffic.iv.size());
  } else {
    direction.key.assign(keys.key, keys.key + keys.key_length);
    direction.iv.assign(keys.iv, keys.iv + keys.iv_length);
  }
  return direction;
}

std::vector<uint8_t> RecordLayer::nonce(const Direction& direction,
                                        const uint8_t* explicit_nonce) const {
  std::vector<uint8_t> out = direction.iv;
  if (!tls13_) {
    out.insert(out.end(), explicit_nonce, explicit_nonce + 8);
    return out;
  }
  for (size_t i = 0; i < 8; ++i) {
    out[4 + i] = static_cast<uint8_t>(out[4 + i] ^ (direction.sequence >> (56 - 8 * i)));
  }
  return out;
}

std::vector<uint8_t> RecordLayer::aad12(const Direction& direction, uint8_t type,
                                        size_t length) const {
  std::vector<uint8_t> aad;
  append_big_endian(aad, direction.sequence);
  aad.insert(aad.end(),
             {type, 3, 3, static_cast<uint8_t>(length >> 8), static_cast<uint8_t>(length)});
  return aad;
}

std::optional<OpenedRecord> RecordLayer::open(const std::vector<uint8_t>& record) {
  const size_t prefix = 5 + suite_.explicit_length;
  if (record.size() < prefix + 16) return std::nullopt;
  const size_t length = record.size() - prefix - 16;
  crypto::AeadKey key;
  if (!key.expand(provider_, suite_.cipher, open_.key)) return std::nullopt;
  const std::vector<uint8_t> iv = nonce(open_, record.data() + 5);
  const std::vector<uint8_t> aad = tls13_ ? std::vector<uint8_t>(record.begin(), record.begin() + 5)
                                          : aad12(open_, record[0], length);
  const crypto::ConstPiece piece{record.data() + prefix, static_cast<uint32_t>(length)};
  std::vector<uint8_t> plaintext(length);
  if (!crypto::open(provider_, key, crypto::Nonce(iv.data(), 12), aad, {&piece, 1},
                    record.data() + prefix + length, plaintext.data())) {
    return std::nullopt;
  }
  ++open_.sequence;
  OpenedRecord out;
  out.type = record[0];
  if (tls13_) {
    while (!plaintext.empty() && plaintext.back() == 0) plaintext.pop_back();
    if (plaintext.empty()) return std::nullopt;
    out.type = plaintext.back();
    plaintext.pop_back();
  }
  out.plaintext.assign(plaintext.begin(), plaintext.end());
  return out;
}

std::vector<uint8_t> RecordLayer::seal(uint8_t type, const std::string& plaintext) {
  std::vector<uint8_t> inner(plaintext.begin(), plaintext.end());
  if (tls13_) inner.push_back(type);
  const size_t payload = suite_.explicit_length + inner.size() + 16;
  std::vector<uint8_t> record = {tls13_ ? uint8_t{23} : type, 3, 3,
                                 static_cast<uint8_t>(payload >> 8), static_cast<uint8_t>(payload)};
  if (!tls13_) append_big_endian(record, seal_.next_explicit_nonce++);
  const size_t prefix = record.size();
  const std::vector<uint8_t> iv = nonce(seal_, record.data() + 5);
  const std::vector<uint8_t> aad = tls13_ ? std::vector<uint8_t>(record.begin(), record.begin() + 5)
                                          : aad12(seal_, type, inner.size());
  record.resize(prefix + inner.size() + 16);
  crypto::AeadKey key;
  if (!key.expand(provider_, suite_.cipher, seal_.key)) throw std::runtime_error("no key");
  const crypto::ConstPiece piece{inner.data(), static_cast<uint32_t>(inner.size())};
  crypto::seal(provider_, key, crypto::Nonce(iv.data(), 12), aad, {&piece, 1},
               record.data() + prefix, record.data() + prefix + inner.size());
  ++seal_.sequence;
  return record;
}

std::vector<std::vector<uint8_t>> take_records(std::vector<uint8_t>& bytes) {
  std::vector<std::vector<uint8_t>> records;
  size_t at = 0;
  while (bytes.size() >= at + 5) {
    const size_t length = 5 + (size_t{bytes[at + 3]} << 8 | bytes[at + 4]);
    if (bytes.size() < at + length) break;
    const auto begin = bytes.begin() + static_cast<ptrdiff_t>(at);
    records.emplace_back(begin, begin + static_cast<ptrdiff_t>(length));
    at += length;
  }
  bytes.erase(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(at));
  return records;
}

}  // namespace sluice::control::testing
