// How control attaches: one UNIX SOCK_SEQPACKET connection, one request, one reply with
// descriptors (SCM_RIGHTS). The connection stays open for the life of the attachment; its end is
// how each side learns that the other has gone.
//
//   control    -> AttachRequest{abi_version, endpoints}
//   dataplane  -> AttachReply{status, epoch, workers, endpoints, region_bytes}
//                 + fds: region memfd, wake socket of each worker, wake socket of each endpoint
//
// Wake sockets are the control ends of socketpairs (AF_UNIX, SOCK_DGRAM, non-blocking): control
// sends one byte on a worker's socket to wake it, and reads its endpoint's socket when it sleeps.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "abi/region.h"

namespace sluice::abi {

inline constexpr uint32_t kAttachMagic = 0x3143534c;  // "LSC1"

enum class AttachStatus : uint32_t {
  Ok = 0,
  WrongVersion = 1,
  Busy = 2,
  BadRequest = 3,
  NoMemory = 4
};
const char* attach_status_text(AttachStatus status);

struct AttachRequest {
  uint32_t magic = kAttachMagic;
  uint32_t abi_version = 0;
  uint32_t endpoints = 0;
  uint32_t process_id = 0;
};
static_assert(sizeof(AttachRequest) == 16);

struct AttachReply {
  uint32_t magic = kAttachMagic;
  uint32_t abi_version = 0;
  uint32_t status = 0;  // AttachStatus
  uint32_t epoch = 0;
  uint32_t workers = 0;
  uint32_t endpoints = 0;
  uint64_t region_bytes = 0;
  uint32_t process_id = 0;
  uint32_t reserved = 0;
  char version[24] = {};  // the dataplane's release, NUL-terminated
};
static_assert(sizeof(AttachReply) == 64);

// Owns a descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { reset(); }
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  int get() const { return fd_; }
  int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  void reset(int fd = -1);
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// ---- Dataplane side
// Binds and listens at `path` (0600, an old socket file is removed only when nothing answers on
// it). Non-blocking. `error` gets a sentence.
Descriptor listen_attach(const std::string& path, std::string& error);

struct AttachedControl {  // what the dataplane keeps of one life of control
  Descriptor connection;
  Region region;
  std::vector<Descriptor> worker_wake;    // the dataplane ends: worker w polls and drains [w]
  std::vector<Descriptor> endpoint_wake;  // workers send on [e] to wake endpoint e
  uint32_t process_id = 0;
};
enum class AcceptResult : uint8_t { Nothing, Attached, Refused };
// Accepts one pending connection, if any. `busy`: control is attached already: refuse. Only peers
// with our uid (or root) are served. Waits at most 100 ms for the request of a client that has
// connected. `message`: on Refused who and why, on Attached who. `out` changes on Attached alone.
AcceptResult accept_attach(int listener, uint32_t workers, uint32_t epoch, bool busy,
                           AttachedControl& out, std::string& message);

// ---- Control side
struct AttachedDataplane {
  Descriptor connection;
  Region region;
  std::vector<Descriptor> worker_wake;    // control sends on [w] to wake worker w
  std::vector<Descriptor> endpoint_wake;  // endpoint e polls and drains [e]
  uint32_t process_id = 0;
  std::string version;
};
// Blocking for at most `timeout_ms`. False with a sentence in `error`.
bool attach(const std::string& path, uint32_t endpoints, int timeout_ms, AttachedDataplane& out,
            std::string& error);

// One byte, MSG_DONTWAIT|MSG_NOSIGNAL; a full socket is as good as a sent byte.
void wake(int fd);
// Reads a wake socket empty, or 64 datagrams of it: a hostile peer cannot hold the reader.
void drain_wake(int fd);

}  // namespace sluice::abi
