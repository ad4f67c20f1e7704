// A ListFlows being answered, over several turns.
#pragma once

#include <cstdint>

namespace sluice::flow {

struct Listing {
  bool active = false;
  uint64_t token = 0;
  uint32_t next_index = 0;
  uint32_t rows_left = 0;
};

}  // namespace sluice::flow
