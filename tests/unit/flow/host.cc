// The application of each connection is a stream to write, a stream that was read and a callback;
// TCP is the one under dataplane/tcp, as its own instance.
#include "host.h"

#include <algorithm>

namespace sluice::flow::test {

namespace {

constexpr uint32_t kWriteBytes = 8192;

tcp::Secrets secrets_of(uint32_t seed) {
  tcp::Secrets secrets;
  secrets.isn.fill(static_cast<uint8_t>(seed));
  secrets.timestamp.fill(static_cast<uint8_t>(seed + 1));
  secrets.cookie.fill(static_cast<uint8_t>(seed + 2));
  return secrets;
}

}  // namespace

Host::Host(NetSim& net, uint32_t seed)
    : net_(net),
      random_(seed),
      pools_({1U << 18, 4096, 1U << 16, 4096}),
      stack_{config, pools_, counters_, {}, secrets_of(seed)},
      listener_(config, stack_.secrets) {
  config.time_wait_us = 1'000'000;
  config.connect_timeout_us = 100'000'000;
}

Host::~Host() { release_all(); }

void Host::release_all() {
  for (const auto& peer : peers) {
    tcp::tcp_release(stack_, peer->tcb);
    peer->closed = true;
  }
}

Peer& Host::connect(const abi::SocketAddress& local, const abi::SocketAddress& remote, Micros now) {
  peers.push_back(std::make_unique<Peer>());
  Peer& peer = *peers.back();
  tcp::tcp_connect(stack_, peer.tcb, {local, remote}, now);
  output(peer, now);
  return peer;
}

void Host::listen(const abi::SocketAddress& address, std::function<void(Peer&)> on_accept) {
  address_ = address;
  on_accept_ = std::move(on_accept);
}

void Host::input(const Wire& wire, Micros now) {
  if (silent) return;
  const uint32_t cuts = draw(3);
  deliver(wire, cuts, [&](net::Segment& segment) {
    for (const auto& peer : peers) {
      if (peer->closed || !(peer->tcb.tuple == segment.tuple)) continue;
      const tcp::InputResult result = tcp::tcp_input(stack_, peer->tcb, segment, now);
      if (result.connected) peer->connected = true;
      net::Segment reply;
      if (result.answer_reset && tcp::make_reset(segment, reply)) emit(reply, now);
      return;
    }
    input_no_peer(segment, now);
  });
}

void Host::input_no_peer(net::Segment& segment, Micros now) {
  net::Segment reply;
  if (!listening || !(segment.tuple.local == address_)) {
    if (tcp::make_reset(segment, reply)) emit(reply, now);
    return;
  }
  if ((segment.flags & net::kRst) != 0) return;
  if ((segment.flags & net::kSyn) != 0) {
    if (tcp::make_syn_ack(stack_, listener_, segment, now, reply)) emit(reply, now);
    return;
  }
  auto peer = std::make_unique<Peer>();
  // What has overtaken the segment that opens its connection comes again.
  if (!tcp::tcp_accept_cookie(stack_, listener_, peer->tcb, segment, now)) return;
  peers.push_back(std::move(peer));
  Peer& accepted = *peers.back();
  on_accept_(accepted);
  const tcp::InputResult result = tcp::tcp_input(stack_, accepted.tcb, segment, now);
  accepted.connected = result.connected;
}

void Host::pump(Micros now) {
  for (size_t i = 0; i < peers.size(); ++i) {
    Peer& peer = *peers[i];
    if (peer.closed) continue;
    if (peer.aborting) tcp::tcp_abort(stack_, peer.tcb);
    read(peer);
    write(peer, now);
    output(peer, now);
    if (peer.tcb.state == tcp::State::Closed && !peer.tcb.rst_pending) {
      peer.closed = true;
      peer.cause = peer.tcb.close_cause;
      tcp::tcp_release(stack_, peer.tcb);
    }
  }
}

void Host::read(Peer& peer) {
  const uint32_t length =
      peer.reading ? std::min(peer.tcb.receive.readable_bytes(), peer.read_bytes) : 0;
  const size_t before = peer.received.size();
  if (length != 0) {
    peer.received.resize(before + length);
    peer.tcb.receive.peek(0, peer.received.data() + before, length);
    tcp::tcp_consume(stack_, peer.tcb, length);
  }
  const bool finished = peer.tcb.peer_fin && peer.tcb.rcv_nxt == peer.tcb.peer_fin_seq + 1 &&
                        peer.tcb.receive.readable_bytes() == 0;
  const bool news = length != 0 || (finished && !peer.finished_by_peer);
  if (finished) peer.finished_by_peer = true;
  if (news && peer.on_data) peer.on_data(peer);
}

// False: there is no room now.
bool Host::write_chunk(Peer& peer) {
  const auto left =
      static_cast<uint32_t>(std::min<size_t>(peer.outgoing.size() - peer.sent, kWriteBytes));
  const uint32_t most = peer.chunk_bytes == 0 ? left : std::min(left, 1 + draw(peer.chunk_bytes));
  if (tcp::tcp_send_space_bytes(stack_, peer.tcb) < most) return false;
  HeapBuffer* const buffer = HeapBuffer::create(peer.outgoing.data() + peer.sent, most);
  if (!tcp::tcp_send(stack_, peer.tcb, buffer->slice(0, most))) {
    net::release(buffer);
    return false;
  }
  peer.sent += most;
  return true;
}

void Host::write(Peer& peer, Micros now) {
  if (peer.tcb.state == tcp::State::Closed || peer.fin_sent) return;
  while (peer.sent < peer.outgoing.size()) {
    if (!write_chunk(peer)) return;
    if (peer.chunk_bytes != 0) output(peer, now);
    if (peer.tcb.state == tcp::State::Closed) return;
  }
  if (!peer.finish) return;
  tcp::tcp_send_fin(stack_, peer.tcb);
  peer.fin_sent = true;
}

void Host::output(Peer& peer, Micros now) {
  tcp::tcp_output(
      stack_, peer.tcb,
      [&](const net::Segment& segment) {
        emit(segment, now);
        return true;
      },
      now);
}

bool Host::has_unread() const {
  for (const auto& peer : peers) {
    if (!peer->closed && peer->reading && peer->tcb.receive.readable_bytes() != 0) return true;
  }
  return false;
}

Micros Host::next_at() const {
  if (has_unread()) return 0;
  Micros at = tcp::kNever;
  for (const auto& peer : peers) {
    if (!peer->closed) at = std::min(at, tcp::tcp_poll_at(peer->tcb));
  }
  return at;
}

}  // namespace sluice::flow::test
