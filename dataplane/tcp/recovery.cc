// Job: from acknowledgements and from silence, decide what the network still holds and what must be
// sent again. NewReno without a scoreboard:
//
//   new ACK          snd_una moves, acknowledged slices go back to their owners, RTT sample, cwnd
//   duplicate ACK    1st, 2nd: limited transmit; 3rd: retransmit_head, recovery until `recover`
//   partial ACK      in recovery: the next hole, retransmit_head again
//   RTO              snd_nxt falls back to snd_una (go-back-N), cwnd is one segment
//   persist          nothing in flight and the window forbids: `probe`
//
// `snd_nxt` is what is sent next, `snd_max` the highest ever sent: between them lies what is sent a
// second time. One timer, `retransmit_at`, serves RTO and persist, which exclude each other; it
// also fires when the peer's silence reaches the user timeout. `unanswered_since` is reset by
// progress, and while persisting by any answer, as a closed window may last (RFC 9293 3.8.6.1).
#include "tcp/recovery.h"

#include <algorithm>

#include "abi/assert.h"
#include "tcp/seq.h"

namespace sluice::tcp {
namespace {

using abi::Counter;

constexpr uint32_t kDupAckThreshold = 3;     // RFC 5681 3.2
constexpr uint8_t kMaxBackoff = 12;          // 200 ms << 12 is beyond any rto_max
constexpr Micros kClockGranularity = 1'000;  // RFC 6298 2.3: G
constexpr Micros kMaxRttSample = 120 * kSecond;
constexpr Micros kRtoAfterLostSyn = 3 * kSecond;  // RFC 6298 5.7

Micros backed_off_rto(const Stack& stack, const Tcb& tcb) {
  return std::min(static_cast<Micros>(tcb.rto_us) << tcb.backoff, stack.config.rto_max_us);
}

Micros patience(const Stack& stack, const Tcb& tcb) {
  return is_synchronized(tcb.state) ? stack.config.user_timeout_us
                                    : stack.config.connect_timeout_us;
}

void arm(const Stack& stack, Tcb& tcb, Micros now) {
  tcb.retransmit_at =
      std::min(now + backed_off_rto(stack, tcb), tcb.unanswered_since + patience(stack, tcb));
}

void back_off(Tcb& tcb) { tcb.backoff = std::min<uint8_t>(tcb.backoff + 1, kMaxBackoff); }

void go_back(Tcb& tcb) {
  tcb.snd_nxt = tcb.snd_una;
  tcb.cursor = {tcb.send.head(), 0};
  tcb.rtt_timing = false;
}

// Frees `acked` bytes and keeps the cursor on the same byte, or moves it up to snd_una.
void drop_acknowledged(Stack& stack, Tcb& tcb, uint32_t acked_bytes, uint32_t sent_bytes) {
  tcb.send.consume(stack.nodes, acked_bytes);
  if (acked_bytes >= sent_bytes) {
    tcb.cursor = {tcb.send.head(), 0};
  } else if (tcb.cursor.node == tcb.send.head()) {
    tcb.cursor.offset = sent_bytes - acked_bytes;
  }
}

// RFC 6298 3 (Karn) and RFC 7323 4: a timed segment that was sent once is exact to the microsecond.
// While there are retransmissions the timestamp tells them apart. An echo from before the latest of
// them counts for nothing: if only the ACK was lost, the peer echoes the original again (a
// duplicate does not move its TS.Recent), and the timeout would be taken for a round trip.
void take_rtt_sample(const Stack& stack, Tcb& tcb, const net::Segment& segment, Micros now) {
  if (tcb.rtt_timing) {
    if (seq_less(segment.ack, tcb.rtt_seq)) return;
    tcb.rtt_timing = false;
    add_rtt_sample(stack, tcb, now - tcb.rtt_started);
  } else if (tcb.timestamps && segment.options.has_timestamps && segment.options.tsecr != 0 &&
             tcb.state != State::SynReceived) {  // a cookie's timestamp is coarse: no sample
    const uint32_t echoed = segment.options.tsecr - tcb.ts_offset;
    if (seq_less(echoed, timestamp_clock(tcb.rtt_started))) return;
    const uint32_t elapsed_ms = timestamp_clock(now) - echoed;
    const uint64_t sample_us = static_cast<uint64_t>(elapsed_ms) * 1000;
    if (sample_us > kMaxRttSample) return;
    add_rtt_sample(stack, tcb, std::max(sample_us, kClockGranularity));
  }
}

void enter_recovery(Stack& stack, Tcb& tcb, Micros now) {
  const uint32_t mss = effective_mss(tcb);
  CongestionFlight none;
  stack.config.congestion->on_loss(tcb.congestion, none, tcb.snd_max - tcb.snd_una, mss, now);
  tcb.congestion.cwnd_bytes = tcb.congestion.ssthresh_bytes + kDupAckThreshold * mss;
  tcb.recover = tcb.snd_max;
  tcb.in_recovery = true;
  tcb.partial_ack = false;
  tcb.retransmit_head = true;
  stack.counters.add(Counter::tcp_fast_retransmits);
}

// RFC 6582 3.2.
void on_duplicate_ack(Stack& stack, Tcb& tcb, Micros now) {
  tcb.dup_acks = static_cast<uint8_t>(std::min(tcb.dup_acks + 1, 255));
  if (tcb.in_recovery) {
    // Another segment has left the network; no more of them can than were sent.
    const uint32_t mss = effective_mss(tcb);
    uint32_t& cwnd = tcb.congestion.cwnd_bytes;
    const uint32_t limit = tcb.congestion.ssthresh_bytes + (tcb.snd_max - tcb.snd_una) + mss;
    if (cwnd < limit) cwnd += mss;
  } else if (tcb.dup_acks == kDupAckThreshold && seq_less(tcb.recover, tcb.snd_una)) {
    // Otherwise the duplicates may stem from what a timeout sent again needlessly.
    enter_recovery(stack, tcb, now);
  }
}

void recovery_ack(Tcb& tcb, uint32_t ack, uint32_t acked_bytes) {
  const uint32_t mss = effective_mss(tcb);
  uint32_t& cwnd = tcb.congestion.cwnd_bytes;
  if (!seq_less(ack, tcb.recover)) {  // full: RFC 6582 3.2, step 3, option 1
    const uint32_t flight = tcb.snd_max - ack;
    cwnd = std::min(tcb.congestion.ssthresh_bytes, std::max(flight, mss) + mss);
    tcb.in_recovery = tcb.retransmit_head = false;
    return;
  }
  tcb.retransmit_head = true;
  cwnd -= std::min(cwnd, acked_bytes);
  if (acked_bytes >= mss) cwnd += mss;
  cwnd = std::max(cwnd, mss);
}

bool is_duplicate_ack(const Tcb& tcb, const net::Segment& segment) {  // RFC 5681 2
  return segment.ack == tcb.snd_una && tcb.snd_max != tcb.snd_una && segment.payload.length == 0 &&
         (segment.flags & (net::kSyn | net::kFin)) == 0 && !tcb.persist &&
         static_cast<uint32_t>(segment.window) << tcb.snd_wscale == tcb.snd_wnd;
}

// Returns whether our FIN was covered.
bool on_new_ack(Stack& stack, Tcb& tcb, const net::Segment& segment, Micros now,
                InputResult& result) {
  const uint32_t ack = segment.ack;
  const uint32_t flight = tcb.snd_max - tcb.snd_una;
  const bool fin_acked = tcb.fin_queued && ack == tcb.send_end() + 1;
  const uint32_t acked_bytes = ack - tcb.send_seq() - (fin_acked ? 1U : 0U);
  const uint32_t sent_bytes =  // 0 while snd_nxt stands at or before the SYN's end
      seq_max(seq_min(tcb.snd_nxt, tcb.send_end()), tcb.send_seq()) - tcb.send_seq();
  SLUICE_ASSERT(acked_bytes <= tcb.send.readable_bytes());
  take_rtt_sample(stack, tcb, segment, now);
  drop_acknowledged(stack, tcb, acked_bytes, sent_bytes);
  tcb.snd_una = ack;
  if (seq_less(tcb.snd_nxt, ack)) tcb.snd_nxt = ack;
  if (fin_acked) tcb.fin_queued = false;
  result.writable = result.writable || acked_bytes != 0;

  bool restart_timer = true;
  if (tcb.in_recovery) {
    recovery_ack(tcb, ack, acked_bytes);
    restart_timer = !tcb.in_recovery || !tcb.partial_ack;  // RFC 6582 4: impatient
    tcb.partial_ack = true;
  } else {
    CongestionFlight none;
    stack.config.congestion->on_ack(tcb.congestion, none,
                                    {acked_bytes, flight, effective_mss(tcb), tcb.srtt_us, now});
    // Keeps `recover` in reach of sequence arithmetic on long transfers.
    if (seq_less(tcb.recover, ack)) tcb.recover = ack - 1;
  }
  tcb.dup_acks = 0;
  tcb.persist = false;
  tcb.unanswered_since = now;
  if (restart_timer || tcb.snd_una == tcb.snd_max) tcb.retransmit_at = kNever;  // RFC 6298 5.2, 5.3
  return fin_acked;
}

void update_send_window(Tcb& tcb, const net::Segment& segment) {  // RFC 9293 3.10.7.4, fifth
  if (seq_less(tcb.snd_wl1, segment.seq) ||
      (tcb.snd_wl1 == segment.seq && seq_leq(tcb.snd_wl2, segment.ack))) {
    tcb.snd_wnd = static_cast<uint32_t>(segment.window) << tcb.snd_wscale;
    tcb.snd_wl1 = segment.seq;
    tcb.snd_wl2 = segment.ack;
    tcb.max_snd_wnd = std::max(tcb.max_snd_wnd, tcb.snd_wnd);
  }
}

}  // namespace

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
  const Micros rto = tcb.srtt_us + std::max<Micros>(kClockGranularity, 4ULL * tcb.rttvar_us);
  tcb.rto_us =
      static_cast<uint32_t>(std::clamp(rto, stack.config.rto_min_us, stack.config.rto_max_us));
  tcb.backoff = 0;  // Karn: only a valid sample ends the backoff
}

