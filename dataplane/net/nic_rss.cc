// How a port spreads what it receives, by its own word.
//
// Job: after the start, read the RSS key, the hash types and the indirection table (RETA) as the
// device really has them - never what was asked for - and make an RssMap of it, checked against
// the plain hash on random tuples. The key is never written: on many NICs it belongs to somebody
// else or is fixed.
// A port without RSS, with fewer queues than workers, or whose word makes no map is no error: the
// workers then spread by themselves, over the rings between them.
#include <rte_ethdev.h>

#include <random>

#include "net/nic_internal.h"

namespace sluice::net {
namespace {

constexpr uint32_t kSelfTestTuples = 1000;
constexpr uint8_t kDefaultKeyBytes = 40;

bool read_key(const Port& port, const rte_eth_dev_info& info, RssSettings& settings) {
  settings.key.resize(info.hash_key_size != 0 ? info.hash_key_size : kDefaultKeyBytes);
  rte_eth_rss_conf conf = {};
  conf.rss_key = settings.key.data();
  conf.rss_key_len = static_cast<uint8_t>(settings.key.size());
  if (rte_eth_dev_rss_hash_conf_get(port.id, &conf) != 0) return false;
  settings.ipv4_tcp = (conf.rss_hf & RTE_ETH_RSS_NONFRAG_IPV4_TCP) != 0;
  settings.ipv6_tcp = (conf.rss_hf & RTE_ETH_RSS_NONFRAG_IPV6_TCP) != 0;
  return true;
}

bool read_table(const Port& port, const rte_eth_dev_info& info, RssSettings& settings) {
  const uint32_t groups = (info.reta_size + RTE_ETH_RETA_GROUP_SIZE - 1U) / RTE_ETH_RETA_GROUP_SIZE;
  std::vector<rte_eth_rss_reta_entry64> table(groups);
  for (uint32_t i = 0; i < info.reta_size; ++i) {
    table[i / RTE_ETH_RETA_GROUP_SIZE].mask |= uint64_t{1} << i % RTE_ETH_RETA_GROUP_SIZE;
  }
  if (groups == 0 || rte_eth_dev_rss_reta_query(port.id, table.data(), info.reta_size) != 0) {
    return false;
  }
  for (uint32_t i = 0; i < info.reta_size; ++i) {
    settings.reta.push_back(table[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE]);
  }
  return true;
}

std::string read_settings(const Port& port, RssSettings& settings) {
  rte_eth_dev_info info;
  if (rte_eth_dev_info_get(port.id, &info) != 0 || info.flow_type_rss_offloads == 0) {
    return "it has no RSS";
  }
  if (!read_key(port, info, settings)) return "it does not tell its RSS key";
  if (!read_table(port, info, settings)) return "it does not tell its RSS table";
  return {};
}

// Null with a sentence in `problem` when there is none. `given` comes from the settings.
std::shared_ptr<const RssMap> make_map(const Port& port, const RssMap* given,
                                       std::string& problem) {
  RssSettings settings;
  if (given != nullptr) {
    settings = given->settings();
  } else {
    problem = read_settings(port, settings);
    if (!problem.empty()) return nullptr;
  }
  auto map = std::make_shared<RssMap>();
  if (!map->build(settings, port.queues, problem)) return nullptr;
  if (map->self_test(std::random_device()(), kSelfTestTuples)) return map;
  problem = "its RSS hash fails our self-test";
  return nullptr;
}

}  // namespace

void read_rss(Port& port, uint32_t workers, std::vector<std::string>& notes) {
  port.spreading = "none";
  if (workers == 1 || port.queues < workers) {
    if (workers > 1) port.spreading = "the workers";
    port.rss = nullptr;
    return;
  }
  std::string problem;
  port.rss = make_map(port, port.rss.get(), problem);
  if (port.rss != nullptr) {
    const RssSettings& settings = port.rss->settings();
    port.spreading = "RSS, key of " + std::to_string(settings.key.size()) + " bytes, table of " +
                     std::to_string(settings.reta.size()) + (settings.ipv4_tcp ? ", IPv4" : "") +
                     (settings.ipv6_tcp ? ", IPv6" : "");
    return;
  }
  port.spreading = "the workers";
  notes.push_back("port " + port.interface.name + " is not trusted to spread packets: " + problem +
                  "; packets change cores through rings");
}

}  // namespace sluice::net
