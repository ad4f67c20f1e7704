// Names of the reasons for which a flow ends. The list is close_reasons.def.
#pragma once

#include <cstdint>

namespace sluice::abi {

enum class CloseReason : uint16_t {
#define SLUICE_CLOSE_REASON(name, text) name,
#include "abi/close_reasons.def"
#undef SLUICE_CLOSE_REASON
  count_
};
inline constexpr uint16_t kCloseReasons = static_cast<uint16_t>(CloseReason::count_);

// `value` assumed in [0, kCloseReasons); other values give "unknown".
constexpr const char* close_reason_name(uint16_t value) {
  constexpr const char* kNames[] = {
#define SLUICE_CLOSE_REASON(name, text) #name,
#include "abi/close_reasons.def"
#undef SLUICE_CLOSE_REASON
  };
  return value < kCloseReasons ? kNames[value] : "unknown";
}

constexpr const char* close_reason_text(uint16_t value) {
  constexpr const char* kTexts[] = {
#define SLUICE_CLOSE_REASON(name, text) text,
#include "abi/close_reasons.def"
#undef SLUICE_CLOSE_REASON
  };
  return value < kCloseReasons ? kTexts[value] : "an unknown reason";
}

}  // namespace sluice::abi
