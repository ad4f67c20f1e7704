// Theory of operation. Every operation that is under way has an entry in `operations_`; its
// user_data is (generation << 32 | index), so that a completion that comes after the entry was
// given away misses. A cancelled operation stays in the table, silent, until its last completion:
// only then does the kernel no longer write to the buffer that the completion's captures keep
// alive.
//
// Timers never reach the kernel: the earliest of `timers_` bounds how long one turn waits. A turn
// is poll the source -> dispatch completions -> run timers -> sleep if the source agrees.
#include "control/loop.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "abi/assert.h"

namespace sluice::control {
namespace {

constexpr unsigned kEntries = 256;
constexpr uint64_t kForeverUs = 3'600'000'000;
constexpr uint64_t kCancelData = 0;  // user_data of the cancellations themselves
constexpr unsigned kDrainRounds = 1000;

// What this file submits, and nothing that takes a path or opens anything.
constexpr std::array<uint8_t, 6> kAllowedOperations = {IORING_OP_POLL_ADD, IORING_OP_POLL_REMOVE,
                                                       IORING_OP_ACCEPT,   IORING_OP_RECV,
                                                       IORING_OP_SEND,     IORING_OP_ASYNC_CANCEL};

// liburing 2.3 of Debian 12 declares the wrappers of these two calls and does not export them.
int register_call(int ring_fd, unsigned opcode, void* argument, unsigned count) {
  const long result = syscall(__NR_io_uring_register, ring_fd, opcode, argument, count);
  return result < 0 ? errno : 0;
}

std::string restrict_ring(int ring_fd) {
  std::array<io_uring_restriction, kAllowedOperations.size() + 1> rules{};
  for (size_t i = 0; i < kAllowedOperations.size(); ++i) {
    rules[i].opcode = IORING_RESTRICTION_SQE_OP;
    rules[i].sqe_op = kAllowedOperations[i];
  }
  rules.back().opcode = IORING_RESTRICTION_REGISTER_OP;
  rules.back().register_op = IORING_REGISTER_ENABLE_RINGS;
  if (const int error = register_call(ring_fd, IORING_REGISTER_RESTRICTIONS, rules.data(),
                                      static_cast<unsigned>(rules.size()))) {
    return std::string("the kernel does not let io_uring be restricted (") + strerror(error) +
           "); Linux 5.10 or newer is needed";
  }
  if (const int error = register_call(ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0)) {
    return std::string("io_uring could not be enabled: ") + strerror(error);
  }
  return {};
}

}  // namespace

uint64_t Loop::now_us() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

tl::expected<std::unique_ptr<Loop>, std::string> Loop::create() {
  std::unique_ptr<Loop> loop(new Loop());
  io_uring_params params{};
  params.flags = IORING_SETUP_R_DISABLED;
  if (const int error = io_uring_queue_init_params(kEntries, &loop->ring_, &params); error < 0) {
    return tl::unexpected(std::string("io_uring is not available: ") + strerror(-error) +
                          "; check /proc/sys/kernel/io_uring_disabled and RLIMIT_MEMLOCK");
  }
  loop->ring_ready_ = true;
  if (std::string error = restrict_ring(loop->ring_.ring_fd); !error.empty()) {
    return tl::unexpected(std::move(error));
  }
  loop->post_event_.reset(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!loop->post_event_) return tl::unexpected(std::string("eventfd: ") + strerror(errno));
  Loop* const self = loop.get();
  loop->watch(self->post_event_.get(), POLLIN, [self](int32_t) { self->run_posted(); });
  return loop;
}

Loop::~Loop() {
  if (!ring_ready_) return;
  for (size_t i = 0; i < operations_.size(); ++i) {
    if (operations_[i].live) cancel(uint64_t{operations_[i].generation} << 32 | i);
  }
  const auto busy = [this] {
    return std::any_of(operations_.begin(), operations_.end(),
                       [](const Operation& operation) { return operation.live; });
  };
  for (unsigned round = 0; round < kDrainRounds && busy(); ++round) wait(1000);
  io_uring_queue_exit(&ring_);
}

io_uring_sqe* Loop::next_sqe() {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  if (sqe == nullptr) {
    io_uring_submit(&ring_);
    sqe = io_uring_get_sqe(&ring_);
  }
  SLUICE_ASSERT(sqe != nullptr);  // the kernel takes every submission in io_uring_submit
  return sqe;
}

Loop::Id Loop::begin(Completion completion) {
  if (free_.empty()) {
    operations_.emplace_back();
    free_.push_back(static_cast<uint32_t>(operations_.size() - 1));
  }
  const uint32_t index = free_.back();
  free_.pop_back();
  Operation& operation = operations_[index];
  const uint32_t generation = operation.generation;
  operation = Operation{};
  operation.generation = generation;
  operation.completion = std::move(completion);
  operation.live = true;
  return uint64_t{generation} << 32 | index;
}

Loop::Operation* Loop::find(Id id) {
  const auto index = static_cast<uint32_t>(id);
  if (index >= operations_.size()) return nullptr;
  Operation& operation = operations_[index];
  return operation.live && operation.generation == id >> 32 ? &operation : nullptr;
}

void Loop::arm_watch(Id id, const Operation& operation) {
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_poll_multishot(sqe, operation.fd, operation.events);
  io_uring_sqe_set_data64(sqe, id);
}

Loop::Id Loop::watch(int fd, uint32_t events, Completion completion) {
  const Id id = begin(std::move(completion));
  Operation& operation = *find(id);
  operation.watching = true;
  operation.fd = fd;
  operation.events = events;
  arm_watch(id, operation);
  return id;
}

Loop::Id Loop::accept(int listener, Completion completion) {
  const Id id = begin(std::move(completion));
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_multishot_accept(sqe, listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  io_uring_sqe_set_data64(sqe, id);
  return id;
}

Loop::Id Loop::receive(int fd, std::span<uint8_t> bytes, Completion completion) {
  const Id id = begin(std::move(completion));
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_recv(sqe, fd, bytes.data(), bytes.size(), 0);
  io_uring_sqe_set_data64(sqe, id);
  return id;
}

Loop::Id Loop::send(int fd, std::span<const uint8_t> bytes, Completion completion) {
  const Id id = begin(std::move(completion));
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_send(sqe, fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  io_uring_sqe_set_data64(sqe, id);
  return id;
}

void Loop::cancel(Id id) {
  Operation* operation = find(id);
  if (operation == nullptr || operation->silent) return;
  operation->silent = true;
  operation->watching = false;
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_cancel64(sqe, id, 0);
  io_uring_sqe_set_data64(sqe, kCancelData);
}

Loop::Id Loop::at(uint64_t when_us, Task task) {
  const Id id = next_timer_++;
  timers_.emplace(TimerKey{when_us, id}, std::move(task));
  timer_times_.emplace(id, when_us);
  return id;
}

void Loop::cancel_timer(Id id) {
  const auto found = timer_times_.find(id);
  if (found == timer_times_.end()) return;
  timers_.erase(TimerKey{found->second, id});
  timer_times_.erase(found);
}

void Loop::run_timers() {
  const uint64_t now = now_us();
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    const Task task = std::move(timers_.begin()->second);
    timer_times_.erase(timers_.begin()->first.second);
    timers_.erase(timers_.begin());
    task();
  }
}

uint64_t Loop::until_next_timer_us() const {
  if (timers_.empty()) return kForeverUs;
  const uint64_t now = now_us();
  const uint64_t when = timers_.begin()->first.first;
  return when > now ? std::min(when - now, kForeverUs) : 0;
}

void Loop::post(Task task) {
  {
    const std::lock_guard lock(post_mutex_);
    posted_.push_back(std::move(task));
  }
  const uint64_t one = 1;
  // A full counter means that the loop is being woken already.
  [[maybe_unused]] const ssize_t written = write(post_event_.get(), &one, sizeof one);
}

void Loop::stop() {
  post([this] { stopping_ = true; });
}

void Loop::run_posted() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = read(post_event_.get(), &count, sizeof count);
  std::vector<Task> tasks;
  {
    const std::lock_guard lock(post_mutex_);
    tasks.swap(posted_);
  }
  for (const Task& task : tasks) task();
}

// Submits what is queued, waits at most `wait_us` for a completion and dispatches all there are.
void Loop::wait(uint64_t wait_us) {
  io_uring_cqe* cqe = nullptr;
  if (wait_us == 0) {
    io_uring_submit_and_get_events(&ring_);
  } else {
    __kernel_timespec timeout{};
    timeout.tv_sec = static_cast<int64_t>(wait_us / 1'000'000);
    timeout.tv_nsec = static_cast<int64_t>(wait_us % 1'000'000 * 1000);
    io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &timeout, nullptr);
  }
  // Each completion is given back before its callback runs, because callbacks submit.
  while (io_uring_peek_cqe(&ring_, &cqe) == 0 && cqe != nullptr) {
    const uint64_t user_data = cqe->user_data;
    const int32_t result = cqe->res;
    const bool more = (cqe->flags & IORING_CQE_F_MORE) != 0;
    io_uring_cqe_seen(&ring_, cqe);
    dispatch(user_data, result, more);
  }
}

