// Which segments of a burst go to TCP as one, and that every frame is given back once.
#include "net/joiner.h"

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <vector>

namespace sluice::net {
namespace {

constexpr uint32_t kTextBytes = 1448;

struct Counted : BufferOwner {
  uint32_t released = 0;
};

// What TCP got: the run's own numbers.
struct Delivered {
  uint32_t seq;
  uint32_t ack;
  uint32_t pieces;
  uint32_t bytes;
  uint8_t flags;
};

class JoinerTest : public testing::Test {
 protected:
  // Text in order behind whatever came before, on connection `port`.
  static Segment text(uint32_t seq, uint32_t bytes = kTextBytes, uint16_t port = 1) {
    Segment segment;
    segment.tuple.remote.port = port;
    segment.seq = seq;
    segment.ack = 77;
    segment.flags = kAck;
    segment.window = 500;
    segment.options.has_timestamps = true;
    segment.options.tsval = 9;
    segment.payload.length = bytes;  // add() makes the slice
    return segment;
  }
  static Segment bare(uint32_t ack) {
    Segment segment = text(1000, 0);
    segment.ack = ack;
    return segment;
  }

  void add(const Segment& segment) {
    Counted& owner = owners_.emplace_back();
    owner.release = [](BufferOwner* self) { ++static_cast<Counted*>(self)->released; };
    Segment& next = joiner_.next();
    next = segment;
    next.payload.clear();
    if (segment.payload.length != 0) next.payload.append({bytes_, segment.payload.length, &owner});
    Frame frame;
    frame.owner = &owner;
    joiner_.add(frame, deliver());
  }
  const std::vector<Delivered>& all() {
    joiner_.flush(deliver());
    for (const Counted& owner : owners_) EXPECT_EQ(owner.released, 1U);
    return delivered_;
  }

 private:
  std::function<void(Segment&)> deliver() {
    return [this](Segment& run) {
      for (uint32_t i = 0; i < run.payload.count; ++i) {
        EXPECT_EQ(run.payload.pieces[i].owner->references, 1U) << "given back too early";
      }
      delivered_.push_back(
          {run.seq, run.ack, run.payload.count, run.payload.length, run.flags});
    };
  }