bool process_ack(Stack& stack, Tcb& tcb, const net::Segment& segment, Micros now,
                 InputResult& result) {
  bool fin_acked = false;
  // An answer, and it says what the window is: the probe can wait again.
  if (tcb.persist && seq_leq(tcb.snd_una, segment.ack)) {
    tcb.unanswered_since = now;
    arm(stack, tcb, now);
  }
  if (seq_less(tcb.snd_una, segment.ack)) {
    fin_acked = on_new_ack(stack, tcb, segment, now, result);
  } else if (is_duplicate_ack(tcb, segment)) {
    on_duplicate_ack(stack, tcb, now);
  }
  if (seq_leq(tcb.snd_una, segment.ack)) update_send_window(tcb, segment);
  tcb.output_wanted = true;
  return fin_acked;
}

void begin_transfer(Stack& stack, Tcb& tcb, Micros now) {
  const bool syn_was_lost = tcb.backoff != 0;
  const uint32_t mss = effective_mss(tcb);
  stack.config.congestion->begin(tcb.congestion, mss);
  if (syn_was_lost) {
    tcb.congestion.cwnd_bytes = mss;  // RFC 5681 3.1
    if (tcb.srtt_us == 0) {
      tcb.rto_us = static_cast<uint32_t>(std::max(stack.config.rto_initial_us, kRtoAfterLostSyn));
    }
  }
  tcb.backoff = 0;
  tcb.recover = tcb.iss;
  tcb.sent_at = tcb.received_at = now;
  tcb.retransmit_at = kNever;
  if (stack.config.keepalive_idle_us != 0) tcb.idle_at = now + stack.config.keepalive_idle_us;
}

