// Everything that can fail or that a sandbox would refuse is made by the thread that creates this,
// before the process enters its sandbox; the started thread only uses it.
#include "control/handshake/thread.h"

namespace sluice::control::handshake {

tl::expected<std::unique_ptr<HandshakeThread>, std::string> HandshakeThread::create(
    const ControlConfig& config, uint32_t endpoint, Loop::Task on_ring_failure) {
  std::unique_ptr<HandshakeThread> self(new HandshakeThread());
  auto loop = Loop::create();
  if (!loop) return tl::unexpected(loop.error());
  self->loop_ = std::move(*loop);
  auto context = Context::create(config);
  if (!context) return tl::unexpected(context.error());
  self->context_ = std::move(*context);
  self->service_ =
      std::make_unique<Service>(config, *self->context_, *self->loop_, endpoint, self->stats_);
  self->service_->set_ring_failure(std::move(on_ring_failure));
  return self;
}

HandshakeThread::~HandshakeThread() { stop(); }

void HandshakeThread::start() {
  thread_ = std::thread([this] { loop_->run(service_.get()); });
}

void HandshakeThread::stop() {
  if (!thread_.joinable()) return;
  loop_->stop();
  thread_.join();
}

void HandshakeThread::attach(AttachmentPtr attachment) {
  loop_->post([this, attachment = std::move(attachment)] { service_->attach(attachment); });
}

void HandshakeThread::detach() {
  loop_->post([this] { service_->detach(); });
}

}  // namespace sluice::control::handshake
