#include "control/loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <thread>

namespace sluice::control::testing {
namespace {

std::unique_ptr<Loop> make_loop() {
  auto loop = Loop::create();
  EXPECT_TRUE(loop.has_value());
  return std::move(*loop);
}

struct Pair {
  abi::Descriptor ends[2];
  Pair() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ends[0].reset(fds[0]);
    ends[1].reset(fds[1]);
  }
};

TEST(Loop, TimersInOrderAndCancelled) {
  const auto loop = make_loop();
  std::string order;
  const uint64_t now = Loop::now_us();
  loop->at(now + 20'000, [&] { order += 'c'; });
  loop->at(now, [&] { order += 'a'; });
  const Loop::Id cancelled = loop->at(now + 5'000, [&] { order += 'x'; });
  loop->at(now + 10'000, [&] { order += 'b'; });
  loop->at(now + 30'000, [&] { loop->stop(); });
  loop->cancel_timer(cancelled);
  loop->cancel_timer(cancelled);
  loop->run(nullptr);
  EXPECT_EQ(order, "abc");
  EXPECT_GE(Loop::now_us(), now + 30'000);
}

TEST(Loop, PostFromAnotherThreadWakes) {
  const auto loop = make_loop();
  int posted = 0;
  std::thread other([&] {
    for (int i = 0; i < 100; ++i) loop->post([&] { ++posted; });
    loop->stop();
  });
  loop->run(nullptr);
  other.join();
  EXPECT_EQ(posted, 100);
}

TEST(Loop, SendAndReceive) {
  const auto loop = make_loop();
  const Pair pair;
  std::array<uint8_t, 16> buffer{};
  const std::string text = "hello";
  int32_t received = 0;
  loop->receive(pair.ends[0].get(), buffer, [&](int32_t result) {
    received = result;
    loop->stop();
  });
  loop->send(pair.ends[1].get(), {reinterpret_cast<const uint8_t*>(text.data()), text.size()},
             [&](int32_t result) { EXPECT_EQ(result, 5); });
  loop->run(nullptr);
  EXPECT_EQ(received, 5);
  EXPECT_EQ(std::string(buffer.begin(), buffer.begin() + 5), text);
}

TEST(Loop, WatchSeesEveryEvent) {
  const auto loop = make_loop();
  const Pair pair;
  int events = 0;
  loop->watch(pair.ends[0].get(), POLLIN, [&](int32_t) {
    char byte = 0;
    EXPECT_EQ(read(pair.ends[0].get(), &byte, 1), 1);
    if (++events == 3) {
      loop->stop();
    } else {
      EXPECT_EQ(write(pair.ends[1].get(), "x", 1), 1);
    }
  });
  EXPECT_EQ(write(pair.ends[1].get(), "x", 1), 1);
  loop->run(nullptr);
  EXPECT_EQ(events, 3);
}

TEST(Loop, CancelledOperationIsSilentAndItsBufferLives) {
  const auto loop = make_loop();
  const Pair pair;
  auto buffer = std::make_shared<std::array<uint8_t, 16>>();
  const std::weak_ptr<std::array<uint8_t, 16>> weak = buffer;
  bool called = false;
  const Loop::Id id =
      loop->receive(pair.ends[0].get(), *buffer, [&called, buffer](int32_t) { called = true; });
  buffer.reset();
  loop->cancel(id);
  EXPECT_FALSE(weak.expired());  // until the kernel has answered
  loop->at(Loop::now_us() + 20'000, [&] { loop->stop(); });
  loop->run(nullptr);
  EXPECT_FALSE(called);
  EXPECT_TRUE(weak.expired());
}

TEST(Loop, DestructionWaitsForTheKernel) {
  const Pair pair;
  auto buffer = std::make_shared<std::array<uint8_t, 16>>();
  const std::weak_ptr<std::array<uint8_t, 16>> weak = buffer;
  {
    const auto loop = make_loop();
    loop->receive(pair.ends[0].get(), *buffer, [buffer](int32_t) {});
    buffer.reset();
    loop->at(Loop::now_us(), [&] { loop->stop(); });
    loop->run(nullptr);
    EXPECT_FALSE(weak.expired());
  }
  EXPECT_TRUE(weak.expired());
}

}  // namespace
}  // namespace sluice::control::testing

namespace sluice::control {

struct LoopTestAccess {
  static int submit(Loop& loop, uint8_t operation) {
    io_uring_sqe* sqe = loop.next_sqe();
    io_uring_prep_openat(sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
    sqe->opcode = operation;
    io_uring_submit(&loop.ring_);
    io_uring_cqe* cqe = nullptr;
    if (io_uring_wait_cqe(&loop.ring_, &cqe) != 0) return 0;
    const int result = cqe->res;
    io_uring_cqe_seen(&loop.ring_, cqe);
    return result;
  }
  static int register_buffer(Loop& loop) {
    char bytes[16];
    iovec buffer{bytes, sizeof bytes};
    const long result =
        syscall(__NR_io_uring_register, loop.ring_.ring_fd, IORING_REGISTER_BUFFERS, &buffer, 1);
    return result < 0 ? errno : 0;
  }
};

namespace testing {
namespace {

// io_uring goes around seccomp: the ring itself must refuse what it is not for.
TEST(Loop, RingOpensNoFile) {
  const auto loop = make_loop();
  for (const uint8_t operation :
       {IORING_OP_OPENAT, IORING_OP_OPENAT2, IORING_OP_READ, IORING_OP_WRITE, IORING_OP_CONNECT,
        IORING_OP_SOCKET, IORING_OP_UNLINKAT, IORING_OP_TIMEOUT, IORING_OP_NOP}) {
    EXPECT_EQ(LoopTestAccess::submit(*loop, operation), -EACCES) << int{operation};
  }
  EXPECT_EQ(LoopTestAccess::register_buffer(*loop), EACCES);
}

}  // namespace
}  // namespace testing
}  // namespace sluice::control
