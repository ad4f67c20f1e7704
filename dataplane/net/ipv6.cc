// The chain of IPv6 headers.
//
// Job: find what a packet carries behind its extension headers, and refuse the chains that only an
// attacker or a broken host sends. Limits: kMaxExtensionHeaders headers, kMaxExtensionBytes bytes,
// kMaxExtensionOptions options of one header; everything lies in one run of memory.
// Rules: hop-by-hop options come first or not at all (RFC 8200 4.1); an unknown option is skipped
// only when its two highest bits say so (4.2), a jumbo payload is refused by name; routing headers
// of type 0 (RFC 5095) and 2 (RFC 6275) are refused, others count for nothing once no segment is
// left (4.4); ESP, AH and "no next header" end a packet that nobody here can use. No ICMPv6 error
// answers any of these.
#include "net/ipv6.h"

#include <cstring>

#include "net/limits.h"
#include "net/wire.h"

namespace sluice::net {
namespace {

// The options of a hop-by-hop or destination header, behind its first two bytes (RFC 8200 4.2).
bool check_options(std::span<const uint8_t> options, HeaderWalk& walk) {
  constexpr uint8_t kPad1 = 0, kPadN = 1, kRouterAlert = 5, kJumboPayload = 0xc2;
  uint32_t known = 0;
  size_t at = 0;
  while (at < options.size()) {
    const uint8_t type = options[at];
    if (type == kPad1) {
      ++at;
      continue;
    }
    if (at + 2 > options.size() || at + 2 + options[at + 1] > options.size()) return false;
    at += 2U + options[at + 1];
    if (type == kPadN) continue;
    if (++known > kMaxExtensionOptions) return false;
    if (type == kJumboPayload) {
      walk.drop = abi::Counter::drop_ipv6_jumbogram;
      return false;
    }
    if (type != kRouterAlert && (type & 0xc0) != 0) {
      walk.drop = abi::Counter::drop_ipv6_option;
      return false;
    }
  }
  return true;
}

bool check_routing(const uint8_t* header, HeaderWalk& walk) {
  constexpr uint8_t kSourceRoute = 0, kMobile = 2;
  walk.drop = abi::Counter::drop_ipv6_routing;
  const uint8_t type = header[2];
  const uint8_t segments_left = header[3];
  return type != kSourceRoute && type != kMobile && segments_left == 0;
}

WalkEnd dropped(HeaderWalk& walk, abi::Counter reason) {
  walk.drop = reason;
  return WalkEnd::Drop;
}

// RFC 8200 4.5. An atomic fragment goes on as a whole packet (RFC 6946).
WalkEnd read_fragment(const uint8_t* header, HeaderWalk& walk) {
  if (walk.fragmented) return dropped(walk, abi::Counter::drop_ipv6_extension);
  walk.fragmented = true;
  const uint16_t field = load_be16(header + 2);
  walk.fragment_offset = field & 0xfff8U;
  walk.more = (field & 1U) != 0;
  walk.fragment_id = load_be32(header + 4);
  walk.next_header = header[0];
  walk.offset += kFragmentHeaderBytes;
  return walk.fragment_offset != 0 || walk.more ? WalkEnd::Fragment : WalkEnd::Upper;
}

// One header with options or of routing. False: drop.
bool skip_header(std::span<const uint8_t> bytes, HeaderWalk& walk) {
  if (bytes.size() - walk.offset < 8) return false;
  const uint8_t* header = bytes.data() + walk.offset;
  const uint32_t length = (header[1] + 1U) * 8;
  if (length > bytes.size() - walk.offset || walk.offset + length > kMaxExtensionBytes) {
    return false;
  }
  if (walk.next_header == kNextRouting) {
    if (!check_routing(header, walk)) return false;
  } else if (!check_options({header + 2, length - 2}, walk)) {
    return false;
  }
  walk.next_header = header[0];
  walk.offset += length;
  return true;
}

}  // namespace

WalkEnd walk_headers(std::span<const uint8_t> bytes, HeaderWalk& walk) {
  for (;; ++walk.headers) {
    walk.drop = abi::Counter::drop_ipv6_extension;
    if (walk.offset > bytes.size()) return WalkEnd::Drop;
    switch (walk.next_header) {  // over a byte from the wire, so with a default
      case kNextHopByHop:
        if (walk.headers != 0) return WalkEnd::Drop;
        break;
      case kNextRouting:
      case kNextDestination:
      case kNextFragment:
        break;
      case kNextNone:
        return dropped(walk, abi::Counter::drop_ipv6_no_next);
      case kNextEsp:
      case kNextAuthentication:
        return dropped(walk, abi::Counter::drop_ipsec);
      default:
        return WalkEnd::Upper;
    }
    if (walk.headers == kMaxExtensionHeaders) return WalkEnd::Drop;
    if (walk.next_header != kNextFragment) {
      if (!skip_header(bytes, walk)) return WalkEnd::Drop;
      continue;
    }
    if (bytes.size() - walk.offset < kFragmentHeaderBytes) return WalkEnd::Drop;
    const WalkEnd end = read_fragment(bytes.data() + walk.offset, walk);
    if (end == WalkEnd::Upper) continue;
    ++walk.headers;  // whoever goes on behind the fragment header is not at the beginning
    return end;
  }
}

bool never_on_the_wire(const abi::IpAddress& address) {
  if (is_multicast(address) || address.is_ipv4()) return true;
  // ::/96 is the unspecified address, loopback and the deprecated IPv4-compatible ones.
  static constexpr uint8_t kZeros[12] = {};
  return std::memcmp(address.bytes.data(), kZeros, sizeof kZeros) == 0;
}

abi::IpAddress solicited_node(const abi::IpAddress& address) {
  abi::IpAddress group{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff}};
  std::memcpy(group.bytes.data() + 13, address.bytes.data() + 13, 3);
  return group;
}

Mac multicast_mac(const abi::IpAddress& group) {
  Mac mac{{0x33, 0x33}};
  std::memcpy(mac.bytes.data() + 2, group.bytes.data() + 12, 4);
  return mac;
}

}  // namespace sluice::net
