// The dataplane's part of the configuration file: a good file is read in full; each row spoils one
// thing in it, and the whole error line is expected, position included.
#include "abi/config/dataplane_config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "config_support.h"

namespace sluice::abi::config {
namespace {

using test::error_of;
using test::expect_rows;
using test::kSampleConfig;
using test::replaced;

TEST(Config, ReadsTheSample) {
  const auto document = Document::parse(kSampleConfig, "/etc/sluice/sluice.toml");
  ASSERT_TRUE(document) << document.error().to_string();
  const auto config = read_dataplane_config(*document);
  ASSERT_TRUE(config) << config.error().to_string();
  EXPECT_EQ(config->control_socket, "/etc/sluice/run/dataplane.sock");
  EXPECT_EQ(config->workers, std::vector<uint16_t>{1});
  EXPECT_EQ(config->main_core, 0);
  EXPECT_EQ(config->idle, IdlePolicy::Relax);
  EXPECT_EQ(config->hugepages, Hugepages::Auto);
  EXPECT_EQ(config->memory_mib, 1024U);
  EXPECT_EQ(config->max_connections, 65536U);
  EXPECT_EQ(config->handshake_wait_ms, 10000U);
  EXPECT_EQ(config->idle_timeout_ms, 300000U);
  EXPECT_TRUE(config->eal_arguments.empty());
  ASSERT_EQ(config->ports.size(), 2U);
  const PortConfig& port = config->ports[0];
  EXPECT_EQ(port.name, "client");
  EXPECT_EQ(port.device.rfind("net_af_xdp0,", 0), 0U);
  ASSERT_EQ(port.addresses.size(), 1U);
  EXPECT_EQ(to_string(port.addresses[0].address), "10.99.1.10");
  EXPECT_EQ(port.addresses[0].prefix_length, 24);
  EXPECT_EQ(port.mtu, 1500);
  EXPECT_EQ(port.vlan, 0);
  EXPECT_TRUE(port.has_gateway);
  EXPECT_EQ(to_string(port.gateway), "10.99.1.1");
  EXPECT_FALSE(config->ports[1].has_gateway);
  EXPECT_EQ(config->ports[1].mtu, 1500);
  ASSERT_EQ(config->listeners.size(), 2U);
  EXPECT_EQ(config->listeners[0].protocol, ListenerProtocol::Tls);
  EXPECT_EQ(to_string(config->listeners[0].address), "10.99.1.10:443");
  EXPECT_EQ(config->listeners[1].protocol, ListenerProtocol::Tcp);
  EXPECT_EQ(to_string(config->listeners[1].backend), "10.99.2.2:8080");
  ASSERT_EQ(config->backends.size(), 3U);
  EXPECT_EQ(config->backends[2].name, "echo");
  EXPECT_EQ(to_string(config->backends[2].address), "10.99.2.2:7");
}

TEST(Config, DefaultsStandForWhatIsLeftOut) {
  const auto document = Document::parse(
      "[dataplane]\ncontrol_socket = \"/run/s\"\nworkers = [2, 3]\n"
      "[[port]]\nname = \"a\"\ndevice = \"0000:01:00.0\"\naddresses = [\"fd00::1/64\"]\n"
      "[[listener]]\nname = \"l\"\naddress = \"[fd00::1]:443\"\nprotocol = \"tls\"\n",
      "s.toml");
  ASSERT_TRUE(document);
  const auto config = read_dataplane_config(*document);
  ASSERT_TRUE(config) << config.error().to_string();
  EXPECT_EQ(config->control_socket, "/run/s");
  EXPECT_EQ(config->workers, (std::vector<uint16_t>{2, 3}));
  EXPECT_EQ(config->idle, IdlePolicy::Relax);
  EXPECT_EQ(config->memory_mib, 1024U);
  EXPECT_TRUE(config->backends.empty());
}

TEST(Config, RefusesKeys) {
  expect_rows({
      {"control_socket", "contrl_socket",
       "s.toml:3:1: unknown key 'contrl_socket', did you mean 'control_socket'?"},
      {"address = \"10.99.1.10:443\"", "adress = \"10.99.1.10:443\"",
       "s.toml:29:1: unknown key 'adress', did you mean 'address'?"},
      {"mtu = 1500", "speed = 10",
       "s.toml:18:1: unknown key 'speed' in [[port]]; remove it, known keys are: addresses, "
       "device, "
       "gateway, gateway6, mss_clamp, mtu, name, vlan"},
      {"[tls]", "[tlss]", "s.toml:57:2: unknown key 'tlss', did you mean 'tls'?"},
      {"[control]", "[metrics]",
       "s.toml:50:2: unknown key 'metrics' in the top level; remove it, known keys are: backend, "
       "control, dataplane, host, listener, policy, port, records, tls"},
      {"workers = [1]", "", "s.toml:2:1: 'workers' is missing in [dataplane]; add it"},
      {"name = \"https\"", "", "s.toml:27:1: 'name' is missing in [[listener]]; add it"},
      {"workers = [1]", "idle = \"spin\"",
       "s.toml:6:8: Error while parsing key-value pair: cannot redefine existing string 'idle'; "
       "correct the TOML syntax"},
  });
}

TEST(Config, RefusesTypesAndRanges) {
  expect_rows({
      {"workers = [1]", "workers = 1",
       "s.toml:4:11: 'workers' is an integer; write an array of "
       "integers, as in [0]"},
      {"workers = [1]", "workers = []", "s.toml:4:11: 'workers' has 0 elements; write 1 to 64"},
      {"workers = [1]", "workers = [1, \"2\"]",
       "s.toml:4:15: 'workers' is a string; write an integer from 0 to 1023"},
      {"workers = [1]", "workers = [1024]",
       "s.toml:4:12: 'workers' is 1024; write an integer from 0 to 1023"},
      {"main_core = 0", "main_core = -1",
       "s.toml:5:13: 'main_core' is -1; write an integer from 0 to 1023"},
      {"main_core = 0", "main_core = 0.0",
       "s.toml:5:13: 'main_core' is a floating-point number; write an integer from 0 to 1023"},
      {"idle = \"relax\"", "idle = \"Relax\"", "s.toml:6:8: 'idle' is 'Relax'; write 'relax'"},
      {"idle = \"relax\"", "idle = \"sleep\"",
       "s.toml:6:8: 'idle' is 'sleep'; write one of: spin, relax"},
      {"idle = \"relax\"", "idle = true",
       "s.toml:6:8: 'idle' is a boolean; write one of: spin, relax"},
      {"idle = \"relax\"", "idle = \"\"", "s.toml:6:8: 'idle' is ''; write one of: spin, relax"},
      {"memory_mib = 1024", "memory_mib = 63",
       "s.toml:8:14: 'memory_mib' is 63; write an integer from 64 to 1048576"},
      {"handshake_wait_ms = 10000", "handshake_wait_ms = 9223372036854775807",
       "s.toml:10:21: 'handshake_wait_ms' is 9223372036854775807; write an integer from 100 to "
       "120000"},
      {"eal_arguments = []", "eal_arguments = [\"-v\", 1]",
       "s.toml:12:24: 'eal_arguments' is an integer; write a string in quotes"},
      {"mtu = 1500", "mtu = 575", "s.toml:18:7: 'mtu' is 575; write an integer from 576 to 9216"},
      {"vlan = 0", "vlan = 4095", "s.toml:19:8: 'vlan' is 4095; write an integer from 0 to 4094"},
      {"name = \"client\"", "name = \"\"",
       "s.toml:15:8: 'name' is empty; give it a value or remove it"},
      {"name = \"client\"", "name = \"a\\nb\"",
       "s.toml:15:8: 'name' holds a control character; remove that"},
      {"name = \"client\"", "name = 2026-11-21",
       "s.toml:15:8: 'name' is a date; write a string in quotes"},
      {"protocol = \"tls\"", "protocol = \"tsl\"",
       "s.toml:30:12: 'protocol' is 'tsl'; write 'tls'"},
      {"[dataplane]", "[[dataplane]]",
       "s.toml:2:1: 'dataplane' is an array; write it as a table, [dataplane]"},
      {"[[backend]]\nname = \"files\"\naddress = \"10.99.2.2:8080\"\n\n[[backend]]\n"
       "name = \"files-h2c\"\naddress = \"10.99.2.2:8081\"\n\n[[backend]]",
       "[backend]", "s.toml:38:1: 'backend' is a table; write it as [[backend]]"},
  });
}

TEST(Config, RefusesAddresses) {
  expect_rows({
      {"\"10.99.1.10/24\"", "\"10.99.1.10\"",
       "s.toml:17:14: 'addresses' holds '10.99.1.10'; write address/prefix length, as in "
       "10.0.0.1/24"},
      {"\"10.99.1.10/24\"", "\"10.99.1.10/33\"",
       "s.toml:17:14: 'addresses' holds '10.99.1.10/33'; write address/prefix length, as in "
       "10.0.0.1/24"},
      {"\"10.99.1.10/24\"", "\"10.99.1.10/024\"",
       "s.toml:17:14: 'addresses' holds '10.99.1.10/024'; write address/prefix length, as in "
       "10.0.0.1/24"},
      {"\"10.99.1.10/24\"", "\"10.99.1.10/24\", \"fd00::1/129\"",
       "s.toml:17:31: 'addresses' holds 'fd00::1/129'; write address/prefix length, as in "
       "10.0.0.1/24"},
      {"\"10.99.1.10/24\"", "\"10.99.1.0/24\"",
       "s.toml:17:14: a host cannot have the address 10.99.1.0/24; write a unicast address inside "
       "its network"},
      {"\"10.99.1.10/24\"", "\"10.99.1.255/24\"",
       "s.toml:17:14: a host cannot have the address 10.99.1.255/24; write a unicast address "
       "inside its network"},
      {"\"10.99.1.10/24\"", "\"10.99.1.10/24\", \"127.0.0.1/8\"",
       "s.toml:17:31: a host cannot have the address 127.0.0.1/8; write a unicast address inside "
       "its network"},
      {"\"10.99.1.10/24\"", "\"10.99.1.10/24\", \"ff02::1/64\"",
       "s.toml:17:31: a host cannot have the address ff02::1/64; write a unicast address inside "
       "its network"},
      {"gateway = \"10.99.1.1\"", "gateway = \"10.99.1\"",
       "s.toml:20:11: 'gateway' is '10.99.1'; write an IP address, as in 10.0.0.1"},
      {"gateway = \"10.99.1.1\"", "gateway = \"fd00::1\"",
       "s.toml:20:11: 'gateway' is 'fd00::1', an IPv6 address; write it as gateway6"},
      {"gateway = \"10.99.1.1\"", "gateway6 = \"10.99.1.1\"",
       "s.toml:20:12: 'gateway6' is '10.99.1.1', an IPv4 address; write it as gateway"},
      {"gateway = \"10.99.1.1\"", "gateway6 = \"fd00:1\"",
       "s.toml:20:12: 'gateway6' is 'fd00:1'; write an IP address, as in fd00::1"},
      {"gateway = \"10.99.1.1\"", "gateway6 = \"\"",
       "s.toml:20:12: 'gateway6' is empty; give it a value or remove it"},
      {"\"10.99.1.10/24\"", "\"10.99.1.10/24\", \"::ffff:10.0.0.1/96\"",
       "s.toml:17:31: 'addresses' holds '::ffff:10.0.0.1/96'; write address/prefix length, as in "
       "10.0.0.1/24"},
      {"\"10.99.1.10/24\"", "\"10.99.1.10/24\", \"fd00::/64\"",
       "s.toml:17:31: a host cannot have the address fd00::/64; write a unicast address inside its "
       "network"},
      {"\"10.99.1.10/24\"", "\"10.99.1.10/24\", \"::1/128\"",
       "s.toml:17:31: a host cannot have the address ::1/128; write a unicast address inside its "
       "network"},
      {"\"10.99.1.10/24\"", "\"10.99.1.10/24\", \"::192.0.2.1/96\"",
       "s.toml:17:31: a host cannot have the address ::192.0.2.1/96; write a unicast address "
       "inside its network"},
      {"address = \"10.99.1.10:443\"", "address = \"10.99.1.10\"",
       "s.toml:29:11: 'address' is '10.99.1.10'; write address:port, as in 10.0.0.1:443 or "
       "[fd00::1]:443"},
  });
}

TEST(Config, RefusesContradictions) {
  expect_rows({
      {"workers = [1]", "workers = [1, 2, 1]",
       "s.toml:4:18: processor 1 has a worker already; name each once"},
      {"main_core = 0", "main_core = 1", ""},  // relax shares its processor
      {"main_core = 0                   # where the dataplane's main thread (slow path: attach, "
       "logs) runs\nidle = \"relax\"",
       "main_core = 1\nidle = \"spin\"",
       "s.toml:4:12: processor 1 is the main_core too, which a spinning worker would starve; "
       "choose "
       "another, or set idle = \"relax\""},
      {"name = \"backend\"", "name = \"client\"",
       "s.toml:23:8: the name 'client' is taken already; names of one kind differ"},
      {"name = \"plain\"", "name = \"https\"",
       "s.toml:33:8: the name 'https' is taken already; names of one kind differ"},
      {"name = \"echo\"", "name = \"files\"",
       "s.toml:47:8: the name 'files' is taken already; names of one kind differ"},
      {"\"10.99.2.10/24\"", "\"10.99.1.10/24\"",
       "s.toml:25:14: the address 10.99.1.10/24 is taken already; give each once"},
      {"device = \"net_af_xdp1,iface=dp-backend,", "device = \"net_af_xdp0,iface=dp-client,",
       "s.toml:24:10: this device belongs to port 'client' already; a device is one port"},
      {"gateway = \"10.99.1.1\"", "gateway = \"10.99.2.1\"",
       "s.toml:20:11: the gateway 10.99.2.1 is no host of this port's networks; write a router's "
       "address that the port can reach"},
      {"gateway = \"10.99.1.1\"", "gateway = \"10.99.1.255\"",
       "s.toml:20:11: the gateway 10.99.1.255 is no host of this port's networks; write a router's "
       "address that the port can reach"},
      {"gateway = \"10.99.1.1\"", "gateway = \"10.99.1.10\"",
       "s.toml:20:11: the gateway 10.99.1.10 is this port's own address; write the router's"},
      {"mtu = 1500", "mtu = 1500\nx-mtu = 1",
       "s.toml:19:1: unknown key 'x-mtu' in [[port]]; remove "
       "it, known keys are: addresses, device, gateway, gateway6, mss_clamp, mtu, name, vlan"},
      {"address = \"10.99.1.10:443\"", "address = \"10.99.1.11:443\"",
       "s.toml:29:11: 10.99.1.11 is no port's address; add it to the addresses of a [[port]]"},
      {"address = \"10.99.1.10:80\"", "address = \"10.99.1.10:443\"",
       "s.toml:34:11: 10.99.1.10:443 belongs to listener 'https' already; choose another port"},
      {"backend = \"files\"", "backend = \"file\"",
       "s.toml:36:11: there is no [[backend]] named 'file', did you mean 'files'?"},
      {"backend = \"files\"", "backend = \"database\"",
       "s.toml:36:11: there is no [[backend]] named 'database'; add it"},
      {"backend = \"files\"", "",
       "s.toml:32:1: a listener for tcp needs a backend; add backend = \"a name\""},
      {"protocol = \"tls\"", "protocol = \"tls\"\nbackend = \"files\"",
       "s.toml:31:11: a listener for tls has no backend of its own; remove it, [[host]] names the "
       "backend"},
      {"\"10.99.2.2:8080\"", "\"10.99.2.10:8080\"",
       "s.toml:40:11: 10.99.2.10 is not another host's address; write the backend's"},
      {"\"10.99.2.2:8080\"", "\"[fd00::2]:8080\"",
       "s.toml:40:11: fd00::2 is in no port's network and no port has a gateway; add an address or "
       "a gateway"},
      {"mtu = 1500", "mtu = 1000", ""},
  });
  EXPECT_EQ(error_of(replaced("\"10.99.1.10/24\"]\nmtu = 1500",
                              "\"10.99.1.10/24\", \"fd00::1/64\"]\nmtu = 1000")),
            "s.toml:18:7: IPv6 needs an mtu of 1280 or more, this is 1000; raise it");
}

TEST(Config, RefusesLongSocketPaths) {
  const std::string name(120, 'x');
  EXPECT_EQ(error_of(replaced("run/dataplane.sock", "/" + name)),
            "s.toml:3:18: the socket's path is longer than a UNIX socket's may be (107 bytes): /" +
                name + "; choose a shorter one");
}

// Several errors: the one that stands first in the file is reported.
TEST(Config, ReportsTheFirstErrorOfTheFile) {
  std::string text = replaced("address = \"10.99.2.2:7\"", "adress = \"10.99.2.2:7\"");
  EXPECT_EQ(error_of(text), "s.toml:48:1: unknown key 'adress', did you mean 'address'?");
  text.replace(text.find("mtu = 1500"), 10, "mtu = 1   ");
  EXPECT_EQ(error_of(text), "s.toml:18:7: 'mtu' is 1; write an integer from 576 to 9216");
  text.replace(text.find("idle = \"relax\""), 14, "idle = \"relay\"");
  EXPECT_EQ(error_of(text), "s.toml:6:8: 'idle' is 'relay'; write 'relax'");
}

TEST(Config, RefusesSyntax) {
  EXPECT_EQ(error_of(""), "s.toml:1:1: 'dataplane' is missing in the top level; add it");
  EXPECT_EQ(error_of("a = [1,"),
            "s.toml:1:8: Error while parsing array: encountered end-of-file; "
            "correct the TOML syntax");
  const std::string error = error_of("[dataplane]\nworkers = [1\nidle = 2\n");
  EXPECT_EQ(error.rfind("s.toml:3:1: ", 0), 0U) << error;
  EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  EXPECT_EQ(error_of(std::string("a = \"\x01\"\n")).rfind("s.toml:1:", 0), 0U);
  EXPECT_EQ(error_of(std::string("a = \"\xff\"\n")).rfind("s.toml:1:", 0), 0U);
}

TEST(Config, RefusesFiles) {
  auto config = load_dataplane_config("/nonexistent/sluice.toml");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().to_string(),
            "/nonexistent/sluice.toml: cannot be read: No such file or directory; name a file that "
            "exists and that this user may read");
  config = load_dataplane_config("/tmp");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().to_string(),
            "/tmp: cannot be read: Is a directory; name a file that "
            "exists and that this user may read");
  EXPECT_FALSE(load_dataplane_config("/dev/zero"));  // an endless file ends, too
}

