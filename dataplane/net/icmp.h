// ICMP (RFC 792) and ICMPv6 (RFC 4443): echo requests to our addresses are answered. No error is
// ever sent: see README.md.
#pragma once

#include <cstdint>

#include "abi/counters.h"
#include "net/frame.h"
#include "net/interface.h"
#include "net/limits.h"
#include "net/token_bucket.h"
#include "net/wire.h"

namespace sluice::net {

// One per worker: the rate limit is a token bucket without locks.
class IcmpResponder {
 public:
  explicit IcmpResponder(abi::Counters& counters) : counters_(counters) {}

  // Turns an echo request (kind Icmp, parsed into `packet`) into its reply, in the frame's own
  // bytes. Returns how many bytes to send from frame.data, or 0 when there is no reply.
  uint32_t reply(const Frame& frame, const Packet& packet, const Interface& interface,
                 uint64_t now_us);

 private:
  abi::Counters& counters_;
  TokenBucket replies_{kIcmpRepliesPerSecond, kIcmpBurst};
};

}  // namespace sluice::net
