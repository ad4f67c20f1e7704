// Control's end of the attachment.
//
// What answers on the socket is not trusted before it is checked: its user, the reply's shape, the
// exact number and kind of descriptors, and the region itself (Region::map). Only then does
// anything here use it: a false dataplane would be handed session keys.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "abi/attach.h"
#include "abi/attach_wire.h"

namespace sluice::abi {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRetryMs = 10;

int left_ms(Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return left > 0 ? static_cast<int>(left) : 0;
}

// A non-blocking connect succeeds at once, or the backlog is full (EAGAIN) and is tried again.
Descriptor connect_until(const std::string& path, Clock::time_point deadline, std::string& error) {
  sockaddr_un address;
  if (!make_socket_address(path, address)) {
    error = "the path of a UNIX socket has 1 to 107 bytes: " + path;
    return {};
  }
  Descriptor connection(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto* const name = reinterpret_cast<const sockaddr*>(&address);
  while (connection && connect(connection.get(), name, sizeof address) != 0) {
    if ((errno != EAGAIN && errno != EINTR) || left_ms(deadline) == 0) {
      connection.reset();
      break;
    }
    poll(nullptr, 0, kRetryMs);
  }
  if (!connection) error = system_error("cannot connect to sluice-dataplane at " + path);
  return connection;
}

bool receive_reply(int connection, Clock::time_point deadline, AttachReply& reply,
                   std::vector<Descriptor>& descriptors, std::string& error) {
  ReceiveResult result = ReceiveResult::Nothing;
  while (result == ReceiveResult::Nothing && left_ms(deadline) > 0) {
    if (!wait_readable(connection, left_ms(deadline))) continue;
    result = receive_message(connection, &reply, sizeof reply, descriptors);
  }
  switch (result) {
    case ReceiveResult::Ok:
      return true;
    case ReceiveResult::Nothing:
      error = "sluice-dataplane did not answer in time";
      break;
    case ReceiveResult::Closed:
    case ReceiveResult::Failed:
      error = "sluice-dataplane closed the connection";
      break;
    case ReceiveResult::WrongLength:
      error = "sluice-dataplane's answer has another length";
      break;
    case ReceiveResult::Truncated:
      error = "sluice-dataplane sent too many descriptors";
      break;
  }
  return false;
}

bool is_wake_socket(int fd) {
  int domain = 0;
  int type = 0;
  socklen_t length = sizeof domain;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0) return false;
  length = sizeof type;
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && domain == AF_UNIX &&
         type == SOCK_DGRAM;
}

// The reply's own claims; the descriptors and the region are checked against them afterwards.
bool reply_acceptable(const AttachReply& reply, uint32_t endpoints, std::string& error) {
  if (reply.magic != kAttachMagic) {
    error = "what answers is not sluice-dataplane";
  } else if (reply.status == static_cast<uint32_t>(AttachStatus::WrongVersion)) {
    error = "sluice-dataplane speaks ABI version " + std::to_string(reply.abi_version) +
            ", this is " + std::to_string(kAbiVersion) +
            "; install the same release of both programs";
  } else if (reply.status > static_cast<uint32_t>(AttachStatus::NoMemory)) {
    error = "sluice-dataplane gave an unknown answer";
  } else if (reply.status != static_cast<uint32_t>(AttachStatus::Ok)) {
    error = std::string("sluice-dataplane refused: ") +
            attach_status_text(static_cast<AttachStatus>(reply.status));
  } else if (reply.abi_version != kAbiVersion || reply.endpoints != endpoints ||
             !shape_valid({reply.workers, reply.endpoints}) ||
             reply.region_bytes != region_bytes({reply.workers, reply.endpoints})) {
    error = "sluice-dataplane's answer contradicts itself";
  } else {
    return true;
  }
  return false;
}

std::string printable_version(const AttachReply& reply) {
  std::string version;
  for (const char character : reply.version) {
    if (character < 0x21 || character > 0x7e) break;
    version += character;
  }
  return version;
}

bool take_over(const AttachReply& reply, std::vector<Descriptor>& descriptors,
               AttachedDataplane& taken, std::string& error) {
  if (descriptors.size() != size_t{1} + reply.workers + reply.endpoints) {
    error = "sluice-dataplane sent " + std::to_string(descriptors.size()) + " descriptors, not " +
            std::to_string(1 + reply.workers + reply.endpoints);
    return false;
  }
  const RegionShape shape{reply.workers, reply.endpoints};
  const RegionError problem =
      Region::map(descriptors[0].release(), shape, reply.epoch, taken.region);
  if (problem != RegionError::None) {
    error = region_error_text(problem);
    return false;
  }
  for (size_t i = 1; i < descriptors.size(); ++i) {
    if (!is_wake_socket(descriptors[i].get())) {
      error = "sluice-dataplane sent a wake socket of another kind";
      return false;
    }
    auto& ends = i <= reply.workers ? taken.worker_wake : taken.endpoint_wake;
    ends.push_back(std::move(descriptors[i]));
  }
  return true;
}

}  // namespace

bool attach(const std::string& path, uint32_t endpoints, int timeout_ms, AttachedDataplane& out,
            std::string& error) {
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  AttachedDataplane taken;
  taken.connection = connect_until(path, deadline, error);
  if (!taken.connection) return false;
  PeerCredentials peer;
  if (!trusted_peer(taken.connection.get(), peer)) {
    error = path + " is served by user " + std::to_string(peer.uid) + ", which is not trusted";
    return false;
  }
  AttachRequest request;
  request.abi_version = kAbiVersion;
  request.endpoints = endpoints;
  request.process_id = static_cast<uint32_t>(getpid());
  if (!send_message(taken.connection.get(), &request, sizeof request, {})) {
    error = system_error("the request to sluice-dataplane could not be sent");
    return false;
  }
  AttachReply reply;
  std::vector<Descriptor> descriptors;
  if (!receive_reply(taken.connection.get(), deadline, reply, descriptors, error)) return false;
  if (!reply_acceptable(reply, endpoints, error)) return false;
  if (!take_over(reply, descriptors, taken, error)) return false;
  taken.process_id = static_cast<uint32_t>(peer.pid);
  taken.version = printable_version(reply);
  out = std::move(taken);
  return true;
}

}  // namespace sluice::abi
