// One datagram with descriptors over a UNIX SOCK_SEQPACKET socket, as both ends of the attachment
// send and receive it. Private to attach*.cc.
#pragma once

#include <sys/types.h>
#include <sys/un.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "abi/attach.h"
#include "abi/limits.h"

namespace sluice::abi {

// region + one wake socket for each worker and endpoint
inline constexpr size_t kMaxAttachDescriptors = 1 + kMaxWorkers + kMaxEndpoints;

struct PeerCredentials {
  uid_t uid = 0;
  pid_t pid = 0;
};

// "what: the system's words for errno"
std::string system_error(const std::string& what);

// False when `path` does not fit.
bool make_socket_address(const std::string& path, sockaddr_un& out);

// Who is at the other end; false when the kernel does not say, or when it is neither our own user
// nor root.
bool trusted_peer(int socket, PeerCredentials& peer);

// Waits until `socket` is readable or its peer has gone, or `timeout_ms` have passed (false).
bool wait_readable(int socket, int timeout_ms);

bool send_message(int socket, const void* bytes, size_t length, std::span<const int> descriptors);

enum class ReceiveResult : uint8_t { Ok, Nothing, Closed, WrongLength, Truncated, Failed };
// Exactly `length` bytes, or an error; never blocks. Descriptors that came are in `descriptors` and
// close-on-exec, whatever the result.
ReceiveResult receive_message(int socket, void* bytes, size_t length,
                              std::vector<Descriptor>& descriptors);

}  // namespace sluice::abi
