// The loop takes whatever comes first: a packet's arrival or a timer. Senders always have more to
// send; receivers read at once. What is measured is speed: bytes are checked by pair.cc, invariants
// too, so that a hundred million packets are affordable here.
#include "dumbbell.h"

#include <algorithm>

#include "abi/assert.h"

namespace sluice::testbed {

using tcp::Micros;

namespace {

constexpr Micros kBegin = 100 * tcp::kSecond;
constexpr uint32_t kChunkBytes = 16'384;
constexpr uint16_t kFirstPort = 40'001;
constexpr uint32_t kPacketTruesize = 2'304;
uint8_t text[kChunkBytes];  // what is sent; its bytes do not matter

struct ChunkOwner {
  net::BufferOwner owner;
  static void release(net::BufferOwner* owner) { delete reinterpret_cast<ChunkOwner*>(owner); }
};

struct PacketOwner {
  net::BufferOwner owner;
  std::vector<uint8_t> memory;
  static void release(net::BufferOwner* owner) { delete reinterpret_cast<PacketOwner*>(owner); }
};

tcp::TcpConfig config_of(const DumbbellSettings& settings, const tcp::CongestionOps* congestion) {
  tcp::TcpConfig config;
  config.congestion = congestion;
  config.ecn = settings.ecn;
  config.pacing = settings.pacing;
  config.tso_bytes = settings.tso_bytes;
  // Far more than any path here holds: the network is the limit.
  config.receive_initial_bytes = config.receive_limit_bytes = 32U << 20;
  config.send_limit_bytes = 16U << 20;
  return config;
}

net::FlowTuple tuple_of(uint32_t number) {
  net::FlowTuple tuple = default_tuple();
  tuple.local.port = static_cast<uint16_t>(kFirstPort + number);
  tuple.remote.port = 443;
  return tuple;
}

// As Host::receive, without copies and checks.
tcp::InputResult receive(Host& host, WireSegment& wire, Micros now) {
  net::Segment& segment = wire.header;
  segment.payload.clear();
  net::BufferOwner* held = nullptr;
  if (!wire.payload.empty()) {
    auto* packet = new PacketOwner;
    packet->owner.truesize_bytes = kPacketTruesize;
    packet->owner.release = &PacketOwner::release;
    packet->memory = std::move(wire.payload);
    held = &packet->owner;
    segment.payload.append(
        {packet->memory.data(), static_cast<uint32_t>(packet->memory.size()), held});
  }
  const tcp::InputResult result = tcp::tcp_input(host.stack, host.tcb, segment, now);
  if (held != nullptr) net::release(held);
  return result;
}

}  // namespace

Dumbbell::Dumbbell(const DumbbellSettings& settings)
    : settings_(settings),
      random_(settings.seed),
      there_(settings.there, random_),
      back_(settings.back, random_),
      now_(kBegin) {
  transfers_.resize(settings.transfers.size());
  for (uint32_t i = 0; i < transfers_.size(); ++i) {
    Transfer& transfer = transfers_[i];
    transfer.settings = &settings.transfers[i];
    const auto seed = static_cast<uint8_t>(settings.seed * 16 + 2 * i);
    const tcp::TcpConfig config = config_of(settings, transfer.settings->congestion);
    transfer.sender = std::make_unique<Host>(config, 262'144, seed);
    transfer.receiver = std::make_unique<Host>(config, 262'144, static_cast<uint8_t>(seed + 1));
    transfer.listener = std::make_unique<tcp::Listener>(transfer.receiver->config,
                                                        transfer.receiver->stack.secrets);
  }
}

Dumbbell::Transfer& Dumbbell::transfer_of(uint16_t port) {
  SLUICE_ASSERT(port >= kFirstPort && port - kFirstPort < static_cast<int>(transfers_.size()));
  return transfers_[static_cast<uint32_t>(port - kFirstPort)];
}

void Dumbbell::flush(Host& host, Link& link) {
  tcp::tcp_output(
      host.stack, host.tcb,
      [&](const net::Segment& segment) {
        link.send(segment, now_);
        return true;
      },
      now_);
}

void Dumbbell::start(Transfer& transfer, uint32_t number) {
  transfer.started = true;
  tcp::tcp_connect(transfer.sender->stack, transfer.sender->tcb, tuple_of(number), now_);
  flush(*transfer.sender, there_);
}

void Dumbbell::feed(Transfer& transfer) {
  Host& host = *transfer.sender;
  while (tcp::tcp_send_space_bytes(host.stack, host.tcb) >= 2 * kChunkBytes) {
    auto* chunk = new ChunkOwner;
    chunk->owner.truesize_bytes = kChunkBytes;
    chunk->owner.release = &ChunkOwner::release;
    const bool taken = tcp::tcp_send(host.stack, host.tcb, {text, kChunkBytes, &chunk->owner});
    SLUICE_ASSERT(taken);
  }
}

void Dumbbell::at_sender(WireSegment wire) {
  Transfer& transfer = transfer_of(wire.header.tuple.remote.port);
  wire.header.tuple = reversed(wire.header.tuple);
  wire.header.options.sack_permitted = wire.header.options.sack_permitted && settings_.sack;
  const tcp::InputResult result = receive(*transfer.sender, wire, now_);
  SLUICE_ASSERT(!result.closed);
  if (result.connected) transfer.connected_at = now_;
  if (transfer.connected_at != 0) feed(transfer);
  flush(*transfer.sender, there_);
}

void Dumbbell::at_receiver(WireSegment wire) {
  Transfer& transfer = transfer_of(wire.header.tuple.local.port);
  Host& host = *transfer.receiver;
  wire.header.tuple = reversed(wire.header.tuple);
  if (!transfer.accepted) {
    net::Segment in = wire.header;
    in.options.sack_permitted = in.options.sack_permitted && settings_.sack;
    in.payload.clear();
    net::Segment reply;
    if ((in.flags & net::kSyn) != 0) {
      if (tcp::make_syn_ack(host.stack, *transfer.listener, in, now_, reply)) {
        back_.send(reply, now_);
      }
      return;
    }
    transfer.accepted = tcp::tcp_accept_cookie(host.stack, *transfer.listener, host.tcb, in, now_);
    if (!transfer.accepted) return;  // text overtook the ACK
  }
  receive(host, wire, now_);
  const uint32_t bytes = host.tcb.receive.readable_bytes();
  if (bytes != 0) {
    tcp::tcp_consume(host.stack, host.tcb, bytes);
    if (now_ >= kBegin + settings_.measure_from_us) transfer.delivered_bytes += bytes;
  }
  flush(host, back_);
}

Micros Dumbbell::next_at() const {
  Micros at = std::min(there_.next_at(), back_.next_at());
  for (const Transfer& transfer : transfers_) {
    if (!transfer.started) {
      at = std::min(at, kBegin + transfer.settings->start_us);
      continue;
    }
    at = std::min(at, tcp::tcp_poll_at(transfer.sender->tcb));
    if (transfer.accepted) at = std::min(at, tcp::tcp_poll_at(transfer.receiver->tcb));
  }
  return at;
}

DumbbellOutcome Dumbbell::judge() {
  DumbbellOutcome outcome;
  outcome.bottleneck = there_.counters();
  for (Transfer& transfer : transfers_) {
    const Host& sender = *transfer.sender;
    const Micros from = std::max(transfer.connected_at, kBegin + settings_.measure_from_us);
    const auto bits = static_cast<double>(transfer.delivered_bytes * 8);
    TransferOutcome each;
    each.mbit_per_second = bits / static_cast<double>(kBegin + settings_.end_us - from);
    each.retransmits = sender.counters.get(abi::Counter::tcp_retransmits);
    each.fast_retransmits = sender.counters.get(abi::Counter::tcp_fast_retransmits);
    each.timeouts = sender.counters.get(abi::Counter::tcp_rto);
    each.spurious = sender.counters.get(abi::Counter::tcp_spurious_recoveries);
    outcome.transfers.push_back(each);
    for (Host* host : {transfer.sender.get(), transfer.receiver.get()}) {
      tcp::check_invariants(host->stack, host->tcb);
      tcp::tcp_release(host->stack, host->tcb);
      SLUICE_ASSERT(host->pools.all_returned());
    }
  }
  return outcome;
}

DumbbellOutcome Dumbbell::run() {
  for (;;) {
    const Micros at = next_at();
    if (at >= kBegin + settings_.end_us) break;
    now_ = std::max(now_, at);
    while (there_.next_at() <= now_) at_receiver(there_.take());
    while (back_.next_at() <= now_) at_sender(back_.take());
    for (uint32_t i = 0; i < transfers_.size(); ++i) {
      Transfer& transfer = transfers_[i];
      if (!transfer.started) {
        if (kBegin + transfer.settings->start_us <= now_) start(transfer, i);
        continue;
      }
      if (tcp::tcp_poll_at(transfer.sender->tcb) <= now_) flush(*transfer.sender, there_);
      if (transfer.accepted && tcp::tcp_poll_at(transfer.receiver->tcb) <= now_) {
        flush(*transfer.receiver, back_);
      }
    }
  }
  return judge();
}

}  // namespace sluice::testbed
