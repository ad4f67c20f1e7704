// nic over net_ring, which gives back what was sent, mbufs and all: nothing is lost, nothing is
// doubled, and it shows whether a payload was attached or copied.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <thread>

#include "nic_support.h"

namespace sluice::net {
namespace {

TEST_F(NicTest, DescribesItsPorts) {
  ASSERT_EQ(nic->ports(), 5U);
  for (uint32_t i = 0; i < nic->ports(); ++i) {
    const PortInfo info = nic->port_info(i);
    std::printf("%s: %s, %u queue(s), chains %d, checksums %d, segmentation %d, verifies %d\n",
                info.name.c_str(), info.driver.c_str(), info.queues, info.chains,
                info.checksum_offload, info.segmentation_offload, info.checksum_verified);
    EXPECT_TRUE(info.link_up);
    EXPECT_EQ(info.mtu, 1500);
  }
  EXPECT_EQ(nic->port_info(kRing).queues, 2);
  EXPECT_EQ(nic->port_info(kShared).queues, 1);
  EXPECT_TRUE(nic->port_info(kRing).chains);
  EXPECT_TRUE(nic->port_info(kTap).checksum_offload);
  EXPECT_FALSE(nic->port_info(kTap).segmentation_offload) << "it only pretends";
}

// A record in one buffer leaves in packets that show it, and stays until they are freed.
TEST_F(NicTest, PayloadLeavesWithoutACopy) {
  Segment segment = to_peer(kAck | kPsh | kFin | kCwr);
  std::vector<RecordBuffer*> held;
  fill(segment, workers[0]->large_records(), 16'384, 16'384, held);
  ASSERT_EQ(held.size(), 1U);
  ASSERT_TRUE(workers[0]->send(kRing, segment, test::kPeerMac));
  const uint32_t packets = (16'384 + 1447) / 1448;
  EXPECT_EQ(held[0]->references, 1 + packets);
  EXPECT_TRUE(workers[0]->pending());
  workers[0]->flush();
  EXPECT_FALSE(workers[0]->pending());
  const auto sent = test::bytes_of(segment.payload);
  release(held[0]);
  EXPECT_EQ(workers[0]->large_records().in_use(), 1U) << "the packets still show it";

  FrameBatch batch;
  ASSERT_EQ(workers[0]->receive(kRing, batch), packets);
  uint32_t offset = 0;
  for (uint32_t i = 0; i < batch.count; ++i) {
    const Frame& frame = batch.frames[i];
    ASSERT_EQ(frame.more_count, 1);
    EXPECT_EQ(frame.more[0].data, held[0]->data() + offset) << "not a copy";
    Packet packet;
    Segment seen;
    ASSERT_EQ(parse_frame(frame, peer(), packet, seen), PacketKind::Tcp);
    EXPECT_EQ(seen.seq, segment.seq + offset);
    EXPECT_EQ((seen.flags & (kFin | kPsh)), i + 1 == batch.count ? (kFin | kPsh) : 0);
    EXPECT_EQ((seen.flags & kCwr) != 0, i == 0);
    EXPECT_EQ(seen.options.tsval, 99U);
    offset += seen.payload.length;
    release_frame(frame);
  }
  EXPECT_EQ(offset, 16'384U);
  EXPECT_EQ(counters[0].get(abi::Counter::tx_packets), packets);
  EXPECT_EQ(counters[0].get(abi::Counter::rx_packets), packets);
  EXPECT_EQ(counters[0].get(abi::Counter::tx_bytes), counters[0].get(abi::Counter::rx_bytes));
}

// Every shape of slices, attached or copied, arrives as the same bytes.
TEST_F(NicTest, AnyCutOfThePayloadArrives) {
  struct Row {
    uint32_t bytes, run;
    uint16_t cut_bytes;
  };
  const Row rows[] = {{0, 1, 0},           {1, 1, 0},          {256, 256, 0},     {257, 257, 0},
                      {1448, 1448, 0},     {1449, 1449, 0},    {48, 1, 0},        {960, 20, 0},
                      {1440, 30, 0},       {40'000, 9'999, 0}, {60'000, 1448, 0}, {3'000, 333, 100},
                      {65'536, 18'000, 0}, {4'801, 101, 536}};
  for (const Row& row : rows) {
    Segment segment = to_peer();
    segment.cut_bytes = row.cut_bytes;
    std::vector<RecordBuffer*> held;
    fill(segment, workers[0]->large_records(), row.bytes, row.run, held);
    ASSERT_TRUE(workers[0]->send(kRing, segment, test::kPeerMac));
    workers[0]->flush();
    Received received;
    receive_all(*workers[0], kRing, received);
    EXPECT_EQ(received.payload, test::bytes_of(segment.payload)) << row.bytes << "/" << row.run;
    uint32_t seq = segment.seq;
    for (const Segment& seen : received.segments) {
      EXPECT_EQ(seen.seq, seq);
      EXPECT_LE(seen.payload.length, row.cut_bytes != 0 ? row.cut_bytes : 1448);
      seq += seen.payload.length;
    }
    for (RecordBuffer* buffer : held) release(buffer);
  }
}

// What was received is sent on in place, as a plain relay does.
TEST_F(NicTest, ReceivedBuffersCanBeSentOn) {
  Segment segment = to_peer();
  std::vector<RecordBuffer*> held;
  fill(segment, workers[0]->large_records(), 5'000, 5'000, held);
  ASSERT_TRUE(workers[0]->send(kRing, segment, test::kPeerMac));
  workers[0]->flush();
  const auto sent = test::bytes_of(segment.payload);
  release(held[0]);

  FrameBatch batch;
  ASSERT_EQ(workers[0]->receive(kRing, batch), 4U);
  Segment onward = to_peer();
  for (uint32_t i = 0; i < batch.count; ++i) {
    Packet packet;
    Segment seen;
    ASSERT_EQ(parse_frame(batch.frames[i], peer(), packet, seen), PacketKind::Tcp);
    for (uint32_t k = 0; k < seen.payload.count; ++k) {
      retain(seen.payload.pieces[k].owner);
      ASSERT_TRUE(onward.payload.append(seen.payload.pieces[k]));
    }
    release_frame(batch.frames[i]);
  }
  ASSERT_TRUE(workers[0]->send(kRing, onward, test::kPeerMac));
  workers[0]->flush();
  for (uint32_t k = 0; k < onward.payload.count; ++k) release(onward.payload.pieces[k].owner);
  Received received;
  receive_all(*workers[0], kRing, received);
  EXPECT_EQ(received.payload, sent);
}

// The port has one queue: worker 1 copies its packets and hands them to worker 0.
TEST_F(NicTest, PacketsGoToTheQueuesOwner) {
  Segment segment = to_peer();
  std::vector<RecordBuffer*> held;
  fill(segment, workers[1]->large_records(), 16'384, 16'384, held);
  ASSERT_TRUE(workers[1]->send(kShared, segment, test::kPeerMac));
  EXPECT_EQ(held[0]->references, 1U) << "another worker must not count references";
  workers[1]->flush();
  EXPECT_TRUE(workers[0]->pending());
  workers[0]->flush();
  Received received;
  receive_all(*workers[0], kShared, received);
  EXPECT_EQ(received.payload, test::bytes_of(segment.payload));
  EXPECT_EQ(received.scattered, 0U);
  FrameBatch batch;
  EXPECT_EQ(workers[1]->receive(kShared, batch), 0U);
  for (RecordBuffer* buffer : held) release(buffer);
}

TEST_F(NicTest, FramesAreHandedOverAndShared) {
  Segment segment = to_peer();
  std::vector<RecordBuffer*> held;
  fill(segment, workers[0]->large_records(), 3'000, 500, held);
  ASSERT_TRUE(workers[0]->send(kRing, segment, test::kPeerMac));
  workers[0]->flush();
  FrameBatch batch;
  ASSERT_EQ(workers[0]->receive(kRing, batch), 3U);
  workers[0]->share(batch.frames[0]);
  for (uint32_t i = 0; i < 3; ++i) EXPECT_TRUE(workers[0]->redirect(1, batch.frames[i]));
  EXPECT_TRUE(workers[1]->pending());
  FrameBatch other;
  ASSERT_EQ(workers[1]->receive_redirected(other), 4U);
  EXPECT_EQ(other.frames[0].more_count, 0) << "the first piece only";
  std::vector<uint8_t> payload;
  for (uint32_t i = 1; i < other.count; ++i) {
    EXPECT_EQ(other.frames[i].port, kRing);
    Packet packet;
    Segment seen;
    ASSERT_EQ(parse_frame(other.frames[i], peer(), packet, seen), PacketKind::Tcp);
    const auto part = test::bytes_of(seen.payload);
    payload.insert(payload.end(), part.begin(), part.end());
  }
  EXPECT_EQ(payload, test::bytes_of(segment.payload));
  for (uint32_t i = 0; i < other.count; ++i) release_frame(other.frames[i]);
  for (RecordBuffer* buffer : held) release(buffer);
  EXPECT_EQ(counters[0].get(abi::Counter::redirected_out), 4U);
  EXPECT_EQ(counters[1].get(abi::Counter::redirected_in), 4U);
}

// A port that takes no more: the batch fills, send refuses whole segments, nothing is lost or
// doubled once the port moves again.
TEST_F(NicTest, AFullPortPushesBack) {
  Segment segment = to_peer();
  std::vector<RecordBuffer*> held;
  fill(segment, workers[0]->large_records(), 10 * 1448, 1448, held);
  uint32_t accepted = 0;
  while (workers[0]->send(kRing, segment, test::kPeerMac)) {
    ++accepted;
    segment.seq += segment.payload.length;
    ASSERT_LT(accepted, 1000U);
  }
  EXPECT_GT(counters[0].get(abi::Counter::tx_full), 0U);
  EXPECT_GE(accepted * 10, 1023U);
  Received received;
  while (workers[0]->pending()) {
    workers[0]->flush();
    receive_all(*workers[0], kRing, received);
  }
  ASSERT_EQ(received.segments.size(), accepted * 10);
  for (size_t i = 0; i < received.segments.size(); ++i) {
    ASSERT_EQ(received.segments[i].seq, 1000 + i * 1448);
  }
  for (RecordBuffer* buffer : held) release(buffer);
}

// No packet buffer left in the middle of a segment: all of it is taken back.
TEST_F(NicTest, WithoutBuffersNothingIsSent) {
  std::vector<uintptr_t> prepared;
  const Segment small = to_peer();
  while (const uintptr_t packet = workers[0]->prepare(kRing, small)) prepared.push_back(packet);
  EXPECT_GT(prepared.size(), 2'000U);
  for (int i = 0; i < 5; ++i) {
    workers[0]->drop_prepared(prepared.back());
    prepared.pop_back();
  }
  Segment segment = to_peer();
  std::vector<RecordBuffer*> held;
  fill(segment, workers[0]->large_records(), 10 * 1448, 14'480, held);
  EXPECT_FALSE(workers[0]->send(kRing, segment, test::kPeerMac));
  EXPECT_GT(counters[0].get(abi::Counter::tx_no_buffer), 0U);
  EXPECT_EQ(held[0]->references, 1U);
  EXPECT_FALSE(workers[0]->pending());
  for (const uintptr_t packet : prepared) workers[0]->drop_prepared(packet);
  ASSERT_TRUE(workers[0]->send(kRing, segment, test::kPeerMac));
  workers[0]->flush();
  Received received;
  receive_all(*workers[0], kRing, received);
  EXPECT_EQ(received.payload, test::bytes_of(segment.payload));
  for (RecordBuffer* buffer : held) release(buffer);
}

TEST_F(NicTest, PreparedPacketsGetTheirAddressLater) {
  Segment segment = to_peer();
  std::vector<RecordBuffer*> held;
  fill(segment, workers[0]->large_records(), 1'000, 1'000, held);
  const uintptr_t packet = workers[0]->prepare(kRing, segment);
  ASSERT_NE(packet, 0U);
  EXPECT_EQ(held[0]->references, 1U) << "a parked packet pins nothing";
  ASSERT_TRUE(workers[0]->send_prepared(kRing, packet, test::kPeerMac));
  workers[0]->flush();
  Received received;
  receive_all(*workers[0], kRing, received);
  EXPECT_EQ(received.payload, test::bytes_of(segment.payload));
  segment.payload.clear();
  fill(segment, workers[0]->large_records(), 1'449, 1'449, held);
  EXPECT_EQ(workers[0]->prepare(kRing, segment), 0U) << "more than one packet";
  for (RecordBuffer* buffer : held) release(buffer);
}

// Both workers on their own threads, each sending to itself and handing every frame to the other.
std::atomic<uint32_t> taken_by[2];
constexpr uint32_t kExchanged = 20'000;
// Copied, never attached: a frame that net_ring brings back would show the sender's buffer, whose
// references belong to the sender's thread.
constexpr uint32_t kExchangedBytes = kTxCopyBytes;

int exchange(void* argument) {
  const auto me = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(argument));
  NicWorker& worker = *workers[me];
  RecordBuffer* buffer = worker.large_records().allocate();
  Segment segment = to_peer();
  segment.payload.append(buffer->slice(0, kExchangedBytes));
  std::memset(buffer->data(), static_cast<int>(me), kExchangedBytes);
  uint32_t sent = 0;
  FrameBatch batch;
  for (uint32_t idle = 0; idle < 20'000'000;) {
    // Never more under way than the rings hold: this test loses nothing.
    const bool room = sent - taken_by[1 - me].load() < 256;
    if (sent < kExchanged && room && worker.send(kRing, segment, test::kPeerMac)) ++sent;
    worker.flush();
    const uint32_t received = worker.receive(kRing, batch);
    for (uint32_t i = 0; i < received; ++i) worker.redirect(1 - me, batch.frames[i]);
    const uint32_t handed = worker.receive_redirected(batch);
    for (uint32_t i = 0; i < handed; ++i) {
      Packet packet;
      Segment seen;
      if (parse_frame(batch.frames[i], peer(), packet, seen) == PacketKind::Tcp &&
          seen.payload.length == kExchangedBytes &&
          seen.payload.pieces[0].data[kExchangedBytes - 1] == 1 - me) {
        taken_by[me].fetch_add(1);
      }
      release_frame(batch.frames[i]);
    }
    idle = received + handed > 0 ? 0 : idle + 1;
    if (sent == kExchanged && taken_by[0] == kExchanged && taken_by[1] == kExchanged) break;
  }
  release(buffer);
  return 0;
}

TEST_F(NicTest, TwoThreadsExchangeFrames) {
  taken_by[0] = taken_by[1] = 0;
  ASSERT_TRUE(nic->launch(0, exchange, reinterpret_cast<void*>(uintptr_t{0})));
  ASSERT_TRUE(nic->launch(1, exchange, reinterpret_cast<void*>(uintptr_t{1})));
  nic->wait();
  EXPECT_EQ(taken_by[0], kExchanged);
  EXPECT_EQ(taken_by[1], kExchanged);
}

}  // namespace
}  // namespace sluice::net
