// The rings, as one worker sees them: messages out with back-pressure, messages in with validation,
// control's coming and going.
//
// A message is copied, then checked once (abi/validate), then its FlowId is looked up: index in
// range, generation equal; a message for a flow that has ended misses harmlessly. A broken ring is
// left alone until control attaches anew.
#include "abi/assert.h"
#include "abi/sleep.h"
#include "abi/validate.h"
#include "crypto/secret.h"
#include "flow/engine_send.h"

namespace sluice::flow {

using abi::CloseReason;
using abi::Counter;

void Engine::attach(const abi::Region* region, Micros) {
  SLUICE_ASSERT(region_ == nullptr);
  region_ = region;
  endpoints_ = region->shape().endpoints;
  for (uint32_t e = 0; e < endpoints_; ++e) {
    to_control_[e] = abi::RingProducer(region->ring(config_.core, e, abi::Direction::ToControl));
    from_control_[e] = abi::RingConsumer(region->ring(config_.core, e, abi::Direction::ToWorker));
    ring_broken_[e] = false;
  }
  use_.counters.set(Counter::control_attached, 1);
  // Whoever waited for control goes on.
  for (uint32_t i = handshake_head_; i != UINT32_MAX; i = flows_[i].handshake_list.next) {
    mark_dirty(flows_[i]);
  }
}

void Engine::detach(Micros now) {
  region_ = nullptr;
  listing_ = Listing{};
  pushed_to_ = 0;
  use_.counters.set(Counter::control_attached, 0);
  // Handshakes in flight have lost their other half. Those of which the client has seen nothing yet
  // begin anew with the next control; the rest wait anyway.
  for (uint32_t i = handshake_head_; i != UINT32_MAX;) {
    Flow& flow = flows_[i];
    i = flow.handshake_list.next;
    if (flow.endpoint == 0) continue;
    if (flow.released_bytes == 0 && flow.transmitted_bytes == 0) {
      rewind_handshake(flow);
    } else {
      abort(flow, CloseReason::control_lost);
    }
  }
  serve(now);
}

bool Engine::control_pending() const {
  if (region_ == nullptr) return false;
  for (uint32_t e = 0; e < endpoints_; ++e) {
    if (from_control_[e].has_message()) return true;
  }
  return false;
}

uint32_t Engine::take_wake_ups() {
  if (pushed_to_ == 0 || region_ == nullptr) return 0;
  uint32_t sleepers = 0;
  for (uint32_t e = 0; e < endpoints_; ++e) {
    if ((pushed_to_ >> e & 1U) == 0) continue;
    if (abi::must_wake(region_->endpoint(e).sleeping)) sleepers |= 1U << e;
  }
  pushed_to_ = 0;
  return sleepers;
}

abi::FlowId Engine::id_of(const Flow& flow) const {
  abi::FlowId id;
  id.generation = flow.generation;
  id.core = config_.core;
  id.index = index_of(flow);
  return id;
}

Flow* Engine::find(const abi::FlowId& id) {
  if (id.core != config_.core || id.index >= config_.max_flows) return nullptr;
  Flow& flow = flows_[id.index];
  return flow.in_use && flow.generation == id.generation ? &flow : nullptr;
}

bool Engine::push(uint32_t endpoint, const void* message, uint32_t length) {
  const abi::RingResult result = to_control_[endpoint].push(message, length);
  switch (result) {
    case abi::RingResult::Ok:
      pushed_to_ |= 1U << endpoint;
      use_.counters.add(Counter::ring_messages_out);
      return true;
    case abi::RingResult::Full:
    case abi::RingResult::Empty:
      use_.counters.add(Counter::ring_full);
      return false;
    case abi::RingResult::Broken:
      use_.counters.add(Counter::ring_bad_index);
      return false;
  }
  return false;
}

bool Engine::control_poll(Micros now) {
  if (region_ == nullptr) return false;
  bool any = false;
  for (uint32_t e = 0; e < endpoints_; ++e) {
    for (uint32_t i = 0; i < abi::kRingBatch; ++i) {
      const abi::RingResult result = from_control_[e].pop(message_);
      if (result == abi::RingResult::Broken) {
        if (!ring_broken_[e]) use_.counters.add(Counter::ring_bad_index);
        ring_broken_[e] = true;
      }
      if (result != abi::RingResult::Ok) break;
      any = true;
      use_.counters.add(Counter::ring_messages_in);
      dispatch(e, now);
    }
  }
  return any;
}

void Engine::dispatch(uint32_t endpoint, Micros now) {
  const abi::MessageError error =
      abi::validate_for_worker(message_, region_->epoch(), config_.core);
  if (error != abi::MessageError::None) {
    use_.counters.add(Counter::ring_bad_message);
    crypto::secure_zero(message_.bytes, sizeof message_.bytes);  // whatever it was meant to be
    return;
  }
  if (const auto* list = message_.as<abi::ListFlows>()) {
    if (endpoint != 0 || listing_.active) {
      use_.counters.add(Counter::ring_bad_message);
      return;
    }
    listing_ = {true, list->token, list->first_index, list->max_rows};
    return;
  }
  Flow* const flow = find(message_.header().flow);
  if (flow == nullptr || flow->phase == FlowPhase::Closing) {  // control did not know yet
    use_.counters.add(Counter::ring_stale_flow);
  } else if (flow->endpoint != endpoint || !flow->in_handshake) {  // no say in a relay
    use_.counters.add(Counter::ring_bad_message);
  } else {
    if (const auto* transmit = message_.as<abi::TransmitBytes>())
      on_transmit(*flow, *transmit, now);
    if (const auto* credit = message_.as<abi::GrantCredit>()) on_credit(*flow, *credit);
    if (const auto* keys = message_.as<abi::InstallKeys>()) on_keys(*flow, *keys, now);
    if (const auto* end = message_.as<abi::CloseFlow>()) on_close(*flow, *end, now);
    mark_dirty(*flow);
  }
  if (message_.as<abi::InstallKeys>() != nullptr) {
    crypto::secure_zero(message_.bytes, sizeof(abi::InstallKeys));
  }
}

// A bounded part of an answer to ListFlows in each turn, as far as the ring has room.
void Engine::continue_listing(Micros now) {
  if (!listing_.active || region_ == nullptr) return;
  uint32_t looked_at = 0;
  while (listing_.rows_left > 0 && listing_.next_index < config_.max_flows &&
         looked_at++ < kListingScan) {
    const Flow& flow = flows_[listing_.next_index];
    if (flow.in_use) {
      if (to_control_[0].free_slots_now() < 2) return;
      abi::FlowRow row;
      fill_row(flow, now, row);
      if (!send(0, row, id_of(flow))) return;
      --listing_.rows_left;
    }
    ++listing_.next_index;
  }
  const bool all = listing_.next_index >= config_.max_flows;
  if (!all && listing_.rows_left > 0) return;
  abi::FlowsEnd end;
  end.token = listing_.token;
  end.next_index = all ? UINT32_MAX : listing_.next_index;
  if (send(0, end, abi::FlowId{0, config_.core})) listing_ = Listing{};
}

void Engine::fill_row(const Flow& flow, Micros now, abi::FlowRow& row) const {
  row.client = flow.sides[0].tuple.remote;
  row.service = flow.sides[0].tuple.local;
  row.backend = flow.sides[1].tuple.remote;
  row.backend_local_port = flow.sides[1].tuple.local.port;
  if (flow.keys.installed()) {
    row.tls_version = static_cast<uint16_t>(flow.keys.version);
    row.suite = flow.keys.suite->id;
  }
  row.host_tag = flow.host_tag;
  row.phase = static_cast<uint8_t>(flow.phase);
  row.client_state = static_cast<uint8_t>(flow.sides[0].state);
  row.backend_state = static_cast<uint8_t>(flow.sides[1].state);
  row.age_us = tcp::since(flow.opened_at, now);
  row.idle_us = tcp::since(flow.active_at, now);
  row.bytes_from_client = flow.bytes_from_client;
  row.bytes_to_client = flow.bytes_to_client;
  row.client_rtt_us = flow.sides[0].srtt_us;
  for (const tcp::Tcb& side : flow.sides) {
    row.held_bytes +=
        side.receive.held_bytes() + side.send.held_bytes() + side.out_of_order.held_bytes();
  }
}

}  // namespace sluice::flow
