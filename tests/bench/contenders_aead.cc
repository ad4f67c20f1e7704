// The AEAD alone: the same nonce again and again, so that a sealed record can be opened as often as
// one likes. All of them check the tag when they open.
#include <openssl/evp.h>

#include <cstring>

#include "../unit/tls/fixture.h"
#include "abi/assert.h"
#include "contender.h"
#include "crypto/aead.h"
#include "crypto/secret.h"
#include "direct.h"

namespace sluice::bench {
namespace {

constexpr uint8_t kNonce[crypto::kNonceLength] = {1, 2, 3};
constexpr uint8_t kAad[5] = {23, 3, 3, 0x40, 0x11};

struct Buffers {
  std::vector<uint8_t> plaintext;
  std::vector<uint8_t> sealed;
  std::vector<uint8_t> out;
  uint8_t tag[crypto::kTagLength] = {};
  uint8_t out_tag[crypto::kTagLength] = {};

  explicit Buffers(uint32_t bytes)
      : plaintext(make_plaintext(bytes)), sealed(bytes), out(bytes + 16) {}
};

// What all have: for each flow buffers, and a record that Sluice sealed.
template <class Flow>
class AeadContender : public Contender {
 public:
  explicit AeadContender(const Task& task) : task_(task) {
    for (uint32_t i = 0; i < task.flows; ++i) {
      auto flow = std::make_unique<Flow>(task, make_key(task.suite->key_length, i));
      Buffers& buffers = flow->buffers;
      crypto::AeadKey key;
      SLUICE_ASSERT(key.expand(tls::test::provider(), task.suite->cipher,
                               make_key(task.suite->key_length, i)));
      const crypto::ConstPiece piece{buffers.plaintext.data(), task.bytes};
      crypto::seal(tls::test::provider(), key, kNonce, kAad, {&piece, 1}, buffers.sealed.data(),
                   buffers.tag);
      flows_.push_back(std::move(flow));
    }
  }
  void run(uint32_t records) override {
    for (uint32_t i = 0; i < records; ++i) {
      Flow& flow = *flows_[i % task_.flows];
      if (task_.open) {
        correct_ &= flow.open();
      } else {
        flow.seal();
      }
    }
  }
  bool correct() override {
    run(task_.flows);
    for (const auto& flow : flows_) {
      const Buffers& b = flow->buffers;
      correct_ &= task_.open ? std::memcmp(b.out.data(), b.plaintext.data(), task_.bytes) == 0
                             : std::memcmp(b.out.data(), b.sealed.data(), task_.bytes) == 0 &&
                                   std::memcmp(b.out_tag, b.tag, sizeof b.tag) == 0;
    }
    return correct_;
  }

 private:
  Task task_;
  std::vector<std::unique_ptr<Flow>> flows_;
  bool correct_ = true;
};

template <Cut kCut>
struct CipherFlow {
  CipherFlow(const Task& task, const std::vector<uint8_t>& raw) : buffers(task.bytes) {
    SLUICE_ASSERT(key.expand(tls::test::provider(), task.suite->cipher, raw));
    const uint32_t most = kCut == Cut::Whole ? task.bytes : kSegmentBytes;
    const uint8_t* from = task.open ? buffers.sealed.data() : buffers.plaintext.data();
    for (uint32_t at = 0; at < task.bytes; at += most) {
      pieces.push_back({from + at, std::min(most, task.bytes - at)});
    }
  }
  void seal() {
    crypto::seal(tls::test::provider(), key, kNonce, kAad, pieces, buffers.out.data(),
                 buffers.out_tag);
  }
  bool open() {
    return crypto::open(tls::test::provider(), key, kNonce, kAad, pieces, buffers.tag,
                        buffers.out.data());
  }

