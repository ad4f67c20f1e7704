// The peers' TCP is what a lossless path leaves of it: numbers go up, an acknowledgement is owed
// for every second segment, the window that the worker shows is kept.
#include "peers.h"

#include <cstring>

#include "abi/assert.h"
#include "net/checksum.h"
#include "tls/open.h"
#include "tls/seal.h"

namespace sluice::bench {
namespace {

constexpr Micros kTurnUs = 40;  // 32 full frames at 10 Gbit/s
constexpr uint32_t kRingBuffers = 512;
constexpr uint32_t kTruesizeBytes = 2432;  // an mbuf's, with its private area and headroom
constexpr uint32_t kClientAddress = 0x0b000000;
constexpr uint16_t kFirstPort = 10'000;
constexpr uint8_t kPeerShift = 10;

net::Interface peer_interface() {
  net::Interface interface;
  interface.mac = kPeerMac;
  return interface;
}

// A hello that the worker takes for one: a record of 64 bytes, ClientHello, TLS 1.2.
std::vector<uint8_t> hello() {
  std::vector<uint8_t> bytes(abi::kRecordHeaderBytes + 64);
  const uint8_t start[] = {22, 3, 1, 0, 64, 1, 0, 0, 60, 3, 3};
  std::memcpy(bytes.data(), start, sizeof start);
  return bytes;
}

}  // namespace

PacketRing::PacketRing(uint32_t buffers) : buffers_(buffers) {
  for (PacketBuffer& buffer : buffers_) {
    buffer.truesize_bytes = kTruesizeBytes;
    buffer.release = [](net::BufferOwner* owner) {
      static_cast<PacketBuffer*>(owner)->free = true;
    };
  }
}

PacketBuffer& PacketRing::take() {
  for (uint32_t tries = 0; tries < size(); ++tries) {
    PacketBuffer& buffer = buffers_[next_];
    if (++next_ == size()) next_ = 0;
    if (!buffer.free) continue;
    buffer.free = false;
    buffer.references = 1;
    return buffer;
  }
  SLUICE_ASSERT(false);
  std::abort();
}

void fill_payload(PacketBuffer& buffer, const uint8_t* data, uint32_t length) {
  buffer.payload_bytes = length;
  std::memcpy(buffer.payload(), data, length);
  buffer.payload_sum = net::checksum_add(buffer.payload(), length);
}

Peers::Peers(BareWorker& worker, const PeersConfig& config)
    : worker_(worker),
      config_(config),
      period_(config.workload == Workload::Bulk ? kSegmentBytes : kMessageBytes),
      clients_(config.clients),
      backends_(65536),
      keys_(config.clients),
      end_(std::make_unique<tls::test::End>(config.clients * 4)),
      empty_(kRingBuffers),
      data_(kRingBuffers),
      requests_(std::max(config.clients, kRingBuffers)),
      pattern_(2 * kRecordBytes) {
  for (uint32_t i = 0; i < pattern_.size(); ++i) {
    pattern_[i] = static_cast<uint8_t>((i % period_) * 167 >> 3);
  }
  for (uint32_t i = 0; i < data_.size(); ++i) {
    fill_payload(data_.at(i), pattern_.data(), period_);
  }
  for (uint32_t i = 0; i < config.clients; ++i) {
    const auto port = static_cast<uint16_t>(kFirstPort + i);
    clients_[i].tuple = {kService, {abi::IpAddress::from_ipv4(kClientAddress), port}};
    abi::InstallKeys keys = tls::test::mirrored(tls::test::make_keys(config.suite, port));
    keys.header.flow.index = i;
    SLUICE_ASSERT(tls::install_keys(end_->layer, keys, keys_[i]));
  }
}

// ---- Packets to the worker

void Peers::put(net::FrameBatch& batch, Peer& peer, PacketBuffer& buffer, const Shape& shape) {
  static const net::Interface interface = peer_interface();
  net::Segment segment;
  segment.tuple = {peer.tuple.remote, peer.tuple.local};
  segment.seq = peer.snd_nxt;
  segment.ack = shape.ack;
  segment.flags = shape.flags;
  segment.window = 65535;
  if (shape.options != nullptr) segment.options = *shape.options;
  segment.options.has_timestamps = true;
  segment.options.tsval = static_cast<uint32_t>(now_ / 1000);
  segment.options.tsecr = peer.ts_recent;
  const net::Cut cut{0, buffer.payload_bytes, true, true};
  const uint32_t headers = net::build_headers({segment, interface, kWorkerMac, cut,
                                               net::ChecksumBy::Software, buffer.payload_sum},
                                              buffer.bytes.data());
  net::Frame& frame = batch.frames[batch.count++];
  frame = net::Frame{};
  frame.data = buffer.bytes.data();
  frame.length = headers + buffer.payload_bytes;
  frame.owner = &buffer;
  frame.checksum_ok = worker_.offload() == Offload::Port;
  const bool syn = (shape.flags & net::kSyn) != 0;
  SLUICE_ASSERT(syn || headers == PacketBuffer::kHeaderBytes);
  peer.snd_nxt += buffer.payload_bytes + (syn ? 1 : 0);
  if (buffer.payload_bytes == 0) return;
  peer.acks.clear();  // it carries them
  peer.unacknowledged = 0;
}

void Peers::put_acks(net::FrameBatch& batch, PacketRing& ring, Peer& peer) {
  size_t sent = 0;
  for (; sent < peer.acks.size() && batch.count < abi::kBurst; ++sent) {
    PacketBuffer& buffer = ring.take();
    buffer.payload_bytes = 0;
    buffer.payload_sum = 0;
    put(batch, peer, buffer, {net::kAck, peer.acks[sent]});
  }
  peer.acks.erase(peer.acks.begin(), peer.acks.begin() + static_cast<std::ptrdiff_t>(sent));
}

void Peers::put_syn(net::FrameBatch& batch, Peer& peer, uint8_t flags) {
  net::TcpOptions options;
  options.mss = 1460;
  options.sack_permitted = true;
  options.has_window_scale = true;
  options.window_scale = kPeerShift;
  PacketBuffer& buffer = empty_.take();
  put(batch, peer, buffer, {flags, peer.rcv_nxt, &options});
}

void Peers::turn() {
  now_ += kTurnUs;
  frames_in_ += from_clients_.count + from_backends_.count;
  worker_.turn(from_clients_, from_backends_, now_);
  from_clients_.count = 0;
  from_backends_.count = 0;
  frames_out_ += worker_.sent_count();
  for (uint32_t i = 0; i < worker_.sent_count(); ++i) hear(worker_.sent(i));
}

// ---- Packets from the worker

Peer& Peers::peer_of(const SentPacket& packet, bool& is_client) {
  const uint8_t* ip = packet.bytes.data() + net::kEthernetBytes;
  const uint16_t source = net::load_be16(ip + 20);
  const uint16_t destination = net::load_be16(ip + 22);
  is_client = net::load_be32(ip + 16) != kBackend.address.ipv4();
  if (is_client) return clients_[destination - kFirstPort];
  return backends_[source];
}

void Peers::hear(const SentPacket& packet) {
  bool is_client = false;
  Peer& peer = peer_of(packet, is_client);
  const uint8_t* tcp = packet.bytes.data() + net::kEthernetBytes + net::kIpv4HeaderBytes;
  net::TcpOptions options;
  const uint8_t flags = tcp[13];
  const bool syn = (flags & net::kSyn) != 0;
  SLUICE_ASSERT((flags & net::kRst) == 0);
  SLUICE_ASSERT(net::parse_tcp_options(
      {tcp + 20, (tcp[12] >> 4) * size_t{4} - net::kTcpHeaderBytes}, syn, options));
  peer.ts_recent = options.tsval;
  if (syn) {
    peer.rcv_nxt = net::load_be32(tcp + 4) + 1;
    peer.shift = options.window_scale;
    peer.connected = true;
    if (!is_client) {
      const uint8_t* ip = packet.bytes.data() + net::kEthernetBytes;
      peer.tuple = {{kSourceAddress, net::load_be16(ip + 20)}, kBackend};
      put_syn(from_backends_, peer, net::kSyn | net::kAck);
    }
  }
  if ((flags & net::kAck) != 0) {
    peer.snd_una = net::load_be32(tcp + 8);
    peer.snd_wnd = static_cast<uint32_t>(net::load_be16(tcp + 14)) << (syn ? 0 : peer.shift);
  }
  if (packet.payload_bytes != 0) {
    SLUICE_ASSERT(net::load_be32(tcp + 4) == peer.rcv_nxt);
    hear_data(peer, packet);
    if (!is_client && peer.received_bytes % kMessageBytes == 0) {
      responding_.push_back(net::load_be16(tcp));
    }
    if (!config_.verify) return;
    if (is_client) {
      check_client(peer, static_cast<uint32_t>(&peer - clients_.data()));
    } else {
      check_backend(peer);
    }
  }
}

void Peers::hear_data(Peer& peer, const SentPacket& packet) {
  for (uint32_t left = packet.payload_bytes; left > 0;) {
    const uint32_t part = std::min(left, kSegmentBytes);
    peer.rcv_nxt += part;
    left -= part;
    if (++peer.unacknowledged < 2) continue;
    peer.unacknowledged = 0;
    peer.acks.push_back(peer.rcv_nxt);
  }
  peer.received_bytes += packet.payload_bytes;
  if (!config_.verify) return;
  if (packet.slice_count == 0) {
    const uint8_t* from = packet.bytes.data() + packet.header_bytes;
    peer.received.insert(peer.received.end(), from, from + packet.payload_bytes);
  }
  for (uint32_t i = 0; i < packet.slice_count; ++i) {
    const net::Slice& slice = packet.slices[i];
    peer.received.insert(peer.received.end(), slice.data, slice.data + slice.length);
  }
}

// ---- Verification

bool Peers::matches(const uint8_t* bytes, uint32_t length, uint64_t position) const {
  for (uint32_t i = 0; i < length; ++i) {
    if (bytes[i] != pattern_[(position + i) % period_]) return false;
  }
  return true;
}

// Opens every whole record: the position of its plaintext is what was opened before.
void Peers::check_client(Peer& client, uint32_t number) {
  while (client.received.size() > abi::kRecordHeaderBytes) {
    const uint32_t length = abi::kRecordHeaderBytes + net::load_be16(client.received.data() + 3);
    if (client.received.size() < length) return;
    const tls::ConstPiece piece{client.received.data(), length};
    std::vector<uint8_t> out(length);
    const tls::OpenResult opened =
        tls::open_record(end_->layer, keys_[number], {&piece, 1}, out.data());
    correct_ = correct_ && opened.verdict == tls::Verdict::Accept &&
               matches(out.data(), opened.length, client.opened_bytes);
    client.opened_bytes += opened.length;
    client.received.erase(client.received.begin(), client.received.begin() + length);
  }
}

void Peers::check_backend(Peer& backend) {
  const auto length = static_cast<uint32_t>(backend.received.size());
  correct_ = correct_ && matches(backend.received.data(), length, backend.opened_bytes);
  backend.opened_bytes += length;
  backend.received.clear();
}

// ---- What they do

void Peers::connect_all() {
  const std::vector<uint8_t> first = hello();
  for (uint32_t i = 0; i < clients_.size(); ++i) {
    Peer& client = clients_[i];
    put_syn(from_clients_, client, net::kSyn);
    turn();
    SLUICE_ASSERT(client.connected);
    PacketBuffer& buffer = empty_.take();
    fill_payload(buffer, first.data(), static_cast<uint32_t>(first.size()));
    put(from_clients_, client, buffer, {net::kAck | net::kPsh, client.rcv_nxt});
    turn();
    worker_.play_control(config_.suite);
    turn();  // keys; the SYN to the backend is answered at once
    turn();
    buffer.payload_bytes = 0;
    buffer.payload_sum = 0;
  }
  SLUICE_ASSERT(worker_.count(abi::Counter::tcp_connects) == clients_.size());
}

Peer& Peers::only_backend() {
  for (Peer& backend : backends_) {
    if (backend.connected) return backend;
  }
  std::abort();
}

uint64_t Peers::download(uint64_t bytes) {
  Peer& client = clients_[0];
  Peer& backend = only_backend();
  const uint32_t begin = backend.snd_una;
  while (backend.snd_una - begin < bytes) {
    put_acks(from_clients_, empty_, client);
    while (from_backends_.count < abi::kBurst &&
           backend.snd_nxt + kSegmentBytes - backend.snd_una <= backend.snd_wnd) {
      put(from_backends_, backend, data_.take(), {net::kAck, backend.rcv_nxt});
    }
    turn();
  }
  return backend.snd_una - begin;
}

void Peers::refill_sealed() {
  sealed_.erase(sealed_.begin(), sealed_.begin() + static_cast<std::ptrdiff_t>(sealed_at_));
  sealed_at_ = 0;
  const size_t begin = sealed_.size();
  sealed_.resize(begin + tls::sealed_size(keys_[0], kRecordBytes));
  const tls::ConstPiece piece{pattern_.data() + uploaded_ % period_, kRecordBytes};
  SLUICE_ASSERT(tls::seal_record(end_->layer, keys_[0], tls::ContentType::application_data,
                                 {&piece, 1}, sealed_.data() + begin) != 0);
  uploaded_ += kRecordBytes;
}

uint64_t Peers::upload(uint64_t bytes) {
  Peer& client = clients_[0];
  Peer& backend = only_backend();
  const uint64_t begin = backend.received_bytes;
  while (backend.received_bytes - begin < bytes) {
    put_acks(from_backends_, empty_, backend);
    while (from_clients_.count < abi::kBurst &&
           client.snd_nxt + kSegmentBytes - client.snd_una <= client.snd_wnd) {
      while (sealed_.size() - sealed_at_ < kSegmentBytes) refill_sealed();
      PacketBuffer& buffer = requests_.take();
      fill_payload(buffer, sealed_.data() + sealed_at_, kSegmentBytes);
      sealed_at_ += kSegmentBytes;
      put(from_clients_, client, buffer, {net::kAck, client.rcv_nxt});
    }
    turn();
  }
  return backend.received_bytes - begin;
}

void Peers::seal_requests(uint32_t first, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t number = (first + i) % static_cast<uint32_t>(clients_.size());
    PacketBuffer& buffer = requests_.at((first + i) % requests_.size());
    const tls::ConstPiece piece{pattern_.data(), kMessageBytes};
    buffer.payload_bytes = tls::seal_record(end_->layer, keys_[number],
                                            tls::ContentType::application_data, {&piece, 1},
                                            buffer.payload());
    buffer.payload_sum = net::checksum_add(buffer.payload(), buffer.payload_bytes);
  }
}

void Peers::exchange(uint32_t count, uint32_t burst) {
  const uint32_t batch = std::min(count, requests_.size());
  for (uint32_t done = 0; done < count; done += batch) {
    seal_requests(next_client_, batch);
    for (uint32_t sent = 0; sent < batch;) {
      for (uint32_t i = 0; i < burst && sent < batch; ++i, ++sent) {
        Peer& client = clients_[next_client_ % clients_.size()];
        PacketBuffer& buffer = requests_.at(next_client_ % requests_.size());
        SLUICE_ASSERT(buffer.free);
        buffer.free = false;
        buffer.references = 1;
        put(from_clients_, client, buffer, {net::kAck | net::kPsh, client.rcv_nxt});
        ++next_client_;
      }
      responding_.clear();
      turn();
      for (const uint16_t port : responding_) {
        Peer& backend = backends_[port];
        put(from_backends_, backend, data_.take(), {net::kAck | net::kPsh, backend.rcv_nxt});
      }
      turn();
    }
  }
}

}  // namespace sluice::bench
