// TIME_WAIT without a Tcb: at most 64 bytes for each connection that has ended and whose number
// must rest. Bounded; when it is full the oldest entry goes.
#pragma once

#include <cstdint>
#include <memory>

#include "net/segment.h"
#include "tcp/stack.h"

namespace sluice::tcp {

struct Tcb;

// What a new connection of the same tuple must stay above.
struct TimeWaitReuse {
  bool found = false;    // there was an entry
  uint32_t snd_nxt = 0;  // of it: the ISN goes above
};

enum class TimeWaitAnswer : uint8_t {
  None,   // drop the segment
  Reply,  // send the reply
  Ended,  // the entry is gone: an acceptable new SYN came; treat it as if there had been none
};

class TimeWaitTable {
 public:
  // Allocates here and never again. `capacity` entries.
  TimeWaitTable(const TcpConfig& config, const Secrets& secrets, uint32_t capacity);
  TimeWaitTable(const TimeWaitTable&) = delete;
  TimeWaitTable& operator=(const TimeWaitTable&) = delete;

  // Takes over from a Tcb in State::TimeWait; release the Tcb afterwards.
  void insert(Stack& stack, const Tcb& tcb, Micros now);
  bool contains(const net::FlowTuple& tuple) const;
  // A segment of a tuple that may be here. False: it is not. RFC 9293 3.10.7.4, RFC 6191.
  bool input(Stack& stack, const net::Segment& segment, Micros now, TimeWaitAnswer& answer,
             net::Segment& reply);
  // For an active open: whether the tuple is free. An entry that may be reused is removed and
  // described in `previous`; one that must rest longer stays. RFC 6191.
  bool reuse(Stack& stack, const net::FlowTuple& tuple, Micros now, TimeWaitReuse& previous);
  // Drops what is over. Call it now and then; cheap.
  void expire(Stack& stack, Micros now);
  // When expire has something to do next; kNever when the table is empty.
  Micros next_expiry_us(Micros now) const;
  uint32_t size() const { return size_; }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Entry {
    net::FlowTuple tuple;
    uint32_t snd_nxt;
    uint32_t rcv_nxt;
    uint32_t ts_recent;
    uint32_t begun_ms;  // modulo 2^32
    uint32_t next;      // of the same bucket
    uint32_t live : 1;
    uint32_t timestamps : 1;
  };
  static_assert(sizeof(Entry) <= 64);

  uint32_t bucket(const net::FlowTuple& tuple) const;
  uint32_t find(const net::FlowTuple& tuple) const;
  static bool is_new_opening(const Entry& entry, const net::Segment& segment);
  void add(Stack& stack, const Entry& entry);
  void remove(Stack& stack, uint32_t index);
  void drop_oldest(Stack& stack);

  const TcpConfig& config_;
  Secrets secrets_;
  std::unique_ptr<Entry[]> entries_;     // a ring: all live equally long, so they end in order
  std::unique_ptr<uint32_t[]> buckets_;  // first entry
  uint32_t capacity_;
  uint32_t bucket_mask_;
  uint32_t oldest_ = 0;
  uint32_t used_ = 0;  // ring places in use, dead ones included
  uint32_t size_ = 0;  // live ones
};

}  // namespace sluice::tcp
