// A flow with its keys: client records are opened into the backend's send queue, backend bytes are
// sealed into the client's. The decryption and the encryption are the only copies.
//
//   client.receive --open_record--> tails[Backend] = slices of backend's send queue
//   backend.receive --seal_record--> tails[Client] = slices of client's send queue
//
// Back-pressure: nothing is taken off one side's receive queue before the other side's send queue
// has room for it, and TCP advertises no more window than the receive queue has left. Many small
// records share a buffer (Tail), so that what is held stays in proportion to what is queued.
//
// Ends: close_notify from the client -> FIN to the backend; FIN from the backend -> close_notify
// and FIN to the client; a client FIN without close_notify is a truncation -> RST to the backend.
#include "abi/assert.h"
#include "flow/engine.h"
#include "flow/gather.h"
#include "tls/limits.h"
#include "tls/open.h"
#include "tls/post_handshake.h"
#include "tls/seal.h"

namespace sluice::flow {

using abi::CloseReason;
using abi::Counter;

void Engine::relay_step(Flow& flow, Micros now) {
  if (flow.protocol == Protocol::Tls) {
    open_records(flow, now);
    if (flow.phase != FlowPhase::Closing) seal_data(flow, now);
  } else {
    pass_data(flow, Side::Client, now);
    pass_data(flow, Side::Backend, now);
  }
  if (flow.phase != FlowPhase::Closing) end_directions(flow, now);
}

// ---- Client to backend.

void Engine::open_records(Flow& flow, Micros now) {
  while (!flow.client_closed && flow.phase != FlowPhase::Closing) {
    const tcp::ReceiveQueue& queue = flow.client().receive;
    uint8_t header[abi::kRecordHeaderBytes];
    const uint32_t length = queue.peek(0, header, sizeof header);
    if (length == 0) return;
    const tls::RecordPhase phase =
        flow.keys.tls13() ? tls::RecordPhase::Tls13 : tls::RecordPhase::Tls12;
    const tls::Frame frame = tls::next_record(phase, std::span<const uint8_t>(header, length));
    if (frame.verdict == tls::Verdict::Refuse) return close_with_alert(flow, frame.refusal, now);
    if (frame.verdict == tls::Verdict::NeedMore) return;
    if (queue.readable_bytes() < frame.record_bytes) return compact_received(flow);
    const uint32_t room = tls::open_output_bytes(flow.keys, frame.header.length);
    if (tcp::tcp_send_space_bytes(use_.stack, flow.backend()) < room) return;
    if (!open_one(flow, frame.record_bytes, now)) return;
  }
  if (flow.client_closed) {  // RFC 8446 6.1: what follows close_notify is ignored
    tcp::tcp_consume(use_.stack, flow.client(), flow.client().receive.readable_bytes());
  }
}

bool Engine::open_one(Flow& flow, uint32_t record_bytes, Micros now) {
  uint8_t* const out =
      reserve(flow, Side::Backend,
              tls::open_output_bytes(flow.keys, record_bytes - abi::kRecordHeaderBytes));
  if (out == nullptr) {
    stall(flow);
    return false;
  }
  Pieces pieces;
  gather(flow.client().receive, record_bytes, pieces);
  if (pieces.length < record_bytes) {  // a record in more pieces than fit: copied together first
    flow.client().receive.peek(0, scratch_.get(), record_bytes);
    pieces.items[0] = {scratch_.get(), record_bytes};
    pieces.count = 1;
  }
  const tls::OpenResult opened = tls::open_record(use_.records, flow.keys, pieces.span(), out);
  tcp::tcp_consume(use_.stack, flow.client(), record_bytes);
  if (opened.verdict != tls::Verdict::Accept) {
    close_with_alert(flow, opened.refusal, now);
    return false;
  }
  uint8_t reply[tls::kMaxReplyBytes];
  const tls::Action action =
      tls::handle_record(use_.records, flow.keys, opened.type, {out, opened.length}, reply);
  switch (action.kind) {
    case tls::ActionKind::Deliver:
      flow.bytes_from_client += opened.length;
      flow.active_at = tcp::to_millis(now);
      return commit(flow, Side::Backend, opened.length);
    case tls::ActionKind::Ignore:
      return true;
    case tls::ActionKind::Reply:
      // No send space is asked for here, so answers to who never reads must end somewhere.
      if (flow.client().send.held_bytes() > 2 * use_.stack.config.send_limit_bytes) {
        abort(flow, CloseReason::too_many_warnings);
        return false;
      }
      return append_bytes(flow, Side::Client, reply, action.reply_bytes);
    case tls::ActionKind::PeerClosed:
      flow.client_closed = true;
      tcp::tcp_send_fin(use_.stack, flow.backend());
      return true;
    case tls::ActionKind::Close:
      close_with_alert(flow, action.refusal, now);
      return false;
  }
  return false;
}

// ---- Backend to client.

void Engine::seal_data(Flow& flow, Micros now) {
  while (!flow.backend_closed) {
    const uint32_t readable = flow.backend().receive.readable_bytes();
    if (readable == 0) return;
    if (tls::key_update_due(flow.keys)) {
      uint8_t* const update = reserve(flow, Side::Client, tls::kMaxReplyBytes);
      if (update == nullptr) return stall(flow);
      const uint32_t length = tls::seal_key_update(use_.records, flow.keys, update);
      if (length == 0) {
        return close_with_alert(flow, {CloseReason::sequence_exhausted, tls::Alert::none}, now);
      }
      if (!commit(flow, Side::Client, length)) return;
    }
    Pieces pieces;
    gather(flow.backend().receive, std::min(readable, tls::max_plaintext(flow.keys)), pieces);
    const uint32_t sealed_bytes = tls::sealed_size(flow.keys, pieces.length);
    if (tcp::tcp_send_space_bytes(use_.stack, flow.client()) < sealed_bytes) return;
    uint8_t* const out = reserve(flow, Side::Client, sealed_bytes);
    if (out == nullptr) return stall(flow);
    const uint32_t written = tls::seal_record(
        use_.records, flow.keys, tls::ContentType::application_data, pieces.span(), out);
    if (written == 0) {
      return close_with_alert(flow, {CloseReason::sequence_exhausted, tls::Alert::internal_error},
                              now);
    }
    SLUICE_ASSERT(written == sealed_bytes);
    tcp::tcp_consume(use_.stack, flow.backend(), pieces.length);
    flow.bytes_to_client += pieces.length;
    flow.active_at = tcp::to_millis(now);
    if (!commit(flow, Side::Client, written)) return;
  }
}

// ---- A plain relay: the received slices themselves are queued on the other side.

void Engine::pass_data(Flow& flow, Side from, Micros now) {
  const tcp::ReceiveQueue& queue = flow.side(from).receive;
  tcp::Tcb& to = flow.side(other(from));
  uint64_t& bytes = from == Side::Client ? flow.bytes_from_client : flow.bytes_to_client;
  while (queue.readable_bytes() > 0) {
    const net::Slice slice = queue.head()->slice();
    if (tcp::tcp_send_space_bytes(use_.stack, to) < slice.length) return;
    net::retain(slice.owner);
    if (!tcp::tcp_send(use_.stack, to, slice)) {
      net::release(slice.owner);
      return stall(flow);
    }
    tcp::tcp_consume(use_.stack, flow.side(from), slice.length);
    bytes += slice.length;
    flow.active_at = tcp::to_millis(now);
  }
}

// ---- Ends.

void Engine::end_directions(Flow& flow, Micros now) {
  if (!flow.backend_closed && peer_finished(flow.backend()) &&
      flow.backend().receive.readable_bytes() == 0) {
    if (flow.protocol == Protocol::Tls) {  // the room first: what is sealed must be sent
      uint8_t* const notify = reserve(flow, Side::Client, tls::kMaxReplyBytes);
      if (notify == nullptr) return stall(flow);
      const uint32_t length =
          tls::seal_alert(use_.records, flow.keys, tls::Alert::close_notify, notify);
      if (length == 0) {
        return close_with_alert(flow, {CloseReason::sequence_exhausted, tls::Alert::none}, now);
      }
      if (!commit(flow, Side::Client, length)) return;
    }
    flow.backend_closed = true;
    tcp::tcp_send_fin(use_.stack, flow.client());
  }
  if (flow.client_closed || !peer_finished(flow.client())) return;
  if (flow.protocol == Protocol::Tcp) {
    if (flow.client().receive.readable_bytes() > 0) return;
    flow.client_closed = true;
    tcp::tcp_send_fin(use_.stack, flow.backend());
    return;
  }
  // No whole record may be left that only waits for room at the backend.
  uint8_t header[abi::kRecordHeaderBytes];
  const uint32_t left = flow.client().receive.readable_bytes();
  if (flow.client().receive.peek(0, header, sizeof header) == sizeof header) {
    const tls::RecordPhase phase =
        flow.keys.tls13() ? tls::RecordPhase::Tls13 : tls::RecordPhase::Tls12;
    const tls::Frame frame =
        tls::next_record(phase, std::span<const uint8_t>(header, sizeof header));
    if (frame.verdict == tls::Verdict::Accept && frame.record_bytes <= left) return;
  }
  flow.client_closed = true;
  finish_client(flow, CloseReason::client_truncated, now);
}

// The flow ends on our word: the alert goes out sealed, then FIN; the backend sees RST.
void Engine::close_with_alert(Flow& flow, const tls::Refusal& refusal, Micros now) {
  if (refusal.alert != tls::Alert::none && flow.keys.installed()) {
    uint8_t alert[tls::kMaxReplyBytes];
    const uint32_t length = tls::seal_alert(use_.records, flow.keys, refusal.alert, alert);
    if (length != 0) {
      if (!append_bytes(flow, Side::Client, alert, length)) return;
      flow.alert_sent = static_cast<uint8_t>(refusal.alert);
    }
  }
  finish_client(flow, refusal.reason, now);
}

// ---- The backend's connection.

bool Engine::start_backend(Flow& flow, const abi::SocketAddress& backend, Micros now) {
  net::FlowTuple tuple;
  tcp::TimeWaitReuse previous;
  if (!choose_source(backend, tuple, previous, now)) return false;
  const FlowRef reference{index_of(flow), Side::Backend};
  tcp::tcp_connect(use_.stack, flow.backend(), tuple, now, &previous);
  flow.backend().ack_small = true;  // a response's tail has nothing to ride on
  flow.backend_hash = table_.hash(tuple);
  SLUICE_ASSERT(table_.insert(flow.backend_hash, reference));
  flow.hashed_backend = true;
  return true;
}

// ---- Buffers of an unfinished record.

// A record in tiny segments for which TCP found no small buffers fills the receive limit with
// packet buffers before it is whole. Its bytes move into record buffers, and the window opens
// again.
void Engine::compact_received(Flow& flow) {
  tcp::Tcb& client = flow.client();
  if (client.receive.held_bytes() < tcp::tcp_receive_limit_bytes(use_.stack, client) / 4 * 3) {
    return;
  }
  const uint32_t bytes = client.receive.readable_bytes();
  const uint32_t capacity = use_.large_buffers.capacity_bytes();
  const uint32_t count = (bytes + capacity - 1) / capacity;
  if (use_.large_buffers.available() < count || use_.stack.nodes.free_count() < count) {
    use_.counters.add(Counter::no_buffer);
    return stall(flow);
  }
  // Each turn moves the front of the queue to its end: after all of them the order is the old one.
  for (uint32_t moved = 0; moved < bytes;) {
    net::RecordBuffer* const buffer = use_.large_buffers.allocate();
    const uint32_t part = client.receive.peek(0, buffer->data(), std::min(capacity, bytes - moved));
    const bool appended = client.receive.append(use_.stack.nodes, buffer->slice(0, part),
                                                tcp::SliceNodePool::Use::InOrder);
    SLUICE_ASSERT(appended);
    tcp::tcp_consume(use_.stack, client, part);
    moved += part;
  }
}

// ---- Buffers at the end of a send queue.

// Room for `bytes` contiguous bytes that will be sent to `to`; null when no buffer is free.
uint8_t* Engine::reserve(Flow& flow, Side to, uint32_t bytes) {
  net::RecordBuffer*& owner = flow.tails.owner[number(to)];
  uint32_t& used_bytes = flow.tails.used_bytes[number(to)];
  if (owner != nullptr && owner->capacity_bytes - used_bytes >= bytes) {
    return owner->data() + used_bytes;
  }
  drop_tail(flow, to);
  net::RecordBuffer* buffer = nullptr;
  if (bytes <= use_.small_buffers.capacity_bytes()) buffer = use_.small_buffers.allocate();
  if (buffer == nullptr) buffer = use_.large_buffers.allocate();
  if (buffer == nullptr) {
    use_.counters.add(Counter::no_buffer);
    return nullptr;
  }
  SLUICE_ASSERT(bytes <= buffer->capacity_bytes);
  owner = buffer;
  used_bytes = 0;
  return buffer->data();
}

// Queues the first `bytes` of what reserve gave; behind our FIN there is nothing to say any more.
// False: the flow was aborted.
bool Engine::commit(Flow& flow, Side to, uint32_t bytes) {
  if (bytes == 0 || flow.side(to).fin_queued) return true;
  net::RecordBuffer* const owner = flow.tails.owner[number(to)];
  uint32_t& used_bytes = flow.tails.used_bytes[number(to)];
  net::retain(owner);
  if (!tcp::tcp_send(use_.stack, flow.side(to), {owner->data() + used_bytes, bytes, owner})) {
    net::release(owner);
    use_.counters.add(Counter::no_node);
    abort(flow, CloseReason::out_of_buffers);
    return false;
  }
  used_bytes += bytes;
  return true;
}

bool Engine::append_bytes(Flow& flow, Side to, const uint8_t* bytes, uint32_t length) {
  uint8_t* const out = reserve(flow, to, length);
  if (out == nullptr) {
    abort(flow, CloseReason::out_of_buffers);
    return false;
  }
  std::memcpy(out, bytes, length);
  return commit(flow, to, length);
}

void Engine::drop_tail(Flow& flow, Side side) {
  net::RecordBuffer*& owner = flow.tails.owner[number(side)];
  if (owner != nullptr) net::release(owner);
  owner = nullptr;
}

}  // namespace sluice::flow
