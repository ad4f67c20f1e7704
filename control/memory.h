// Keeping secrets out of memory that outlives them.
//
// OpenSSL leaves secrets in freed heap: `install_wiping_allocator` makes it zero every block that
// it frees or moves. It must be the very first call into OpenSSL.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "crypto/secret.h"

namespace sluice::control {

// False when OpenSSL has allocated already.
[[nodiscard]] bool install_wiping_allocator();

// For containers whose bytes must not stay behind when they grow or die.
template <class T>
struct WipingAllocator {
  using value_type = T;
  WipingAllocator() = default;
  template <class U>
  explicit WipingAllocator(const WipingAllocator<U>&) {}
  T* allocate(size_t count) { return std::allocator<T>().allocate(count); }
  void deallocate(T* memory, size_t count) {
    crypto::secure_zero(memory, count * sizeof(T));
    std::allocator<T>().deallocate(memory, count);
  }
  friend bool operator==(const WipingAllocator&, const WipingAllocator&) { return true; }
};
using SecretBytes = std::vector<uint8_t, WipingAllocator<uint8_t>>;

}  // namespace sluice::control
