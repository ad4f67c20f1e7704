// Job: know of every byte in flight when it was sent last, whether the peer has it, and whether it
// is believed lost.
//
//   output       record_sent appends; record_resent stamps a lost record as sent again
//   ACK          ack_news.cc takes records off the front, marks and joins them
//   RACK, RTO    mark_lost, mark_all_lost; `next_lost` is the hint where to look for the next one
//
// The list is walked from its head: SACKed runs are joined, so what is walked is holes, and a
// connection has at most kMaxRecords. When no record is free, segments are joined to the last
// record and SACK blocks that would split one are left out: less is known, nothing is wrong. A
// record that is sent again in part and cannot be split is `only_begun`: what an ACK leaves of it
// is lost still.
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

}  // namespace

void forget_record(Stack& stack, InFlight& flight, uint32_t index) {
  stack.pools.records.give(index);
  --flight.records;
}

void begin_flight(Stack& stack, Tcb& tcb) {
  SLUICE_ASSERT(tcb.in_flight == nullptr && tcb.snd_nxt == tcb.snd_una);
  const uint32_t index = stack.pools.in_flight.take();
  SLUICE_ASSERT(index != kNoRecord);
  tcb.in_flight = &stack.pools.in_flight[index];
  InFlight& flight = *tcb.in_flight;
  flight.highest_sacked = flight.reduced_until = tcb.snd_una;
  flight.full_end = flight.cwnd_limited_end = tcb.snd_una;
  flight.recover = tcb.snd_una - 1;
  flight.probe_end = tcb.snd_una;
  flight.probe_sent = flight.probe_retransmission = tcb.probe_undecided;
  tcb.probe_undecided = false;
}

void end_flight(Stack& stack, Tcb& tcb) {
  if (tcb.in_flight == nullptr) return;
  InFlight& flight = *tcb.in_flight;
  for (uint32_t index = flight.first; index != kNoRecord;) {
    const uint32_t next = stack.pools.records[index].next;
    forget_record(stack, flight, index);
    index = next;
  }
  SLUICE_ASSERT(flight.records == 0);
  tcb.probe_undecided =
      flight.probe_sent && flight.probe_retransmission && flight.probe_end == tcb.snd_una;
  stack.pools.in_flight.give(stack.pools.in_flight.index_of(flight));
  tcb.in_flight = nullptr;
  tcb.phase = SendPhase::Open;
}

// A few records are kept for every flight that there can be, and of what is left beyond them a
// flight gets an eighth: however many connections never acknowledge, the others go on.
uint32_t record_limit(const Stack& stack) {
  const uint32_t reserve = kMinRecords * stack.pools.in_flight.capacity();
  const uint32_t free = stack.pools.records.free_count();
  return std::clamp(free > reserve ? (free - reserve) / 8 : 0, kMinRecords, kMaxRecords);
}

bool can_record(const Stack& stack, const Tcb& tcb) {
  const InFlight& flight = *tcb.in_flight;
  if (flight.records < record_limit(stack) && stack.pools.records.free_count() != 0) return true;
  if (flight.last == kNoRecord) return false;
  const SentRecord& last = stack.pools.records[flight.last];
  return !last.sacked && !last.lost;
}

void record_sent(Stack& stack, Tcb& tcb, const SendCursor& cursor, bool again, Micros now) {
  Pool<SentRecord>& records = stack.pools.records;
  InFlight& flight = *tcb.in_flight;
  uint32_t index = kNoRecord;
  if (flight.records < record_limit(stack)) index = records.take();
  if (index == kNoRecord) {  // joined: as if all of it had been sent just now
    SLUICE_ASSERT(flight.last != kNoRecord);
    records[flight.last].sent_us = low(now);
    records[flight.last].joined = 1;
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
  if (flight.records >= record_limit(stack)) return index;
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
  bool whole = record_end(stack, tcb, stack.pools.records[index]) == start + length;
  if (!whole) whole = split_record(stack, tcb, index, start + length) != index;
  SentRecord& record = stack.pools.records[index];
  record.only_begun = whole ? 0 : 1;
  if (whole) record.joined = 0;
  if (record.lost && !record.resent) {
    record.resent = 1;
    flight.resent_bytes += record_end(stack, tcb, record) - start;
  }
  record.retransmitted = 1;
  record.sent_us = low(now);
  if (flight.next_lost == index) flight.next_lost = record.next;
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

uint32_t mark_lost(const Stack& stack, Tcb& tcb, uint32_t index) {
  InFlight& flight = *tcb.in_flight;
  SentRecord& record = stack.pools.records[index];
  const uint32_t bytes = record_end(stack, tcb, record) - record.seq;
  const bool known = record.lost != 0;
  if (known && !record.resent) return 0;
  if (record.resent) flight.resent_bytes -= bytes;
  if (!known) flight.lost_bytes += bytes;
  record.lost = 1;
  record.resent = record.only_begun = 0;
  if (flight.next_lost == kNoRecord ||
      seq_less(record.seq, stack.pools.records[flight.next_lost].seq)) {
    flight.next_lost = index;
  }
  return bytes;
}

bool has_reneged(const Stack& stack, const Tcb& tcb) {
  const uint32_t first = tcb.in_flight->first;
  return first != kNoRecord && stack.pools.records[first].sacked;
}

void mark_all_lost(Stack& stack, Tcb& tcb) {
  InFlight& flight = *tcb.in_flight;
  flight.sacked_bytes = 0;
  for (uint32_t index = flight.first; index != kNoRecord;) {
    stack.pools.records[index].sacked = 0;
    mark_lost(stack, tcb, index);
    index = stack.pools.records[index].next;
  }
}

void clear_lost(const Stack& stack, Tcb& tcb) {
  InFlight& flight = *tcb.in_flight;
  for (uint32_t index = flight.first; index != kNoRecord;) {
    SentRecord& record = stack.pools.records[index];
    record.lost = record.resent = record.only_begun = 0;
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
