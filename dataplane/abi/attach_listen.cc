// The dataplane's end of the attachment.
//
// The main thread calls accept_attach from its loop, so a client may cost it little: one that
// connects and says nothing is given kRequestWaitMs and dropped; nothing else here waits. The
// request is read before anything is refused, because closing a UNIX socket with unread data
// makes the peer lose our answer.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "abi/attach.h"
#include "abi/attach_wire.h"

#ifndef SLUICE_VERSION
#error "the build names the release in SLUICE_VERSION"
#endif

namespace sluice::abi {
namespace {

constexpr int kRequestWaitMs = 100;
constexpr int kBacklog = 8;

// Removes the socket file of a dataplane that is gone; one that answers, or a file that is no
// socket, stays and is an error.
bool remove_stale_socket(const std::string& path, const sockaddr_un& address, std::string& error) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return true;
    error = system_error(path);
    return false;
  }
  if (!S_ISSOCK(status.st_mode)) {
    error = path + " exists and is not a socket; remove it or configure another control_socket";
    return false;
  }
  const Descriptor probe(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto* const name = reinterpret_cast<const sockaddr*>(&address);
  if (!probe || connect(probe.get(), name, sizeof address) == 0 || errno != ECONNREFUSED) {
    error = "another program serves " + path + "; stop it or configure another control_socket";
    return false;
  }
  if (unlink(path.c_str()) == 0) return true;
  error = system_error("the old socket " + path + " cannot be removed");
  return false;
}

struct WakePair {
  Descriptor dataplane_end;
  Descriptor control_end;
};

bool make_wake_pair(WakePair& out) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) return false;
  out.dataplane_end.reset(ends[0]);
  out.control_end.reset(ends[1]);
  return true;
}

// The control ends go to the peer in the order of the reply and are closed here afterwards.
struct Offer {
  AttachedControl attached;
  std::vector<Descriptor> control_ends;
};

bool make_wake_pairs(uint32_t count, std::vector<Descriptor>& ours,
                     std::vector<Descriptor>& theirs) {
  for (uint32_t i = 0; i < count; ++i) {
    WakePair pair;
    if (!make_wake_pair(pair)) return false;
    ours.push_back(std::move(pair.dataplane_end));
    theirs.push_back(std::move(pair.control_end));
  }
  return true;
}

bool make_offer(RegionShape shape, uint32_t epoch, Offer& offer, std::string& message) {
  const RegionError error = Region::create(shape, epoch, offer.attached.region);
  if (error != RegionError::None) {
    message = region_error_text(error);
    return false;
  }
  if (!make_wake_pairs(shape.workers, offer.attached.worker_wake, offer.control_ends) ||
      !make_wake_pairs(shape.endpoints, offer.attached.endpoint_wake, offer.control_ends)) {
    message = system_error("no wake socket");
    return false;
  }
  return true;
}

AttachReply make_reply(AttachStatus status) {
  AttachReply reply;
  reply.abi_version = kAbiVersion;
  reply.status = static_cast<uint32_t>(status);
  reply.process_id = static_cast<uint32_t>(getpid());
  static constexpr char kVersion[] = SLUICE_VERSION;
  std::copy_n(kVersion, std::min(sizeof kVersion, sizeof reply.version) - 1, reply.version);
  return reply;
}

bool send_offer(int connection, const Offer& offer) {
  const Region& region = offer.attached.region;
  AttachReply reply = make_reply(AttachStatus::Ok);
  reply.epoch = region.epoch();
  reply.workers = region.shape().workers;
  reply.endpoints = region.shape().endpoints;
  reply.region_bytes = region_bytes(region.shape());
  std::vector<int> descriptors{region.fd()};
  for (const Descriptor& end : offer.control_ends) descriptors.push_back(end.get());
  return send_message(connection, &reply, sizeof reply, descriptors);
}

