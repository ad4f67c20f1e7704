// DPDK's buffers and ours: packet pools whose mbufs carry a BufferOwner, and payload slices shown
// by mbufs as external buffers. Included by net/nic* alone.
#pragma once

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <cstdint>
#include <string>

#include "net/record_pool.h"
#include "net/segment.h"

namespace sluice::net {

// What stands in an mbuf's private area. `owner` lets a received mbuf be held like any other
// buffer. `shared` belongs to the mbuf that shows an external buffer, not to the buffer: its
// reference count is then always 1 and DPDK never needs an atomic on it; how many mbufs show one
// buffer is counted by the buffer's own BufferOwner.
struct alignas(8) MbufPrivate {
  BufferOwner owner;
  rte_mbuf_ext_shared_info shared;
  uint8_t unused[64 - sizeof(BufferOwner) - sizeof(rte_mbuf_ext_shared_info)];
};
static_assert(sizeof(MbufPrivate) == 64 && sizeof(MbufPrivate) % RTE_MBUF_PRIV_ALIGN == 0);

inline MbufPrivate* private_of(rte_mbuf* mbuf) {
  return static_cast<MbufPrivate*>(rte_mbuf_to_priv(mbuf));
}
// Only for an owner that own() has set up.
rte_mbuf* mbuf_of(BufferOwner* owner);
bool is_mbuf(const BufferOwner* owner);

// A pool of mbufs with MbufPrivate and `data_bytes` behind the headroom (0: mbufs that only show
// external buffers). Null: `error` says why. AF_XDP registers the pool's memory as one area and
// computes its size as objects times their size, so the objects must lie in one piece without
// gaps: hence NO_IOVA_CONTIG, and `one_piece` verifies it.
rte_mempool* make_packet_pool(const std::string& name, uint32_t count, uint32_t data_bytes,
                              int socket, bool one_piece, std::string& error);
// Its free buffers but for those that workers have cached; cheap enough for every packet.
uint32_t shared_free_count(const rte_mempool* pool);
// Bytes of EAL memory that one mbuf of such a pool takes.
uint32_t packet_object_bytes(uint32_t data_bytes);

// EAL memory for `count` record buffers, as the objects of an rte_mempool: drivers that register
// memory pool by pool (mlx5) see them. All objects are handed to `pool`.
bool fill_record_pool(RecordPool& pool, const std::string& name, uint32_t count, int socket,
                      std::string& error);

// Makes the received, unchained mbuf's private area its owner, with one reference.
BufferOwner* own(rte_mbuf* mbuf);
// A part of an owned mbuf; the caller has checked that it lies within the data.
inline Slice slice_of(rte_mbuf* mbuf, uint32_t offset, uint32_t length) {
  return {rte_pktmbuf_mtod_offset(mbuf, uint8_t*, offset), length, &private_of(mbuf)->owner};
}

// Lets a fresh mbuf show the slice, which is retained until the mbuf is freed - by the same
// worker. The slice lies in EAL memory and is at most 65,535 bytes long.
void attach(rte_mbuf* mbuf, const Slice& slice);

}  // namespace sluice::net
