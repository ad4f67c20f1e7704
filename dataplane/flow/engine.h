// All flows of one worker, without the NIC: segments and control's messages in, segments and
// messages out, time handed in. The worker owns one and calls it from its loop; tests call it with
// no NIC at all.
//
//   input(segment)      one received segment; its flow becomes dirty
//   serve(now)          relays and sends for every dirty flow: once behind each burst
//   control_poll(now)   takes messages of control from the rings
//   advance(now)        timers
//
// Nothing here allocates, locks or calls the system after construction.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "abi/region.h"
#include "flow/cbc_batch.h"
#include "flow/engine_config.h"
#include "flow/flow_table.h"
#include "flow/gather.h"
#include "flow/listing.h"
#include "flow/source_limit.h"
#include "flow/source_port.h"
#include "net/icmp_error.h"
#include "net/segment.h"
#include "tcp/connection.h"
#include "tcp/input.h"
#include "tcp/tcb.h"
#include "tcp/time_wait.h"
#include "tcp/timer_wheel.h"
#include "tls/post_handshake.h"

namespace sluice::flow {

class Engine {
 public:
  Engine(const EngineConfig& config, const EngineResources& resources);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  void input(net::Segment& segment, Micros now);
  void icmp_error(const net::IcmpError& error, Micros now);  // about a connection, perhaps ours
  void serve(Micros now);
  bool control_poll(Micros now);  // true when there was a message
  void advance(Micros now);
  // When advance has something to do next; serve is wanted at once when work_pending().
  Micros next_expiry_us() const;
  bool work_pending() const { return dirty_count_ != 0 || stalled_count_ != 0; }
  bool control_pending() const;  // a message waits in a ring

  // A life of control begins or ends. The region stays valid until detach.
  void attach(const abi::Region* region, Micros now);
  void detach(Micros now);
  bool attached() const { return region_ != nullptr; }
  // Endpoints whose sleeping flag asks for a wake-up since the last call, as a bit set.
  uint32_t take_wake_ups();

  // Resets every flow: the dataplane stops.
  void shutdown(Micros now);

  bool listens_on(const abi::SocketAddress& address) const;
  // The worker of a received segment's flow. `rss` is how the port that owns the local address
  // spreads, null where the workers do it.
  uint16_t owner_of(const net::FlowTuple& tuple, const net::RssMap* rss) const;
  uint32_t flows_active() const { return active_; }

 private:
  // engine.cc: segments to flows.
  const net::FlowTuple& tuple_of(FlowRef reference) const;
  void input_no_flow(net::Segment& segment, uint32_t hash, Micros now);
  bool input_time_wait(net::Segment& segment, Micros now);
  void accept(uint8_t listener, net::Segment& segment, uint32_t hash, Micros now);
  void send_reset(const net::Segment& segment);
  void answer(const net::Segment& reply);
  const ListenerConfig* listener_for(const net::Segment& segment, uint8_t& number) const;

  // lifecycle.cc: what becomes of a flow.
  Flow* allocate(Micros now);
  void mark_dirty(Flow& flow);
  void stall(Flow& flow);
  void serve_flow(Flow& flow, Micros now);
  void share_buffers();
  void relieve();
  void set_phase(Flow& flow, FlowPhase phase);
  void note_tcp_result(Flow& flow, Side side, const tcp::InputResult& result, Micros now);
  void side_closed(Flow& flow, Side side, Micros now);
  void close(Flow& flow, abi::CloseReason reason);  // names the reason, the first one stays
  void abort(Flow& flow, abi::CloseReason reason);  // RST on both sides
  void finish_client(Flow& flow, abi::CloseReason reason, Micros now);  // FIN, then linger
  bool flush(Flow& flow, Micros now);
  void retire_side(Flow& flow, Side side, Micros now);
  void destroy(Flow& flow, Micros now);
  void check_deadline(Flow& flow, Micros now);
  void arm(Flow& flow, Micros now);

  // handshake.cc: before InstallKeys.
  void handshake_step(Flow& flow, Micros now);
  bool may_send_record(Flow& flow, uint32_t record_bytes, Micros now);
  bool send_record(Flow& flow, Micros now);
  bool begin_handshake(Flow& flow, Micros now);
  void wait_for_control(Flow& flow);
  void refuse(Flow& flow, const tls::Refusal& refusal, Micros now);
  bool report_end(Flow& flow, abi::CloseReason reason, bool awaits_answer = false);
  void await_answer(Flow& flow, abi::CloseReason reason);
  void stream_ended(Flow& flow, Micros now);
  void rewind_handshake(Flow& flow);
  void on_transmit(Flow& flow, const abi::TransmitBytes& message, Micros now);
  void on_credit(Flow& flow, const abi::GrantCredit& message);
  void on_keys(Flow& flow, const abi::InstallKeys& message, Micros now);
  void on_close(Flow& flow, const abi::CloseFlow& message, Micros now);

