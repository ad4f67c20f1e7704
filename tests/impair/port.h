// A DPDK port with one queue each way, frame by frame.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

struct rte_mbuf;
struct rte_mempool;

namespace sluice::impair {

struct EalSettings {
  std::string prefix;  // keeps this process's DPDK apart from every other's
  uint32_t core = 0;
  uint32_t memory_mib = 96;
  std::array<std::string, 2> devices;  // DPDK device strings
};

// Starts DPDK without hugepages, once in a process. False: `error` is one line.
bool start_dpdk(const EalSettings& settings, std::string& error);

class Port {
 public:
  // The port of a device that start_dpdk() made. Null: `error` is one line.
  static std::unique_ptr<Port> open(const std::string& device, std::string& error);
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  // A burst of received frames; valid until the next call.
  std::span<const std::span<const uint8_t>> receive();
  // Puts a copy into the next burst to send. False: there is no room, call flush() first.
  bool send(std::span<const uint8_t> frame);
  // What the port does not take stays for the next flush. Frames sent.
  uint32_t flush();
  bool waiting() const { return to_send_ != 0; }
  uint64_t rx_missed() const;  // by the driver's account

 private:
  static constexpr uint32_t kBurst = 32;

  explicit Port(uint16_t id) : id_(id) {}
  bool start(std::string& error);
  void release_received();

  uint16_t id_;
  rte_mempool* pool_ = nullptr;
  std::array<rte_mbuf*, kBurst> received_{};
  std::array<std::span<const uint8_t>, kBurst> frames_;
  uint16_t received_count_ = 0;
  std::array<rte_mbuf*, kBurst> sending_{};
  uint16_t to_send_ = 0;
};

}  // namespace sluice::impair
