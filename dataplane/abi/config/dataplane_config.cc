// Reading what the dataplane needs of the configuration file.
//
// Two passes. The first reads every table of ours, value by value, and ends with the document's
// verdict on types, ranges and keys. The second looks at what values mean together (names,
// networks, who listens where) and so may rely on each of them. Positions for its errors come from
// the Table handles that the first pass kept beside what it read.
#include "abi/config/dataplane_config.h"

#include <sys/un.h>

#include <algorithm>
#include <charconv>

#include "abi/limits.h"

namespace sluice::abi::config {
namespace {

constexpr Choice<IdlePolicy> kIdlePolicies[] = {{"spin", IdlePolicy::Spin},
                                                {"relax", IdlePolicy::Relax}};
constexpr Choice<Hugepages> kHugepages[] = {
    {"auto", Hugepages::Auto}, {"required", Hugepages::Required}, {"off", Hugepages::Off}};
constexpr Choice<ListenerProtocol> kProtocols[] = {{"tls", ListenerProtocol::Tls},
                                                   {"tcp", ListenerProtocol::Tcp}};

// What was read, and where: the vectors of handles run parallel to those of the configuration.
struct Reading {
  DataplaneConfig config;
  std::vector<Table> ports;
  std::vector<Table> listeners;
  std::vector<std::string> listener_backends;  // names, "" when not given
  std::vector<Table> backends;
};

// ---- First pass: values

// False when the key is absent.
bool read_gateway(const Table& table, std::string_view key, bool ipv4, IpAddress& gateway) {
  const std::string text = table.optional_string(key, "");
  if (text.empty()) return table.has(key);
  if (!parse_ip_address(text, gateway)) {
    table.fail(key, quote(key) + " is " + quote(text) + "; write an IP address, as in " +
                        (ipv4 ? "10.0.0.1" : "fd00::1"));
  } else if (gateway.is_ipv4() != ipv4) {
    table.fail(key, quote(key) + " is " + quote(text) + ", an " + (ipv4 ? "IPv6" : "IPv4") +
                        " address; write it as " + (ipv4 ? "gateway6" : "gateway"));
  }
  return true;
}

SocketAddress socket_address(const Table& table, std::string_view key) {
  SocketAddress address;
  const std::string text = table.required_string(key);
  if (!text.empty() && !parse_socket_address(text, address)) {
    table.fail(key, quote(key) + " is " + quote(text) +
                        "; write address:port, as in 10.0.0.1:443 or [fd00::1]:443");
  }
  return address;
}

bool parse_port_address(const std::string& text, PortAddress& out) {
  const size_t slash = text.find('/');
  if (slash == std::string::npos || !parse_ip_address(text.substr(0, slash), out.address)) {
    return false;
  }
  const uint8_t most = out.address.is_ipv4() ? 32 : 128;
  const char* const end = text.data() + text.size();
  const char* const digits = text.data() + slash + 1;
  const auto [stop, error] = std::from_chars(digits, end, out.prefix_length);
  return error == std::errc() && stop == end && *digits != '0' && out.prefix_length <= most;
}

void read_dataplane(const Document& document, const Table& table, DataplaneConfig& config) {
  config.control_socket = document.resolve(table.required_string("control_socket"));
  if (config.control_socket.size() >= sizeof(sockaddr_un::sun_path)) {
    table.fail("control_socket",
               "the socket's path is longer than a UNIX socket's may be (107 "
               "bytes): " +
                   config.control_socket + "; choose a shorter one");
  }
  for (const int64_t id : table.required_integers("workers", 0, kMaxProcessorId, kMaxWorkers)) {
    config.workers.push_back(static_cast<uint16_t>(id));
  }
  config.main_core = static_cast<uint16_t>(
      table.optional_integer("main_core", config.main_core, 0, kMaxProcessorId));
  config.idle = table.optional_enum("idle", kIdlePolicies, config.idle);
  config.hugepages = table.optional_enum("hugepages", kHugepages, config.hugepages);
  const auto number = [&table](std::string_view key, uint32_t& value, uint32_t least,
                               uint32_t most) {
    value = static_cast<uint32_t>(table.optional_integer(key, value, least, most));
  };
  number("memory_mib", config.memory_mib, kMinMemoryMib, kMaxMemoryMib);
  number("max_connections", config.max_connections, 1, kMaxFlows);
  number("max_connections_per_source", config.max_connections_per_source, 0, kMaxFlows);
  const auto bits = [&table](std::string_view key, uint8_t& value, uint32_t least, uint32_t most) {
    value = static_cast<uint8_t>(table.optional_integer(key, value, least, most));
  };
  bits("source_bits_ipv4", config.source_bits_ipv4, kMinSourceBitsIpv4, 32);
  bits("source_bits_ipv6", config.source_bits_ipv6, kMinSourceBitsIpv6, 128);
  number("handshake_wait_ms", config.handshake_wait_ms, kMinHandshakeWaitMs, kMaxHandshakeWaitMs);
  number("idle_timeout_ms", config.idle_timeout_ms, kMinIdleTimeoutMs, kMaxIdleTimeoutMs);
  config.eal_arguments = table.optional_strings("eal_arguments", kMaxEalArguments);
  config.log_format = table.optional_enum("log_format", kLogFormats, config.log_format);
  config.log_level = table.optional_enum("log_level", kLogLevels, config.log_level);
}

PortConfig read_port(const Table& table) {
  PortConfig port;
  port.name = table.required_string("name");
  port.device = table.required_string("device");
  const auto texts = table.required_strings("addresses", kMaxPortAddresses);
  for (size_t i = 0; i < texts.size(); ++i) {
    PortAddress address;
    if (!texts[i].empty() && !parse_port_address(texts[i], address)) {
      table.fail("addresses", i,
                 quote("addresses") + " holds " + quote(texts[i]) +
                     "; write address/prefix length, as in 10.0.0.1/24");
    }
    port.addresses.push_back(address);
  }
  port.mtu =
      static_cast<uint16_t>(table.optional_integer("mtu", port.mtu, kMinMtuBytes, kMaxMtuBytes));
  port.vlan = static_cast<uint16_t>(table.optional_integer("vlan", port.vlan, 0, kMaxVlan));
  port.has_gateway = read_gateway(table, "gateway", true, port.gateway);
  port.has_gateway6 = read_gateway(table, "gateway6", false, port.gateway6);
  port.mss_clamp =
      static_cast<uint16_t>(table.optional_integer("mss_clamp", 0, 0, kMaxMssClampBytes));
  if (port.mss_clamp != 0 && port.mss_clamp < kMinMssClampBytes) {
    table.fail("mss_clamp", "'mss_clamp' is " + std::to_string(port.mss_clamp) +
                                "; write 0 for none, or " + std::to_string(kMinMssClampBytes) +
                                " or more");
  }
  return port;
}

void read_tables(const Document& document, Reading& reading) {
  const Table root = document.root();
  root.ignore({"control", "tls", "policy", "host"});
  DataplaneConfig& config = reading.config;
  read_dataplane(document, root.required_table("dataplane"), config);
  config.records = read_records(root.optional_table("records"));
  reading.ports = root.required_tables("port", kMaxPorts);
  for (const Table& table : reading.ports) config.ports.push_back(read_port(table));
  reading.listeners = root.required_tables("listener", kMaxListeners);
  for (const Table& table : reading.listeners) {
    ListenerConfig listener;
    listener.name = table.required_string("name");
    listener.address = socket_address(table, "address");
    listener.protocol = table.required_enum("protocol", kProtocols);
    reading.listener_backends.push_back(table.optional_string("backend", ""));
    config.listeners.push_back(std::move(listener));
  }
  reading.backends = root.optional_tables("backend", kMaxBackends);
  for (const Table& table : reading.backends) {
    config.backends.push_back({table.required_string("name"), socket_address(table, "address")});
  }
}

// ---- Second pass: meaning

// Every element's `name` differs from those before it.
template <class T>
void check_names(const std::vector<T>& elements, const std::vector<Table>& tables) {
  for (size_t i = 0; i < elements.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (elements[i].name != elements[j].name) continue;
      tables[i].fail("name", "the name " + quote(elements[i].name) +
                                 " is taken already; names of one kind differ");
    }
  }
}

// A network or broadcast address, or one of a kind that no host has.
bool is_host_address(const IpAddress& address) {
  if (address.is_ipv4()) {
    const uint32_t first = address.ipv4() >> 24;
    return first != 0 && first != 127 && first < 224;  // RFC 1122 3.2.1.3
  }
  // RFC 4291 2.5.2, 2.5.3, 2.5.5.1: ::/96 is no address, loopback and deprecated ones.
  const bool low = std::all_of(address.bytes.begin(), address.bytes.begin() + 12,
                               [](uint8_t byte) { return byte == 0; });
  return !low && address.bytes[0] != 0xff;
}

bool is_link_local(const IpAddress& address) {
  return address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80;
}

// RFC 4291 2.6.1: the address that all routers of a network share.
bool is_router_anycast(const IpAddress& address, uint8_t prefix_length) {
  if (prefix_length >= 127) return false;  // RFC 6164
  uint32_t host_bits = 0;
  for (uint32_t bit = prefix_length; bit < 128; ++bit) {
    host_bits |= address.bytes[bit / 8] >> (7 - bit % 8) & 1U;
  }
  return host_bits == 0;
}

bool is_host_of(const IpAddress& address, const PortAddress& network) {
  if (!is_host_address(address)) return false;
  if (!address.is_ipv4()) return !is_router_anycast(address, network.prefix_length);
  if (network.prefix_length >= 31) return true;  // RFC 3021: no broadcast
  const uint32_t host_mask = UINT32_MAX >> network.prefix_length;
  const uint32_t host = address.ipv4() & host_mask;
  return host != 0 && host != host_mask;
}

void check_workers(const DataplaneConfig& config, const Table& table) {
  for (size_t i = 0; i < config.workers.size(); ++i) {
    const auto end = config.workers.begin() + static_cast<std::ptrdiff_t>(i);
    const std::string id = std::to_string(config.workers[i]);
    if (std::find(config.workers.begin(), end, config.workers[i]) != end) {
      table.fail("workers", i, "processor " + id + " has a worker already; name each once");
    } else if (config.idle == IdlePolicy::Spin && config.workers[i] == config.main_core) {
      table.fail("workers", i,
                 "processor " + id +
                     " is the main_core too, which a spinning worker "
                     "would starve; choose another, or set idle = \"relax\"");
    }
  }
}

void check_gateway(const PortConfig& port, const Table& table, std::string_view key,
                   const IpAddress& gateway) {
  const std::string text = to_string(gateway);
  bool speaks_ipv6 = false;
  for (const PortAddress& own : port.addresses) {
    if (own.address == gateway) {
      return table.fail(key, "the gateway " + text +
                                 " is this port's own address; write "
                                 "the router's");
    }
    speaks_ipv6 = speaks_ipv6 || !own.address.is_ipv4();
    if (in_network(gateway, own) && is_host_of(gateway, own)) return;
  }
  // A router says its link-local address in its advertisements, and often has no other.
  if (is_link_local(gateway) && speaks_ipv6) return;
  table.fail(key, "the gateway " + text +
                      " is no host of this port's networks; write a "
                      "router's address that the port can reach");
}

void check_ports(const Reading& reading) {
  const std::vector<PortConfig>& ports = reading.config.ports;
  std::vector<IpAddress> taken;
  for (size_t p = 0; p < ports.size(); ++p) {
    const Table& table = reading.ports[p];
    for (size_t q = 0; q < p; ++q) {
      if (ports[p].device == ports[q].device) {
        table.fail("device", "this device belongs to port " + quote(ports[q].name) +
                                 " already; a device is one port");
      }
    }
    for (size_t i = 0; i < ports[p].addresses.size(); ++i) {
      const PortAddress& own = ports[p].addresses[i];
      const std::string text = to_string(own.address) + "/" + std::to_string(own.prefix_length);
      if (std::find(taken.begin(), taken.end(), own.address) != taken.end()) {
        table.fail("addresses", i, "the address " + text + " is taken already; give each once");
      } else if (!is_host_of(own.address, own)) {
        table.fail("addresses", i,
                   "a host cannot have the address " + text +
                       "; write a unicast address inside its network");
      } else if (!own.address.is_ipv4() && ports[p].mtu < kMinMtuIpv6Bytes) {
        table.fail("mtu", "IPv6 needs an mtu of 1280 or more, this is " +
                              std::to_string(ports[p].mtu) + "; raise it");
      }
      taken.push_back(own.address);
    }
    if (ports[p].has_gateway) check_gateway(ports[p], table, "gateway", ports[p].gateway);
    if (ports[p].has_gateway6) check_gateway(ports[p], table, "gateway6", ports[p].gateway6);
  }
}

bool is_port_address(const DataplaneConfig& config, const IpAddress& address) {
  return std::any_of(config.ports.begin(), config.ports.end(), [&](const PortConfig& port) {
    return std::any_of(port.addresses.begin(), port.addresses.end(),
                       [&](const PortAddress& own) { return own.address == address; });
  });
}

// Directly on a port's network, or through a gateway of the same family.
bool is_reachable(const DataplaneConfig& config, const IpAddress& address) {
  return std::any_of(config.ports.begin(), config.ports.end(), [&](const PortConfig& port) {
    if (address.is_ipv4() ? port.has_gateway : port.has_gateway6) return true;
    return std::any_of(port.addresses.begin(), port.addresses.end(),
                       [&](const PortAddress& own) { return in_network(address, own); });
  });
}

void check_backends(const Reading& reading) {
  for (size_t b = 0; b < reading.backends.size(); ++b) {
    const IpAddress& address = reading.config.backends[b].address.address;
    if (!is_host_address(address) || is_port_address(reading.config, address)) {
      reading.backends[b].fail("address", to_string(address) +
                                              " is not another host's address; "
                                              "write the backend's");
    } else if (!is_reachable(reading.config, address)) {
      reading.backends[b].fail("address", to_string(address) +
                                              " is in no port's network and no "
                                              "port has a gateway; add an address or a gateway");
    }
  }
}

void find_listener_backend(Reading& reading, size_t number) {
  const Table& table = reading.listeners[number];
  ListenerConfig& listener = reading.config.listeners[number];
  const std::string& name = reading.listener_backends[number];
  if (listener.protocol == ListenerProtocol::Tls) {
    if (!name.empty()) {
      table.fail("backend",
                 "a listener for tls has no backend of its own; remove it, [[host]] "
                 "names the backend");
    }
    return;
  }
  if (name.empty()) {
    return table.fail("a listener for tcp needs a backend; add backend = \"a name\"");
  }
  std::vector<std::string_view> names;
  for (const BackendConfig& backend : reading.config.backends) {
    names.push_back(backend.name);
    if (backend.name != name) continue;
    listener.backend = backend.address;
    return;
  }
  const auto meant = suggest(name, names);
  table.fail("backend", "there is no [[backend]] named " + quote(name) +
                            (meant ? ", did you mean " + quote(*meant) + "?" : "; add it"));
}

void check_listeners(Reading& reading) {
  std::vector<ListenerConfig>& listeners = reading.config.listeners;
  for (size_t i = 0; i < listeners.size(); ++i) {
    const SocketAddress& address = listeners[i].address;
    if (!is_port_address(reading.config, address.address)) {
      reading.listeners[i].fail("address", to_string(address.address) +
                                               " is no port's address; "
                                               "add it to the addresses of a [[port]]");
    }
    for (size_t j = 0; j < i; ++j) {
      if (!(listeners[j].address == address)) continue;
      reading.listeners[i].fail("address", to_string(address) + " belongs to listener " +
                                               quote(listeners[j].name) +
                                               " already; choose another port");
    }
    find_listener_backend(reading, i);
  }
}

}  // namespace

