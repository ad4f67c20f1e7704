// How a port spreads received TCP over its queues: Toeplitz hash of the tuple, reduced to an entry
// of the port's indirection table (RETA), which names the queue. No DPDK: nic reads key and table
// off the device as they are, tests make their own.
//
// The hash is linear over exclusive or, so it is the sum of one table look-up a byte, and a local
// port can be searched for without hashing the rest again:
//   hash(tuple) = base(addresses, remote port) ^ port_part(local port)
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "net/segment.h"

namespace sluice::net {

// Source address, destination address, source port, destination port, as received.
inline constexpr uint32_t kRssIpv4Bytes = 12;
inline constexpr uint32_t kRssIpv6Bytes = 36;
inline constexpr uint32_t kMaxRetaEntries = 65536;

// The hash itself: for each set bit of the input, from the left, the 32 key bits that begin at its
// place. Bits behind the key's end count as zero.
uint32_t toeplitz(std::span<const uint8_t> key, std::span<const uint8_t> input);

struct RssSettings {
  std::vector<uint8_t> key;    // 40 bytes with most ports, 52 with some
  std::vector<uint16_t> reta;  // queue of each entry; the index is the hash modulo the size
  bool ipv4_tcp = false;       // whether TCP's ports take part in the hash
  bool ipv6_tcp = false;
};

class RssMap {
 public:
  // Takes what a port with `queues` queues says of itself. False with what is wrong in `error`:
  // a table that is empty, names another queue or leaves one out, no family, or a key too short.
  bool build(const RssSettings& settings, uint16_t queues, std::string& error);
  // The tables against toeplitz() over `tuples` random tuples of each family.
  bool self_test(uint64_t seed, uint32_t tuples) const;

  bool covers(const abi::IpAddress& address) const {
    return address.is_ipv4() ? settings_.ipv4_tcp : settings_.ipv6_tcp;
  }

  // Of a received segment: the remote end is the packet's source. Assumes covers(local address).
  uint32_t hash(const FlowTuple& tuple) const {
    return base(tuple) ^ port_part(tuple.local.address, tuple.local.port);
  }
  uint16_t queue_of(const FlowTuple& tuple) const { return queue_of_hash(hash(tuple)); }
  uint16_t queue_of_hash(uint32_t hash) const {
    return settings_.reta[mask_ != 0 ? hash & mask_ : hash % settings_.reta.size()];
  }
  // The two parts of hash(); local.port takes no part in the first.
  uint32_t base(const FlowTuple& tuple) const;
  uint32_t port_part(const abi::IpAddress& local, uint16_t port) const {
    const uint32_t at = local.is_ipv4() ? kRssIpv4Bytes - 2 : kRssIpv6Bytes - 2;
    return bytes_[at][port >> 8] ^ bytes_[at + 1][port & 0xff];
  }

  const RssSettings& settings() const { return settings_; }

 private:
  using ByteTable = std::array<uint32_t, 256>;
  RssSettings settings_;
  std::vector<ByteTable> bytes_;  // by position in the input: what each value adds to the hash
  uint32_t mask_ = 0;             // of a table whose size is a power of two, else 0
};

}  // namespace sluice::net