void Loop::dispatch(uint64_t user_data, int32_t result, bool more) {
  Operation* operation = find(user_data);
  if (user_data == kCancelData || operation == nullptr) return;
  // The callback may grow the table or cancel its own operation: it is called as a copy held here.
  const bool again = !more && operation->watching && !operation->silent && result >= 0;
  if (!operation->silent) {
    const Completion completion = operation->completion;
    completion(result);
    operation = find(user_data);
  }
  if (more || operation == nullptr) return;
  if (again && operation->watching) {
    arm_watch(user_data, *operation);
    return;
  }
  operation->live = false;
  operation->completion = nullptr;
  ++operation->generation;
  if (operation->generation == 0) operation->generation = 1;  // an id is never 0
  free_.push_back(static_cast<uint32_t>(user_data));
}

void Loop::run(Source* source) {
  while (!stopping_) {
    const bool busy = source != nullptr && source->poll();
    if (busy) {
      wait(0);
    } else if (source == nullptr || source->may_sleep()) {
      const uint64_t longest = source == nullptr ? kForeverUs : source->longest_sleep_us();
      wait(std::min(until_next_timer_us(), longest));
      if (source != nullptr) source->woke();
    }
    run_timers();
  }
  if (source != nullptr) source->poll();  // what the last callbacks queued still leaves
}

}  // namespace sluice::control
