#include "record_layer.h"

#include <openssl/hmac.h>
#include <openssl/ssl.h>

#include <memory>
#include <stdexcept>

#include "crypto/key_schedule.h"

namespace sluice::control::testing {
namespace {

constexpr size_t kHeader = 5;
constexpr size_t kTag = 16;
constexpr size_t kBlock = 16;

struct FreeCipherContext {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, FreeCipherContext>;

void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

const SSL_CIPHER* find_cipher(uint16_t suite) {
  static SSL_CTX* const context = SSL_CTX_new(TLS_method());
  static SSL* const ssl = SSL_new(context);
  const uint8_t id[] = {static_cast<uint8_t>(suite >> 8), static_cast<uint8_t>(suite)};
  const SSL_CIPHER* cipher = SSL_CIPHER_find(ssl, id);
  require(cipher != nullptr, "OpenSSL does not know the suite");
  return cipher;
}

void append_big_endian(ByteVector& out, uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(value >> shift));
}

void append(ByteVector& out, const ByteVector& more) {
  for (const uint8_t byte : more) out.push_back(byte);
}

ByteVector part(const ByteVector& bytes, size_t from, size_t to) {
  return {bytes.begin() + static_cast<ptrdiff_t>(from), bytes.begin() + static_cast<ptrdiff_t>(to)};
}

}  // namespace

RecordLayer::RecordLayer(const abi::InstallKeys& keys)
    : version_(keys.version),
      suite_(keys.suite),
      cipher_(EVP_get_cipherbynid(SSL_CIPHER_get_cipher_nid(find_cipher(keys.suite)))),
      digest_(SSL_CIPHER_is_aead(find_cipher(keys.suite)) == 1
                  ? nullptr
                  : EVP_get_digestbynid(SSL_CIPHER_get_digest_nid(find_cipher(keys.suite)))),
      tls13_(keys.version == TLS1_3_VERSION),
      encrypt_then_mac_(keys.encrypt_then_mac == 1),
      open_(make(keys.open)),
      seal_(make(keys.seal)) {
  const bool salted = digest_ == nullptr && open_.iv.size() == 4;
  explicit_bytes_ = salted ? 8 : digest_ != nullptr && version_ > TLS1_VERSION ? kBlock : 0;
}

RecordLayer::Direction RecordLayer::make(const abi::DirectionKeys& keys) const {
  Direction direction;
  direction.sequence = keys.sequence;
  direction.next_explicit_nonce = keys.next_explicit_nonce;
  if (tls13_) {
    const auto provider = crypto::Provider::create();
    crypto::TrafficKeys traffic;
    require(provider && crypto::derive_traffic_keys(*provider, *crypto::find_suite(suite_),
                                                    {keys.secret, keys.secret_length}, traffic),
            "no traffic keys");
    direction.key.assign(traffic.key.data(), traffic.key.data() + traffic.key.size());
    direction.iv.assign(traffic.iv.data(), traffic.iv.data() + traffic.iv.size());
    return direction;
  }
  direction.key.assign(keys.key, keys.key + keys.key_length);
  direction.mac_key.assign(keys.mac_key, keys.mac_key + keys.mac_key_length);
  direction.iv.assign(keys.iv, keys.iv + keys.iv_length);
  direction.chain.assign(keys.chaining_block, keys.chaining_block + sizeof keys.chaining_block);
  return direction;
}

// 12 bytes are XORed with the sequence (RFC 8446 5.3, RFC 7905 2); 4 are GCM's salt (RFC 5288 3).
ByteVector RecordLayer::nonce(const Direction& direction, const uint8_t* explicit_nonce) const {
  ByteVector out = direction.iv;
  if (out.size() == 4) {
    out.insert(out.end(), explicit_nonce, explicit_nonce + 8);
    return out;
  }
  require(out.size() == 12, "an IV of a wrong length");
  for (size_t i = 0; i < 8; ++i) {
    out[4 + i] = static_cast<uint8_t>(out[4 + i] ^ (direction.sequence >> (56 - 8 * i)));
  }
  return out;
}

ByteVector RecordLayer::header_for_mac(const Direction& direction, uint8_t type,
                                       size_t length) const {
  ByteVector out;
  append_big_endian(out, direction.sequence);
  out.insert(out.end(), {type, static_cast<uint8_t>(version_ >> 8), static_cast<uint8_t>(version_),
                         static_cast<uint8_t>(length >> 8), static_cast<uint8_t>(length)});
  return out;
}

ByteVector RecordLayer::mac(const Direction& direction, uint8_t type,
                            const ByteVector& covered) const {
  ByteVector input = header_for_mac(direction, type, covered.size());
  append(input, covered);
  ByteVector out(EVP_MAX_MD_SIZE);
  unsigned length = 0;
  HMAC(digest_, direction.mac_key.data(), static_cast<int>(direction.mac_key.size()), input.data(),
       input.size(), out.data(), &length);
  out.resize(length);
  return out;
}

ByteVector RecordLayer::cbc(const ByteVector& key, const ByteVector& iv, const ByteVector& input,
                            bool encrypt) const {
  const CipherContext context(EVP_CIPHER_CTX_new());
  ByteVector out(input.size());
  int length = 0;
  require(EVP_CipherInit_ex(context.get(), cipher_, nullptr, key.data(), iv.data(),
                            encrypt ? 1 : 0) == 1 &&
              EVP_CIPHER_CTX_set_padding(context.get(), 0) == 1 &&
              EVP_CipherUpdate(context.get(), out.data(), &length, input.data(),
                               static_cast<int>(input.size())) == 1,
          "CBC fails");
  return out;
}

bool RecordLayer::aead(const Direction& direction, const ByteVector& iv, const ByteVector& aad,
                       const ByteVector& input, ByteVector& tag, bool encrypt,
                       ByteVector& output) const {
  const CipherContext holder(EVP_CIPHER_CTX_new());
  EVP_CIPHER_CTX* const context = holder.get();
  int length = 0;
  output.resize(input.size() + 1);  // never without an address
  require(EVP_CipherInit_ex(context, cipher_, nullptr, direction.key.data(), iv.data(),
                            encrypt ? 1 : 0) == 1 &&
              EVP_CipherUpdate(context, nullptr, &length, aad.data(),
                               static_cast<int>(aad.size())) == 1 &&
              EVP_CipherUpdate(context, output.data(), &length, input.data(),
                               static_cast<int>(input.size())) == 1,
          "the AEAD fails");
  output.resize(input.size());
  uint8_t nothing[kBlock];
  if (!encrypt) {
    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTag, tag.data());
    return EVP_CipherFinal_ex(context, nothing, &length) == 1;
  }
  require(EVP_CipherFinal_ex(context, nothing, &length) == 1, "the AEAD does not end");
  tag.resize(kTag);
  return EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTag, tag.data()) == 1;
}

