// AES-CBC with HMAC, MAC-then-encrypt (RFC 5246 6.2.3.2) and encrypt-then-MAC (RFC 7366), for
// batches of records of many connections: records share the vector registers, so a batch of 16
// costs little more than one record. TLS 1.0 to 1.2.
//
// A record's fragment (what follows the 5-byte record header) lies contiguously and is worked on
// in place. With an explicit IV (TLS 1.1 and 1.2) its first 16 bytes are the IV; TLS 1.0 has none
// and chains from the record before.
//
//   MAC-then-encrypt:  [ IV ] | plaintext | MAC | padding, padding length |        (encrypted: all
//   encrypt-then-MAC:  [ IV ] | plaintext | padding, padding length | MAC |         but IV, EtM
//   MAC)
//
// Opening takes the same time and the same memory accesses whatever padding and MAC say: only the
// lengths, the suite and the number of jobs in a batch matter, all of which are public (Lucky 13,
// POODLE). No allocation, lock or system call. What was secret is wiped.
#pragma once

#include <cstdint>
#include <span>

#include "crypto/provider.h"
#include "crypto/suite.h"

namespace sluice::crypto {

// AES schedules of both directions and the HMAC states behind the inner and the outer key block.
// Not larger than an AeadKey, so that either can live in one slot of a cache. Wiped when it dies or
// is expanded again.
class alignas(64) CbcHmacKey {
 public:
  CbcHmacKey() = default;
  CbcHmacKey(const CbcHmacKey&) = delete;
  CbcHmacKey& operator=(const CbcHmacKey&) = delete;
  ~CbcHmacKey() { wipe(); }

  // False, and not ready, when the suite is not CBC or a key does not have the suite's length.
  [[nodiscard]] bool expand(const Provider& provider, const Suite& suite,
                            std::span<const uint8_t> key, std::span<const uint8_t> mac_key);
  void wipe();

  // Only a ready key may be used: with any other, the batch functions abort the process.
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] Cipher cipher() const { return cipher_; }
  [[nodiscard]] Hash mac_hash() const { return mac_hash_; }

  // For the files of this folder only.
  [[nodiscard]] const uint8_t* encrypt_schedule() const { return encrypt_schedule_; }
  [[nodiscard]] const uint8_t* decrypt_schedule() const { return decrypt_schedule_; }
  [[nodiscard]] const uint8_t* inner_state() const { return inner_state_; }
  [[nodiscard]] const uint8_t* outer_state() const { return outer_state_; }

 private:
  static constexpr size_t kScheduleBytes = size_t{16} * 15;
  static constexpr size_t kStateBytes = 64;  // SHA-384's eight words of 64 bits

  uint8_t encrypt_schedule_[kScheduleBytes] = {};
  uint8_t decrypt_schedule_[kScheduleBytes] = {};
  // The hash's chaining words, in host order.
  uint8_t inner_state_[kStateBytes] = {};
  uint8_t outer_state_[kStateBytes] = {};
  Cipher cipher_ = Cipher::Aes128Cbc;
  Hash mac_hash_ = Hash::Sha1;
  bool ready_ = false;
};
static_assert(sizeof(CbcHmacKey) <= 1024);

// What both directions say of a record. The caller's to fill, and unchanged by a batch except `iv`.
struct CbcRecord {
  const CbcHmacKey* key;
  // The MAC covers sequence, type, version and length (RFC 5246 6.2.3.1); the length is worked out.
  uint64_t sequence;
  uint8_t type;
  TlsVersion version;  // Tls10 to Tls12; from Tls11 on the IV is explicit
  bool encrypt_then_mac;
  uint8_t* fragment;
  // TLS 1.0: the last ciphertext block of the record before in this direction (of the first record:
  // from the key block); the batch replaces it by the last block of this one. Sealing for TLS 1.1
  // and 1.2: the IV, which nobody can have predicted. Otherwise not looked at.
  uint8_t iv[kCbcBlockLength];
};

struct CbcSealJob {
  CbcRecord record;
  // 0 to 2^14 bytes, at `fragment + cbc_plaintext_offset(version)`. There must be room for
  // `cbc_sealed_length` bytes from `fragment` on, all of which are written.
  uint32_t plaintext_length;
};

struct CbcOpenJob {
  CbcRecord record;
  uint32_t fragment_length;  // as the record header has it

  // The answer. When it is false, all of the fragment has been zeroed and the lengths are 0.
  bool ok;
  uint32_t plaintext_offset;  // from `fragment` on
  uint32_t plaintext_length;
};

// Bytes of explicit IV in front of the plaintext: 16 from TLS 1.1 on, else 0.
[[nodiscard]] constexpr uint32_t cbc_plaintext_offset(TlsVersion version) {
  return version == TlsVersion::Tls10 ? 0 : kCbcBlockLength;
}

// Bytes of the fragment that sealing `plaintext_length` bytes makes, with the least padding.
[[nodiscard]] constexpr uint32_t cbc_sealed_length(Hash mac_hash, TlsVersion version,
                                                   bool encrypt_then_mac,
                                                   uint32_t plaintext_length) {
  const uint32_t mac = hash_length(mac_hash);
  const uint32_t inside = plaintext_length + (encrypt_then_mac ? 0 : mac);
  // One byte of padding length at least, then up to a whole block.
  const uint32_t padded = inside / kCbcBlockLength * kCbcBlockLength + kCbcBlockLength;
  return cbc_plaintext_offset(version) + padded + (encrypt_then_mac ? mac : 0);
}

// Seals the records of all jobs, any number of them. Jobs of one batch do not see each other's
// results: of one TLS 1.0 connection only one record can be in a batch, since each needs the last
// block of the one before.
void seal_batch(const Provider& provider, std::span<CbcSealJob> jobs);

// Opens the records of all jobs, any number of them, also several of one connection (whose TLS 1.0
// chaining blocks the caller copies before the batch, since fragments are decrypted in place).
// Lengths that no sealed record has (not whole blocks, too short for MAC and padding) are refused
// before anything secret is touched.
void open_batch(const Provider& provider, std::span<CbcOpenJob> jobs);

}  // namespace sluice::crypto
