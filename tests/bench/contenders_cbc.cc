// AES-CBC with HMAC, MAC-then-encrypt, TLS 1.2: Sluice's batches of as many records as there are
// flows, OpenSSL's stitched cipher one record at a time as libssl drives it, and, where OpenSSL has
// none (SHA-384), its cipher and its MAC one behind the other. All work in place; what is opened is
// laid out anew before each round.
#include <openssl/core_names.h>
#include <openssl/evp.h>

#include <cstring>

#include "../unit/tls/fixture.h"
#include "abi/assert.h"
#include "contender.h"
#include "crypto/cbc_hmac.h"

namespace sluice::bench {
namespace {

constexpr uint32_t kIvBytes = crypto::kCbcBlockLength;
constexpr uint32_t kAadBytes = 13;
constexpr uint8_t kData = 23;

std::vector<uint8_t> make_mac_key(const Task& task, uint32_t flow) {
  return make_key(task.suite->mac_key_length, flow + 500);
}

// One flow's key, and a record that was sealed with it.
struct CbcFlow {
  CbcFlow(const Task& task, uint32_t number) : plaintext(make_plaintext(task.bytes)) {
    const crypto::Suite& suite = *task.suite;
    SLUICE_ASSERT(key.expand(tls::test::provider(), suite, make_key(suite.key_length, number),
                             make_mac_key(task, number)));
    sealed.resize(crypto::cbc_sealed_length(suite.mac_hash, crypto::TlsVersion::Tls12, false,
                                            task.bytes));
    std::memcpy(sealed.data() + kIvBytes, plaintext.data(), task.bytes);
    crypto::CbcSealJob job{record(sealed.data()), task.bytes};
    crypto::seal_batch(tls::test::provider(), {&job, 1});
  }
  crypto::CbcRecord record(uint8_t* fragment) const {
    return {&key, 1, kData, crypto::TlsVersion::Tls12, false, fragment, {9, 8, 7}};
  }

  crypto::CbcHmacKey key;
  std::vector<uint8_t> plaintext;
  std::vector<uint8_t> sealed;
};

// Records of a round lie behind each other, each in a place of its own.
class CbcContender : public Contender {
 public:
  explicit CbcContender(const Task& task) : task_(task) {
    for (uint32_t i = 0; i < task.flows; ++i) {
      flows_.push_back(std::make_unique<CbcFlow>(task, i));
    }
    stride_ = (flows_[0]->sealed.size() + 127) / 64 * 64;
  }
  void prepare(uint32_t records) override {
    area_.resize(records * stride_);
    for (uint32_t i = 0; i < records; ++i) {
      const CbcFlow& flow = *flows_[i % task_.flows];
      uint8_t* const at = place(i);
      if (task_.open) {
        std::memcpy(at, flow.sealed.data(), flow.sealed.size());
      } else {
        std::memcpy(at + kIvBytes, flow.plaintext.data(), task_.bytes);
      }
    }
  }
  bool correct() override {
    prepare(task_.flows);
    run(task_.flows);
    for (uint32_t i = 0; i < task_.flows; ++i) correct_ &= is_right(i);
    return correct_;
  }

 protected:
  uint8_t* place(uint32_t record) { return area_.data() + record * stride_; }
  const CbcFlow& flow(uint32_t record) const { return *flows_[record % task_.flows]; }
  uint32_t sealed_bytes() const { return static_cast<uint32_t>(flows_[0]->sealed.size()); }

  Task task_;
  bool correct_ = true;

 private:
  bool is_right(uint32_t record) {
    const CbcFlow& of = flow(record);
    uint8_t* const at = place(record);
    if (!task_.open) {
      crypto::CbcOpenJob job{of.record(at), sealed_bytes(), false, 0, 0};
      crypto::open_batch(tls::test::provider(), {&job, 1});
      if (!job.ok || job.plaintext_length != task_.bytes) return false;
    }
    return std::memcmp(at + kIvBytes, of.plaintext.data(), task_.bytes) == 0;
  }

