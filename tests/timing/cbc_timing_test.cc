// Does the time of opening a MAC-then-encrypt record tell what was inside?
//
// The method is dudect's: two classes of records of one public length, in random order, each
// opening timed by the time-stamp counter; then Welch's t over both classes, once with the slowest
// tenth of all measurements cut off (interrupts, other processes) and once with the slower half.
// |t| below 4.5 is no evidence of a difference. A leaky opening, whose hash takes as long as the
// plaintext is, goes through the same and has to be found: else silence would prove nothing.
//
//   cbc_timing_test [--measurements N]     N for each pair of classes
#include <x86intrin.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>

#include "cbc_reference.h"
#include "crypto/cbc_hmac.h"
#include "crypto/mac_lanes.h"
#include "crypto/provider.h"

namespace sluice::crypto {
namespace {

using test::ByteVector;
using test::CbcCase;
using test::CbcFlaws;

constexpr double kMostT = 4.5;
constexpr double kLeakT = 4 * kMostT;
constexpr double kCertainT = 1e6;
constexpr size_t kBodyBytes = 512;  // MAC and the longest padding fit, with plaintext to spare
constexpr size_t kRecordsOfClass = 64;

// How the records of one class are made; the padding is within the two bounds.
struct Class {
  const char* name;
  int least_padding;
  int most_padding;
  bool wrong_mac;
  bool wrong_padding;
  bool too_much_padding;  // all bytes are padding, of a length that leaves no room for a MAC
};
constexpr Class kGoodShort{"good, padding 0 to 15", 0, 15, false, false, false};
constexpr Class kGoodLong{"good, padding 240 to 255", 240, 255, false, false, false};
constexpr Class kWrongMacShort{"wrong MAC, padding 0 to 15", 0, 15, true, false, false};
constexpr Class kWrongMacLong{"wrong MAC, padding 240 to 255", 240, 255, true, false, false};
constexpr Class kWrongPadding{"wrong padding", 1, 255, false, true, false};
constexpr Class kWrongMac{"wrong MAC", 1, 255, true, false, false};
constexpr Class kAllPadding{"padding without end", 255, 255, false, false, true};

struct Pair {
  Class first;
  Class second;
};
constexpr Pair kPairs[] = {
    {kGoodShort, kGoodLong},      {kWrongMacShort, kWrongMacLong}, {kGoodLong, kWrongMacLong},
    {kGoodShort, kWrongMacShort}, {kWrongPadding, kWrongMac},      {kAllPadding, kWrongMac},
};

int between(std::mt19937_64& random, int least, int most) {
  return least + static_cast<int>(random() % static_cast<uint64_t>(most - least + 1));
}

ByteVector random_bytes(std::mt19937_64& random, size_t length) {
  ByteVector bytes(length);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

ByteVector make_record(std::mt19937_64& random, CbcCase with, const Class& of) {
  with.iv = random_bytes(random, kCbcBlockLength);
  if (of.too_much_padding) {
    ByteVector body(kBodyBytes, 255);
    body[0] = static_cast<uint8_t>(random());
    // The last byte alone says so; what it stands for is checked as far as a padding can reach.
    for (size_t i = kBodyBytes / 2; i + 1 < kBodyBytes; ++i)
      body[i] = static_cast<uint8_t>(random());
    ByteVector fragment = with.iv;
    const ByteVector encrypted = test::reference_cbc_encrypt(with, body);
    fragment.insert(fragment.end(), encrypted.begin(), encrypted.end());
    return fragment;
  }
  CbcFlaws flaws{.padding_length = between(random, of.least_padding, of.most_padding)};
  const size_t mac = with.suite->mac_key_length;
  if (of.wrong_mac) flaws.wrong_mac_byte = between(random, 0, static_cast<int>(mac) - 1);
  if (of.wrong_padding) flaws.wrong_padding_byte = between(random, 1, flaws.padding_length);
  const size_t plaintext = kBodyBytes - mac - 1 - static_cast<size_t>(flaws.padding_length);
  return test::reference_cbc_seal(with, random_bytes(random, plaintext), flaws);
}

using Open = std::function<void(CbcOpenJob&)>;

struct Samples {
  std::vector<uint64_t> cycles[2];
};

// Class by class in random order, each record copied to the same place before the clock starts.
Samples measure(std::mt19937_64& random, const Open& open, const CbcCase& with,
                const CbcHmacKey& key, const Pair& pair, size_t measurements) {
  std::vector<ByteVector> records[2];
  for (size_t i = 0; i < kRecordsOfClass; ++i) {
    records[0].push_back(make_record(random, with, pair.first));
    records[1].push_back(make_record(random, with, pair.second));
  }
  ByteVector fragment(records[0][0].size());
  Samples samples;
  for (size_t i = 0; i < measurements; ++i) {
    const uint64_t draw = random();
    const size_t which = draw % 2;
    const ByteVector& record = records[which][(draw >> 1) % kRecordsOfClass];
    std::copy(record.begin(), record.end(), fragment.begin());
    CbcOpenJob job{{&key, with.sequence, with.type, with.version, false, fragment.data(), {}},
                   static_cast<uint32_t>(fragment.size()),
                   false,
                   0,
                   0};
    _mm_lfence();
    const uint64_t start = __rdtsc();
    _mm_lfence();
    open(job);
    _mm_lfence();
    samples.cycles[which].push_back(__rdtsc() - start);
  }
  return samples;
}

struct Moments {
  double count = 0;
  double mean = 0;
  double squares = 0;  // of the distances from the mean
  void add(double value) {
    count += 1;
    const double distance = value - mean;
    mean += distance / count;
    squares += distance * (value - mean);
  }
  double variance() const { return squares / (count - 1); }
};

// Welch's t of what is left below the pooled quantile.
double welch(const Samples& samples, double quantile) {
  std::vector<uint64_t> all = samples.cycles[0];
  all.insert(all.end(), samples.cycles[1].begin(), samples.cycles[1].end());
  const auto at = all.begin() + static_cast<ptrdiff_t>(quantile * static_cast<double>(all.size()));
  std::nth_element(all.begin(), at, all.end());
  Moments moments[2];
  for (size_t which = 0; which < 2; ++which) {
    for (const uint64_t cycles : samples.cycles[which]) {
      if (cycles <= *at) moments[which].add(static_cast<double>(cycles));
    }
  }
  // Hardly any of one class are among the fast ones: nothing can be clearer.
  if (std::min(moments[0].count, moments[1].count) < 100) return kCertainT;
  const double spread =
      moments[0].variance() / moments[0].count + moments[1].variance() / moments[1].count;
  return spread == 0 ? 0 : (moments[0].mean - moments[1].mean) / std::sqrt(spread);
}

double worst_t(const Samples& samples) {
  const double most = welch(samples, 0.9);
  const double half = welch(samples, 0.5);
  return std::fabs(most) > std::fabs(half) ? most : half;
}

// What an implementation does that hashes as much as the padding leaves.
void leaky_open(const Provider& provider, CbcOpenJob& job) {
  open_batch(provider, {&job, 1});
  MacJob mac;
  mac.key = job.record.key;
  std::memset(mac.header, 0, sizeof(mac.header));
  mac.message = job.record.fragment;
  mac.max_length = job.plaintext_length;
  mac.length = job.plaintext_length;
  mac.length_is_secret = false;
  mac_batch(provider.sha_kernels(), {&mac, 1});
}

int run(size_t measurements) {
  const auto provider = Provider::create();
  if (!provider) return 2;
  const uint64_t seed = std::random_device{}();
  std::mt19937_64 random(seed);
  std::printf("%.*s, %zu measurements a pair, seed %llu\n",
              static_cast<int>(provider->arch_name().size()), provider->arch_name().data(),
              measurements, static_cast<unsigned long long>(seed));
  const Open open = [&](CbcOpenJob& job) { open_batch(*provider, {&job, 1}); };
  const Open leaky = [&](CbcOpenJob& job) { leaky_open(*provider, job); };
  int failures = 0;
  constexpr uint16_t kSuites[] = {0x002f, 0x003c, 0xc024};
  for (const uint16_t id : kSuites) {
    CbcCase with;
    with.suite = find_suite(id);
    with.key = random_bytes(random, with.suite->key_length);
    with.mac_key = random_bytes(random, with.suite->mac_key_length);
    CbcHmacKey key;
    if (!key.expand(*provider, *with.suite, with.key, with.mac_key)) return 2;
    for (const Pair& pair : kPairs) {
      const double t = worst_t(measure(random, open, with, key, pair, measurements));
      const bool good = std::fabs(t) < kMostT;
      failures += good ? 0 : 1;
      std::printf("%-4s t %7.2f  %s: %s | %s\n", good ? "ok" : "LEAK", t,
                  with.suite->openssl_name.data(), pair.first.name, pair.second.name);
    }
    const size_t few = std::min<size_t>(measurements, 20000);
    const double t = worst_t(measure(random, leaky, with, key, kPairs[0], few));
    const bool found = std::fabs(t) > kLeakT;
    failures += found ? 0 : 1;
    std::printf("%-4s t %7.2f  %s: the leaky opening is found\n", found ? "ok" : "MISS", t,
                with.suite->openssl_name.data());
  }
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace sluice::crypto

int main(int argc, char** argv) {
  size_t measurements = 60000;
  if (argc == 3 && std::strcmp(argv[1], "--measurements") == 0) {
    measurements = std::strtoull(argv[2], nullptr, 10);
  } else if (argc != 1) {
    std::fprintf(stderr, "usage: %s [--measurements N]\n", argv[0]);
    return 2;
  }
  return sluice::crypto::run(std::max<size_t>(measurements, 1000));
}
