// The other end of the rings: plays all endpoints of control with a toy handshake that a test can
// script. Every message that the engine sends is validated as control would.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "abi/region.h"
#include "abi/validate.h"
#include "flow/engine.h"
#include "net_sim.h"

namespace sluice::flow::test {

class FakeControl {
 public:
  // What control knows of one flow.
  struct Handshake {
    abi::FlowId id;
    uint32_t endpoint = 0;
    abi::HandshakeBegin begin;
    Bytes stream;                // all HandshakeBytes together
    std::vector<Bytes> records;  // as their record_end flags cut it
    size_t record_start = 0;     // in `stream`
    uint32_t granted = 0;
    bool installed = false;
    bool ended = false;
    abi::HandshakeEnd end;
  };

  explicit FakeControl(uint32_t endpoints) : endpoints_(endpoints) {}

  // A new life: a new region with a new epoch.
  void attach(Engine& engine, Micros now);
  void detach(Engine& engine, Micros now);
  bool attached() const { return region_.valid(); }
  abi::Region& region() { return region_; }

  // Reads what the engine has sent, runs the script, puts what is due into the rings.
  void step(Micros now);
  Micros next_at() const { return queue_.empty() ? tcp::kNever : queue_.front().due; }

  // Messages to the engine; they leave `delay_us` after `step`, in order.
  void transmit(const Handshake& handshake, const Bytes& bytes);
  void grant(Handshake& handshake, uint32_t bytes);
  void install(Handshake& handshake, abi::InstallKeys keys, uint32_t consumed_bytes,
               const abi::SocketAddress& backend);
  void close(const Handshake& handshake, abi::CloseReason reason, bool reset = false);
  void list(uint32_t first_index, uint32_t max_rows, uint64_t token);
  template <class M>
  void send(uint32_t endpoint, M message, const abi::FlowId& id, uint32_t length = sizeof(M)) {
    abi::fill_header(message, id, region_.epoch(), length);
    send_raw(endpoint, &message, length);
  }
  void send_raw(uint32_t endpoint, const void* message, uint32_t length);

  // Called for each whole record of a handshake.
  std::function<void(FakeControl&, Handshake&)> on_record;

  bool reading = true;                  // false: the rings towards control fill up
  bool answers_ends = true;             // with CloseFlow, where the flow waits for it
  Micros delay_us = 0;                  // of whatever control says
  std::deque<Handshake> handshakes;     // in order of their beginning
  std::vector<abi::HandshakeEnd> ends;  // also of flows that never began a handshake
  std::vector<abi::FlowRow> rows;
  std::vector<abi::FlowsEnd> listing_ends;
  uint64_t bad_messages = 0;  // from the engine: there must be none

 private:
  struct Queued {
    Micros due;
    uint32_t endpoint;
    Bytes bytes;
  };

  void handle(uint32_t endpoint, const abi::MessageBuffer& message);
  void on_bytes(const abi::HandshakeBytes& message);
  Handshake* find(const abi::FlowId& id);

  uint32_t endpoints_;
  uint32_t epoch_ = 0;
  Micros now_ = 0;
  abi::Region region_;
  std::vector<abi::RingConsumer> from_engine_;
  std::vector<abi::RingProducer> to_engine_;
  std::deque<Queued> queue_;
  std::map<std::pair<uint32_t, uint32_t>, size_t> by_id_;  // index, generation -> handshakes
};

}  // namespace sluice::flow::test
