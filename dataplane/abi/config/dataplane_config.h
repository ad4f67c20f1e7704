// What sluice-dataplane needs of the configuration file. Control reads the same file, this part
// included, so that it refuses what the dataplane would refuse.
#pragma once

#include <cstdint>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "abi/address.h"
#include "abi/config/records_config.h"
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

// What mss_clamp may be, but for 0. RFC 9293 3.7.1: 536 is what every host takes over IPv4.
inline constexpr uint32_t kMinMssClampBytes = 536;
inline constexpr uint32_t kMaxMssClampBytes = 9176;  // the largest mtu without both headers

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
  bool has_gateway6 = false;
  IpAddress gateway;       // IPv4
  IpAddress gateway6;      // IPv6, link-local ones too
  uint16_t mss_clamp = 0;  // TCP payload of a packet on this port at most; 0: what the MTU allows
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
  // Of one client network, per worker; 0: no limit.
  uint32_t max_connections_per_source = 0;
  uint8_t source_bits_ipv4 = 24;
  uint8_t source_bits_ipv6 = 56;
  uint32_t handshake_wait_ms = 10000;
  uint32_t idle_timeout_ms = 300000;
  std::vector<std::string> eal_arguments;
  log::Format log_format = log::Format::Text;
  log::Level log_level = log::Level::Info;
  RecordsConfig records;
  std::vector<PortConfig> ports;
  std::vector<ListenerConfig> listeners;
  std::vector<BackendConfig> backends;
};

tl::expected<DataplaneConfig, Error> load_dataplane_config(const std::string& path);
// The same of an opened document, which the caller then goes on reading: [control], [tls], [policy]
// and [[host]] are left to it.
tl::expected<DataplaneConfig, Error> read_dataplane_config(const Document& document);

// Whether `address` lies in the network of `network`.
bool in_network(const IpAddress& address, const PortAddress& network);

}  // namespace sluice::abi::config
