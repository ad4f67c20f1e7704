// The backends are the kernel's sockets and a thread for each connection; clients are the kernel's
// sockets too. Nothing here looks into packets.
#include "scene.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <random>

namespace sluice::dataplane::test {
namespace {

abi::SocketAddress at(const char* text, uint16_t port) {
  abi::SocketAddress address;
  if (!abi::parse_ip_address(text, address.address)) std::abort();
  address.port = port;
  return address;
}

// A kernel's address of either family.
socklen_t to_kernel(bool ipv4, const char* text, uint16_t port, sockaddr_storage& out) {
  out = {};
  if (ipv4) {
    auto& address = reinterpret_cast<sockaddr_in&>(out);
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    inet_pton(AF_INET, text, &address.sin_addr);
    return sizeof address;
  }
  auto& address = reinterpret_cast<sockaddr_in6&>(out);
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  inet_pton(AF_INET6, text, &address.sin6_addr);
  return sizeof address;
}

void set_timeout(int socket) {
  const timeval limit{20, 0};
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

// Gives back what comes until its end.
void serve_connection(int socket) {
  std::vector<uint8_t> bytes(16384);
  set_timeout(socket);
  for (;;) {
    const ssize_t got = recv(socket, bytes.data(), bytes.size(), 0);
    if (got <= 0) break;
    ssize_t sent = 0;
    while (sent < got) {
      const ssize_t part =
          send(socket, bytes.data() + sent, static_cast<size_t>(got - sent), MSG_NOSIGNAL);
      if (part <= 0) break;
      sent += part;
    }
  }
  close(socket);
}

int listen_at(bool ipv4, const char* text) {
  sockaddr_storage address;
  const socklen_t length = to_kernel(ipv4, text, kBackendPort, address);
  const int listener = socket(ipv4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), length) != 0) return -1;
  if (listen(listener, 256) != 0) return -1;
  std::thread([listener] {
    for (;;) {
      const int connection = accept(listener, nullptr, nullptr);
      if (connection < 0) return;
      std::thread(serve_connection, connection).detach();
    }
  }).detach();
  return listener;
}

net::RssSettings make_settings(const SceneConfig& config) {
  std::mt19937 random(config.entries + config.workers);
  net::RssSettings settings;
  for (uint32_t i = 0; i < config.key_bytes; ++i) {
    settings.key.push_back(static_cast<uint8_t>(random()));
  }
  for (uint32_t i = 0; i < config.entries; ++i) {
    settings.reta.push_back(static_cast<uint16_t>(i % config.workers));
  }
  std::shuffle(settings.reta.begin(), settings.reta.end(), random);
  settings.ipv4_tcp = settings.ipv6_tcp = true;
  return settings;
}

abi::config::DataplaneConfig make_config(const SceneConfig& scene) {
  abi::config::DataplaneConfig config;
  const auto processors = static_cast<uint16_t>(std::thread::hardware_concurrency());
  for (uint16_t i = 0; i < scene.workers; ++i) {
    config.workers.push_back(static_cast<uint16_t>(i % processors));
  }
  config.hugepages = abi::config::Hugepages::Off;
  config.max_connections = 1024;
  abi::config::PortConfig port;
  port.name = "spread";
  port.addresses = {{at(kService4, 0).address, 24}, {at(kService6, 0).address, 64}};
  config.ports = {port};
  for (const bool ipv4 : {true, false}) {
    config.listeners.push_back(
        {ipv4 ? "four" : "six", at(ipv4 ? kService4 : kService6, kServicePort),
         abi::config::ListenerProtocol::Tcp, at(ipv4 ? kKernel4 : kKernel6, kBackendPort)});
  }
  return config;
}

}  // namespace

Scene::Scene(const SceneConfig& config) : config_(config), dataplane_(make_config(config)) {
  char folder[] = "/tmp/sluice-spread-XXXXXX";
  if (mkdtemp(folder) == nullptr) std::abort();
  folder_ = folder;
  map_ = std::make_shared<net::RssMap>();
  std::string error;
  const net::RssSettings settings = make_settings(config);
  if (!map_->build(settings, config.workers, error)) std::abort();
  port_ = std::make_unique<SpreadPort>(
      SpreadPlan{settings, config.link, config.workers, "spread", folder_ + "/link"});
}

Scene::~Scene() {
  stop();
  for (const int listener : listeners_) shutdown(listener, SHUT_RDWR);
  workers_.clear();
  nic_.reset();
  port_.reset();
  std::filesystem::remove_all(folder_);
}

bool Scene::start_network() {
  const std::string commands =
      "ip link set lo up && ip link set spread up && "
      "ip addr add 10.99.1.2/24 dev spread && ip -6 addr add fd00:99:1::2/64 dev spread nodad";
  if (std::system(commands.c_str()) != 0) return false;
  listeners_ = {listen_at(true, kKernel4), listen_at(false, kKernel6)};
  return listeners_[0] >= 0 && listeners_[1] >= 0;
}

