// The free list is threaded through the nodes' own `next`; the most recently given node is taken
// first, because it is still in the cache.
#include "tcp/node_pool.h"

namespace sluice::tcp {

SliceNodePool::SliceNodePool(uint32_t capacity)
    : nodes_(new SliceNode[capacity]), capacity_(capacity), free_count_(capacity) {
  for (uint32_t i = capacity; i-- > 0;) {
    nodes_[i] = SliceNode{nullptr, nullptr, free_, 0, 0};
    free_ = &nodes_[i];
  }
}

}  // namespace sluice::tcp
