// CBC records in batches.
//
// Job: the steps of all records of a batch are taken together: all MACs, all encryptions, so that
// the lanes of the vector registers fill up with different connections. AES comes from ipsec-mb's
// cipher bursts (encryption: one record in each lane; decryption is parallel in itself). HMAC is
// ours (`mac_lanes`), since ipsec-mb's jobs want pseudo header and record next to each other and
// take their time by a length that is secret here.
//
// Data flow. Seal, MAC-then-encrypt: MACs of the plaintexts -> MAC and padding appended ->
// encrypted. Seal, encrypt-then-MAC: padding appended -> encrypted -> MACs of IV and ciphertext
// appended. Open, encrypt-then-MAC: MACs compared -> those that fit decrypted -> padding. Open,
// MAC-then-encrypt: decrypted -> padding -> MACs over lengths that stay secret -> compared.
//
// Limits: records go through in chunks of kChunk, whose bookkeeping lies on the stack. Only whether
// a record is good leaves `open_batch`; that is no secret, its alert tells.
#ifndef NO_COMPAT_IMB_API_053
#define NO_COMPAT_IMB_API_053
#endif
#include "crypto/cbc_hmac.h"

#include <intel-ipsec-mb.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "crypto/cbc_padding.h"
#include "crypto/constant_time.h"
#include "crypto/mac_lanes.h"
#include "crypto/secret.h"

namespace sluice::crypto {
namespace {

constexpr size_t kChunk = 64;
static_assert(kChunk <= IMB_MAX_BURST_SIZE);

// RFC 5246 6.2.3: the longest fragment a record may have.
constexpr uint32_t kMaxFragmentLength = (1U << 14) + 2048;

// The MAC over pseudo header and `length` bytes of `message`.
void fill(MacJob& job, const CbcRecord& record, const uint8_t* message, uint32_t length) {
  job.key = record.key;
  const uint64_t sequence = __builtin_bswap64(record.sequence);
  std::memcpy(job.header, &sequence, sizeof(sequence));
  const auto version = static_cast<uint16_t>(record.version);
  job.header[8] = record.type;
  job.header[9] = static_cast<uint8_t>(version >> 8);
  job.header[10] = static_cast<uint8_t>(version);
  job.header[11] = static_cast<uint8_t>(length >> 8);
  job.header[12] = static_cast<uint8_t>(length);
  job.message = message;
  job.max_length = length;
  job.length = length;
  job.length_is_secret = false;
}

void wipe(std::span<MacJob> jobs) { secure_zero(jobs.data(), jobs.size_bytes()); }

// The cipher jobs of one chunk, by key length, as the library's bursts want them. Of a job only
// what AES-CBC reads is filled in: the rest, some 250 bytes, would cost more than a short record.
class CipherBurst {
 public:
  explicit CipherBurst(IMB_CIPHER_DIRECTION direction) : direction_(direction) {}

  // `length` bytes of whole blocks, in place.
  void add(const CbcRecord& record, uint8_t* bytes, uint32_t length) {
    const bool aes128 = record.key->cipher() == Cipher::Aes128Cbc;
    // From the front those with short keys, from the back those with long ones.
    IMB_JOB& job = aes128 ? jobs_[short_keys_++] : jobs_[kChunk - ++long_keys_];
    job.enc_keys = record.key->encrypt_schedule();
    job.dec_keys = record.key->decrypt_schedule();
    job.key_len_in_bytes = aes128 ? IMB_KEY_128_BYTES : IMB_KEY_256_BYTES;
    job.src = bytes;
    job.dst = bytes;
    job.cipher_start_src_offset_in_bytes = 0;
    job.msg_len_to_cipher_in_bytes = length;
    job.iv = record.version == TlsVersion::Tls10 ? record.iv : record.fragment;
    job.iv_len_in_bytes = kCbcBlockLength;
    job.status = static_cast<IMB_STATUS>(0);
  }

  void run(const Provider& provider) {
    run(provider, jobs_, short_keys_, IMB_KEY_128_BYTES);
    run(provider, jobs_ + kChunk - long_keys_, long_keys_, IMB_KEY_256_BYTES);
  }

 private:
  void run(const Provider& provider, IMB_JOB* jobs, uint32_t count, IMB_KEY_SIZE_BYTES key_length) {
    if (count == 0) return;
    const uint32_t done = IMB_SUBMIT_CIPHER_BURST_NOCHECK(
        provider.manager(), jobs, static_cast<int>(count), IMB_CIPHER_CBC, direction_, key_length);
    // Everything that the library could object to was made above.
    if (done != count) std::abort();
  }

