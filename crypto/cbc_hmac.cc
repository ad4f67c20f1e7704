// Keys of CBC with HMAC.
#ifndef NO_COMPAT_IMB_API_053
#define NO_COMPAT_IMB_API_053
#endif
#include "crypto/cbc_hmac.h"

#include "crypto/secret.h"

namespace sluice::crypto {

void CbcHmacKey::wipe() {
  secure_zero(encrypt_schedule_, sizeof(encrypt_schedule_));
  secure_zero(decrypt_schedule_, sizeof(decrypt_schedule_));
  secure_zero(inner_state_, sizeof(inner_state_));
  secure_zero(outer_state_, sizeof(outer_state_));
  ready_ = false;
}

}  // namespace sluice::crypto
