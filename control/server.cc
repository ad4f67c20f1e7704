// Theory of operation. The main loop never computes a handshake and the handshake threads never
// touch the admin socket. An attachment is shared by all: endpoint 0 is the main loop's
// (FlowLister), endpoint 1 + i is handshake thread i's.
//
// SIGTERM or SIGINT: handshakes under way get kDrainUs to finish, and the process ends at the first
// moment when none is. Handshakes that begin meanwhile are served: a flow that a worker has given
// to control cannot be given back, and would be closed. A second signal ends at once.
#include "control/server.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "abi/log/log.h"
#include "control/admin_answers.h"

namespace sluice::control {
namespace {

constexpr uint64_t kDrainUs = 5'000'000;
constexpr uint64_t kDrainCheckUs = 20'000;
// The workers take the last InstallKeys out of their rings before the attachment ends.
constexpr uint64_t kLingerUs = 100'000;

}  // namespace

tl::expected<std::unique_ptr<Server>, std::string> Server::create(ControlConfig config) {
  std::unique_ptr<Server> server(new Server(std::move(config)));
  if (std::string error = server->initialise(); !error.empty()) return tl::unexpected(error);
  return server;
}

Server::~Server() {
  for (const auto& thread : threads_) thread->stop();
}

std::string Server::initialise() {
  auto loop = Loop::create();
  if (!loop) return loop.error();
  loop_ = std::move(*loop);
  if (std::string error = watch_signals(); !error.empty()) return error;
  const auto give_up = [this](const char* why) {
    loop_->post([this, why] { attacher_->give_up(why); });
  };
  for (uint32_t i = 0; i < config_.handshake_threads; ++i) {
    auto thread = handshake::HandshakeThread::create(
        config_, 1 + i, [give_up] { give_up("a ring of a handshake thread is broken"); });
    if (!thread) return thread.error();
    threads_.push_back(std::move(*thread));
  }
  lister_ = std::make_unique<FlowLister>(*loop_,
                                         [give_up] { give_up("a ring of endpoint 0 is broken"); });
  attacher_ = std::make_unique<Attacher>(
      *loop_, config_.dataplane.control_socket, 1 + config_.handshake_threads,
      Attacher::Callbacks{[this](const AttachmentPtr& attachment) { on_attached(attachment); },
                          [this] { on_detached(); },
                          [this](const std::string& error) {
                            log::error("cannot work with this dataplane", {{"reason", error}});
                            status_ = 1;
                            end_stop();
                          }});
  auto listener = Admin::listen(config_.admin_socket);
  if (!listener) return listener.error();
  std::vector<const handshake::ServiceStats*> stats;
  for (const auto& thread : threads_) stats.push_back(&thread->stats());
  const AdminSources sources{config_, *attacher_, *lister_, stats, Loop::now_us()};
  admin_ =
      std::make_unique<Admin>(*loop_, std::move(*listener),
                              [sources](const nlohmann::json& request, Admin::Respond respond) {
                                answer_admin(sources, request, std::move(respond));
                              });
  return {};
}

std::string Server::watch_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  signals_.reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return std::string("signalfd: ") + std::strerror(errno);
  loop_->watch(signals_.get(), POLLIN, [this](int32_t) { on_signal(); });
  return {};
}

void Server::on_signal() {
  signalfd_siginfo info{};
  while (read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (stopping_) {
      end_stop();
    } else {
      begin_stop();
    }
  }
}

void Server::start_threads() {
  for (const auto& thread : threads_) thread->start();
}

int Server::run() {
  log::info("sluice-control is up", {{"version", SLUICE_VERSION},
                                     {"pid", getpid()},
                                     {"handshake_threads", config_.handshake_threads},
                                     {"hosts", config_.hosts.size()},
                                     {"admin_socket", config_.admin_socket}});
  admin_->start();
  attacher_->start();
  loop_->run(lister_.get());
  for (const auto& thread : threads_) thread->stop();
  if (status_ == 0) log::info("sluice-control has stopped");
  return status_;
}

void Server::begin_stop() {
  stopping_ = true;
  stop_by_us_ = Loop::now_us() + kDrainUs;
  log::info("stopping; handshakes under way may finish");
  check_drained();
}

void Server::check_drained() {
  uint64_t in_flight = 0;
  for (const auto& thread : threads_) in_flight += thread->stats().in_flight;
  const uint64_t now = Loop::now_us();
  if (in_flight != 0 && now < stop_by_us_) {
    loop_->at(now + kDrainCheckUs, [this] { check_drained(); });
    return;
  }
  loop_->at(now + kLingerUs, [this] { end_stop(); });
}

void Server::end_stop() {
  attacher_->stop();
  loop_->stop();
}

void Server::on_attached(const AttachmentPtr& attachment) {
  lister_->attach(attachment);
  for (const auto& thread : threads_) thread->attach(attachment);
}

void Server::on_detached() {
  lister_->detach();
  for (const auto& thread : threads_) thread->detach();
}

}  // namespace sluice::control
