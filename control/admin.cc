// Theory of operation. A Client is shared by the set of clients and by the operations that the
// kernel is working on: its buffers live until the last of them is done. For each client
//
//   receive -> `input` -> process: one line -> handler -> queue -> `output` -> send -> ...
//
// `busy` is set from handing a line over until its answer is queued. Nothing is received while a
// request is under way or more than kMaxOutputBytes wait to be sent.
#include "control/admin.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "abi/log/log.h"

namespace sluice::control {
namespace {

constexpr size_t kMaxOutputBytes = 1024 * 1024;
constexpr size_t kReceiveBytes = 4096;
constexpr int kBacklog = 64;
constexpr uint64_t kAcceptPauseUs = 100'000;

bool somebody_answers(const sockaddr_un& address) {
  const abi::Descriptor probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  return connect(probe.get(), generic, sizeof address) == 0 || errno == EAGAIN;
}

std::string dump(const nlohmann::ordered_json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

}  // namespace

struct Admin::Client {
  abi::Descriptor socket;
  std::array<uint8_t, kReceiveBytes> chunk{};
  std::string input;
  std::string output;   // what `sending` does not hold yet
  std::string sending;  // in the kernel's hands
  size_t sent = 0;
  Loop::Id receiving = 0;
  Loop::Id idle_timer = 0;
  uint64_t active_us = 0;
  bool busy = false;
  bool last = false;  // close when everything has been sent
  bool closed = false;
};

std::string admin_result(const nlohmann::ordered_json& result) {
  return dump({{"ok", true}, {"result", result}});
}

std::string admin_error(std::string_view code, std::string_view message) {
  return dump({{"ok", false}, {"error", {{"code", code}, {"message", message}}}});
}

tl::expected<abi::Descriptor, std::string> Admin::listen(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return tl::unexpected("the admin socket's path is too long: " + path);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  struct stat info {};
  if (lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode)) return tl::unexpected(path + " is in the way and is no socket");
    if (somebody_answers(address)) {
      return tl::unexpected("another process answers on the admin socket " + path +
                            "; stop it or configure another admin_socket");
    }
    unlink(path.c_str());
  }
  abi::Descriptor listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const mode_t old_mask = umask(0177);
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  const bool bound = listener && bind(listener.get(), generic, sizeof address) == 0;
  const int error = errno;
  umask(old_mask);
  if (!bound) {
    return tl::unexpected("cannot bind the admin socket " + path + ": " + std::strerror(error));
  }
  if (::listen(listener.get(), kBacklog) != 0) {
    return tl::unexpected("cannot listen on " + path + ": " + std::strerror(errno));
  }
  return listener;
}

Admin::Admin(Loop& loop, abi::Descriptor listener, Handler handler)
    : loop_(loop), listener_(std::move(listener)), handler_(std::move(handler)) {}

Admin::~Admin() {
  if (accept_ != 0) loop_.cancel(accept_);
  if (accept_retry_ != 0) loop_.cancel_timer(accept_retry_);
  while (!clients_.empty()) close(*clients_.begin());
}

void Admin::start() {
  accept_retry_ = 0;
  accept_ = loop_.accept(listener_.get(), [this](int32_t result) { on_accept(result); });
}

void Admin::on_accept(int32_t result) {
  if (result < 0) {
    // The multishot accept has ended: descriptors are short, for example.
    accept_ = 0;
    accept_retry_ = loop_.at(Loop::now_us() + kAcceptPauseUs, [this] { start(); });
    return;
  }
  const auto client = std::make_shared<Client>();
  client->socket.reset(result);
  client->active_us = Loop::now_us();
  clients_.insert(client);
  watch_idle(client);
  if (clients_.size() > kMaxAdminClients) {
    client->last = true;
    queue(client, admin_error("busy", "too many clients; try again"));
    return;
  }
  receive(client);
}

