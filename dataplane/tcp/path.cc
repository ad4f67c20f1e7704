// Job: keep tcb.mss at what the path carries, believing neither every ICMP error nor that routers
// send them.
//
// An ICMP error counts only when it quotes a number in flight (RFC 5927 4.1): whoever cannot see
// the connection has to guess it. What says that a segment was too big lowers the MSS, not below
// the family's minimum (RFC 8201 4; for IPv4 576, an attack on our packet rate otherwise). It is
// believed at once while nothing contradicts it. Once full segments have been acknowledged a claim
// that they don't fit is odd: it waits, as `claimed`, for the timer to confirm it and is forgotten
// when text is acknowledged (RFC 5927 7.2). A true change of the path costs one timeout.
//
// A path may drop large segments silently. Two timeouts in a row with a full segment outstanding
// lower the MSS to 1,220, and two more to 536 where it is IPv4 (RFC 4821 7.7).
//
// Whatever was lowered is tried again: after a time one segment of new data goes out a step larger
// (RFC 1191 6.3 wants ten minutes, RFC 4821 7.3 a probe that disturbs nothing). Acknowledged, the
// step is taken and the next one tried; lost, it is retransmitted in the present size and the next
// trial is ten minutes away. That is all that climbs; no ICMP error does.
//
//   tcp_icmp_error, path_on_timeout -> lower -> tcb.mss, ceiling, probe_at
//   path_probe_bytes -> output -> path_on_probe -> path_on_ack | path_on_loss | path_on_timeout
//
// Other errors: unreachable, expired and the like are soft for a synchronized connection, whatever
// RFC 1122 4.2.3.9 says of ports and protocols (RFC 5927 6.1): its own timers know better. While
// our SYN is unanswered those that will not pass end the attempt, so that another backend can be
// chosen; that takes our 32-bit ISN to forge.
#include "tcp/path.h"

#include <algorithm>

#include "tcp/recovery.h"
#include "tcp/seq.h"
#include "tcp/tcb.h"