TEST(Config, LoadsAFile) {
  char path[] = "/tmp/sluice-config-XXXXXX";
  const int fd = mkstemp(path);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(write(fd, kSampleConfig, sizeof kSampleConfig - 1),
            static_cast<ssize_t>(sizeof kSampleConfig - 1));
  close(fd);
  const auto config = load_dataplane_config(path);
  unlink(path);
  ASSERT_TRUE(config) << config.error().to_string();
  EXPECT_EQ(config->control_socket, "/tmp/run/dataplane.sock");
}

TEST(Config, KnowsNetworks) {
  struct Membership {
    const char* address;
    const char* network;
    uint8_t prefix_length;
    bool inside;
  };
  const Membership rows[] = {
      {"10.99.1.1", "10.99.1.10", 24, true},   {"10.99.2.1", "10.99.1.10", 24, false},
      {"10.99.1.127", "10.99.1.10", 25, true}, {"10.99.1.128", "10.99.1.10", 25, false},
      {"128.0.0.1", "255.0.0.1", 1, true},     {"127.0.0.1", "128.0.0.1", 1, false},
      {"10.99.1.10", "10.99.1.10", 32, true},  {"10.99.1.11", "10.99.1.10", 32, false},
      {"fd00::ffff", "fd00::1", 64, true},     {"fd00:0:0:1::1", "fd00::1", 64, false},
      {"fd00::1", "fd00::1", 128, true},       {"fd00::2", "fd00::1", 128, false},
      {"fd80::1", "fd00::1", 9, false},        {"10.0.0.1", "fd00::1", 1, false},
  };
  for (const Membership& row : rows) {
    IpAddress address;
    PortAddress network;
    ASSERT_TRUE(parse_ip_address(row.address, address));
    ASSERT_TRUE(parse_ip_address(row.network, network.address));
    network.prefix_length = row.prefix_length;
    EXPECT_EQ(in_network(address, network), row.inside) << row.address << " in " << row.network;
  }
}

}  // namespace
}  // namespace sluice::abi::config
