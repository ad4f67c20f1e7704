// nic on virtio-user against a vhost peer in another process: the offloads that a virtual device
// has. Segmentation and checksums of both families, chains of up to 64 KiB back, jumbo frames.
// Needs root; memory without hugepages, of which vhost gets the descriptor.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "net/nic.h"
#include "support.h"
#include "vhost_peer.h"

namespace sluice::net {
namespace {

using test::bytes_of;
using test::ip;

// Ports: segmented by the device; whole jumbo frames, no segmentation.
constexpr uint32_t kTso = 0;
constexpr uint32_t kJumbo = 1;

std::unique_ptr<VhostPeer> peer_process;
std::unique_ptr<Nic> nic;
NicWorker* worker;
abi::Counters counters;

PortSettings port(const char* name, uint32_t number, const std::string& socket, uint16_t mtu) {
  PortSettings settings;
  settings.name = name;
  settings.device = "net_virtio_user" + std::to_string(number) + ",path=" + socket +
                    ",queues=1,queue_size=1024,mac=02:00:00:00:00:0" + std::to_string(number + 1);
  settings.addresses = {{ip("10.99.1.10"), 24}, {ip("fd00:99:1::10"), 64}};
  settings.mtu = mtu;
  return settings;
}

bool open_all(const std::string& folder) {
  const std::string sockets[] = {folder + "/tso", folder + "/jumbo"};
  peer_process = std::make_unique<VhostPeer>(std::vector<std::string>{
      "net_vhost0,iface=" + sockets[0] + ",queues=1,tso=1,legacy-ol-flags=0",
      "net_vhost1,iface=" + sockets[1] + ",queues=1,tso=0,legacy-ol-flags=0"});
  if (!peer_process->wait_ready()) return false;
  NicSettings settings;
  settings.program = "nic_virtio_test";
  settings.workers = {0};
  settings.hugepages = Hugepages::Off;
  settings.memory_mib = 256;
  settings.packet_buffers = 6144;
  settings.small_records = 64;
  settings.large_records = 512;
  settings.ports = {port("tso", 0, sockets[0], 1500), port("jumbo", 1, sockets[1], 9000)};
  std::string error;
  std::vector<std::string> notes;
  nic = Nic::open(settings, error, notes);
  for (const std::string& note : notes) std::printf("%s\n", note.c_str());
  if (nic == nullptr) {
    std::fprintf(stderr, "%s\n", error.c_str());
    return false;
  }
  worker = &nic->worker(0, counters);
  return true;
}

Segment to_peer(bool ipv4) {
  Segment segment;
  segment.tuple.local = {ip(ipv4 ? "10.99.1.10" : "fd00:99:1::10"), 443};
  segment.tuple.remote = {ip(ipv4 ? "10.99.1.2" : "fd00:99:1::2"), 40000};
  segment.seq = 1000;
  segment.flags = kAck | kPsh;
  segment.window = 100;
  segment.options.has_timestamps = true;
  return segment;
}

struct Echo {
  std::vector<uint8_t> payload;
  uint32_t frames = 0;
  uint32_t most_pieces = 0;
};

struct NicVirtio : testing::Test {
  void SetUp() override {
    for (uint32_t i = 0; i < 2; ++i) peer_process->port(i).reset();
    counters = abi::Counters{};
    in_use_ = worker->packet_buffer_use().in_use;
  }

