// Receive window auto-tuning: how much of the receive limit a connection may use.
#pragma once

#include <cstdint>

namespace sluice::tcp {

// At most 12 bytes of a Tcb.
struct ReceiveSpace {
  uint32_t limit_bytes = 0;
};

}  // namespace sluice::tcp
