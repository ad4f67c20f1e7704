// Theory of operation. OpenSSL hands a pointer and no size to its free function; malloc_usable_size
// says how much the block really has, all of which may hold what an earlier, larger use left.
#include "control/memory.h"

#include <malloc.h>
#include <openssl/crypto.h>

#include <cstdlib>
#include <cstring>

namespace sluice::control {
namespace {

void* plain_malloc(size_t size, const char*, int) {
  return size == 0 ? nullptr : std::malloc(size);
}

void wiping_free(void* memory, const char*, int) {
  if (memory == nullptr) return;
  crypto::secure_zero(memory, malloc_usable_size(memory));
  std::free(memory);
}

// realloc(3) would leave the old block unwiped whenever it moves it.
void* wiping_realloc(void* memory, size_t size, const char* file, int line) {
  if (memory == nullptr) return plain_malloc(size, file, line);
  if (size == 0) {
    wiping_free(memory, file, line);
    return nullptr;
  }
  const size_t have = malloc_usable_size(memory);
  void* const moved = std::malloc(size);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, memory, have < size ? have : size);
  wiping_free(memory, file, line);
  return moved;
}

}  // namespace

bool install_wiping_allocator() {
  return CRYPTO_set_mem_functions(plain_malloc, wiping_realloc, wiping_free) == 1;
}

}  // namespace sluice::control