  std::vector<std::unique_ptr<CbcFlow>> flows_;
  std::vector<uint8_t> area_;
  size_t stride_ = 0;
};

class OwnBatches : public CbcContender {
 public:
  using CbcContender::CbcContender;
  void run(uint32_t records) override {
    for (uint32_t done = 0; done < records; done += task_.flows) {
      const uint32_t count = std::min(task_.flows, records - done);
      if (task_.open) {
        open(done, count);
      } else {
        seal(done, count);
      }
    }
  }

 private:
  void seal(uint32_t first, uint32_t count) {
    seal_jobs_.clear();
    for (uint32_t i = first; i < first + count; ++i) {
      seal_jobs_.push_back({flow(i).record(place(i)), task_.bytes});
    }
    crypto::seal_batch(tls::test::provider(), seal_jobs_);
  }
  void open(uint32_t first, uint32_t count) {
    open_jobs_.clear();
    for (uint32_t i = first; i < first + count; ++i) {
      open_jobs_.push_back({flow(i).record(place(i)), sealed_bytes(), false, 0, 0});
    }
    crypto::open_batch(tls::test::provider(), open_jobs_);
    for (const crypto::CbcOpenJob& job : open_jobs_) correct_ &= job.ok;
  }

  std::vector<crypto::CbcSealJob> seal_jobs_;
  std::vector<crypto::CbcOpenJob> open_jobs_;
};

// Sequence 1, application data, TLS 1.2, a length.
struct Aad {
  explicit Aad(uint32_t length)
      : bytes{0, 0, 0, 0, 0, 0, 0, 1, kData, 3, 3, static_cast<uint8_t>(length >> 8),
              static_cast<uint8_t>(length)} {}
  uint8_t bytes[kAadBytes];
};

const EVP_CIPHER* stitched(const crypto::Suite& suite) {
  const bool short_key = suite.cipher == crypto::Cipher::Aes128Cbc;
  switch (suite.mac_hash) {
    case crypto::Hash::Sha1:
      return short_key ? EVP_aes_128_cbc_hmac_sha1() : EVP_aes_256_cbc_hmac_sha1();
    case crypto::Hash::Sha256:
      return short_key ? EVP_aes_128_cbc_hmac_sha256() : EVP_aes_256_cbc_hmac_sha256();
    case crypto::Hash::Md5:
    case crypto::Hash::Sha384:
      break;
  }
  return nullptr;
}

class EvpStitched : public CbcContender {
 public:
  explicit EvpStitched(const Task& task) : CbcContender(task) {
    for (uint32_t i = 0; i < task.flows; ++i) {
      EVP_CIPHER_CTX* const context = EVP_CIPHER_CTX_new();
      const std::vector<uint8_t> key = make_key(task.suite->key_length, i);
      std::vector<uint8_t> mac_key = make_mac_key(task, i);
      const uint8_t iv[kIvBytes] = {1};
      SLUICE_ASSERT(EVP_CipherInit_ex(context, stitched(*task.suite), nullptr, key.data(), iv,
                                      task.open ? 0 : 1) == 1);
      SLUICE_ASSERT(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_MAC_KEY,
                                        static_cast<int>(mac_key.size()), mac_key.data()) > 0);
      contexts_.push_back(context);
    }
  }
  ~EvpStitched() override {
    for (EVP_CIPHER_CTX* context : contexts_) EVP_CIPHER_CTX_free(context);
  }
  void run(uint32_t records) override {
    for (uint32_t i = 0; i < records; ++i) {
      EVP_CIPHER_CTX* const context = contexts_[i % task_.flows];
      // The length counts the explicit IV; the answer to sealing's is the MAC and the padding.
      Aad aad(task_.open ? sealed_bytes() : kIvBytes + task_.bytes);
      const int more =
          EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_TLS1_AAD, kAadBytes, aad.bytes);
      const uint32_t length =
          task_.open ? sealed_bytes() : kIvBytes + task_.bytes + static_cast<uint32_t>(more);
      correct_ &= length == sealed_bytes() && EVP_Cipher(context, place(i), place(i), length) > 0;
    }
  }

