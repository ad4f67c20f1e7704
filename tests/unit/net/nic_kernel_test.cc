// nic against a kernel: net_tap's other end is a network interface, whose packets are read and
// written through a packet socket.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nic_support.h"

namespace sluice::net {
namespace {

using test::TestFrame;

// The kernel's end of the tap device.
class KernelEnd {
 public:
  KernelEnd() : socket_(socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL))) {
    sockaddr_ll address = {};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(if_nametoindex("nettest-tap"));
    if (bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) std::abort();
  }
  ~KernelEnd() { close(socket_); }
  KernelEnd(const KernelEnd&) = delete;

  // The next frame, or nothing after `timeout_ms`.
  std::vector<uint8_t> receive(int timeout_ms) {
    std::vector<uint8_t> frame(65536);
    pollfd waiting = {socket_, POLLIN, 0};
    if (poll(&waiting, 1, timeout_ms) <= 0) return {};
    const ssize_t length = recv(socket_, frame.data(), frame.size(), 0);
    frame.resize(length > 0 ? static_cast<size_t>(length) : 0);
    return frame;
  }
  bool transmit(const std::vector<uint8_t>& frame) {
    return ::send(socket_, frame.data(), frame.size(), 0) == static_cast<ssize_t>(frame.size());
  }

 private:
  int socket_;
};

// A port that checksums: the kernel sees whole packets with right checksums.
TEST_F(NicTest, ThePortChecksums) {
  KernelEnd kernel;
  for (const uint32_t bytes : {0U, 100U, 1'448U, 20'000U, 65'536U}) {
    counters[0] = abi::Counters{};
    Segment segment = to_peer(kAck | kPsh);
    segment.cut_bytes = 1'400;
    std::vector<RecordBuffer*> held;
    fill(segment, workers[0]->large_records(), bytes, 16'000, held);
    ASSERT_TRUE(workers[0]->send(kTap, segment, test::kPeerMac));
    workers[0]->flush();
    std::vector<uint8_t> payload;
    bool pushed = false;
    while (!pushed) {
      TestFrame frame(kernel.receive(2'000));
      ASSERT_FALSE(frame.bytes().empty()) << payload.size() << " of " << bytes;
      Packet packet;
      Segment seen;
      const PacketKind kind = parse_frame(frame.frame(), peer(), packet, seen);
      if (kind != PacketKind::Tcp) continue;  // the kernel's own IPv6 chatter
      EXPECT_EQ(seen.seq, segment.seq + payload.size());
      EXPECT_LE(seen.payload.length, 1'400U);
      const auto part = test::bytes_of(seen.payload);
      payload.insert(payload.end(), part.begin(), part.end());
      pushed = (seen.flags & kPsh) != 0;
    }
    EXPECT_EQ(payload, test::bytes_of(segment.payload));
    for (RecordBuffer* buffer : held) release(buffer);
  }
}

// net_tap never takes a packet that it finds too long: it must not block the port.
TEST_F(NicTest, APacketThatThePortRefusesIsDroppedInTheEnd) {
  const std::vector<uint8_t> too_long(1'900);
  ASSERT_TRUE(workers[0]->send_frame(kTap, too_long));
  for (uint32_t i = 0; i + 1 < kTxPatience; ++i) workers[0]->flush();
  EXPECT_TRUE(workers[0]->pending());
  workers[0]->flush();
  EXPECT_FALSE(workers[0]->pending());
  EXPECT_EQ(counters[0].get(abi::Counter::tx_full), 1U);
}

// What waits to be sent leaves buffers to receive with.
TEST_F(NicTest, SendingLeavesBuffersToReceiveWith) {
  KernelEnd kernel;
  std::vector<uintptr_t> prepared;
  while (const uintptr_t packet = workers[0]->prepare(kTap, to_peer())) prepared.push_back(packet);
  EXPECT_GT(counters[0].get(abi::Counter::tx_no_buffer), 0U);
  std::vector<BufferOwner*> waiting;  // like text that nobody has read yet
  FrameBatch batch;
  for (size_t i = 0; i < 300; ++i) {
    const Interface& own = nic->interface(kTap);
    ASSERT_TRUE(kernel.transmit(test::build(test::peer_segment(kAck), peer(), own.mac)));
    for (int turn = 0; turn < 1000 && waiting.size() <= i; ++turn) {
      workers[0]->receive(kTap, batch);
      for (uint32_t k = 0; k < batch.count; ++k) {
        Packet packet;
        Segment got;
        if (parse_frame(batch.frames[k], own, packet, got) == PacketKind::Tcp) {
          waiting.push_back(batch.frames[k].owner);
        } else {
          release_frame(batch.frames[k]);
        }
      }
    }
  }
  EXPECT_EQ(waiting.size(), 300U);
  for (BufferOwner* owner : waiting) release(owner);
  for (const uintptr_t packet : prepared) workers[0]->drop_prepared(packet);
}

TEST_F(NicTest, FramesComeFromTheKernel) {
  KernelEnd kernel;
  std::vector<uint8_t> payload(1'000, 0x77);
  test::TestOwner owner;
  Segment segment = test::peer_segment(kAck);
  segment.payload.append({payload.data(), 1'000, &owner});
  const Interface& own = nic->interface(kTap);
  ASSERT_TRUE(kernel.transmit(test::build(segment, peer(), own.mac)));
  FrameBatch batch;
  for (int turn = 0; turn < 2'000; ++turn) {
    const uint32_t count = workers[0]->receive(kTap, batch);
    bool seen = false;
    for (uint32_t i = 0; i < count; ++i) {
      Packet packet;
      Segment got;
      if (parse_frame(batch.frames[i], own, packet, got) == PacketKind::Tcp) {
        EXPECT_EQ(test::bytes_of(got.payload), payload);
        seen = true;
      }
      release_frame(batch.frames[i]);
    }
    if (seen) return;
    usleep(1'000);
  }
  FAIL() << "nothing came";
}

}  // namespace
}  // namespace sluice::net
