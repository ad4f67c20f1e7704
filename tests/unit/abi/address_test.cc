// Text forms of addresses: what is accepted is printed back as it was written, all else is refused.
#include "abi/address.h"

#include <gtest/gtest.h>

namespace sluice::abi {
namespace {

TEST(Address, RoundTripsIpAddresses) {
  for (const char* text : {"0.0.0.0", "10.99.1.10", "255.255.255.255", "::", "::1", "fd00:99:1::10",
                           "fe80::1", "2001:db8:1:2:3:4:5:6"}) {
    IpAddress address;
    ASSERT_TRUE(parse_ip_address(text, address)) << text;
    EXPECT_EQ(to_string(address), text);
  }
}

TEST(Address, KnowsItsFamily) {
  IpAddress address;
  ASSERT_TRUE(parse_ip_address("10.99.1.10", address));
  EXPECT_TRUE(address.is_ipv4());
  EXPECT_EQ(address.ipv4(), 0x0a63010aU);
  EXPECT_EQ(address, IpAddress::from_ipv4(0x0a63010aU));
  ASSERT_TRUE(parse_ip_address("fd00::1", address));
  EXPECT_FALSE(address.is_ipv4());
}

TEST(Address, RefusesIpAddresses) {
  using namespace std::string_literals;
  IpAddress address = IpAddress::from_ipv4(1);
  for (const std::string& text : {""s,
                                  " "s,
                                  "10.0.0"s,
                                  "10.0.0.1."s,
                                  "10.0.0.256"s,
                                  "10.0.0.01"s,
                                  "10.0.0.1 "s,
                                  " 10.0.0.1"s,
                                  "10.0.0.1\0"s,
                                  "10.0.0.1\0x"s,
                                  "0x0a.0.0.1"s,
                                  "1"s,
                                  "localhost"s,
                                  "fd00::1::2"s,
                                  "fd00::g"s,
                                  "[fd00::1]"s,
                                  "fe80::1%eth0"s,
                                  "::ffff:10.0.0.1"s,
                                  "::ffff:a00:1"s,
                                  "10.0.0.1/24"s}) {
    EXPECT_FALSE(parse_ip_address(text, address)) << text;
  }
  EXPECT_EQ(address, IpAddress::from_ipv4(1));
}

TEST(Address, RoundTripsSocketAddresses) {
  for (const char* text :
       {"10.99.1.10:443", "0.0.0.0:1", "10.0.0.1:65535", "[::1]:80", "[fd00:99:1::10]:443"}) {
    SocketAddress address;
    ASSERT_TRUE(parse_socket_address(text, address)) << text;
    EXPECT_EQ(to_string(address), text);
  }
}

TEST(Address, RefusesSocketAddresses) {
  using namespace std::string_literals;
  SocketAddress address;
  for (const std::string& text : {""s,
                                  ":"s,
                                  "10.0.0.1"s,
                                  "10.0.0.1:"s,
                                  ":443"s,
                                  "10.0.0.1:0"s,
                                  "10.0.0.1:65536"s,
                                  "10.0.0.1:0443"s,
                                  "10.0.0.1:+443"s,
                                  "10.0.0.1:-1"s,
                                  "10.0.0.1: 443"s,
                                  "10.0.0.1:443 "s,
                                  "10.0.0.1:http"s,
                                  "10.0.0.1:443\0"s,
                                  "[10.0.0.1]:443"s,
                                  "fd00::1:443"s,
                                  "fd00::1"s,
                                  "[fd00::1]"s,
                                  "[fd00::1]443"s,
                                  "[fd00::1:443"s,
                                  "[]:443"s,
                                  "[::ffff:10.0.0.1]:443"s}) {
    EXPECT_FALSE(parse_socket_address(text, address)) << text;
  }
  EXPECT_EQ(address.port, 0);
}

}  // namespace
}  // namespace sluice::abi
