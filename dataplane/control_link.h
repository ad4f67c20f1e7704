// The dataplane's end of control's comings and goings, on the main thread: it listens on the
// control socket, makes one region for each life of control, and hands it to the workers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "abi/attach.h"
#include "worker.h"

namespace sluice::dataplane {

class ControlLink {
 public:
  // False with a sentence in `error` when the socket cannot be made.
  bool open(const std::string& path, std::vector<Worker*> workers, std::string& error);

  int listener_fd() const { return listener_.get(); }
  int connection_fd() const;  // -1 while nobody is attached

  // The listener is readable. A line for the log in `event`, empty when nothing happened.
  void accept(std::string& event);
  // The connection is readable: control has gone, or says what it must not say.
  void connection_event(std::string& event);
  // Takes the region away from every worker, waiting until each has let go.
  void detach();

 private:
  abi::Descriptor listener_;
  std::vector<Worker*> workers_;
  std::unique_ptr<ControlLife> life_;
  uint32_t epoch_ = 0;
};

}  // namespace sluice::dataplane