const char* request_problem(ReceiveResult result) {
  switch (result) {
    case ReceiveResult::Ok:
      return "sent a request";
    case ReceiveResult::Nothing:
      return "sent nothing in time";
    case ReceiveResult::Closed:
      return "closed before its request";
    case ReceiveResult::WrongLength:
      return "sent a request of another length";
    case ReceiveResult::Truncated:
      return "sent too many descriptors";
    case ReceiveResult::Failed:
      return "reset the connection";
  }
  return "unknown";
}

AttachStatus judge(const AttachRequest& request, bool busy) {
  if (request.magic != kAttachMagic) return AttachStatus::BadRequest;
  if (request.abi_version != kAbiVersion) return AttachStatus::WrongVersion;
  if (!shape_valid({1, request.endpoints})) return AttachStatus::BadRequest;
  return busy ? AttachStatus::Busy : AttachStatus::Ok;
}

// Reads the request. Anything but Ok has been answered, where there is somebody to answer.
AttachStatus receive_request(int connection, bool busy, AttachRequest& request,
                             std::string& message) {
  std::vector<Descriptor> unwanted;
  wait_readable(connection, kRequestWaitMs);
  const ReceiveResult result = receive_message(connection, &request, sizeof request, unwanted);
  AttachStatus status = AttachStatus::BadRequest;
  if (result != ReceiveResult::Ok) {
    message = request_problem(result);
  } else if (!unwanted.empty()) {
    message = "sent descriptors with its request";
  } else {
    status = judge(request, busy);
    message = attach_status_text(status);
    if (status == AttachStatus::WrongVersion) {
      message = "speaks ABI version " + std::to_string(request.abi_version) + ", this is " +
                std::to_string(kAbiVersion) + "; install the same release of both programs";
    }
  }
  if (status != AttachStatus::Ok) {
    const AttachReply reply = make_reply(status);
    send_message(connection, &reply, sizeof reply, {});
  }
  return status;
}

}  // namespace

Descriptor listen_attach(const std::string& path, std::string& error) {
  sockaddr_un address;
  if (!make_socket_address(path, address)) {
    error = "the path of a UNIX socket has 1 to 107 bytes, this has " +
            std::to_string(path.size()) + ": " + path;
    return {};
  }
  if (!remove_stale_socket(path, address, error)) return {};
  Descriptor listener(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto* const name = reinterpret_cast<const sockaddr*>(&address);
  // bind gives the file the mode that the socket has: nobody can connect in between.
  if (!listener || fchmod(listener.get(), 0600) != 0 ||
      bind(listener.get(), name, sizeof address) != 0 || listen(listener.get(), kBacklog) != 0) {
    error = system_error("cannot listen on " + path);
    return {};
  }
  return listener;
}

AcceptResult accept_attach(int listener, uint32_t workers, uint32_t epoch, bool busy,
                           AttachedControl& out, std::string& message) {
  Descriptor connection(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!connection) {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ECONNABORTED) {
      return AcceptResult::Nothing;
    }
    message = system_error("accept failed");
    return AcceptResult::Refused;
  }
  PeerCredentials peer;
  if (!trusted_peer(connection.get(), peer)) {
    message = "a process of user " + std::to_string(peer.uid) + " may not attach";
    return AcceptResult::Refused;
  }
  const std::string who = "process " + std::to_string(peer.pid) + ": ";
  AttachRequest request;
  const AttachStatus status = receive_request(connection.get(), busy, request, message);
  message = who + message;
  if (status != AttachStatus::Ok) return AcceptResult::Refused;
  Offer offer;
  if (!make_offer({workers, request.endpoints}, epoch, offer, message)) {
    const AttachReply reply = make_reply(AttachStatus::NoMemory);
    send_message(connection.get(), &reply, sizeof reply, {});
    return AcceptResult::Refused;
  }
  if (!send_offer(connection.get(), offer)) {
    message = system_error(who + "the reply could not be sent");
    return AcceptResult::Refused;
  }
  out = std::move(offer.attached);
  out.connection = std::move(connection);
  out.process_id = static_cast<uint32_t>(peer.pid);
  return AcceptResult::Attached;
}

}  // namespace sluice::abi
