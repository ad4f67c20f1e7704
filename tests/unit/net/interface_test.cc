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

}  // namespace
}  // namespace sluice::net
