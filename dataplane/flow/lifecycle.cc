// The life of a flow: allocation, serving, closing, release.
//
// Every flow that something happened to is dirty and served once behind the burst: step of its
// phase, then tcp_output on both sides, then either the end or the next timer. A flow that could
// not get on for want of a buffer, a ring slot or transmit room is stalled: dirty again in the next
// poll.
//
// `close` names the reason, and the first name stays. A flow is gone when both its sides are:
// closed, or in TIME_WAIT, which is an entry of its own table and no flow.
#include <algorithm>

#include "abi/assert.h"
#include "flow/engine.h"
#include "tcp/output.h"

namespace sluice::flow {

using abi::CloseReason;
using abi::Counter;

namespace {

bool is_overdue(const Flow& flow, Micros now) {
  return flow.has_deadline && static_cast<int32_t>(tcp::to_millis(now) - flow.deadline_at) >= 0;
}

}  // namespace

void set_deadline(Flow& flow, Micros at) {
  flow.deadline_at = tcp::to_millis(at + 999);  // not before
  flow.has_deadline = true;
}

Flow* Engine::allocate(Micros now) {
  if (free_count_ == 0) {
    use_.counters.add(Counter::no_flow);
    return nullptr;
  }
  Flow& flow = flows_[free_[--free_count_]];
  SLUICE_ASSERT(!flow.in_use);
  const uint32_t generation = flow.generation + 1;
  const bool dirty = flow.dirty;  // the list may still name the flow that was here before
  const bool stalled = flow.stalled;
  flow = Flow{};
  flow.generation = generation;
  flow.dirty = dirty;
  flow.stalled = stalled;
  flow.in_use = true;
  flow.opened_at = tcp::to_millis(now);
  flow.active_at = tcp::to_millis(now);
  ++active_;
  use_.counters.add(Counter::flows_opened);
  use_.counters.set(Counter::flows_active, active_);
  return &flow;
}

void Engine::mark_dirty(Flow& flow) {
  if (flow.dirty) return;
  flow.dirty = true;
  uint32_t at = dirty_first_ + dirty_count_++;  // a flow is listed once, so there is room
  if (at >= config_.max_flows) at -= config_.max_flows;
  dirty_[at] = index_of(flow);
}

void Engine::stall(Flow& flow) {
  if (flow.stalled) return;
  flow.stalled = true;
  stalled_[stalled_count_++] = index_of(flow);
}

void Engine::set_phase(Flow& flow, FlowPhase phase) {
  SLUICE_ASSERT(flow.phase != FlowPhase::Closing || phase == FlowPhase::Closing);
  flow.phase = phase;
}

// A send queue may hold an eighth of the record buffers that are left. However many clients do not
// read, some are always left for the others, and nobody needs to be counted.
void Engine::share_buffers() {
  const uint64_t left =
      uint64_t{use_.large_buffers.available()} * use_.large_buffers.capacity_bytes();
  use_.stack.send_limit_bytes = static_cast<uint32_t>(
      std::clamp<uint64_t>(left / 8, abi::kSendFloorBytes, use_.stack.config.send_limit_bytes));
}

void Engine::serve(Micros now) {
  share_buffers();
  // What stalled in the last poll goes first; what stalls now waits for the next one.
  const uint32_t waiting = stalled_count_;
  stalled_count_ = 0;
  for (uint32_t i = 0; i < waiting; ++i) {
    Flow& flow = flows_[stalled_[i]];
    flow.stalled = false;
    if (flow.in_use) mark_dirty(flow);
  }
  while (dirty_count_ != 0 || !batch_->empty()) {
    if (dirty_count_ == 0 || batch_->full()) {
      run_seals();
      run_opens(now);
      continue;
    }
    Flow& flow = flows_[dirty_[dirty_first_]];
    if (++dirty_first_ == config_.max_flows) dirty_first_ = 0;
    --dirty_count_;
    flow.dirty = false;
    if (flow.in_use) serve_flow(flow, now);
  }
}

void Engine::serve_flow(Flow& flow, Micros now) {
  switch (flow.phase) {
    case FlowPhase::ExpectClientHello:
    case FlowPhase::ExpectControl:
    case FlowPhase::ExpectKeys:
      handshake_step(flow, now);
      break;
    case FlowPhase::ExpectBackend:
    case FlowPhase::Relaying:
      relay_step(flow, now);
      break;
    case FlowPhase::Closing:
      break;
  }
  if (flow.phase == FlowPhase::Closing) {  // whatever the client still says is taken and forgotten
    tcp::tcp_consume(use_.stack, flow.client(), flow.client().receive.readable_bytes());
  }
  if (!flush(flow, now)) stall(flow);
  retire_side(flow, Side::Client, now);
  retire_side(flow, Side::Backend, now);
  if (!flow.hashed_client && !flow.hashed_backend) return destroy(flow, now);
  for (const Side side : {Side::Client, Side::Backend}) {
    const bool queued = side == Side::Client ? flow.seal_queued : flow.open_queued;
    if (flow.side(side).send.empty() && !queued) drop_tail(flow, side);
  }
  arm(flow, now);
}

// Both sides' output. False: the port has no room, the rest goes in the next poll.
bool Engine::flush(Flow& flow, Micros now) {
  bool complete = true;
  const auto emit = [this, &complete](const net::Segment& segment) {
    const bool sent = use_.output(segment);
    if (!sent) complete = false;
    return sent;
  };
  for (const Side side : {Side::Client, Side::Backend}) {
    tcp::Tcb& tcb = flow.side(side);
    const bool was_open = tcb.state != tcp::State::Closed;
    if (!flow.hashed(side) || (!was_open && !tcb.rst_pending)) continue;
    tcp::tcp_output(use_.stack, tcb, emit, now);
    if (was_open && tcb.state == tcp::State::Closed) side_closed(flow, side, now);
  }
  return complete;
}

void Engine::note_tcp_result(Flow& flow, Side side, const tcp::InputResult& result, Micros now) {
  if (result.connected && side == Side::Backend && flow.phase == FlowPhase::ExpectBackend) {
    set_phase(flow, FlowPhase::Relaying);
    flow.active_at = tcp::to_millis(now);
  }
  // Bytes move, though perhaps only out of a queue to a slow reader: the flow is not idle.
  if (result.readable || result.writable) flow.active_at = tcp::to_millis(now);
  if (result.closed) side_closed(flow, side, now);
}

// One side's TCP has ended by itself: what does that mean for the other?
void Engine::side_closed(Flow& flow, Side side, Micros now) {
  const tcp::CloseCause cause = flow.side(side).close_cause;
  if (cause == tcp::CloseCause::None || cause == tcp::CloseCause::Finished ||
      cause == tcp::CloseCause::LocalAbort) {
    return;
  }
  const bool reset = cause == tcp::CloseCause::PeerReset || cause == tcp::CloseCause::Refused;
  // Many clients reset instead of reading our close_notify: everything had been said by then, and
  // what the backend has not read yet still goes to it.
  if (side == Side::Client && reset && flow.client_closed && flow.backend_closed) return;
  if (side == Side::Client) {
    return abort(flow, reset ? CloseReason::client_reset : CloseReason::client_timeout);
  }
  if (flow.phase == FlowPhase::Closing) return;
  const bool connecting = flow.phase == FlowPhase::ExpectBackend;
  const CloseReason reason =
      reset ? (connecting ? CloseReason::backend_refused : CloseReason::backend_reset)
            : (connecting ? CloseReason::backend_unreachable : CloseReason::backend_timeout);
  // A stream cut short must not look clean to the client: an alert, or RST where there is no TLS.
  if (flow.protocol == Protocol::Tcp && !flow.backend_closed) return abort(flow, reason);
  close_with_alert(flow, {reason, tls::Alert::internal_error}, now);
}

void Engine::close(Flow& flow, CloseReason reason) {
  if (flow.reason == CloseReason::none) flow.reason = reason;
  if (flow.phase == FlowPhase::Closing) return;
  if (flow.in_handshake) {
    report_end(flow, flow.reason);
    unlink_handshake(flow);
  }
  set_phase(flow, FlowPhase::Closing);
}

void Engine::abort(Flow& flow, CloseReason reason) {
  close(flow, reason);
  for (const Side side : {Side::Client, Side::Backend}) {
    if (flow.side(side).state != tcp::State::Closed) tcp::tcp_abort(use_.stack, flow.side(side));
  }
  mark_dirty(flow);
}

// Delivers what is queued to the client, then FIN; the backend sees RST.
void Engine::finish_client(Flow& flow, CloseReason reason, Micros now) {
  close(flow, reason);
  set_deadline(flow, now + config_.linger_us);
  if (flow.backend().state != tcp::State::Closed) tcp::tcp_abort(use_.stack, flow.backend());
  tcp::tcp_send_fin(use_.stack, flow.client());
  mark_dirty(flow);
}

// Takes an ended side out of the table. TIME_WAIT goes on as an entry of time_wait_.
void Engine::retire_side(Flow& flow, Side side, Micros now) {
  tcp::Tcb& tcb = flow.side(side);
  if (!flow.hashed(side)) return;
  if (tcb.state == tcp::State::TimeWait) {
    if (tcb.ack_now || tcb.output_wanted) return;  // the last ACK has not left yet
    time_wait_.insert(use_.stack, tcb, now);
  } else if (tcb.state != tcp::State::Closed || tcb.rst_pending) {
    return;
  }
  const uint32_t hash = side == Side::Client ? flow.client_hash : flow.backend_hash;
  SLUICE_ASSERT(table_.erase(hash, {index_of(flow), side}));
  if (side == Side::Client) {
    flow.hashed_client = false;
  } else {
    flow.hashed_backend = false;
  }
}

void Engine::destroy(Flow& flow, Micros) {
  close(flow, CloseReason::finished);
  use_.counters.count_close(flow.reason);
  source_limiter_.leave(flow.client().tuple.remote.address);
  for (const Side side : {Side::Client, Side::Backend}) {
    tcp::tcp_release(use_.stack, flow.side(side));
    drop_tail(flow, side);
  }
  tls::end_keys(use_.records, flow.keys);
  wheel_.cancel(index_of(flow));
  flow.in_use = false;
  --active_;
  free_[free_count_++] = index_of(flow);
  use_.counters.add(Counter::flows_closed);
  use_.counters.set(Counter::flows_active, active_);
}

void Engine::check_deadline(Flow& flow, Micros now) {
  switch (flow.phase) {
    case FlowPhase::ExpectClientHello:
    case FlowPhase::ExpectControl:
    case FlowPhase::ExpectKeys:
      if (is_overdue(flow, now)) {
        const bool left = flow.endpoint != 0 && peer_finished(flow.client());
        abort(flow,
              left ? CloseReason::client_closed_in_handshake : CloseReason::handshake_timeout);
      }
      break;
    case FlowPhase::ExpectBackend:
    case FlowPhase::Relaying:
      if (tcp::since(flow.active_at, now) >= config_.idle_timeout_us) {
        abort(flow, CloseReason::idle_timeout);
      }
      break;
    case FlowPhase::Closing:
      if (is_overdue(flow, now)) abort(flow, flow.reason);
      break;
  }
}

// One wheel node a flow, re-armed lazily: it fires at the earliest of all that is due, and what is
// not due yet arms it again.
void Engine::arm(Flow& flow, Micros now) {
  Micros at = tcp::kNever;
  for (const Side side : {Side::Client, Side::Backend}) {
    if (flow.hashed(side)) at = std::min(at, tcp::tcp_poll_at(flow.side(side)));
  }
  const bool relaying = flow.phase == FlowPhase::ExpectBackend || flow.phase == FlowPhase::Relaying;
  if (relaying) {
    const Micros idle = tcp::since(flow.active_at, now);
    const Micros limit = config_.idle_timeout_us;
    at = std::min(at, idle < limit ? now + (limit - idle) : now);
  } else if (flow.has_deadline) {
    const auto left = static_cast<int32_t>(flow.deadline_at - tcp::to_millis(now));
    at = std::min(at, left > 0 ? now + static_cast<Micros>(left) * 1000 : now);
  }
  wheel_.schedule(index_of(flow), at);
}

void Engine::advance(Micros now) {
  source_ports_.begin_turn();
  wheel_.advance(now, [this, now](uint32_t index) {
    Flow& flow = flows_[index];
    if (!flow.in_use) return;
    check_deadline(flow, now);
    mark_dirty(flow);
  });
  time_wait_.expire(use_.stack, now);
  use_.counters.set(Counter::time_wait_entries, time_wait_.size());
  use_.counters.set(Counter::flows_waiting_for_control, waiting_for_control_);
  relieve();
  continue_listing(now);
  if (dirty_count_ != 0) serve(now);
}

// While packet buffers are scarce: text that flows keep out of order goes, a few flows in each
// turn. It comes again (RFC 2018 8).
void Engine::relieve() {
  if (use_.stack.pressure != tcp::Pressure::Hard) return;
  for (uint32_t i = 0; i < kReliefScan; ++i) {
    if (++relieved_ >= config_.max_flows) relieved_ = 0;
    Flow& flow = flows_[relieved_];
    if (!flow.in_use) continue;
    tcp::reassembly_prune(use_.stack, flow.client().out_of_order, 0);
    tcp::reassembly_prune(use_.stack, flow.backend().out_of_order, 0);
  }
}

Micros Engine::next_expiry_us() const { return wheel_.next_expiry_us(); }

void Engine::shutdown(Micros now) {
  for (uint32_t i = 0; i < config_.max_flows; ++i) {
    if (flows_[i].in_use) abort(flows_[i], CloseReason::shutdown);
  }
  serve(now);
}

}  // namespace sluice::flow
