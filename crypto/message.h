// A bounded message on the stack, for what goes into a hash. For the files of this folder.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "crypto/secret.h"

namespace sluice::crypto {

// A bounded byte string on the stack that is built piece by piece and wiped at its end. An append
// that does not fit makes `ok` false for good, to be looked at once.
template <size_t Capacity>
class Message {
 public:
  Message() = default;
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  ~Message() { secure_zero(bytes_, Capacity); }

  void append(std::span<const uint8_t> bytes) {
    if (bytes.size() > Capacity - length_) {
      ok_ = false;
      return;
    }
    if (!bytes.empty()) std::memcpy(bytes_ + length_, bytes.data(), bytes.size());
    length_ += bytes.size();
  }
  void append(std::string_view text) {
    append(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
  }
  void append(uint8_t byte) { append(std::span<const uint8_t>(&byte, 1)); }
  void append_repeated(uint8_t byte, size_t count) {
    for (size_t i = 0; i < count; ++i) append(byte);
  }
  void clear() { length_ = 0; }

  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::span<const uint8_t> bytes() const { return {bytes_, length_}; }
  [[nodiscard]] std::span<uint8_t> mutable_bytes() { return {bytes_, length_}; }

 private:
  uint8_t bytes_[Capacity];
  size_t length_ = 0;
  bool ok_ = true;
};

}  // namespace sluice::crypto
