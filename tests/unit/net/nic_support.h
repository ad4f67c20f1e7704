// What the tests of nic share: one Nic for the process, segments in record buffers, and a fixture
// that ends each test by counting the buffers. Everything that takes one must give it back.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "net/nic.h"
#include "support.h"

namespace sluice::net {

using test::ip;

// Ports of the test: one queue per worker; one queue for both workers; a kernel's view.
constexpr uint32_t kRing = 0;
constexpr uint32_t kShared = 1;
constexpr uint32_t kTap = 2;
// Ports with RSS: one whose word makes no map, one that says all.
constexpr uint32_t kSilent = 3;
constexpr uint32_t kBond = 4;

inline std::unique_ptr<Nic> nic;
inline abi::Counters counters[2];
inline NicWorker* workers[2];

// What the other side of a looped port is.
inline Interface peer() { return test::peers(); }

inline Segment to_peer(uint8_t flags = kAck) {
  Segment segment;
  segment.tuple.local = {ip("10.99.1.10"), 443};
  segment.tuple.remote = {ip("10.99.1.2"), 40000};
  segment.seq = 1000;
  segment.ack = 5;
  segment.window = 100;
  segment.flags = flags;
  segment.options.has_timestamps = true;
  segment.options.tsval = 99;
  return segment;
}

// `bytes` random payload bytes in record buffers, `run` bytes a slice; `held` keeps the references.
inline void fill(Segment& segment, RecordPool& pool, uint32_t bytes, uint32_t run,
                 std::vector<RecordBuffer*>& held) {
  static std::mt19937 random(3);
  RecordBuffer* buffer = nullptr;
  uint32_t used = pool.capacity_bytes();
  while (bytes > 0) {
    const uint32_t take = std::min(run, bytes);
    if (used + take > pool.capacity_bytes()) {
      buffer = pool.allocate();
      ASSERT_NE(buffer, nullptr);
      held.push_back(buffer);
      used = 0;
    }
    for (uint32_t i = 0; i < take; ++i) buffer->data()[used + i] = static_cast<uint8_t>(random());
    ASSERT_TRUE(segment.payload.append(buffer->slice(used, take)));
    used += take;
    bytes -= take;
  }
}

struct Received {
  std::vector<uint8_t> payload;
  std::vector<Segment> segments;  // headers only, their slices are gone
  uint32_t scattered = 0;         // frames of several pieces
};

// Takes everything that `worker` can receive on `port`, checks its order, gives it back.
inline void receive_all(NicWorker& worker, uint32_t port_index, Received& received) {
  FrameBatch batch;
  while (worker.receive(port_index, batch) > 0) {
    for (uint32_t i = 0; i < batch.count; ++i) {
      const Frame& frame = batch.frames[i];
      EXPECT_EQ(frame.port, port_index);
      Packet packet;
      Segment segment;
      ASSERT_EQ(parse_frame(frame, peer(), packet, segment), PacketKind::Tcp)
          << abi::kCounterInfo[static_cast<uint16_t>(packet.drop)].name;
      const auto part = test::bytes_of(segment.payload);
      received.payload.insert(received.payload.end(), part.begin(), part.end());
      received.segments.push_back(segment);
      received.scattered += frame.more_count > 0 ? 1 : 0;
      release_frame(frame);
    }
  }
}

struct NicTest : testing::Test {
  void SetUp() override {
    for (int i = 0; i < 2; ++i) {
      counters[i] = abi::Counters{};
      in_use[i] = workers[i]->packet_buffer_use().in_use;
    }
  }
  void TearDown() override {
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(workers[i]->packet_buffer_use().in_use, in_use[i]) << "leaked packet buffers";
      EXPECT_EQ(workers[i]->large_records().in_use(), 0U);
      EXPECT_EQ(workers[i]->small_records().in_use(), 0U);
      EXPECT_FALSE(workers[i]->pending());
    }
  }
  uint32_t in_use[2];
};

}  // namespace sluice::net
