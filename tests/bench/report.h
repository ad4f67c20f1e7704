// What a benchmark says: rows with figures, some of which have a bar; a table for people, or JSON
// (Google Benchmark's own); an exit code when a bar is missed.
#pragma once

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

namespace sluice::bench {

// A column of the table: a counter of the benchmark's, by its name.
struct Column {
  const char* counter;
  const char* title;
  int decimals;
};

struct ReportOptions {
  std::vector<Column> columns;
  bool json = false;
  bool check = false;  // a missed bar makes the exit code 1
};

// A figure that must not be above or below something. Kept in the benchmark's counters as
// "<name>" with "<name>:at_most" or "<name>:at_least".
void at_most(benchmark::State& state, const std::string& name, double value, double bar);
void at_least(benchmark::State& state, const std::string& name, double value, double bar);

// Runs everything that was registered. Returns the exit code.
int run(const ReportOptions& options);

}  // namespace sluice::bench
