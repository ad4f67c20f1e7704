// Stages are told apart by reading the counter between them.
#include "bare_worker.h"

#include <cstring>

#include "../unit/tls/fixture.h"
#include "abi/assert.h"
#include "abi/validate.h"
#include "cipher_stage.h"
#include "cycles.h"
#include "flow/small_buffers.h"
#include "net/arp.h"
#include "net/limits.h"

namespace sluice::bench {
namespace {

constexpr uint32_t kKeyCacheEntries = 512;  // the worker's own
constexpr uint32_t kTsoBytes = 65000;
constexpr uint32_t kLargeBuffers = 2048;
constexpr uint32_t kEndpoints = 2;
constexpr Micros kMeetUs = 1'000'000;

tcp::Secrets make_secrets() {
  tcp::Secrets secrets;
  secrets.isn.fill(11);
  secrets.timestamp.fill(12);
  secrets.cookie.fill(13);
  return secrets;
}

net::Interface make_interface() {
  net::Interface interface;
  interface.name = "bench";
  interface.mac = kWorkerMac;
  SLUICE_ASSERT(interface.add_address({kService.address, 24}));
  SLUICE_ASSERT(interface.add_address({kSourceAddress, 24}));
  interface.has_gateway = true;  // the clients are far away
  interface.gateway = kClientGateway;
  return interface;
}

tcp::TcpConfig make_tcp_config() {
  tcp::TcpConfig config;
  config.tso_bytes = kTsoBytes;
  return config;
}

void* fill_pool(net::RecordPool& pool, uint32_t buffers) {
  const size_t bytes = size_t{net::RecordPool::object_bytes(pool.capacity_bytes())} * buffers;
  void* const arena = std::aligned_alloc(64, bytes);
  std::memset(arena, 0, bytes);  // pages are there before anything is measured
  pool.add_arena(arena, bytes);
  return arena;
}

// A neighbour asks and answers, so that it is known and reachable.
void introduce(net::NeighborTable& table, const net::Interface& interface,
               const abi::IpAddress& who, const abi::IpAddress& asks, net::ArpOperation operation,
               Micros now) {
  uint8_t bytes[net::kNeighborFrameBytes] = {};
  net::Interface neighbor;
  neighbor.mac = kPeerMac;
  const net::Arp arp{.operation = operation,
                     .sender_mac = kPeerMac,
                     .target_mac = {},
                     .sender = who,
                     .target = asks};
  const uint32_t length = net::build_arp(arp, neighbor, interface.mac, bytes);
  net::BufferOwner owner;
  const net::Frame frame{.data = bytes, .length = length, .owner = &owner};
  net::Packet packet;
  net::Segment segment;
  SLUICE_ASSERT(net::parse_frame(frame, interface, packet, segment) == net::PacketKind::Neighbor);
  table.input(frame, packet, now);
}

}  // namespace

BareWorker::BareWorker(uint32_t max_flows, Offload offload)
    : interface_(make_interface()),
      neighbors_(interface_, counters_),
      key_cache_(kKeyCacheEntries, counters_),
      records_{tls::test::provider(), key_cache_, counters_},
      small_(net::kSmallRecordBytes),
      large_(net::kLargeRecordBytes),
      tcp_config_(make_tcp_config()),
      pools_(tcp::PoolSizes::of(max_flows)),
      stack_{tcp_config_, pools_, counters_, flow::SmallBuffers::of(small_), make_secrets()},
      listener_(tcp_config_, stack_.secrets),
      offload_(offload),
      ring_(kRing) {
  arenas_ = {fill_pool(small_, max_flows * 4 + 1024), fill_pool(large_, kLargeBuffers)};
  flow::EngineConfig config;
  config.max_flows = max_flows;
  config.listeners = {{kService, flow::Protocol::Tls, {}}};
  config.sources = {{kSourceAddress, 24, false, nullptr}};
  config.start_us = now_;
  const flow::Output output{this, [](void* self, const net::Segment& segment) {
                              return static_cast<BareWorker*>(self)->emit(segment);
                            }};
  engine_ = std::make_unique<flow::Engine>(
      config,
      flow::EngineResources{small_, large_, counters_, records_, stack_, listener_, output});
  SLUICE_ASSERT(abi::Region::create({1, kEndpoints}, 1, region_) == abi::RegionError::None);
  from_engine_ = abi::RingConsumer(region_.ring(0, 1, abi::Direction::ToControl));
  to_engine_ = abi::RingProducer(region_.ring(0, 1, abi::Direction::ToWorker));
  engine_->attach(&region_, now_);
  watch_cipher(tls::test::provider());
  meet_neighbors();
}

void BareWorker::meet_neighbors() {
  for (const auto operation : {net::ArpOperation::Request, net::ArpOperation::Reply}) {
    introduce(neighbors_, interface_, kClientGateway, kService.address, operation, now_);
    introduce(neighbors_, interface_, kBackend.address, kSourceAddress, operation, now_);
  }
  met_us_ = now_;
}

BareWorker::~BareWorker() {
  reap();
  engine_.reset();
  for (void* arena : arenas_) std::free(arena);
}

void BareWorker::deliver(net::Segment& segment, Micros now) {
  const uint64_t start = detailed ? cycles() : 0;
  engine_->input(segment, now);
  if (detailed) stages.tcp_in += cycles() - start;
}

void BareWorker::take(const net::FrameBatch& batch, Micros now) {
  const auto deliver = [this, now](net::Segment& segment) { this->deliver(segment, now); };
  for (uint32_t i = 0; i < batch.count; ++i) {
    if (i + 1 < batch.count) net::prefetch_unverified(batch.frames[i + 1]);
    const net::Frame& frame = batch.frames[i];
    const net::PacketKind kind = net::parse_frame(frame, interface_, packet_, joiner_.next());
    SLUICE_ASSERT(kind == net::PacketKind::Tcp);
    joiner_.add(frame, deliver);
  }
  joiner_.flush(deliver);
}

void BareWorker::turn(const net::FrameBatch& from_clients, const net::FrameBatch& from_backends,
                      Micros now) {
  now_ = now;
  if (now - met_us_ > kMeetUs) meet_neighbors();
  cipher_stage = {detailed, 0};
  const uint64_t start = cycles();
  reap();
  const uint64_t reaped = detailed ? cycles() : 0;
  take(from_clients, now);
  take(from_backends, now);
  const uint64_t taken = detailed ? cycles() : 0;
  if (engine_->work_pending()) engine_->serve(now);
  const uint64_t served = detailed ? cycles() : 0;
  if (engine_->control_poll(now)) engine_->serve(now);
  engine_->advance(now);
  neighbors_.tick(now);
  const uint64_t end = cycles();
  cipher_stage.wanted = false;
  stages.turn += end - start;
  if (!detailed) return;
  stages.cipher += cipher_stage.cycles;
  stages.reap += reaped - start;
  stages.build += reaped - start;
  stages.take += taken - reaped;
  stages.serve += served - taken;
  stages.rest += end - served;
}

// ---- Segments out: as Worker::Impl::emit and net/nic_tx.cc, without mbufs.

bool BareWorker::emit(const net::Segment& segment) {
  const uint64_t start = detailed ? cycles() : 0;
  abi::IpAddress hop;
  net::Mac mac;
  SLUICE_ASSERT(interface_.owns(segment.tuple.local.address));
  SLUICE_ASSERT(interface_.next_hop(segment.tuple.remote.address, hop));
  SLUICE_ASSERT(neighbors_.lookup(hop, now_, mac));
  const uint32_t whole = segment.payload.length;
  const uint32_t unit = offload_ == Offload::Port ? std::max(whole, 1U)
                                                  : net::max_payload_bytes(segment, interface_);
  bool room = true;
  for (uint32_t offset = 0; room && (offset == 0 || offset < whole); offset += unit) {
    net::Cut cut{offset, std::min(unit, whole - offset), offset == 0, false};
    cut.last = offset + cut.length == whole;
    room = put(segment, cut, mac);
  }
  if (detailed) stages.build += cycles() - start;
  return room;
}

bool BareWorker::put(const net::Segment& segment, const net::Cut& cut, const net::Mac& mac) {
  SLUICE_ASSERT(sent_count_ < kRing);
  SentPacket& packet = ring_[sent_count_++];
  packet.payload_bytes = cut.length;
  packet.slice_count = 0;
  if (offload_ == Offload::Software) {
    packet.header_bytes =
        net::build_frame(segment, cut, interface_, mac, packet.bytes) - cut.length;
    return true;
  }
  const net::ChecksumBy by = cut.length > net::max_payload_bytes(segment, interface_)
                                 ? net::ChecksumBy::HardwareTso
                                 : net::ChecksumBy::Hardware;
  packet.header_bytes =
      net::build_headers({segment, interface_, mac, cut, by, 0}, packet.bytes.data());
  if (cut.length <= net::kTxCopyBytes) {
    net::copy_chain(segment.payload, 0, cut.length, packet.bytes.data() + packet.header_bytes);
    return true;
  }
  packet.slice_count = segment.payload.count;
  for (uint32_t i = 0; i < segment.payload.count; ++i) {
    packet.slices[i] = segment.payload.pieces[i];
    net::retain(packet.slices[i].owner);
  }
  return true;
}

void BareWorker::reap() {
  for (uint32_t i = 0; i < sent_count_; ++i) {
    const SentPacket& packet = sent(i);
    for (uint32_t k = 0; k < packet.slice_count; ++k) net::release(packet.slices[k].owner);
  }
  sent_count_ = 0;
}

void BareWorker::play_control(uint16_t suite) {
  abi::MessageBuffer message;
  while (from_engine_.pop(message) == abi::RingResult::Ok) {
    const auto* begin = message.as<abi::HandshakeBegin>();
    if (begin == nullptr) continue;
    const abi::FlowId flow = message.header().flow;
    abi::InstallKeys keys = tls::test::make_keys(suite, begin->client.port);
    abi::MessageBuffer next;
    while (from_engine_.pop(next) == abi::RingResult::Ok) {
      const auto* bytes = next.as<abi::HandshakeBytes>();
      if (bytes == nullptr || bytes->record_end == 0) continue;
      keys.consumed_bytes = bytes->offset + bytes->length;
      break;
    }
    keys.backend = kBackend;
    abi::fill_header(keys, flow, region_.epoch(), sizeof keys);
    SLUICE_ASSERT(to_engine_.push(&keys, sizeof keys) == abi::RingResult::Ok);
  }
}

}  // namespace sluice::bench
