// How fast one transfer is, over loss x round trip x buffer of the bottleneck, and whether several
// share. The table is kept in goodput.snapshot: everything is seeded and integer, so any difference
// is a change of behaviour. If it is wanted:
//   SLUICE_UPDATE=1 build/.../tcp_goodput_test --gtest_filter='*Snapshot'
// An AddressSanitizer build computes some cells only.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "dumbbell.h"

namespace sluice::testbed {
namespace {

using tcp::kSecond;
using tcp::Micros;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSlow = true;
#elif defined(__has_feature)
constexpr bool kSlow = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kSlow = false;
#endif

constexpr uint64_t kBytesPerSecond = 12'500'000;  // 100 Mbit/s
constexpr uint32_t kSeeds = 5;
constexpr double kMssBytes = 1448;
constexpr double kPacketBytes = 1508;

constexpr double kLosses[] = {0, 0.001, 0.01, 0.05};
constexpr uint32_t kRttsMs[] = {1, 20, 100};
constexpr struct {
  const char* name;
  uint32_t quarters;
} kBuffers[] = {{"1/4 BDP", 1}, {"1 BDP", 4}, {"4 BDP", 16}};

struct Cell {
  uint32_t rtt_ms;
  uint32_t buffer_quarters;  // of a BDP
  double loss;
};

// A bottleneck with a queue of so many quarters of a BDP, and nothing else in the way.
DumbbellSettings path(uint32_t rtt_ms, uint32_t buffer_quarters) {
  DumbbellSettings settings;
  settings.there.delay_us = settings.back.delay_us = rtt_ms * 1000 / 2;
  settings.there.bytes_per_second = kBytesPerSecond;
  settings.there.queue_bytes =
      static_cast<uint32_t>(kBytesPerSecond * rtt_ms / 1000 * buffer_quarters / 4);
  return settings;
}

DumbbellSettings settings_of(const Cell& cell) {
  DumbbellSettings settings = path(cell.rtt_ms, cell.buffer_quarters);
  settings.there.loss = cell.loss;
  // Some dozens of losses at least; a long path takes its time between them.
  settings.end_us = (10 + cell.rtt_ms / (cell.loss == 0 ? 2 : 1)) * kSecond;
  settings.transfers.resize(1);
  return settings;
}

// The median over the seeds.
double goodput(const Cell& cell) {
  std::vector<double> results;
  for (uint32_t seed = 1; seed <= (cell.loss == 0 ? 1 : kSeeds); ++seed) {
    DumbbellSettings settings = settings_of(cell);
    settings.seed = seed;
    results.push_back(Dumbbell(settings).run().transfers[0].mbit_per_second);
  }
  std::sort(results.begin(), results.end());
  return results[results.size() / 2];
}

// What the formulas give: the rate less headers, or RFC 9438 5.1 (figures 1 and 6) where loss
// limits.
double expected(const Cell& cell) {
  const double full = kBytesPerSecond * 8e-6 * kMssBytes / kPacketBytes * (1 - cell.loss);
  if (cell.loss == 0) return full;
  const double rtt = cell.rtt_ms / 1e3;
  const double reno = std::sqrt(1.5 / cell.loss);
  const double cubic = 1.054 * std::pow(rtt / cell.loss, 0.75);
  return std::min(full, std::max(reno, cubic) * kMssBytes * 8e-6 / rtt);
}

struct Row {
  std::string name;
  std::vector<Cell> cells;
  std::vector<double> results;
};

// Computed once.
const std::vector<Row>& table() {
  static const std::vector<Row> rows = [] {
    std::vector<Row> all;
    for (const uint32_t rtt_ms : kRttsMs) {
      for (const auto& buffer : kBuffers) {
        if (kSlow && (rtt_ms != 20 || buffer.quarters != 4)) continue;
        Row row;
        row.name = std::to_string(rtt_ms) + " ms, " + buffer.name;
        for (const double loss : kLosses) {
          row.cells.push_back({rtt_ms, buffer.quarters, loss});
          row.results.push_back(goodput(row.cells.back()));
        }
        all.push_back(row);
      }
    }
    return all;
  }();
  return rows;
}

std::string print(const Row& row) {
  char text[120];
  int length = std::snprintf(text, sizeof text, "%-16s", row.name.c_str());
  for (const double result : row.results) {
    length +=
        std::snprintf(text + length, sizeof text - static_cast<size_t>(length), "%8.2f", result);
  }
  return text;
}

constexpr char kTitle[] =
    "# Goodput in Mbit/s of one CUBIC transfer through 100 Mbit/s, by round trip and buffer of "
    "the\n"
    "# bottleneck, over the loss of what is sent. Written by goodput_test.cc.\n"
    "# loss                0 %   0.1 %     1 %     5 %\n";

void write_snapshot() {
  std::ofstream file(SLUICE_SNAPSHOT);
  file << kTitle;
  for (const Row& row : table()) file << print(row) << "\n";
  ASSERT_TRUE(file.good()) << SLUICE_SNAPSHOT;
}

TEST(Goodput, IsThatOfTheSnapshot) {
  if (std::getenv("SLUICE_UPDATE") != nullptr) {
    ASSERT_FALSE(kSlow) << "this build computes some cells only";
    write_snapshot();
    return;
  }
  std::ifstream file(SLUICE_SNAPSHOT);
  ASSERT_TRUE(file.good()) << SLUICE_SNAPSHOT;
  std::vector<std::string> kept;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line[0] != '#') kept.push_back(line);
  }
  std::string difference;
  for (const Row& row : table()) {
    const std::string now = print(row);
    if (std::find(kept.begin(), kept.end(), now) != kept.end()) continue;
    std::string then = "not there";
    for (const std::string& line : kept) {
      if (line.rfind(row.name + " ", 0) == 0) then = line;
    }
    difference += "was " + then + "\nis  " + now + "\n";
  }
  EXPECT_TRUE(difference.empty()) << "SLUICE_UPDATE=1 writes the snapshot anew\n" << difference;
}

