// A worker's ends of the rings, for tests of control: it frames the client's stream into records
// and hands them over under credit as a worker does, and keeps what comes back.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "abi/attach.h"
#include "abi/messages.h"
#include "abi/ring.h"
#include "control/worker_link.h"

namespace sluice::control::testing {

struct FakeFlow {
  abi::FlowId id;
  std::vector<uint8_t> stream;  // all the client ever sent
  size_t handed_over = 0;       // of `stream`, in whole records
  uint32_t credit = abi::kHandshakeCreditBytes;
  std::vector<uint8_t> to_client;  // TransmitBytes not taken yet
  std::vector<uint8_t> sent;       // all TransmitBytes
  std::optional<abi::InstallKeys> keys;
  std::optional<abi::CloseFlow> closed;
};

class FakeWorker {
 public:
  explicit FakeWorker(uint32_t epoch = 7, uint32_t endpoints = 2);

  [[nodiscard]] const AttachmentPtr& attachment() const { return attachment_; }
  [[nodiscard]] abi::Region& region() { return region_; }

  // A connection that has begun its ClientHello.
  FakeFlow& begin(const std::string& client = "10.99.1.2:40000");
  // Bytes from the client; whole records go to control as far as the credit reaches.
  void client_sends(FakeFlow& flow, const std::vector<uint8_t>& bytes);
  // Takes everything from control. False when a message does not validate.
  bool drain();
  void end(FakeFlow& flow, abi::CloseReason reason, bool awaits_answer = false);
  // Any message on the ring of `endpoint`.
  template <class M>
  void push(M message, const abi::FlowId& flow, uint32_t endpoint = 1,
            uint32_t length = sizeof(M)) {
    abi::fill_header(message, flow, region_.epoch(), length);
    push_bytes(&message, length, endpoint);
  }
  // Wakes the endpoint when it sleeps, as a worker does.
  void push_bytes(const void* bytes, uint32_t length, uint32_t endpoint = 1);
  // Messages on endpoint 0, not flows'.
  std::vector<abi::ListFlows> drain_list_flows();

 private:
  void hand_over(FakeFlow& flow);

  abi::Region region_;
  AttachmentPtr attachment_;
  std::vector<abi::Descriptor> worker_wake_;  // the dataplane's ends
  std::vector<abi::Descriptor> endpoint_wake_;
  std::vector<abi::RingProducer> to_control_;
  std::vector<abi::RingConsumer> from_control_;
  std::map<uint32_t, FakeFlow> flows_;  // by index
  uint32_t next_index_ = 1;
};

}  // namespace sluice::control::testing
