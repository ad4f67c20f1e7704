// A worker's counters. Each worker owns its array and adds to it without atomics; about every
// millisecond it publishes a copy to the region (region.h), where control reads it.
#pragma once

#include <array>
#include <cstdint>

#include "abi/close_reason.h"

namespace sluice::abi {

enum class Counter : uint16_t {
#define SLUICE_COUNTER(name, text) name,
#define SLUICE_GAUGE(name, text) name,
#include "abi/counters.def"
#undef SLUICE_GAUGE
#undef SLUICE_COUNTER
#define SLUICE_CLOSE_REASON(name, text) close_##name,
#include "abi/close_reasons.def"
#undef SLUICE_CLOSE_REASON
  count_
};
inline constexpr uint16_t kCounters = static_cast<uint16_t>(Counter::count_);

struct CounterInfo {
  const char* name;
  const char* help;
  bool gauge;
};

inline constexpr std::array<CounterInfo, kCounters> kCounterInfo = {{
#define SLUICE_COUNTER(name, text) {#name, text, false},
#define SLUICE_GAUGE(name, text) {#name, text, true},
#include "abi/counters.def"
#undef SLUICE_GAUGE
#undef SLUICE_COUNTER
#define SLUICE_CLOSE_REASON(name, text) {"close_" #name, text, false},
#include "abi/close_reasons.def"
#undef SLUICE_CLOSE_REASON
}};

class Counters {
 public:
  void add(Counter counter, uint64_t amount = 1) { values_[index(counter)] += amount; }
  void subtract(Counter counter, uint64_t amount = 1) { values_[index(counter)] -= amount; }
  void set(Counter counter, uint64_t value) { values_[index(counter)] = value; }
  uint64_t get(Counter counter) const { return values_[index(counter)]; }
  void count_close(CloseReason reason) {
    values_[index(Counter::close_none) + static_cast<uint16_t>(reason)] += 1;
  }
  const std::array<uint64_t, kCounters>& values() const { return values_; }

 private:
  static constexpr uint16_t index(Counter counter) { return static_cast<uint16_t>(counter); }
  std::array<uint64_t, kCounters> values_{};
};

}  // namespace sluice::abi