  const IMB_CIPHER_DIRECTION direction_;
  uint32_t short_keys_ = 0;
  uint32_t long_keys_ = 0;
  IMB_JOB jobs_[kChunk];
};

void require_usable(const CbcRecord& record) {
  if (record.key == nullptr || !record.key->ready()) std::abort();
}

// RFC 2246 6.2.3.2: the next record's IV. Before a decryption in place overwrites it.
void keep_chaining_block(CbcRecord& record, const uint8_t* end_of_ciphertext, uint8_t* iv) {
  if (record.version != TlsVersion::Tls10) return;
  std::memcpy(iv, end_of_ciphertext - kCbcBlockLength, kCbcBlockLength);
}

// Where the parts of a record lie that is being sealed.
struct SealLayout {
  uint8_t* plaintext;
  uint32_t mac_length;
  uint32_t encrypted_length;

  explicit SealLayout(const CbcSealJob& job)
      : plaintext(job.record.fragment + cbc_plaintext_offset(job.record.version)),
        mac_length(hash_length(job.record.key->mac_hash())) {
    const CbcRecord& record = job.record;
    encrypted_length = cbc_sealed_length(record.key->mac_hash(), record.version,
                                         record.encrypt_then_mac, job.plaintext_length) -
                       cbc_plaintext_offset(record.version) -
                       (record.encrypt_then_mac ? mac_length : 0);
  }

  // Each byte of the padding, and the one that has its length, is that length.
  void pad(uint32_t from) const {
    const uint32_t count = encrypted_length - from;
    std::memset(plaintext + from, static_cast<int>(count - 1), count);
  }
};

void seal_chunk(const Provider& provider, std::span<CbcSealJob> jobs) {
  MacJob macs[kChunk];
  size_t mac_count = 0;
  for (CbcSealJob& job : jobs) {
    require_usable(job.record);
    if (job.record.encrypt_then_mac) continue;
    const SealLayout layout(job);
    fill(macs[mac_count++], job.record, layout.plaintext, job.plaintext_length);
  }
  mac_batch(provider.sha_kernels(), {macs, mac_count});

  CipherBurst burst(IMB_DIR_ENCRYPT);
  mac_count = 0;
  for (CbcSealJob& job : jobs) {
    const SealLayout layout(job);
    uint32_t end = job.plaintext_length;
    if (!job.record.encrypt_then_mac) {
      std::memcpy(layout.plaintext + end, macs[mac_count++].mac, layout.mac_length);
      end += layout.mac_length;
    }
    layout.pad(end);
    if (job.record.version != TlsVersion::Tls10) {
      std::memcpy(job.record.fragment, job.record.iv, kCbcBlockLength);
    }
    burst.add(job.record, layout.plaintext, layout.encrypted_length);
  }
  burst.run(provider);

  mac_count = 0;
  for (CbcSealJob& job : jobs) {
    const SealLayout layout(job);
    uint8_t* end = layout.plaintext + layout.encrypted_length;
    keep_chaining_block(job.record, end, job.record.iv);
    if (!job.record.encrypt_then_mac) continue;
    // RFC 7366 3: over IV and ciphertext, with their length.
    fill(macs[mac_count++], job.record, job.record.fragment,
         static_cast<uint32_t>(end - job.record.fragment));
  }
  mac_batch(provider.sha_kernels(), {macs, mac_count});
  mac_count = 0;
  for (CbcSealJob& job : jobs) {
    if (!job.record.encrypt_then_mac) continue;
    const SealLayout layout(job);
    std::memcpy(layout.plaintext + layout.encrypted_length, macs[mac_count++].mac,
                layout.mac_length);
  }
  wipe(std::span(macs).first(jobs.size()));
}

// Where the parts of a record lie that is being opened; only of a length that could be right.
struct OpenLayout {
  uint8_t* body = nullptr;   // what is encrypted
  uint32_t body_length = 0;  // 0: no sealed record has this length
  uint32_t mac_length;

  explicit OpenLayout(const CbcOpenJob& job) : mac_length(hash_length(job.record.key->mac_hash())) {
    const uint32_t offset = cbc_plaintext_offset(job.record.version);
    const uint32_t around = offset + (job.record.encrypt_then_mac ? mac_length : 0);
    // Inside the encryption: the padding's length and, in MAC-then-encrypt, the MAC.
    const uint32_t least = job.record.encrypt_then_mac ? 1 : mac_length + 1;
    if (job.fragment_length > kMaxFragmentLength || job.fragment_length < around + least) return;
    const uint32_t length = job.fragment_length - around;
    if (length % kCbcBlockLength != 0) return;
    body = job.record.fragment + offset;
    body_length = length;
  }
};

// RFC 7366: the MACs of records with encrypt-then-MAC. What leaves with `ok` may be decrypted.
void authenticate_chunk(const Provider& provider, std::span<CbcOpenJob> jobs) {
  MacJob macs[kChunk];
  size_t mac_count = 0;
  for (CbcOpenJob& job : jobs) {
    if (!job.ok || !job.record.encrypt_then_mac) continue;
    const OpenLayout layout(job);
    fill(macs[mac_count++], job.record, job.record.fragment,
         job.fragment_length - layout.mac_length);
  }
  if (mac_count == 0) return;
  mac_batch(provider.sha_kernels(), {macs, mac_count});
  mac_count = 0;
  for (CbcOpenJob& job : jobs) {
    if (!job.ok || !job.record.encrypt_then_mac) continue;
    const OpenLayout layout(job);
    job.ok = equal_constant_time(macs[mac_count++].mac, layout.body + layout.body_length,
                                 layout.mac_length);
  }
  // The expected MAC of a forged record is as good as a forgery.
  wipe(std::span(macs).first(mac_count));
}

void open_chunk(const Provider& provider, std::span<CbcOpenJob> jobs) {
  for (CbcOpenJob& job : jobs) {
    require_usable(job.record);
    job.plaintext_offset = 0;
    job.plaintext_length = 0;
    job.ok = OpenLayout(job).body_length != 0;
  }
  authenticate_chunk(provider, jobs);

  CipherBurst burst(IMB_DIR_DECRYPT);
  uint8_t chaining_blocks[kChunk][kCbcBlockLength];
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (!jobs[i].ok) continue;
    const OpenLayout layout(jobs[i]);
    keep_chaining_block(jobs[i].record, layout.body + layout.body_length, chaining_blocks[i]);
    burst.add(jobs[i].record, layout.body, layout.body_length);
  }
  burst.run(provider);

