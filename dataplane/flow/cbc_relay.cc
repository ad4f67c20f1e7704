// The relay's records of CBC suites: queued while flows are served, run in batches over all flows.
//
//   open_records -> queue_open: linearised into the backend's tail  -> run_opens -> its send queue
//   seal_data    -> queue_seal: linearised into the client's tail   -> run_seals -> its send queue
//
// `serve` runs the batches when they are full and when no flow is dirty any more, and goes on until
// both are empty. A completed record makes its flow dirty again, for what could not be queued
// behind it: of one flow records are queued only while none of an earlier turn wait (`open_queued`,
// `seal_queued`), and whatever must come behind them (an end, a refusal, an alert) waits too.
//
// Seals run before opens, and before whatever is sealed at once, so that what a record answers is
// sealed behind what was sealed before it. A flow that has ended meanwhile is known by generation
// and phase; its jobs are dropped, and the buffer is the batch's own until then.
#include <cstring>

#include "abi/assert.h"
#include "flow/engine.h"
#include "flow/gather.h"
#include "tls/post_handshake.h"

namespace sluice::flow {

using abi::CloseReason;

namespace {

// Plaintext up to this is moved together with what precedes it, so that small records share slices.
constexpr uint32_t kMovedBytes = 1024;

}  // namespace

// Takes room at the end of a send queue for good. Null: no buffer is free.
uint8_t* Engine::claim(Flow& flow, Side to, uint32_t bytes, QueuedRecord& record) {
  uint8_t* const out = reserve(flow, to, bytes);
  if (out == nullptr) return nullptr;
  uint32_t& used_bytes = flow.tails.used_bytes[number(to)];
  used_bytes += bytes;
  record = {index_of(flow), flow.generation, flow.tails.owner[number(to)], used_bytes, 0};
  net::retain(record.buffer);
  return out;
}

// False: the rest of the flow's records waits, for the batch or for a buffer.
bool Engine::queue_open(Flow& flow, uint32_t record_bytes) {
  if (batch_->opens.full()) return false;
  QueuedRecord record;
  uint8_t* const out =
      claim(flow, Side::Backend, record_bytes - abi::kRecordHeaderBytes, record);
  if (out == nullptr) {
    stall(flow);
    return false;
  }
  Pieces pieces;
  gather_record(flow, record_bytes, pieces);
  tls::prepare_open(flow.keys, pieces.span(), out, batch_->opens.add(record));
  tcp::tcp_consume(use_.stack, flow.client(), record_bytes);
  flow.open_queued = true;
  return true;
}

bool Engine::queue_seal(Flow& flow, std::span<const crypto::ConstPiece> plaintext,
                        uint32_t sealed_bytes) {
  QueuedRecord record;
  uint8_t* const out = claim(flow, Side::Client, sealed_bytes, record);
  if (out == nullptr) {
    stall(flow);
    return false;
  }
  record.sealed_bytes = sealed_bytes;
  tls::prepare_seal(flow.keys, tls::ContentType::application_data, plaintext, out,
                    batch_->seals.add(record));
  flow.seal_queued = true;
  return true;
}

// The flow of a queued record, null when that has ended or is ending.
Flow* Engine::waiting_flow(const QueuedRecord& record) {
  Flow& flow = flows_[record.flow_index];
  const bool waits = flow.in_use && flow.generation == record.flow_generation &&
                     flow.phase != FlowPhase::Closing;
  return waits ? &flow : nullptr;
}

void Engine::run_seals() {
  const std::span<tls::CbcSeal> jobs = batch_->seals.jobs();
  for (uint32_t i = 0; i < jobs.size(); ++i) {
    if (waiting_flow(batch_->seals.record(i)) == nullptr) jobs[i].keys = nullptr;
  }
  tls::seal_batch(use_.records, jobs);
  for (uint32_t i = 0; i < jobs.size(); ++i) {
    const QueuedRecord& record = batch_->seals.record(i);
    if (Flow* const flow = waiting_flow(record)) {
      flow->seal_queued = false;
      mark_dirty(*flow);
      send_bytes(*flow, Side::Client, record.buffer, jobs[i].out, record.sealed_bytes);
    }
    net::release(record.buffer);
  }
  batch_->seals.clear();
}

void Engine::run_opens(Micros now) {
  const std::span<tls::CbcOpen> jobs = batch_->opens.jobs();
  for (uint32_t i = 0; i < jobs.size(); ++i) {
    if (waiting_flow(batch_->opens.record(i)) == nullptr) jobs[i].keys = nullptr;
  }
  tls::open_batch(use_.records, jobs);
  for (uint32_t i = 0; i < jobs.size(); ++i) {
    const QueuedRecord& record = batch_->opens.record(i);
    if (Flow* const flow = waiting_flow(record)) {
      flow->open_queued = false;
      mark_dirty(*flow);
      // RFC 5246 7.2.1: what follows close_notify is ignored.
      if (!flow->client_closed) complete_open(*flow, record, jobs[i], now);
    }
    net::release(record.buffer);
  }
  batch_->opens.clear();
}

void Engine::complete_open(Flow& flow, const QueuedRecord& record, const tls::CbcOpen& job,
                           Micros now) {
  const tls::OpenResult& opened = job.result;
  if (opened.verdict != tls::Verdict::Accept) return close_with_alert(flow, opened.refusal, now);
  uint8_t reply[tls::kMaxReplyBytes];
  const tls::Action action = tls::handle_record(use_.records, flow.keys, opened.type,
                                                {job.plaintext, opened.length}, reply);
  if (action.kind != tls::ActionKind::Deliver) {
    static_cast<void>(act(flow, action, reply, now));
    return;
  }
  note_delivered(flow, opened.length, now);
  deliver_opened(flow, record, job.plaintext, opened.length);
}

// Queues opened plaintext for the backend. IV, MAC and padding leave gaps: a small record is moved
// up to the one before, and the room behind the last one is given back.
void Engine::deliver_opened(Flow& flow, const QueuedRecord& record, uint8_t* plaintext,
                            uint32_t length) {
  const tcp::SliceQueue& queue = flow.backend().send;
  if (length <= kMovedBytes && !queue.empty()) {
    const net::Slice last = queue.tail()->slice();
    if (last.owner == record.buffer) {
      uint8_t* const end = last.data + last.length;
      SLUICE_ASSERT(end <= plaintext);
      std::memmove(end, plaintext, length);
      plaintext = end;
    }
  }
  if (!send_bytes(flow, Side::Backend, record.buffer, plaintext, length)) return;
  Tails& tails = flow.tails;
  const uint32_t side = number(Side::Backend);
  if (tails.owner[side] != record.buffer || tails.used_bytes[side] != record.end_bytes) return;
  tails.used_bytes[side] = static_cast<uint32_t>(plaintext + length - record.buffer->data());
}

}  // namespace sluice::flow
