// Key derivation.
//
// Job: traffic secret -> key and IV (TLS 1.3), master secret -> key block (TLS 1.0 to 1.2), and the
// next generation's secret. Data flow: HKDF and the PRFs are loops around `hmac`.
// Limits: runs once per connection and per KeyUpdate, so that clarity goes before speed; buffers
// are on the stack, sized by the constants in the header, and wiped before return, because each of
// them has held a secret or something as good as one.
#include "crypto/key_schedule.h"

#include <algorithm>

#include "crypto/message.h"

namespace sluice::crypto {
namespace {

constexpr std::string_view kLabelPrefix = "tls13 ";

[[nodiscard]] bool refuse(MutableBytes output) {
  secure_zero(output.data(), output.size());
  return false;
}

[[nodiscard]] bool refuse(TrafficKeys& keys) {
  keys.mac_key.wipe();
  keys.key.wipe();
  keys.iv.wipe();
  return false;
}

}  // namespace

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
  static_cast<void>(refuse(keys));
  if (!suite.is_valid_in(TlsVersion::Tls13) || traffic_secret.size() != hash_length(suite.hash) ||
      !keys.key.resize_zeroed(suite.key_length) ||
      !keys.iv.resize_zeroed(suite.fixed_iv_length(TlsVersion::Tls13))) {
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

namespace {

// RFC 5246 5: P_hash(secret, seed), A(0) = seed, A(i) = HMAC(secret, A(i-1)). XORed into `output`,
// as RFC 2246 5 does with two of them.
[[nodiscard]] bool xor_p_hash(const Provider& provider, Hash hash, Bytes secret, Bytes seed,
                              MutableBytes output) {
  HashSecret a;
  HashSecret block;
  const size_t length = hash_length(hash);
  if (!a.resize_zeroed(length) || !hmac(provider, hash, secret, seed, a.mutable_span())) {
    return false;
  }
  MutableBytes rest = output;
  while (!rest.empty()) {
    Message<kMaxHashLength + kMaxPrfSeedLength> input;
    input.append(a.span());
    input.append(seed);
    if (!input.ok() || !block.resize_zeroed(length) ||
        !hmac(provider, hash, secret, input.bytes(), block.mutable_span())) {
      return false;
    }
    const size_t take = std::min(rest.size(), length);
    for (size_t i = 0; i < take; ++i) rest[i] = static_cast<uint8_t>(rest[i] ^ block.data()[i]);
    rest = rest.subspan(take);

    HashSecret next_a;
    if (!next_a.resize_zeroed(length) ||
        !hmac(provider, hash, secret, a.span(), next_a.mutable_span())) {
      return false;
    }
    a = std::move(next_a);
  }
  return true;
}

}  // namespace

bool tls12_prf(const Provider& provider, Hash hash, Bytes secret, std::string_view label,
               Bytes seed, MutableBytes output) {
  Message<kMaxPrfSeedLength> labelled_seed;
  labelled_seed.append(label);
  labelled_seed.append(seed);
  secure_zero(output.data(), output.size());
  if (!labelled_seed.ok() || !xor_p_hash(provider, hash, secret, labelled_seed.bytes(), output)) {
    return refuse(output);
  }
  return true;
}

bool tls10_prf(const Provider& provider, Bytes secret, std::string_view label, Bytes seed,
               MutableBytes output) {
  Message<kMaxPrfSeedLength> labelled_seed;
  labelled_seed.append(label);
  labelled_seed.append(seed);
  secure_zero(output.data(), output.size());
  // Each half gets half of the secret; of an odd number of bytes both get the middle one.
  const size_t half = (secret.size() + 1) / 2;
  if (!labelled_seed.ok() || half > block_length(Hash::Md5) ||
      !xor_p_hash(provider, Hash::Md5, secret.first(half), labelled_seed.bytes(), output) ||
      !xor_p_hash(provider, Hash::Sha1, secret.last(half), labelled_seed.bytes(), output)) {
    return refuse(output);
  }
  return true;
}

bool derive_key_block(const Provider& provider, const Suite& suite, TlsVersion version,
                      Bytes master_secret, Bytes client_random, Bytes server_random,
                      KeyBlock& block) {
  static_cast<void>(refuse(block.client_write));
  static_cast<void>(refuse(block.server_write));
  if (!suite.is_valid_in(version) || version == TlsVersion::Tls13 ||
      master_secret.size() != kMasterSecretLength || client_random.size() != kRandomLength ||
      server_random.size() != kRandomLength) {
    return false;
  }
  const size_t mac = suite.mac_key_length;
  const size_t key = suite.key_length;
  const size_t iv = suite.fixed_iv_length(version);
  Secret<size_t{2} * (kMaxHashLength + kMaxKeyLength + kMaxIvLength)> bytes;
  Message<2 * kRandomLength> seed;
  // RFC 5246 6.3: here, unlike in the master secret's derivation, the server's random comes first.
  seed.append(server_random);
  seed.append(client_random);
  constexpr std::string_view kLabel = "key expansion";
  if (!seed.ok() || !bytes.resize_zeroed(2 * (mac + key + iv))) return false;
  const bool derived =
      version == TlsVersion::Tls12
          ? tls12_prf(provider, suite.hash, master_secret, kLabel, seed.bytes(),
                      bytes.mutable_span())
          : tls10_prf(provider, master_secret, kLabel, seed.bytes(), bytes.mutable_span());
  if (!derived) return false;
  // The client's before the server's of each: MAC keys, keys, IVs.
  const Bytes macs = bytes.span().first(2 * mac);
  const Bytes keys = bytes.span().subspan(2 * mac, 2 * key);
  const Bytes ivs = bytes.span().last(2 * iv);
  return block.client_write.mac_key.assign(macs.first(mac)) &&
         block.server_write.mac_key.assign(macs.last(mac)) &&
         block.client_write.key.assign(keys.first(key)) &&
         block.server_write.key.assign(keys.last(key)) &&
         block.client_write.iv.assign(ivs.first(iv)) && block.server_write.iv.assign(ivs.last(iv));
}

}  // namespace sluice::crypto
