// The whole of sluice-control behind its configuration: the main loop with signals, attachment and
// admin socket, and the handshake threads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "control/admin.h"
#include "control/attachment.h"
#include "control/config.h"
#include "control/flow_lister.h"
#include "control/handshake/thread.h"
#include "control/loop.h"

namespace sluice::control {

class Server {
 public:
  // Makes everything and starts nothing. SIGTERM and SIGINT must be blocked.
  [[nodiscard]] static tl::expected<std::unique_ptr<Server>, std::string> create(
      ControlConfig config);
  ~Server();

  // Before the seccomp filter, which denies new threads.
  void start_threads();
  // Runs the main loop; returns the exit status when the process shall end.
  int run();

 private:
  explicit Server(ControlConfig config) : config_(std::move(config)) {}
  std::string initialise();
  std::string watch_signals();
  void on_signal();
  void begin_stop();
  void check_drained();
  void end_stop();
  void on_attached(const AttachmentPtr& attachment);
  void on_detached();

  const ControlConfig config_;
  int status_ = 0;
  bool stopping_ = false;
  uint64_t stop_by_us_ = 0;
  std::unique_ptr<Loop> loop_;
  abi::Descriptor signals_;
  std::vector<std::unique_ptr<handshake::HandshakeThread>> threads_;
  std::unique_ptr<FlowLister> lister_;
  std::unique_ptr<Attacher> attacher_;
  std::unique_ptr<Admin> admin_;
};

}  // namespace sluice::control