std::string Scene::start_workers() {
  net::NicSettings settings;
  settings.program = "spread_test";
  for (const uint16_t processor : dataplane_.workers) settings.workers.push_back(processor);
  settings.hugepages = net::Hugepages::Off;
  settings.memory_mib = 400;
  settings.packet_buffers = 6144;
  settings.small_records = 1024;
  settings.large_records = 512;
  net::PortSettings port;
  port.name = "spread";
  port.device = config_.link == Link::Memif ? "net_memif0,role=client,socket-abstract=no,socket="
                                            : "net_virtio_user0,queues=1,queue_size=1024,path=";
  port.device += folder_ + "/link";
  port.mtu = dataplane_.ports[0].mtu;
  for (const auto& address : dataplane_.ports[0].addresses) {
    port.addresses.push_back({address.address, address.prefix_length});
  }
  if (config_.told) port.spread = map_;
  settings.ports = {port};
  std::string error;
  std::vector<std::string> notes;
  nic_ = net::Nic::open(settings, error, notes);
  if (nic_ == nullptr) return error;
  for (int i = 0; i < 500 && !nic_->port_info(0).link_up; ++i) usleep(10'000);
  port_info_ = nic_->port_info(0);
  if (!port_info_.link_up) return "the link stays down";
  WorkerSettings worker;
  worker.config = &dataplane_;
  worker.workers = config_.workers;
  if (getrandom(worker.hash_key, sizeof worker.hash_key, 0) < 0 ||
      getrandom(&worker.secrets, sizeof worker.secrets, 0) < 0) {
    return "no random bytes";
  }
  for (uint16_t i = 0; i < config_.workers; ++i) {
    worker.number = i;
    workers_.push_back(Worker::create(worker, *nic_, error));
    if (workers_.back() == nullptr) return error;
  }
  for (uint16_t i = 0; i < config_.workers; ++i) nic_->launch(i, Worker::run, workers_[i].get());
  running_ = true;
  return {};
}

std::string Scene::start() {
  if (!port_->wait_ready()) return "the spreading port does not start";
  if (!start_network()) return "the kernel's side does not start";
  return start_workers();
}

void Scene::stop() {
  if (!running_) return;
  running_ = false;
  for (const auto& worker : workers_) worker->stop();
  nic_->wait();
}

int Scene::connect_to_service(bool ipv4) {
  sockaddr_storage address;
  const socklen_t length = to_kernel(ipv4, ipv4 ? kService4 : kService6, kServicePort, address);
  const int client = socket(ipv4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  set_timeout(client);
  if (connect(client, reinterpret_cast<sockaddr*>(&address), length) != 0) {
    close(client);
    return -1;
  }
  return client;
}

bool Scene::echo(bool ipv4, uint32_t bytes, uint32_t seed) {
  const int client = connect_to_service(ipv4);
  if (client < 0) return false;
  std::mt19937 random(seed);
  std::vector<uint8_t> data(bytes);
  for (uint8_t& byte : data) byte = static_cast<uint8_t>(random());
  std::thread writer([&] {
    for (size_t sent = 0; sent < data.size();) {
      const ssize_t part = send(client, data.data() + sent, data.size() - sent, MSG_NOSIGNAL);
      if (part <= 0) return;
      sent += static_cast<size_t>(part);
    }
    shutdown(client, SHUT_WR);
  });
  std::vector<uint8_t> back;
  uint8_t chunk[16384];
  for (ssize_t got; (got = recv(client, chunk, sizeof chunk, 0)) > 0;) {
    back.insert(back.end(), chunk, chunk + got);
  }
  writer.join();
  close(client);
  return back == data;
}

uint64_t Scene::count(uint16_t worker, abi::Counter counter) const {
  return workers_[worker]->counters().get(counter);
}

uint64_t Scene::total(abi::Counter counter) const {
  uint64_t sum = 0;
  for (uint16_t i = 0; i < config_.workers; ++i) sum += count(i, counter);
  return sum;
}

bool Scene::mispredicted() const {
  for (const auto& worker : workers_) {
    if (worker->mispredicted()) return true;
  }
  return false;
}

void in_scene(const SceneConfig& config, const std::function<std::string(Scene&)>& body) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    std::string problem = "no network namespace of its own";
    if (unshare(CLONE_NEWNET) == 0) {
      Scene scene(config);
      problem = scene.start();
      if (problem.empty()) problem = body(scene);
    }
    const bool written = write(ends[1], problem.data(), problem.size()) >= 0;
    _exit(written ? 0 : 1);
  }
  close(ends[1]);
  std::string problem(4096, '\0');
  const ssize_t length = read(ends[0], problem.data(), problem.size());
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(problem.substr(0, length > 0 ? static_cast<size_t>(length) : 0), "");
}

}  // namespace sluice::dataplane::test
