// A worker's transmit side.
//
// Job: turn Segments into packets on a port, cutting, checksumming and copying only what the port
// does not do itself. Per port a worker has one batch (TxBatch) that flush() gives to the port.
// Two ways for the payload:
//   attached: header mbuf -> mbufs that show the payload's slices as external buffers, each slice
//     retained until the driver frees its mbuf. Only on ports with MULTI_SEGS, within the number
//     of mbufs that they allow, on this worker's own queue (the reference counts are its own), and
//     for more than kTxCopyBytes: below that a copy is cheaper than two more mbufs.
//   copied: everything in one mbuf of the queue's pool, summed while copied. All other cases.
// A payload longer than a packet is cut here, or, on a port with TSO, handed over in pieces that
// an IPv4 length can describe.
// Limits: kTxBatch packets wait per port; a segment is put in whole or not at all, except for one
// that needs more packets than a batch has (a tiny MSS): its rest is lost as on a wire, counted.
// The last buffers of a queue are for receiving (sending_buffer).
#include <rte_ethdev.h>

#include <algorithm>
#include <cstring>

#include "abi/assert.h"
#include "net/nic_internal.h"
#include "net/wire.h"

namespace sluice::net {
namespace {

constexpr uint32_t kMaxIpLength = 65535;

// The part [offset, offset + length) of a chain, as slices. At most `most` of them; false if more.
bool slices_of(const Chain& chain, uint32_t offset, uint32_t length, uint32_t most, Chain& out) {
  out.clear();
  for (uint32_t i = 0; i < chain.count && length > 0; ++i) {
    const Slice& piece = chain.pieces[i];
    if (offset >= piece.length) {
      offset -= piece.length;
      continue;
    }
    const uint32_t run = std::min(piece.length - offset, length);
    if (out.count == most) return false;
    out.append({piece.data + offset, run, piece.owner});
    offset = 0;
    length -= run;
  }
  return true;
}

// Builds the packets of one segment for one batch.
class Builder {
 public:
  Builder(TxBatch& batch, const Segment& segment, const Mac& destination)
      : batch_(batch),
        port_(*batch.port),
        segment_(segment),
        destination_(destination),
        headers_(header_bytes(segment, port_.interface)),
        per_packet_(max_payload_bytes(segment, port_.interface)) {
    segmented_ = may_segment();
    // Whole packets' worth, within what an IP header can say.
    unit_ = segmented_ ? (kMaxIpLength - headers_) / per_packet_ * per_packet_ : per_packet_;
  }

  // False for an address family that cannot be sent.
  bool possible() const { return headers_ != 0 && per_packet_ != 0; }
  uint32_t packets() const {
    return segment_.payload.length == 0 ? 1 : (segment_.payload.length + unit_ - 1) / unit_;
  }
  Cut cut(uint32_t number) const {
    Cut part;
    part.offset = number * unit_;
    part.length = std::min(unit_, segment_.payload.length - part.offset);
    part.first = number == 0;
    part.last = part.offset + part.length == segment_.payload.length;
    return part;
  }
  // Null: no mbuf is free.
  rte_mbuf* build(const Cut& part, bool may_attach) {
    if (may_attach && port_.chains && batch_.owned && part.length > kTxCopyBytes &&
        slices_of(segment_.payload, part.offset, part.length, most_slices(part), slices_)) {
      return attached(part);
    }
    return copied(part);
  }

 private:
  bool may_segment() const {
    const Chain& payload = segment_.payload;
    if (!port_.segmentation || !batch_.owned || payload.length <= per_packet_ || headers_ == 0 ||
        per_packet_ == 0 || payload.count + 1 > port_.max_segmented_mbufs) {
      return false;
    }
    if (payload.count + 1 <= port_.max_packet_mbufs) return true;
    // Each packet that the port makes may touch only so many mbufs: with inner slices no shorter
    // than a packet it touches the header's and two more.
    for (uint32_t i = 1; i + 1 < payload.count; ++i) {
      if (payload.pieces[i].length < per_packet_) return false;
    }
    return port_.max_packet_mbufs >= 3;
  }

