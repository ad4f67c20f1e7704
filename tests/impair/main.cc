// sluice-impair: a link with delay, loss and the rest between two ports.
//
//   sluice-impair --first DEVICE --second DEVICE (--spec SPEC | --spec-file FILE) [--seconds N]
//
// Frames that come in at the first port leave at the second ("up") and the other way round
// ("down"), each direction through a Link of its own. One thread does it all. SIGHUP reads the spec
// file again, SIGUSR1 prints the counters as one line of JSON, SIGTERM and SIGINT print them and
// end.
//
// When nothing moved in a turn it sleeps until the next frame is due, but at most 50 us, or a small
// part of the time for which nothing has moved: an idle link leaves the processor to others, and a
// frame that comes in meanwhile is late by little in proportion.
#include <sys/prctl.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "link.h"
#include "port.h"

namespace sluice::impair {
namespace {

constexpr Nanos kIdleSleep = 50'000;
constexpr Nanos kLongestSleep = 300'000;
constexpr Nanos kIdleShare = 32;         // of the idle time that a sleep may last
constexpr Nanos kShortestSleep = 3'000;  // a shorter one takes longer than it is worth
constexpr unsigned long kTimerSlackNanos = 1'000;

volatile std::sig_atomic_t stop_wanted = 0;
volatile std::sig_atomic_t report_wanted = 0;
volatile std::sig_atomic_t reload_wanted = 0;

struct Options {
  EalSettings eal;
  std::string spec = "none";
  std::string spec_file;
  uint32_t seconds = 0;  // 0: until SIGTERM
};

// One direction: what leaves the link waits in the port's burst.
struct Direction {
  const char* name;
  Port* from;
  Port* to;
  Link link;
};

Nanos now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<Nanos>(time.tv_sec) * 1'000'000'000 + static_cast<Nanos>(time.tv_nsec);
}

void handle_signals() {
  struct sigaction action = {};
  action.sa_handler = [](int number) {
    switch (number) {
      case SIGUSR1:
        report_wanted = 1;
        break;
      case SIGHUP:
        reload_wanted = 1;
        break;
      default:
        stop_wanted = 1;
        break;
    }
  };
  for (const int number : {SIGTERM, SIGINT, SIGUSR1, SIGHUP}) sigaction(number, &action, nullptr);
}

tl::expected<Spec, std::string> read_spec(const Options& options) {
  if (options.spec_file.empty()) return parse_spec(options.spec);
  std::ifstream file(options.spec_file);
  std::string line;
  if (!std::getline(file, line)) {
    return tl::unexpected(options.spec_file + ": cannot be read, or is empty");
  }
  return parse_spec(line);
}

nlohmann::json to_json(const Direction& direction) {
  const LinkCounters& counters = direction.link.counters();
  return {{"frames_in", counters.frames_in},
          {"bytes_in", counters.bytes_in},
          {"frames_out", counters.frames_out},
          {"bytes_out", counters.bytes_out},
          {"lost", counters.lost},
          {"lost_in_burst", counters.lost_in_burst},
          {"queue_dropped", counters.queue_dropped},
          {"crowded", counters.crowded},
          {"foreign", counters.foreign},
          {"duplicated", counters.duplicated},
          {"reordered", counters.reordered},
          {"corrupted", counters.corrupted},
          {"marked", counters.marked},
          {"queue_peak_bytes", counters.queue_peak_bytes},
          {"on_their_way", direction.link.on_their_way()},
          {"rx_missed", direction.from->rx_missed()}};
}

void report(const Direction& up, const Direction& down) {
  const nlohmann::json counters = {{up.name, to_json(up)}, {down.name, to_json(down)}};
  std::printf("%s\n", counters.dump().c_str());
  std::fflush(stdout);
}

void reload(const Options& options, Direction& up, Direction& down) {
  const auto spec = read_spec(options);
  if (!spec) {
    std::fprintf(stderr, "sluice-impair: %s; going on as before\n", spec.error().c_str());
    return;
  }
  up.link.change(spec->up);
  down.link.change(spec->down);
  std::fprintf(stderr, "sluice-impair: new spec\n");
}

// Frames that moved.
size_t turn(Direction& direction, Nanos time) {
  const auto frames = direction.from->receive();
  for (const auto& frame : frames) direction.link.put(frame, time);
  size_t moved = frames.size();
  while (direction.link.next_at() <= time && direction.to->send(direction.link.front())) {
    direction.link.take();
    ++moved;
  }
  direction.to->flush();
  return moved;
}

void sleep_until_due(const Direction& up, const Direction& down, Nanos time, Nanos idle) {
  const Nanos due = std::min(up.link.next_at(), down.link.next_at());
  const Nanos most = std::clamp(idle / kIdleShare, kIdleSleep, kLongestSleep);
  const Nanos length = due <= time ? 0 : std::min(due - time, most);
  if (length < kShortestSleep || up.to->waiting() || down.to->waiting()) return;
  const timespec pause = {0, static_cast<long>(length)};
  nanosleep(&pause, nullptr);
}

void forward(const Options& options, Direction& up, Direction& down) {
  const Nanos end = options.seconds == 0 ? kNever : now() + Nanos{options.seconds} * 1'000'000'000;
  Nanos moved_at = 0;
  while (stop_wanted == 0) {
    const Nanos time = now();
    if (time >= end) return;
    const size_t moved = turn(up, time) + turn(down, time);
    if (report_wanted != 0) {
      report_wanted = 0;
      report(up, down);
    }
    if (reload_wanted != 0) {
      reload_wanted = 0;
      reload(options, up, down);
    }
    if (moved != 0) {
      moved_at = time;
    } else {
      sleep_until_due(up, down, time, time - moved_at);
    }
  }
}

bool parse(int argc, char** argv, Options& options, int& code) {
  CLI::App app("A link with delay, loss and the rest between two DPDK ports", "sluice-impair");
  app.add_option("--first", options.eal.devices[0], "device string of the first port")->required();
  app.add_option("--second", options.eal.devices[1], "device string of the second")->required();
  auto* spec = app.add_option("--spec", options.spec, "what the link does; 'none' by default");
  app.add_option("--spec-file", options.spec_file, "a file with that; SIGHUP reads it again")
      ->excludes(spec);
  app.add_option("--seconds", options.seconds, "end after so many; 0: on SIGTERM");
  app.add_option("--core", options.eal.core, "the processor to run on");
  app.add_option("--memory-mib", options.eal.memory_mib)->check(CLI::Range(64, 4096));
  options.eal.prefix = "sluice-impair-" + std::to_string(getpid());
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    code = app.exit(error) == 0 ? 0 : 2;
    return false;
  }
  return true;
}

int fail(const std::string& error) {
  std::fprintf(stderr, "sluice-impair: %s\n", error.c_str());
  return 1;
}

int run(int argc, char** argv) {
  Options options;
  int code = 0;
  if (!parse(argc, argv, options, code)) return code;
  const auto spec = read_spec(options);
  if (!spec) return fail(spec.error());
  handle_signals();
  prctl(PR_SET_TIMERSLACK, kTimerSlackNanos, 0, 0, 0);
  std::string error;
  if (!start_dpdk(options.eal, error)) return fail(error);
  const auto first = Port::open(options.eal.devices[0], error);
  if (first == nullptr) return fail(error);
  const auto second = Port::open(options.eal.devices[1], error);
  if (second == nullptr) return fail(error);
  Direction up = {"up", first.get(), second.get(), Link(spec->up, kUp)};
  Direction down = {"down", second.get(), first.get(), Link(spec->down, kDown)};
  std::fprintf(stderr, "sluice-impair: forwarding\n");
  forward(options, up, down);
  report(up, down);
  return 0;
}

}  // namespace
}  // namespace sluice::impair

int main(int argc, char** argv) { return sluice::impair::run(argc, argv); }
