// sluice-dataplane: reads its part of the configuration, opens the ports, starts one worker a core,
// and then only waits: for control to come and go, and for SIGTERM.
//
// Nothing here is on a packet's way. Logging happens on this thread alone.
#include <poll.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "abi/config/dataplane_config.h"
#include "abi/log/log.h"
#include "control_link.h"
#include "net/nic.h"
#include "sandbox.h"
#include "worker.h"

namespace sluice::dataplane {
namespace {

using abi::config::DataplaneConfig;

net::NicSettings nic_settings(const DataplaneConfig& config) {
  net::NicSettings settings;
  for (const uint16_t processor : config.workers) settings.workers.push_back(processor);
  settings.main_core = config.main_core;
  switch (config.hugepages) {
    case abi::config::Hugepages::Auto:
      settings.hugepages = net::Hugepages::Auto;
      break;
    case abi::config::Hugepages::Required:
      settings.hugepages = net::Hugepages::Required;
      break;
    case abi::config::Hugepages::Off:
      settings.hugepages = net::Hugepages::Off;
      break;
  }
  settings.memory_mib = config.memory_mib;
  settings.eal_arguments = config.eal_arguments;
  for (const auto& port : config.ports) {
    net::PortSettings out;
    out.name = port.name;
    out.device = port.device;
    for (const auto& address : port.addresses) {
      out.addresses.push_back({address.address, address.prefix_length});
    }
    out.mtu = port.mtu;
    out.vlan = port.vlan;
    out.has_gateway = port.has_gateway;
    out.gateway = port.gateway;
    out.has_gateway6 = port.has_gateway6;
    out.gateway6 = port.gateway6;
    settings.ports.push_back(out);
  }
  return settings;
}

void log_ports(const net::Nic& nic) {
  for (uint32_t i = 0; i < nic.ports(); ++i) {
    const net::PortInfo info = nic.port_info(i);
    std::string addresses;
    const net::Interface& interface = nic.interface(i);
    for (uint8_t a = 0; a < interface.address_count; ++a) {
      addresses += (a == 0 ? "" : ",") + abi::to_string(interface.addresses[a].address) + "/" +
                   std::to_string(interface.addresses[a].prefix_bits);
    }
    char mac[18];
    const auto& m = info.mac.bytes;
    std::snprintf(mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
                  m[5]);
    log::info("port opened", {{"name", info.name},
                              {"driver", info.driver},
                              {"mac", mac},
                              {"mtu", info.mtu},
                              {"queues", info.queues},
                              {"addresses", addresses},
                              {"link", info.link_up ? "up" : "down"},
                              {"chains", info.chains ? "yes" : "no"},
                              {"checksum_offload", info.checksum_offload ? "yes" : "no"},
                              {"segmentation_offload", info.segmentation_offload ? "yes" : "no"},
                              {"receive_coalescing", info.receive_coalescing ? "yes" : "no"},
                              {"spread_by", info.spreading}});
  }
}

bool make_workers(const DataplaneConfig& config, net::Nic& nic,
                  std::vector<std::unique_ptr<Worker>>& workers) {
  WorkerSettings settings;
  settings.config = &config;
  settings.workers = static_cast<uint16_t>(config.workers.size());
  if (getrandom(settings.hash_key, sizeof settings.hash_key, 0) != sizeof settings.hash_key ||
      getrandom(&settings.secrets, sizeof settings.secrets, 0) != sizeof settings.secrets) {
    log::error("getrandom failed");
    return false;
  }
  for (uint16_t i = 0; i < settings.workers; ++i) {
    settings.number = i;
    std::string error;
    auto worker = Worker::create(settings, nic, error);
    if (worker == nullptr) {
      log::error(error, {{"worker", i}});
      return false;
    }
    workers.push_back(std::move(worker));
  }
  return true;
}

// What each worker's thread begins with.
int run_worker(void* worker) {
  if (const std::string error = drop_capabilities(); !error.empty()) {
    log::error(error);
    _exit(1);
  }
  return Worker::run(worker);
}

int signal_descriptor() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

// Says once that a port spreads otherwise than it says; false when there is nothing to say yet.
bool note_misprediction(const std::vector<std::unique_ptr<Worker>>& workers) {
  for (size_t i = 0; i < workers.size(); ++i) {
    if (!workers[i]->mispredicted()) continue;
    log::warning(
        "packets arrive at other queues than the port's RSS key and table say; they change "
        "cores through rings (counter rss_mispredicted)",
        {{"worker", i}});
    return true;
  }
  return false;
}

void serve(ControlLink& link, const std::vector<std::unique_ptr<Worker>>& workers, int signals,
           bool watch_spreading) {
  constexpr int kWatchMs = 1000;
  for (;;) {
    pollfd waits[3] = {
        {signals, POLLIN, 0}, {link.listener_fd(), POLLIN, 0}, {link.connection_fd(), POLLIN, 0}};
    const int ready = poll(waits, 3, watch_spreading ? kWatchMs : -1);
    if (watch_spreading) watch_spreading = !note_misprediction(workers);
    if (ready <= 0) continue;
    if (waits[0].revents != 0) return;
    std::string event;
    if (waits[2].revents != 0) {
      link.connection_event(event);
      if (!event.empty()) log::warning(event);
    }
    event.clear();
    if (waits[1].revents != 0) link.accept(event);
    if (!event.empty()) log::info(event);
  }
}

int run(const DataplaneConfig& config) {
  const int signals = signal_descriptor();
  std::string error = protect_memory();
  if (!error.empty()) log::warning(error);
  std::vector<std::string> notes;
  const auto nic = net::Nic::open(nic_settings(config), error, notes);
  for (const std::string& note : notes) log::warning(note);
  if (nic == nullptr) {
    log::error(error);
    return 1;
  }
  log_ports(*nic);
  std::vector<std::unique_ptr<Worker>> workers;
  if (!make_workers(config, *nic, workers)) return 1;
  ControlLink link;
  std::vector<Worker*> pointers;
  for (const auto& worker : workers) pointers.push_back(worker.get());
  if (!link.open(config.control_socket, pointers, error)) {
    log::error(error);
    return 1;
  }
  error = drop_capabilities();
  if (error.empty()) error = enter_seccomp();
  if (!error.empty()) {
    log::error(error);
    return 1;
  }
  for (uint32_t i = 0; i < workers.size(); ++i) {
    if (!nic->launch(i, run_worker, workers[i].get())) {
      log::error("a worker cannot be started", {{"worker", i}, {"processor", config.workers[i]}});
      return 1;
    }
  }
  log::info("sluice-dataplane is up", {{"version", SLUICE_VERSION},
                                       {"pid", getpid()},
                                       {"workers", workers.size()},
                                       {"control_socket", config.control_socket}});
  bool watch_spreading = false;
  for (uint32_t i = 0; i < nic->ports(); ++i) watch_spreading |= nic->rss(i) != nullptr;
  serve(link, workers, signals, watch_spreading);
  log::info("stopping; every connection is reset");
  for (const auto& worker : workers) worker->stop();
  nic->wait();
  link.detach();
  return 0;
}

}  // namespace
}  // namespace sluice::dataplane

int main(int argc, char** argv) {
  CLI::App app{"The poll-mode dataplane of Sluice: TCP, TLS records, relay."};
  std::string path;
  bool check = false;
  app.add_option("-c,--config", path, "configuration file")->required();
  app.add_flag("--check", check, "check the dataplane's part of the file and exit");
  app.set_version_flag("--version", std::string("sluice-dataplane ") + SLUICE_VERSION);
  CLI11_PARSE(app, argc, argv);

  const auto config = sluice::abi::config::load_dataplane_config(path);
  if (!config) {
    std::fprintf(stderr, "%s\n", config.error().to_string().c_str());
    return 1;
  }
  if (check) return 0;
  sluice::log::configure(config->log_format, config->log_level);
  return sluice::dataplane::run(*config);
}
