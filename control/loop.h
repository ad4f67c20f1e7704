// A thread's event loop on io_uring: readiness, accept, receive, send, timers, and work handed over
// by other threads.
//
// The ring starts disabled, is restricted to the few operations that this file submits, and is
// enabled then: whatever else runs in this process later, it can open no file through the ring.
// One Loop belongs to one thread; only `post` and `stop` may be called from another.
#pragma once

#include <liburing.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "abi/attach.h"

namespace sluice::control {

class Loop {
 public:
  using Id = uint64_t;                                     // 0 is never given out
  using Completion = std::function<void(int32_t result)>;  // -errno, or the operation's result
  using Task = std::function<void()>;

  // Work that is looked for in every turn (the rings of shared memory) and that can be slept on.
  class Source {
   public:
    virtual ~Source() = default;
    virtual bool poll() = 0;       // true when it found something to do
    virtual bool may_sleep() = 0;  // announces the sleep; false when work came meanwhile
    virtual void woke() = 0;       // takes the announcement back
    virtual uint64_t longest_sleep_us() = 0;
  };

  [[nodiscard]] static tl::expected<std::unique_ptr<Loop>, std::string> create();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs until stop(). `source` may be null.
  void run(Source* source);
  void stop();
  void post(Task task);  // runs it on the loop's thread

  // Multishot: `completion` is called for each event, with poll(2)'s events. Edge-triggered: it
  // must read the descriptor empty.
  Id watch(int fd, uint32_t events, Completion completion);
  // Multishot: each result is a new descriptor, or -errno and the end.
  Id accept(int listener, Completion completion);
  // One shot. What `completion` captures keeps the bytes alive until the kernel has let go of them.
  Id receive(int fd, std::span<uint8_t> bytes, Completion completion);
  Id send(int fd, std::span<const uint8_t> bytes, Completion completion);
  // `completion` is not called any more; it is destroyed when the kernel has let go.
  void cancel(Id id);

  Id at(uint64_t when_us, Task task);  // once, at now_us() >= when_us
  void cancel_timer(Id id);

  [[nodiscard]] static uint64_t now_us();  // monotonic

 private:
  friend struct LoopTestAccess;  // submits what must be refused
  struct Operation {
    Completion completion;
    uint32_t generation = 1;
    bool live = false;
    bool silent = false;
    bool watching = false;  // armed again when the kernel ends it
    int fd = -1;
    uint32_t events = 0;
  };
  using TimerKey = std::pair<uint64_t, Id>;

  Loop() = default;
  io_uring_sqe* next_sqe();
  Id begin(Completion completion);
  Operation* find(Id id);
  void arm_watch(Id id, const Operation& operation);
  void wait(uint64_t wait_us);
  void dispatch(uint64_t user_data, int32_t result, bool more);
  void run_timers();
  void run_posted();
  uint64_t until_next_timer_us() const;

  io_uring ring_{};
  bool ring_ready_ = false;
  std::vector<Operation> operations_;
  std::vector<uint32_t> free_;
  std::map<TimerKey, Task> timers_;
  std::map<Id, uint64_t> timer_times_;
  Id next_timer_ = 1;
  bool stopping_ = false;
  abi::Descriptor post_event_;
  std::mutex post_mutex_;
  std::vector<Task> posted_;
};

}  // namespace sluice::control