  MacJob macs[kChunk];
  uint32_t good[kChunk];
  uint32_t plaintext_length[kChunk];
  size_t mac_count = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    CbcOpenJob& job = jobs[i];
    if (!job.ok) continue;
    if (job.record.version == TlsVersion::Tls10) {
      std::memcpy(job.record.iv, chaining_blocks[i], kCbcBlockLength);
    }
    const OpenLayout layout(job);
    const uint32_t mac_length = job.record.encrypt_then_mac ? 0 : layout.mac_length;
    good[i] = check_padding(layout.body, layout.body_length, mac_length, plaintext_length[i]);
    if (job.record.encrypt_then_mac) continue;
    MacJob& mac = macs[mac_count++];
    fill(mac, job.record, layout.body, plaintext_length[i]);
    mac.max_length = layout.body_length - layout.mac_length - 1;
    mac.length_is_secret = true;
  }
  mac_batch(provider.sha_kernels(), {macs, mac_count});
  mac_count = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    CbcOpenJob& job = jobs[i];
    if (!job.ok) {
      secure_zero(job.record.fragment, job.fragment_length);
      continue;
    }
    const OpenLayout layout(job);
    if (!job.record.encrypt_then_mac) {
      good[i] &= check_mac(layout.body, layout.body_length, layout.mac_length, plaintext_length[i],
                           macs[mac_count++].mac);
    }
    keep_or_zero(job.record.fragment, job.fragment_length, good[i]);
    job.plaintext_length = plaintext_length[i] & good[i];
    job.plaintext_offset = cbc_plaintext_offset(job.record.version) & good[i];
    job.ok = (good[i] & 1) != 0;
  }
  wipe(std::span(macs).first(mac_count));
  secure_zero(plaintext_length, sizeof(plaintext_length));
  secure_zero(good, sizeof(good));
}

template <typename Job>
void in_chunks(const Provider& provider, std::span<Job> jobs,
               void (*chunk)(const Provider&, std::span<Job>)) {
  while (!jobs.empty()) {
    const size_t count = std::min(jobs.size(), kChunk);
    chunk(provider, jobs.first(count));
    jobs = jobs.subspan(count);
  }
}

}  // namespace

bool CbcHmacKey::expand(const Provider& provider, const Suite& suite, std::span<const uint8_t> key,
                        std::span<const uint8_t> mac_key) {
  wipe();
  if (!suite.is_cbc() || key.size() != suite.key_length || mac_key.size() != suite.mac_key_length) {
    return false;
  }
  if (suite.cipher == Cipher::Aes128Cbc) {
    IMB_AES_KEYEXP_128(provider.manager(), key.data(), encrypt_schedule_, decrypt_schedule_);
  } else {
    IMB_AES_KEYEXP_256(provider.manager(), key.data(), encrypt_schedule_, decrypt_schedule_);
  }
  hmac_states(provider.sha_kernels(), suite.mac_hash, mac_key, inner_state_, outer_state_);
  cipher_ = suite.cipher;
  mac_hash_ = suite.mac_hash;
  ready_ = true;
  return true;
}

void CbcHmacKey::wipe() {
  secure_zero(encrypt_schedule_, sizeof(encrypt_schedule_));
  secure_zero(decrypt_schedule_, sizeof(decrypt_schedule_));
  secure_zero(inner_state_, sizeof(inner_state_));
  secure_zero(outer_state_, sizeof(outer_state_));
  ready_ = false;
}

void seal_batch(const Provider& provider, std::span<CbcSealJob> jobs) {
  in_chunks(provider, jobs, seal_chunk);
}

void open_batch(const Provider& provider, std::span<CbcOpenJob> jobs) {
  in_chunks(provider, jobs, open_chunk);
}

}  // namespace sluice::crypto
