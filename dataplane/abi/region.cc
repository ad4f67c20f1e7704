// Making and mapping the shared region.
//
// The dataplane makes it and need not distrust its size; control gets a descriptor from another
// process and does: without F_SEAL_SHRINK a truncation by the peer would be a SIGBUS here. A fresh
// memfd reads as zeroes, which is the initial state of every block and ring, so nothing is
// constructed but the header. Pages are allocated at once (fallocate), so that a lack of memory is
// an error now and not a SIGBUS later.
#include "abi/region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "abi/assert.h"

namespace sluice::abi {
namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

struct Mapping {
  uint8_t* base = nullptr;
  bool locked = false;
};

// Maps, keeps out of core dumps and away from children, and locks if the limits allow.
Mapping map_shared(int fd, size_t bytes) {
  Mapping mapping;
  void* const base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) return mapping;
  // Keys pass through this memory: without both of these it is not usable.
  if (madvise(base, bytes, MADV_DONTDUMP) != 0 || madvise(base, bytes, MADV_DONTFORK) != 0) {
    munmap(base, bytes);
    return mapping;
  }
  mapping.base = static_cast<uint8_t*>(base);
  mapping.locked = mlock(base, bytes) == 0;
  return mapping;
}

RegionHeader make_header(RegionShape shape, uint32_t epoch) {
  RegionHeader header{};
  header.magic = kRegionMagic;
  header.abi_version = kAbiVersion;
  header.epoch = epoch;
  header.workers = shape.workers;
  header.endpoints = shape.endpoints;
  header.ring_slots = kRingSlots;
  header.slot_bytes = kSlotBytes;
  header.counters = kCounters;
  header.region_bytes = region_bytes(shape);
  return header;
}

RegionError compare(const RegionHeader& found, const RegionHeader& expected) {
  if (found.magic != expected.magic) return RegionError::WrongMagic;
  if (found.abi_version != expected.abi_version) return RegionError::WrongVersion;
  if (found.workers != expected.workers || found.endpoints != expected.endpoints ||
      found.ring_slots != expected.ring_slots || found.slot_bytes != expected.slot_bytes ||
      found.counters != expected.counters || found.region_bytes != expected.region_bytes) {
    return RegionError::WrongShape;
  }
  return found.epoch == expected.epoch ? RegionError::None : RegionError::WrongEpoch;
}

RegionError check_file(int fd, size_t bytes) {
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) return RegionError::NotSealed;
  struct stat status {};
  if (fstat(fd, &status) != 0 || status.st_size < 0) return RegionError::WrongSize;
  return static_cast<size_t>(status.st_size) == bytes ? RegionError::None : RegionError::WrongSize;
}

}  // namespace

const char* region_error_text(RegionError error) {
  switch (error) {
    case RegionError::None:
      return "none";
    case RegionError::BadShape:
      return "the number of workers or endpoints is out of range";
    case RegionError::CreateFailed:
      return "no memory for the shared region";
    case RegionError::SealFailed:
      return "the shared region could not be sealed";
    case RegionError::MapFailed:
      return "the shared region could not be mapped";
    case RegionError::LockFailed:
      return "the shared region could not be locked in memory";
    case RegionError::NotSealed:
      return "the shared region is not sealed";
    case RegionError::WrongSize:
      return "the shared region has another size";
    case RegionError::WrongMagic:
      return "the shared region is not one of Sluice";
    case RegionError::WrongVersion:
      return "the shared region has another ABI version";
    case RegionError::WrongShape:
      return "the shared region has another shape";
    case RegionError::WrongEpoch:
      return "the shared region belongs to another epoch";
  }
  return "unknown";
}

RegionError Region::create(RegionShape shape, uint32_t epoch, Region& out) {
  if (!shape_valid(shape)) return RegionError::BadShape;
  Region region;
  region.bytes_ = region_bytes(shape);
  region.epoch_ = epoch;
  region.shape_ = shape;
  region.fd_ = memfd_create("sluice-region", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (region.fd_ < 0 || fallocate(region.fd_, 0, 0, static_cast<off_t>(region.bytes_)) != 0) {
    return RegionError::CreateFailed;
  }
  if (fcntl(region.fd_, F_ADD_SEALS, kSeals) != 0) return RegionError::SealFailed;
  const Mapping mapping = map_shared(region.fd_, region.bytes_);
  if (mapping.base == nullptr) return RegionError::MapFailed;
  region.base_ = mapping.base;
  region.locked_ = mapping.locked;
  const RegionHeader header = make_header(shape, epoch);
  std::memcpy(region.base_, &header, sizeof header);
  out = std::move(region);
  return RegionError::None;
}

RegionError Region::map(int fd, RegionShape shape, uint32_t epoch, Region& out) {
  Region region;
  region.fd_ = fd;
  if (!shape_valid(shape)) return RegionError::BadShape;
  region.bytes_ = region_bytes(shape);
  region.epoch_ = epoch;
  region.shape_ = shape;
  if (const RegionError error = check_file(fd, region.bytes_); error != RegionError::None) {
    return error;
  }
  const Mapping mapping = map_shared(fd, region.bytes_);
  if (mapping.base == nullptr) return RegionError::MapFailed;
  region.base_ = mapping.base;
  region.locked_ = mapping.locked;
  RegionHeader header;  // a copy: the peer can write to the original while it is compared
  std::memcpy(&header, region.base_, sizeof header);
  const RegionError error = compare(header, make_header(shape, epoch));
  if (error == RegionError::None) out = std::move(region);
  return error;
}

Region::~Region() {
  if (base_ != nullptr) munmap(base_, bytes_);
  if (fd_ >= 0) close(fd_);
}

Region::Region(Region&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      fd_(std::exchange(other.fd_, -1)),
      epoch_(other.epoch_),
      shape_(other.shape_),
      locked_(other.locked_) {}

Region& Region::operator=(Region&& other) noexcept {
  if (this == &other) return *this;
  std::swap(base_, other.base_);
  std::swap(bytes_, other.bytes_);
  std::swap(fd_, other.fd_);
  std::swap(epoch_, other.epoch_);
  std::swap(shape_, other.shape_);
  std::swap(locked_, other.locked_);
  Region old(std::move(other));  // what this object held before ends now, not with `other`
  return *this;
}

WorkerBlock& Region::worker(uint32_t worker) const {
  SLUICE_ASSERT(base_ != nullptr && worker < shape_.workers);
  return *reinterpret_cast<WorkerBlock*>(base_ + worker_block_offset(shape_, worker));
}

EndpointBlock& Region::endpoint(uint32_t endpoint) const {
  SLUICE_ASSERT(base_ != nullptr && endpoint < shape_.endpoints);
  return *reinterpret_cast<EndpointBlock*>(base_ + endpoint_block_offset(shape_, endpoint));
}

RingMemory* Region::ring(uint32_t worker, uint32_t endpoint, Direction direction) const {
  SLUICE_ASSERT(base_ != nullptr && worker < shape_.workers && endpoint < shape_.endpoints);
  return reinterpret_cast<RingMemory*>(base_ + ring_offset(shape_, worker, endpoint, direction));
}

}  // namespace sluice::abi
