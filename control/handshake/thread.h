// One handshake thread: its loop, its engine, its service, and the thread that runs them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <tl/expected.hpp>

#include "control/config.h"
#include "control/handshake/context.h"
#include "control/handshake/service.h"
#include "control/loop.h"

namespace sluice::control::handshake {

class HandshakeThread {
 public:
  // `config` must outlive the thread. `on_ring_failure` is called on the handshake thread.
  [[nodiscard]] static tl::expected<std::unique_ptr<HandshakeThread>, std::string> create(
      const ControlConfig& config, uint32_t endpoint, Loop::Task on_ring_failure);
  ~HandshakeThread();

  void start();
  void stop();  // and waits for it

  // From any thread.
  void attach(AttachmentPtr attachment);
  void detach();
  [[nodiscard]] const ServiceStats& stats() const { return stats_; }

 private:
  HandshakeThread() = default;

  ServiceStats stats_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<Context> context_;
  std::unique_ptr<Service> service_;
  std::thread thread_;
};

}  // namespace sluice::control::handshake
