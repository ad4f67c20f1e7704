// Workers behind a port that spreads by a key and a table: the same results with any number of
// workers, and every backend's answer at the worker that asked.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "raw_packets.h"
#include "scene.h"

namespace sluice::dataplane::test {
namespace {

using abi::Counter;

// `each` connections of both families, eight at a time; a sentence when one was not byte-exact.
std::string echo_all(uint32_t each) {
  std::atomic<uint32_t> next{0};
  std::atomic<uint32_t> failed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (uint32_t number; (number = next++) < 2 * each;) {
        if (!Scene::echo(number % 2 == 0, 1 + number * 977 % 100'000, number)) ++failed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (failed == 0) return {};
  return std::to_string(failed) + " of " + std::to_string(2 * each) + " connections failed";
}

std::string expect(const char* what, uint64_t is, uint64_t should) {
  if (is == should) return {};
  return std::string(what) + " is " + std::to_string(is) + ", not " + std::to_string(should);
}

struct Row {
  uint16_t workers;
  uint32_t key_bytes;
  uint32_t entries;
};

TEST(Spread, AnswersComeToTheWorkerThatAsked) {
  for (const Row& row : {Row{1, 40, 128}, Row{2, 40, 128}, Row{2, 52, 7}, Row{4, 52, 96}}) {
    SCOPED_TRACE(testing::Message() << row.workers << " workers, table of " << row.entries);
    in_scene({row.workers, row.key_bytes, row.entries}, [&row](Scene& scene) -> std::string {
      std::string problem = echo_all(60);
      scene.stop();
      if (problem.empty()) {
        problem = expect("TCP handed over", scene.total(Counter::rss_mispredicted), 0);
      }
      // ARP and ND frames are shared with the other workers.
      const uint64_t handed = scene.total(Counter::redirected_in);
      if (problem.empty() && handed > 100) problem = std::to_string(handed) + " frames handed over";
      if (problem.empty()) problem = expect("flows", scene.total(Counter::flows_opened), 120);
      if (problem.empty()) problem = expect("connects", scene.total(Counter::tcp_connects), 120);
      for (uint16_t i = 0; i < row.workers && problem.empty(); ++i) {
        if (scene.count(i, Counter::flows_opened) == 0) problem = "a worker had no flow";
      }
      return problem;
    });
  }
}

// The same where the workers are told nothing: they spread by themselves, over their rings.
TEST(Spread, WithoutTheTableTheWorkersSpread) {
  in_scene({2, 40, 128, false}, [](Scene& scene) -> std::string {
    std::string problem = echo_all(30);
    scene.stop();
    if (problem.empty() && scene.total(Counter::redirected_in) < 60)
      problem = "nothing was handed over";
    if (problem.empty())
      problem = expect("rss_mispredicted", scene.total(Counter::rss_mispredicted), 0);
    if (problem.empty()) problem = expect("flows", scene.total(Counter::flows_opened), 60);
    return problem;
  });
}

// A port that spreads otherwise than it says costs hand-overs and a line in the log, nothing else.
TEST(Spread, APortThatLiesIsNoticedAndServedAllTheSame) {
  in_scene({2, 40, 128}, [](Scene& scene) -> std::string {
    scene.port().misdirect();
    std::string problem = echo_all(30);
    scene.stop();
    if (problem.empty() && !scene.mispredicted()) problem = "not noticed";
    if (problem.empty() && scene.total(Counter::rss_mispredicted) < 60) problem = "not counted";
    if (problem.empty()) problem = expect("flows", scene.total(Counter::flows_opened), 60);
    return problem;
  });
}

// Whole connections over a port that segments and checksums, instead of single packets.
TEST(Spread, APortThatSegments) {
  in_scene({1, 40, 128, true, Link::Vhost}, [](Scene& scene) -> std::string {
    const net::PortInfo& port = scene.port_info();
    if (!port.segmentation_offload || !port.receive_coalescing) return "no offloads";
    for (uint32_t i = 0; i < 6; ++i) {
      if (!Scene::echo(i % 2 == 0, 2'000'000, i)) return "not byte-exact";
    }
    scene.stop();
    if (scene.port().largest_bytes() < 10'000) return "no large segment left";
    return expect("flows", scene.total(Counter::flows_opened), 6);
  });
}

// A connection that stays: what was written has come back, and more can follow.
class Held {
 public:
  Held() : socket_(Scene::connect_to_service(true)) {}
  ~Held() { close(socket_); }
  Held(const Held&) = delete;
  bool lives() const {
    char byte = 'x';
    return send(socket_, &byte, 1, MSG_NOSIGNAL) == 1 && recv(socket_, &byte, 1, 0) == 1;
  }
  uint16_t port() const {
    sockaddr_in name = {};
    socklen_t length = sizeof name;
    getsockname(socket_, reinterpret_cast<sockaddr*>(&name), &length);
    return ntohs(name.sin_port);
  }

 private:
  int socket_;
};

bool wait_for(const std::function<bool()>& done) {
  for (int i = 0; i < 500 && !done(); ++i) usleep(10'000);
  return done();
}

// ICMP errors arrive by the addresses' queue, and act on the flow of the worker that has it.
TEST(Spread, IcmpErrorsFindTheirFlows) {
  in_scene({2, 40, 128}, [](Scene& scene) -> std::string {
    std::array<Held, 16> clients;
    for (const Held& client : clients) {
      if (!client.lives()) return "no echo";
      if (!send_unreachable(client.port())) return "no ICMP error";
    }
    for (uint16_t port = 1; port <= 10; ++port) send_unreachable(port);
    const bool came =
        wait_for([&] { return scene.total(Counter::icmp_errors_in) == clients.size() + 10; });
    for (const Held& client : clients) {
      if (!client.lives()) return "an unproven error ended a connection";
    }
    scene.stop();
    if (!came) return expect("icmp_errors_in", scene.total(Counter::icmp_errors_in), 26);
    for (uint16_t i = 0; i < 2; ++i) {
      if (scene.count(i, Counter::icmp_errors_in) == 0) return "all errors went to one worker";
    }
    if (scene.total(Counter::rss_mispredicted) != 0) return "an error counts as mispredicted";
    return expect("icmp_error_no_flow", scene.total(Counter::icmp_error_no_flow), 10);
  });
}

// Fragments arrive by the addresses' queue too; what they make is handed over whole.
TEST(Spread, FragmentsAreHandedOverWhole) {
  in_scene({2, 40, 128}, [](Scene& scene) -> std::string {
    constexpr uint32_t kSyns = 40;
    if (!Scene::echo(true, 100, 1)) return "no echo";  // the kernel knows the address by now
    for (uint16_t i = 0; i < kSyns; ++i) {
      if (!send_fragmented_syn(static_cast<uint16_t>(3000 + i))) return "no fragments";
    }
    const bool came = wait_for([&] { return scene.total(Counter::tcp_syn_in) == kSyns + 1; });
    scene.stop();
    if (!came) return expect("tcp_syn_in", scene.total(Counter::tcp_syn_in), kSyns + 1);
    if (scene.total(Counter::redirected_in) < kSyns / 8) return "none was handed over";
    if (scene.total(Counter::rss_mispredicted) != 0) return "a fragment counts as mispredicted";
    return expect("reassembled", scene.total(Counter::fragments_reassembled), kSyns);
  });
}

}  // namespace
}  // namespace sluice::dataplane::test
