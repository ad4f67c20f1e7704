// Real workers behind a spreading port, with a kernel's TCP on the other side: everything in one
// process and one network namespace, which a test forks for each scene (DPDK starts once in a
// process).
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "abi/config/dataplane_config.h"
#include "spread_port.h"
#include "worker/worker.h"

namespace sluice::dataplane::test {

inline constexpr uint16_t kServicePort = 80;
inline constexpr uint16_t kBackendPort = 8080;
inline constexpr char kService4[] = "10.99.1.10";
inline constexpr char kService6[] = "fd00:99:1::10";
inline constexpr char kKernel4[] = "10.99.1.2";
inline constexpr char kKernel6[] = "fd00:99:1::2";

struct SceneConfig {
  uint16_t workers = 1;
  uint32_t key_bytes = 40;
  uint32_t entries = 128;
  bool told = true;  // the workers know how the port spreads
  Link link = Link::Memif;
};

class Scene {
 public:
  explicit Scene(const SceneConfig& config);
  ~Scene();
  // Everything is up and the workers run. A sentence when not.
  std::string start();
  // Ends the workers; their counters stand still.
  void stop();

  // A connected socket of the kernel's, or -1.
  static int connect_to_service(bool ipv4);
  // An echo connection from the kernel: true when all of `bytes` random bytes came back.
  static bool echo(bool ipv4, uint32_t bytes, uint32_t seed);
  uint64_t count(uint16_t worker, abi::Counter counter) const;
  uint64_t total(abi::Counter counter) const;
  bool mispredicted() const;
  SpreadPort& port() { return *port_; }
  const net::PortInfo& port_info() const { return port_info_; }

 private:
  bool start_network();
  std::string start_workers();

  SceneConfig config_;
  std::string folder_;
  abi::config::DataplaneConfig dataplane_;
  std::shared_ptr<net::RssMap> map_;
  std::unique_ptr<SpreadPort> port_;
  std::unique_ptr<net::Nic> nic_;
  net::PortInfo port_info_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::array<int, 2> listeners_{-1, -1};
  bool running_ = false;
};

// Runs `body` in a child with a network namespace of its own, and fails the test with the first
// sentence that it returns.
void in_scene(const SceneConfig& config, const std::function<std::string(Scene&)>& body);

}  // namespace sluice::dataplane::test
