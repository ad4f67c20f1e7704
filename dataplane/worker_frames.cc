// A worker's frames: whom a received one belongs to, and the way out of a segment.
//
//   handle: parse -> Tcp        -> joined with what it continues, then this worker's engine, or
//                                  redirect to the worker that owns the tuple
//                    IcmpError  -> the same by the tuple that it quotes
//                    Fragment   -> fragments; a whole packet is handled as if it had been received
//                    Neighbor   -> this port's table, and a copy to the other workers
//                    Icmp       -> answered in place
//
// A frame is parsed where it arrives, and again where it is handed over to: a hand-over passes the
// buffer and no opinion of it. The owner is a function of the tuple and the port
// (Engine::owner_of), so it is the same whoever asks, and a frame is handed over at most once. ARP,
// ND: every worker has tables of its own and learns from copies; no table is shared.
#include "worker_impl.h"

namespace sluice::dataplane {

using abi::Counter;

void Worker::Impl::handle_batch(Arrival arrival, Micros at) {
  for (uint32_t i = 0; i < batch.count; ++i) {
    if (i + 1 < batch.count) net::prefetch_unverified(batch.frames[i + 1]);
    handle(batch.frames[i], arrival, at);
  }
  deliver(at);
}

void Worker::Impl::handle(const net::Frame& frame, Arrival arrival, Micros at) {
  net::Segment& segment = joiner.next();
  switch (net::parse_frame(frame, nic.interface(frame.port), packet, segment)) {
    case net::PacketKind::Tcp:
      if (belongs_elsewhere(segment.tuple, frame, arrival)) return;
      joiner.add(frame, [this, at](net::Segment& run) { engine->input(run, at); });
      return;
    case net::PacketKind::IcmpError:
      if (belongs_elsewhere(packet.error.tuple, frame, arrival)) return;
      deliver(at);  // what came before it
      counters.add(Counter::icmp_errors_in);
      engine->icmp_error(packet.error, at);
      break;
    case net::PacketKind::Fragment:
      return handle_fragment(frame, arrival, at);
    case net::PacketKind::Neighbor:
      handle_neighbor(frame, arrival, at);
      break;
    case net::PacketKind::Icmp:
      if (const uint32_t length = icmp.reply(frame, packet, nic.interface(frame.port), at);
          length != 0) {
        nic.send_frame(frame.port, {frame.data, length});
      }
      break;
    case net::PacketKind::Drop:
      counters.add(packet.drop);
      break;
  }
  net::release_frame(frame);
}

// The run of segments that waits for its continuation; behind each burst.
void Worker::Impl::deliver(Micros at) {
  joiner.flush([this, at](net::Segment& run) { engine->input(run, at); });
}

// True: another worker has the frame now, or it was dropped because that worker is too slow.
bool Worker::Impl::belongs_elsewhere(const net::FlowTuple& tuple, const net::Frame& frame,
                                     Arrival arrival) {
  if (settings.workers == 1 || arrival == Arrival::HandedOver) return false;
  const net::RssMap* rss = nic.rss(frame.port);
  const uint16_t owner = engine->owner_of(tuple, rss);
  if (owner == settings.number) return false;
  // The port said that it would bring this one to its owner. (An ICMP error is no such packet, nor
  // is a fragment, which carries no ports.)
  if (rss != nullptr && arrival == Arrival::Received && !packet.fragmented &&
      &tuple != &packet.error.tuple && rss->covers(tuple.local.address)) {
    counters.add(Counter::rss_mispredicted);
    mispredicted.store(true, std::memory_order_relaxed);
  }
  nic.redirect(owner, frame);
  return true;
}

void Worker::Impl::handle_fragment(const net::Frame& frame, Arrival arrival, Micros at) {
  net::Frame whole;
  const bool complete = fragments.add(frame, packet, at, whole);
  net::release_frame(frame);
  if (!complete) return;
  // Never a fragment again: the recursion ends here.
  handle(whole, arrival == Arrival::Received ? Arrival::Reassembled : arrival, at);
}

void Worker::Impl::handle_neighbor(const net::Frame& frame, Arrival arrival, Micros at) {
  const bool first = arrival != Arrival::HandedOver;
  const auto input = neighbors[frame.port]->input(frame, packet, at, first);
  if (input.conflict) counters.add(Counter::arp_conflicts);
  if (input.share && first && settings.workers > 1) nic.share(frame);
}

// ---- Segments out

// Whom this segment's sender has to do with. Without a connection there are two answers alone: a
// SYN cookie and a reset (tcp/listen.cc). What has neither mark comes from a connection.
net::Peer peer_of(const net::Segment& out) {
  constexpr uint8_t kSynAck = net::kSyn | net::kAck;
  const bool stateless = (out.flags & net::kRst) != 0 || (out.flags & kSynAck) == kSynAck;
  return stateless ? net::Peer::Stranger : net::Peer::Known;
}

bool Worker::Impl::emit(const net::Segment& out) {
  for (uint32_t port = 0; port < nic.ports(); ++port) {
    const net::Interface& interface = nic.interface(port);
    if (!interface.owns(out.tuple.local.address)) continue;
    abi::IpAddress hop;
    if (!interface.next_hop(out.tuple.remote.address, hop)) return true;
    net::Mac mac;
    if (neighbors[port]->lookup(hop, now, mac, peer_of(out))) {
      if (!nic.send(port, out, mac)) return false;
    } else if (const uintptr_t prepared = nic.prepare(port, out); prepared != 0) {
      if (!neighbors[port]->park(hop, prepared)) nic.drop_prepared(prepared);
    }
    return true;
  }
  return true;  // an address that no port has: TCP will retransmit and give up
}

void Worker::Impl::drain_neighbors(uint32_t port) {
  uint8_t frame[net::kNeighborFrameBytes];
  while (const uint32_t length = neighbors[port]->next_frame(frame)) {
    nic.send_frame(port, {frame, length});
  }
  net::Unparked unparked;
  while (neighbors[port]->next_unparked(unparked)) {
    if (unparked.resolved) {
      nic.send_prepared(port, unparked.packet, unparked.mac);
    } else {
      nic.drop_prepared(unparked.packet);
    }
  }
}

}  // namespace sluice::dataplane
