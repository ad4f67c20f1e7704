// Choosing the implementation.
#include "crypto/provider.h"

#include <gtest/gtest.h>

#include <set>
#include <string_view>

#include "arch_fixture.h"

namespace sluice::crypto {
namespace {

class ProviderTest : public test::OnEveryArch {};
INSTANTIATE_TEST_SUITE_P(Arch, ProviderTest, test::kEveryArch, test::arch_test_name);

TEST_P(ProviderTest, RunsWhatWasAskedFor) {
  const std::string_view name = provider().arch_name();
  switch (GetParam()) {
    case Arch::Auto: {
      const std::set<std::string_view> known = {"sse", "avx", "avx2", "avx512", "avx512-vaes"};
      EXPECT_TRUE(known.contains(name)) << name;
      break;
    }
    case Arch::Sse:
      EXPECT_EQ(name, "sse");
      break;
    case Arch::Avx:
      EXPECT_EQ(name, "avx");
      break;
    case Arch::Avx2:
      EXPECT_EQ(name, "avx2");
      break;
    case Arch::Avx512:
      EXPECT_TRUE(name.starts_with("avx512")) << name;
      break;
  }
}

TEST(Provider, EveryErrorSaysWhatItIs) {
  for (const ProviderError error : {ProviderError::LibraryTooOld, ProviderError::OutOfMemory,
                                    ProviderError::CpuUnsupported, ProviderError::SelfTestFailed}) {
    EXPECT_GT(to_string(error).size(), 10u);
  }
}

TEST(Provider, MovingKeepsTheManager) {
  auto created = Provider::create();
  ASSERT_TRUE(created);
  IMB_MGR* manager = created->manager();
  const Provider moved(std::move(*created));
  EXPECT_EQ(moved.manager(), manager);
}

}  // namespace
}  // namespace sluice::crypto
