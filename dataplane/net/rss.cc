// Toeplitz by tables.
//
// Job: say at which queue of a port a segment arrives, quickly enough for every packet and for a
// search over source ports, for any key and any table that a port reports.
// Data flow: RssSettings (nic_rss.cc reads them off the port) -> build: bytes_[position][value],
// at most 36 KiB, of which IPv4 uses the first twelve positions -> queue_of by exclusive or.
// Limits: nothing is allocated after build; maps are immutable and shared by all workers.
#include "net/rss.h"

#include <algorithm>
#include <random>

namespace sluice::net {
namespace {

// What one input bit adds: the 32 key bits from its place on.
uint32_t key_window(std::span<const uint8_t> key, uint32_t bit) {
  uint64_t window = 0;
  for (uint32_t i = 0; i < 5; ++i) {
    const uint32_t at = bit / 8 + i;
    window = window << 8 | (at < key.size() ? key[at] : 0);
  }
  return static_cast<uint32_t>(window >> (8 - bit % 8));
}

// The packet's bytes that are hashed, as they came from the wire. Returns how many.
uint32_t input_of(const FlowTuple& tuple, uint8_t out[kRssIpv6Bytes]) {
  const uint32_t skip = tuple.local.address.is_ipv4() ? 12 : 0;
  uint32_t length = 0;
  for (const abi::SocketAddress* end : {&tuple.remote, &tuple.local}) {
    for (uint32_t i = skip; i < end->address.bytes.size(); ++i) {
      out[length++] = end->address.bytes[i];
    }
  }
  for (const abi::SocketAddress* end : {&tuple.remote, &tuple.local}) {
    out[length++] = static_cast<uint8_t>(end->port >> 8);
    out[length++] = static_cast<uint8_t>(end->port);
  }
  return length;
}

template <class Random>
FlowTuple random_tuple(Random& random, bool ipv4) {
  FlowTuple tuple;
  for (abi::SocketAddress* end : {&tuple.local, &tuple.remote}) {
    if (ipv4) {
      end->address = abi::IpAddress::from_ipv4(static_cast<uint32_t>(random()));
    } else {
      for (uint8_t& byte : end->address.bytes) byte = static_cast<uint8_t>(random());
      end->address.bytes[0] = 0xfd;  // never an IPv4 address in IPv6 clothes
    }
    end->port = static_cast<uint16_t>(random());
  }
  return tuple;
}

}  // namespace

uint32_t toeplitz(std::span<const uint8_t> key, std::span<const uint8_t> input) {
  uint32_t hash = 0;
  for (uint32_t bit = 0; bit < input.size() * 8; ++bit) {
    if ((input[bit / 8] >> (7 - bit % 8) & 1) != 0) hash ^= key_window(key, bit);
  }
  return hash;
}

bool RssMap::build(const RssSettings& settings, uint16_t queues, std::string& error) {
  const uint32_t input = settings.ipv6_tcp ? kRssIpv6Bytes : kRssIpv4Bytes;
  if (!settings.ipv4_tcp && !settings.ipv6_tcp) {
    error = "it does not hash TCP's ports";
  } else if (settings.key.size() < input + 4) {
    error = "its key of " + std::to_string(settings.key.size()) + " bytes is too short";
  } else if (settings.reta.empty() || settings.reta.size() > kMaxRetaEntries) {
    error = "its table has " + std::to_string(settings.reta.size()) + " entries";
  } else if (*std::max_element(settings.reta.begin(), settings.reta.end()) >= queues) {
    error = "its table names a queue that is not open";
  } else {
    std::vector<bool> reached(queues, false);
    for (const uint16_t queue : settings.reta) reached[queue] = true;
    if (std::find(reached.begin(), reached.end(), false) != reached.end()) {
      error = "its table leaves queues without packets";
      return false;
    }
    settings_ = settings;
    const auto size = static_cast<uint32_t>(settings.reta.size());
    mask_ = (size & (size - 1)) == 0 ? size - 1 : 0;
    bytes_.assign(input, ByteTable{});
    for (uint32_t at = 0; at < input; ++at) {
      for (uint32_t value = 1; value < 256; ++value) {
        const auto lowest = static_cast<uint32_t>(__builtin_ctz(value));
        bytes_[at][value] =
            bytes_[at][value & (value - 1)] ^ key_window(settings.key, at * 8 + 7 - lowest);
      }
    }
    return true;
  }
  return false;
}

uint32_t RssMap::base(const FlowTuple& tuple) const {
  const bool ipv4 = tuple.local.address.is_ipv4();
  const uint32_t skip = ipv4 ? 12 : 0;
  const uint32_t width = 16 - skip;
  uint32_t hash = 0;
  for (uint32_t i = 0; i < width; ++i) {
    hash ^= bytes_[i][tuple.remote.address.bytes[skip + i]];
    hash ^= bytes_[width + i][tuple.local.address.bytes[skip + i]];
  }
  const uint16_t port = tuple.remote.port;
  return hash ^ bytes_[2 * width][port >> 8] ^ bytes_[2 * width + 1][port & 0xff];
}

bool RssMap::self_test(uint64_t seed, uint32_t tuples) const {
  std::mt19937_64 random(seed);
  for (const bool ipv4 : {true, false}) {
    if (ipv4 ? !settings_.ipv4_tcp : !settings_.ipv6_tcp) continue;
    for (uint32_t i = 0; i < tuples; ++i) {
      const FlowTuple tuple = random_tuple(random, ipv4);
      uint8_t input[kRssIpv6Bytes];
      const uint32_t length = input_of(tuple, input);
      const uint32_t expected = toeplitz(settings_.key, {input, length});
      if (hash(tuple) != expected) return false;
      if (queue_of(tuple) != settings_.reta[expected % settings_.reta.size()]) return false;
    }
  }
  return true;
}

}  // namespace sluice::net
