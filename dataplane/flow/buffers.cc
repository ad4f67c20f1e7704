// The relay's buffers: where an unfinished record is put together, and where the ends of the send
// queues (Tails) grow.
#include <cstring>

#include "abi/assert.h"
#include "flow/engine.h"
#include "flow/gather.h"

namespace sluice::flow {

using abi::CloseReason;
using abi::Counter;

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

// The front record of the client's stream, whole, in pieces. One in more pieces than fit is copied
// together.
void Engine::gather_record(Flow& flow, uint32_t record_bytes, Pieces& pieces) {
  gather(flow.client().receive, record_bytes, pieces);
  if (pieces.length == record_bytes) return;
  flow.client().receive.peek(0, scratch_.get(), record_bytes);
  pieces.items[0] = {scratch_.get(), record_bytes};
  pieces.count = 1;
  pieces.length = record_bytes;
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

// Queues bytes that stand in `owner`; behind our FIN there is nothing to say any more. False: the
// flow was aborted.
bool Engine::send_bytes(Flow& flow, Side to, net::RecordBuffer* owner, uint8_t* data,
                        uint32_t bytes) {
  if (bytes == 0 || flow.side(to).fin_queued) return true;
  net::retain(owner);
  if (tcp::tcp_send(use_.stack, flow.side(to), {data, bytes, owner})) return true;
  net::release(owner);
  use_.counters.add(Counter::no_node);
  abort(flow, CloseReason::out_of_buffers);
  return false;
}

// As send_bytes, of the first `bytes` of what reserve gave.
bool Engine::commit(Flow& flow, Side to, uint32_t bytes) {
  net::RecordBuffer* const owner = flow.tails.owner[number(to)];
  uint32_t& used_bytes = flow.tails.used_bytes[number(to)];
  if (!send_bytes(flow, to, owner, owner->data() + used_bytes, bytes)) return false;
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
