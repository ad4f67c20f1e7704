// A worker's receive side and its exchange with the other workers.
//
// Job: bursts of frames from the worker's own queues and from its rings. A received mbuf's private
// area becomes the frame's BufferOwner here, in the worker that handles it: reference counts are
// not atomic and begin only when the frame is where it stays. An mbuf in a ring is owned by the
// ring alone. A scattered packet is taken apart into single mbufs, so that each piece can be kept
// or freed on its own, and joined again when it is handed over.
#include <rte_ethdev.h>

#include <algorithm>

#include "abi/assert.h"
#include "net/nic_internal.h"

namespace sluice::net {
namespace {

// Whether the port vouches for both checksums. "None" of a virtual port means: not computed,
// but the data never left memory that is trusted to be whole.
bool vouched(const rte_mbuf* mbuf) {
  const uint64_t ip = mbuf->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
  const uint64_t l4 = mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
  return (ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD || ip == RTE_MBUF_F_RX_IP_CKSUM_NONE) &&
         (l4 == RTE_MBUF_F_RX_L4_CKSUM_GOOD || l4 == RTE_MBUF_F_RX_L4_CKSUM_NONE);
}

// One mbuf again, of a frame's pieces.
rte_mbuf* join(const Frame& frame) {
  rte_mbuf* head = mbuf_of(frame.owner);
  rte_mbuf* last = head;
  for (uint16_t i = 0; i < frame.more_count; ++i) {
    rte_mbuf* piece = mbuf_of(frame.more[i].owner);
    head->nb_segs = static_cast<uint16_t>(head->nb_segs + 1);
    head->pkt_len += piece->data_len;
    last->next = piece;
    last = piece;
  }
  return head;
}

}  // namespace

NicWorker::NicWorker(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

NicWorker::~NicWorker() {
  for (TxBatch& batch : impl_->tx) rte_pktmbuf_free_bulk(batch.packets, batch.count);
}

uint32_t NicWorker::index() const { return impl_->index; }

uint32_t NicWorker::ports() const { return static_cast<uint32_t>(impl_->tx.size()); }

const Interface& NicWorker::interface(uint32_t port) const {
  return impl_->tx[port].port->interface;
}

RecordPool& NicWorker::small_records() { return impl_->small; }

RecordPool& NicWorker::large_records() { return impl_->large; }

uint32_t NicWorker::packet_buffers_in_use() const {
  uint32_t in_use = 0;
  for (const TxBatch& batch : impl_->tx) {
    if (batch.owned) in_use += rte_mempool_in_use_count(batch.port->pools[batch.queue]);
  }
  return in_use;
}

bool NicWorker::packet_buffers_scarce() {
  bool scarce = false;
  for (TxBatch& batch : impl_->tx) {
    if (!batch.owned) continue;
    const rte_mempool* pool = batch.port->pools[batch.queue];
    const uint32_t in_use = rte_mempool_in_use_count(pool);
    if (!batch.idle_known) batch.idle_in_use = in_use;
    batch.idle_known = true;
    const uint32_t idle = std::min(batch.idle_in_use, pool->size);
    if (in_use > idle && in_use - idle > (pool->size - idle) / 2) scarce = true;
  }
  return scarce;
}

// Appends the packet to the batch, or drops it when its pieces find no room.
void NicWorker::Impl::to_frame(rte_mbuf* mbuf, FrameBatch& batch) {
  const uint32_t pieces = mbuf->nb_segs - 1U;
  if (pieces > kMaxFramePieces || batch.more_used + pieces > batch.more.size()) {
    counters->add(abi::Counter::no_node);
    rte_pktmbuf_free(mbuf);
    return;
  }
  Frame& frame = batch.frames[batch.count++];
  frame.port = port_index[mbuf->port];
  frame.checksum_ok = vouched(mbuf);
  frame.data = rte_pktmbuf_mtod(mbuf, uint8_t*);
  frame.length = mbuf->data_len;
  frame.owner = own(mbuf);
  frame.more = batch.more.data() + batch.more_used;
  frame.more_count = static_cast<uint16_t>(pieces);
  rte_mbuf* piece = mbuf->next;
  mbuf->next = nullptr;
  mbuf->nb_segs = 1;
  mbuf->pkt_len = mbuf->data_len;
  while (piece != nullptr) {
    rte_mbuf* next = piece->next;
    piece->next = nullptr;
    piece->nb_segs = 1;
    own(piece);
    batch.more[batch.more_used++] = slice_of(piece, 0, piece->data_len);
    piece = next;
  }
}

uint32_t NicWorker::receive(uint32_t port, FrameBatch& batch) {
  batch.count = 0;
  batch.more_used = 0;
  const TxBatch& own_queue = impl_->tx[port];
  if (!own_queue.owned) return 0;
  rte_mbuf* mbufs[abi::kBurst];
  const uint16_t count = rte_eth_rx_burst(own_queue.port->id, own_queue.queue, mbufs, abi::kBurst);
  if (count == 0) return 0;
  uint64_t bytes = 0;
  for (uint16_t i = 0; i < count; ++i) {
    if (i + 1 < count) rte_prefetch0(rte_pktmbuf_mtod(mbufs[i + 1], void*));
    bytes += mbufs[i]->pkt_len;
    // Not every driver says where a packet came from (net_ring passes on what was sent).
    mbufs[i]->port = own_queue.port->id;
    impl_->to_frame(mbufs[i], batch);
  }
  impl_->counters->add(abi::Counter::rx_packets, count);
  impl_->counters->add(abi::Counter::rx_bytes, bytes);
  return batch.count;
}

uint32_t NicWorker::receive_redirected(FrameBatch& batch) {
  batch.count = 0;
  batch.more_used = 0;
  const auto workers = static_cast<uint32_t>(impl_->from.size());
  if (workers < 2) return 0;
  rte_mbuf* mbufs[abi::kBurst];
  uint32_t room = abi::kBurst;
  for (uint32_t i = 0; i < workers && room > 0; ++i) {
    rte_ring* ring = impl_->from[(impl_->next_from + i) % workers].frames;
    if (ring == nullptr) continue;
    const unsigned count =
        rte_ring_sc_dequeue_burst(ring, reinterpret_cast<void**>(mbufs), room, nullptr);
    for (unsigned k = 0; k < count; ++k) impl_->to_frame(mbufs[k], batch);
    room -= count;
  }
  impl_->next_from = (impl_->next_from + 1) % workers;
  impl_->counters->add(abi::Counter::redirected_in, batch.count);
  return batch.count;
}

bool NicWorker::redirect(uint32_t worker, const Frame& frame) {
  SLUICE_ASSERT(worker < impl_->to.size() && worker != impl_->index);
  SLUICE_ASSERT(is_mbuf(frame.owner) && frame.owner->references == 1);
  rte_mbuf* mbuf = join(frame);
  if (rte_ring_sp_enqueue(impl_->to[worker].frames, mbuf) != 0) {
    rte_pktmbuf_free(mbuf);
    impl_->counters->add(abi::Counter::redirect_full);
    return false;
  }
  impl_->counters->add(abi::Counter::redirected_out);
  return true;
}

void NicWorker::share(const Frame& frame) {
  const TxBatch& batch = impl_->tx[frame.port];
  for (const Pair& pair : impl_->to) {
    if (pair.frames == nullptr) continue;
    rte_mbuf* copy = rte_pktmbuf_alloc(batch.port->pools[batch.queue]);
    if (copy == nullptr || frame.length > rte_pktmbuf_tailroom(copy)) {
      rte_pktmbuf_free(copy);
      impl_->counters->add(abi::Counter::redirect_full);
      continue;
    }
    rte_memcpy(rte_pktmbuf_append(copy, static_cast<uint16_t>(frame.length)), frame.data,
               frame.length);
    copy->port = batch.port->id;
    if (rte_ring_sp_enqueue(pair.frames, copy) != 0) {
      rte_pktmbuf_free(copy);
      impl_->counters->add(abi::Counter::redirect_full);
      continue;
    }
    impl_->counters->add(abi::Counter::redirected_out);
  }
}

}  // namespace sluice::net
