// What stands behind the plaintext of a decrypted MAC-then-encrypt record, looked at in constant
// time. For `cbc_hmac` and its tests.
#pragma once

#include <cstdint>

namespace sluice::crypto {

// RFC 5246 6.2.3.2: checks that each of the padding bytes has the padding's length. `body` is what
// was encrypted, `length` bytes of it (public, at least `mac_length + 1`). Answers all ones when
// the padding is right and leaves room for a MAC, and the plaintext's length; otherwise zero, and
// the length as if there were no padding at all.
[[nodiscard]] uint32_t check_padding(const uint8_t* body, uint32_t length, uint32_t mac_length,
                                     uint32_t& plaintext_length);

// All ones when the `mac_length` bytes behind the plaintext are `mac`. `plaintext_length` is
// secret, and at most 255 bytes less than `length - mac_length - 1`.
[[nodiscard]] uint32_t check_mac(const uint8_t* body, uint32_t length, uint32_t mac_length,
                                 uint32_t plaintext_length, const uint8_t* mac);

// Zeroes `length` bytes where `keep` is zero, rewrites them where it is all ones.
void keep_or_zero(uint8_t* bytes, uint32_t length, uint32_t keep);

}  // namespace sluice::crypto
