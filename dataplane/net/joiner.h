// Receive coalescing in software: segments of one burst that continue each other go to TCP as one,
// as a port with LRO would have brought them. What TCP, the lookup of the flow and the accounting
// cost is then paid once for up to 64 KiB.
//
//   for each frame: parse_frame(frame, ..., joiner.next()), and if it is TCP: joiner.add(frame, ..)
//   behind the burst: joiner.flush(..)
//
// Two segments are joined when one sender can only have meant the second as the continuation of the
// first: the next sequence number of the same connection, text in both, and nothing else that
// differs but PSH. So TCP sees the same numbers, the same acknowledgement and the same timestamps
// in the same order. Of two bare acknowledgements the second one alone goes on when it acknowledges
// more: it says all that the first one said, which a network may lose as well. Duplicates, SACK
// blocks, marks of congestion and whatever else is no such plain segment go on by themselves. Order
// among all segments is kept: one run waits at a time, and what does not continue it lets it go
// first.
#pragma once

#include <array>
#include <cstdint>

#include "net/frame.h"
#include "net/segment.h"

namespace sluice::net {

class Joiner {
 public:
  // Where the next frame is to be parsed into.
  Segment& next() { return segments_[1 - waiting_]; }

  // Takes the segment in next(), which came in `frame`, and the frame's references. Gives
  // `deliver(Segment&)` what is whole by now.
  template <class Deliver>
  void add(const Frame& frame, Deliver&& deliver) {
    if (frame.more_count != 0) {  // its further pieces lie in memory of the batch's
      flush(deliver);
      deliver(next());
      release_frame(frame);
      return;
    }
    if (count_ != 0) {
      if (continues(segments_[waiting_], next())) {
        append(frame);
        if (!may_go_on(segments_[waiting_])) flush(deliver);
        return;
      }
      if (supersedes(segments_[waiting_], next())) return replace(frame);
      flush(deliver);
    }
    waiting_ = 1 - waiting_;
    owners_[0] = frame.owner;
    count_ = 1;
    if (!may_go_on(segments_[waiting_])) flush(deliver);
  }

  template <class Deliver>
  void flush(Deliver&& deliver) {
    if (count_ == 0) return;
    deliver(segments_[waiting_]);
    for (uint32_t i = 0; i < count_; ++i) release(owners_[i]);
    count_ = 0;
  }

 private:
  static constexpr uint32_t kMaxBytes = 65'000;  // as of a segment that is sent

  static constexpr uint32_t kMostAcknowledged = 1U << 30;  // of two numbers the later one

  // Nothing that has to be looked at by itself. A sender that pushes has said what it had to say.
  static bool may_go_on(const Segment& segment) {
    return segment.flags == kAck && segment.options.sack_count == 0;
  }
  static bool continues(const Segment& first, const Segment& second) {
    const TcpOptions& a = first.options;
    const TcpOptions& b = second.options;
    return second.seq == first.seq + first.payload.length && second.ack == first.ack &&
           first.payload.length != 0 && second.payload.length != 0 &&
           (second.flags & ~kPsh) == kAck && b.sack_count == 0 && second.window == first.window &&
           second.ecn == first.ecn && a.has_timestamps == b.has_timestamps && a.tsval == b.tsval &&
           a.tsecr == b.tsecr && first.payload.count < abi::kMaxSegmentPieces &&
           first.payload.length + second.payload.length <= kMaxBytes && second.tuple == first.tuple;
  }
  static bool supersedes(const Segment& first, const Segment& second) {
    return second.seq == first.seq && first.payload.length == 0 && second.payload.length == 0 &&
           second.ack - first.ack - 1 < kMostAcknowledged && may_go_on(second) &&
           second.options.has_timestamps == first.options.has_timestamps &&
           second.tuple == first.tuple;
  }

  void append(const Frame& frame) {
    Segment& run = segments_[waiting_];
    const Segment& second = next();
    run.payload.append(second.payload.pieces[0]);  // a frame in one piece has one slice
    run.flags |= second.flags;
    owners_[count_++] = frame.owner;
  }
  void replace(const Frame& frame) {
    release(owners_[0]);
    owners_[0] = frame.owner;
    waiting_ = 1 - waiting_;
  }

  std::array<Segment, 2> segments_;
  uint32_t waiting_ = 0;  // which of them is the run
  uint32_t count_ = 0;    // frames in the run, each with a slice of its own
  std::array<BufferOwner*, abi::kMaxSegmentPieces> owners_;
};

}  // namespace sluice::net