void on_retransmit_timer(Stack& stack, Tcb& tcb, Micros now) {
  if (now - tcb.unanswered_since >= patience(stack, tcb)) {
    if (tcb.state == State::SynSent) {
      close_tcb(stack, tcb, CloseCause::Timeout);
    } else {
      close_with_reset(stack, tcb, CloseCause::Timeout);
    }
    return;
  }
  tcb.retransmit_at = kNever;
  tcb.output_wanted = true;
  if (!tcb.persist) stack.counters.add(Counter::tcp_rto);
  if (!is_synchronized(tcb.state)) {
    go_back(tcb);
    back_off(tcb);
    return;
  }
  if (tcb.persist || tcb.snd_wnd == 0) {  // RFC 9293 3.8.6.1; also when the peer shrank its window
    go_back(tcb);
    tcb.persist = tcb.probe = true;
    back_off(tcb);
    arm(stack, tcb, now);
    return;
  }
  const bool first = tcb.backoff == 0;
  CongestionFlight none;
  stack.config.congestion->on_timeout(tcb.congestion, none, tcb.flight_bytes(), effective_mss(tcb),
                                      first, now);
  tcb.recover = tcb.snd_max;  // RFC 6582 3.2, step 4
  tcb.in_recovery = tcb.retransmit_head = false;
  tcb.dup_acks = 0;
  go_back(tcb);
  back_off(tcb);
}

void update_retransmit_timer(Stack& stack, Tcb& tcb, Micros now) {
  if (tcb.state == State::Closed || tcb.state == State::TimeWait) return;
  if (tcb.snd_nxt != tcb.snd_una) {
    if (tcb.persist) {
      tcb.persist = false;
      tcb.backoff = 0;
      tcb.retransmit_at = kNever;
    }
    if (tcb.retransmit_at == kNever) arm(stack, tcb, now);  // RFC 6298 5.1
  } else if (has_unsent(tcb)) {
    if (!tcb.persist) {
      tcb.persist = true;
      tcb.backoff = 0;
      tcb.unanswered_since = now;
      arm(stack, tcb, now);
    }
  } else {
    tcb.persist = false;
    tcb.retransmit_at = kNever;
  }
}

uint64_t congestion_window_bytes(const Tcb& tcb) {
  uint64_t window = tcb.congestion.cwnd_bytes;
  const bool new_data = tcb.snd_nxt == tcb.snd_max;
  if (new_data && !tcb.in_recovery && tcb.dup_acks < kDupAckThreshold) {
    window += static_cast<uint64_t>(tcb.dup_acks) * effective_mss(tcb);  // RFC 3042 2
  }
  return window;
}

bool has_unsent(const Tcb& tcb) {
  if (!is_synchronized(tcb.state)) return false;
  return seq_less(tcb.snd_nxt, tcb.send_end() + (tcb.fin_queued ? 1U : 0U));
}

}  // namespace sluice::tcp
