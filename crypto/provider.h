// The ipsec-mb manager, and our own vectorized hashes: which implementation this CPU gets.
//
// One Provider per thread, made at start (it allocates) and handed by reference to everything that
// computes. ipsec-mb selects the vector width at run time from CPUID.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

#include "crypto/sha.h"

struct IMB_MGR;

namespace sluice::crypto {

// The instruction-set families of ipsec-mb. Auto is the best one that this CPU has; the others
// exist so that tests reach the code that other CPUs run.
enum class Arch : uint8_t { Auto, Sse, Avx, Avx2, Avx512 };

enum class ProviderError : uint8_t {
  LibraryTooOld,  // the shared library is older than the header it was compiled with
  OutOfMemory,
  CpuUnsupported,  // no AES-NI and PCLMULQDQ, or not the requested family
  SelfTestFailed,  // a known answer came out wrong: the CPU or the library is broken
};

[[nodiscard]] std::string_view to_string(ProviderError error);

class Provider {
 public:
  // Detects the CPU, initialises the library and checks known answers of everything that this
  // folder uses.
  [[nodiscard]] static tl::expected<Provider, ProviderError> create(Arch arch = Arch::Auto);

  // The family in use: "sse", "avx", "avx2" or "avx512", and "avx512-vaes" where the CPU has VAES.
  [[nodiscard]] std::string_view arch_name() const { return arch_name_; }

  // For the files of this folder only.
  [[nodiscard]] IMB_MGR* manager() const { return manager_.get(); }
  [[nodiscard]] const ShaKernels& sha_kernels() const { return sha_kernels_; }

  // For tests, which count.
  void set_sha_kernels(const ShaKernels& kernels) { sha_kernels_ = kernels; }

 private:
  struct Free {
    void operator()(IMB_MGR* manager) const;
  };
  using Manager = std::unique_ptr<IMB_MGR, Free>;

  Provider(Manager manager, std::string_view arch_name, const ShaKernels& sha_kernels)
      : manager_(std::move(manager)), arch_name_(arch_name), sha_kernels_(sha_kernels) {}

  Manager manager_;
  std::string_view arch_name_;
  ShaKernels sha_kernels_;
};

}  // namespace sluice::crypto
