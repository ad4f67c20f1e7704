// A handshake thread's work: the handshakes of the flows that the workers hand to its endpoint.
//
// Puts whole records together from HandshakeBytes, feeds them to the engine, sends what the engine
// writes, and ends each flow with exactly one InstallKeys or CloseFlow. Bounded: handshakes at
// once, bytes and time of each.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "abi/messages.h"
#include "control/config.h"
#include "control/handshake/engine.h"
#include "control/loop.h"
#include "control/worker_link.h"

namespace sluice::control::handshake {

inline constexpr size_t kMaxHandshakes = 8192;  // at once, each thread

// Read by the admin side while the thread goes on.
struct ServiceStats {
  std::atomic<uint64_t> begun{0};
  std::atomic<uint64_t> done{0};
  std::atomic<uint64_t> resumed{0};
  std::atomic<uint64_t> failed{0};
  std::atomic<uint64_t> ended_by_worker{0};
  std::atomic<uint64_t> bad_messages{0};
  std::atomic<uint64_t> in_flight{0};
  std::atomic<uint64_t> longest_call_us{0};  // one call of the engine
};

class Service final : public Loop::Source, private WorkerLink::Handler {
 public:
  Service(const ControlConfig& config, Engine& engine, Loop& loop, uint32_t endpoint,
          ServiceStats& stats);
  ~Service() override;

  // All on the loop's thread.
  void attach(AttachmentPtr attachment);
  void detach();  // drops every handshake: the worker has closed them
  // `on_ring_failure` is called when the attachment must be given up.
  void set_ring_failure(Loop::Task on_ring_failure) {
    on_ring_failure_ = std::move(on_ring_failure);
  }
  [[nodiscard]] size_t in_flight() const { return flows_.size(); }

  // Loop::Source
  bool poll() override;
  bool may_sleep() override;
  void woke() override;
  uint64_t longest_sleep_us() override;

 private:
  struct Flow {
    abi::FlowId id;
    abi::SocketAddress client;
    abi::SocketAddress service;
    uint64_t begun_us = 0;
    uint64_t deadline_us = 0;
    std::unique_ptr<Handshake> handshake;  // made for the first whole record
    std::vector<uint8_t> record;           // what has come of the present one
    uint32_t received_bytes = 0;
    uint32_t consumed_bytes = 0;
    uint32_t granted_bytes = 0;  // credit in all, the initial one included
    uint32_t ungranted_bytes = 0;
    bool transmitted = false;
  };
  struct Deadline {
    uint64_t when_us;
    abi::FlowId id;
  };
  struct HashFlowId {
    size_t operator()(const abi::FlowId& id) const {
      return std::hash<uint64_t>()(uint64_t{id.generation} << 32 ^ uint64_t{id.core} << 48 ^
                                   id.index);
    }
  };

  void on_message(uint32_t worker, const abi::MessageBuffer& message) override;
  void on_bad_message(uint32_t worker, abi::MessageError error) override;
  void on_broken_ring(uint32_t worker) override;

  void on_begin(const abi::HandshakeBegin& begin);
  void on_bytes(const abi::HandshakeBytes& bytes);
  void on_end(const abi::HandshakeEnd& end);
  void on_record(Flow& flow);
  void grant(Flow& flow);
  bool transmit(Flow& flow, std::span<const uint8_t> bytes);
  void install(Flow& flow);
  void fail(Flow& flow, const Failure& failure);
  void fail(Flow& flow, FailureCode code, std::string reason);
  void close(const abi::FlowId& id, abi::CloseReason reason, bool reset);
  void erase(const abi::FlowId& id);
  void expire(uint64_t now_us);
  void log_failure(const Flow& flow, const Failure& failure, abi::CloseReason reason) const;

  const ControlConfig& config_;
  Engine& engine_;
  Loop& loop_;
  const uint32_t endpoint_;
  ServiceStats& stats_;
  WorkerLink link_;
  Loop::Id wake_watch_ = 0;
  std::unordered_map<abi::FlowId, Flow, HashFlowId> flows_;
  std::deque<Deadline> deadlines_;  // in order: every flow has the same time
  std::vector<uint8_t> transmit_buffer_;
  Loop::Task on_ring_failure_;
};

}  // namespace sluice::control::handshake