  Buffers buffers;
  crypto::AeadKey key;
  std::vector<crypto::ConstPiece> pieces;
};

struct DirectFlow {
  DirectFlow(const Task& task, const std::vector<uint8_t>& raw)
      : buffers(task.bytes), gcm(task.suite->cipher, raw) {}
  void seal() {
    gcm.seal(kNonce, kAad, buffers.plaintext, buffers.out.data(), buffers.out_tag);
  }
  bool open() {
    gcm.open(kNonce, kAad, buffers.sealed, buffers.out.data(), buffers.out_tag);
    return crypto::equal_constant_time(buffers.out_tag, buffers.tag, sizeof buffers.tag);
  }

  Buffers buffers;
  DirectGcm gcm;
};

const EVP_CIPHER* evp_cipher(crypto::Cipher cipher) {
  switch (cipher) {
    case crypto::Cipher::Aes128Gcm:
      return EVP_aes_128_gcm();
    case crypto::Cipher::Aes256Gcm:
      return EVP_aes_256_gcm();
    case crypto::Cipher::Chacha20Poly1305:
      return EVP_chacha20_poly1305();
    case crypto::Cipher::Aes128Cbc:
    case crypto::Cipher::Aes256Cbc:
      break;
  }
  return nullptr;
}

// As libssl drives it for TLS 1.3: the key stays in the context, the nonce is new each time.
struct EvpFlow {
  EvpFlow(const Task& task, const std::vector<uint8_t>& raw)
      : buffers(task.bytes), context(EVP_CIPHER_CTX_new()) {
    SLUICE_ASSERT(EVP_CipherInit_ex(context, evp_cipher(task.suite->cipher), nullptr, raw.data(),
                                    nullptr, task.open ? 0 : 1) == 1);
  }
  EvpFlow(const EvpFlow&) = delete;
  EvpFlow& operator=(const EvpFlow&) = delete;
  ~EvpFlow() { EVP_CIPHER_CTX_free(context); }

  void seal() {
    int length = 0;
    const auto bytes = static_cast<int>(buffers.plaintext.size());
    EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, kNonce);
    EVP_EncryptUpdate(context, nullptr, &length, kAad, sizeof kAad);
    EVP_EncryptUpdate(context, buffers.out.data(), &length, buffers.plaintext.data(), bytes);
    EVP_EncryptFinal_ex(context, buffers.out.data() + bytes, &length);
    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, crypto::kTagLength, buffers.out_tag);
  }
  bool open() {
    int length = 0;
    const auto bytes = static_cast<int>(buffers.sealed.size());
    EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, kNonce);
    EVP_DecryptUpdate(context, nullptr, &length, kAad, sizeof kAad);
    EVP_DecryptUpdate(context, buffers.out.data(), &length, buffers.sealed.data(), bytes);
    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, crypto::kTagLength, buffers.tag);
    return EVP_DecryptFinal_ex(context, buffers.out.data() + bytes, &length) == 1;
  }

  Buffers buffers;
  EVP_CIPHER_CTX* context;
};

}  // namespace

std::unique_ptr<Contender> make_cipher(const Task& task, Cut cut) {
  if (cut == Cut::Whole) return std::make_unique<AeadContender<CipherFlow<Cut::Whole>>>(task);
  return std::make_unique<AeadContender<CipherFlow<Cut::Segments>>>(task);
}

std::unique_ptr<Contender> make_direct_gcm(const Task& task) {
  return std::make_unique<AeadContender<DirectFlow>>(task);
}

std::unique_ptr<Contender> make_evp_aead(const Task& task) {
  return std::make_unique<AeadContender<EvpFlow>>(task);
}

std::vector<uint8_t> make_plaintext(uint32_t bytes) {
  std::vector<uint8_t> plaintext(bytes);
  for (uint32_t i = 0; i < bytes; ++i) plaintext[i] = static_cast<uint8_t>(i * 167 >> 3);
  return plaintext;
}

std::vector<uint8_t> make_key(uint32_t length, uint32_t flow) {
  std::vector<uint8_t> key(length, 7);
  std::memcpy(key.data(), &flow, sizeof flow);
  return key;
}

}  // namespace sluice::bench
