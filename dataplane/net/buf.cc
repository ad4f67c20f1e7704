// Packet pools and external buffers.
//
// Job: join DPDK's buffer life cycle to BufferOwner's without an atomic and without a copy. Two
// directions: a received mbuf becomes a BufferOwner (own), freed when its last reference goes; a
// BufferOwner's bytes become an mbuf (attach), whose freeing gives the reference back. Both ends
// of each life run on one worker's thread: an mbuf that crosses to another worker's transmit
// queue never shows an external buffer (nic_tx.cc copies).
// Limits: pools are sized at start; memory is EAL's, with IO addresses equal to virtual ones
// (--iova-mode=va, verified when DPDK starts).
#include "net/buf.h"

#include <rte_errno.h>
#include <rte_ring.h>

#include <new>

#include "abi/assert.h"

namespace sluice::net {
namespace {

constexpr uint32_t kPoolCache = 256;  // mbufs that each worker keeps in front of a pool

void release_mbuf(BufferOwner* owner) { rte_pktmbuf_free_seg(mbuf_of(owner)); }

void release_external(void*, void* owner) { release(static_cast<BufferOwner*>(owner)); }

uint32_t data_room(uint32_t data_bytes) {
  return data_bytes == 0 ? 0 : data_bytes + RTE_PKTMBUF_HEADROOM;
}

uint32_t element_bytes(uint32_t data_bytes) {
  return static_cast<uint32_t>(sizeof(rte_mbuf) + sizeof(MbufPrivate)) + data_room(data_bytes);
}

std::string why(const std::string& name, uint32_t count) {
  return "pool " + name + " of " + std::to_string(count) + " buffers: " + rte_strerror(rte_errno) +
         "; raise memory_mib";
}

void note_furthest(rte_mempool* pool, void* furthest, void* object, unsigned) {
  const uintptr_t end = reinterpret_cast<uintptr_t>(object) + pool->elt_size + pool->trailer_size;
  auto* most = static_cast<uintptr_t*>(furthest);
  if (end > *most) *most = end;
}

// Whether all objects lie where AF_XDP's driver will say that they are: behind one another from the
// beginning of the only chunk. Frames of an object beyond would vanish without a word.
bool is_one_piece(rte_mempool* pool) {
  if (pool->nb_mem_chunks != 1) return false;
  uintptr_t furthest = 0;
  rte_mempool_obj_iter(pool, note_furthest, &furthest);
  const auto start = reinterpret_cast<uintptr_t>(STAILQ_FIRST(&pool->mem_list)->addr);
  const size_t stride = rte_mempool_calc_obj_size(pool->elt_size, pool->flags, nullptr);
  return furthest <= start + pool->populated_size * stride;
}

void add_object(rte_mempool*, void* pool, void* object, unsigned) {
  static_cast<RecordPool*>(pool)->add(object);
}

}  // namespace

rte_mbuf* mbuf_of(BufferOwner* owner) {
  return reinterpret_cast<rte_mbuf*>(reinterpret_cast<uint8_t*>(owner) - sizeof(rte_mbuf));
}

bool is_mbuf(const BufferOwner* owner) { return owner->release == &release_mbuf; }

uint32_t packet_object_bytes(uint32_t data_bytes) {
  return rte_mempool_calc_obj_size(element_bytes(data_bytes), RTE_MEMPOOL_F_NO_IOVA_CONTIG,
                                   nullptr);
}

// The free buffers lie in a ring (make_packet_pool says so), with the workers' caches in front.
uint32_t shared_free_count(const rte_mempool* pool) {
  return rte_ring_count(static_cast<const rte_ring*>(pool->pool_data));
}

rte_mempool* make_packet_pool(const std::string& name, uint32_t count, uint32_t data_bytes,
                              int socket, bool one_piece, std::string& error) {
  const uint32_t cache = count >= 8 * kPoolCache ? kPoolCache : 0;
  rte_mempool* pool = rte_mempool_create_empty(name.c_str(), count, element_bytes(data_bytes),
                                               cache, sizeof(rte_pktmbuf_pool_private), socket,
                                               RTE_MEMPOOL_F_NO_IOVA_CONTIG);
  if (pool == nullptr) {
    error = why(name, count);
    return nullptr;
  }
  rte_pktmbuf_pool_private shape = {};
  shape.mbuf_data_room_size = static_cast<uint16_t>(data_room(data_bytes));
  shape.mbuf_priv_size = sizeof(MbufPrivate);
  const int set = rte_mempool_set_ops_byname(pool, "ring_mp_mc", nullptr);
  rte_pktmbuf_pool_init(pool, &shape);
  const int populated = set == 0 ? rte_mempool_populate_default(pool) : set;
  if (populated < 0) {
    rte_errno = -populated;
    error = why(name, count);
    rte_mempool_free(pool);
    return nullptr;
  }
  rte_mempool_obj_iter(pool, rte_pktmbuf_init, nullptr);
  if (one_piece && !is_one_piece(pool)) {
    error = "pool " + name + " is not in one piece (" + std::to_string(pool->nb_mem_chunks) +
            " chunks), which AF_XDP needs; use fewer packet buffers or larger hugepages";
    rte_mempool_free(pool);
    return nullptr;
  }
  return pool;
}

bool fill_record_pool(RecordPool& pool, const std::string& name, uint32_t count, int socket,
                      std::string& error) {
  rte_mempool* memory =
      rte_mempool_create_empty(name.c_str(), count, RecordPool::object_bytes(pool.capacity_bytes()),
                               0, 0, socket, RTE_MEMPOOL_F_SP_PUT | RTE_MEMPOOL_F_SC_GET);
  if (memory == nullptr) {
    error = why(name, count);
    return false;
  }
  const int populated = rte_mempool_populate_default(memory);
  if (populated < 0) {
    rte_errno = -populated;
    error = why(name, count);
    rte_mempool_free(memory);
    return false;
  }
  rte_mempool_obj_iter(memory, add_object, &pool);
  return true;
}

BufferOwner* own(rte_mbuf* mbuf) {
  BufferOwner* owner = &private_of(mbuf)->owner;
  owner->references = 1;
  owner->truesize_bytes = mbuf->pool->elt_size;
  owner->release = &release_mbuf;
  return owner;
}

void attach(rte_mbuf* mbuf, const Slice& slice) {
  SLUICE_ASSERT(slice.length <= UINT16_MAX);
  rte_mbuf_ext_shared_info* shared = &private_of(mbuf)->shared;
  shared->free_cb = &release_external;
  shared->fcb_opaque = slice.owner;
  rte_mbuf_ext_refcnt_set(shared, 1);
  rte_pktmbuf_attach_extbuf(mbuf, slice.data, reinterpret_cast<rte_iova_t>(slice.data),
                            static_cast<uint16_t>(slice.length), shared);
  mbuf->data_len = static_cast<uint16_t>(slice.length);
  mbuf->pkt_len = slice.length;
  retain(slice.owner);
}

}  // namespace sluice::net
