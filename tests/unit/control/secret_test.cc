// After a hand-over nothing of the keys may be left in the process's writable memory but on stacks:
// the worker is the only one who has them.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "control/memory.h"
#include "harness.h"

namespace sluice::control::testing {
namespace {

// As in main(): before the first use of OpenSSL.
const bool kWiping = install_wiping_allocator();

constexpr uint8_t kMask = 0x5a;

// What is searched for must not be found in the needle itself: it is kept masked.
struct Needle {
  std::string masked;
  explicit Needle(std::span<const uint8_t> secret) {
    for (const uint8_t byte : secret) masked += static_cast<char>(byte ^ kMask);
  }
  bool matches(const uint8_t* at) const {
    for (size_t i = 0; i < masked.size(); ++i) {
      if (static_cast<uint8_t>(at[i] ^ kMask) != static_cast<uint8_t>(masked[i])) return false;
    }
    return true;
  }
};

size_t count_in_memory(const Needle& needle) {
  size_t found = 0;
  std::ifstream maps("/proc/self/maps");
  std::string line;
  while (std::getline(maps, line)) {
    uintptr_t begin = 0;
    uintptr_t end = 0;
    char permissions[5] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, permissions) != 3) continue;
    const bool skip = line.find("[stack") != std::string::npos ||
                      line.find("[v") != std::string::npos || permissions[1] != 'w' ||
                      permissions[0] != 'r';
    if (skip) continue;
    const auto* bytes = reinterpret_cast<const uint8_t*>(begin);
    for (size_t at = 0; at + needle.masked.size() <= end - begin; ++at) {
      if (needle.matches(bytes + at)) ++found;
    }
  }
  return found;
}

std::string hex(std::span<const uint8_t> bytes) {
  std::string out;
  for (const uint8_t byte : bytes) {
    char text[3];
    std::snprintf(text, sizeof text, "%02x", byte);
    out += text;
  }
  return out;
}

Needle hex_needle(std::span<const uint8_t> secret) {
  std::string text = hex(secret);
  const Needle needle({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  crypto::secure_zero(text.data(), text.size());
  return needle;
}

TEST(Secrets, AreNotLeftInMemory) {
  ASSERT_TRUE(kWiping);
  Harness harness;
  for (const uint16_t version : {uint16_t{TLS1_3_VERSION}, uint16_t{TLS1_2_VERSION}}) {
    std::vector<Needle> needles;
    FakeFlow& flow = harness.worker.begin();
    {
      ClientOptions options;
      options.version = version;
      Client client(options);
      harness.run(client, flow);
      ASSERT_TRUE(flow.keys.has_value());
      for (const abi::DirectionKeys* keys : {&flow.keys->open, &flow.keys->seal}) {
        const auto secret = version == TLS1_3_VERSION ? std::span(keys->secret, keys->secret_length)
                                                      : std::span(keys->key, keys->key_length);
        needles.emplace_back(secret);
        needles.push_back(hex_needle(secret));
        EXPECT_GE(count_in_memory(Needle(secret)), 1U);  // the worker's own: the scan works
      }
    }
    crypto::secure_zero(&*flow.keys, sizeof *flow.keys);
    for (const Needle& needle : needles) EXPECT_EQ(count_in_memory(needle), 0U);
  }
}

}  // namespace
}  // namespace sluice::control::testing
