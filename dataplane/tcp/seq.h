// Arithmetic on sequence numbers, modulo 2^32. RFC 9293 3.4.
#pragma once

#include <cstdint>

namespace sluice::tcp {

inline bool seq_less(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) < 0; }
inline bool seq_leq(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) <= 0; }
inline uint32_t seq_max(uint32_t a, uint32_t b) { return seq_less(a, b) ? b : a; }
inline uint32_t seq_min(uint32_t a, uint32_t b) { return seq_less(a, b) ? a : b; }

}  // namespace sluice::tcp
