// What an ICMP or ICMPv6 error says about one of our TCP segments. RFC 792, RFC 1191 4, RFC 4443 3.
// Nothing of it is proven: whoever acts on one checks it against its connection first (RFC 5927 4).
#pragma once

#include <cstdint>

#include "net/segment.h"

namespace sluice::net {

enum class IcmpErrorKind : uint8_t {
  TooBig,        // IPv4 type 3 code 4, IPv6 type 2: `mtu_bytes` says what fits
  Unreachable,   // network, host, port, prohibited: IPv4 type 3 but code 4, IPv6 type 1
  TimeExceeded,  // IPv4 type 11, IPv6 type 3
  Parameter,     // IPv4 type 12, IPv6 type 4
};

struct IcmpError {
  FlowTuple tuple;   // of the quoted segment: local is Sluice, remote the peer
  uint32_t seq = 0;  // of the quoted segment
  IcmpErrorKind kind = IcmpErrorKind::Unreachable;
  uint8_t code = 0;        // as on the wire
  uint32_t mtu_bytes = 0;  // TooBig: the next hop's MTU; 0: a router older than RFC 1191
};

}  // namespace sluice::net
