#include "direct.h"

#ifndef NO_COMPAT_IMB_API_053
#define NO_COMPAT_IMB_API_053
#endif
#include <intel-ipsec-mb.h>

#include "abi/assert.h"

namespace sluice::bench {
namespace {

constexpr uint64_t kTagBytes = 16;

}  // namespace

struct DirectGcm::Impl {
  IMB_MGR* manager = nullptr;
  crypto::Cipher cipher = crypto::Cipher::Aes128Gcm;
  alignas(64) gcm_key_data key;
};

DirectGcm::DirectGcm(crypto::Cipher cipher, std::span<const uint8_t> key)
    : impl_(std::make_unique<Impl>()) {
  impl_->manager = alloc_mb_mgr(0);
  SLUICE_ASSERT(impl_->manager != nullptr);
  init_mb_mgr_auto(impl_->manager, nullptr);
  impl_->cipher = cipher;
  if (cipher == crypto::Cipher::Aes128Gcm) {
    IMB_AES128_GCM_PRE(impl_->manager, key.data(), &impl_->key);
  } else {
    IMB_AES256_GCM_PRE(impl_->manager, key.data(), &impl_->key);
  }
}

DirectGcm::~DirectGcm() { free_mb_mgr(impl_->manager); }

void DirectGcm::seal(const uint8_t* nonce, std::span<const uint8_t> aad,
                     std::span<const uint8_t> in, uint8_t* out, uint8_t* tag) {
  gcm_context_data context;
  if (impl_->cipher == crypto::Cipher::Aes128Gcm) {
    IMB_AES128_GCM_ENC(impl_->manager, &impl_->key, &context, out, in.data(), in.size(), nonce,
                       aad.data(), aad.size(), tag, kTagBytes);
  } else {
    IMB_AES256_GCM_ENC(impl_->manager, &impl_->key, &context, out, in.data(), in.size(), nonce,
                       aad.data(), aad.size(), tag, kTagBytes);
  }
}

void DirectGcm::open(const uint8_t* nonce, std::span<const uint8_t> aad,
                     std::span<const uint8_t> in, uint8_t* out, uint8_t* tag) {
  gcm_context_data context;
  if (impl_->cipher == crypto::Cipher::Aes128Gcm) {
    IMB_AES128_GCM_DEC(impl_->manager, &impl_->key, &context, out, in.data(), in.size(), nonce,
                       aad.data(), aad.size(), tag, kTagBytes);
  } else {
    IMB_AES256_GCM_DEC(impl_->manager, &impl_->key, &context, out, in.data(), in.size(), nonce,
                       aad.data(), aad.size(), tag, kTagBytes);
  }
}

}  // namespace sluice::bench
