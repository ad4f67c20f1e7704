// Job: give each connection the receive window that its path needs, and no more.
//
// A window of 64 KiB is a ceiling of 650 kB/s at 100 ms. So `limit_bytes` begins moderately and
// follows what the connection shows (Dynamic Right-Sizing, as Linux has it): in each round trip
// `round_bytes` counts what was received *and consumed*. A sender in slow start has twice as much
// on the way by the time that is known, and as much again before the answer reaches it, so
// kHeadroom times the round's bytes are allowed. Bytes that nobody consumes count for nothing: a
// slow reader keeps its small window, whatever the peer offers.
//
// What a round trip is, is seen from the receiver. With timestamps: a segment came that echoes a
// clock later than the round's beginning, so an ACK of ours went there and text came back. Without:
// the smoothed round trip of our own data. Without either: a whole window was consumed.
//
// The limit never falls: what was advertised may be on its way. While memory is scarce it does not
// grow, and `tcp_receive_limit_bytes` makes less of it for new promises, so that windows close by
// being filled and open again only up to the floor. RFC 9293 3.8.6 is kept: no right edge moves
// left.
#include "tcp/receive_space.h"

#include <algorithm>

#include "tcp/receive.h"
#include "tcp/seq.h"
#include "tcp/tcb.h"

namespace sluice::tcp {
namespace {

constexpr uint32_t kHeadroom = 3;
constexpr uint32_t kHeadroomSegments = 16;
constexpr uint32_t kMaxRoundMs = 10'000;  // no round trip: the connection was idle

bool round_is_over(const Tcb& tcb, const net::Segment& segment, uint32_t elapsed_ms) {
  const ReceiveSpace& space = tcb.receive_space;
  if (tcb.timestamps && segment.options.has_timestamps) {
    return seq_less(space.round_began_ms, segment.options.tsecr - tcb.ts_offset);
  }
  if (tcb.srtt_us != 0) return elapsed_ms > tcb.srtt_us / 1000;
  return space.round_bytes >= window_of_limit(space.limit_bytes);
}

}  // namespace

void begin_receive_space(const Stack& stack, Tcb& tcb, Micros now) {
  const TcpConfig& config = stack.config;
  tcb.receive_space.limit_bytes =
      std::min(config.receive_initial_bytes, config.receive_limit_bytes);
  tcb.receive_space.round_bytes = 0;
  tcb.receive_space.round_began_ms = timestamp_clock(now);
}

void measure_receive_space(Stack& stack, Tcb& tcb, const net::Segment& segment, Micros now) {
  ReceiveSpace& space = tcb.receive_space;
  const uint32_t now_ms = timestamp_clock(now);
  const uint32_t elapsed_ms = now_ms - space.round_began_ms;
  const bool idle = elapsed_ms > kMaxRoundMs;
  if (!idle && !round_is_over(tcb, segment, elapsed_ms)) return;
  const uint64_t window_bytes = uint64_t{kHeadroom} * space.round_bytes +
                                uint64_t{kHeadroomSegments} * tcb.peer_segment_bytes;
  const uint64_t limit_bytes =
      std::min<uint64_t>(limit_for_window(window_bytes), stack.config.receive_limit_bytes);
  const bool more = !idle && limit_bytes > space.limit_bytes;
  if (more && stack.pressure == Pressure::None) {
    space.limit_bytes = static_cast<uint32_t>(limit_bytes);
    stack.counters.add(abi::Counter::tcp_window_grown);
  }
  space.round_bytes = 0;
  space.round_began_ms = now_ms;
}

uint32_t tcp_receive_limit_bytes(const Stack& stack, const Tcb& tcb) {
  const uint32_t limit = tcb.receive_space.limit_bytes;
  return stack.pressure == Pressure::None ? limit : std::min(limit, abi::kReceiveFloorBytes);
}

}  // namespace sluice::tcp
