// Where a worker's connections to backends come from: an own address, and a port of it that brings
// the answers back to this worker. See source_port.cc.
#pragma once

#include <array>
#include <cstdint>

#include "flow/engine_config.h"

namespace sluice::flow {

// Ports towards backends start here (RFC 6056 3.2 wants the range wide).
inline constexpr uint32_t kFirstBackendPort = 10240;
inline constexpr uint32_t kBackendPorts = 65536 - kFirstBackendPort;
// Work of all searches of one turn together: when nearly all ports are taken, looking for one must
// not take the core. Finding out where a port's answers go costs 1, a proposed port kProposalWork
// (the caller looks it up).
inline constexpr uint32_t kMaxPortWork = 65536;
inline constexpr uint32_t kProposalWork = 16;
// Ports proposed for one connection, shared evenly by the addresses that reach the backend.
inline constexpr uint32_t kMaxPortTries = 2048;

class SourcePorts {
 public:
  explicit SourcePorts(const EngineConfig& config) : config_(config) {}  // which outlives this

  void begin_turn() { work_left_ = kMaxPortWork; }

  // One connection's search. Each next() proposes another tuple; the caller takes it or goes on.
  class Search {
   public:
    bool next(net::FlowTuple& tuple);  // false: there is nothing more to propose

   private:
    friend class SourcePorts;
    Search(SourcePorts& from, const abi::SocketAddress& backend);
    bool next_address();
    bool comes_back(uint16_t port) const;

    SourcePorts& from_;
    net::FlowTuple tuple_;
    const net::RssMap* rss_ = nullptr;  // of the address being searched
    bool on_link_ = false;              // the backend is in a subnet of ours: no gateway
    uint32_t sources_left_ = 0;         // of config.sources, not looked at yet
    uint32_t* next_source_ = nullptr;   // index into config.sources
    uint32_t addresses_ = 0;            // that reach the backend
    uint32_t slots_ = 0;                // ports that could be proposed with the present address
    uint32_t slots_left_ = 0;
    uint32_t tries_left_ = 0;
    uint32_t offset_ = 0;
    uint32_t* counter_ = nullptr;
    uint32_t base_ = 0;  // of the hash, with the present address
  };
  Search search(const abi::SocketAddress& backend) { return Search(*this, backend); }

 private:
  static bool reaches(const SourceAddress& source, const abi::IpAddress& backend, bool on_link);

  const EngineConfig& config_;
  uint32_t work_left_ = kMaxPortWork;
  std::array<uint32_t, 256> counters_{};      // RFC 6056 3.3.4
  std::array<uint32_t, 256> next_sources_{};  // by backend: where the next search begins
};

}  // namespace sluice::flow