  uint32_t most_slices(const Cut& part) const {
    const bool tso = part.length > per_packet_;
    const uint32_t most = (tso ? port_.max_segmented_mbufs : port_.max_packet_mbufs) - 1U;
    return std::min<uint32_t>(most, abi::kMaxSegmentPieces);
  }

  // Tells the port what to complete; the headers are written. A port that completes TCP's checksum
  // alone (virtio) gets IPv4's from here.
  void set_offloads(rte_mbuf* mbuf, const Cut& part) {
    if (!port_.checksum) return;
    const bool ipv4 = segment_.tuple.local.address.is_ipv4();
    const uint32_t link = kEthernetBytes + (port_.interface.vlan != 0 ? kVlanTagBytes : 0);
    const uint32_t network = ip_header_bytes(segment_);
    mbuf->l2_len = link & 0x7fU;
    mbuf->l3_len = network & 0x1ffU;
    mbuf->l4_len = (headers_ - link - network) & 0xffU;
    mbuf->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM | (ipv4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6);
    if (ipv4 && port_.ip_checksum) {
      mbuf->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
    } else if (ipv4) {
      auto* ip = rte_pktmbuf_mtod_offset(mbuf, uint8_t*, link);
      const uint16_t sum = checksum_finish(checksum_add(ip, kIpv4HeaderBytes));
      std::memcpy(ip + 10, &sum, 2);
    }
    if (part.length > per_packet_) {
      mbuf->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
      mbuf->tso_segsz = static_cast<uint16_t>(per_packet_);
    }
  }

  ChecksumBy checksum_by(const Cut& part) const {
    if (!port_.checksum) return ChecksumBy::Software;
    return part.length > per_packet_ ? ChecksumBy::HardwareTso : ChecksumBy::Hardware;
  }

  rte_mbuf* attached(const Cut& part) {
    rte_mbuf* head = sending_buffer(port_, batch_.queue);
    if (head == nullptr) return nullptr;
    Sum sum = 0;
    if (!port_.checksum) sum = sum_chain(slices_, 0, part.length);
    auto* headers =
        reinterpret_cast<uint8_t*>(rte_pktmbuf_append(head, static_cast<uint16_t>(headers_)));
    build_headers({segment_, port_.interface, destination_, part, checksum_by(part), sum}, headers);
    rte_mbuf* last = head;
    for (uint32_t i = 0; i < slices_.count; ++i) {
      rte_mbuf* view = rte_pktmbuf_alloc(port_.view_pools[batch_.queue]);
      if (view == nullptr) {
        rte_pktmbuf_free(head);
        return nullptr;
      }
      attach(view, slices_.pieces[i]);
      last->next = view;
      last = view;
      head->nb_segs = static_cast<uint16_t>(head->nb_segs + 1);
      head->pkt_len += view->data_len;
    }
    set_offloads(head, part);
    return head;
  }

  rte_mbuf* copied(const Cut& part) {
    rte_mbuf* mbuf = sending_buffer(port_, batch_.queue);
    if (mbuf == nullptr) return nullptr;
    // The MTU, and with it every cut, fits a buffer (nic_port.cc).
    auto* out = reinterpret_cast<uint8_t*>(
        rte_pktmbuf_append(mbuf, static_cast<uint16_t>(headers_ + part.length)));
    SLUICE_ASSERT(out != nullptr);
    const Sum sum = copy_chain(segment_.payload, part.offset, part.length, out + headers_);
    build_headers({segment_, port_.interface, destination_, part, checksum_by(part), sum}, out);
    set_offloads(mbuf, part);
    return mbuf;
  }