  void fill(Segment& segment, uint32_t bytes) {
    static std::mt19937 random(5);
    while (bytes > 0) {
      RecordBuffer* buffer = worker->large_records().allocate();
      ASSERT_NE(buffer, nullptr);
      held_.push_back(buffer);
      const uint32_t take = std::min(bytes, 16'000U);
      for (uint32_t i = 0; i < take; ++i) buffer->data()[i] = static_cast<uint8_t>(random());
      ASSERT_TRUE(segment.payload.append(buffer->slice(0, take)));
      bytes -= take;
    }
  }
  // Sends the segment and waits for all of it to come back.
  void exchange(uint32_t at, const Segment& segment, Echo& echo) {
    ASSERT_TRUE(worker->send(at, segment, test::kPeerMac));
    FrameBatch batch;
    for (int turn = 0; turn < 5'000 && echo.payload.size() < segment.payload.length; ++turn) {
      worker->flush();
      if (worker->receive(at, batch) == 0) usleep(200);
      for (uint32_t i = 0; i < batch.count; ++i) take(at, segment, batch.frames[i], echo);
    }
  }
  void take(uint32_t at, const Segment& segment, const Frame& frame, Echo& echo) {
    Packet packet;
    Segment seen;
    ASSERT_EQ(parse_frame(frame, nic->interface(at), packet, seen), PacketKind::Tcp)
        << abi::kCounterInfo[static_cast<uint16_t>(packet.drop)].name;
    // What TearDown sent to move things along may come late.
    if (seen.payload.length == 0) return release_frame(frame);
    EXPECT_EQ(seen.tuple, segment.tuple);
    EXPECT_EQ(seen.seq, segment.seq + echo.payload.size());
    EXPECT_TRUE(frame.checksum_ok);
    const auto part = bytes_of(seen.payload);
    echo.payload.insert(echo.payload.end(), part.begin(), part.end());
    ++echo.frames;
    echo.most_pieces = std::max<uint32_t>(echo.most_pieces, frame.more_count + 1U);
    release_frame(frame);
  }
  void TearDown() override {
    for (RecordBuffer* buffer : held_) release(buffer);
    for (int i = 0; i < 1000 && worker->large_records().in_use() != 0; ++i) {
      worker->flush();
      // virtio gives sent buffers back when it is given others.
      Segment nothing = to_peer(true);
      for (const uint32_t at : {kTso, kJumbo}) worker->send(at, nothing, test::kPeerMac);
      worker->flush();
      usleep(50);
      FrameBatch batch;
      for (const uint32_t at : {kTso, kJumbo}) {
        while (worker->receive(at, batch) > 0) {
          for (uint32_t k = 0; k < batch.count; ++k) release_frame(batch.frames[k]);
        }
      }
    }
    EXPECT_EQ(worker->large_records().in_use(), 0U) << "the port keeps payload that was sent";
  }

  std::vector<RecordBuffer*> held_;
  uint32_t in_use_ = 0;
};

TEST_F(NicVirtio, ThePortsOfferWhatIsTested) {
  const PortInfo tso = nic->port_info(kTso);
  EXPECT_TRUE(tso.chains && tso.checksum_offload && tso.segmentation_offload);
  EXPECT_TRUE(tso.checksum_verified && tso.receive_coalescing);
  const PortInfo jumbo = nic->port_info(kJumbo);
  EXPECT_TRUE(jumbo.chains && jumbo.checksum_offload);
  EXPECT_FALSE(jumbo.segmentation_offload);
  EXPECT_EQ(jumbo.mtu, 9000);
}

TEST_F(NicVirtio, LargeSegmentsLeaveAndComeBackWhole) {
  for (const bool ipv4 : {true, false}) {
    for (const uint32_t bytes : {0U, 1U, 256U, 257U, 1'428U, 1'449U, 16'000U, 60'000U}) {
      SCOPED_TRACE(testing::Message() << (ipv4 ? "IPv4 " : "IPv6 ") << bytes);
      PeerPort& seen = peer_process->port(kTso);
      seen.reset();
      Segment segment = to_peer(ipv4);
      fill(segment, bytes);
      Echo echo;
      exchange(kTso, segment, echo);
      if (bytes == 0) continue;
      EXPECT_EQ(echo.payload, bytes_of(segment.payload));
      EXPECT_EQ(seen.wrong, 0U);
      EXPECT_EQ(seen.to_checksum, seen.packets);
      if (bytes < 1'500) continue;
      EXPECT_EQ(echo.frames, 1U) << "the port cuts, not we";
      EXPECT_GT(seen.largest_bytes, bytes);
      EXPECT_EQ(seen.to_segment, 1U);
      EXPECT_GE(echo.most_pieces, bytes / 2048) << "a chain of the peer's";
    }
  }
}

TEST_F(NicVirtio, TheMaximumOfAnIpHeaderIsKept) {
  for (const bool ipv4 : {true, false}) {
    Segment segment = to_peer(ipv4);
    fill(segment, 65'536 + 20'000);
    Echo echo;
    exchange(kTso, segment, echo);
    EXPECT_EQ(echo.payload, bytes_of(segment.payload));
    EXPECT_EQ(echo.frames, 2U);
    EXPECT_EQ(peer_process->port(kTso).wrong, 0U);
  }
}

TEST_F(NicVirtio, JumboFrames) {
  for (const bool ipv4 : {true, false}) {
    PeerPort& seen = peer_process->port(kJumbo);
    seen.reset();
    Segment segment = to_peer(ipv4);
    fill(segment, 60'000);
    Echo echo;
    exchange(kJumbo, segment, echo);
    EXPECT_EQ(echo.payload, bytes_of(segment.payload));
    EXPECT_EQ(seen.largest_bytes, 9'014U);
    EXPECT_EQ(seen.to_segment, 0U);
    EXPECT_EQ(seen.wrong, 0U);
    EXPECT_EQ(echo.frames, 7U);
  }
}

// A mebibyte each way, in large segments: nothing is lost or out of order on the way.
TEST_F(NicVirtio, AMebibyteIsByteExact) {
  for (uint32_t i = 0; i < 16; ++i) {
    Segment segment = to_peer(i % 2 == 0);
    segment.seq = i * 65'536;
    fill(segment, 64'000);
    Echo echo;
    exchange(i % 4 < 2 ? kTso : kJumbo, segment, echo);
    ASSERT_EQ(echo.payload, bytes_of(segment.payload));
    for (RecordBuffer* buffer : held_) release(buffer);
    held_.clear();
  }
}

}  // namespace
}  // namespace sluice::net

int main(int argc, char** argv) {
  constexpr int kSkipped = 77;  // meson's exit code for a test that cannot run here
  testing::InitGoogleTest(&argc, argv);
  if (geteuid() != 0) {
    std::fprintf(stderr, "needs root: skipped\n");
    return kSkipped;
  }
  char folder[] = "/tmp/sluice-virtio-XXXXXX";
  if (mkdtemp(folder) == nullptr || !sluice::net::open_all(folder)) return 1;
  const int result = RUN_ALL_TESTS();
  sluice::net::nic.reset();
  sluice::net::peer_process.reset();
  std::filesystem::remove_all(folder);
  return result;
}