  uint8_t bytes_[kTextBytes] = {};
  std::deque<Counted> owners_;
  Joiner joiner_;
  std::vector<Delivered> delivered_;
};

TEST_F(JoinerTest, TextInOrderIsOneRun) {
  for (uint32_t i = 0; i < 5; ++i) add(text(1000 + i * kTextBytes));
  ASSERT_EQ(all().size(), 1U);
  EXPECT_EQ(all()[0].pieces, 5U);
  EXPECT_EQ(all()[0].bytes, 5 * kTextBytes);
  EXPECT_EQ(all()[0].seq, 1000U);
}

TEST_F(JoinerTest, ARunAcrossTheWrapOfSequenceNumbers) {
  add(text(0xffffff00));
  add(text(0xffffff00 + kTextBytes));
  EXPECT_EQ(all().size(), 1U);
}

TEST_F(JoinerTest, PushEndsARun) {
  add(text(1000));
  Segment pushed = text(1000 + kTextBytes);
  pushed.flags |= kPsh;
  add(pushed);
  add(text(1000 + 2 * kTextBytes));
  ASSERT_EQ(all().size(), 2U);
  EXPECT_EQ(all()[0].flags, kAck | kPsh);
  EXPECT_EQ(all()[0].pieces, 2U);
}

TEST_F(JoinerTest, ARunStaysBelowAnIpPacket) {
  for (uint32_t i = 0; i < 60; ++i) add(text(1000 + i * kTextBytes));
  ASSERT_EQ(all().size(), 2U);
  EXPECT_LE(all()[0].bytes, 65'000U);
  EXPECT_EQ(all()[0].bytes + all()[1].bytes, 60 * kTextBytes);
}

TEST_F(JoinerTest, PiecesAreBounded) {
  for (uint32_t i = 0; i < 200; ++i) add(text(1000 + i * 10, 10));
  uint32_t bytes = 0;
  for (const Delivered& run : all()) {
    EXPECT_LE(run.pieces, abi::kMaxSegmentPieces);
    bytes += run.bytes;
  }
  EXPECT_EQ(bytes, 2000U);
}

TEST_F(JoinerTest, WhatDiffersStaysApart) {
  struct Row {
    const char* name;
    void (*change)(Segment& second);
  };
  const Row rows[] = {
      {"a gap", [](Segment& s) { s.seq += 1; }},
      {"an overlap", [](Segment& s) { s.seq -= 1; }},
      {"another acknowledgement", [](Segment& s) { s.ack += 1; }},
      {"another window", [](Segment& s) { s.window += 1; }},
      {"another connection", [](Segment& s) { s.tuple.remote.port = 2; }},
      {"another clock", [](Segment& s) { s.options.tsval += 1; }},
      {"another echo", [](Segment& s) { s.options.tsecr += 1; }},
      {"no timestamps", [](Segment& s) { s.options.has_timestamps = false; }},
      {"SACK", [](Segment& s) { s.options.sack_count = 1; }},
      {"a mark of congestion", [](Segment& s) { s.ecn = 3; }},
      {"FIN", [](Segment& s) { s.flags |= kFin; }},
      {"RST", [](Segment& s) { s.flags |= kRst; }},
      {"SYN", [](Segment& s) { s.flags |= kSyn; }},
      {"URG", [](Segment& s) { s.flags |= kUrg; }},
      {"ECE", [](Segment& s) { s.flags |= kEce; }},
      {"CWR", [](Segment& s) { s.flags |= kCwr; }},
      {"no ACK", [](Segment& s) { s.flags = 0; }},
      {"no text", [](Segment& s) { s.payload.length = 0; }},
  };
  uint32_t seq = 1000;
  size_t expected = 0;
  for (const Row& row : rows) {
    add(text(seq));
    Segment second = text(seq + kTextBytes);
    row.change(second);
    add(second);
    expected += 2;
    EXPECT_EQ(all().size(), expected) << row.name;
    seq += 10 * kTextBytes;
  }
}

TEST_F(JoinerTest, TheLaterOfTwoBareAcknowledgementsGoesOn) {
  add(bare(5000));
  add(bare(6000));
  add(bare(8000));
  ASSERT_EQ(all().size(), 1U);
  EXPECT_EQ(all()[0].ack, 8000U);
}

TEST_F(JoinerTest, AcknowledgementsThatSayMoreStayApart) {
  struct Row {
    const char* name;
    void (*change)(Segment& second);
  };
  const Row rows[] = {
      {"a duplicate", [](Segment& s) { s.ack = 5000; }},
      {"an older one", [](Segment& s) { s.ack = 4000; }},
      {"SACK", [](Segment& s) { s.options.sack_count = 2; }},
      {"ECE", [](Segment& s) { s.flags |= kEce; }},
      {"FIN", [](Segment& s) { s.flags |= kFin; }},
      {"PSH", [](Segment& s) { s.flags |= kPsh; }},
      {"another number", [](Segment& s) { s.seq -= 1; }},
      {"no timestamps", [](Segment& s) { s.options.has_timestamps = false; }},
      {"another connection", [](Segment& s) { s.tuple.remote.port = 2; }},
  };
  size_t expected = 0;
  for (const Row& row : rows) {
    add(bare(5000));
    Segment second = bare(6000);
    row.change(second);
    add(second);
    expected += 2;
    EXPECT_EQ(all().size(), expected) << row.name;
  }
}

TEST_F(JoinerTest, OrderIsKept) {
  add(text(1000, kTextBytes, 1));
  add(text(1000, kTextBytes, 2));
  add(text(1000 + kTextBytes, kTextBytes, 1));
  EXPECT_EQ(all().size(), 3U) << "a run ends where something else comes between";
}

}  // namespace
}  // namespace sluice::net
