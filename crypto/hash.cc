// Hashes and HMAC over ipsec-mb.
//
// Job: `digest` is one call into the library; `hmac` is two digests over a stack buffer (key block
// || message). MD5 has no such call, only HMAC in a job and the hash of one block, from which the
// job's two key states come.
// Limits: runs once per connection and per KeyUpdate, so that clarity goes before speed; buffers
// are on the stack and wiped before return, because each of them has held a secret.
#ifndef NO_COMPAT_IMB_API_053
#define NO_COMPAT_IMB_API_053
#endif
#include "crypto/hash.h"

#include <intel-ipsec-mb.h>

#include "crypto/message.h"

namespace sluice::crypto {
namespace {

constexpr size_t kMaxBlockLength = 128;  // SHA-384's
constexpr uint8_t kInnerPad = 0x36;
constexpr uint8_t kOuterPad = 0x5c;

void xor_all(MutableBytes bytes, uint8_t value) {
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(byte ^ value);
}

[[nodiscard]] bool refuse(MutableBytes output) {
  secure_zero(output.data(), output.size());
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

// HMAC-MD5 as one job, submitted and flushed, so that nothing stays in the manager.
[[nodiscard]] bool hmac_md5(const Provider& provider, Message<kMaxBlockLength>& key_block,
                            Bytes message, MutableBytes mac) {
  if (message.empty()) return refuse(mac);
  constexpr size_t kStateLength = 16;
  alignas(16) uint8_t inner[kStateLength];
  alignas(16) uint8_t outer[kStateLength];
  IMB_MGR* manager = provider.manager();
  xor_all(key_block.mutable_bytes(), kInnerPad);
  IMB_MD5_ONE_BLOCK(manager, key_block.bytes().data(), inner);
  xor_all(key_block.mutable_bytes(), kInnerPad ^ kOuterPad);
  IMB_MD5_ONE_BLOCK(manager, key_block.bytes().data(), outer);

  IMB_JOB* job = IMB_GET_NEXT_JOB(manager);
  *job = {};
  job->cipher_mode = IMB_CIPHER_NULL;
  job->cipher_direction = IMB_DIR_ENCRYPT;
  job->chain_order = IMB_ORDER_HASH_CIPHER;
  job->hash_alg = IMB_AUTH_MD5;
  job->src = message.data();
  job->msg_len_to_hash_in_bytes = message.size();
  job->auth_tag_output = mac.data();
  job->auth_tag_output_len_in_bytes = mac.size();
  job->u.HMAC._hashed_auth_key_xor_ipad = inner;
  job->u.HMAC._hashed_auth_key_xor_opad = outer;
  IMB_JOB* done = IMB_SUBMIT_JOB(manager);
  if (done == nullptr) done = IMB_FLUSH_JOB(manager);
  const bool completed = done == job && done->status == IMB_STATUS_COMPLETED;
  secure_zero(inner, sizeof(inner));
  secure_zero(outer, sizeof(outer));
  return completed || refuse(mac);
}

}  // namespace

bool digest(const Provider& provider, Hash hash, Bytes message, MutableBytes output) {
  if (output.size() != hash_length(hash)) return refuse(output);
  // The library refuses a null pointer even with length zero.
  static constexpr uint8_t kNothing = 0;
  const uint8_t* data = message.empty() ? &kNothing : message.data();
  IMB_MGR* manager = provider.manager();
  switch (hash) {
    case Hash::Md5:
      return refuse(output);
    case Hash::Sha1:
      IMB_SHA1(manager, data, message.size(), output.data());
      return true;
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

  if (hash == Hash::Md5) return hmac_md5(provider, key_block, message, mac);

  // H(K ^ opad || H(K ^ ipad || message)). The key block is XORed in place, the second time with
  // both pads at once, which undoes the first.
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

}  // namespace sluice::crypto
