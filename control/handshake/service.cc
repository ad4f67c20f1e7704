// Theory of operation.
//
//   HandshakeBegin   -> `flows_` gets an entry; no OpenSSL object yet
//   HandshakeBytes   -> appended to `record`; at record_end: engine -> TransmitBytes..., and then
//                       nothing (more records), InstallKeys (done) or CloseFlow (failed)
//   HandshakeEnd     -> the entry goes; the reason is logged
//   deadline         -> CloseFlow
//
// Credit: a flow begins with kHandshakeCreditBytes. What the engine has consumed is granted again
// in portions, up to kMaxHandshakeBytes in all. Messages for flows that are not in `flows_` are
// late and miss: after InstallKeys a worker may still have sent records that it keeps and opens
// itself.
//
// Deadlines act between records; the longest single call of the engine is kept in the statistics.
#include "control/handshake/service.h"

#include <poll.h>

#include <algorithm>
#include <cstring>

#include "abi/close_reason.h"
#include "abi/log/log.h"

namespace sluice::control::handshake {
namespace {

constexpr uint32_t kGrantPortionBytes = 16 * 1024;
constexpr uint32_t kMaxRecordBytes = abi::kRecordHeaderBytes + abi::kMaxCiphertext12Bytes;
constexpr uint64_t kForeverUs = 3'600'000'000;
constexpr uint64_t kRetryWaitingUs = 1'000;

std::string direction_of(const Failure& failure) {
  if (failure.alert_sent != kNoAlert) return "sent";
  return failure.alert_received != kNoAlert ? "received" : "none";
}

std::string alert_of(const Failure& failure) {
  const uint8_t alert =
      failure.alert_sent != kNoAlert ? failure.alert_sent : failure.alert_received;
  return alert == kNoAlert ? "none" : alert_name(alert);
}

abi::CloseReason close_reason_of(const Failure& failure) {
  switch (failure.code) {
    case FailureCode::PeerAlert:
      return abi::CloseReason::client_alert;
    case FailureCode::TooLong:
      return abi::CloseReason::handshake_too_long;
    case FailureCode::Deadline:
      return abi::CloseReason::handshake_timeout;
    case FailureCode::UnsupportedVersion:
    case FailureCode::NoSharedCipher:
    case FailureCode::NoSharedGroup:
    case FailureCode::NoSharedSignature:
    case FailureCode::UnknownServerName:
    case FailureCode::NoApplicationProtocol:
    case FailureCode::BadRecord:
    case FailureCode::BadMessage:
    case FailureCode::UnexpectedMessage:
    case FailureCode::BadFinished:
    case FailureCode::DataBehindFinished:
    case FailureCode::TooManyHandshakes:
    case FailureCode::QueueFull:
    case FailureCode::BadInput:
    case FailureCode::Internal:
      return abi::CloseReason::handshake_failed;
  }
  return abi::CloseReason::handshake_failed;
}

}  // namespace

Service::Service(const ControlConfig& config, Engine& engine, Loop& loop, uint32_t endpoint,
                 ServiceStats& stats)
    : config_(config), engine_(engine), loop_(loop), endpoint_(endpoint), stats_(stats) {}

Service::~Service() { detach(); }

void Service::attach(AttachmentPtr attachment) {
  detach();
  link_ = WorkerLink(attachment, endpoint_);
  const int fd = link_.wake_fd();
  // The capture keeps the descriptor open for as long as the kernel watches it.
  wake_watch_ = loop_.watch(fd, POLLIN, [attachment, fd](int32_t) { abi::drain_wake(fd); });
}

void Service::detach() {
  if (!link_.attached()) return;
  if (!flows_.empty()) {
    log::warning("handshakes dropped", {{"handshakes", flows_.size()}, {"endpoint", endpoint_}});
  }
  loop_.cancel(wake_watch_);
  flows_.clear();
  deadlines_.clear();
  stats_.in_flight = 0;
  link_ = WorkerLink();
}

bool Service::poll() {
  const bool worked = link_.poll(*this);
  expire(Loop::now_us());
  link_.flush();
  return worked;
}

bool Service::may_sleep() { return link_.may_sleep(); }
void Service::woke() { link_.woke(); }

uint64_t Service::longest_sleep_us() {
  if (link_.has_waiting()) return kRetryWaitingUs;
  if (deadlines_.empty()) return kForeverUs;
  const uint64_t now = Loop::now_us();
  return deadlines_.front().when_us > now ? deadlines_.front().when_us - now : 1;
}

void Service::on_message(uint32_t, const abi::MessageBuffer& message) {
  if (const auto* bytes = message.as<abi::HandshakeBytes>()) {
    on_bytes(*bytes);
  } else if (const auto* begin = message.as<abi::HandshakeBegin>()) {
    on_begin(*begin);
  } else if (const auto* end = message.as<abi::HandshakeEnd>()) {
    on_end(*end);
  } else {
    stats_.bad_messages.fetch_add(1, std::memory_order_relaxed);  // FlowRow: nobody here asked
  }
}

void Service::on_bad_message(uint32_t worker, abi::MessageError error) {
  const uint64_t count = stats_.bad_messages.fetch_add(1, std::memory_order_relaxed) + 1;
  if ((count & (count - 1)) != 0) return;  // the first, second, fourth ...: never a flood of lines
  log::error("a message from the dataplane was refused",
             {{"worker", worker}, {"error", abi::message_error_text(error)}, {"count", count}});
}

void Service::on_broken_ring(uint32_t worker) {
  log::error("a ring of the dataplane is broken", {{"worker", worker}, {"endpoint", endpoint_}});
  if (on_ring_failure_) on_ring_failure_();
}

void Service::on_begin(const abi::HandshakeBegin& begin) {
  const abi::FlowId id = begin.header.flow;
  if (const auto old = flows_.find(id); old != flows_.end()) {
    fail(old->second, FailureCode::BadInput, "the worker began this flow twice");
    return;
  }
  Flow flow;
  flow.id = id;
  flow.client = begin.client;
  flow.service = begin.service;
  flow.begun_us = Loop::now_us();
  flow.deadline_us = flow.begun_us + uint64_t{config_.dataplane.handshake_wait_ms} * 1000;
  flow.granted_bytes = abi::kHandshakeCreditBytes;
  stats_.begun.fetch_add(1, std::memory_order_relaxed);
  if (flows_.size() >= kMaxHandshakes) {
    fail(flow, FailureCode::TooManyHandshakes, "as many handshakes as are allowed are under way");
    return;
  }
  deadlines_.push_back({flow.deadline_us, id});
  flows_.emplace(id, std::move(flow));
  stats_.in_flight.store(flows_.size(), std::memory_order_relaxed);
}

void Service::on_bytes(const abi::HandshakeBytes& bytes) {
  const auto found = flows_.find(bytes.header.flow);
  if (found == flows_.end()) return;
  Flow& flow = found->second;
  if (bytes.offset != flow.received_bytes || flow.record.size() + bytes.length > kMaxRecordBytes) {
    fail(flow, FailureCode::BadInput, "the worker's bytes have a gap or no record boundary");
    return;
  }
  if (bytes.length > flow.granted_bytes - flow.received_bytes) {
    fail(flow, FailureCode::BadInput, "the worker sent more than its credit");
    return;
  }
  flow.received_bytes += bytes.length;
  flow.record.insert(flow.record.end(), bytes.bytes, bytes.bytes + bytes.length);
  if (bytes.record_end == 0) return;
  const std::vector<uint8_t>& record = flow.record;
  if (record.size() < abi::kRecordHeaderBytes ||
      record.size() != abi::kRecordHeaderBytes + (size_t{record[3]} << 8 | record[4])) {
    fail(flow, FailureCode::BadInput, "the worker's record is not what its header says");
    return;
  }
  on_record(flow);
}

void Service::on_record(Flow& flow) {
  if (!flow.handshake) flow.handshake = engine_.begin();
  if (!flow.handshake) {
    fail(flow, FailureCode::Internal, "no memory for a handshake");
    return;
  }
  transmit_buffer_.clear();
  const uint64_t start_us = Loop::now_us();
  const Progress progress = flow.handshake->feed(flow.record, transmit_buffer_);
  const uint64_t took_us = Loop::now_us() - start_us;
  if (took_us > stats_.longest_call_us.load(std::memory_order_relaxed)) {
    stats_.longest_call_us.store(took_us, std::memory_order_relaxed);
  }
  flow.consumed_bytes += static_cast<uint32_t>(flow.record.size());
  flow.ungranted_bytes += static_cast<uint32_t>(flow.record.size());
  flow.record.clear();
  if (!transmit(flow, transmit_buffer_)) {
    fail(flow, FailureCode::QueueFull, "the dataplane does not take messages");
    return;
  }
  switch (progress) {
    case Progress::NeedRecord:
      grant(flow);
      return;
    case Progress::Done:
      install(flow);
      return;
    case Progress::Failed:
      fail(flow, flow.handshake->failure());
      return;
  }
}

void Service::grant(Flow& flow) {
  if (flow.consumed_bytes + kMaxRecordBytes > abi::kMaxHandshakeBytes) {
    fail(flow, FailureCode::TooLong, "the client's handshake has too many bytes");
    return;
  }
  const uint32_t left = abi::kMaxHandshakeBytes - flow.granted_bytes;
  const uint32_t portion = std::min(flow.ungranted_bytes, left);
  if (flow.ungranted_bytes < kGrantPortionBytes || portion == 0) return;
  abi::GrantCredit message;
  message.bytes = portion;
  if (!link_.send(message, flow.id)) {
    fail(flow, FailureCode::QueueFull, "the dataplane does not take messages");
    return;
  }
  flow.granted_bytes += portion;
  flow.ungranted_bytes = 0;
}

bool Service::transmit(Flow& flow, std::span<const uint8_t> bytes) {
  abi::TransmitBytes message;
  while (!bytes.empty()) {
    const size_t length = std::min<size_t>(bytes.size(), abi::kMaxChunkBytes);
    message.length = static_cast<uint16_t>(length);
    std::memcpy(message.bytes, bytes.data(), length);
    const auto total = static_cast<uint32_t>(offsetof(abi::TransmitBytes, bytes) + length);
    if (!link_.send(message, flow.id, total)) return false;
    flow.transmitted = true;
    bytes = bytes.subspan(length);
  }
  return true;
}

void Service::install(Flow& flow) {
  Session session;
  flow.handshake->take_session(session);
  const HostConfig& host = config_.hosts[session.host];
  uint32_t backend = host.backend;
  for (const BackendChoice& choice : host.backend_by_alpn) {
    if (!session.alpn.empty() && choice.alpn == session.alpn) backend = choice.backend;
  }
  abi::InstallKeys message;
  message.version = session.version;
  message.suite = session.suite;
  message.encrypt_then_mac = session.encrypt_then_mac;
  message.consumed_bytes = flow.consumed_bytes;
  message.host_tag = host_tag(session.host);
  message.backend = config_.dataplane.backends[backend].address;
  message.alpn_length = static_cast<uint8_t>(std::min(session.alpn.size(), sizeof message.alpn));
  std::memcpy(message.alpn, session.alpn.data(), message.alpn_length);
  message.open = session.open;
  message.seal = session.seal;
  const bool sent = link_.send(message, flow.id);
  crypto::secure_zero(&message, sizeof message);
  if (!sent) {
    fail(flow, FailureCode::QueueFull, "the dataplane does not take messages");
    return;
  }
  stats_.done.fetch_add(1, std::memory_order_relaxed);
  if (session.resumed) stats_.resumed.fetch_add(1, std::memory_order_relaxed);
  if (log::enabled(log::Level::Debug)) {
    log::debug("handshake done", {{"peer", abi::to_string(flow.client)},
                                  {"sni", flow.handshake->server_name()},
                                  {"alpn", session.alpn},
                                  {"version", session.version},
                                  {"suite", session.suite},
                                  {"resumed", session.resumed},
                                  {"took_us", Loop::now_us() - flow.begun_us}});
  }
  erase(flow.id);
}

void Service::fail(Flow& flow, FailureCode code, std::string reason) {
  Failure failure;
  if (flow.handshake) failure.phase = flow.handshake->failure().phase;
  failure.code = code;
  failure.reason = std::move(reason);
  fail(flow, failure);
}

// `flow` is gone afterwards.
void Service::fail(Flow& flow, const Failure& failure) {
  stats_.failed.fetch_add(1, std::memory_order_relaxed);
  const abi::CloseReason reason = close_reason_of(failure);
  log_failure(flow, failure, reason);
  // A client that is late or floods is not waited for; a flight cut short ends with a reset, so
  // that nobody takes it for a clean end.
  const bool mid_flight = flow.transmitted && failure.alert_sent == kNoAlert;
  close(flow.id, reason, mid_flight && failure.alert_received == kNoAlert);
  erase(flow.id);
}

void Service::close(const abi::FlowId& id, abi::CloseReason reason, bool reset) {
  abi::CloseFlow message;
  message.reason = static_cast<uint16_t>(reason);
  message.reset = reset ? 1 : 0;
  if (!link_.send(message, id)) {
    // The worker's own deadline ends the flow then.
    log::warning("the dataplane does not take messages", {{"worker", id.core}});
  }
}

// By value: `id` may live in the entry.
void Service::erase(const abi::FlowId& id) {
  const abi::FlowId key = id;
  flows_.erase(key);
  while (!deadlines_.empty() && flows_.count(deadlines_.front().id) == 0) deadlines_.pop_front();
  stats_.in_flight.store(flows_.size(), std::memory_order_relaxed);
}

void Service::expire(uint64_t now_us) {
  while (!deadlines_.empty() && deadlines_.front().when_us <= now_us) {
    const abi::FlowId id = deadlines_.front().id;
    deadlines_.pop_front();
    const auto found = flows_.find(id);
    if (found == flows_.end()) continue;
    fail(found->second, FailureCode::Deadline, "the handshake took too long");
  }
}

void Service::log_failure(const Flow& flow, const Failure& failure, abi::CloseReason reason) const {
  const std::string server_name = flow.handshake ? flow.handshake->server_name() : std::string();
  log::info("handshake failed", {{"peer", abi::to_string(flow.client)},
                                 {"service", abi::to_string(flow.service)},
                                 {"sni", server_name.empty() ? "none" : server_name},
                                 {"phase", phase_name(failure.phase)},
                                 {"code", failure_name(failure.code)},
                                 {"alert", alert_of(failure)},
                                 {"direction", direction_of(failure)},
                                 {"close", abi::close_reason_name(static_cast<uint16_t>(reason))},
                                 {"reason", failure.reason}});
}

// The flow ended in the worker: refused there (plain HTTP ...), or its client left.
void Service::on_end(const abi::HandshakeEnd& end) {
  const auto found = flows_.find(end.header.flow);
  const bool known = found != flows_.end();
  const auto reason = static_cast<abi::CloseReason>(end.reason);
  const bool waits_for_answer = end.awaits_answer != 0;
  if (waits_for_answer && !known) return;  // it has its InstallKeys or CloseFlow
  // Scanners and health checks connect and leave: not worth an operator's attention.
  const bool quiet = reason == abi::CloseReason::client_gone;
  const log::Level level = quiet ? log::Level::Debug : log::Level::Info;
  stats_.ended_by_worker.fetch_add(1, std::memory_order_relaxed);
  if (log::enabled(level)) {
    Failure alerts;
    alerts.alert_sent = end.alert;
    alerts.alert_received = end.peer_alert;
    std::string server_name;
    Phase phase = Phase::ExpectClientHello;
    if (known && found->second.handshake) {
      server_name = found->second.handshake->server_name();
      phase = found->second.handshake->failure().phase;
    }
    log::write(level, "handshake ended by the dataplane",
               {{"peer", abi::to_string(end.client)},
                {"service", abi::to_string(end.service)},
                {"sni", server_name.empty() ? "none" : server_name},
                {"phase", phase_name(phase)},
                {"code", abi::close_reason_name(end.reason)},
                {"alert", alert_of(alerts)},
                {"direction", direction_of(alerts)},
                {"reason", abi::close_reason_text(end.reason)}});
  }
  if (waits_for_answer) {
    close(end.header.flow, reason, reason != abi::CloseReason::client_closed_in_handshake);
  }
  if (known) erase(end.header.flow);
}

}  // namespace sluice::control::handshake
