// Bytes that must not outlive their use.
//
// `Secret<Capacity>` keeps up to Capacity bytes inside itself (no heap, so nothing stays behind in
// freed memory), can be moved but not copied, and wipes itself when moved from, overwritten or
// destroyed. `secure_zero` is the wipe that compilers keep; `equal_constant_time` the comparison
// whose duration tells nothing about the contents.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace sluice::crypto {

// Zeroes `length` bytes. The empty asm claims to read the memory, so that the stores are not dead.
// Small things of constant length are wiped by plain stores: compilers make `rep stos` of such a
// memset, which takes longer to start than these take to end.
inline void secure_zero(void* data, size_t length) {
  using Vector = uint8_t __attribute__((vector_size(32)));
  constexpr size_t kSmall = 512;
  if (length == 0) return;
  if (__builtin_constant_p(length) && length >= sizeof(Vector) && length <= kSmall) {
    auto* bytes = static_cast<uint8_t*>(data);
    const Vector zeros = {};
    for (size_t at = 0; at + sizeof(Vector) < length; at += sizeof(Vector)) {
      std::memcpy(bytes + at, &zeros, sizeof(Vector));
      __asm__ __volatile__("" : : "r"(bytes + at) : "memory");
    }
    std::memcpy(bytes + length - sizeof(Vector), &zeros, sizeof(Vector));
  } else {
    std::memset(data, 0, length);
  }
  __asm__ __volatile__("" : : "r"(data) : "memory");
}

// True when both ranges hold the same bytes; looks at every byte whatever it finds. The length is
// public.
[[nodiscard]] inline bool equal_constant_time(const uint8_t* a, const uint8_t* b, size_t length) {
  uint32_t difference = 0;
  for (size_t i = 0; i < length; ++i) {
    difference |= static_cast<uint32_t>(a[i] ^ b[i]);
    // Without this a compiler may leave the loop as soon as the result is decided.
    __asm__ __volatile__("" : "+r"(difference));
  }
  return difference == 0;
}

template <size_t Capacity>
class Secret {
 public:
  Secret() = default;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  Secret(Secret&& other) noexcept { take(other); }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      wipe();
      take(other);
    }
    return *this;
  }
  ~Secret() { wipe(); }

  // Replaces the contents. False, and empty, when `source` does not fit. `source` may not lie in
  // this object.
  [[nodiscard]] bool assign(std::span<const uint8_t> source) {
    wipe();
    if (source.size() > Capacity) return false;
    if (!source.empty()) std::memcpy(bytes_, source.data(), source.size());
    size_ = source.size();
    return true;
  }

  // Makes room for `size` zero bytes, for a derivation to fill through `mutable_span`. False, and
  // empty, when that is more than the capacity.
  [[nodiscard]] bool resize_zeroed(size_t size) {
    wipe();
    if (size > Capacity) return false;
    size_ = size;
    return true;
  }

  void wipe() {
    secure_zero(bytes_, Capacity);
    size_ = 0;
  }

  [[nodiscard]] const uint8_t* data() const { return bytes_; }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::span<const uint8_t> span() const { return {bytes_, size_}; }
  [[nodiscard]] std::span<uint8_t> mutable_span() { return {bytes_, size_}; }

 private:
  void take(Secret& other) {
    std::memcpy(bytes_, other.bytes_, Capacity);
    size_ = other.size_;
    other.wipe();
  }

  size_t size_ = 0;
  uint8_t bytes_[Capacity] = {};
};

}  // namespace sluice::crypto
