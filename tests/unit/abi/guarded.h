// Memory whose first and last byte border on pages that fault: a read or write outside of it ends
// the test, with or without a sanitizer.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "abi/assert.h"

namespace sluice::abi::test {

// One T, zeroed, that ends exactly where the guard page begins.
template <class T>
class Guarded {
 public:
  Guarded() : bytes_((sizeof(T) + kPageBytes - 1) / kPageBytes * kPageBytes) {
    void* const mapped =
        mmap(nullptr, bytes_ + 2 * kPageBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SLUICE_ASSERT(mapped != MAP_FAILED);
    mapped_ = static_cast<uint8_t*>(mapped);
    SLUICE_ASSERT(mprotect(mapped_ + kPageBytes, bytes_, PROT_READ | PROT_WRITE) == 0);
  }
  ~Guarded() { munmap(mapped_, bytes_ + 2 * kPageBytes); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T* get() const {
    static_assert(sizeof(T) % alignof(T) == 0);
    return reinterpret_cast<T*>(mapped_ + kPageBytes + bytes_ - sizeof(T));
  }
  T* operator->() const { return get(); }
  T& operator*() const { return *get(); }

 private:
  static constexpr size_t kPageBytes = 4096;
  size_t bytes_;
  uint8_t* mapped_;
};

}  // namespace sluice::abi::test
