// Job: read an ACK: which segments it has delivered and which of their transmissions arrived, what
// it says about round trips and order, and whether something came twice.
//
//   note_acknowledged  the records in front go
//   note_dsack         the first SACK block is about something that came again
//   note_sacked        the others mark records and join runs of them
//
// A packet counts as SACKed when all of it is (RFC 2018 5). A record may be several, cut by the
// MSS: it is split where packets end, so that no block makes records smaller than those. Blocks
// that fit no sent text, or begin where the peer would have acknowledged, say nothing.
#include "tcp/ack_news.h"

#include <algorithm>

#include "tcp/scoreboard.h"
#include "tcp/seq.h"

namespace sluice::tcp {
namespace {

uint32_t low(Micros moment) { return static_cast<uint32_t>(moment); }

// Whether `a` was sent after `b`; of two sent at once the higher one. RFC 8985 6.2.
bool sent_after(uint32_t a_us, uint32_t a_end, uint32_t b_us, uint32_t b_end) {
  return a_us != b_us ? seq_less(b_us, a_us) : seq_less(b_end, a_end);
}

// Takes the bytes of a record out of the sums that its marks put them into.
void uncount(InFlight& flight, const SentRecord& record, uint32_t bytes) {
  if (record.sacked) flight.sacked_bytes -= bytes;
  if (record.lost) flight.lost_bytes -= bytes;
  if (record.resent) flight.resent_bytes -= bytes;
}

// The segment has arrived: what it says about round trips and order. RFC 8985 6.2, steps 1 to 3.
void note_delivered(Tcb& tcb, const SentRecord& record, uint32_t end, const AckClock& clock,
                    AckNews& news) {
  InFlight& flight = *tcb.in_flight;
  const uint32_t rtt_us = std::max(low(clock.now) - record.sent_us, 1U);
  if (seq_less(flight.recover, end)) news.beyond = true;
  if (record.joined) {  // when this part of it was sent is not known
    news.ambiguous = true;
    return;
  }
  if (record.retransmitted) {
    const Micros sent = clock.now - (low(clock.now) - record.sent_us);
    const bool earlier = clock.has_echo && seq_less(clock.echo_ms, timestamp_clock(sent));
    if (earlier || !clock.has_echo) news.ambiguous = true;
    // It was an earlier transmission that arrived.
    if (earlier || rtt_us < tcb.min_rtt_us) return;
  } else {
    if (seq_less(end, news.fack)) news.reordered = true;
    if (seq_leq(end, flight.recover)) news.original = true;
    tcb.min_rtt_us = std::min(tcb.min_rtt_us, rtt_us);
  }
  if (news.first_rtt_us == 0) news.first_rtt_us = rtt_us;
  news.last_rtt_us = rtt_us;
  flight.rack_rtt_us = rtt_us;
  if (!flight.rack_valid || sent_after(record.sent_us, end, flight.rack_sent_us, flight.rack_end)) {
    flight.rack_valid = true;
    flight.rack_sent_us = record.sent_us;
    flight.rack_end = end;
  }
}

// Joins `index` to `previous` when both are SACKed. Returns the one that remains.
uint32_t join_sacked(Stack& stack, InFlight& flight, uint32_t previous, uint32_t index) {
  if (previous == kNoRecord || !stack.pools.records[previous].sacked) return index;
  stack.pools.records[previous].next = stack.pools.records[index].next;
  if (flight.last == index) flight.last = previous;
  if (flight.next_lost == index) flight.next_lost = stack.pools.records[index].next;
  forget_record(stack, flight, index);
  return previous;
}

void mark_sacked(Stack& stack, Tcb& tcb, uint32_t index, const AckClock& clock, AckNews& news) {
  InFlight& flight = *tcb.in_flight;
  SentRecord& record = stack.pools.records[index];
  const uint32_t end = record_end(stack, tcb, record);
  const uint32_t bytes = end - record.seq;
  note_delivered(tcb, record, end, clock, news);
  uncount(flight, record, bytes);
  record.lost = record.resent = record.only_begun = 0;
  record.sacked = 1;
  flight.sacked_bytes += bytes;
  news.sacked_bytes += bytes;
  news.delivered_bytes += bytes;
  flight.highest_sacked = seq_max(flight.highest_sacked, end);
}

// Splits off what of the record lies in front of `start` and behind `end`, by whole packets.
// Returns whether `index` is now the part between; otherwise nothing is left of it there, or it
// could not be split.
bool cut_out(Stack& stack, Tcb& tcb, uint32_t& index, uint32_t start, uint32_t end) {
  const uint32_t mss = effective_mss(tcb);
  const SentRecord record = stack.pools.records[index];
  const uint32_t stop = record_end(stack, tcb, record);
  uint32_t from = record.seq;
  if (seq_less(from, start)) from += (start - from + mss - 1) / mss * mss;
  const uint32_t to = seq_leq(stop, end) ? stop : record.seq + (end - record.seq) / mss * mss;
  if (!seq_less(from, to)) return false;
  if (from != record.seq) {
    const uint32_t tail = split_record(stack, tcb, index, from);
    if (tail == index) return false;
    index = tail;
  }
  return to == stop || split_record(stack, tcb, index, to) != index;
}

// Marks [start, end), which lies within [snd_una, snd_nxt].
void note_block(Stack& stack, Tcb& tcb, uint32_t start, uint32_t end, const AckClock& clock,
                AckNews& news) {
  Pool<SentRecord>& records = stack.pools.records;
  InFlight& flight = *tcb.in_flight;
  uint32_t previous = kNoRecord;
  uint32_t index = flight.first;
  while (index != kNoRecord && seq_less(records[index].seq, end)) {
    if (!records[index].sacked && seq_less(start, record_end(stack, tcb, records[index]))) {
      const uint32_t whole = index;
      if (cut_out(stack, tcb, index, start, end)) {
        if (index != whole) previous = whole;
        mark_sacked(stack, tcb, index, clock, news);
      }
    }
    previous = records[index].sacked ? join_sacked(stack, flight, previous, index) : index;
    index = records[previous].next;
  }
  // A run that ends where another one begins.
  if (previous != kNoRecord && index != kNoRecord && records[index].sacked) {
    join_sacked(stack, flight, previous, index);
  }
}

// RFC 2883 4: below the cumulative acknowledgement, or inside of the second block.
bool is_dsack(const net::Segment& segment, uint32_t prior_una) {
  const net::SackBlock& first = segment.options.sack[0];
  if (segment.options.sack_count == 0 || !seq_less(first.start, first.end)) return false;
  if (seq_less(first.start, segment.ack)) {
    return seq_leq(first.end, segment.ack) && seq_less(prior_una - (1U << 30), first.start);
  }
  if (segment.options.sack_count < 2) return false;
  const net::SackBlock& second = segment.options.sack[1];
  return seq_leq(second.start, first.start) && seq_leq(first.end, second.end);
}

// What an ACK has left of a record that was sent again in part, [record.seq, end), waits for its
// turn.
void forget_resent(InFlight& flight, SentRecord& record, uint32_t index, uint32_t end) {
  record.only_begun = 0;
  if (!record.resent) return;
  record.resent = 0;
  flight.resent_bytes -= end - record.seq;
  flight.next_lost = index;
}

// A peer that SACKs every other packet makes the list long, and could have it walked with every
// small packet. An honest one's blocks nearly always bring something new.
bool is_worth_a_walk(InFlight& flight, Micros now) {
  if (flight.records <= kShortList) return true;
  const auto tick = static_cast<uint8_t>(now >> 14);  // 16 ms
  if (flight.sack_credit == 0 && tick != flight.sack_credit_tick) flight.sack_credit = 1;
  flight.sack_credit_tick = tick;
  return flight.sack_credit != 0;
}

}  // namespace

void note_acknowledged(Stack& stack, Tcb& tcb, uint32_t ack, const AckClock& clock, AckNews& news) {
  Pool<SentRecord>& records = stack.pools.records;
  InFlight& flight = *tcb.in_flight;
  while (flight.first != kNoRecord) {
    const uint32_t index = flight.first;
    SentRecord& record = records[index];
    if (!seq_less(record.seq, ack)) break;
    const uint32_t end = record_end(stack, tcb, record);
    const uint32_t bytes = seq_min(end, ack) - record.seq;
    if (!record.sacked) {
      news.delivered_bytes += bytes;
      note_delivered(tcb, record, seq_min(end, ack), clock, news);
    }
    if (record.retransmitted && !record.sacked) {
      news.retransmitted_acked = true;
      if (record.seq == tcb.snd_una) news.first_retransmitted = true;
    }
    uncount(flight, record, bytes);
    if (seq_less(ack, end)) {
      record.seq = ack;
      if (record.only_begun) forget_resent(flight, record, index, end);
      break;
    }
    flight.first = record.next;
    if (flight.last == index) flight.last = kNoRecord;
    if (flight.next_lost == index) flight.next_lost = record.next;
    forget_record(stack, flight, index);
  }
  flight.highest_sacked = seq_max(flight.highest_sacked, ack);
}

void align_first_record(Stack& stack, Tcb& tcb) {
  const InFlight& flight = *tcb.in_flight;
  if (flight.first == kNoRecord || tcb.send.head() == nullptr) return;
  stack.pools.records[flight.first].node = stack.nodes.index_of(tcb.send.head());
}

void note_dsack(const net::Segment& segment, uint32_t prior_una, AckNews& news) {
  news.dsack = is_dsack(segment, prior_una);
  if (news.dsack) news.twice = segment.options.sack[0];
}

void note_sacked(Stack& stack, Tcb& tcb, const net::Segment& segment, const AckClock& clock,
                 AckNews& news) {
  const net::TcpOptions& options = segment.options;
  if (!is_worth_a_walk(*tcb.in_flight, clock.now)) return;
  for (uint32_t i = news.dsack ? 1 : 0; i < options.sack_count; ++i) {
    const uint32_t start = seq_max(options.sack[i].start, tcb.snd_una);
    const uint32_t end = options.sack[i].end;
    if (!seq_less(start, end) || seq_less(tcb.snd_nxt, end)) continue;
    if (start == tcb.snd_una) continue;  // it would have been acknowledged: stale or forged
    note_block(stack, tcb, start, end, clock, news);
  }
  uint8_t& credit = tcb.in_flight->sack_credit;
  if (news.sacked_bytes != 0) {
    credit = kSackCredit;
  } else if (options.sack_count > (news.dsack ? 1 : 0) && credit != 0) {
    --credit;
  }
}

}  // namespace sluice::tcp
