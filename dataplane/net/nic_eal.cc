// DPDK's environment.
//
// Job: turn the settings into EAL's arguments and start it. Worker w is lcore w + 1, lcore 0 is the
// main thread; each is bound to the processor that the configuration names. With hugepages the
// memory is anonymous (--in-memory: nothing of a dead process stays behind) in one file per page
// size (--single-file-segments: vhost peers have room for few regions); without them it is plain
// memory. IO addresses are virtual ones in both cases. PCI is only probed when a port asks for it.
#include <rte_eal.h>
#include <rte_errno.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>

#include "net/nic_internal.h"

namespace sluice::net {
namespace {

// What the kernel has free, over all page sizes.
uint64_t free_hugepages_mib() {
  uint64_t mib = 0;
  for (const uint64_t page_kib : {2048ULL, 1048576ULL}) {
    std::ifstream file("/sys/kernel/mm/hugepages/hugepages-" + std::to_string(page_kib) +
                       "kB/free_hugepages");
    uint64_t pages = 0;
    if (file >> pages) mib += pages * page_kib / 1024;
  }
  return mib;
}

// "0000:03:00.0" or "03:00.0", with or without arguments behind a comma.
bool is_pci(const std::string& device) {
  const std::string name = device_name(device);
  const size_t colons = static_cast<size_t>(std::count(name.begin(), name.end(), ':'));
  return (colons == 1 || colons == 2) && name.find('.') != std::string::npos &&
         std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return std::isxdigit(c) != 0 || c == ':' || c == '.'; });
}

bool choose_hugepages(const NicSettings& settings, EalChoice& choice, std::string& error,
                      std::vector<std::string>& notes) {
  if (settings.hugepages == Hugepages::Off) {
    choice.hugepages = false;
    return true;
  }
  const uint64_t free_mib = free_hugepages_mib();
  choice.hugepages = free_mib >= settings.memory_mib;
  if (choice.hugepages) return true;
  const std::string found = std::to_string(free_mib) +
                            " MiB of hugepages are free, memory_mib is " +
                            std::to_string(settings.memory_mib);
  if (settings.hugepages == Hugepages::Required) {
    error = found + ": reserve more (echo " + std::to_string(settings.memory_mib / 2) +
            " > /proc/sys/vm/nr_hugepages) or set hugepages = \"auto\"";
    return false;
  }
  notes.push_back(found + ": continuing without hugepages, more slowly");
  return true;
}

std::string lcore_map(const NicSettings& settings) {
  std::string map = "--lcores=0@" + std::to_string(settings.main_core);
  for (size_t i = 0; i < settings.workers.size(); ++i) {
    map += "," + std::to_string(i + 1) + "@" + std::to_string(settings.workers[i]);
  }
  return map;
}

std::vector<std::string> eal_arguments(const NicSettings& settings, const EalChoice& choice) {
  std::vector<std::string> arguments = {settings.program,
                                        lcore_map(settings),
                                        "--main-lcore=0",
                                        "-m",
                                        std::to_string(settings.memory_mib),
                                        "--iova-mode=va",
                                        "--no-telemetry",
                                        "--log-level=" + settings.log_level};
  if (choice.hugepages) {
    arguments.insert(arguments.end(), {"--in-memory", "--single-file-segments"});
  } else {
    arguments.insert(arguments.end(), {"--no-huge", "--no-shconf"});
  }
  bool pci = false;
  for (const PortSettings& port : settings.ports) {
    pci = pci || is_pci(port.device);
    arguments.push_back(is_pci(port.device) ? "-a" : "--vdev");
    arguments.push_back(port.device);
  }
  if (!pci) arguments.push_back("--no-pci");
  arguments.insert(arguments.end(), settings.eal_arguments.begin(), settings.eal_arguments.end());
  return arguments;
}

}  // namespace

std::string device_name(const std::string& device) { return device.substr(0, device.find(',')); }

bool start_eal(const NicSettings& settings, EalChoice& choice, std::string& error,
               std::vector<std::string>& notes) {
  if (!choose_hugepages(settings, choice, error, notes)) return false;
  // libxdp: our program is the only one on its interface; without this it first tries to install
  // a dispatcher for several, which needs a mounted bpffs and fails noisily on many kernels.
  setenv("LIBXDP_SKIP_DISPATCHER", "1", 0);
  std::vector<std::string> arguments = eal_arguments(settings, choice);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  if (rte_eal_init(static_cast<int>(argv.size()) - 1, argv.data()) < 0) {
    error = std::string("DPDK does not start: ") + rte_strerror(rte_errno) + " (arguments:";
    for (size_t i = 1; i < arguments.size(); ++i) error += " " + arguments[i];
    error += "); its own lines above say more";
    return false;
  }
  // attach() hands virtual addresses to the ports.
  if (rte_eal_iova_mode() != RTE_IOVA_VA) {
    error = "DPDK uses physical IO addresses; enable the IOMMU or remove --iova-mode=pa";
    return false;
  }
  return true;
}

}  // namespace sluice::net
