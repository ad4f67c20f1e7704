// Job: know of every byte in flight when it was sent last, whether the peer has it, and whether it
// is believed lost.
//
//   output       record_sent appends; record_resent stamps a lost record as sent again
//   ACK          note_acknowledged takes records off the front; note_sacked marks and joins
//   RACK, RTO    mark_lost, mark_all_lost; `next_lost` is the hint where to look for the next one
//
// The list is walked from its head: SACKed runs are joined, so what is walked is holes, and a
// connection has at most kMaxRecords. When no record is free, segments are joined to the last
// record and SACK blocks that would split one are left out: less is known, nothing is wrong.
//
// A record names the slice node of its first byte. Acknowledgements trim the send queue's first
// node, so in that one the place follows from snd_una; in the others the offset stands.
#include "tcp/scoreboard.h"

#include <algorithm>

#include "abi/assert.h"
#include "tcp/seq.h"

namespace sluice::tcp {
namespace {

uint32_t low(Micros moment) { return static_cast<uint32_t>(moment); }

// Whether `a` was sent after `b`; of two sent at once the higher one. RFC 8985 6.2.
bool sent_after(uint32_t a_us, uint32_t a_end, uint32_t b_us, uint32_t b_end) {
  return a_us != b_us ? seq_less(b_us, a_us) : seq_less(b_end, a_end);
}

void forget(Stack& stack, InFlight& flight, uint32_t index) {
  stack.pools.records.give(index);
  --flight.records;
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
  if (record.retransmitted) {
    const Micros sent = clock.now - (low(clock.now) - record.sent_us);
    if (clock.has_echo && seq_less(clock.echo_ms, timestamp_clock(sent))) return;
    if (rtt_us < tcb.min_rtt_us) return;  // it was an earlier transmission that arrived
  } else {
    if (seq_less(end, news.fack)) news.reordered = true;
    if (seq_leq(end, flight.recover)) news.original = true;
    tcb.min_rtt_us = std::min(tcb.min_rtt_us, rtt_us);
  }
  if (!record.retransmitted || clock.has_echo) {
    if (news.first_rtt_us == 0) news.first_rtt_us = rtt_us;
    news.last_rtt_us = rtt_us;
  }
  if (!flight.rack_valid || sent_after(record.sent_us, end, flight.rack_sent_us, flight.rack_end)) {
    flight.rack_valid = true;
    flight.rack_sent_us = record.sent_us;
    flight.rack_end = end;
    flight.rack_rtt_us = rtt_us;
  }
}

// Joins `index` to `previous` when both are SACKed. Returns the one that remains.
uint32_t join_sacked(Stack& stack, InFlight& flight, uint32_t previous, uint32_t index) {
  if (previous == kNoRecord || !stack.pools.records[previous].sacked) return index;
  stack.pools.records[previous].next = stack.pools.records[index].next;
  if (flight.last == index) flight.last = previous;
  if (flight.next_lost == index) flight.next_lost = stack.pools.records[index].next;
  forget(stack, flight, index);
  return previous;
}

void mark_sacked(Stack& stack, Tcb& tcb, uint32_t index, const AckClock& clock, AckNews& news) {
  InFlight& flight = *tcb.in_flight;
  SentRecord& record = stack.pools.records[index];
  const uint32_t end = record_end(stack, tcb, record);
  const uint32_t bytes = end - record.seq;
  note_delivered(tcb, record, end, clock, news);
  uncount(flight, record, bytes);
  record.lost = record.resent = 0;
  record.sacked = 1;
  flight.sacked_bytes += bytes;
  news.sacked_bytes += bytes;
  news.delivered_bytes += bytes;
  flight.highest_sacked = seq_max(flight.highest_sacked, end);
}

// Marks [start, end), which lies within [snd_una, snd_nxt].
void note_block(Stack& stack, Tcb& tcb, uint32_t start, uint32_t end, const AckClock& clock,
                AckNews& news) {
  Pool<SentRecord>& records = stack.pools.records;
  InFlight& flight = *tcb.in_flight;
  uint32_t previous = kNoRecord;
  uint32_t index = flight.first;
  while (index != kNoRecord && seq_less(records[index].seq, end)) {
    const uint32_t record_stop = record_end(stack, tcb, records[index]);
    if (records[index].sacked) {
      previous = join_sacked(stack, flight, previous, index);
      index = records[previous].next;
      continue;
    }
    if (seq_leq(record_stop, start)) {
      previous = index;
      index = records[index].next;
      continue;
    }
    if (seq_less(records[index].seq, start)) {
      const uint32_t tail = split_record(stack, tcb, index, start);
      previous = index;
      index = tail == index ? records[index].next : tail;
      continue;
    }
    if (seq_less(end, record_stop) && split_record(stack, tcb, index, end) == index) return;
    mark_sacked(stack, tcb, index, clock, news);
    previous = join_sacked(stack, flight, previous, index);
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
  if (!seq_less(first.start, first.end)) return false;
  if (seq_less(first.start, segment.ack)) {
    return seq_leq(first.end, segment.ack) && seq_less(prior_una - (1U << 30), first.start);
  }
  if (segment.options.sack_count < 2) return false;
  const net::SackBlock& second = segment.options.sack[1];
  return seq_leq(second.start, first.start) && seq_leq(first.end, second.end);
}

void note_dsack(Tcb& tcb, const net::SackBlock& block, AckNews& news) {
  news.dsack = true;
  InFlight& flight = *tcb.in_flight;
  if (!flight.can_undo || !seq_leq(flight.undo_from, block.start)) return;
  const uint32_t mss = effective_mss(tcb);
  const uint32_t segments = (block.end - block.start + mss - 1) / mss;
  flight.undo_retransmissions -= std::min(flight.undo_retransmissions, segments);
}

}  // namespace

bool begin_flight(Stack& stack, Tcb& tcb) {
  SLUICE_ASSERT(tcb.in_flight == nullptr);
  const uint32_t index = stack.pools.in_flight.take();
  if (index == kNoRecord) return false;
  tcb.in_flight = &stack.pools.in_flight[index];
  InFlight& flight = *tcb.in_flight;
  flight.highest_sacked = flight.cwnd_limited_end = flight.reduced_until = tcb.snd_una;
  flight.recover = tcb.snd_una - 1;
  return true;
}

void end_flight(Stack& stack, Tcb& tcb) {
  if (tcb.in_flight == nullptr) return;
  InFlight& flight = *tcb.in_flight;
  for (uint32_t index = flight.first; index != kNoRecord;) {
    const uint32_t next = stack.pools.records[index].next;
    forget(stack, flight, index);
    index = next;
  }
  SLUICE_ASSERT(flight.records == 0);
  stack.pools.in_flight.give(stack.pools.in_flight.index_of(flight));
  tcb.in_flight = nullptr;
  tcb.phase = SendPhase::Open;
}

bool can_record(const Stack& stack, const Tcb& tcb) {
  const InFlight& flight = *tcb.in_flight;
  if (flight.records < kMaxRecords && stack.pools.records.free_count() != 0) return true;
  if (flight.last == kNoRecord) return false;
  const SentRecord& last = stack.pools.records[flight.last];
  return !last.sacked && !last.lost;
}

void record_sent(Stack& stack, Tcb& tcb, const SendCursor& cursor, bool again, Micros now) {
  Pool<SentRecord>& records = stack.pools.records;
  InFlight& flight = *tcb.in_flight;
  uint32_t index = kNoRecord;
  if (flight.records < kMaxRecords) index = records.take();
  if (index == kNoRecord) {  // joined: as if all of it had been sent just now
    SLUICE_ASSERT(flight.last != kNoRecord);
    records[flight.last].sent_us = low(now);
    records[flight.last].retransmitted = 1;  // no sample from it
    return;
  }
  ++flight.records;
  SentRecord& record = records[index];
  record.seq = tcb.snd_nxt;
  record.sent_us = low(now);
  record.node = cursor.node;
  record.offset = cursor.offset & 0xffffff;
  record.retransmitted = again ? 1 : 0;
  (flight.last == kNoRecord ? flight.first : records[flight.last].next) = index;
  flight.last = index;
}

uint32_t split_record(Stack& stack, Tcb& tcb, uint32_t index, uint32_t seq) {
  Pool<SentRecord>& records = stack.pools.records;
  InFlight& flight = *tcb.in_flight;
  SLUICE_ASSERT(seq_less(records[index].seq, seq));
  if (flight.records >= 2 * kMaxRecords) return index;
  const uint32_t tail = records.take();
  if (tail == kNoRecord) return index;
  ++flight.records;
  SendCursor cursor = record_cursor(stack, tcb, records[index]);
  advance_cursor(stack, tcb.send, cursor, seq - records[index].seq);
  records[tail] = records[index];
  records[tail].seq = seq;
  records[tail].node = cursor.node;
  records[tail].offset = cursor.offset & 0xffffff;
  records[index].next = tail;
  if (flight.last == index) flight.last = tail;
  return tail;
}

void record_resent(Stack& stack, Tcb& tcb, uint32_t index, uint32_t length, Micros now) {
  InFlight& flight = *tcb.in_flight;
  const uint32_t start = stack.pools.records[index].seq;
  if (record_end(stack, tcb, stack.pools.records[index]) != start + length) {
    split_record(stack, tcb, index, start + length);
  }
  SentRecord& record = stack.pools.records[index];
  if (record.lost && !record.resent) {
    record.resent = 1;
    flight.resent_bytes += record_end(stack, tcb, record) - start;
  }
  record.retransmitted = 1;
  record.sent_us = low(now);
  if (flight.next_lost == index) flight.next_lost = record.next;
  if (!flight.resent_any) {
    flight.resent_any = true;
    flight.resent_clock = timestamp_clock(now);
  }
  ++flight.undo_retransmissions;
}

uint32_t record_end(const Stack& stack, const Tcb& tcb, const SentRecord& record) {
  return record.next == kNoRecord ? tcb.snd_nxt : stack.pools.records[record.next].seq;
}

SendCursor record_cursor(const Stack& stack, const Tcb& tcb, const SentRecord& record) {
  SendCursor cursor{record.node, record.offset};
  const SliceNode* head = tcb.send.head();
  if (head != nullptr && stack.nodes.index_of(head) == record.node) {
    cursor.offset = record.seq - tcb.send_seq();
  }
  return cursor;
}

uint32_t next_lost_record(const Stack& stack, Tcb& tcb) {
  InFlight& flight = *tcb.in_flight;
  while (flight.next_lost != kNoRecord) {
    const SentRecord& record = stack.pools.records[flight.next_lost];
    if (record.lost && !record.resent) break;
    flight.next_lost = record.next;
  }
  return flight.next_lost;
}

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
    if (record.retransmitted) news.retransmitted_acked = true;
    uncount(flight, record, bytes);
    if (seq_less(ack, end)) {
      record.seq = ack;
      break;
    }
    flight.first = record.next;
    if (flight.last == index) flight.last = kNoRecord;
    if (flight.next_lost == index) flight.next_lost = record.next;
    forget(stack, flight, index);
  }
  flight.highest_sacked = seq_max(flight.highest_sacked, ack);
}