namespace sluice::tcp {
namespace {

using abi::Counter;

constexpr uint32_t kFloorIpv4 = 536;   // RFC 9293 3.7.1: 576 less headers
constexpr uint32_t kFloorIpv6 = 1220;  // RFC 8200 5: 1280 less headers
constexpr uint32_t kMinMtuIpv6 = 1280;
constexpr uint8_t kBlackholeTimeouts = 2;
constexpr uint32_t kBlackholeMss = 1220;
constexpr uint8_t kMaxShrinks = 7;  // a path has few bottlenecks, a forger many numbers

constexpr Micros kTick = 16 * kSecond;                  // of probe_at
constexpr uint8_t kBlackholeTicks = 2;                  // it may have been an outage
constexpr uint8_t kRaiseTicks = 600 * kSecond / kTick;  // RFC 1191 6.3, RFC 8201 4

// RFC 1191 7.1, down to what the floor cuts off.
constexpr uint32_t kPlateaus[] = {17914, 8166, 4352, 2002, 1492, 1006};
// Sizes to climb by: IPv6's minimum, tunnels, PPPoE and its IPv6, Ethernet, FDDI, jumbo frames.
constexpr uint32_t kSteps[] = {536, 1220, 1360, 1400, 1440, 1460, 4312, 8940};

uint8_t tick(Micros now) { return static_cast<uint8_t>(now / kTick); }

bool is_ipv4(const Tcb& tcb) { return tcb.tuple.local.address.is_ipv4(); }

uint32_t floor_of(const Tcb& tcb) { return is_ipv4(tcb) ? kFloorIpv4 : kFloorIpv6; }

void try_later(Tcb& tcb, uint8_t ticks, Micros now) {
  tcb.path.claimed = tcb.path.probing = false;
  tcb.path.probe_at = static_cast<uint8_t>(tick(now) + ticks);
}

void lower(Tcb& tcb, uint32_t mss, uint8_t ticks, Micros now) {
  Path& path = tcb.path;
  if (path.ceiling == 0) path.ceiling = tcb.mss;
  tcb.mss = static_cast<uint16_t>(mss);
  path.proven = false;
  try_later(tcb, ticks, now);
  tcb.output_wanted = true;
}

// The MSS that a next hop's MTU leaves, or RFC 1191's guess where it doesn't say.
uint32_t claimed_mss(const Tcb& tcb, uint32_t mtu_bytes) {
  const uint32_t headers = is_ipv4(tcb) ? 40 : 60;
  if (mtu_bytes == 0) {
    for (const uint32_t plateau : kPlateaus) {
      if (plateau < tcb.mss + headers) {
        mtu_bytes = plateau;
        break;
      }
    }
  }
  return std::max(mtu_bytes, floor_of(tcb) + headers) - headers;
}

void too_big(Stack& stack, Tcb& tcb, uint32_t mtu_bytes, Micros now) {
  Path& path = tcb.path;
  const uint32_t mss = claimed_mss(tcb, mtu_bytes);
  const bool impossible = !is_ipv4(tcb) && mtu_bytes < kMinMtuIpv6;  // RFC 8201 4
  if (impossible || mss >= tcb.mss) {
    if (path.probing) try_later(tcb, kRaiseTicks, now);  // it was the probe that did not fit
    stack.counters.add(Counter::tcp_icmp_ignored);
    return;
  }
  if (path.proven || path.shrinks == kMaxShrinks) {
    path.claimed = true;
    path.probing = false;
    path.mark = mss;
    stack.counters.add(Counter::tcp_icmp_waits);
    return;
  }
  ++path.shrinks;
  lower(tcb, mss, kRaiseTicks, now);
  resend_oversized(stack, tcb);  // no sign of congestion: RFC 1191 6.5, RFC 8201 5.4
  stack.counters.add(Counter::tcp_path_shrunk);
}

// Codes with which no later SYN can be expected to fare better: RFC 1122 4.2.3.9 and, for what is
// prohibited, RFC 1812 5.2.7.1; RFC 4443 3.1.
bool is_final(bool ipv4, uint8_t code) {
  if (!ipv4) return code == 1 || code == 4 || code == 5 || code == 6;
  return code == 2 || code == 3 || code == 9 || code == 10 || code == 13;
}

// The next larger size to try; the present one when there is none.
uint32_t next_step(const Tcb& tcb) {
  for (const uint32_t step : kSteps) {
    if (step > tcb.mss) return std::min<uint32_t>(step, tcb.path.ceiling);
  }
  return tcb.path.ceiling;
}

void raise(Stack& stack, Tcb& tcb, Micros now) {
  tcb.mss = static_cast<uint16_t>(next_step(tcb));
  tcb.path.proven = true;
  if (tcb.mss == tcb.path.ceiling) tcb.path.ceiling = 0;
  try_later(tcb, 0, now);  // the next step at once
  tcb.congestion.cwnd_bytes = std::max(tcb.congestion.cwnd_bytes, effective_mss(tcb));
  stack.counters.add(Counter::tcp_path_raised);
}

}  // namespace

void tcp_icmp_error(Stack& stack, Tcb& tcb, const net::IcmpError& error, Micros now) {
  const bool in_flight = seq_leq(tcb.snd_una, error.seq) && seq_less(error.seq, tcb.snd_max);
  if (tcb.state == State::Closed || !in_flight) {  // RFC 5927 4.1
    stack.counters.add(Counter::tcp_icmp_forged);
    return;
  }
  switch (error.kind) {
    case net::IcmpErrorKind::TooBig:
      if (is_synchronized(tcb.state)) return too_big(stack, tcb, error.mtu_bytes, now);
      break;
    case net::IcmpErrorKind::Unreachable:
      if (tcb.state == State::SynSent && is_final(is_ipv4(tcb), error.code)) {
        stack.counters.add(Counter::tcp_icmp_refused);
        return close_tcb(stack, tcb, CloseCause::Refused);
      }
      break;
    case net::IcmpErrorKind::TimeExceeded:
    case net::IcmpErrorKind::Parameter:
      break;
  }
  stack.counters.add(Counter::tcp_icmp_ignored);
}

void path_on_ack(Stack& stack, Tcb& tcb, uint32_t acked_bytes, Micros now) {
  Path& path = tcb.path;
  path.claimed = false;
  if (path.probing) {
    if (seq_leq(path.mark, tcb.snd_una)) raise(stack, tcb, now);
  } else if (acked_bytes >= effective_mss(tcb)) {
    path.proven = true;
  }
}

void path_on_loss(Tcb& tcb, Micros now) {
  if (tcb.path.probing) try_later(tcb, kRaiseTicks, now);
}

void path_on_timeout(Stack& stack, Tcb& tcb, Micros now) {
  path_on_loss(tcb, now);
  if (!is_synchronized(tcb.state)) return;
  if (tcb.path.claimed) {
    lower(tcb, tcb.path.mark, kRaiseTicks, now);
    stack.counters.add(Counter::tcp_path_shrunk);
    return;
  }
  // Where full segments have passed, loss is likelier than a hole: more patience.
  const uint8_t timeouts = tcb.path.proven ? 2 * kBlackholeTimeouts : kBlackholeTimeouts;
  if (tcb.backoff == 0 || tcb.backoff % timeouts != 0) return;
  if (tcb.snd_max - tcb.snd_una < effective_mss(tcb)) return;  // small segments pass
  const uint32_t mss = tcb.mss > kBlackholeMss ? kBlackholeMss : floor_of(tcb);
  if (mss >= tcb.mss) return;
  lower(tcb, mss, kBlackholeTicks, now);
  stack.counters.add(Counter::tcp_blackholes);
}

uint32_t path_probe_bytes(const Tcb& tcb, Micros now) {
  const Path& path = tcb.path;
  if (path.ceiling == 0 || path.probing || path.claimed) return 0;
  if (static_cast<int8_t>(tick(now) - path.probe_at) < 0) return 0;
  return effective_mss(tcb) + (next_step(tcb) - tcb.mss);
}

void path_on_probe(Stack& stack, Tcb& tcb, uint32_t end) {
  tcb.path.probing = true;
  tcb.path.mark = end;
  stack.counters.add(Counter::tcp_path_probes);
}

}  // namespace sluice::tcp
