// Segments to flows. See engine.h for the doors and README.md for the whole picture.
//
//   input -> table_ hit: tcp_input, then the flow is dirty until serve()
//         -> miss: TIME_WAIT entry | listener (stateless: SYN gets a cookie, a good ACK a flow) |
//         RST
#include "flow/engine.h"

#include "abi/assert.h"
#include "tcp/input.h"
#include "tcp/path.h"

namespace sluice::flow {

using abi::CloseReason;
using abi::Counter;

Engine::Engine(const EngineConfig& config, const EngineResources& resources)
    : config_(config),
      use_(resources),
      time_wait_(resources.stack.config, resources.stack.secrets, config.max_time_wait),
      wheel_(config.max_flows, config.start_us),
      table_(config.max_flows * 2, config.hash_key),
      source_ports_(config_),
      source_limiter_(config.source_limit, config.max_flows, config.hash_key),
      flows_(std::make_unique<Flow[]>(config.max_flows)),
      free_(std::make_unique<uint32_t[]>(config.max_flows)),
      dirty_(std::make_unique<uint32_t[]>(config.max_flows)),
      stalled_(std::make_unique<uint32_t[]>(config.max_flows)),
      scratch_(std::make_unique<uint8_t[]>(kScratchBytes)),
      batch_(std::make_unique<CbcBatch>()) {
  SLUICE_ASSERT(config.listeners.size() <= abi::kMaxListeners);
  SLUICE_ASSERT(config.workers >= 1 && config.core < config.workers);
  // The lowest index is on top: a lightly loaded worker touches few of its flows' pages.
  for (uint32_t i = 0; i < config.max_flows; ++i) free_[i] = config.max_flows - 1 - i;
  free_count_ = config.max_flows;
}

Engine::~Engine() = default;

const net::FlowTuple& Engine::tuple_of(FlowRef reference) const {
  return flows_[reference.index].sides[number(reference.side)].tuple;
}

void Engine::input(net::Segment& segment, Micros now) {
  const auto tuple_at = [this](FlowRef r) -> const net::FlowTuple& { return tuple_of(r); };
  FlowRef reference = table_.find_last(segment.tuple, tuple_at);
  if (!reference.valid()) {
    const uint32_t hash = table_.hash(segment.tuple);
    reference = table_.find(segment.tuple, hash, tuple_at);
    if (!reference.valid()) return input_no_flow(segment, hash, now);
    table_.remember(reference);
  }
  Flow& flow = flows_[reference.index];
  const tcp::InputResult result =
      tcp::tcp_input(use_.stack, flow.side(reference.side), segment, now);
  if (result.answer_reset) send_reset(segment);
  note_tcp_result(flow, reference.side, result, now);
  mark_dirty(flow);
}

void Engine::icmp_error(const net::IcmpError& error, Micros now) {
  const FlowRef reference =
      table_.find(error.tuple, table_.hash(error.tuple),
                  [this](FlowRef r) -> const net::FlowTuple& { return tuple_of(r); });
  if (!reference.valid()) return use_.counters.add(Counter::icmp_error_no_flow);
  Flow& flow = flows_[reference.index];
  tcp::Tcb& tcb = flow.side(reference.side);
  const bool was_open = tcb.state != tcp::State::Closed;
  tcp::tcp_icmp_error(use_.stack, tcb, error, now);
  if (was_open && tcb.state == tcp::State::Closed) side_closed(flow, reference.side, now);
  mark_dirty(flow);
}

const ListenerConfig* Engine::listener_for(const net::Segment& segment, uint8_t& number) const {
  for (size_t i = 0; i < config_.listeners.size(); ++i) {
    if (config_.listeners[i].address == segment.tuple.local) {
      number = static_cast<uint8_t>(i);
      return &config_.listeners[i];
    }
  }
  return nullptr;
}

// RFC 9293 3.10.7.1 and 3.10.7.2: CLOSED and LISTEN.
void Engine::input_no_flow(net::Segment& segment, uint32_t hash, Micros now) {
  use_.counters.add(Counter::tcp_segments_in);
  if (input_time_wait(segment, now)) return;
  uint8_t number = 0;
  if (listener_for(segment, number) == nullptr) return send_reset(segment);
  if ((segment.flags & net::kRst) != 0) return;
  if ((segment.flags & net::kSyn) != 0) {
    if ((segment.flags & net::kAck) != 0) return send_reset(segment);
    net::Segment& reply = reply_;
    if (tcp::make_syn_ack(use_.stack, use_.listener, segment, now, reply)) {
      answer(reply);
    }
    return;
  }
  if ((segment.flags & net::kAck) != 0) return accept(number, segment, hash, now);
}

bool Engine::input_time_wait(net::Segment& segment, Micros now) {
  tcp::TimeWaitAnswer verdict;
  if (!time_wait_.input(use_.stack, segment, now, verdict, reply_)) return false;
  switch (verdict) {
    case tcp::TimeWaitAnswer::None:
      return true;
    case tcp::TimeWaitAnswer::Reply:
      answer(reply_);
      return true;
    case tcp::TimeWaitAnswer::Ended:  // RFC 6191: a new connection
      return false;
  }
  return false;
}

void Engine::accept(uint8_t listener, net::Segment& segment, uint32_t hash, Micros now) {
  fresh_ = tcp::Tcb{};
  if (!tcp::tcp_accept_cookie(use_.stack, use_.listener, fresh_, segment, now)) {
    // Text that overtook the ACK carries no cookie: it comes again behind it.
    if (!use_.listener.is_probably_early(segment, now)) send_reset(segment);
    return;
  }
  const abi::IpAddress& client = segment.tuple.remote.address;
  if (!source_limiter_.enter(client)) {
    use_.counters.add(Counter::tcp_source_refused);
    return send_reset(segment);
  }
  Flow* const flow = allocate(now);
  if (flow == nullptr) {
    source_limiter_.leave(client);
    use_.counters.add(Counter::tcp_accept_refused);
    return send_reset(segment);
  }
  flow->listener = listener;
  flow->protocol = config_.listeners[listener].protocol;
  flow->client() = fresh_;
  flow->client_hash = hash;
  SLUICE_ASSERT(table_.insert(hash, {index_of(*flow), Side::Client}));
  flow->hashed_client = true;
  if (flow->protocol == Protocol::Tcp) {
    flow->active_at = tcp::to_millis(now);
    set_phase(*flow, FlowPhase::ExpectBackend);
    if (!start_backend(*flow, config_.listeners[listener].backend, now)) {
      abort(*flow, CloseReason::no_backend_port);
    }
  } else {
    link_handshake(*flow);
    set_deadline(*flow, now + config_.handshake_wait_us);
  }
  // The ACK itself may carry data, or FIN.
  use_.counters.subtract(Counter::tcp_segments_in);  // tcp_input counts it again
  const tcp::InputResult result = tcp::tcp_input(use_.stack, flow->client(), segment, now);
  note_tcp_result(*flow, Side::Client, result, now);
  mark_dirty(*flow);
}

bool Engine::listens_on(const abi::SocketAddress& address) const {
  for (const ListenerConfig& listener : config_.listeners) {
    if (listener.address == address) return true;
  }
  return false;
}

void Engine::send_reset(const net::Segment& segment) {
  if (!tcp::make_reset(segment, reply_)) return;
  use_.counters.add(Counter::tcp_resets_out);
  answer(reply_);
}

// A segment of no flow; when there is no room it is lost as on a wire.
void Engine::answer(const net::Segment& reply) {
  if (use_.output(reply)) use_.counters.add(Counter::tcp_segments_out);
}

}  // namespace sluice::flow
