// Control's end of the rings of one endpoint: one ring from and one ring to each worker.
//
// Belongs to the endpoint's thread. Every message that is delivered has been copied out of the
// region and validated. A message to a worker whose ring is full waits here, bounded; as long as
// one waits, nothing more is taken from that worker, so that what control answers with stays
// bounded too.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "abi/attach.h"
#include "abi/messages.h"
#include "abi/ring.h"
#include "abi/validate.h"

namespace sluice::control {

// One life of the attachment, shared by all threads; the region goes when the last lets go of it.
using AttachmentPtr = std::shared_ptr<const abi::AttachedDataplane>;

class WorkerLink {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    virtual void on_message(uint32_t worker, const abi::MessageBuffer& message) = 0;
    virtual void on_bad_message(uint32_t worker, abi::MessageError error) = 0;
    // A counter of this worker's rings is impossible; nothing more comes from it.
    virtual void on_broken_ring(uint32_t worker) = 0;
  };

  WorkerLink() = default;
  WorkerLink(AttachmentPtr attachment, uint32_t endpoint);

  [[nodiscard]] bool attached() const { return attachment_ != nullptr; }
  [[nodiscard]] uint32_t workers() const { return static_cast<uint32_t>(lanes_.size()); }
  [[nodiscard]] int wake_fd() const;

  // Takes at most a batch from each worker. True when anything was done.
  bool poll(Handler& handler);

  // Queues a message for the worker that its flow belongs to. False when the bound of what may wait
  // is reached, or no such worker is attached. `length` counts from the header on.
  template <class M>
  [[nodiscard]] bool send(M& message, const abi::FlowId& flow, uint32_t length = sizeof(M)) {
    abi::fill_header(message, flow, epoch_, length);
    return send_bytes(flow.core, &message, length);
  }

  // Pushes what waits, wakes the workers that sleep.
  void flush();

  // The sleep protocol of abi/sleep.h, the sleeper's side.
  [[nodiscard]] bool may_sleep();
  void woke();
  // Waiting messages are tried again after this time: nobody reports free slots.
  [[nodiscard]] bool has_waiting() const;

 private:
  struct Lane {
    abi::RingConsumer in;
    abi::RingProducer out;
    std::deque<abi::MessageBuffer> waiting;
    bool pushed = false;  // since the last flush
    bool reported = false;
  };
  bool send_bytes(uint16_t worker, const void* message, uint32_t length);
  static void push_waiting(Lane& lane);

  AttachmentPtr attachment_;
  uint32_t endpoint_ = 0;
  uint32_t epoch_ = 0;
  std::vector<Lane> lanes_;
};

}  // namespace sluice::control