std::optional<OpenedRecord> RecordLayer::open(const ByteVector& record) {
  auto opened = digest_ == nullptr ? open_aead(record) : open_cbc(record);
  ++open_.sequence;
  return opened;
}

ByteVector RecordLayer::seal(uint8_t type, const std::string& plaintext) {
  ByteVector record = digest_ == nullptr ? seal_aead(type, plaintext) : seal_cbc(type, plaintext);
  ++seal_.sequence;
  const size_t payload = record.size() - kHeader;
  record[3] = static_cast<uint8_t>(payload >> 8);
  record[4] = static_cast<uint8_t>(payload);
  return record;
}

std::optional<OpenedRecord> RecordLayer::open_aead(const ByteVector& record) {
  const size_t prefix = kHeader + explicit_bytes_;
  if (record.size() < prefix + kTag) return std::nullopt;
  const size_t length = record.size() - prefix - kTag;
  ByteVector tag = part(record, prefix + length, record.size());
  ByteVector plaintext;
  const ByteVector aad =
      tls13_ ? part(record, 0, kHeader) : header_for_mac(open_, record[0], length);
  if (!aead(open_, nonce(open_, record.data() + kHeader), aad,
            part(record, prefix, prefix + length), tag, false, plaintext)) {
    return std::nullopt;
  }
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

ByteVector RecordLayer::seal_aead(uint8_t type, const std::string& plaintext) {
  ByteVector inner(plaintext.begin(), plaintext.end());
  if (tls13_) inner.push_back(type);
  const size_t payload = explicit_bytes_ + inner.size() + kTag;
  ByteVector record = {tls13_ ? uint8_t{23} : type, 3, 3, static_cast<uint8_t>(payload >> 8),
                       static_cast<uint8_t>(payload)};
  const ByteVector aad = tls13_ ? record : header_for_mac(seal_, type, inner.size());
  if (explicit_bytes_ != 0) append_big_endian(record, seal_.next_explicit_nonce++);
  ByteVector tag;
  ByteVector ciphertext;
  aead(seal_, nonce(seal_, record.data() + kHeader), aad, inner, tag, true, ciphertext);
  append(record, ciphertext);
  append(record, tag);
  return record;
}

std::optional<OpenedRecord> RecordLayer::open_cbc(const ByteVector& record) {
  const size_t mac_bytes = static_cast<size_t>(EVP_MD_get_size(digest_));
  const size_t behind = encrypt_then_mac_ ? mac_bytes : 0;
  const size_t prefix = kHeader + explicit_bytes_;
  if (record.size() < prefix + behind + kBlock) return std::nullopt;
  const size_t end = record.size() - behind;
  const ByteVector iv = explicit_bytes_ != 0 ? part(record, kHeader, prefix) : open_.chain;
  const ByteVector ciphertext = part(record, prefix, end);
  if (ciphertext.size() % kBlock != 0) return std::nullopt;
  open_.chain = part(ciphertext, ciphertext.size() - kBlock, ciphertext.size());
  if (encrypt_then_mac_ &&
      mac(open_, record[0], part(record, kHeader, end)) != part(record, end, record.size())) {
    return std::nullopt;
  }
  ByteVector plaintext = cbc(open_.key, iv, ciphertext, false);
  const size_t padding = size_t{plaintext.back()} + 1;
  const size_t inside = encrypt_then_mac_ ? 0 : mac_bytes;
  if (plaintext.size() < padding + inside) return std::nullopt;
  for (size_t i = 0; i < padding; ++i) {
    if (plaintext[plaintext.size() - 1 - i] != plaintext.back()) return std::nullopt;
  }
  plaintext.resize(plaintext.size() - padding);
  const ByteVector content = part(plaintext, 0, plaintext.size() - inside);
  if (inside != 0 &&
      mac(open_, record[0], content) != part(plaintext, content.size(), plaintext.size())) {
    return std::nullopt;
  }
  return OpenedRecord{record[0], {content.begin(), content.end()}};
}

ByteVector RecordLayer::seal_cbc(uint8_t type, const std::string& plaintext) {
  ByteVector inner(plaintext.begin(), plaintext.end());
  if (!encrypt_then_mac_) append(inner, mac(seal_, type, inner));
  const size_t padding = kBlock - inner.size() % kBlock;
  inner.insert(inner.end(), padding, static_cast<uint8_t>(padding - 1));
  const ByteVector iv =
      explicit_bytes_ != 0 ? ByteVector(kBlock, static_cast<uint8_t>(seal_.sequence)) : seal_.chain;
  ByteVector sealed;
  if (explicit_bytes_ != 0) sealed = iv;
  append(sealed, cbc(seal_.key, iv, inner, true));
  seal_.chain = part(sealed, sealed.size() - kBlock, sealed.size());
  if (encrypt_then_mac_) append(sealed, mac(seal_, type, sealed));
  ByteVector record = {type, static_cast<uint8_t>(version_ >> 8), static_cast<uint8_t>(version_), 0,
                       0};
  append(record, sealed);
  return record;
}

std::vector<ByteVector> take_records(ByteVector& bytes) {
  std::vector<ByteVector> records;
  size_t at = 0;
  while (bytes.size() >= at + kHeader) {
    const size_t length = kHeader + (size_t{bytes[at + 3]} << 8 | bytes[at + 4]);
    if (bytes.size() < at + length) break;
    records.push_back(part(bytes, at, at + length));
    at += length;
  }
  bytes.erase(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(at));
  return records;
}

}  // namespace sluice::control::testing
