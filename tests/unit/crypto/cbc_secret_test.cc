// What opening a CBC record does must follow from public lengths alone: the calls of the
// compression functions are counted, and no byte outside the fragment may be touched.
#include <gtest/gtest.h>

#include <algorithm>

#include "cbc_fixture.h"
#include "guarded_memory.h"

namespace sluice::crypto {
namespace {

using test::all_cbc_forms;
using test::ByteVector;
using test::CbcCase;
using test::CbcFlaws;
using test::CbcForm;
using test::random_bytes;
using test::random_case;
using test::reference_cbc_seal;

class CbcSecret : public test::OnEveryArch {};
INSTANTIATE_TEST_SUITE_P(Arch, CbcSecret, test::kEveryArch, test::arch_test_name);

// The blocks that each kind of call compressed, over the provider's own functions.
struct Calls {
  std::vector<size_t> blocks;
  bool operator==(const Calls&) const = default;
};
Calls counted;
ShaKernels real;

template <typename States, ShaKernel<States> ShaKernels::*kKernel>
void wrap(ShaKernels& kernels) {
  (kernels.*kKernel).all = [](States& states, const uint8_t* const* data, size_t blocks) {
    counted.blocks.push_back(blocks);
    (real.*kKernel).all(states, data, blocks);
  };
  if ((kernels.*kKernel).one == nullptr) return;
  (kernels.*kKernel).one = [](States& states, size_t lane, const uint8_t* data, size_t blocks) {
    counted.blocks.push_back(1000 + blocks);
    (real.*kKernel).one(states, lane, data, blocks);
  };
}

// Makes `provider` count.
void count(Provider& provider) {
  real = provider.sha_kernels();
  ShaKernels kernels = real;
  wrap<Sha1Lanes, &ShaKernels::sha1>(kernels);
  wrap<Sha256Lanes, &ShaKernels::sha256>(kernels);
  wrap<Sha512Lanes, &ShaKernels::sha512>(kernels);
  provider.set_sha_kernels(kernels);
}

// What opening `copies` records like this at once compresses.
Calls calls_of(const Provider& provider, const CbcCase& with, const ByteVector& sealed,
               size_t copies, bool& ok) {
  CbcHmacKey key;
  test::expand(key, provider, with);
  std::vector<ByteVector> fragments(copies, sealed);
  std::vector<CbcOpenJob> jobs;
  for (ByteVector& fragment : fragments) jobs.push_back(test::open_job(with, key, fragment));
  counted = {};
  open_batch(provider, jobs);
  ok = std::all_of(jobs.begin(), jobs.end(), [](const CbcOpenJob& job) { return job.ok; });
  return counted;
}

TEST_P(CbcSecret, CompressionsDependOnTheFragmentsLengthAlone) {
  std::mt19937_64 random(20260120);
  count(mutable_provider());
  for (const CbcForm& form : all_cbc_forms()) {
    if (form.encrypt_then_mac) continue;
    const size_t mac = form.suite->mac_key_length;
    for (const size_t body : {size_t{96}, size_t{320}, size_t{512}, size_t{1440}}) {
      for (const size_t copies : {1, 20}) {
        const CbcCase with = random_case(random, form);
        Calls first;
        for (int padding = 0; padding < 256; ++padding) {
          if (body < mac + 1 + static_cast<size_t>(padding)) break;
          const ByteVector plaintext =
              random_bytes(random, body - mac - 1 - static_cast<size_t>(padding));
          for (const CbcFlaws& flaws :
               {CbcFlaws{.padding_length = padding},
                CbcFlaws{.padding_length = padding, .wrong_mac_byte = 3},
                CbcFlaws{.padding_length = padding, .wrong_padding_byte = padding}}) {
            bool ok = false;
            const ByteVector sealed = reference_cbc_seal(with, plaintext, flaws);
            const Calls calls = calls_of(provider(), with, sealed, copies, ok);
            ASSERT_FALSE(calls.blocks.empty());
            if (first.blocks.empty()) first = calls;
            ASSERT_EQ(calls, first) << form.suite->iana_name << ", padding " << padding;
            ASSERT_EQ(ok, flaws.wrong_mac_byte < 0 && flaws.wrong_padding_byte < 0);
          }
        }
      }
    }
  }
}

// The lanes read whole vectors and whole blocks; none may lie outside the fragment.
TEST_P(CbcSecret, NoByteBehindOrBeforeTheFragmentIsTouched) {
  std::mt19937_64 random(20260121);
  test::GuardedMemory memory;
  for (const CbcForm& form : all_cbc_forms()) {
    for (size_t length = 0; length <= 400; length += 1 + length / 16) {
      const CbcCase with = random_case(random, form);
      const ByteVector plaintext = random_bytes(random, length);
      const ByteVector sealed = reference_cbc_seal(with, plaintext);
      CbcHmacKey key;
      test::expand(key, provider(), with);
      for (uint8_t* fragment : {memory.end_of(sealed.size()), memory.start()}) {
        std::copy(plaintext.begin(), plaintext.end(),
                  fragment + cbc_plaintext_offset(with.version));
        CbcSealJob seal{test::record_of(with, key, fragment), static_cast<uint32_t>(length)};
        seal_batch(provider(), {&seal, 1});
        ASSERT_TRUE(std::equal(sealed.begin(), sealed.end(), fragment));
        CbcOpenJob open{test::record_of(with, key, fragment), static_cast<uint32_t>(sealed.size()),
                        false, 0, 0};
        open_batch(provider(), {&open, 1});
        ASSERT_TRUE(open.ok);
        ASSERT_TRUE(
            std::equal(plaintext.begin(), plaintext.end(), fragment + open.plaintext_offset));
      }
    }
  }
}

}  // namespace
}  // namespace sluice::crypto
