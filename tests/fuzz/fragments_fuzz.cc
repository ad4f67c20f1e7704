// Reassembly fed with fragments of a few packets, composed by the fuzzer: any offset, length, order
// and time. Each byte of a packet is known from its place, so whatever comes together must show
// each byte where it belongs. The bounds hold at every step, what is held is what is counted, and
// at the end every buffer has come back.
#include <memory>
#include <set>

#include "frame_input.h"
#include "net/fragments.h"

namespace sluice::fuzz {
namespace {

constexpr uint32_t kTruesize = 2304;

struct Buffer : net::BufferOwner {
  std::vector<uint8_t> bytes;
  std::set<Buffer*>* living = nullptr;
};

void free_buffer(net::BufferOwner* owner) {
  auto* buffer = static_cast<Buffer*>(owner);
  buffer->living->erase(buffer);
  delete buffer;
}

uint8_t byte_at(uint32_t id, uint32_t offset) {
  return static_cast<uint8_t>((offset * 2654435761U) >> 24 ^ id);
}

// The packet's payload: a TCP header without options, then bytes that tell their place.
std::vector<uint8_t> share(uint32_t id, uint32_t offset, uint32_t length) {
  std::vector<uint8_t> bytes(length);
  for (uint32_t i = 0; i < length; ++i) bytes[i] = byte_at(id, offset + i);
  if (offset != 0 || length < net::kTcpHeaderBytes) return bytes;
  std::memset(bytes.data(), 0, net::kTcpHeaderBytes);
  net::store_be16(bytes.data(), 40000);
  net::store_be16(bytes.data() + 2, 443);
  net::store_be32(bytes.data() + 4, id);
  bytes[12] = 0x50;
  bytes[13] = net::kAck;
  return bytes;
}

struct Shape {
  bool ipv4 = true;
  uint8_t host = 2;
  uint32_t id = 0;
  uint32_t offset = 0;
  uint32_t length = 0;
  bool more = true;
  uint8_t ecn = 0;
};

void write_ip(const Shape& shape, uint8_t* ip) {
  if (shape.ipv4) {
    ip[0] = 0x45;
    ip[1] = shape.ecn;
    net::store_be16(ip + 2, net::kIpv4HeaderBytes + shape.length);
    net::store_be16(ip + 4, shape.id);
    net::store_be16(ip + 6, (shape.more ? 0x2000U : 0U) | shape.offset / 8);
    ip[8] = 64;
    ip[9] = net::kProtocolTcp;
    net::store_be32(ip + 12, 0x0a630100U | shape.host);
    net::store_be32(ip + 16, kOur4.ipv4());
    return;
  }
  net::store_be32(ip, 6U << 28 | static_cast<uint32_t>(shape.ecn) << 20);
  net::store_be16(ip + 4, net::kFragmentHeaderBytes + shape.length);
  ip[6] = net::kNextFragment;
  ip[7] = 64;
  std::memcpy(ip + 8, kPeer6.bytes.data(), 16);
  ip[8 + 7] = shape.host;  // another /64
  std::memcpy(ip + 24, kOur6.bytes.data(), 16);
  uint8_t* fragment = ip + net::kIpv6HeaderBytes;
  fragment[0] = net::kProtocolTcp;
  net::store_be16(fragment + 2, shape.offset | (shape.more ? 1U : 0U));
  net::store_be32(fragment + 4, shape.id);
}

class Worker {
 public:
  ~Worker() {
    table_.reset();
    SLUICE_ASSERT(living_.empty());
  }

