// A fixture that runs each test on every instruction-set family that this CPU has, so that the code
// of smaller CPUs is tested on a larger one.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <string>

#include "crypto/provider.h"
#include "vectors.h"

namespace sluice::crypto::test {

class OnEveryArch : public testing::TestWithParam<Arch> {
 protected:
  void SetUp() override {
    auto created = Provider::create(GetParam());
    if (!created && created.error() == ProviderError::CpuUnsupported) {
      GTEST_SKIP() << "this CPU does not have it";
    }
    ASSERT_TRUE(created) << to_string(created.error());
    provider_.emplace(std::move(*created));
  }

  const Provider& provider() const { return *provider_; }
  Provider& mutable_provider() { return *provider_; }

 private:
  std::optional<Provider> provider_;
};

inline std::string arch_test_name(const testing::TestParamInfo<Arch>& info) {
  switch (info.param) {
    case Arch::Auto:
      return "Auto";
    case Arch::Sse:
      return "Sse";
    case Arch::Avx:
      return "Avx";
    case Arch::Avx2:
      return "Avx2";
    case Arch::Avx512:
      return "Avx512";
  }
  return "Unknown";
}

inline const auto kEveryArch =
    testing::Values(Arch::Auto, Arch::Sse, Arch::Avx, Arch::Avx2, Arch::Avx512);

inline ByteVector random_bytes(std::mt19937_64& random, size_t length) {
  ByteVector bytes(length);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

// Uniform in [0, below).
inline size_t random_below(std::mt19937_64& random, size_t below) { return random() % below; }

}  // namespace sluice::crypto::test
