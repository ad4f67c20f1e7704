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
// included that went before it, and only within the range of those: a network that doubles packets
// causes others. The timestamp to compare with is the first retransmission's of all that is in
// flight: one of an earlier recovery may be acknowledged only now.
#include "tcp/undo.h"

#include <algorithm>

#include "tcp/recovery.h"
#include "tcp/scoreboard.h"
#include "tcp/seq.h"

namespace sluice::tcp {
namespace {

uint32_t packets(const Tcb& tcb, uint32_t bytes) {
  const uint32_t mss = effective_mss(tcb);
  return (bytes + mss - 1) / mss;
}

void count_dsack(Tcb& tcb, const AckNews& news) {
  InFlight& flight = *tcb.in_flight;
  const net::SackBlock& twice = news.twice;
  if (seq_less(twice.start, flight.resent_from) || seq_less(flight.resent_to, twice.end)) return;
  flight.undo_retransmissions -=
      std::min(flight.undo_retransmissions, packets(tcb, twice.end - twice.start));
}

bool has_retransmission(const Stack& stack, const InFlight& flight) {
  for (uint32_t index = flight.first; index != kNoRecord; index = stack.pools.records[index].next) {
    if (stack.pools.records[index].retransmitted && !stack.pools.records[index].sacked) return true;
  }
  return false;
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

void remember_windows(const Stack& stack, Tcb& tcb) {
  InFlight& flight = *tcb.in_flight;
  flight.before = tcb.congestion;
  flight.before_flight = flight.congestion;
  const bool probe = flight.probe_sent && flight.probe_retransmission;
  flight.undo_retransmissions = probe ? 1 : 0;
  flight.resent_to = probe ? flight.probe_end : tcb.snd_una;
  flight.resent_from = probe ? flight.probe_end - effective_mss(tcb) : tcb.snd_una;
  flight.resent_any = false;
  if (!has_retransmission(stack, flight)) flight.resent_clock_valid = false;
  flight.can_undo = true;
}

void remember_resent(Tcb& tcb, uint32_t seq, uint32_t length, Micros now) {
  InFlight& flight = *tcb.in_flight;
  const bool first = flight.resent_from == flight.resent_to;
  flight.resent_from = first ? seq : seq_min(flight.resent_from, seq);
  flight.resent_to = first ? seq + length : seq_max(flight.resent_to, seq + length);
  flight.undo_retransmissions += packets(tcb, length);
  flight.resent_any = true;
  if (flight.resent_clock_valid) return;
  flight.resent_clock_valid = true;
  flight.resent_clock = timestamp_clock(now);
}

bool undo_reduction(Stack& stack, Tcb& tcb, const AckClock& clock, const AckNews& news,
                    bool duplicate) {
  InFlight& flight = *tcb.in_flight;
  if (!flight.can_undo) return false;
  if (news.dsack) count_dsack(tcb, news);
  const bool recovering = tcb.phase != SendPhase::Open;
  const bool eifel = recovering && clock.has_echo && flight.resent_any &&
                     news.first_retransmitted && seq_less(clock.echo_ms, flight.resent_clock);
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
