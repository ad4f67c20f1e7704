// Blocking, with a time limit on every step: an operator's command that hangs is worse than one
// that fails.
#include "control/ctl/client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace sluice::control::ctl {
namespace {

constexpr int kTimeoutMs = 10'000;
constexpr size_t kMaxAnswerBytes = 64 * 1024 * 1024;

tl::unexpected<ClientError> unreachable(std::string message) {
  return tl::unexpected(ClientError{ExitCode::Unreachable, std::move(message)});
}

bool wait_for(int fd, short events) {
  pollfd poll_for{fd, events, 0};
  return poll(&poll_for, 1, kTimeoutMs) == 1;
}

}  // namespace

tl::expected<Client, ClientError> Client::connect(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return tl::unexpected(ClientError{ExitCode::Usage, "the socket's path has 1 to 107 bytes"});
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  abi::Descriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  if (!fd || ::connect(fd.get(), generic, sizeof address) != 0) {
    return unreachable("cannot reach sluice-control at " + path + ": " + std::strerror(errno) +
                       "; is it running, and is this its admin_socket?");
  }
  return Client(std::move(fd));
}

tl::expected<nlohmann::ordered_json, ClientError> Client::ask(
    const nlohmann::ordered_json& request) {
  const std::string line = request.dump() + '\n';
  if (::send(socket_.get(), line.data(), line.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(line.size())) {
    return unreachable("sluice-control closed the connection");
  }
  size_t end = 0;
  while ((end = input_.find('\n')) == std::string::npos) {
    char chunk[65536];
    if (!wait_for(socket_.get(), POLLIN)) return unreachable("sluice-control does not answer");
    const ssize_t got = recv(socket_.get(), chunk, sizeof chunk, 0);
    if (got <= 0 || input_.size() > kMaxAnswerBytes) {
      return unreachable("sluice-control closed the connection");
    }
    input_.append(chunk, static_cast<size_t>(got));
  }
  const auto answer = nlohmann::ordered_json::parse(input_.substr(0, end), nullptr, false);
  input_.erase(0, end + 1);
  if (!answer.is_object() || !answer.contains("ok") || !answer["ok"].is_boolean()) {
    return unreachable("what answers is not sluice-control");
  }
  if (answer["ok"].get<bool>() && answer.contains("result")) return answer["result"];
  std::string message = "refused";
  if (answer.contains("error") && answer["error"].is_object()) {
    message = answer["error"].value("message", message);
  }
  return tl::unexpected(ClientError{ExitCode::Refused, message});
}

}  // namespace sluice::control::ctl
