#include "cipher_stage.h"

#ifndef NO_COMPAT_IMB_API_053
#define NO_COMPAT_IMB_API_053
#endif
#include <intel-ipsec-mb.h>

#include "cycles.h"

namespace sluice::bench {
namespace {

// One per function pointer of the manager: the member itself names it.
template <auto Member>
struct Watched;

template <class... Arguments, void (*IMB_MGR::*Member)(Arguments...)>
struct Watched<Member> {
  static inline void (*real)(Arguments...) = nullptr;

  static void call(Arguments... arguments) {
    if (!cipher_stage.wanted) return real(arguments...);
    const uint64_t start = cycles();
    real(arguments...);
    cipher_stage.cycles += cycles() - start;
  }
  static void install(IMB_MGR& manager) {
    if (manager.*Member == call) return;
    real = manager.*Member;
    manager.*Member = call;
  }
};

template <auto... Members>
void install_all(IMB_MGR& manager) {
  (Watched<Members>::install(manager), ...);
}

}  // namespace

void watch_cipher(const crypto::Provider& provider) {
  using M = IMB_MGR;
  install_all<&M::gcm128_pre, &M::gcm128_enc, &M::gcm128_dec, &M::gcm128_init,
              &M::gcm128_enc_update, &M::gcm128_dec_update, &M::gcm128_enc_finalize,
              &M::gcm128_dec_finalize, &M::gcm256_pre, &M::gcm256_enc, &M::gcm256_dec,
              &M::gcm256_init, &M::gcm256_enc_update, &M::gcm256_dec_update,
              &M::gcm256_enc_finalize, &M::gcm256_dec_finalize>(*provider.manager());
}

}  // namespace sluice::bench
