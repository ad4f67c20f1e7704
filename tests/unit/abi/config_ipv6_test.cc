// IPv6 addresses and gateways, and the MSS clamp, in the configuration file.
#include <gtest/gtest.h>

#include "abi/config/dataplane_config.h"
#include "config_support.h"

namespace sluice::abi::config {
namespace {

using test::error_of;
using test::expect_rows;
using test::replaced;

TEST(Config, Ipv6PortsAndMssClamp) {
  const std::string ipv6 =
      "\"10.99.1.10/24\", \"fd00:99:1::10/64\", \"2001:db8::/127\", \"fe80::53/64\"]\n"
      "gateway6 = ";
  const auto read = [&](const std::string& rest) {
    std::string text = replaced("\"10.99.1.10/24\"]\n", ipv6 + rest + "\n");
    const auto document = Document::parse(text, "s.toml");
    EXPECT_TRUE(document);
    return read_dataplane_config(*document);
  };
  const auto config = read("\"fd00:99:1::1\"\nmss_clamp = 1300");
  ASSERT_TRUE(config) << config.error().to_string();
  const PortConfig& port = config->ports[0];
  ASSERT_EQ(port.addresses.size(), 4U);
  EXPECT_EQ(to_string(port.addresses[1].address), "fd00:99:1::10");
  EXPECT_EQ(port.addresses[1].prefix_length, 64);
  EXPECT_TRUE(port.has_gateway);
  EXPECT_TRUE(port.has_gateway6);
  EXPECT_EQ(to_string(port.gateway), "10.99.1.1");
  EXPECT_EQ(to_string(port.gateway6), "fd00:99:1::1");
  EXPECT_EQ(port.mss_clamp, 1300);
  EXPECT_FALSE(config->ports[1].has_gateway6);
  EXPECT_EQ(config->ports[1].mss_clamp, 0);
  EXPECT_TRUE(read("\"fe80::1\"")) << "a router's link-local address";

  const auto error = [&](const std::string& rest) {
    const auto refused = read(rest);
    return refused ? "" : refused.error().to_string();
  };
  EXPECT_EQ(error("\"2001:db8:1::1\""),
            "s.toml:18:12: the gateway 2001:db8:1::1 is no host of this port's networks; write a "
            "router's address that the port can reach");
  EXPECT_EQ(error("\"fd00:99:1::10\""),
            "s.toml:18:12: the gateway fd00:99:1::10 is this port's own address; write the "
            "router's");
  EXPECT_EQ(error("\"fd00:99:1::1\"\nmss_clamp = 535"),
            "s.toml:19:13: 'mss_clamp' is 535; write 0 for none, or 536 or more");
  EXPECT_EQ(error("\"fd00:99:1::1\"\nmss_clamp = 9177"),
            "s.toml:19:13: 'mss_clamp' is 9177; write an integer from 0 to 9176");
  EXPECT_EQ(error("\"fd00:99:1::1\"\nmss_clamp = -1"),
            "s.toml:19:13: 'mss_clamp' is -1; write an integer from 0 to 9176");
  expect_rows({
      {"gateway = \"10.99.1.1\"", "gateway6 = \"fe80::1\"",
       "s.toml:20:12: the gateway fe80::1 is no host of this port's networks; write a router's "
       "address that the port can reach"},
  });
}

// A backend is reached through a gateway of its own family.
TEST(Config, GatewaysServeTheirFamily) {
  const std::string backend = "address = \"10.99.2.2:7\"";
  std::string text = replaced(backend, "address = \"[2001:db8::7]:7\"");
  EXPECT_EQ(error_of(text).rfind("s.toml:48:11: 2001:db8::7 is in no port's network", 0), 0U);
  text.replace(text.find("gateway = \"10.99.1.1\""), 21, "gateway6 = \"fd00::1\"  ");
  text.replace(text.find("\"10.99.1.10/24\"]"), 16, "\"10.99.1.10/24\", \"fd00::9/64\"]");
  EXPECT_EQ(error_of(text), "");
}

}  // namespace
}  // namespace sluice::abi::config
