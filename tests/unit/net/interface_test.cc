#include "net/interface.h"

#include <gtest/gtest.h>

#include "support.h"

namespace sluice::net {
namespace {

using test::ip;

TEST(Interface, Prefixes) {
  EXPECT_TRUE(same_prefix(ip("10.99.1.10"), ip("10.99.1.200"), 24));
  EXPECT_FALSE(same_prefix(ip("10.99.1.10"), ip("10.99.2.10"), 24));
  EXPECT_TRUE(same_prefix(ip("10.99.1.10"), ip("10.99.1.11"), 31));
  EXPECT_FALSE(same_prefix(ip("10.99.1.10"), ip("10.99.1.12"), 31));
  EXPECT_FALSE(same_prefix(ip("10.99.1.10"), ip("10.99.1.11"), 32));
  EXPECT_TRUE(same_prefix(ip("10.99.1.10"), ip("192.0.2.1"), 0));
  EXPECT_TRUE(same_prefix(ip("fd00::1"), ip("fd00::ffff"), 64));
  EXPECT_FALSE(same_prefix(ip("fd00::1"), ip("fd01::1"), 16));
  EXPECT_FALSE(same_prefix(ip("fd00::1"), ip("10.99.1.1"), 0));
  EXPECT_FALSE(same_prefix(ip("10.99.1.1"), ip("10.99.1.1"), 33));
}

TEST(Interface, NextHop) {
  Interface interface = test::ours();
  abi::IpAddress hop;
  ASSERT_TRUE(interface.next_hop(ip("10.99.1.77"), hop));
  EXPECT_EQ(hop, ip("10.99.1.77"));
  ASSERT_TRUE(interface.next_hop(ip("192.0.2.1"), hop));
  EXPECT_EQ(hop, ip("10.99.1.1"));
  EXPECT_FALSE(interface.next_hop(ip("fd00::1"), hop));
  interface.has_gateway = false;
  EXPECT_FALSE(interface.next_hop(ip("192.0.2.1"), hop));
}

TEST(Interface, Broadcast) {
  Interface interface = test::ours();
  EXPECT_TRUE(interface.is_broadcast(ip("10.99.1.255")));
  EXPECT_TRUE(interface.is_broadcast(ip("255.255.255.255")));
  EXPECT_FALSE(interface.is_broadcast(ip("10.99.2.255")));
  Interface narrow;
  ASSERT_TRUE(narrow.add_address({ip("10.0.0.0"), 31}));
  EXPECT_FALSE(narrow.is_broadcast(ip("10.0.0.1"))) << "RFC 3021";
}

TEST(Interface, Addresses) {
  Interface interface = test::ours();
  ASSERT_TRUE(interface.add_address({ip("10.98.0.5"), 16}));
  EXPECT_FALSE(interface.add_address({ip("10.98.0.6"), 33}));
  abi::IpAddress source;
  ASSERT_TRUE(interface.source_for(ip("10.98.3.4"), source));
  EXPECT_EQ(source, ip("10.98.0.5"));
  ASSERT_TRUE(interface.source_for(ip("192.0.2.9"), source));
  EXPECT_EQ(source, ip("10.99.1.10"));
  EXPECT_FALSE(interface.source_for(ip("fd00::9"), source));
  while (interface.address_count < kMaxInterfaceAddresses) {
    ASSERT_TRUE(interface.add_address({ip("10.97.0.1"), 32}));
  }
  EXPECT_FALSE(interface.add_address({ip("10.97.0.1"), 32}));
}

TEST(Interface, Ipv6) {
  Interface interface = test::ours6();
  EXPECT_EQ(interface.link_local(), ip("fe80::ff:fe00:1")) << "EUI-64 of 02:00:00:00:00:01";
  EXPECT_TRUE(interface.owns(ip("fd00:99:1::10")));
  EXPECT_TRUE(interface.owns(ip("fe80::ff:fe00:1")));
  EXPECT_FALSE(interface.owns(ip("fe80::1")));
  EXPECT_TRUE(interface.on_link(ip("fe80::1")));
  EXPECT_TRUE(interface.listens_to(ip("ff02::1")));
  EXPECT_TRUE(interface.listens_to(ip("ff02::1:ff00:10")));
  EXPECT_TRUE(interface.listens_to(ip("ff02::1:ff00:1"))) << "of the link-local address";
  EXPECT_FALSE(interface.listens_to(ip("ff02::2")));
  EXPECT_FALSE(interface.listens_to(ip("ff05::1")));
  abi::IpAddress hop;
  ASSERT_TRUE(interface.next_hop(ip("fd00:99:1::77"), hop));
  EXPECT_EQ(hop, ip("fd00:99:1::77"));
  ASSERT_TRUE(interface.next_hop(ip("2001:db8::1"), hop));
  EXPECT_EQ(hop, ip("fd00:99:1::1"));
  ASSERT_TRUE(interface.next_hop(ip("192.0.2.1"), hop));
  EXPECT_EQ(hop, ip("10.99.1.1"));
  interface.has_gateway6 = false;
  EXPECT_FALSE(interface.next_hop(ip("2001:db8::1"), hop));
  abi::IpAddress source;
  ASSERT_TRUE(interface.source_for(ip("fe80::5"), source));
  EXPECT_EQ(source, ip("fe80::ff:fe00:1"));
  ASSERT_TRUE(interface.source_for(ip("2001:db8::1"), source));
  EXPECT_EQ(source, ip("fd00:99:1::10"));
}

TEST(Interface, GivenLinkLocalAddressReplacesTheMacs) {
  Interface interface = test::ours();
  EXPECT_FALSE(interface.owns(ip("fe80::ff:fe00:1"))) << "IPv6 is not spoken here";
  EXPECT_FALSE(interface.listens_to(ip("ff02::1")));
  EXPECT_FALSE(interface.on_link(ip("fe80::1")));
  ASSERT_TRUE(interface.add_address({ip("fe80::53"), 64}));
  ASSERT_TRUE(interface.add_address({ip("2001:db8::10"), 64}));
  EXPECT_EQ(interface.link_local(), ip("fe80::53"));
  EXPECT_FALSE(interface.owns(ip("fe80::ff:fe00:1")));
  abi::IpAddress source;
  ASSERT_TRUE(interface.source_for(ip("2001:db8:1::1"), source));
  EXPECT_EQ(source, ip("2001:db8::10")) << "no link-local address leaves the link";
}

}  // namespace
}  // namespace sluice::net