void Admin::receive(const ClientPtr& client) {
  if (client->closed || client->last || client->receiving != 0) return;
  if (client->busy || client->output.size() > kMaxOutputBytes) return;
  client->receiving = loop_.receive(client->socket.get(), client->chunk,
                                    [this, client](int32_t got) { on_received(client, got); });
}

void Admin::on_received(const ClientPtr& client, int32_t result) {
  client->receiving = 0;
  if (result <= 0) {
    close(client);
    return;
  }
  client->active_us = Loop::now_us();
  client->input.append(reinterpret_cast<const char*>(client->chunk.data()),
                       static_cast<size_t>(result));
  process(client);
}

void Admin::process(const ClientPtr& client) {
  while (!client->closed && !client->busy && !client->last &&
         client->output.size() <= kMaxOutputBytes) {
    const size_t end = client->input.find('\n');
    if (end == std::string::npos) break;
    const std::string line = client->input.substr(0, end);
    client->input.erase(0, end + 1);
    handle_line(client, line);
  }
  if (client->input.size() > kMaxAdminRequestBytes && !client->last) {
    client->last = true;
    queue(client, admin_error("too_large", "a request has at most 64 KiB"));
  }
  receive(client);
}

void Admin::handle_line(const ClientPtr& client, const std::string& line) {
  if (line.find_first_not_of(" \t\r") == std::string::npos) return;
  const nlohmann::json request = nlohmann::json::parse(line, nullptr, false);
  if (request.is_discarded() || !request.is_object()) {
    queue(client, admin_error("bad_request", "a request is one JSON object on one line"));
    return;
  }
  client->busy = true;
  const std::weak_ptr<Client> weak = client;
  handler_(request, [this, weak](std::string answer) {
    const ClientPtr answered = weak.lock();
    if (!answered || answered->closed || !answered->busy) return;
    answered->busy = false;
    answered->active_us = Loop::now_us();
    queue(answered, answer);
    // From the loop, not from here: a handler that answers at once would recurse for each line.
    loop_.at(0, [this, answered] { process(answered); });
  });
}

void Admin::queue(const ClientPtr& client, const std::string& line) {
  client->output += line;
  send(client);
}

void Admin::send(const ClientPtr& client) {
  if (client->closed || !client->sending.empty()) return;
  if (client->output.empty()) {
    if (client->last) close(client);
    return;
  }
  client->sending.swap(client->output);
  client->sent = 0;
  on_sent(client, 0);
}

// `result` bytes of `sending` have left.
void Admin::on_sent(const ClientPtr& client, int32_t result) {
  if (client->closed) return;
  if (result < 0) {
    close(client);
    return;
  }
  client->sent += static_cast<size_t>(result);
  if (result > 0) client->active_us = Loop::now_us();
  if (client->sent == client->sending.size()) {
    client->sending.clear();
    send(client);
    process(client);  // requests that waited for room in `output`
    return;
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(client->sending.data());
  loop_.send(client->socket.get(), {bytes + client->sent, client->sending.size() - client->sent},
             [this, client](int32_t sent) { on_sent(client, sent); });
}

// A client that neither asks nor reads for kAdminIdleUs makes room for others.
void Admin::watch_idle(const ClientPtr& client) {
  client->idle_timer = loop_.at(client->active_us + kAdminIdleUs, [this, client] {
    client->idle_timer = 0;
    if (client->closed) return;
    if (Loop::now_us() >= client->active_us + kAdminIdleUs) {
      close(client);
    } else {
      watch_idle(client);
    }
  });
}

void Admin::close(const ClientPtr& client) {
  const ClientPtr held = client;  // `client` may be the set's own
  if (held->closed) return;
  held->closed = true;
  if (held->receiving != 0) loop_.cancel(held->receiving);
  if (held->idle_timer != 0) loop_.cancel_timer(held->idle_timer);
  shutdown(held->socket.get(), SHUT_RDWR);  // a send that waits for the peer ends with it
  clients_.erase(held);
}

}  // namespace sluice::control
