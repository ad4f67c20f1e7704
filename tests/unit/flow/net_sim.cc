// Packets wait in a queue by their time of arrival; two of the same moment keep their order.
#include "net_sim.h"

#include <utility>

namespace sluice::flow::test {

HeapBuffer* HeapBuffer::create(const uint8_t* data, size_t length, uint32_t truesize_bytes) {
  auto* const buffer = new HeapBuffer;
  buffer->bytes_.assign(data, data + length);
  buffer->truesize_bytes = truesize_bytes != 0 ? truesize_bytes : static_cast<uint32_t>(length);
  buffer->release = destroy;
  ++live_;
  return buffer;
}

void HeapBuffer::destroy(net::BufferOwner* owner) {
  --live_;
  delete static_cast<HeapBuffer*>(owner);
}

Wire capture(const net::Segment& segment) {
  Wire wire{segment.tuple, segment.seq,     segment.ack, segment.window,
            segment.flags, segment.options, {}};
  wire.payload.reserve(segment.payload.length);
  for (uint32_t i = 0; i < segment.payload.count; ++i) {
    const net::Slice& slice = segment.payload.pieces[i];
    wire.payload.insert(wire.payload.end(), slice.data, slice.data + slice.length);
  }
  return wire;
}

void NetSim::send(Wire wire, Micros now) {
  if (random(1000) < config_.loss_permille) return;
  const uint32_t copies = random(1000) < config_.duplicate_permille ? 2 : 1;
  for (uint32_t i = 0; i < copies; ++i) {
    const Micros jitter =
        config_.jitter_us == 0 ? 0 : random(static_cast<uint32_t>(config_.jitter_us));
    queue_.push({now + config_.delay_us + jitter, sent_++, wire});
  }
}

bool NetSim::receive(Micros now, Wire& out) {
  if (queue_.empty() || queue_.top().at > now) return false;
  out = queue_.top().wire;
  queue_.pop();
  return true;
}

}  // namespace sluice::flow::test
