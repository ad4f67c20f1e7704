#include "fake_worker.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "abi/sleep.h"
#include "abi/validate.h"
#include "crypto/secret.h"

namespace sluice::control::testing {

FakeWorker::FakeWorker(uint32_t epoch, uint32_t endpoints) {
  const abi::RegionShape shape{1, endpoints};
  if (abi::Region::create(shape, epoch, region_) != abi::RegionError::None) {
    throw std::runtime_error("no region");
  }
  auto attached = std::make_shared<abi::AttachedDataplane>();
  if (abi::Region::map(dup(region_.fd()), shape, epoch, attached->region) !=
      abi::RegionError::None) {
    throw std::runtime_error("the region does not map");
  }
  attached->version = "test";
  const auto add_socket = [](std::vector<abi::Descriptor>& control,
                             std::vector<abi::Descriptor>& dataplane) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
      throw std::runtime_error("socketpair");
    }
    control.emplace_back(pair[0]);
    dataplane.emplace_back(pair[1]);
  };
  add_socket(attached->worker_wake, worker_wake_);
  for (uint32_t endpoint = 0; endpoint < endpoints; ++endpoint) {
    add_socket(attached->endpoint_wake, endpoint_wake_);
    to_control_.emplace_back(region_.ring(0, endpoint, abi::Direction::ToControl));
    from_control_.emplace_back(region_.ring(0, endpoint, abi::Direction::ToWorker));
  }
  attachment_ = std::move(attached);
}

FakeFlow& FakeWorker::begin(const std::string& client) {
  FakeFlow flow;
  flow.id.generation = 100 + next_index_;
  flow.id.index = next_index_++;
  abi::HandshakeBegin message;
  abi::parse_socket_address(client, message.client);
  abi::parse_socket_address("10.99.1.10:443", message.service);
  push(message, flow.id);
  return flows_.emplace(flow.id.index, std::move(flow)).first->second;
}

void FakeWorker::push_bytes(const void* bytes, uint32_t length, uint32_t endpoint) {
  if (to_control_[endpoint].push(bytes, length) != abi::RingResult::Ok) {
    throw std::runtime_error("the ring to control is full");
  }
  if (abi::must_wake(region_.endpoint(endpoint).sleeping)) {
    abi::wake(endpoint_wake_[endpoint].get());
  }
}

void FakeWorker::client_sends(FakeFlow& flow, const std::vector<uint8_t>& bytes) {
  flow.stream.insert(flow.stream.end(), bytes.begin(), bytes.end());
  hand_over(flow);
}

void FakeWorker::hand_over(FakeFlow& flow) {
  while (!flow.keys && !flow.closed && flow.stream.size() >= flow.handed_over + 5) {
    const uint8_t* record = flow.stream.data() + flow.handed_over;
    const size_t length = 5 + (size_t{record[3]} << 8 | record[4]);
    if (flow.stream.size() < flow.handed_over + length || flow.credit < length) return;
    size_t at = 0;
    while (at < length) {
      abi::HandshakeBytes message;
      message.offset = static_cast<uint32_t>(flow.handed_over + at);
      message.length = static_cast<uint16_t>(std::min<size_t>(length - at, abi::kMaxChunkBytes));
      std::memcpy(message.bytes, record + at, message.length);
      at += message.length;
      message.record_end = at == length ? 1 : 0;
      push(message, flow.id, 1,
           static_cast<uint32_t>(offsetof(abi::HandshakeBytes, bytes) + message.length));
    }
    flow.credit -= static_cast<uint32_t>(length);
    flow.handed_over += length;
  }
}

bool FakeWorker::drain() {
  abi::MessageBuffer buffer;
  bool valid = true;
  while (from_control_[1].pop(buffer) == abi::RingResult::Ok) {
    valid = valid && abi::validate_for_worker(buffer, region_.epoch()) == abi::MessageError::None;
    const auto found = flows_.find(buffer.header().flow.index);
    if (found == flows_.end()) continue;
    FakeFlow& flow = found->second;
    if (const auto* bytes = buffer.as<abi::TransmitBytes>()) {
      flow.to_client.insert(flow.to_client.end(), bytes->bytes, bytes->bytes + bytes->length);
      flow.sent.insert(flow.sent.end(), bytes->bytes, bytes->bytes + bytes->length);
    } else if (const auto* credit = buffer.as<abi::GrantCredit>()) {
      flow.credit += credit->bytes;
      hand_over(flow);
    } else if (const auto* keys = buffer.as<abi::InstallKeys>()) {
      valid = valid && !flow.keys && !flow.closed;
      flow.keys = *keys;
      crypto::secure_zero(buffer.bytes, sizeof buffer.bytes);
    } else if (const auto* close = buffer.as<abi::CloseFlow>()) {
      valid = valid && !flow.keys && !flow.closed;
      flow.closed = *close;
    }
  }
  return valid;
}

void FakeWorker::end(FakeFlow& flow, abi::CloseReason reason, bool awaits_answer) {
  abi::HandshakeEnd message;
  abi::parse_socket_address("10.99.1.2:40000", message.client);
  abi::parse_socket_address("10.99.1.10:443", message.service);
  message.reason = static_cast<uint16_t>(reason);
  message.awaits_answer = awaits_answer ? 1 : 0;
  push(message, flow.id);
}

std::vector<abi::ListFlows> FakeWorker::drain_list_flows() {
  std::vector<abi::ListFlows> requests;
  abi::MessageBuffer buffer;
  while (from_control_[0].pop(buffer) == abi::RingResult::Ok) {
    if (const auto* list = buffer.as<abi::ListFlows>()) requests.push_back(*list);
  }
  return requests;
}

}  // namespace sluice::control::testing