  // relay.cc: afterwards.
  void relay_step(Flow& flow, Micros now);
  void open_records(Flow& flow, Micros now);
  bool open_one(Flow& flow, uint32_t record_bytes, Micros now);
  bool act(Flow& flow, const tls::Action& action, const uint8_t* reply, Micros now);
  void seal_data(Flow& flow, Micros now);
  uint32_t record_limit(Flow& flow, Micros now);
  bool update_keys(Flow& flow, Micros now);
  void pass_data(Flow& flow, Side from, Micros now);
  void end_directions(Flow& flow, Micros now);
  void close_with_alert(Flow& flow, const tls::Refusal& refusal, Micros now);
  bool start_backend(Flow& flow, const abi::SocketAddress& backend, Micros now);

  // cbc_relay.cc: CBC records in batches over all flows.
  uint8_t* claim(Flow& flow, Side to, uint32_t bytes, QueuedRecord& record);
  bool queue_open(Flow& flow, uint32_t record_bytes);
  bool queue_seal(Flow& flow, std::span<const crypto::ConstPiece> plaintext, uint32_t sealed_bytes);
  Flow* waiting_flow(const QueuedRecord& record);
  void run_seals();
  void run_opens(Micros now);
  void complete_open(Flow& flow, const QueuedRecord& record, const tls::CbcOpen& job, Micros now);
  void deliver_opened(Flow& flow, const QueuedRecord& record, uint8_t* plaintext, uint32_t length);
  // buffers.cc
  void compact_received(Flow& flow);
  void gather_record(Flow& flow, uint32_t record_bytes, Pieces& pieces);
  uint8_t* reserve(Flow& flow, Side to, uint32_t bytes);
  bool send_bytes(Flow& flow, Side to, net::RecordBuffer* owner, uint8_t* data, uint32_t bytes);
  bool commit(Flow& flow, Side to, uint32_t bytes);
  bool append_bytes(Flow& flow, Side to, const uint8_t* bytes, uint32_t length);
  void drop_tail(Flow& flow, Side side);
  // source_port.cc
  bool choose_source(const abi::SocketAddress& backend, net::FlowTuple& tuple,
                     tcp::TimeWaitReuse& previous, Micros now);

  // control.cc: the rings.
  void dispatch(uint32_t endpoint, Micros now);  // message_
  Flow* find(const abi::FlowId& id);
  abi::FlowId id_of(const Flow& flow) const;
  bool push(uint32_t endpoint, const void* message, uint32_t length);
  template <class M>  // both in engine_send.h
  bool send(uint32_t endpoint, M& message, const abi::FlowId& flow, uint32_t length = sizeof(M));
  template <class M>
  bool send_or_stall(Flow& flow, uint32_t endpoint, M& message, uint32_t length = sizeof(M));
  void continue_listing(Micros now);
  void fill_row(const Flow& flow, Micros now, abi::FlowRow& row) const;

  uint32_t index_of(const Flow& flow) const { return static_cast<uint32_t>(&flow - flows_.get()); }
  void link_handshake(Flow& flow);
  void unlink_handshake(Flow& flow);

  EngineConfig config_;
  EngineResources use_;
  tcp::TimeWaitTable time_wait_;
  tcp::TimerWheel wheel_;
  FlowTable table_;
  SourcePorts source_ports_;
  SourceLimiter source_limiter_;
  std::unique_ptr<Flow[]> flows_;
  std::unique_ptr<uint32_t[]> free_;     // stack of unused flow indices
  std::unique_ptr<uint32_t[]> dirty_;    // flows to serve in this poll
  std::unique_ptr<uint32_t[]> stalled_;  // flows to serve in the next poll
  uint32_t free_count_ = 0;
  uint32_t dirty_first_ = 0;  // a ring: serving a flow may make it dirty again
  uint32_t dirty_count_ = 0;
  uint32_t stalled_count_ = 0;
  uint32_t active_ = 0;
  uint32_t handshake_head_ = UINT32_MAX;
  uint32_t waiting_for_control_ = 0;
  uint32_t relieved_ = 0;     // where relieve goes on
  uint32_t chunks_left_ = 0;  // of the flow being served
  std::unique_ptr<uint8_t[]> scratch_;
  std::unique_ptr<CbcBatch> batch_;
  net::Segment reply_;          // what answers a segment that belongs to no flow
  tcp::Tcb fresh_;              // a connection being accepted, before it has a flow
  abi::MessageBuffer message_;  // the message being handled

  const abi::Region* region_ = nullptr;
  uint32_t endpoints_ = 0;
  uint32_t wake_ups_ = 0;
  uint32_t pushed_to_ = 0;  // endpoints that got a message since take_wake_ups
  abi::RingProducer to_control_[abi::kMaxEndpoints];
  abi::RingConsumer from_control_[abi::kMaxEndpoints];
  bool ring_broken_[abi::kMaxEndpoints] = {};
  Listing listing_;
};

}  // namespace sluice::flow
