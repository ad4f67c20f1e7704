// build/bench/relay: what a worker's whole path costs, from a received frame to a built one.
//
// Bulk: one connection moves records of 16 KiB in segments of 1,448 bytes, in bursts of at most 32
// frames a port. Rounds of the worker alternate with rounds of ipsec-mb's own seal (or open) of as
// many bytes, in records that lie in one piece; the figure is the median of the rounds' ratios.
// Messages: requests and responses of 1 KiB over 1 and over 10,000 connections, the rounds of the
// two alternate too.
//
// Then the same once more with the counter read between the stages of each turn.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>

#include "bare_worker.h"
#include "crypto/suite.h"
#include "cycles.h"
#include "direct.h"
#include "peers.h"
#include "report.h"

namespace sluice::bench {
namespace {

constexpr double kBulkBar = 3.0;
constexpr double kSoftwareBar = 4.5;
constexpr double kManyFlowsBar = 1.5;
constexpr uint32_t kManyFlows = 10'000;
constexpr uint8_t kNonce[12] = {1};
constexpr uint8_t kAad[5] = {23, 3, 3, 0x40, 0x11};
constexpr uint32_t kDirectRecords = 48;  // in rotation: as many bytes as the packet ring holds

struct Effort {
  uint32_t rounds = 101;
  uint64_t warm_bytes = 32 << 20;
  uint64_t round_bytes = 1 << 20;
  uint32_t messages = 2'000;  // a round
  uint32_t many_flows = kManyFlows;
  bool verify = false;
};
Effort effort;

// Medians over rounds of the stages' cycles; `round` moves something and says how much, in units.
void put_stages(benchmark::State& state, BareWorker& worker,
                const std::function<double()>& round) {
  std::map<std::string, std::vector<double>> shares;
  worker.detailed = true;
  for (uint32_t i = 0; i < effort.rounds; ++i) {
    worker.stages = {};
    const double units = round();
    const StageCycles& stages = worker.stages;
    const auto note = [&](const char* stage, uint64_t cycles) {
      shares[stage].push_back(static_cast<double>(cycles) / units);
    };
    note("parse", stages.take - stages.tcp_in);
    note("tcp_in", stages.tcp_in);
    note("cipher", stages.cipher);
    note("relay_out", stages.serve - stages.cipher - (stages.build - stages.reap));
    note("build", stages.build);
    note("rest", stages.rest);
  }
  for (const auto& [stage, values] : shares) state.counters[stage] = median(values);
}

// ---- Bulk

class DirectRounds {
 public:
  DirectRounds(crypto::Cipher cipher, bool open)
      : open_(open),
        key_(32, 7),
        gcm_(cipher, std::span<const uint8_t>(key_).first(crypto::key_length(cipher))),
        in_(kDirectRecords * size_t{kRecordBytes}, 1),
        out_(in_.size(), 2) {}

  // Cycles a byte over about `bytes`.
  double round(uint64_t bytes) {
    const uint64_t records = (bytes + kRecordBytes - 1) / kRecordBytes;
    const uint64_t start = cycles();
    for (uint64_t i = 0; i < records; ++i) {
      const size_t at = next_ * size_t{kRecordBytes};
      next_ = (next_ + 1) % kDirectRecords;
      uint8_t tag[16];
      const std::span<const uint8_t> record(&in_[at], kRecordBytes);
      if (open_) {
        gcm_.open(kNonce, kAad, record, &out_[at], tag);
      } else {
        gcm_.seal(kNonce, kAad, record, &out_[at], tag);
      }
      benchmark::DoNotOptimize(tag);
    }
    return static_cast<double>(cycles() - start) / static_cast<double>(records * kRecordBytes);
  }

 private:
  bool open_;
  std::vector<uint8_t> key_;
  DirectGcm gcm_;
  std::vector<uint8_t> in_;
  std::vector<uint8_t> out_;
  size_t next_ = 0;
};

void bulk(benchmark::State& state, const crypto::Suite& suite, bool up, Offload offload) {
  for ([[maybe_unused]] auto _ : state) {
    BareWorker worker(16, offload);
    Peers peers(worker, {1, suite.id, Workload::Bulk, effort.verify});
    DirectRounds direct(suite.cipher, up);
    const auto move = [&](uint64_t bytes) {
      return up ? peers.upload(bytes) : peers.download(bytes);
    };
    peers.connect_all();
    move(effort.warm_bytes);
    std::vector<double> worker_rounds;
    std::vector<double> direct_rounds;
    std::vector<double> ratios;
    const uint64_t frames = peers.frames_in() + peers.frames_out();
    worker.stages = {};
    for (uint32_t i = 0; i < effort.rounds; ++i) {
      const uint64_t before = worker.stages.turn;
      const uint64_t bytes = move(effort.round_bytes);
      worker_rounds.push_back(static_cast<double>(worker.stages.turn - before) /
                              static_cast<double>(bytes));
      direct_rounds.push_back(direct.round(effort.round_bytes));
      ratios.push_back(worker_rounds.back() / direct_rounds.back());
    }
    state.SetIterationTime(static_cast<double>(worker.stages.turn) / cycles_per_second());
    state.counters["cycles_byte"] = median(worker_rounds);
    state.counters["direct_byte"] = median(direct_rounds);
    state.counters["gbyte_s"] = cycles_per_second() / median(worker_rounds) * 1e-9;
    state.counters["cycles_frame"] =
        static_cast<double>(worker.stages.turn) /
        static_cast<double>(peers.frames_in() + peers.frames_out() - frames);
    at_most(state, "ratio", median(ratios),
            offload == Offload::Port ? kBulkBar : kSoftwareBar);
    put_stages(state, worker, [&] {
      return static_cast<double>(move(effort.round_bytes)) / kSegmentBytes;
    });
    if (!peers.correct()) state.SkipWithError("bytes have changed on the way");
  }
}

// ---- Messages

struct Exchange {
  Exchange(uint32_t flows, uint16_t suite)
      : worker(flows + 16, Offload::Port),
        peers(worker, {flows, suite, Workload::Messages, effort.verify}) {
    peers.connect_all();
    peers.exchange(effort.messages, burst(flows));
    worker.stages = {};
  }
  // A single connection has one request under way, many fill the burst.
  static uint32_t burst(uint32_t flows) { return std::min(flows, abi::kBurst); }
  double round(uint32_t flows) {
    const uint64_t before = worker.stages.turn;
    peers.exchange(effort.messages, burst(flows));
    return static_cast<double>(worker.stages.turn - before) / effort.messages;
  }

