// Job: find out that what was believed lost was only late, and put the windows back.
//
//   Eifel    the ACK of something sent again echoes a timestamp from before the first
//            retransmission: the original has arrived (RFC 3522)
//   D-SACK   every retransmission has arrived a second time (RFC 3708). Those ACKs come a round
//   trip
//            after the retransmissions, mostly when the recovery is over: `can_undo` outlives it
//            and ends with the flight or the next reduction
//   F-RTO    after a timeout: step 1, the first segment goes again; step 2, its ACK moves snd_una
//   and
//            new data goes out in place of retransmissions; step 3, the next ACK delivers originals
//            and nothing new: they were on their way (RFC 5682 2.1, with SACK 3.1)
//
// D-SACKs are counted in packets against the retransmissions of this recovery, a tail loss probe's
// included that went before it; they lie between snd_una at its beginning and `recover`.
#include "tcp/undo.h"

#include <algorithm>

#include "tcp/recovery.h"
#include "tcp/scoreboard.h"
#include "tcp/seq.h"

namespace sluice::tcp {
namespace {

void count_dsack(Tcb& tcb, const AckNews& news) {
  InFlight& flight = *tcb.in_flight;
  if (seq_less(news.twice.start, flight.undo_from) || seq_less(flight.recover, news.twice.end)) {
    return;
  }
  const uint32_t mss = effective_mss(tcb);
  const uint32_t segments = (news.twice.end - news.twice.start + mss - 1) / mss;
  flight.undo_retransmissions -= std::min(flight.undo_retransmissions, segments);
}

// Returns whether the timeout was spurious.
bool forward_rto(Tcb& tcb, const AckNews& news, bool duplicate) {
  InFlight& flight = *tcb.in_flight;
  if (!flight.frto) return false;
  if (flight.frto_new_data) {                        // step 3
    if (!news.advanced && !duplicate) return false;  // no ACK in its sense
    flight.frto = flight.frto_new_data = false;      // 3a: the loss was real
    return news.original && !news.beyond &&          // 3b
           (tcb.sack_permitted || !news.retransmitted_acked);
  }
  if (!news.advanced) {
    if (duplicate && !tcb.sack_permitted) flight.frto = false;  // 2a of the basic algorithm
    return false;
  }
  const uint32_t unsent = tcb.send_end() - tcb.snd_nxt;
  const uint32_t edge = tcb.snd_una + tcb.snd_wnd;
  const bool may_send = has_unsent(tcb) && seq_leq(tcb.snd_nxt, tcb.send_end()) &&
                        seq_leq(tcb.snd_nxt + std::min(unsent, effective_mss(tcb)), edge);
  const bool partial = seq_less(tcb.snd_una, flight.recover) && flight.resent_bytes == 0;
  flight.frto = flight.frto_new_data = may_send && partial;  // 2b; otherwise 2a
  return false;
}

}  // namespace

void remember_windows(Tcb& tcb) {
  InFlight& flight = *tcb.in_flight;
  flight.before = tcb.congestion;
  flight.before_flight = flight.congestion;
  flight.undo_from = tcb.snd_una;
  flight.undo_retransmissions = flight.probe_sent && flight.probe_retransmission ? 1 : 0;
  flight.resent_any = false;
  flight.can_undo = true;
}

bool undo_reduction(Stack& stack, Tcb& tcb, const AckClock& clock, const AckNews& news,
                    bool duplicate) {
  InFlight& flight = *tcb.in_flight;
  if (!flight.can_undo) return false;
  if (news.dsack) count_dsack(tcb, news);
  const bool recovering = tcb.phase != SendPhase::Open;
  const bool eifel = recovering && clock.has_echo && flight.resent_any && news.advanced &&
                     news.retransmitted_acked && seq_less(clock.echo_ms, flight.resent_clock);
  const bool all_dsacked = news.dsack && flight.resent_any && flight.undo_retransmissions == 0;
  const bool originals = forward_rto(tcb, news, duplicate);
  if (!eifel && !all_dsacked && !originals) return false;
  const uint32_t cwnd = std::max(tcb.congestion.cwnd_bytes, flight.before.cwnd_bytes);
  tcb.congestion = flight.before;
  tcb.congestion.cwnd_bytes = cwnd;
  flight.congestion = flight.before_flight;
  flight.reduced_until = tcb.snd_una;
  flight.can_undo = false;
  tcb.ecn_cwr = false;
  if (recovering) {
    clear_lost(stack, tcb);
    leave_recovery(tcb);
    tcb.congestion.cwnd_bytes = cwnd;
  }
  stack.counters.add(abi::Counter::tcp_spurious_recoveries);
  return true;
}

}  // namespace sluice::tcp
