// Endpoint 0: asks the workers for rows of their flow tables, for the admin side.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "abi/messages.h"
#include "control/loop.h"
#include "control/worker_link.h"

namespace sluice::control {

class FlowLister final : public Loop::Source, private WorkerLink::Handler {
 public:
  struct Page {
    std::string error;  // empty: the rest holds
    std::vector<abi::FlowRow> rows;
    uint32_t next_index = UINT32_MAX;  // UINT32_MAX: that was this worker's last page
  };
  using Answer = std::function<void(Page)>;

  FlowLister(Loop& loop, Loop::Task on_ring_failure)
      : loop_(loop), on_ring_failure_(std::move(on_ring_failure)) {}
  ~FlowLister() override;

  void attach(AttachmentPtr attachment);
  void detach();  // whoever waits gets an error
  [[nodiscard]] uint32_t workers() const { return link_.workers(); }

  // `answer` is called exactly once, perhaps before this returns. `max_rows` in [1, kRingSlots /
  // 2].
  void list(uint32_t worker, uint32_t first_index, uint32_t max_rows, Answer answer);

  bool poll() override;
  bool may_sleep() override { return link_.may_sleep(); }
  void woke() override { link_.woke(); }
  uint64_t longest_sleep_us() override;

 private:
  struct Request {
    uint32_t first_index = 0;
    uint32_t max_rows = 0;
    uint64_t deadline_us = 0;
    Answer answer;  // empty once it was answered (too late)
  };
  struct Lane {
    std::deque<Request> requests;  // the first is under way, when `token` is not 0
    uint64_t token = 0;
    Page page;
  };

  void on_message(uint32_t worker, const abi::MessageBuffer& message) override;
  void on_bad_message(uint32_t worker, abi::MessageError error) override;
  void on_broken_ring(uint32_t worker) override;
  void start_next(uint32_t worker);
  void expire(uint64_t now_us);

  Loop& loop_;
  Loop::Task on_ring_failure_;
  WorkerLink link_;
  Loop::Id wake_watch_ = 0;
  uint64_t next_token_ = 1;
  std::vector<Lane> lanes_;
};

}  // namespace sluice::control
