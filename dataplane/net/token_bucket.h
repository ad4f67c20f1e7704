// A rate limit without locks or timers: time is handed in.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sluice::net {

class TokenBucket {
 public:
  constexpr TokenBucket(uint32_t per_second, uint32_t burst)
      : token_us_(1'000'000 / per_second), burst_(burst), tokens_(burst) {}

  // False: too many, too fast.
  bool take(uint64_t now_us) {
    const uint64_t earned = now_us > filled_us_ ? (now_us - filled_us_) / token_us_ : 0;
    tokens_ = std::min(burst_, tokens_ + earned);
    filled_us_ += earned * token_us_;
    if (tokens_ == 0) return false;
    --tokens_;
    return true;
  }

 private:
  uint64_t token_us_;
  uint64_t burst_;
  uint64_t tokens_;
  uint64_t filled_us_ = 0;
};

}  // namespace sluice::net