  TxBatch& batch_;
  const Port& port_;
  const Segment& segment_;
  const Mac& destination_;
  const uint32_t headers_;
  const uint32_t per_packet_;
  uint32_t unit_ = 0;
  bool segmented_ = false;
  Chain slices_;
};

}  // namespace

void NicWorker::Impl::put(TxBatch& batch, rte_mbuf* packet) {
  batch.packets[batch.count++] = packet;
}

bool NicWorker::Impl::make_room(TxBatch& batch, uint32_t packets) {
  if (batch.count + packets <= kTxBatch) return true;
  flush_port(batch);
  return batch.count + packets <= kTxBatch;
}

// Takes packet number `at` out of the batch: the port will never send it.
void NicWorker::Impl::drop_at(TxBatch& batch, uint32_t at) {
  rte_pktmbuf_free(batch.packets[at]);
  --batch.count;
  std::memmove(batch.packets + at, batch.packets + at + 1,
               (batch.count - at) * sizeof batch.packets[0]);
  counters->add(abi::Counter::tx_full);
}

// Gives the port as much as it takes. A port that offloads may want to see packets first
// (rte_eth_tx_prepare), and what it cannot send is dropped; so is, after kTxPatience flushes, a
// packet that a port without that check keeps refusing, lest it blocks all behind it.
uint32_t NicWorker::Impl::transmit(TxBatch& batch) {
  uint16_t ready = static_cast<uint16_t>(batch.count);
  if (batch.port->checksum) {
    ready = rte_eth_tx_prepare(batch.port->id, batch.queue, batch.packets, ready);
    if (ready < batch.count) drop_at(batch, ready);
  }
  if (ready == 0) return 0;
  const uint32_t taken = rte_eth_tx_burst(batch.port->id, batch.queue, batch.packets, ready);
  batch.stalled = taken == 0 ? batch.stalled + 1 : 0;
  if (batch.stalled < kTxPatience) return taken;
  batch.stalled = 0;
  drop_at(batch, 0);
  return 0;
}

// Empties the batch into the port, or towards the worker that owns the queue, as far as it goes.
void NicWorker::Impl::flush_port(TxBatch& batch) {
  if (batch.count == 0) return;
  uint32_t taken = 0;
  if (batch.owned) {
    taken = transmit(batch);
  } else {
    for (uint32_t i = 0; i < batch.count; ++i) batch.packets[i]->port = batch.port->id;
    taken = rte_ring_sp_enqueue_burst(batch.handover, reinterpret_cast<void**>(batch.packets),
                                      batch.count, nullptr);
  }
  batch.count -= taken;
  if (taken > 0 && batch.count > 0) {
    std::memmove(batch.packets, batch.packets + taken, batch.count * sizeof batch.packets[0]);
  }
}

// Puts what workers without a queue have handed over into this worker's batches.
void NicWorker::Impl::take_handed_over() {
  for (const Pair& pair : from) {
    if (pair.packets == nullptr) continue;
    uint32_t room = kTxBatch;
    for (const TxBatch& batch : tx) room = std::min(room, kTxBatch - batch.count);
    rte_mbuf* packets[kTxBatch];
    const unsigned count =
        rte_ring_sc_dequeue_burst(pair.packets, reinterpret_cast<void**>(packets), room, nullptr);
    for (unsigned i = 0; i < count; ++i) put(tx[port_index[packets[i]->port]], packets[i]);
  }
}

bool NicWorker::send(uint32_t port, const Segment& segment, const Mac& destination) {
  TxBatch& batch = impl_->tx[port];
  Builder builder(batch, segment, destination);
  if (!builder.possible()) {
    impl_->counters->add(abi::Counter::drop_protocol);
    return false;
  }
  const uint32_t packets = builder.packets();
  if (!impl_->make_room(batch, std::min(packets, kTxBatch))) {
    impl_->counters->add(abi::Counter::tx_full, packets);
    return false;
  }
  const uint32_t before = batch.count;
  uint64_t bytes = 0;
  uint32_t built = 0;
  for (; built < packets; ++built) {
    if (!impl_->make_room(batch, 1)) {
      impl_->counters->add(abi::Counter::tx_full, packets - built);
      break;
    }
    rte_mbuf* packet = builder.build(builder.cut(built), true);
    if (packet == nullptr) {
      impl_->counters->add(abi::Counter::tx_no_buffer, packets - built);
      if (packets > kTxBatch) break;
      // Nothing of this segment has left yet: it is taken back whole.
      rte_pktmbuf_free_bulk(batch.packets + before, batch.count - before);
      batch.count = before;
      return false;
    }
    bytes += packet->pkt_len;
    impl_->put(batch, packet);
  }
  impl_->counters->add(abi::Counter::tx_packets, built);
  impl_->counters->add(abi::Counter::tx_bytes, bytes);
  return built > 0;
}

bool NicWorker::send_frame(uint32_t port, std::span<const uint8_t> frame) {
  TxBatch& batch = impl_->tx[port];
  if (!impl_->make_room(batch, 1)) {
    impl_->counters->add(abi::Counter::tx_full);
    return false;
  }
  rte_mbuf* mbuf = sending_buffer(*batch.port, batch.queue);
  if (mbuf == nullptr || frame.size() > rte_pktmbuf_tailroom(mbuf)) {
    rte_pktmbuf_free(mbuf);
    impl_->counters->add(abi::Counter::tx_no_buffer);
    return false;
  }
  rte_memcpy(rte_pktmbuf_append(mbuf, static_cast<uint16_t>(frame.size())), frame.data(),
             frame.size());
  impl_->put(batch, mbuf);
  impl_->counters->add(abi::Counter::tx_packets);
  impl_->counters->add(abi::Counter::tx_bytes, frame.size());
  return true;
}

uintptr_t NicWorker::prepare(uint32_t port, const Segment& segment) {
  const Mac unknown;
  Builder builder(impl_->tx[port], segment, unknown);
  if (!builder.possible()) {
    impl_->counters->add(abi::Counter::drop_protocol);
    return 0;
  }
  // Copied, so that a packet that waits for its address pins no record buffer.
  if (segment.payload.length > max_payload_bytes(segment, interface(port))) return 0;
  rte_mbuf* mbuf = builder.build(builder.cut(0), false);
  if (mbuf == nullptr) impl_->counters->add(abi::Counter::tx_no_buffer);
  return reinterpret_cast<uintptr_t>(mbuf);
}

bool NicWorker::send_prepared(uint32_t port, uintptr_t packet, const Mac& destination) {
  auto* mbuf = reinterpret_cast<rte_mbuf*>(packet);
  TxBatch& batch = impl_->tx[port];
  if (!impl_->make_room(batch, 1)) {
    impl_->counters->add(abi::Counter::tx_full);
    rte_pktmbuf_free(mbuf);
    return false;
  }
  std::memcpy(rte_pktmbuf_mtod(mbuf, void*), destination.bytes.data(), 6);
  impl_->counters->add(abi::Counter::tx_packets);
  impl_->counters->add(abi::Counter::tx_bytes, mbuf->pkt_len);
  impl_->put(batch, mbuf);
  return true;
}

void NicWorker::drop_prepared(uintptr_t packet) {
  rte_pktmbuf_free(reinterpret_cast<rte_mbuf*>(packet));
}

void NicWorker::flush() {
  impl_->take_handed_over();
  for (TxBatch& batch : impl_->tx) impl_->flush_port(batch);
}

bool NicWorker::pending() const {
  for (const TxBatch& batch : impl_->tx) {
    if (batch.count > 0) return true;
  }
  for (const Pair& pair : impl_->from) {
    if (pair.packets == nullptr) continue;
    if (rte_ring_empty(pair.packets) == 0 || rte_ring_empty(pair.frames) == 0) return true;
  }
  return false;
}

}  // namespace sluice::net
