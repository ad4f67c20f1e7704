// Attaching to the dataplane and staying attached, on the main loop.
//
// Tries for ever, with a pause that grows to a second; logs once per change. Each attachment is a
// new region of a new epoch. A dataplane of another ABI version ends the process.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "control/loop.h"
#include "control/worker_link.h"

namespace sluice::control {

class Attacher {
 public:
  struct Callbacks {
    std::function<void(AttachmentPtr)> attached;
    std::function<void()> detached;
    std::function<void(const std::string&)> fatal;
  };

  Attacher(Loop& loop, std::string path, uint32_t endpoints, Callbacks callbacks);
  ~Attacher();
  void start();
  // Gives this life of the attachment up (a ring is broken) and attaches anew.
  void give_up(const std::string& why);
  void stop();  // detaches and tries no more

  [[nodiscard]] const AttachmentPtr& current() const { return current_; }
  [[nodiscard]] uint64_t attached_at_us() const { return attached_at_us_; }

 private:
  void attempt();
  void schedule();
  void on_event();
  void drop();

  Loop& loop_;
  const std::string path_;
  const uint32_t endpoints_;
  const Callbacks callbacks_;
  AttachmentPtr current_;
  uint64_t attached_at_us_ = 0;
  Loop::Id watch_ = 0;
  Loop::Id timer_ = 0;
  uint64_t pause_us_ = 0;
  std::string last_error_;
  bool stopped_ = false;
};

}  // namespace sluice::control
