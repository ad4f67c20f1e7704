// Validation of messages, once, on the private copy, by the receiver. A message that passes can be
// used without further checks of lengths, enums and ranges.
#pragma once

#include "abi/messages.h"
#include "abi/ring.h"

namespace sluice::abi {

enum class MessageError : uint8_t {
  None,
  UnknownType,
  WrongDirection,
  WrongLength,
  WrongEpoch,
  BadField
};
const char* message_error_text(MessageError error);

// Messages that a worker accepts from control. `epoch` is the region's. With `core` given, a
// message about a flow must name that worker; otherwise any worker that can be.
MessageError validate_for_worker(const MessageBuffer& message, uint32_t epoch);
MessageError validate_for_worker(const MessageBuffer& message, uint32_t epoch, uint16_t core);
// Messages that control accepts from worker `core`; flow.core must be `core` where there is a flow
// (not in FlowsEnd).
MessageError validate_for_control(const MessageBuffer& message, uint32_t epoch, uint16_t core);

// Fills the header; `length` is the length on the ring (chunk messages: up to the last byte used).
template <class M>
void fill_header(M& message, const FlowId& flow, uint32_t epoch, uint32_t length = sizeof(M)) {
  message.header.type = static_cast<uint16_t>(M::kType);
  message.header.length = static_cast<uint16_t>(length);
  message.header.epoch = epoch;
  message.header.flow = flow;
}

}  // namespace sluice::abi
