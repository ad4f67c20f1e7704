// The other end of virtio-user ports: a process with a vhost port for each, which turns every TCP
// packet around as it came - as large as it came - and notes what it saw.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace sluice::net {

// In memory that both processes share; what was seen since reset().
struct PeerPort {
  std::atomic<uint32_t> packets{0};
  std::atomic<uint32_t> largest_bytes{0};  // of a packet
  std::atomic<uint32_t> to_segment{0};     // packets that a NIC would have segmented
  std::atomic<uint32_t> to_checksum{0};    // whose checksum a NIC would have completed
  std::atomic<uint32_t> wrong{0};          // wrong IPv4 header, pseudo header or TCP checksums
  void reset() { packets = largest_bytes = to_segment = to_checksum = wrong = 0; }
};
constexpr uint32_t kMaxPeerPorts = 4;
struct PeerState {
  std::atomic<bool> ready{false};
  std::atomic<bool> failed{false};
  std::atomic<bool> stop{false};
  PeerPort ports[kMaxPeerPorts];
};

// Starts the process; before DPDK is started in this one. `devices` are vhost device strings.
class VhostPeer {
 public:
  explicit VhostPeer(const std::vector<std::string>& devices);
  ~VhostPeer();
  VhostPeer(const VhostPeer&) = delete;
  VhostPeer& operator=(const VhostPeer&) = delete;
  bool wait_ready();
  PeerPort& port(uint32_t index) { return state_->ports[index]; }

 private:
  PeerState* state_;
  pid_t process_;
};

}  // namespace sluice::net