void align_first_record(Stack& stack, Tcb& tcb) {
  const InFlight& flight = *tcb.in_flight;
  if (flight.first == kNoRecord || tcb.send.head() == nullptr) return;
  stack.pools.records[flight.first].node = stack.nodes.index_of(tcb.send.head());
}

void note_sacked(Stack& stack, Tcb& tcb, const net::Segment& segment, uint32_t prior_una,
                 const AckClock& clock, AckNews& news) {
  const net::TcpOptions& options = segment.options;
  if (options.sack_count == 0) return;
  uint32_t from = 0;
  if (is_dsack(segment, prior_una)) {
    note_dsack(tcb, options.sack[0], news);
    from = 1;
  }
  for (uint32_t i = from; i < options.sack_count; ++i) {
    const uint32_t start = seq_max(options.sack[i].start, tcb.snd_una);
    const uint32_t end = options.sack[i].end;
    if (!seq_less(start, end) || seq_less(tcb.snd_nxt, end)) continue;
    if (start == tcb.snd_una) continue;  // it would have been acknowledged: stale or forged
    note_block(stack, tcb, start, end, clock, news);
  }
}

uint32_t mark_lost(const Stack& stack, Tcb& tcb, uint32_t index) {
  InFlight& flight = *tcb.in_flight;
  SentRecord& record = stack.pools.records[index];
  const uint32_t bytes = record_end(stack, tcb, record) - record.seq;
  const bool known = record.lost != 0;
  if (known && !record.resent) return 0;
  if (record.resent) flight.resent_bytes -= bytes;
  if (!known) flight.lost_bytes += bytes;
  record.lost = 1;
  record.resent = 0;
  if (flight.next_lost == kNoRecord ||
      seq_less(record.seq, stack.pools.records[flight.next_lost].seq)) {
    flight.next_lost = index;
  }
  return bytes;
}

