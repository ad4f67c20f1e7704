// Memory between two inaccessible pages, for code that no sanitizer sees into.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>

#include "vectors.h"

namespace sluice::crypto::test {

// A page that can be used. `end_of(n)` gives n bytes that end at its edge.
class GuardedMemory {
 public:
  GuardedMemory() : page_bytes_(static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
    void* mapped = mmap(nullptr, 3 * page_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::runtime_error("mmap failed");
    base_ = static_cast<uint8_t*>(mapped);
    if (mprotect(start(), page_bytes_, PROT_READ | PROT_WRITE) != 0) {
      throw std::runtime_error("mprotect failed");
    }
  }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;
  ~GuardedMemory() { munmap(base_, 3 * page_bytes_); }

  uint8_t* start() { return base_ + page_bytes_; }
  uint8_t* end_of(size_t length) { return base_ + 2 * page_bytes_ - length; }
  uint8_t* copy_of(const ByteVector& bytes) {
    return std::copy_backward(bytes.begin(), bytes.end(), base_ + 2 * page_bytes_);
  }

 private:
  size_t page_bytes_;
  uint8_t* base_;
};

}  // namespace sluice::crypto::test
