// Job: what silence means. One moment in the Tcb, `retransmit_at`, is the earliest of
//
//   patience   the peer owes an answer for user_timeout_us: the connection ends
//   persist    nothing is in flight and the window forbids: `probe`
//   probe_at   RACK-TLP: an ACK is drawn from the tail (`loss_probe`)
//   reorder_at RACK: what was late is lost now
//   rto_at     nothing at all came: enter_loss
//   pace_at    paced data may go on
//
// The last four live in the in-flight block. Without one (the pool was empty) a single segment is
// in flight, and the RTO sends it again. A peer that closes its window over what is in flight makes
// the RTO fall back to persist: what it has not acknowledged is sent anew when it opens.
// `unanswered_since` is reset by progress, and while persisting by any answer, as a closed window
// may last (RFC 9293 3.8.6.1).
#include "tcp/retransmit_timer.h"

#include <algorithm>

#include "abi/assert.h"
#include "tcp/path.h"
#include "tcp/rack.h"
#include "tcp/recovery.h"
#include "tcp/scoreboard.h"
#include "tcp/seq.h"

namespace sluice::tcp {
namespace {

using abi::Counter;

constexpr uint8_t kMaxBackoff = 12;          // 200 ms << 12 is beyond any rto_max
constexpr Micros kClockGranularity = 1'000;  // RFC 6298 2.3: G
constexpr Micros kMaxRttSample = 120 * kSecond;

Micros backed_off_rto(const Stack& stack, const Tcb& tcb) {
  return std::min(static_cast<Micros>(tcb.rto_us) << tcb.backoff, stack.config.rto_max_us);
}

Micros patience(const Stack& stack, const Tcb& tcb) {
  return is_synchronized(tcb.state) ? stack.config.user_timeout_us
                                    : stack.config.connect_timeout_us;
}

// When patience ends.
Micros give_up_at(const Stack& stack, const Tcb& tcb, Micros now) {
  const Micros waited = since(tcb.unanswered_since, now);
  const Micros limit = patience(stack, tcb);
  return waited < limit ? now + (limit - waited) : now;
}

void arm(const Stack& stack, Tcb& tcb, Micros now) {
  tcb.retransmit_at = std::min(now + backed_off_rto(stack, tcb), give_up_at(stack, tcb, now));
}

void back_off(Tcb& tcb) { tcb.backoff = std::min<uint8_t>(tcb.backoff + 1, kMaxBackoff); }

void arm_flight(const Stack& stack, Tcb& tcb, Micros now) {
  InFlight& flight = *tcb.in_flight;
  if (flight.rto_at == kNever) flight.rto_at = now + backed_off_rto(stack, tcb);  // RFC 6298 5.1
  if (flight.probe_wanted) {
    flight.probe_wanted = false;
    flight.probe_at = tlp_deadline(tcb, now);
  }
  if (flight.pace_at <= now) flight.pace_at = kNever;  // not even a tick of pacing
  const Micros pace_at = has_unsent(tcb) ? flight.pace_at : kNever;
  tcb.retransmit_at = std::min(
      {flight.rto_at, flight.reorder_at, flight.probe_at, pace_at, give_up_at(stack, tcb, now)});
}

// Returns whether it was one of the block's earlier timers.
bool ran_early_timer(Stack& stack, Tcb& tcb, Micros now) {
  InFlight& flight = *tcb.in_flight;
  if (flight.pace_at <= now) flight.pace_at = kNever;
  if (flight.reorder_at <= now) {
    on_reorder_timer(stack, tcb, now);
  } else if (flight.probe_at <= now) {  // before the RTO that is due as well: RFC 8985 7.2
    flight.probe_at = kNever;
    flight.rto_at = kNever;  // RFC 8985 7.3: counts from the probe
    tcb.loss_probe = true;
  } else if (flight.rto_at <= now) {
    return false;
  }
  return true;
}

}  // namespace

void go_back(Stack& stack, Tcb& tcb) {
  if (tcb.phase == SendPhase::Recovery) leave_recovery(tcb);
  end_flight(stack, tcb);
  tcb.snd_nxt = tcb.snd_una;
  tcb.cursor = SendCursor{};
}

void add_rtt_sample(const Stack& stack, Tcb& tcb, uint64_t sample_us) {
  const uint64_t r = std::clamp<uint64_t>(sample_us, 1, kMaxRttSample);
  if (tcb.srtt_us == 0) {
    tcb.srtt_us = static_cast<uint32_t>(r);
    tcb.rttvar_us = static_cast<uint32_t>(r / 2);
  } else {
    const uint64_t difference = r > tcb.srtt_us ? r - tcb.srtt_us : tcb.srtt_us - r;
    tcb.rttvar_us = static_cast<uint32_t>((3ULL * tcb.rttvar_us + difference) / 4);
    tcb.srtt_us = static_cast<uint32_t>(std::max<uint64_t>((7ULL * tcb.srtt_us + r) / 8, 1));
  }
  // 2.4 and 2.5. The variance alone is bounded from below, as Linux does it: a round trip longer
  // than the minimum still leaves room for a delayed ACK.
  const Micros spread = std::max<Micros>(kClockGranularity, 4ULL * tcb.rttvar_us);
  const Micros rto = tcb.srtt_us + std::max(spread, stack.config.rto_min_us);
  tcb.rto_us = static_cast<uint32_t>(std::min(rto, stack.config.rto_max_us));
  tcb.backoff = 0;  // Karn: only a valid sample ends the backoff
  tcb.rtt_since_probe = true;
}

void restart_persist(const Stack& stack, Tcb& tcb, Micros now) {
  tcb.unanswered_since = to_millis(now);
  arm(stack, tcb, now);
}

void on_retransmit_timer(Stack& stack, Tcb& tcb, Micros now) {
  if (since(tcb.unanswered_since, now) >= patience(stack, tcb)) {
    if (tcb.state == State::SynSent) {
      close_tcb(stack, tcb, CloseCause::Timeout);
    } else {
      close_with_reset(stack, tcb, CloseCause::Timeout);
    }
    return;
  }
  tcb.retransmit_at = kNever;
  tcb.output_wanted = true;
  if (tcb.in_flight != nullptr && ran_early_timer(stack, tcb, now)) return;
  if (!tcb.persist) stack.counters.add(Counter::tcp_rto);
  if (!is_synchronized(tcb.state)) {
    go_back(stack, tcb);
    back_off(tcb);
    return;
  }
  if (tcb.persist || tcb.snd_wnd == 0) {  // RFC 9293 3.8.6.1; also when the peer shrank its window
    go_back(stack, tcb);
    tcb.persist = tcb.probe = true;
    back_off(tcb);
    arm(stack, tcb, now);
    return;
  }
  enter_loss(stack, tcb, now);
  back_off(tcb);
  path_on_timeout(stack, tcb, now);
}

void update_retransmit_timer(Stack& stack, Tcb& tcb, Micros now) {
  if (tcb.state == State::Closed || tcb.state == State::TimeWait) return;
  if (tcb.snd_nxt != tcb.snd_una) {
    if (tcb.persist) {
      tcb.persist = false;
      tcb.backoff = 0;
      tcb.retransmit_at = kNever;
    }
    if (tcb.in_flight != nullptr) {
      arm_flight(stack, tcb, now);
    } else if (tcb.retransmit_at == kNever) {
      arm(stack, tcb, now);
    }
  } else if (has_unsent(tcb)) {
    if (!tcb.persist) {
      tcb.persist = true;
      tcb.backoff = 0;
      tcb.unanswered_since = to_millis(now);
      arm(stack, tcb, now);
    }
  } else {
    tcb.persist = false;
    tcb.retransmit_at = kNever;
  }
}

}  // namespace sluice::tcp
