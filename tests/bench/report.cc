#include "report.h"

#include <cstdio>

#include "cycles.h"

namespace sluice::bench {
namespace {

const std::string kAtMost = ":at_most";
const std::string kAtLeast = ":at_least";

struct Miss {
  std::string benchmark;
  std::string text;
};

// A bar of one run and what came of it.
struct Bar {
  std::string name;
  double value = 0;
  double bar = 0;
  bool upper = false;
  bool held() const { return upper ? value <= bar : value >= bar; }
  std::string text() const {
    char line[160];
    std::snprintf(line, sizeof line, "%s %.2f (at %s %.2f%s)", name.c_str(), value,
                  upper ? "most" : "least", bar, held() ? "" : ": MISSED");
    return line;
  }
};

std::vector<Bar> bars_of(const benchmark::UserCounters& counters) {
  std::vector<Bar> bars;
  for (const auto& [key, counter] : counters) {
    for (const std::string& suffix : {kAtMost, kAtLeast}) {
      if (key.size() <= suffix.size() || !key.ends_with(suffix)) continue;
      const std::string name = key.substr(0, key.size() - suffix.size());
      bars.push_back({name, counters.at(name).value, counter.value, suffix == kAtMost});
    }
  }
  return bars;
}

class TableReporter : public benchmark::BenchmarkReporter {
 public:
  explicit TableReporter(const std::vector<Column>& columns) : columns_(columns) {}

  bool ReportContext(const Context&) override {
    std::printf("%-36s", "");
    for (const Column& column : columns_) std::printf(" %*s", kWidth, column.title);
    std::printf("\n");
    return true;
  }

  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.error_occurred) {
        std::printf("%-36s %s\n", run.benchmark_name().c_str(), run.error_message.c_str());
        misses.push_back({run.benchmark_name(), run.error_message});
        continue;
      }
      row(run.run_name.function_name, run.counters);
    }
    std::fflush(stdout);
  }

  std::vector<Miss> misses;

 private:
  static constexpr int kWidth = 10;

  void row(const std::string& name, const benchmark::UserCounters& counters) {
    std::printf("%-36s", name.c_str());
    for (const Column& column : columns_) {
      const auto found = counters.find(column.counter);
      if (found == counters.end()) {
        std::printf(" %*s", kWidth, "");
      } else {
        std::printf(" %*.*f", kWidth, column.decimals, found->second.value);
      }
    }
    for (const Bar& bar : bars_of(counters)) {
      std::printf("  %s", bar.text().c_str());
      if (!bar.held()) misses.push_back({name, bar.text()});
    }
    std::printf("\n");
  }

  std::vector<Column> columns_;
};

// JSON for machines; the bars are looked at all the same.
class CheckedJson : public benchmark::JSONReporter {
 public:
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      const std::string name = run.run_name.function_name;
      if (run.error_occurred) misses.push_back({name, run.error_message});
      for (const Bar& bar : bars_of(run.counters)) {
        if (!bar.held()) misses.push_back({name, bar.text()});
      }
    }
    JSONReporter::ReportRuns(runs);
  }

  std::vector<Miss> misses;
};

}  // namespace

double cycles_per_second() {
  static const double rate = [] {
    timespec begin{};
    timespec end{};
    clock_gettime(CLOCK_MONOTONIC, &begin);
    const uint64_t first = cycles();
    double seconds = 0;
    do {
      clock_gettime(CLOCK_MONOTONIC, &end);
      seconds = static_cast<double>(end.tv_sec - begin.tv_sec) +
                static_cast<double>(end.tv_nsec - begin.tv_nsec) * 1e-9;
    } while (seconds < 0.02);
    return static_cast<double>(cycles() - first) / seconds;
  }();
  return rate;
}

void at_most(benchmark::State& state, const std::string& name, double value, double bar) {
  state.counters[name] = value;
  state.counters[name + kAtMost] = bar;
}

void at_least(benchmark::State& state, const std::string& name, double value, double bar) {
  state.counters[name] = value;
  state.counters[name + kAtLeast] = bar;
}

int run(const ReportOptions& options) {
  TableReporter table(options.columns);
  CheckedJson json;
  benchmark::BenchmarkReporter* const reporter =
      options.json ? static_cast<benchmark::BenchmarkReporter*>(&json) : &table;
  benchmark::RunSpecifiedBenchmarks(reporter);
  const std::vector<Miss>& misses = options.json ? json.misses : table.misses;
  for (const Miss& miss : misses) {
    std::fprintf(stderr, "missed: %s: %s\n", miss.benchmark.c_str(), miss.text.c_str());
  }
  return options.check && !misses.empty() ? 1 : 0;
}

}  // namespace sluice::bench
