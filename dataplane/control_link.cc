// One life of control at a time. attach: region and wake sockets are made (abi/attach), then each
// worker's slot points at them. detach: each slot is cleared and the region is unmapped only when
// every worker has said that it let go, so no worker ever touches a region that is not there.
#include "control_link.h"

#include <sys/random.h>
#include <sys/socket.h>

#include <chrono>
#include <thread>

namespace sluice::dataplane {

bool ControlLink::open(const std::string& path, std::vector<Worker*> workers, std::string& error) {
  workers_ = std::move(workers);
  // A random start: a message that an earlier dataplane's control would send cannot fit by chance.
  if (getrandom(&epoch_, sizeof epoch_, 0) != sizeof epoch_) {
    error = "getrandom failed";
    return false;
  }
  listener_ = abi::listen_attach(path, error);
  return static_cast<bool>(listener_);
}

int ControlLink::connection_fd() const {
  return life_ == nullptr ? -1 : life_->attached.connection.get();
}

void ControlLink::accept(std::string& event) {
  auto life = std::make_unique<ControlLife>();
  std::string message;
  const auto result = abi::accept_attach(listener_.get(), static_cast<uint32_t>(workers_.size()),
                                         epoch_ + 1, life_ != nullptr, life->attached, message);
  switch (result) {
    case abi::AcceptResult::Nothing:
      return;
    case abi::AcceptResult::Refused:
      event = "control refused: " + message;
      return;
    case abi::AcceptResult::Attached:
      break;
  }
  ++epoch_;
  life_ = std::move(life);
  for (Worker* const worker : workers_) {
    worker->control_slot().wanted.store(life_.get(), std::memory_order_release);
  }
  event = "control attached: process " + std::to_string(life_->attached.process_id) + ", epoch " +
          std::to_string(epoch_) + ", " +
          std::to_string(life_->attached.region.shape().endpoints - 1) + " handshake thread(s)";
  if (!life_->attached.region.locked()) {
    event += "; the shared region could not be locked into memory: raise LimitMEMLOCK";
  }
}

void ControlLink::connection_event(std::string& event) {
  if (life_ == nullptr) return;
  char byte;
  const ssize_t got = recv(life_->attached.connection.get(), &byte, 1, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  event = got > 0 ? "control broke the protocol and was detached" : "control has gone";
  event += "; established connections go on, new ones wait";
  detach();
}

void ControlLink::detach() {
  if (life_ == nullptr) return;
  for (Worker* const worker : workers_) {
    worker->control_slot().wanted.store(nullptr, std::memory_order_release);
  }
  for (Worker* const worker : workers_) {
    while (worker->control_slot().held.load(std::memory_order_acquire) != nullptr) {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }
  life_.reset();
}

}  // namespace sluice::dataplane