 private:
  std::vector<EVP_CIPHER_CTX*> contexts_;
};

class EvpTwoSteps : public CbcContender {
 public:
  explicit EvpTwoSteps(const Task& task)
      : CbcContender(task), mac_(EVP_MAC_fetch(nullptr, "HMAC", nullptr)) {
    char digest[] = "SHA384";
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_END};
    for (uint32_t i = 0; i < task.flows; ++i) {
      EVP_CIPHER_CTX* const cipher = EVP_CIPHER_CTX_new();
      const std::vector<uint8_t> key = make_key(task.suite->key_length, i);
      SLUICE_ASSERT(EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key.data(), nullptr,
                                      task.open ? 0 : 1) == 1);
      EVP_CIPHER_CTX_set_padding(cipher, 0);
      EVP_MAC_CTX* const mac = EVP_MAC_CTX_new(mac_);
      const std::vector<uint8_t> mac_key = make_mac_key(task, i);
      SLUICE_ASSERT(EVP_MAC_init(mac, mac_key.data(), mac_key.size(), parameters) == 1);
      ciphers_.push_back(cipher);
      macs_.push_back(mac);
    }
  }
  ~EvpTwoSteps() override {
    for (EVP_CIPHER_CTX* cipher : ciphers_) EVP_CIPHER_CTX_free(cipher);
    for (EVP_MAC_CTX* mac : macs_) EVP_MAC_CTX_free(mac);
    EVP_MAC_free(mac_);
  }
  void run(uint32_t records) override {
    for (uint32_t i = 0; i < records; ++i) {
      uint8_t* const text = place(i) + kIvBytes;
      uint8_t mac[64];
      if (task_.open) {
        cipher(i);
        compute_mac(i, text, mac);
        correct_ &= std::memcmp(mac, text + task_.bytes, task_.suite->mac_key_length) == 0;
      } else {
        compute_mac(i, text, text + task_.bytes);
        const uint32_t end = task_.bytes + task_.suite->mac_key_length;
        const uint32_t padding = sealed_bytes() - kIvBytes - end;
        std::memset(text + end, static_cast<int>(padding - 1), padding);
        cipher(i);
      }
    }
  }

 private:
  void cipher(uint32_t record) {
    EVP_CIPHER_CTX* const context = ciphers_[record % task_.flows];
    uint8_t* const at = place(record);
    int length = 0;
    EVP_CipherInit_ex(context, nullptr, nullptr, nullptr, at, -1);
    EVP_CipherUpdate(context, at + kIvBytes, &length, at + kIvBytes,
                     static_cast<int>(sealed_bytes() - kIvBytes));
  }
  void compute_mac(uint32_t record, const uint8_t* text, uint8_t* out) {
    EVP_MAC_CTX* const context = macs_[record % task_.flows];
    const Aad aad(task_.bytes);
    size_t length = 0;
    EVP_MAC_init(context, nullptr, 0, nullptr);
    EVP_MAC_update(context, aad.bytes, sizeof aad.bytes);
    EVP_MAC_update(context, text, task_.bytes);
    EVP_MAC_final(context, out, &length, 64);
  }

  EVP_MAC* mac_;
  std::vector<EVP_CIPHER_CTX*> ciphers_;
  std::vector<EVP_MAC_CTX*> macs_;
};

}  // namespace

std::unique_ptr<Contender> make_cbc(const Task& task) {
  return std::make_unique<OwnBatches>(task);
}

std::unique_ptr<Contender> make_evp_cbc(const Task& task) {
  if (stitched(*task.suite) != nullptr) return std::make_unique<EvpStitched>(task);
  return std::make_unique<EvpTwoSteps>(task);
}

}  // namespace sluice::bench