// Whatever the snapshot says.
TEST(Goodput, IsNearWhatTheFormulasGive) {
  for (const Row& row : table()) {
    for (size_t i = 0; i < row.cells.size(); ++i) {
      const Cell& cell = row.cells[i];
      // Random loss comes in clusters that cost timeouts, and at 1 ms a timeout is 200 windows.
      const double least = cell.loss == 0     ? (cell.buffer_quarters == 1 ? 0.85 : 0.93)
                           : cell.loss < 0.05 ? 0.8
                           : cell.rtt_ms == 1 ? 0.5
                                              : 0.75;
      EXPECT_GT(row.results[i], least * expected(cell)) << row.name << ", loss " << cell.loss;
      EXPECT_LT(row.results[i], 1.6 * expected(cell)) << row.name << ", loss " << cell.loss;
    }
  }
}

DumbbellSettings shared(uint32_t transfers, uint32_t rtt_ms) {
  DumbbellSettings settings = path(rtt_ms, 4);
  for (uint32_t i = 0; i < transfers; ++i) {
    settings.transfers.push_back({&tcp::kCubic, i * 3 * kSecond});
  }
  settings.measure_from_us = 20 * kSecond;
  settings.end_us = 60 * kSecond;
  return settings;
}

double sum(const DumbbellOutcome& outcome) {
  double total = 0;
  for (const TransferOutcome& transfer : outcome.transfers) total += transfer.mbit_per_second;
  return total;
}

double jain_index(const DumbbellOutcome& outcome) {
  double squares = 0;
  for (const TransferOutcome& transfer : outcome.transfers) {
    squares += transfer.mbit_per_second * transfer.mbit_per_second;
  }
  const double total = sum(outcome);
  return total * total / (static_cast<double>(outcome.transfers.size()) * squares);
}

TEST(Sharing, LaterTransfersGetTheirShare) {
  for (const uint32_t transfers : {2U, 4U}) {
    const DumbbellSettings settings = shared(transfers, 20);
    const DumbbellOutcome outcome = Dumbbell(settings).run();
    EXPECT_GT(jain_index(outcome), 0.95) << transfers;
    EXPECT_GT(sum(outcome), 93) << transfers;
  }
}

// RFC 3168: marks take the place of losses; only slow start still overflows the queue.
TEST(Sharing, MarksInsteadOfLosses) {
  DumbbellSettings settings = shared(2, 20);
  settings.there.mark_bytes = settings.there.queue_bytes / 2;
  const DumbbellOutcome unmarked = Dumbbell(settings).run();
  settings.ecn = true;
  const DumbbellOutcome marked = Dumbbell(settings).run();
  EXPECT_EQ(unmarked.bottleneck.marked, 0U);
  EXPECT_GT(marked.bottleneck.marked, 20U);
  EXPECT_LT(marked.bottleneck.queue_dropped, unmarked.bottleneck.queue_dropped / 2);
  EXPECT_GT(sum(marked), 93);
  EXPECT_GT(jain_index(marked), 0.95);
}

// RFC 9438 4.3: on short paths CUBIC takes about what NewReno would.
TEST(Sharing, NewRenoIsNotStarved) {
  DumbbellSettings settings = shared(2, 10);
  settings.transfers[1].congestion = &tcp::kNewReno;
  const DumbbellOutcome outcome = Dumbbell(settings).run();
  EXPECT_GT(outcome.transfers[1].mbit_per_second, 33);
  EXPECT_GT(sum(outcome), 93);
}

}  // namespace
}  // namespace sluice::testbed
