// A flow with its keys: client records are opened into the backend's send queue, backend bytes are
// sealed into the client's. The decryption and the encryption are the only copies.
//
//   client.receive --open_record--> tails[Backend] = slices of backend's send queue
//   backend.receive --seal_record--> tails[Client] = slices of client's send queue
//
// Back-pressure: nothing is taken off one side's receive queue before the other side's send queue
// has room for it, and TCP advertises no more window than the receive queue has left. Many small
// records share a buffer (Tail), so that what is held stays in proportion to what is queued.
//
// CBC records go through batches over all flows: cbc_relay.cc.
//
// Records to the client begin small, one to a segment, so that a browser can use each segment as it
// comes; in bulk they are as long as they may be (record_limit). Whatever the backend has said is
// sealed at once: no record waits for more.
//
// Ends: close_notify from the client -> FIN to the backend; FIN from the backend -> close_notify
// and FIN to the client; a client FIN without close_notify is a truncation -> RST to the backend.
#include "abi/assert.h"
#include "flow/engine.h"
#include "flow/gather.h"
#include "tls/limits.h"
#include "tls/open.h"
#include "tls/post_handshake.h"
#include "tls/seal.h"

namespace sluice::flow {

using abi::CloseReason;
using abi::Counter;

void Engine::relay_step(Flow& flow, Micros now) {
  if (flow.protocol == Protocol::Tls) {
    if (!flow.open_queued) open_records(flow, now);
    if (flow.phase != FlowPhase::Closing && !flow.seal_queued) seal_data(flow, now);
  } else {
    pass_data(flow, Side::Client, now);
    pass_data(flow, Side::Backend, now);
  }
  if (flow.open_queued || flow.seal_queued) return;  // an end stands behind them
  if (flow.phase != FlowPhase::Closing) end_directions(flow, now);
}

// ---- Client to backend.

void Engine::open_records(Flow& flow, Micros now) {
  uint32_t queued_bytes = 0;  // that are not in the backend's send queue yet
  while (!flow.client_closed && flow.phase != FlowPhase::Closing) {
    const tcp::ReceiveQueue& queue = flow.client().receive;
    uint8_t header[abi::kRecordHeaderBytes];
    const uint32_t length = queue.peek(0, header, sizeof header);
    if (length == 0) return;
    const tls::Frame frame =
        tls::next_record(tls::phase_of(flow.keys), std::span<const uint8_t>(header, length));
    if (frame.verdict == tls::Verdict::Refuse) {
      if (flow.open_queued) return;  // the records in front of it first
      return close_with_alert(flow, frame.refusal, now);
    }
    if (frame.verdict == tls::Verdict::NeedMore) return;
    if (queue.readable_bytes() < frame.record_bytes) return compact_received(flow);
    const uint32_t room = tls::open_output_bytes(flow.keys, frame.header.length);
    if (tcp::tcp_send_space_bytes(use_.stack, flow.backend()) < queued_bytes + room) return;
    if (flow.keys.cbc()) {
      if (!queue_open(flow, frame.record_bytes)) return;
      queued_bytes += room;
    } else if (!open_one(flow, frame.record_bytes, now)) {
      return;
    }
  }
  if (flow.client_closed) {  // RFC 8446 6.1: what follows close_notify is ignored
    tcp::tcp_consume(use_.stack, flow.client(), flow.client().receive.readable_bytes());
  }
}

bool Engine::open_one(Flow& flow, uint32_t record_bytes, Micros now) {
  uint8_t* const out =
      reserve(flow, Side::Backend,
              tls::open_output_bytes(flow.keys, record_bytes - abi::kRecordHeaderBytes));
  if (out == nullptr) {
    stall(flow);
    return false;
  }
  Pieces pieces;
  gather_record(flow, record_bytes, pieces);
  const tls::OpenResult opened = tls::open_record(use_.records, flow.keys, pieces.span(), out);
  tcp::tcp_consume(use_.stack, flow.client(), record_bytes);
  if (opened.verdict != tls::Verdict::Accept) {
    close_with_alert(flow, opened.refusal, now);
    return false;
  }
  uint8_t reply[tls::kMaxReplyBytes];
  const tls::Action action =
      tls::handle_record(use_.records, flow.keys, opened.type, {out, opened.length}, reply);
  if (action.kind != tls::ActionKind::Deliver) return act(flow, action, reply, now);
  note_delivered(flow, opened.length, now);
  return commit(flow, Side::Backend, opened.length);
}

// What a record without data asks for. False: no further record is to be opened now.
bool Engine::act(Flow& flow, const tls::Action& action, const uint8_t* reply, Micros now) {
  switch (action.kind) {
    case tls::ActionKind::Deliver:
    case tls::ActionKind::Ignore:
      return true;
    case tls::ActionKind::Reply:
      // No send space is asked for here, so answers to who never reads must end somewhere.
      if (flow.client().send.held_bytes() > 2 * use_.stack.config.send_limit_bytes) {
        abort(flow, CloseReason::too_many_warnings);
        return false;
      }
      return append_bytes(flow, Side::Client, reply, action.reply_bytes);
    case tls::ActionKind::PeerClosed:
      flow.client_closed = true;
      tcp::tcp_send_fin(use_.stack, flow.backend());
      return true;
    case tls::ActionKind::Close:
      close_with_alert(flow, action.refusal, now);
      return false;
  }
  return false;
}

// ---- Backend to client.

void Engine::seal_data(Flow& flow, Micros now) {
  uint32_t queued_bytes = 0;  // that are not in the client's send queue yet
  while (!flow.backend_closed) {
    if (tls::key_update_due(use_.records, flow.keys) && !update_keys(flow, now)) return;
    const uint32_t readable = flow.backend().receive.readable_bytes();
    if (readable == 0) return;
    const uint32_t limit_bytes = record_limit(flow, now);
    Pieces pieces;
    gather(flow.backend().receive, std::min(readable, limit_bytes), pieces);
    const uint32_t padding = tls::choose_padding(use_.records, flow.keys, pieces.length);
    const uint32_t sealed_bytes = tls::sealed_size(flow.keys, pieces.length, padding);
    if (tcp::tcp_send_space_bytes(use_.stack, flow.client()) < queued_bytes + sealed_bytes) return;
    if (tls::seal_limit_reached(flow.keys, tls::ContentType::application_data)) {
      if (flow.seal_queued) return;
      return close_with_alert(flow, {CloseReason::sequence_exhausted, tls::Alert::internal_error},
                              now);
    }
    if (flow.keys.cbc()) {
      if (batch_->seals.full() || !queue_seal(flow, pieces.span(), sealed_bytes)) return;
      queued_bytes += sealed_bytes;
    } else {
      uint8_t* const out = reserve(flow, Side::Client, sealed_bytes);
      if (out == nullptr) return stall(flow);
      const uint32_t written =
          tls::seal_record(use_.records, flow.keys, tls::ContentType::application_data,
                           pieces.span(), out, padding);
      SLUICE_ASSERT(written == sealed_bytes);
      if (!commit(flow, Side::Client, written)) return;
    }
    tcp::tcp_consume(use_.stack, flow.backend(), pieces.length);
    flow.bytes_to_client += pieces.length;
    flow.active_at = tcp::to_millis(now);
    flow.ramp.sealed_at = flow.active_at;
    flow.ramp.bytes += pieces.length;
    if (limit_bytes < tls::max_plaintext(flow.keys)) use_.counters.add(Counter::tls_small_records);
    // TLS 1.0: the next record's IV is the end of this one.
    if (flow.seal_queued && flow.keys.version == tls::TlsVersion::Tls10) return;
  }
}

// Application bytes of the next record at most.
uint32_t Engine::record_limit(Flow& flow, Micros now) {
  const uint32_t most_bytes = tls::max_plaintext(flow.keys);
  RecordRamp& ramp = flow.ramp;
  if (tcp::since(ramp.sealed_at, now) >= config_.record_size.idle_us) ramp.bytes = 0;
  if (!config_.record_size.dynamic || ramp.bytes >= config_.record_size.full_after_bytes) {
    ramp.bytes = std::min(ramp.bytes, config_.record_size.full_after_bytes);
    return most_bytes;
  }
  return tls::plaintext_within(use_.records, flow.keys, tcp::effective_mss(flow.client()));
}

// TLS 1.3: our KeyUpdate, and then the next key. False: the flow cannot get on.
bool Engine::update_keys(Flow& flow, Micros now) {
  uint8_t* const update = reserve(flow, Side::Client, tls::kMaxReplyBytes);
  if (update == nullptr) {
    stall(flow);
    return false;
  }
  const uint32_t length = tls::seal_key_update(use_.records, flow.keys, update);
  if (length == 0) {
    close_with_alert(flow, {CloseReason::sequence_exhausted, tls::Alert::none}, now);
    return false;
  }
  return commit(flow, Side::Client, length);
}

// ---- A plain relay: the received slices themselves are queued on the other side.

void Engine::pass_data(Flow& flow, Side from, Micros now) {
  const tcp::ReceiveQueue& queue = flow.side(from).receive;
  tcp::Tcb& to = flow.side(other(from));
  uint64_t& bytes = from == Side::Client ? flow.bytes_from_client : flow.bytes_to_client;
  while (queue.readable_bytes() > 0) {
    const net::Slice slice = queue.head()->slice();
    if (tcp::tcp_send_space_bytes(use_.stack, to) < slice.length) return;
    net::retain(slice.owner);
    if (!tcp::tcp_send(use_.stack, to, slice)) {
      net::release(slice.owner);
      return stall(flow);
    }
    tcp::tcp_consume(use_.stack, flow.side(from), slice.length);
    bytes += slice.length;
    flow.active_at = tcp::to_millis(now);
  }
}

// ---- Ends.

void Engine::end_directions(Flow& flow, Micros now) {
  if (!flow.backend_closed && peer_finished(flow.backend()) &&
      flow.backend().receive.readable_bytes() == 0) {
    if (flow.protocol == Protocol::Tls) {  // the room first: what is sealed must be sent
      uint8_t* const notify = reserve(flow, Side::Client, tls::kMaxReplyBytes);
      if (notify == nullptr) return stall(flow);
      const uint32_t length =
          tls::seal_alert(use_.records, flow.keys, tls::Alert::close_notify, notify);
      if (length == 0) {
        return close_with_alert(flow, {CloseReason::sequence_exhausted, tls::Alert::none}, now);
      }
      if (!commit(flow, Side::Client, length)) return;
    }
    flow.backend_closed = true;
    tcp::tcp_send_fin(use_.stack, flow.client());
  }
  if (flow.client_closed || !peer_finished(flow.client())) return;
  if (flow.protocol == Protocol::Tcp) {
    if (flow.client().receive.readable_bytes() > 0) return;
    flow.client_closed = true;
    tcp::tcp_send_fin(use_.stack, flow.backend());
    return;
  }
  // No whole record may be left that only waits for room at the backend.
  uint8_t header[abi::kRecordHeaderBytes];
  const uint32_t left = flow.client().receive.readable_bytes();
  if (flow.client().receive.peek(0, header, sizeof header) == sizeof header) {
    const tls::Frame frame = tls::next_record(tls::phase_of(flow.keys),
                                              std::span<const uint8_t>(header, sizeof header));
    if (frame.verdict == tls::Verdict::Accept && frame.record_bytes <= left) return;
  }
  flow.client_closed = true;
  finish_client(flow, CloseReason::client_truncated, now);
}

// The flow ends on our word: the alert goes out sealed, then FIN; the backend sees RST.
void Engine::close_with_alert(Flow& flow, const tls::Refusal& refusal, Micros now) {
  if (flow.seal_queued) {  // what was sealed before goes out before
    run_seals();
    if (flow.phase == FlowPhase::Closing) return;
  }
  if (refusal.alert != tls::Alert::none && flow.keys.installed()) {
    uint8_t alert[tls::kMaxReplyBytes];
    const uint32_t length = tls::seal_alert(use_.records, flow.keys, refusal.alert, alert);
    if (length != 0) {
      if (!append_bytes(flow, Side::Client, alert, length)) return;
      flow.alert_sent = static_cast<uint8_t>(refusal.alert);
    }
  }
  finish_client(flow, refusal.reason, now);
}

// ---- The backend's connection.

bool Engine::start_backend(Flow& flow, const abi::SocketAddress& backend, Micros now) {
  net::FlowTuple tuple;
  tcp::TimeWaitReuse previous;
  if (!choose_source(backend, tuple, previous, now)) return false;
  const FlowRef reference{index_of(flow), Side::Backend};
  tcp::tcp_connect(use_.stack, flow.backend(), tuple, now, &previous);
  flow.backend().ack_small = true;  // a response's tail has nothing to ride on
  flow.backend_hash = table_.hash(tuple);
  SLUICE_ASSERT(table_.insert(flow.backend_hash, reference));
  flow.hashed_backend = true;
  return true;
}

}  // namespace sluice::flow
