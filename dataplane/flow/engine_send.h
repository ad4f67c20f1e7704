// Messages to control, for the files of the engine that send any.
#pragma once

#include "abi/validate.h"
#include "flow/engine.h"

namespace sluice::flow {

// False: the ring is full.
template <class M>
bool Engine::send(uint32_t endpoint, M& message, const abi::FlowId& flow, uint32_t length) {
  abi::fill_header(message, flow, region_->epoch(), length);
  return push(endpoint, &message, length);
}

// As send; a flow whose message did not fit is served again in the next poll.
template <class M>
bool Engine::send_or_stall(Flow& flow, uint32_t endpoint, M& message, uint32_t length) {
  if (region_ != nullptr && send(endpoint, message, id_of(flow), length)) return true;
  stall(flow);
  return false;
}

}  // namespace sluice::flow
