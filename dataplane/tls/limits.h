// Bounds of the record layer after the handshake. Sizes of records are in abi/limits.h.
#pragma once

#include <cstdint>

#include "abi/limits.h"

namespace sluice::tls {

// Records protected with one key by Sluice. RFC 8446 5.5: 2^24.5 full-size records for AES-GCM. In
// TLS 1.3 Sluice sends a KeyUpdate well before. Older versions have no such thing and closing is
// all there is, so that their bound is the 2^32 invocations of NIST SP 800-38D 8.3; 2^32 full
// records are 2^42 blocks of CBC, far from the 2^64 at which blocks collide.
inline constexpr uint64_t kKeyUpdateAfterRecords = abi::kMaxKeyUpdateAfterRecords;
inline constexpr uint64_t kMaxSealedRecords13 = 23'726'566;
inline constexpr uint64_t kMaxSealedRecords12 = uint64_t{1} << 32;
// Application data stops this far before the bound, so that an alert can still be sealed.
inline constexpr uint64_t kSealReserveRecords = 16;
// Records opened with one key: the sequence number must not wrap (RFC 8446 5.3).
inline constexpr uint64_t kMaxOpenedRecords = uint64_t{1} << 62;

// What a client may send that carries nothing. Each such record takes one of these credits; so many
// records of application data give one back.
inline constexpr uint8_t kIdleRecordCredits = 32;
inline constexpr uint8_t kDataRecordsPerCredit = 16;

// A renegotiating TLS 1.2 ClientHello is skipped, not parsed; a longer one is refused.
inline constexpr uint32_t kMaxSkippedHelloBytes = abi::kMaxPlaintextBytes;

// Sealed size of the longest thing that the record layer itself says (an alert, a KeyUpdate): 85
// bytes with AES-CBC and HMAC-SHA-384, encrypt-then-MAC.
inline constexpr uint32_t kMaxReplyBytes = 96;

// Most bytes that sealing adds to a plaintext, padding by policy aside: two records of TLS 1.0 with
// header, HMAC-SHA-384 and a block of padding each, or one with its IV.
inline constexpr uint32_t kMaxSealOverheadBytes = 2 * (abi::kRecordHeaderBytes + 48 + 16);

// Room that opening any legal record needs: a CBC record is decrypted in place.
inline constexpr uint32_t kMaxOpenOutputBytes = abi::kMaxCiphertext12Bytes;

}  // namespace sluice::tls
