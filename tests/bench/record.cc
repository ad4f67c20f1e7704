// build/bench/record: what one core seals and opens, suite by suite, beside OpenSSL and beside
// ipsec-mb called directly on contiguous bytes.
//
// All contenders for one cell of the table take short turns, and each figure is a median over the
// rounds: of cycles for the rates, of the quotients within a round for the ratios.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "contender.h"
#include "cycles.h"
#include "report.h"

namespace sluice::bench {
namespace {

constexpr double kEvpBulkBar = 2.2;    // AES-GCM, 16 KiB
constexpr double kEvpSmallBar = 5.0;   // AES-GCM, 256 bytes
constexpr double kEvpCbcBar = 3.0;     // CBC with HMAC-SHA1, 64 flows
constexpr double kDirectBar = 0.95;    // the same contiguous bytes
constexpr double kSegmentsBar = 0.75;  // in segments of 1,448 bytes
// One of each way to protect a record: what else differs between suites is the key exchange.
constexpr uint16_t kSuites[] = {0x1301, 0x1302, 0x1303, 0xc02f, 0xc030, 0xcca8,
                                0xc013, 0xc014, 0xc027, 0x003d, 0xc028};
constexpr uint32_t kSizes[] = {64, 256, 1024, 1400, 4096, 16384};

struct Effort {
  uint32_t rounds = 61;
  uint32_t round_bytes = 64 * 1024;
};
Effort effort;

// One contender's cycles a record, round by round.
struct Line {
  std::string name;
  std::unique_ptr<Contender> contender;
  std::vector<double> rounds;
};

class Table {
 public:
  explicit Table(const Task& task) : task_(task) {
    const uint32_t overhead_bytes = 256;  // so that a round of small records is not endless
    records_ = std::max(task.flows, effort.round_bytes / (task.bytes + overhead_bytes) + 1);
  }
  void add(const std::string& name, std::unique_ptr<Contender> contender) {
    if (contender != nullptr) lines_.push_back({name, std::move(contender), {}});
  }
  // The first round warms up.
  void run() {
    for (uint32_t round = 0; round <= effort.rounds; ++round) {
      for (Line& line : lines_) {
        line.contender->prepare(records_);
        const uint64_t start = cycles();
        line.contender->run(records_);
        const uint64_t spent = cycles() - start;
        if (round != 0) line.rounds.push_back(static_cast<double>(spent) / records_);
      }
    }
  }
  bool correct() {
    bool all = true;
    for (Line& line : lines_) all = line.contender->correct() && all;
    return all;
  }
  bool has(const std::string& name) const { return find(name) != nullptr; }
  double rate(const std::string& name) const {
    return task_.bytes * cycles_per_second() / median(find(name)->rounds) * 1e-9;
  }
  // How much faster `name` is than `other`.
  double ratio(const std::string& name, const std::string& other) const {
    std::vector<double> quotients;
    const Line& a = *find(name);
    const Line& b = *find(other);
    for (size_t i = 0; i < a.rounds.size(); ++i) quotients.push_back(b.rounds[i] / a.rounds[i]);
    return median(quotients);
  }

 private:
  const Line* find(const std::string& name) const {
    for (const Line& line : lines_) {
      if (line.name == name) return &line;
    }
    return nullptr;
  }