  void step(Input& input) {
    const uint8_t what = input.byte();
    if (what >= 240) {
      now_us_ += uint64_t{1} << (input.byte() % 24);
      table_->tick(now_us_);
      return;
    }
    Shape shape;
    shape.ipv4 = (what & 1) != 0;
    shape.more = (what & 6) != 0;
    shape.ecn = what >= 200 ? 3 : 2;
    shape.id = what >> 3 & 3U;
    shape.host = static_cast<uint8_t>(2 + (what >> 5 & 1U));
    const uint8_t place = input.byte();
    // Mostly in units of a common fragment, so that pieces meet.
    shape.offset = place < 192 ? (place % 12) * 48U : input.half() & 0xfff8U;
    shape.length = place < 128 ? 48 : input.half() % 1500U;
    if (place == 255) shape.host = input.byte();
    receive(shape, place == 100 ? input.byte() : 0);
  }

  void check() const {
    SLUICE_ASSERT(table_->entries() <= net::kFragmentEntries);
    SLUICE_ASSERT(table_->held_bytes() <= net::kFragmentBytes);
    uint64_t references = 0;
    for (const Buffer* buffer : living_) references += buffer->references;
    SLUICE_ASSERT(table_->held_bytes() == references * kTruesize);
  }

 private:
  void receive(const Shape& shape, uint32_t split) {
    auto* buffer = new Buffer;
    buffer->release = free_buffer;
    buffer->truesize_bytes = kTruesize;
    buffer->living = &living_;
    living_.insert(buffer);
    const uint32_t header =
        shape.ipv4 ? net::kIpv4HeaderBytes : net::kIpv6HeaderBytes + net::kFragmentHeaderBytes;
    const auto payload = share(shape.id, shape.offset, shape.length);
    buffer->bytes.resize(net::kEthernetBytes + header);
    net::build_ethernet(peer(), kOurMac, shape.ipv4 ? net::kEthertypeIpv4 : net::kEthertypeIpv6,
                        buffer->bytes.data());
    write_ip(shape, buffer->bytes.data() + net::kEthernetBytes);
    buffer->bytes.insert(buffer->bytes.end(), payload.begin(), payload.end());
    repair_checksums(buffer->bytes);
    buffer->bytes.shrink_to_fit();
    handle(*buffer, split);
  }

  void handle(Buffer& buffer, uint32_t split) {
    net::Frame frame;
    net::Slice rest;
    frame.data = buffer.bytes.data();
    frame.length = static_cast<uint32_t>(buffer.bytes.size());
    frame.owner = &buffer;
    if (split > 90 && split < frame.length) {
      rest = {frame.data + split, frame.length - split, &buffer};
      net::retain(&buffer);
      frame.length = split;
      frame.more = &rest;
      frame.more_count = 1;
    }
    net::Packet packet;
    net::Segment segment;
    const net::PacketKind kind = net::parse_frame(frame, interface_, packet, segment);
    net::Frame whole;
    const bool complete =
        kind == net::PacketKind::Fragment && table_->add(frame, packet, now_us_, whole);
    net::release_frame(frame);
    if (!complete) return;
    whole.checksum_ok = true;  // the TCP checksum is not what is looked at here
    SLUICE_ASSERT(net::parse_frame(whole, interface_, packet, segment) == net::PacketKind::Tcp);
    check_bytes(segment);
    net::release_frame(whole);
  }

  void check_bytes(const net::Segment& segment) {
    uint32_t offset = net::kTcpHeaderBytes;
    for (uint32_t i = 0; i < segment.payload.count; ++i) {
      const net::Slice& piece = segment.payload.pieces[i];
      for (uint32_t k = 0; k < piece.length; ++k) {
        SLUICE_ASSERT(piece.data[k] == byte_at(segment.seq, offset++));
      }
    }
  }

  net::Interface interface_ = us();
  abi::Counters counters_;
  std::set<Buffer*> living_;
  std::unique_ptr<net::FragmentTable> table_ = std::make_unique<net::FragmentTable>(counters_);
  uint64_t now_us_ = 100'000'000;
};

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::fuzz::Input input(data, size);
  sluice::fuzz::Worker worker;
  while (!input.empty()) {
    worker.step(input);
    worker.check();
  }
  return 0;
}
