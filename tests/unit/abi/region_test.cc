// The region: made by one side, mapped by the other, and every false one refused by name.
#include "abi/region.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fstream>

namespace sluice::abi {
namespace {

#if defined(__has_feature)  // clang
constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

constexpr RegionShape kShape{2, 3};
constexpr uint32_t kEpoch = 5;
constexpr int kAllSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

// What a false dataplane could hand over.
struct Forgery {
  size_t bytes = region_bytes(kShape);
  int seals = kAllSeals;
  RegionHeader header{};

  Forgery() {
    header.magic = kRegionMagic;
    header.abi_version = kAbiVersion;
    header.epoch = kEpoch;
    header.workers = kShape.workers;
    header.endpoints = kShape.endpoints;
    header.ring_slots = kRingSlots;
    header.slot_bytes = kSlotBytes;
    header.counters = kCounters;
    header.region_bytes = bytes;
  }
  int make() const {
    const int fd = memfd_create("forgery", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    EXPECT_EQ(ftruncate(fd, static_cast<off_t>(bytes)), 0);
    EXPECT_EQ(pwrite(fd, &header, sizeof header, 0), static_cast<ssize_t>(sizeof header));
    if (seals != 0) {
      EXPECT_EQ(fcntl(fd, F_ADD_SEALS, seals), 0);
    }
    return fd;
  }
};

size_t open_descriptors() {
  size_t count = 0;
  for (int fd = 0; fd < 256; ++fd) count += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

TEST(Region, LayoutHasNoOverlap) {
  for (const RegionShape shape : {RegionShape{1, 2}, kShape, RegionShape{64, 9}}) {
    EXPECT_EQ(worker_block_offset(shape, 0), sizeof(RegionHeader));
    EXPECT_EQ(endpoint_block_offset(shape, 0), worker_block_offset(shape, shape.workers));
    EXPECT_GE(ring_offset(shape, 0, 0, Direction::ToControl),
              endpoint_block_offset(shape, shape.endpoints));
    size_t expected = ring_offset(shape, 0, 0, Direction::ToControl);
    EXPECT_EQ(expected % 4096, 0U);
    for (uint32_t w = 0; w < shape.workers; ++w) {
      for (uint32_t e = 0; e < shape.endpoints; ++e) {
        for (const Direction d : {Direction::ToControl, Direction::ToWorker}) {
          ASSERT_EQ(ring_offset(shape, w, e, d), expected);
          expected += sizeof(RingMemory);
        }
      }
    }
    EXPECT_EQ(region_bytes(shape), expected);
  }
}

TEST(Region, BothEndsSeeOneMemory) {
  Region dataplane;
  ASSERT_EQ(Region::create(kShape, kEpoch, dataplane), RegionError::None);
  Region control;
  ASSERT_EQ(Region::map(dup(dataplane.fd()), kShape, kEpoch, control), RegionError::None);
  EXPECT_EQ(control.epoch(), kEpoch);
  dataplane.worker(1).counters[3].store(77);
  EXPECT_EQ(control.worker(1).counters[3].load(), 77U);
  control.endpoint(2).sleeping.store(1);
  EXPECT_EQ(dataplane.endpoint(2).sleeping.load(), 1U);
  RingProducer producer(control.ring(1, 2, Direction::ToWorker));
  RingConsumer consumer(dataplane.ring(1, 2, Direction::ToWorker));
  RingConsumer other(dataplane.ring(1, 2, Direction::ToControl));
  GrantCredit credit;
  credit.header.length = sizeof credit;
  EXPECT_EQ(producer.push(&credit, sizeof credit), RingResult::Ok);
  MessageBuffer message;
  EXPECT_EQ(other.pop(message), RingResult::Empty);
  EXPECT_EQ(consumer.pop(message), RingResult::Ok);
}

TEST(Region, IsSealed) {
  Region region;
  ASSERT_EQ(Region::create(kShape, kEpoch, region), RegionError::None);
  EXPECT_EQ(fcntl(region.fd(), F_GET_SEALS) & kAllSeals, kAllSeals);
  EXPECT_NE(ftruncate(region.fd(), 0), 0);
  EXPECT_NE(ftruncate(region.fd(), static_cast<off_t>(2 * region_bytes(kShape))), 0);
  EXPECT_NE(fcntl(region.fd(), F_ADD_SEALS, F_SEAL_WRITE), 0);
  EXPECT_NE(fcntl(region.fd(), F_GETFD) & FD_CLOEXEC, 0);
}

// proc(5), VmFlags: dd is "do not include in core dumps", dc "do not copy on fork", lo "locked".
TEST(Region, StaysOutOfCoreDumpsAndChildren) {
  Region region;
  ASSERT_EQ(Region::create(kShape, kEpoch, region), RegionError::None);
  std::ifstream maps("/proc/self/smaps");
  std::string line;
  bool inside = false;
  bool seen = false;
  while (std::getline(maps, line)) {
    if (line.find("memfd:sluice-region") != std::string::npos) inside = true;
    if (!inside || line.rfind("VmFlags:", 0) != 0) continue;
    inside = false;
    seen = true;
    EXPECT_NE(line.find(" dd"), std::string::npos) << line;
    EXPECT_NE(line.find(" dc"), std::string::npos) << line;
    // Sanitizers turn mlock into a no-op that reports success.
    EXPECT_EQ(line.find(" lo") != std::string::npos, region.locked() && !kSanitized) << line;
  }
  EXPECT_TRUE(seen);
}

TEST(Region, RefusesForgeries) {
  struct Row {
    const char* name;
    void (*change)(Forgery&);
    RegionError expected;
  };
  const Row rows[] = {
      {"none", [](Forgery&) {}, RegionError::None},
      {"unsealed", [](Forgery& f) { f.seals = 0; }, RegionError::NotSealed},
      {"can shrink", [](Forgery& f) { f.seals = F_SEAL_GROW | F_SEAL_SEAL; },
       RegionError::NotSealed},
      {"can grow", [](Forgery& f) { f.seals = F_SEAL_SHRINK | F_SEAL_SEAL; },
       RegionError::NotSealed},
      {"can be sealed", [](Forgery& f) { f.seals = F_SEAL_SHRINK | F_SEAL_GROW; },
       RegionError::NotSealed},
      {"write-sealed", [](Forgery& f) { f.seals = kAllSeals | F_SEAL_WRITE; },
       RegionError::MapFailed},
      {"short", [](Forgery& f) { f.bytes -= 1; }, RegionError::WrongSize},
      {"long", [](Forgery& f) { f.bytes += 4096; }, RegionError::WrongSize},
      {"magic", [](Forgery& f) { f.header.magic ^= 1; }, RegionError::WrongMagic},
      {"version", [](Forgery& f) { f.header.abi_version += 1; }, RegionError::WrongVersion},
      {"workers", [](Forgery& f) { f.header.workers = 3; }, RegionError::WrongShape},
      {"endpoints", [](Forgery& f) { f.header.endpoints = 2; }, RegionError::WrongShape},
      {"slots", [](Forgery& f) { f.header.ring_slots *= 2; }, RegionError::WrongShape},
      {"slot size", [](Forgery& f) { f.header.slot_bytes *= 2; }, RegionError::WrongShape},
      {"counters", [](Forgery& f) { f.header.counters += 1; }, RegionError::WrongShape},
      {"bytes", [](Forgery& f) { f.header.region_bytes += 1; }, RegionError::WrongShape},
      {"epoch", [](Forgery& f) { f.header.epoch += 1; }, RegionError::WrongEpoch},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const size_t before = open_descriptors();
    Forgery forgery;
    row.change(forgery);
    {
      Region region;
      const RegionError error = Region::map(forgery.make(), kShape, kEpoch, region);
      EXPECT_EQ(error, row.expected) << region_error_text(error);
      EXPECT_EQ(region.valid(), row.expected == RegionError::None);
    }
    EXPECT_EQ(open_descriptors(), before) << "a descriptor leaked";
  }
}

TEST(Region, RefusesWhatIsNoMemfd) {
  Region region;
  EXPECT_EQ(Region::map(open("/dev/zero", O_RDWR | O_CLOEXEC), kShape, kEpoch, region),
            RegionError::NotSealed);
  EXPECT_EQ(Region::map(-1, kShape, kEpoch, region), RegionError::NotSealed);
}

TEST(Region, RefusesShapes) {
  Region region;
  for (const RegionShape shape : {RegionShape{0, 2}, RegionShape{65, 2}, RegionShape{1, 1},
                                  RegionShape{1, 10}, RegionShape{UINT32_MAX, UINT32_MAX}}) {
    EXPECT_EQ(Region::create(shape, kEpoch, region), RegionError::BadShape);
    EXPECT_EQ(Region::map(-1, shape, kEpoch, region), RegionError::BadShape);
  }
}

TEST(Region, MovesAndEnds) {
  const size_t before = open_descriptors();
  {
    Region first;
    Region second;
    ASSERT_EQ(Region::create(kShape, 1, first), RegionError::None);
    ASSERT_EQ(Region::create(kShape, 2, second), RegionError::None);
    first = std::move(second);
    EXPECT_EQ(first.epoch(), 2U);
    EXPECT_TRUE(first.valid());
    EXPECT_FALSE(second.valid());
    EXPECT_EQ(open_descriptors(), before + 1);
    const Region third(std::move(first));
    EXPECT_TRUE(third.valid());
    EXPECT_FALSE(first.valid());
  }
  EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
}  // namespace sluice::abi