  BareWorker worker;
  Peers peers;
};

void report_exchange(benchmark::State& state, Exchange& exchange, uint32_t flows,
                     const std::vector<double>& rounds) {
  const double cycles = median(rounds);
  state.counters["cycles_message"] = cycles;
  state.counters["cycles_byte"] = cycles / (2.0 * kMessageBytes);
  state.SetIterationTime(cycles / cycles_per_second());
  const uint64_t frames = exchange.peers.frames_in() + exchange.peers.frames_out();
  exchange.round(flows);
  state.counters["cycles_frame"] =
      cycles * effort.messages /
      static_cast<double>(exchange.peers.frames_in() + exchange.peers.frames_out() - frames);
  put_stages(state, exchange.worker, [&] {
    exchange.round(flows);
    return static_cast<double>(effort.messages);
  });
  if (!exchange.peers.correct()) state.SkipWithError("bytes have changed on the way");
}

void messages(benchmark::State& state, const crypto::Suite& suite, bool many) {
  for ([[maybe_unused]] auto _ : state) {
    Exchange one(1, suite.id);
    std::vector<double> one_rounds;
    if (!many) {
      for (uint32_t i = 0; i < effort.rounds; ++i) one_rounds.push_back(one.round(1));
      report_exchange(state, one, 1, one_rounds);
      continue;
    }
    Exchange all(effort.many_flows, suite.id);
    std::vector<double> all_rounds;
    std::vector<double> ratios;
    for (uint32_t i = 0; i < effort.rounds; ++i) {
      one_rounds.push_back(one.round(1));
      all_rounds.push_back(all.round(effort.many_flows));
      ratios.push_back(all_rounds.back() / one_rounds.back());
    }
    at_most(state, "ratio", median(ratios), kManyFlowsBar);
    report_exchange(state, all, effort.many_flows, all_rounds);
  }
}

// ---- Which cases

void add(const std::string& name, const std::function<void(benchmark::State&)>& body) {
  benchmark::RegisterBenchmark(name.c_str(), body)->Iterations(1)->UseManualTime();
}

std::string short_name(const crypto::Suite& suite) {
  const bool tls13 = suite.min_version == crypto::TlsVersion::Tls13;
  return std::string(tls13 ? "1.3 " : "1.2 ") +
         (suite.cipher == crypto::Cipher::Aes128Gcm ? "AES-128-GCM" : "AES-256-GCM");
}

void register_all() {
  for (const uint16_t id : std::initializer_list<uint16_t>{0x1301, 0x1302, 0xc02f, 0xc030}) {
    const crypto::Suite* const suite = crypto::find_suite(id);
    for (const Offload offload : {Offload::Port, Offload::Software}) {
      for (const bool up : {false, true}) {
        const std::string name = std::string(up ? "upload   " : "download ") + short_name(*suite) +
                                 (offload == Offload::Port ? "" : " software");
        add(name, [=](benchmark::State& state) { bulk(state, *suite, up, offload); });
      }
    }
  }
  const crypto::Suite* const suite = crypto::find_suite(0x1301);
  add("messages 1 connection", [=](benchmark::State& state) { messages(state, *suite, false); });
  add("messages 10,000 connections",
      [=](benchmark::State& state) { messages(state, *suite, true); });
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  using namespace sluice::bench;
  ReportOptions options;
  options.columns = {{"cycles_byte", "cycles/B", 3},  {"direct_byte", "ipsec-mb", 3},
                     {"gbyte_s", "GB/s", 2},          {"cycles_frame", "cyc/frame", 0},
                     {"parse", "parse", 0},           {"tcp_in", "tcp in", 0},
                     {"cipher", "cipher", 0},         {"relay_out", "relay+out", 0},
                     {"build", "build", 0},           {"rest", "rest", 0}};
  benchmark::Initialize(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--json") == 0) {
      options.json = true;
    } else if (std::strcmp(argv[i], "--check") == 0) {
      options.check = true;
    } else if (std::strncmp(argv[i], "--rounds=", 9) == 0 && std::atoi(argv[i] + 9) > 0) {
      effort.rounds = static_cast<uint32_t>(std::atoi(argv[i] + 9));
    } else if (std::strcmp(argv[i], "--smoke") == 0) {
      effort = {2, 1 << 20, 1 << 20, 400, 100, true};
    } else {
      std::fprintf(stderr,
                   "usage: relay [--check] [--json] [--smoke] [--rounds=N]"
                   " [--benchmark_filter=REGEX]\n");
      return 2;
    }
  }
  register_all();
  return run(options);
}
