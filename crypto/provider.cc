// Choosing and checking the implementation.
//
// Job: one IMB_MGR per thread. `alloc_mb_mgr` reads CPUID, `init_mb_mgr_*` fills the manager with
// the function pointers of one instruction-set family; every other file of this folder calls
// through those pointers. ipsec-mb runs its own tests while it initialises, and `self_test` then
// checks the calls that Sluice makes, in the way that Sluice makes them.
// Limits: allocates, so start-up only. ipsec-mb's portable AES (for CPUs without AES-NI) looks
// bytes up in tables, which leaks keys through the cache: such CPUs are refused.
#ifndef NO_COMPAT_IMB_API_053
#define NO_COMPAT_IMB_API_053
#endif
#include "crypto/provider.h"

#include <intel-ipsec-mb.h>

#include "crypto/mac_lanes.h"
#include "crypto/self_test.h"

namespace sluice::crypto {
namespace {

constexpr uint64_t kAesFeatures = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ;
constexpr uint64_t kVaesFeatures = IMB_FEATURE_VAES | IMB_FEATURE_VPCLMULQDQ;

uint64_t required_features(Arch arch) {
  switch (arch) {
    case Arch::Auto:
      return kAesFeatures;
    case Arch::Sse:
      return kAesFeatures | IMB_FEATURE_SSE4_2 | IMB_FEATURE_CMOV;
    case Arch::Avx:
      return kAesFeatures | IMB_FEATURE_AVX;
    case Arch::Avx2:
      return kAesFeatures | IMB_FEATURE_AVX | IMB_FEATURE_AVX2;
    case Arch::Avx512:
      return kAesFeatures | IMB_FEATURE_AVX2 | IMB_FEATURE_AVX512_SKX;
  }
  return ~uint64_t{0};
}

void initialise(IMB_MGR* manager, Arch arch) {
  switch (arch) {
    case Arch::Auto: {
      IMB_ARCH chosen = IMB_ARCH_NONE;
      init_mb_mgr_auto(manager, &chosen);
      return;
    }
    case Arch::Sse:
      init_mb_mgr_sse(manager);
      return;
    case Arch::Avx:
      init_mb_mgr_avx(manager);
      return;
    case Arch::Avx2:
      init_mb_mgr_avx2(manager);
      return;
    case Arch::Avx512:
      init_mb_mgr_avx512(manager);
      return;
  }
}

// Empty for what Sluice does not run on.
std::string_view name_of(const IMB_MGR& manager) {
  switch (static_cast<IMB_ARCH>(manager.used_arch)) {
    case IMB_ARCH_SSE:
      return "sse";
    case IMB_ARCH_AVX:
      return "avx";
    case IMB_ARCH_AVX2:
      return "avx2";
    case IMB_ARCH_AVX512:
      return (manager.features & kVaesFeatures) == kVaesFeatures ? "avx512-vaes" : "avx512";
    case IMB_ARCH_NONE:
    case IMB_ARCH_NOAESNI:
    case IMB_ARCH_NUM:
      return {};
  }
  return {};
}

bool library_self_test_passed(const IMB_MGR& manager) {
  if ((manager.features & IMB_FEATURE_SELF_TEST) == 0) return true;  // built without it
  return (manager.features & IMB_FEATURE_SELF_TEST_PASS) != 0;
}

}  // namespace

void Provider::Free::operator()(IMB_MGR* manager) const { free_mb_mgr(manager); }

tl::expected<Provider, ProviderError> Provider::create(Arch arch) {
  // The manager's layout is the header's: an older library would have fewer pointers than we call.
  if (imb_get_version() < IMB_VERSION_NUM) return tl::unexpected(ProviderError::LibraryTooOld);

  Manager manager(alloc_mb_mgr(0));
  if (manager == nullptr) return tl::unexpected(ProviderError::OutOfMemory);

  const uint64_t required = required_features(arch);
  if ((manager->features & required) != required) {
    return tl::unexpected(ProviderError::CpuUnsupported);
  }
  initialise(manager.get(), arch);
  if (!library_self_test_passed(*manager)) return tl::unexpected(ProviderError::SelfTestFailed);
  const std::string_view name = name_of(*manager);
  if (imb_get_errno(manager.get()) != 0 || name.empty()) {
    return tl::unexpected(ProviderError::CpuUnsupported);
  }

  const bool wide = manager->used_arch == IMB_ARCH_AVX512;
  const bool sha = (manager->features & IMB_FEATURE_SHANI) != 0;
  Provider provider(std::move(manager), name, choose_sha_kernels(wide, sha));
  if (!self_test(provider)) return tl::unexpected(ProviderError::SelfTestFailed);
  return provider;
}

std::string_view to_string(ProviderError error) {
  switch (error) {
    case ProviderError::LibraryTooOld:
      return "libIPSec_MB is older than the version Sluice was built with";
    case ProviderError::OutOfMemory:
      return "no memory for the ipsec-mb manager";
    case ProviderError::CpuUnsupported:
      return "the CPU lacks AES-NI, PCLMULQDQ or the requested instruction set";
    case ProviderError::SelfTestFailed:
      return "a cryptographic self-test gave a wrong answer";
  }
  return "unknown error";
}

}  // namespace sluice::crypto