  Task task_;
  uint32_t records_;
  std::vector<Line> lines_;
};

void report_rates(benchmark::State& state, const Table& table) {
  for (const char* name : {"record", "cipher", "evp", "direct", "segments"}) {
    if (table.has(name)) state.counters[name] = table.rate(name);
  }
}

void aead(benchmark::State& state, const Task& task) {
  const bool gcm = task.suite->cipher != crypto::Cipher::Chacha20Poly1305;
  for ([[maybe_unused]] auto _ : state) {
    Table table(task);
    table.add("record", make_record_layer(task, Cut::Whole));
    table.add("cipher", make_cipher(task, Cut::Whole));
    table.add("evp", make_evp_aead(task));
    if (gcm) table.add("direct", make_direct_gcm(task));
    if (task.bytes > kSegmentBytes) {
      table.add("segments", make_cipher(task, Cut::Segments));
      table.add("record_segments", make_record_layer(task, Cut::Segments));
    }
    table.run();
    if (!table.correct()) state.SkipWithError("a record came out wrong");
    report_rates(state, table);
    const double over_evp = table.ratio("cipher", "evp");
    state.counters["over_evp"] = over_evp;
    state.counters["record_over_evp"] = table.ratio("record", "evp");
    if (gcm) {
      if (task.bytes == 16384) at_least(state, "over_evp", over_evp, kEvpBulkBar);
      if (task.bytes == 256) at_least(state, "over_evp", over_evp, kEvpSmallBar);
      const double of_direct = table.ratio("cipher", "direct");
      state.counters["of_direct"] = of_direct;
      at_least(state, "of_direct", of_direct, kDirectBar);
      state.counters["record_of_direct"] = table.ratio("record", "direct");
      if (table.has("segments")) {
        at_least(state, "segments_of_direct", table.ratio("segments", "direct"), kSegmentsBar);
        state.counters["record_segments_of_direct"] = table.ratio("record_segments", "direct");
      }
    }
    state.SetIterationTime(task.bytes / table.rate("record") * 1e-9);
  }
}

void cbc(benchmark::State& state, const Task& task) {
  for ([[maybe_unused]] auto _ : state) {
    Table table(task);
    table.add("cipher", make_cbc(task));
    table.add("evp", make_evp_cbc(task));
    table.run();
    if (!table.correct()) state.SkipWithError("a record came out wrong");
    report_rates(state, table);
    const double over_evp = table.ratio("cipher", "evp");
    state.counters["over_evp"] = over_evp;
    if (task.suite->mac_hash == crypto::Hash::Sha1 && task.flows == 64) {
      at_least(state, "over_evp", over_evp, kEvpCbcBar);
    }
    state.SetIterationTime(task.bytes / table.rate("cipher") * 1e-9);
  }
}

void measure(benchmark::State& state, const Task& task) {
  if (task.suite->is_cbc()) {
    cbc(state, task);
  } else {
    aead(state, task);
  }
}

void register_all() {
  for (const uint16_t id : kSuites) {
    for (const bool open : {false, true}) {
      for (const uint32_t flows : {1U, 64U}) {
        for (const uint32_t bytes : kSizes) {
          const Task task{crypto::find_suite(id), open, flows, bytes};
          char name[96];
          std::snprintf(name, sizeof name, "%-22s %-4s %2u %s %5u",
                        std::string(task.suite->openssl_name.substr(0, 22)).c_str(),
                        open ? "open" : "seal", flows, flows == 1 ? "flow " : "flows", bytes);
          const auto body = [task](benchmark::State& state) { measure(state, task); };
          benchmark::RegisterBenchmark(name, body)->Iterations(1)->UseManualTime();
        }
      }
    }
  }
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  using namespace sluice::bench;
  ReportOptions options;
  options.columns = {{"record", "record", 2},
                     {"cipher", "cipher", 2},
                     {"evp", "EVP", 2},
                     {"direct", "ipsec-mb", 2},
                     {"segments", "segments", 2},
                     {"over_evp", "/EVP", 2},
                     {"of_direct", "/mb", 2},
                     {"segments_of_direct", "segs/mb", 2},
                     {"record_over_evp", "rec/EVP", 2},
                     {"record_of_direct", "rec/mb", 2}};
  benchmark::Initialize(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--json") == 0) {
      options.json = true;
    } else if (std::strcmp(argv[i], "--check") == 0) {
      options.check = true;
    } else if (std::strncmp(argv[i], "--rounds=", 9) == 0 && std::atoi(argv[i] + 9) > 0) {
      effort.rounds = static_cast<uint32_t>(std::atoi(argv[i] + 9));
    } else if (std::strcmp(argv[i], "--smoke") == 0) {
      effort = {1, 4096};
    } else {
      std::fprintf(stderr,
                   "usage: record [--check] [--json] [--smoke] [--rounds=N]"
                   " [--benchmark_filter=REGEX]\n");
      return 2;
    }
  }
  register_all();
  return run(options);
}
