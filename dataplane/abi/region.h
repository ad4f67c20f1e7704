// The shared region: layout, creation (dataplane) and mapping (control).
//
//   RegionHeader | WorkerBlock x workers | EndpointBlock x endpoints | RingMemory x (w, e,
//   direction)
//
// One region lives exactly as long as one attachment of control: a new life of control gets a new
// memfd with a new epoch, so nothing that an earlier life still holds can reach the present one.
// Offsets are never stored in the region: both sides compute them from (workers, endpoints), which
// control gets in the attach reply, and check the size of the file against them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "abi/counters.h"
#include "abi/ring.h"

namespace sluice::abi {

inline constexpr uint64_t kRegionMagic = 0x31656369756c5321;  // "!Sluice1"

struct alignas(64) RegionHeader {
  uint64_t magic;
  uint32_t abi_version;
  uint32_t epoch;
  uint32_t workers;
  uint32_t endpoints;  // 1 + handshake threads; endpoint 0 is control's admin loop
  uint32_t ring_slots;
  uint32_t slot_bytes;
  uint32_t counters;
  uint32_t reserved;
  uint64_t region_bytes;
};

// Written by the worker (counters, sleeping), read by control.
struct alignas(64) WorkerBlock {
  alignas(64) std::atomic<uint32_t> sleeping;      // see sleep.h
  alignas(64) std::atomic<uint64_t> published_us;  // monotonic time of the copy
  std::atomic<uint64_t> counters[kCounters];
};

// Written by control.
struct alignas(64) EndpointBlock {
  alignas(64) std::atomic<uint32_t> sleeping;
};

enum class Direction : uint8_t { ToControl = 0, ToWorker = 1 };

struct RegionShape {
  uint32_t workers = 0;    // 1..kMaxWorkers
  uint32_t endpoints = 0;  // 2..kMaxEndpoints
};

constexpr bool shape_valid(RegionShape shape) {
  return shape.workers >= 1 && shape.workers <= kMaxWorkers && shape.endpoints >= 2 &&
         shape.endpoints <= kMaxEndpoints;
}

// `shape` assumed valid.
constexpr size_t worker_block_offset(RegionShape, uint32_t worker) {
  return sizeof(RegionHeader) + worker * sizeof(WorkerBlock);
}
constexpr size_t endpoint_block_offset(RegionShape shape, uint32_t endpoint) {
  return worker_block_offset(shape, shape.workers) + endpoint * sizeof(EndpointBlock);
}
constexpr size_t ring_offset(RegionShape shape, uint32_t worker, uint32_t endpoint, Direction d) {
  const size_t start = (endpoint_block_offset(shape, shape.endpoints) + 4095) / 4096 * 4096;
  const size_t number = (worker * shape.endpoints + endpoint) * size_t{2} + static_cast<size_t>(d);
  return start + number * sizeof(RingMemory);
}
constexpr size_t region_bytes(RegionShape shape) {
  return ring_offset(shape, shape.workers, 0, Direction::ToControl);
}

enum class RegionError : uint8_t {
  None,
  BadShape,
  CreateFailed,
  SealFailed,
  MapFailed,
  LockFailed,
  NotSealed,
  WrongSize,
  WrongMagic,
  WrongVersion,
  WrongShape,
  WrongEpoch,
};
const char* region_error_text(RegionError error);

// A mapping of a region, unmapped (and its descriptor closed) by the destructor. Movable.
class Region {
 public:
  Region() = default;
  ~Region();
  Region(Region&& other) noexcept;
  Region& operator=(Region&& other) noexcept;
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  // Dataplane: memfd of region_bytes(shape), zeroed, F_SEAL_SHRINK|GROW|SEAL, mapped shared,
  // mlocked (LockFailed is only reported through `locked()`), MADV_DONTDUMP, header written.
  static RegionError create(RegionShape shape, uint32_t epoch, Region& out);
  // Control: takes `fd` over, also when it fails. Checks F_GET_SEALS, size, then maps and checks
  // the header against `shape` and `epoch`.
  static RegionError map(int fd, RegionShape shape, uint32_t epoch, Region& out);

  bool valid() const { return base_ != nullptr; }
  bool locked() const { return locked_; }
  int fd() const { return fd_; }
  uint32_t epoch() const { return epoch_; }
  RegionShape shape() const { return shape_; }
  WorkerBlock& worker(uint32_t worker) const;        // assumed in [0, shape.workers)
  EndpointBlock& endpoint(uint32_t endpoint) const;  // assumed in [0, shape.endpoints)
  RingMemory* ring(uint32_t worker, uint32_t endpoint, Direction direction) const;

 private:
  uint8_t* base_ = nullptr;
  size_t bytes_ = 0;
  int fd_ = -1;
  uint32_t epoch_ = 0;
  RegionShape shape_;
  bool locked_ = false;
};

}  // namespace sluice::abi
