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
#include "net/checksum.h"
#include "net/nic_internal.h"
#include "net/wire.h"

namespace sluice::net {
namespace {

// For ports that only know about TCP's (virtio): IPv6 has no checksum of its own, IPv4's is
// computed here.
bool network_header_is_good(const rte_mbuf* mbuf) {
  const auto* data = rte_pktmbuf_mtod(mbuf, const uint8_t*);
  uint32_t offset = kEthernetBytes;
  if (mbuf->data_len < offset + kVlanTagBytes) return false;
  uint16_t ethertype = load_be16(data + 12);
  if (ethertype == kEthertypeVlan) {
    ethertype = load_be16(data + 16);
    offset += kVlanTagBytes;
  }
  if (ethertype == kEthertypeIpv6) return true;
  if (ethertype != kEthertypeIpv4 || mbuf->data_len < offset + kIpv4HeaderBytes) return false;
  const uint32_t length = (data[offset] & 0x0fU) * 4U;
  return length >= kIpv4HeaderBytes && mbuf->data_len >= offset + length &&
         checksum_finish(checksum_add(data + offset, length)) == 0;
}

// Whether the port vouches for both checksums. "None" of a virtual port means: not computed,
// but the data never left memory that is trusted to be whole.
bool vouched(const rte_mbuf* mbuf) {
  const uint64_t ip = mbuf->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
  const uint64_t l4 = mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
  if (l4 != RTE_MBUF_F_RX_L4_CKSUM_GOOD && l4 != RTE_MBUF_F_RX_L4_CKSUM_NONE) return false;
  if (ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD || ip == RTE_MBUF_F_RX_IP_CKSUM_NONE) return true;
  return ip == RTE_MBUF_F_RX_IP_CKSUM_UNKNOWN && network_header_is_good(mbuf);
}

// An mbuf that shows this part of its memory; what was reassembled shows less than was received.
rte_mbuf* show(BufferOwner* owner, const uint8_t* data, uint32_t length) {
  rte_mbuf* mbuf = mbuf_of(owner);
  mbuf->data_off = static_cast<uint16_t>(data - static_cast<uint8_t*>(mbuf->buf_addr));
  mbuf->data_len = static_cast<uint16_t>(length);
  return mbuf;
}

// One mbuf again, of a frame's pieces. Whoever receives it believes the port's word of its
// checksums only where this frame does.
rte_mbuf* join(const Frame& frame) {
  rte_mbuf* head = show(frame.owner, frame.data, frame.length);
  head->pkt_len = head->data_len;
  if (!frame.checksum_ok) {
    head->ol_flags &= ~(RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK);
  }
  rte_mbuf* last = head;
  for (uint16_t i = 0; i < frame.more_count; ++i) {
    const Slice& slice = frame.more[i];
    rte_mbuf* piece = show(slice.owner, slice.data, slice.length);
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

const RssMap* NicWorker::rss(uint32_t port) const { return impl_->tx[port].port->rss.get(); }

RecordPool& NicWorker::small_records() { return impl_->small; }

RecordPool& NicWorker::large_records() { return impl_->large; }

PacketBufferUse NicWorker::packet_buffer_use() {
  PacketBufferUse use;
  for (TxBatch& batch : impl_->tx) {
    if (!batch.owned) continue;
    const rte_mempool* pool = batch.port->pools[batch.queue];
    const uint32_t in_use = rte_mempool_in_use_count(pool);
    if (!batch.idle_known) batch.idle_in_use = in_use;
    batch.idle_known = true;
    const uint32_t idle = std::min(batch.idle_in_use, pool->size - 1);
    const uint32_t held = in_use > idle ? in_use - idle : 0;
    use.in_use += in_use;
    use.held_permille = std::max(use.held_permille, held * 1000 / (pool->size - idle));
  }
  return use;
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
    rte_mbuf* copy = sending_buffer(*batch.port, batch.queue);
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
