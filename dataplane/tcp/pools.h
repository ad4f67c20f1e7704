// Everything of which connections hold a part only at times. One per worker.
#pragma once

#include <cstdint>

#include "tcp/in_flight.h"
#include "tcp/node_pool.h"
#include "tcp/pool.h"
#include "tcp/reassembly.h"

namespace sluice::tcp {

struct PoolSizes {
  uint32_t nodes = 0;         // runs of bytes in queues
  uint32_t in_flight = 0;     // connections that have sent what is not acknowledged
  uint32_t records = 0;       // segments in flight
  uint32_t reassemblies = 0;  // connections with text out of order

  // For `connections`, of which a part is busy at a time.
  static PoolSizes of(uint32_t connections) {
    return {connections * 4 + 65536, connections / 2 + 1024, connections * 4 + 65536,
            connections / 8 + 1024};
  }
};

struct Pools {
  explicit Pools(const PoolSizes& sizes)
      : nodes(sizes.nodes),
        in_flight(sizes.in_flight),
        records(sizes.records),
        reassemblies(sizes.reassemblies) {}

  SliceNodePool nodes;
  Pool<InFlight> in_flight;
  Pool<SentRecord> records;
  Pool<ReassemblyList> reassemblies;

  bool all_returned() const {
    return nodes.in_use() == 0 && in_flight.in_use() == 0 && records.in_use() == 0 &&
           reassemblies.in_use() == 0;
  }
};

}  // namespace sluice::tcp
