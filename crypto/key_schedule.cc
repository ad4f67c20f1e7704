// Key derivation over ipsec-mb's SHA-2.
//
// Job: traffic secret -> key and IV (TLS 1.3), master secret -> key block (TLS 1.2), and the next
// generation's secret. Data flow: `digest` is the only call into the library; `hmac` is two digests
// over a stack buffer (key block || message); HKDF and the PRF are loops around `hmac`.
// Limits: runs once per connection and per KeyUpdate, so that clarity goes before speed; buffers
// are on the stack, sized by the constants in the header, and wiped before return, because each of
// them has held a secret or something as good as one.
#ifndef NO_COMPAT_IMB_API_053
#define NO_COMPAT_IMB_API_053
#endif
#include "crypto/key_schedule.h"

#include <intel-ipsec-mb.h>

#include <algorithm>

namespace sluice::crypto {
namespace {

constexpr size_t kMaxBlockLength = 128;  // SHA-384's; SHA-256 has 64
constexpr std::string_view kLabelPrefix = "tls13 ";

constexpr size_t block_length(Hash hash) {
  switch (hash) {
    case Hash::Sha256:
      return 64;
    case Hash::Sha384:
      return 128;
  }
  return 0;
}

// A bounded byte string on the stack that is built piece by piece and wiped at its end. An append
// that does not fit makes `ok` false for good, to be looked at once.
template <size_t Capacity>
class Message {
 public:
  Message() = default;
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  ~Message() { secure_zero(bytes_, Capacity); }

