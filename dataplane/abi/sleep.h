// The sleep protocol between a producer and the sleeper at the other end of its rings, the same in
// both directions (WorkerBlock::sleeping, EndpointBlock::sleeping).
//
//   sleeper                                   producer
//     announce_sleep(sleeping)                  push, push, ...
//     look at all rings once more               if (must_wake(sleeping)) wake(socket)
//     wait on the wake socket, if all empty
//     end_sleep(sleeping), drain_wake(socket)
//
// Each side writes its own word, fences, and reads the other's. Of the two fences one comes first
// in their total order: the producer's, and then the sleeper sees the message, or the sleeper's,
// and then the producer sees the flag. So no wake-up is lost.
#pragma once

#include <atomic>
#include <cstdint>

namespace sluice::abi {

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SLUICE_THREAD_SANITIZER 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define SLUICE_THREAD_SANITIZER 1
#endif

// Orders all stores before it against all loads behind it.
inline void full_fence() {
#if defined(SLUICE_THREAD_SANITIZER)
  // ThreadSanitizer does not know fences, and gcc refuses them under it. On x86-64 any locked
  // instruction is one.
  std::atomic<uint32_t> local{0};
  local.fetch_add(1, std::memory_order_seq_cst);
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

inline void announce_sleep(std::atomic<uint32_t>& sleeping) {
  sleeping.store(1, std::memory_order_relaxed);
  full_fence();  // pairs with must_wake's
}

inline void end_sleep(std::atomic<uint32_t>& sleeping) {
  sleeping.store(0, std::memory_order_relaxed);
}

inline bool must_wake(const std::atomic<uint32_t>& sleeping) {
  full_fence();  // pairs with announce_sleep's
  return sleeping.load(std::memory_order_relaxed) != 0;
}

}  // namespace sluice::abi
