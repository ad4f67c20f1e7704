// What both ends of the attachment share: descriptors, wake sockets, and one exact datagram.
//
// Descriptors that a peer sends are ours the moment recvmsg returns, wanted or not: they go into
// owners first, then the message is judged, so that no refusal leaks one.
#include "abi/attach.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "abi/attach_wire.h"

namespace sluice::abi {
namespace {

// A peer can fill its end faster than we read: what is left wakes us once more.
constexpr int kMaxDrainReads = 64;

// Room for the descriptors of one datagram, aligned as the kernel wants it.
struct ControlBuffer {
  alignas(cmsghdr) char bytes[CMSG_SPACE(kMaxAttachDescriptors * sizeof(int))];
};

void own_descriptors(msghdr& header, std::vector<Descriptor>& descriptors) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
      descriptors.emplace_back(fd);
    }
  }
}

}  // namespace

const char* attach_status_text(AttachStatus status) {
  switch (status) {
    case AttachStatus::Ok:
      return "ok";
    case AttachStatus::WrongVersion:
      return "another ABI version";
    case AttachStatus::Busy:
      return "a sluice-control is attached already";
    case AttachStatus::BadRequest:
      return "a malformed request";
    case AttachStatus::NoMemory:
      return "no memory for the shared region";
  }
  return "unknown";
}

void Descriptor::reset(int fd) {
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
}

void wake(int fd) {
  const uint8_t byte = 1;
  // A full socket has wake-ups in it already; a peer that is gone is noticed on the connection.
  [[maybe_unused]] const ssize_t sent = send(fd, &byte, sizeof byte, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void drain_wake(int fd) {
  uint8_t bytes[8];
  for (int i = 0; i < kMaxDrainReads; ++i) {
    if (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) < 0) return;
  }
}

std::string system_error(const std::string& what) { return what + ": " + std::strerror(errno); }

bool make_socket_address(const std::string& path, sockaddr_un& out) {
  out = sockaddr_un{};
  out.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof out.sun_path || path.find('\0') != std::string::npos) {
    return false;
  }
  std::memcpy(out.sun_path, path.data(), path.size());
  return true;
}

bool trusted_peer(int socket, PeerCredentials& peer) {
  ucred credentials{};
  socklen_t length = sizeof credentials;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0 ||
      length != sizeof credentials) {
    return false;
  }
  peer = {credentials.uid, credentials.pid};
  return credentials.uid == 0 || credentials.uid == geteuid();
}

bool wait_readable(int socket, int timeout_ms) {
  pollfd wanted{socket, POLLIN, 0};
  return poll(&wanted, 1, std::max(timeout_ms, 0)) == 1;
}

bool send_message(int socket, const void* bytes, size_t length, std::span<const int> descriptors) {
  ControlBuffer control{};
  iovec part{const_cast<void*>(bytes), length};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (descriptors.size() > kMaxAttachDescriptors) return false;
  if (!descriptors.empty()) {
    header.msg_control = control.bytes;
    header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  }
  const ssize_t sent = sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent == static_cast<ssize_t>(length);
}

ReceiveResult receive_message(int socket, void* bytes, size_t length,
                              std::vector<Descriptor>& descriptors) {
  ControlBuffer control;
  iovec part{bytes, length};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.bytes;
  header.msg_controllen = sizeof control.bytes;
  const ssize_t got = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) {
    const bool nothing = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    return nothing ? ReceiveResult::Nothing : ReceiveResult::Failed;
  }
  own_descriptors(header, descriptors);
  if ((header.msg_flags & MSG_CTRUNC) != 0) return ReceiveResult::Truncated;
  if (got == 0) return ReceiveResult::Closed;
  const bool exact = (header.msg_flags & MSG_TRUNC) == 0 && static_cast<size_t>(got) == length;
  return exact ? ReceiveResult::Ok : ReceiveResult::WrongLength;
}

}  // namespace sluice::abi
