// What sluice-dataplane needs of the configuration file. Control reads the same file, this part
// included, so that it refuses what the dataplane would refuse.
#pragma once

#include <cstdint>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "abi/address.h"
#include "abi/config/strict_table.h"
#include "abi/log/log.h"

namespace sluice::abi::config {

// Values of log_format and log_level, in both programs' tables.
inline constexpr Choice<log::Format> kLogFormats[] = {{"text", log::Format::Text},
                                                      {"json", log::Format::Json}};
inline constexpr Choice<log::Level> kLogLevels[] = {{"debug", log::Level::Debug},
                                                    {"info", log::Level::Info},
                                                    {"warning", log::Level::Warning},
                                                    {"error", log::Level::Error}};

enum class IdlePolicy : uint8_t { Spin, Relax };
enum class Hugepages : uint8_t { Auto, Required, Off };
enum class ListenerProtocol : uint8_t { Tls, Tcp };

struct PortAddress {
  IpAddress address;
  uint8_t prefix_length = 0;  // 1..32 for IPv4, 1..128 for IPv6
};

struct PortConfig {
  std::string name;
  std::string device;
  std::vector<PortAddress> addresses;  // at least one
  uint16_t mtu = 1500;
  uint16_t vlan = 0;  // 0: untagged
  bool has_gateway = false;
  IpAddress gateway;
};

struct BackendConfig {
  std::string name;
  SocketAddress address;
};

struct ListenerConfig {
  std::string name;
  SocketAddress address;
  ListenerProtocol protocol = ListenerProtocol::Tls;
  SocketAddress backend;  // Tcp only
};

struct DataplaneConfig {
  std::string control_socket;  // absolute
  std::vector<uint16_t> workers;
  uint16_t main_core = 0;
  IdlePolicy idle = IdlePolicy::Relax;
  Hugepages hugepages = Hugepages::Auto;
  uint32_t memory_mib = 1024;
  uint32_t max_connections = 65536;  // per worker
  uint32_t handshake_wait_ms = 10000;
  uint32_t idle_timeout_ms = 300000;
  std::vector<std::string> eal_arguments;
  log::Format log_format = log::Format::Text;
  log::Level log_level = log::Level::Info;
  std::vector<PortConfig> ports;
  std::vector<ListenerConfig> listeners;
  std::vector<BackendConfig> backends;
};

tl::expected<DataplaneConfig, Error> load_dataplane_config(const std::string& path);
// The same of an opened document, which the caller then goes on reading: [control], [tls] and
// [[host]] are left to it.
tl::expected<DataplaneConfig, Error> read_dataplane_config(const Document& document);

// Whether `address` lies in the network of `network`.
bool in_network(const IpAddress& address, const PortAddress& network);

}  // namespace sluice::abi::config
