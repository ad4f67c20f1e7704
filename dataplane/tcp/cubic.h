// CUBIC's arithmetic, for cubic.cc and its test. RFC 9438 4.2.
#pragma once

#include <cstdint>

namespace sluice::tcp {

// The largest number whose cube is at most `value`.
uint32_t cube_root(uint64_t value);
// K: how long the window takes to come back by `distance_bytes`, at most kMaxWindowBytes.
uint32_t cubic_k_ms(uint32_t distance_bytes, uint32_t mss_bytes);
// C * (t - K)^3: where the window is, seen from the plateau. What is too long ago for any window
// is bounded.
int64_t cubic_distance_bytes(int64_t from_k_ms, uint32_t mss_bytes);

}  // namespace sluice::tcp
