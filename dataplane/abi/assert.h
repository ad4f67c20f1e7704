// SLUICE_ASSERT holds in release builds too. It is for programming errors alone: whatever comes
// from a packet, a record, a ring or a file is validated and refused, never asserted.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace sluice::abi {

[[noreturn]] inline void assertion_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expression);
  std::abort();
}

}  // namespace sluice::abi

#define SLUICE_ASSERT(expression)                     \
  (__builtin_expect(static_cast<bool>(expression), 1) \
       ? static_cast<void>(0)                         \
       : ::sluice::abi::assertion_failed(#expression, __FILE__, __LINE__))
