// Theory of operation. `poll` pops into one private buffer and validates there: the slot is looked
// at once. The bound of `waiting` follows from the rule that a worker is not listened to while
// messages wait for it: one message from a worker makes at most one handshake's flight, and
// deadlines make one message for each handshake in flight.
//
// InstallKeys is wiped wherever a copy of it was made: in `waiting` here, in the slot by the
// worker.
#include "control/worker_link.h"

#include <cstring>

#include "abi/sleep.h"
#include "crypto/secret.h"

namespace sluice::control {
namespace {

constexpr size_t kMaxWaiting = 16'384;

bool carries_secrets(const abi::MessageHeader& header) {
  return header.type == static_cast<uint16_t>(abi::MessageType::InstallKeys);
}

}  // namespace

WorkerLink::WorkerLink(AttachmentPtr attachment, uint32_t endpoint)
    : attachment_(std::move(attachment)),
      endpoint_(endpoint),
      epoch_(attachment_->region.epoch()),
      lanes_(attachment_->region.shape().workers) {
  const abi::Region& region = attachment_->region;
  for (uint32_t worker = 0; worker < workers(); ++worker) {
    lanes_[worker].in = abi::RingConsumer(region.ring(worker, endpoint, abi::Direction::ToControl));
    lanes_[worker].out = abi::RingProducer(region.ring(worker, endpoint, abi::Direction::ToWorker));
  }
}

int WorkerLink::wake_fd() const { return attachment_->endpoint_wake[endpoint_].get(); }

bool WorkerLink::poll(Handler& handler) {
  bool worked = false;
  abi::MessageBuffer message;
  for (uint32_t worker = 0; worker < workers(); ++worker) {
    Lane& lane = lanes_[worker];
    for (uint32_t taken = 0; taken < abi::kRingBatch && lane.waiting.empty(); ++taken) {
      if (lane.in.pop(message) != abi::RingResult::Ok) break;
      worked = true;
      const abi::MessageError error =
          abi::validate_for_control(message, epoch_, static_cast<uint16_t>(worker));
      if (error == abi::MessageError::None) {
        handler.on_message(worker, message);
      } else {
        handler.on_bad_message(worker, error);
      }
    }
    if ((lane.in.broken() || lane.out.broken()) && !lane.reported) {
      lane.reported = true;
      handler.on_broken_ring(worker);
    }
  }
  return worked;
}

bool WorkerLink::send_bytes(uint16_t worker, const void* message, uint32_t length) {
  if (worker >= workers()) return false;
  Lane& lane = lanes_[worker];
  if (lane.waiting.empty()) {
    const abi::RingResult result = lane.out.push(message, length);
    lane.pushed = true;
    if (result == abi::RingResult::Ok) return true;
    if (result == abi::RingResult::Broken) return false;
  }
  if (lane.waiting.size() >= kMaxWaiting) return false;
  std::memcpy(lane.waiting.emplace_back().bytes, message, length);
  return true;
}

void WorkerLink::push_waiting(Lane& lane) {
  while (!lane.waiting.empty()) {
    abi::MessageBuffer& message = lane.waiting.front();
    const abi::MessageHeader header = message.header();
    if (lane.out.push(message.bytes, header.length) != abi::RingResult::Ok) return;
    lane.pushed = true;
    if (carries_secrets(header)) crypto::secure_zero(message.bytes, sizeof message.bytes);
    lane.waiting.pop_front();
  }
}

void WorkerLink::flush() {
  for (Lane& lane : lanes_) push_waiting(lane);
  for (uint32_t worker = 0; worker < workers(); ++worker) {
    if (!lanes_[worker].pushed) continue;
    lanes_[worker].pushed = false;
    if (abi::must_wake(attachment_->region.worker(worker).sleeping)) {
      abi::wake(attachment_->worker_wake[worker].get());
    }
  }
}

bool WorkerLink::may_sleep() {
  if (!attached()) return true;
  abi::announce_sleep(attachment_->region.endpoint(endpoint_).sleeping);
  for (const Lane& lane : lanes_) {
    if (lane.waiting.empty() && lane.in.has_message()) {
      woke();
      return false;
    }
  }
  return true;
}

void WorkerLink::woke() {
  if (attached()) abi::end_sleep(attachment_->region.endpoint(endpoint_).sleeping);
}

bool WorkerLink::has_waiting() const {
  for (const Lane& lane : lanes_) {
    if (!lane.waiting.empty()) return true;
  }
  return false;
}

}  // namespace sluice::control