  void append(Bytes bytes) {
    if (bytes.size() > Capacity - length_) {
      ok_ = false;
      return;
    }
    if (!bytes.empty()) std::memcpy(bytes_ + length_, bytes.data(), bytes.size());
    length_ += bytes.size();
  }
  void append(std::string_view text) {
    append(Bytes{reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  void append(uint8_t byte) { append(Bytes{&byte, 1}); }
  void append_repeated(uint8_t byte, size_t count) {
    for (size_t i = 0; i < count; ++i) append(byte);
  }
  void clear() { length_ = 0; }

  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] Bytes bytes() const { return {bytes_, length_}; }
  [[nodiscard]] MutableBytes mutable_bytes() { return {bytes_, length_}; }

 private:
  uint8_t bytes_[Capacity];
  size_t length_ = 0;
  bool ok_ = true;
};

void xor_all(MutableBytes bytes, uint8_t value) {
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(byte ^ value);
}

[[nodiscard]] bool refuse(MutableBytes output) {
  secure_zero(output.data(), output.size());
  return false;
}

[[nodiscard]] bool refuse(TrafficKeys& keys) {
  keys.key.wipe();
  keys.iv.wipe();
  return false;
}

// RFC 2104's K: the key padded with zeros to a block, hashed first when it is longer than one.
[[nodiscard]] bool append_key_block(const Provider& provider, Hash hash, Bytes key,
                                    Message<kMaxBlockLength>& block) {
  if (key.size() > block_length(hash)) {
    HashSecret hashed;
    if (!hashed.resize_zeroed(hash_length(hash))) return false;
    if (!digest(provider, hash, key, hashed.mutable_span())) return false;
    block.append(hashed.span());
  } else {
    block.append(key);
  }
  block.append_repeated(0, block_length(hash) - block.bytes().size());
  return block.ok();
}

}  // namespace

bool digest(const Provider& provider, Hash hash, Bytes message, MutableBytes output) {
  if (output.size() != hash_length(hash)) return refuse(output);
  // The library refuses a null pointer even with length zero.
  static constexpr uint8_t kNothing = 0;
  const uint8_t* data = message.empty() ? &kNothing : message.data();
  IMB_MGR* manager = provider.manager();
  switch (hash) {
    case Hash::Sha256:
      IMB_SHA256(manager, data, message.size(), output.data());
      return true;
    case Hash::Sha384:
      IMB_SHA384(manager, data, message.size(), output.data());
      return true;
  }
  return refuse(output);
}

bool hmac(const Provider& provider, Hash hash, Bytes key, Bytes message, MutableBytes mac) {
  if (message.size() > kMaxHmacMessageLength || mac.size() != hash_length(hash)) return refuse(mac);
  Message<kMaxBlockLength> key_block;
  if (!append_key_block(provider, hash, key, key_block)) return refuse(mac);

  // H(K ^ opad || H(K ^ ipad || message)). The key block is XORed in place, the second time with
  // both pads at once, which undoes the first.
  constexpr uint8_t kInnerPad = 0x36;
  constexpr uint8_t kOuterPad = 0x5c;
  HashSecret inner;
  if (!inner.resize_zeroed(hash_length(hash))) return refuse(mac);
  Message<kMaxBlockLength + kMaxHmacMessageLength> input;
  xor_all(key_block.mutable_bytes(), kInnerPad);
  input.append(key_block.bytes());
  input.append(message);
  if (!input.ok() || !digest(provider, hash, input.bytes(), inner.mutable_span())) {
    return refuse(mac);
  }
  input.clear();
  xor_all(key_block.mutable_bytes(), kInnerPad ^ kOuterPad);
  input.append(key_block.bytes());
  input.append(inner.span());
  if (!input.ok() || !digest(provider, hash, input.bytes(), mac)) return refuse(mac);
  return true;
}

bool hkdf_extract(const Provider& provider, Hash hash, Bytes salt, Bytes input,
                  HashSecret& pseudorandom_key) {
  // RFC 5869 2.2: no salt means HashLen zeros, which HMAC's padding makes of an empty key anyway.
  HashSecret result;
  if (!result.resize_zeroed(hash_length(hash)) ||
      !hmac(provider, hash, salt, input, result.mutable_span())) {
    pseudorandom_key.wipe();
    return false;
  }
  pseudorandom_key = std::move(result);
  return true;
}

bool hkdf_expand(const Provider& provider, Hash hash, Bytes pseudorandom_key, Bytes info,
                 MutableBytes output) {
  const size_t length = hash_length(hash);
  if (info.size() > kMaxInfoLength || output.size() > 255 * length) return refuse(output);

  HashSecret block;  // T(i); T(0) is empty
  MutableBytes rest = output;
  for (uint8_t i = 1; !rest.empty(); ++i) {
    Message<kMaxHashLength + kMaxInfoLength + 1> input;
    input.append(block.span());
    input.append(info);
    input.append(i);
    if (!input.ok() || !block.resize_zeroed(length) ||
        !hmac(provider, hash, pseudorandom_key, input.bytes(), block.mutable_span())) {
      return refuse(output);
    }
    const size_t take = std::min(rest.size(), length);
    std::memcpy(rest.data(), block.data(), take);
    rest = rest.subspan(take);
  }
  return true;
}

bool hkdf_expand_label(const Provider& provider, Hash hash, Bytes secret, std::string_view label,
                       Bytes context, MutableBytes output) {
  const size_t label_length = kLabelPrefix.size() + label.size();
  if (label.empty() || label_length > 255 || context.size() > kMaxHashLength ||
      output.size() > 0xffff) {
    return refuse(output);
  }
  // struct HkdfLabel, RFC 8446 7.1.
  Message<kMaxInfoLength> info;
  info.append(static_cast<uint8_t>(output.size() >> 8));
  info.append(static_cast<uint8_t>(output.size() & 0xff));
  info.append(static_cast<uint8_t>(label_length));
  info.append(kLabelPrefix);
  info.append(label);
  info.append(static_cast<uint8_t>(context.size()));
  info.append(context);
  if (!info.ok()) return refuse(output);
  return hkdf_expand(provider, hash, secret, info.bytes(), output);
}

bool derive_traffic_keys(const Provider& provider, const Suite& suite, Bytes traffic_secret,
                         TrafficKeys& keys) {
  if (suite.version != TlsVersion::Tls13 || traffic_secret.size() != hash_length(suite.hash) ||
      !keys.key.resize_zeroed(suite.key_length) || !keys.iv.resize_zeroed(suite.fixed_iv_length)) {
    return refuse(keys);
  }
  if (!hkdf_expand_label(provider, suite.hash, traffic_secret, "key", {},
                         keys.key.mutable_span()) ||
      !hkdf_expand_label(provider, suite.hash, traffic_secret, "iv", {}, keys.iv.mutable_span())) {
    return refuse(keys);
  }
  return true;
}

bool next_traffic_secret(const Provider& provider, Hash hash, Bytes current, HashSecret& next) {
  HashSecret result;  // apart, since `current` may lie in `next`
  if (current.size() != hash_length(hash) || !result.resize_zeroed(hash_length(hash)) ||
      !hkdf_expand_label(provider, hash, current, "traffic upd", {}, result.mutable_span())) {
    next.wipe();
    return false;
  }
  next = std::move(result);
  return true;
}

bool tls12_prf(const Provider& provider, Hash hash, Bytes secret, std::string_view label,
               Bytes seed, MutableBytes output) {
  // RFC 5246 5: P_hash(secret, label + seed), A(0) = label + seed, A(i) = HMAC(secret, A(i-1)).
  Message<kMaxPrfSeedLength> labelled_seed;
  labelled_seed.append(label);
  labelled_seed.append(seed);
  HashSecret a;
  HashSecret block;
  const size_t length = hash_length(hash);
  if (!labelled_seed.ok() || !a.resize_zeroed(length) ||
      !hmac(provider, hash, secret, labelled_seed.bytes(), a.mutable_span())) {
    return refuse(output);
  }
  MutableBytes rest = output;
  while (!rest.empty()) {
    Message<kMaxHashLength + kMaxPrfSeedLength> input;
    input.append(a.span());
    input.append(labelled_seed.bytes());
    if (!input.ok() || !block.resize_zeroed(length) ||
        !hmac(provider, hash, secret, input.bytes(), block.mutable_span())) {
      return refuse(output);
    }
    const size_t take = std::min(rest.size(), length);
    std::memcpy(rest.data(), block.data(), take);
    rest = rest.subspan(take);

    HashSecret next_a;
    if (!next_a.resize_zeroed(length) ||
        !hmac(provider, hash, secret, a.span(), next_a.mutable_span())) {
      return refuse(output);
    }
    a = std::move(next_a);
  }
  return true;
}

bool derive_key_block(const Provider& provider, const Suite& suite, Bytes master_secret,
                      Bytes client_random, Bytes server_random, KeyBlock& block) {
  const size_t key = suite.key_length;
  const size_t iv = suite.fixed_iv_length;
  Secret<size_t{2} * (kMaxKeyLength + kMaxIvLength)> bytes;
  Message<2 * kRandomLength> seed;
  // RFC 5246 6.3: here, unlike in the master secret's derivation, the server's random comes first.
  seed.append(server_random);
  seed.append(client_random);
  const bool derived =
      suite.version == TlsVersion::Tls12 && master_secret.size() == kMasterSecretLength &&
      client_random.size() == kRandomLength && server_random.size() == kRandomLength &&
      bytes.resize_zeroed(2 * (key + iv)) &&
      tls12_prf(provider, suite.hash, master_secret, "key expansion", seed.bytes(),
                bytes.mutable_span());
  // AEAD suites have no MAC keys, which would come first: client key, server key, client IV,
  // server IV.
  const Bytes all = bytes.span();
  if (!derived || !block.client_write.key.assign(all.subspan(0, key)) ||
      !block.server_write.key.assign(all.subspan(key, key)) ||
      !block.client_write.iv.assign(all.subspan(2 * key, iv)) ||
      !block.server_write.iv.assign(all.subspan(2 * key + iv, iv))) {
    static_cast<void>(refuse(block.client_write));
    return refuse(block.server_write);
  }
  return true;
}

}  // namespace sluice::crypto