bool in_network(const IpAddress& address, const PortAddress& network) {
  if (address.is_ipv4() != network.address.is_ipv4()) return false;
  const uint32_t bits = network.prefix_length + (address.is_ipv4() ? 96U : 0U);
  for (uint32_t bit = 0; bit < bits; bit += 8) {
    const uint32_t left = bits - bit;
    const uint32_t mask = left >= 8 ? 0xffU : 0xff00U >> left & 0xffU;
    const uint32_t difference = static_cast<uint32_t>(address.bytes[bit / 8]) ^
                                static_cast<uint32_t>(network.address.bytes[bit / 8]);
    if ((difference & mask) != 0) return false;
  }
  return true;
}

tl::expected<DataplaneConfig, Error> read_dataplane_config(const Document& document) {
  Reading reading;
  read_tables(document, reading);
  if (const auto verdict = document.check(); !verdict) return tl::unexpected(verdict.error());
  check_workers(reading.config, document.root().required_table("dataplane"));
  check_names(reading.config.ports, reading.ports);
  check_names(reading.config.listeners, reading.listeners);
  check_names(reading.config.backends, reading.backends);
  check_ports(reading);
  check_backends(reading);
  check_listeners(reading);
  if (const auto verdict = document.check(); !verdict) return tl::unexpected(verdict.error());
  return std::move(reading.config);
}

tl::expected<DataplaneConfig, Error> load_dataplane_config(const std::string& path) {
  const auto document = Document::load(path);
  if (!document) return tl::unexpected(document.error());
  return read_dataplane_config(*document);
}

}  // namespace sluice::abi::config
