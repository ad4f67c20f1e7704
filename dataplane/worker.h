// A worker: one processor, one thread, one loop. It joins the NIC to the flow engine and owns
// everything that the loop touches.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "abi/attach.h"
#include "abi/config/dataplane_config.h"
#include "abi/counters.h"
#include "net/nic.h"
#include "tcp/stack.h"

namespace sluice::dataplane {

// What a worker needs to know of one life of control. Made by the control link, on the main
// thread; valid until every worker has let go of it.
struct ControlLife {
  abi::AttachedControl attached;
};

// The hand-over of a ControlLife between the main thread and one worker: the main thread writes
// `wanted`, the worker takes it up at its next turn and says so in `held`.
struct alignas(64) ControlSlot {
  std::atomic<ControlLife*> wanted{nullptr};
  std::atomic<ControlLife*> held{nullptr};
};

struct WorkerSettings {
  uint16_t number = 0;
  uint16_t workers = 1;
  const abi::config::DataplaneConfig* config = nullptr;
  uint8_t hash_key[16] = {};  // the same for all workers: it also chooses a flow's worker
  tcp::Secrets secrets;       // of cookies and initial sequence numbers; the same for all
};

class Worker {
 public:
  // Allocates everything. Null with a sentence in `error`.
  static std::unique_ptr<Worker> create(const WorkerSettings& settings, net::Nic& nic,
                                        std::string& error);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // The loop, until stop(): for net::Nic::launch.
  static int run(void* worker);
  void stop() { stop_.store(true, std::memory_order_relaxed); }

  ControlSlot& control_slot() { return control_slot_; }
  // Whether a port has brought a packet elsewhere than its RSS key and table say.
  bool mispredicted() const;
  const abi::Counters& counters() const;  // when it has stopped

 private:
  struct Impl;
  explicit Worker(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
  ControlSlot control_slot_;
  std::atomic<bool> stop_{false};
};

}  // namespace sluice::dataplane
