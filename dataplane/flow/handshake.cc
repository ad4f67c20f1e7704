// A flow before its keys: the client's stream is framed into TLS records and lent to control.
//
// Offsets count from the first byte of the client's stream. The receive queue's front is
// `released_bytes`; control has been sent everything up to `sent_bytes`, always whole records, at
// most kHandshakeCreditBytes beyond what it has released by GrantCredit. Nothing is taken off the
// queue before control says so, because what it did not consume (data right behind the client's
// Finished) belongs to the relay: it resumes at InstallKeys.consumed_bytes.
//
// Before any server byte the worker refuses by itself what is not TLS; afterwards only control can
// send an alert that the client understands.
#include "abi/assert.h"
#include "flow/engine_send.h"
#include "flow/gather.h"
#include "tls/alert.h"

namespace sluice::flow {

using abi::CloseReason;
using abi::Counter;

void Engine::link_handshake(Flow& flow) {
  const uint32_t index = index_of(flow);
  flow.handshake_list = {handshake_head_, UINT32_MAX};
  if (handshake_head_ != UINT32_MAX) flows_[handshake_head_].handshake_list.previous = index;
  handshake_head_ = index;
  flow.in_handshake = true;
}

void Engine::unlink_handshake(Flow& flow) {
  if (!flow.in_handshake) return;
  flow.in_handshake = false;
  if (flow.waiting_for_control) {
    flow.waiting_for_control = false;
    --waiting_for_control_;
  }
  const ListNode node = flow.handshake_list;
  if (node.previous != UINT32_MAX) {
    flows_[node.previous].handshake_list.next = node.next;
  } else {
    handshake_head_ = node.next;
  }
  if (node.next != UINT32_MAX) flows_[node.next].handshake_list.previous = node.previous;
}

void Engine::handshake_step(Flow& flow, Micros now) {
  chunks_left_ = kMaxChunksPerTurn;
  tcp::reassembly_prune(use_.stack, flow.client().out_of_order, kMaxEarlyOutOfOrderBytes);
  while (flow.phase != FlowPhase::Closing) {
    if (flow.record_left_bytes > 0) {
      if (!send_record(flow, now)) return;
      continue;
    }
    const uint32_t offset = flow.sent_bytes - flow.released_bytes;
    const uint32_t available = flow.client().receive.readable_bytes() - offset;
    if (available == 0) break;
    if (flow.sent_bytes == 0) {
      uint8_t start[tls::kMaxClassifyBytes];
      const uint32_t length = flow.client().receive.peek(0, start, sizeof start);
      const tls::Classification is = tls::classify_start({start, length});
      if (is.verdict == tls::Verdict::Refuse) return refuse(flow, is.refusal, now);
      if (is.verdict == tls::Verdict::NeedMore) break;
    }
    uint8_t header[tls::kMaxFrameBytes];
    const uint32_t length = flow.client().receive.peek(offset, header, sizeof header);
    const tls::Frame frame =
        tls::next_record(flow.record_phase, std::span<const uint8_t>(header, length));
    if (frame.verdict == tls::Verdict::Refuse) return refuse(flow, frame.refusal, now);
    if (frame.verdict == tls::Verdict::NeedMore || available < frame.record_bytes) {
      compact_received(flow);
      break;
    }
    if (!may_send_record(flow, frame.record_bytes, now)) return;
    flow.record_left_bytes = frame.record_bytes;
    flow.record_phase = tls::phase_after(flow.record_phase, frame.header.type);
  }
  if (peer_finished(flow.client()) && flow.phase != FlowPhase::Closing) stream_ended(flow, now);
}

// The client's FIN has come. Whoever says everything at once and leaves gets its keys still.
void Engine::stream_ended(Flow& flow, Micros now) {
  if (flow.endpoint == 0) return finish_client(flow, CloseReason::client_gone, now);
  await_answer(flow, CloseReason::client_closed_in_handshake);
}

// Something that ends the handshake stands behind records that may complete it. Control, which has
// seen all of those when it sees this message, answers with CloseFlow unless it has sent
// InstallKeys: then the relay comes upon the same thing, and has the keys for an alert.
void Engine::await_answer(Flow& flow, CloseReason reason) {
  if (!flow.end_reported && !report_end(flow, reason, true)) stall(flow);
}

// Whether the next record may go to control: it is there, knows the flow, and has given credit.
bool Engine::may_send_record(Flow& flow, uint32_t record_bytes, Micros now) {
  if (flow.endpoint == 0 && !begin_handshake(flow, now)) return false;
  if (flow.sent_bytes + record_bytes > abi::kMaxHandshakeBytes) {
    finish_client(flow, CloseReason::handshake_too_long, now);
    return false;
  }
  const uint32_t lent = flow.sent_bytes - flow.released_bytes;
  return lent + record_bytes <= abi::kHandshakeCreditBytes;
}

bool Engine::begin_handshake(Flow& flow, Micros now) {
  if (!attached()) {
    wait_for_control(flow);
    return false;
  }
  const uint32_t threads = endpoints_ - 1;
  const uint32_t endpoint = 1 + flow.client_hash % threads;
  abi::HandshakeBegin message;
  message.client = flow.client().tuple.remote;
  message.service = flow.client().tuple.local;
  message.waited_us = tcp::since(flow.opened_at, now);
  if (!send_or_stall(flow, endpoint, message)) return false;
  if (flow.waiting_for_control) {
    flow.waiting_for_control = false;
    --waiting_for_control_;
  }
  flow.endpoint = static_cast<uint8_t>(endpoint);
  use_.counters.add(Counter::tls_handshakes_begun);
  set_phase(flow, FlowPhase::ExpectKeys);
  return true;
}

// Control has gone before it answered: all that it was sent is still in the receive queue.
void Engine::rewind_handshake(Flow& flow) {
  flow.endpoint = 0;
  flow.sent_bytes = 0;
  flow.record_left_bytes = 0;
  flow.record_phase = tls::RecordPhase::BeforeServer;
  flow.end_reported = false;
  wait_for_control(flow);
}

void Engine::wait_for_control(Flow& flow) {
  if (flow.waiting_for_control) return;
  if (waiting_for_control_ >= abi::kMaxWaitingForControl) {
    return abort(flow, CloseReason::control_queue_full);
  }
  flow.waiting_for_control = true;
  ++waiting_for_control_;
  use_.counters.add(Counter::tls_waited_for_control);
  set_phase(flow, FlowPhase::ExpectControl);
}

// Sends what is left of the record at `sent_bytes`, chunk by chunk. False: the ring is full.
bool Engine::send_record(Flow& flow, Micros) {
  while (flow.record_left_bytes > 0) {
    if (chunks_left_ == 0) {
      stall(flow);
      return false;
    }
    --chunks_left_;
    abi::HandshakeBytes message;
    const uint32_t length = std::min(flow.record_left_bytes, abi::kMaxChunkBytes);
    const uint32_t offset = flow.sent_bytes - flow.released_bytes;
    SLUICE_ASSERT(flow.client().receive.peek(offset, message.bytes, length) == length);
    message.offset = flow.sent_bytes;
    message.length = static_cast<uint16_t>(length);
    message.record_end = length == flow.record_left_bytes ? 1 : 0;
    const uint32_t size = static_cast<uint32_t>(offsetof(abi::HandshakeBytes, bytes)) + length;
    if (!send_or_stall(flow, flow.endpoint, message, size)) return false;
    flow.sent_bytes += length;
    flow.record_left_bytes -= length;
  }
  return true;
}

// The worker's own refusal. An alert in plaintext means something only before the server's flight.
void Engine::refuse(Flow& flow, const tls::Refusal& refusal, Micros now) {
  if (flow.transmitted_bytes != 0) return await_answer(flow, refusal.reason);
  if (refusal.alert != tls::Alert::none) {
    const auto alert = tls::plain_alert(refusal);
    flow.alert_sent = static_cast<uint8_t>(refusal.alert);
    use_.counters.add(Counter::tls_alerts_out);
    if (!append_bytes(flow, Side::Client, alert.data(), static_cast<uint32_t>(alert.size())))
      return;
  }
  finish_client(flow, refusal.reason, now);
}

// Tells control, once, how a flow ended that never got its keys. Flows that said nothing at all
// are not worth a message; a full ring loses the report, and control's own deadline clears up.
// False: the ring is full.
bool Engine::report_end(Flow& flow, CloseReason reason, bool awaits_answer) {
  if (!attached() || flow.end_reported) return true;
  if (flow.endpoint == 0 && reason == CloseReason::client_gone) return true;
  abi::HandshakeEnd message;
  message.client = flow.client().tuple.remote;
  message.service = flow.client().tuple.local;
  message.reason = static_cast<uint16_t>(reason);
  message.alert = flow.alert_sent;
  message.awaits_answer = awaits_answer ? 1 : 0;
  flow.end_reported = send(flow.endpoint != 0 ? flow.endpoint : 1U, message, id_of(flow));
  return flow.end_reported;
}

void Engine::on_transmit(Flow& flow, const abi::TransmitBytes& message, Micros) {
  if (flow.phase != FlowPhase::ExpectKeys ||
      flow.transmitted_bytes + message.length > abi::kMaxHandshakeBytes) {
    use_.counters.add(Counter::ring_bad_message);
    return abort(flow, CloseReason::bad_keys);
  }
  flow.transmitted_bytes += message.length;
  if (flow.record_phase == tls::RecordPhase::BeforeServer) {
    flow.record_phase = tls::RecordPhase::Handshake;
  }
  append_bytes(flow, Side::Client, message.bytes, message.length);
}

void Engine::on_credit(Flow& flow, const abi::GrantCredit& message) {
  if (flow.phase != FlowPhase::ExpectKeys ||
      message.bytes > flow.sent_bytes - flow.released_bytes) {
    use_.counters.add(Counter::ring_bad_message);
    return abort(flow, CloseReason::bad_keys);
  }
  tcp::tcp_consume(use_.stack, flow.client(), message.bytes);
  flow.released_bytes += message.bytes;
}

void Engine::on_keys(Flow& flow, const abi::InstallKeys& message, Micros now) {
  if (flow.phase != FlowPhase::ExpectKeys || message.consumed_bytes < flow.released_bytes ||
      message.consumed_bytes > flow.sent_bytes ||
      !tls::install_keys(use_.records, message, flow.keys)) {
    use_.counters.add(Counter::ring_bad_message);
    return abort(flow, CloseReason::bad_keys);
  }
  tcp::tcp_consume(use_.stack, flow.client(), message.consumed_bytes - flow.released_bytes);
  flow.record_left_bytes = 0;
  flow.host_tag = message.host_tag;
  flow.end_reported = true;  // control knows: it installed the keys
  unlink_handshake(flow);
  use_.counters.add(Counter::tls_handshakes_done);
  flow.active_at = tcp::to_millis(now);
  flow.ramp = {0, flow.active_at};
  set_phase(flow, FlowPhase::ExpectBackend);
  if (!start_backend(flow, message.backend, now)) {
    close_with_alert(flow, {CloseReason::no_backend_port, tls::Alert::internal_error}, now);
  }
}

void Engine::on_close(Flow& flow, const abi::CloseFlow& message, Micros now) {
  if (flow.phase != FlowPhase::ExpectKeys) return;
  flow.end_reported = true;
  const auto reason = static_cast<CloseReason>(message.reason);
  if (message.reset != 0) return abort(flow, reason);
  finish_client(flow, reason, now);
}

}  // namespace sluice::flow
