// What the benchmarks measure with: the time stamp counter, and medians.
//
// The counter ticks at a fixed rate whatever the core's clock does, so a figure in cycles means
// cycles of that rate. Ratios of two figures of one run are what the bars are about.
#pragma once

#include <x86intrin.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace sluice::bench {

inline uint64_t cycles() { return __rdtsc(); }

// `values` is not empty.
inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 != 0 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// Ticks of the counter in a second, measured once.
double cycles_per_second();

}  // namespace sluice::bench
