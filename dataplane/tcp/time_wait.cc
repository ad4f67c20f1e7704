// Job: answer for connections that have ended on our side first, so that their flows, buffers and
// timers are free at once.
//
// Entries stand in a ring in the order in which they came; as all rest equally long, the oldest
// ends first and expiry looks at one end. An entry that is reused early stays in the ring as dead
// until its turn. Lookup goes through hash chains of indices; the hash is keyed.
#include "tcp/time_wait.h"

#include <algorithm>
#include <bit>

#include "abi/assert.h"
#include "tcp/listen.h"
#include "tcp/seq.h"
#include "tcp/tcb.h"

namespace sluice::tcp {
namespace {

using abi::Counter;

constexpr uint32_t kReuseAfterMs = 1000;  // RFC 6191 2: beyond one tick of any timestamp clock

uint32_t milliseconds(Micros now) { return static_cast<uint32_t>(now / 1000); }

}  // namespace

TimeWaitTable::TimeWaitTable(const TcpConfig& config, const Secrets& secrets, uint32_t capacity)
    : config_(config),
      secrets_(secrets),
      entries_(new Entry[capacity]),
      buckets_(new uint32_t[std::bit_ceil(capacity)]),
      capacity_(capacity),
      bucket_mask_(std::bit_ceil(capacity) - 1) {
  SLUICE_ASSERT(capacity != 0);
  std::fill_n(buckets_.get(), bucket_mask_ + 1, kNone);
}

uint32_t TimeWaitTable::bucket(const net::FlowTuple& tuple) const {
  return initial_sequence_number(secrets_, tuple, 0) & bucket_mask_;
}

uint32_t TimeWaitTable::find(const net::FlowTuple& tuple) const {
  uint32_t index = buckets_[bucket(tuple)];
  while (index != kNone && !(entries_[index].tuple == tuple)) index = entries_[index].next;
  return index;
}

bool TimeWaitTable::contains(const net::FlowTuple& tuple) const { return find(tuple) != kNone; }

void TimeWaitTable::remove(Stack& stack, uint32_t index) {
  Entry& entry = entries_[index];
  uint32_t* link = &buckets_[bucket(entry.tuple)];
  while (*link != index) link = &entries_[*link].next;
  *link = entry.next;
  entry.live = 0;
  --size_;
  stack.counters.set(Counter::time_wait_entries, size_);
}

void TimeWaitTable::drop_oldest(Stack& stack) {
  if (entries_[oldest_].live != 0) remove(stack, oldest_);
  oldest_ = (oldest_ + 1) % capacity_;
  --used_;
}

void TimeWaitTable::add(Stack& stack, const Entry& entry) {
  if (used_ == capacity_) drop_oldest(stack);
  const uint32_t index = static_cast<uint32_t>((uint64_t{oldest_} + used_) % capacity_);
  ++used_;
  uint32_t& head = buckets_[bucket(entry.tuple)];
  entries_[index] = entry;
  entries_[index].live = 1;
  entries_[index].next = head;
  head = index;
  ++size_;
  stack.counters.set(Counter::time_wait_entries, size_);
}

void TimeWaitTable::insert(Stack& stack, const Tcb& tcb, Micros now) {
  SLUICE_ASSERT(tcb.state == State::TimeWait);
  expire(stack, now);
  const uint32_t old = find(tcb.tuple);
  if (old != kNone) remove(stack, old);
  add(stack, {tcb.tuple, tcb.snd_max, tcb.rcv_nxt, tcb.ts_recent, milliseconds(now), kNone, 1,
              tcb.timestamps});
}

void TimeWaitTable::expire(Stack& stack, Micros now) {
  const auto lifetime_ms = static_cast<uint32_t>(config_.time_wait_us / 1000);
  while (used_ != 0) {
    const Entry& entry = entries_[oldest_];
    if (entry.live != 0 && milliseconds(now) - entry.begun_ms < lifetime_ms) break;
    drop_oldest(stack);
  }
}

Micros TimeWaitTable::next_expiry_us(Micros now) const {
  if (used_ == 0) return kNever;
  const auto lifetime_ms = static_cast<uint32_t>(config_.time_wait_us / 1000);
  const Entry& entry = entries_[oldest_];
  const uint32_t age_ms = milliseconds(now) - entry.begun_ms;
  if (entry.live == 0 || age_ms >= lifetime_ms) return now;
  return now + Micros{lifetime_ms - age_ms} * 1000;
}

// RFC 6191 2, RFC 9293 3.10.7.4 (TIME-WAIT, SYN): whether the SYN can't be an old duplicate.
bool TimeWaitTable::is_new_opening(const Entry& entry, const net::Segment& segment) {
  if (entry.timestamps != 0 && segment.options.has_timestamps &&
      segment.options.tsval != entry.ts_recent) {
    return seq_less(entry.ts_recent, segment.options.tsval);
  }
  return seq_less(entry.rcv_nxt, segment.seq);
}

bool TimeWaitTable::input(Stack& stack, const net::Segment& segment, Micros now,
                          TimeWaitAnswer& answer, net::Segment& reply) {
  expire(stack, now);
  const uint32_t index = find(segment.tuple);
  if (index == kNone) return false;
  Entry entry = entries_[index];
  answer = TimeWaitAnswer::None;
  if ((segment.flags & net::kRst) != 0) return true;  // RFC 1337 3, fix 1
  if ((segment.flags & (net::kSyn | net::kAck)) == net::kSyn && is_new_opening(entry, segment)) {
    remove(stack, index);
    stack.counters.add(Counter::tcp_time_wait_reused);
    answer = TimeWaitAnswer::Ended;
    return true;
  }
  const uint32_t end = segment.seq + segment.sequence_length();
  if (end == segment.seq) return true;  // a pure ACK: nothing to say
  // The wait begins anew, but not for every FIN of a flood: each takes a place in the ring.
  if ((segment.flags & net::kFin) != 0 && end == entry.rcv_nxt &&
      milliseconds(now) - entry.begun_ms >= kReuseAfterMs) {
    remove(stack, index);
    entry.begun_ms = milliseconds(now);
    add(stack, entry);
  }
  reply = net::Segment{};
  reply.tuple = entry.tuple;
  reply.seq = entry.snd_nxt;
  reply.ack = entry.rcv_nxt;
  reply.flags = net::kAck;
  if (entry.timestamps != 0) {
    reply.options.has_timestamps = true;
    reply.options.tsval = timestamp_clock(now) + timestamp_offset(secrets_, entry.tuple);
    reply.options.tsecr = entry.ts_recent;
  }
  answer = TimeWaitAnswer::Reply;
  return true;
}

bool TimeWaitTable::reuse(Stack& stack, const net::FlowTuple& tuple, Micros now,
                          TimeWaitReuse& previous) {
  expire(stack, now);
  previous = TimeWaitReuse{};
  const uint32_t index = find(tuple);
  if (index == kNone) return true;
  const Entry& entry = entries_[index];
  // With timestamps the peer tells the incarnations apart once our clock has moved on.
  if (entry.timestamps == 0 || milliseconds(now) - entry.begun_ms <= kReuseAfterMs) return false;
  previous = {true, entry.snd_nxt};
  remove(stack, index);
  stack.counters.add(Counter::tcp_time_wait_reused);
  return true;
}

}  // namespace sluice::tcp
