// Theory of operation. The connection carries nothing after the reply: whatever poll reports on it
// is looked at with one recv, and an end or an error means that the dataplane has gone. Attaching
// blocks this loop for at most kAttachTimeoutMs, when a dataplane accepts and does not answer;
// handshakes run on other threads.
#include "control/attachment.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "abi/log/log.h"

namespace sluice::control {
namespace {

constexpr int kAttachTimeoutMs = 2000;
constexpr uint64_t kFirstPauseUs = 100'000;
constexpr uint64_t kLongestPauseUs = 1'000'000;
// abi::attach answers with a sentence; this is in the one about AttachStatus::WrongVersion.
constexpr char kWrongVersion[] = "speaks ABI version";

}  // namespace

Attacher::Attacher(Loop& loop, std::string path, uint32_t endpoints, Callbacks callbacks)
    : loop_(loop),
      path_(std::move(path)),
      endpoints_(endpoints),
      callbacks_(std::move(callbacks)) {}

Attacher::~Attacher() { stop(); }

void Attacher::start() {
  pause_us_ = kFirstPauseUs;
  attempt();
}

void Attacher::attempt() {
  timer_ = 0;
  if (stopped_ || current_) return;
  auto attached = std::make_shared<abi::AttachedDataplane>();
  std::string error;
  if (!abi::attach(path_, endpoints_, kAttachTimeoutMs, *attached, error)) {
    if (error.find(kWrongVersion) != std::string::npos) {
      callbacks_.fatal(error);
      return;
    }
    if (error != last_error_) {
      log::warning("not attached to the dataplane; trying on",
                   {{"socket", path_}, {"reason", error}});
      last_error_ = error;
    }
    schedule();
    return;
  }
  const abi::Region& region = attached->region;
  log::info("attached to the dataplane", {{"socket", path_},
                                          {"pid", attached->process_id},
                                          {"version", attached->version},
                                          {"epoch", region.epoch()},
                                          {"workers", region.shape().workers},
                                          {"endpoints", region.shape().endpoints}});
  if (!region.locked()) log::warning("the shared region is not locked in memory");
  last_error_.clear();
  pause_us_ = kFirstPauseUs;
  current_ = std::move(attached);
  attached_at_us_ = Loop::now_us();
  // The capture keeps the descriptor open for as long as the kernel watches it.
  watch_ = loop_.watch(current_->connection.get(), POLLIN | POLLRDHUP,
                       [this, held = current_](int32_t) { on_event(); });
  callbacks_.attached(current_);
}

void Attacher::on_event() {
  if (!current_) return;
  uint8_t byte = 0;
  for (;;) {
    const ssize_t got = recv(current_->connection.get(), &byte, sizeof byte, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (got > 0) continue;  // nothing is said here; read on to the end
    break;
  }
  log::warning("the dataplane has gone");
  drop();
  schedule();
}

void Attacher::give_up(const std::string& why) {
  if (!current_) return;
  log::error("giving the attachment up", {{"reason", why}});
  drop();
  schedule();
}

// Other threads may hold the attachment a little longer: shutdown ends it for the dataplane now.
void Attacher::drop() {
  loop_.cancel(watch_);
  shutdown(current_->connection.get(), SHUT_RDWR);
  current_.reset();
  callbacks_.detached();
}

void Attacher::schedule() {
  if (stopped_) return;
  timer_ = loop_.at(Loop::now_us() + pause_us_, [this] { attempt(); });
  pause_us_ = std::min(pause_us_ * 2, kLongestPauseUs);
}

void Attacher::stop() {
  stopped_ = true;
  if (timer_ != 0) loop_.cancel_timer(timer_);
  timer_ = 0;
  if (current_) drop();
}

}  // namespace sluice::control