void mark_all_lost(Stack& stack, Tcb& tcb) {
  InFlight& flight = *tcb.in_flight;
  const bool reneged = flight.first != kNoRecord && stack.pools.records[flight.first].sacked;
  if (!tcb.sack_permitted) flight.sacked_bytes = 0;
  for (uint32_t index = flight.first; index != kNoRecord;) {
    SentRecord& record = stack.pools.records[index];
    if (record.sacked && reneged) {
      flight.sacked_bytes -= record_end(stack, tcb, record) - record.seq;
      record.sacked = 0;
    }
    if (!record.sacked) mark_lost(stack, tcb, index);
    index = record.next;
  }
}

void clear_lost(const Stack& stack, Tcb& tcb) {
  InFlight& flight = *tcb.in_flight;
  for (uint32_t index = flight.first; index != kNoRecord;) {
    SentRecord& record = stack.pools.records[index];
    record.lost = record.resent = 0;
    index = record.next;
  }
  flight.lost_bytes = flight.resent_bytes = 0;
  flight.next_lost = kNoRecord;
}

uint32_t pipe_bytes(const Tcb& tcb) {
  const uint32_t sent = tcb.snd_nxt - tcb.snd_una;
  if (tcb.in_flight == nullptr) return sent;
  const InFlight& flight = *tcb.in_flight;
  const uint32_t present = sent + flight.resent_bytes;
  const uint32_t gone = flight.sacked_bytes + flight.lost_bytes;
  return present > gone ? present - gone : 0;
}

}  // namespace sluice::tcp
