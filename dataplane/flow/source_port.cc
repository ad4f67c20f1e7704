// Both halves of one agreement: which worker a tuple belongs to, and which source ports make a
// backend's answers come to the worker that asks.
//
//   port that spreads by RSS:  owner = RETA[hash(tuple)]. For (address, backend) the hash is
//     computed once without the local port; a port fits when base ^ port_part(port) selects an
//     entry of this worker. One port in `workers` does.
//   any other port:  client flows belong to the worker that the keyed hash of the tuple names;
//     worker w connects from the ports p with (p - kFirstBackendPort) % workers == w.
// Either way a packet that arrives elsewhere is handed over by the worker's loop, so a port that
// spreads otherwise than it says costs time and nothing else.
//
// Addresses: those whose subnet holds the backend, else those with a gateway; in the order of the
// configuration, the next one when the tries with one are used up. The next search for the backend
// begins where this one ended: full addresses are not looked into again and again.
// Ports: RFC 6056 3.3.4 (double-hash): a keyed offset for each pair of addresses and remote port,
// and a counter, so that what is used next can't be guessed and what was used last comes last.
#include "flow/source_port.h"

#include <algorithm>

#include "flow/engine.h"
#include "net/interface.h"

namespace sluice::flow {

bool SourcePorts::reaches(const SourceAddress& source, const abi::IpAddress& backend,
                          bool on_link) {
  if (source.address.is_ipv4() != backend.is_ipv4()) return false;
  return on_link ? net::same_prefix(source.address, backend, source.prefix_bits)
                 : source.has_gateway;
}

SourcePorts::Search::Search(SourcePorts& from, const abi::SocketAddress& backend) : from_(from) {
  tuple_.remote = backend;
  sources_left_ = static_cast<uint32_t>(from.config_.sources.size());
  const uint32_t hash = hash_tuple(from.config_.hash_key, tuple_);
  next_source_ = &from.next_sources_[hash % from.next_sources_.size()];
  for (const bool on_link : {true, false}) {
    for (const SourceAddress& source : from.config_.sources) {
      if (reaches(source, backend.address, on_link)) ++addresses_;
    }
    on_link_ = on_link;
    if (addresses_ != 0) return;
  }
}

bool SourcePorts::Search::next_address() {
  const EngineConfig& config = from_.config_;
  while (sources_left_ > 0) {
    // Left where it is until this address is used up as well: the next search begins with it.
    const auto count = static_cast<uint32_t>(config.sources.size());
    if (sources_left_-- < count) *next_source_ = (*next_source_ + 1) % count;
    const SourceAddress& source = config.sources[*next_source_];
    if (!reaches(source, tuple_.remote.address, on_link_)) continue;
    tuple_.local = {source.address, 0};
    const bool spread = source.rss != nullptr && source.rss->covers(source.address);
    rss_ = spread && config.workers > 1 ? source.rss : nullptr;
    slots_ = rss_ != nullptr ? kBackendPorts : kBackendPorts / config.workers;
    slots_left_ = slots_;
    tries_left_ = kMaxPortTries / addresses_;
    offset_ = hash_tuple(config.hash_key, tuple_);
    tuple_.local.port = 1;  // no port that is used: another hash of the same things
    counter_ = &from_.counters_[hash_tuple(config.hash_key, tuple_) % from_.counters_.size()];
    if (rss_ != nullptr) base_ = rss_->base(tuple_);
    return true;
  }
  return false;
}

bool SourcePorts::Search::comes_back(uint16_t port) const {
  if (rss_ == nullptr) return true;
  const uint32_t hash = base_ ^ rss_->port_part(tuple_.local.address, port);
  return rss_->queue_of_hash(hash) == from_.config_.core;
}

bool SourcePorts::Search::next(net::FlowTuple& tuple) {
  const EngineConfig& config = from_.config_;
  for (;;) {
    while (slots_left_ > 0 && tries_left_ > 0 && from_.work_left_ > 0) {
      --slots_left_;
      --from_.work_left_;
      const uint32_t slot = (offset_ + (*counter_)++) % slots_;
      const uint32_t port = rss_ != nullptr ? slot : slot * config.workers + config.core;
      tuple_.local.port = static_cast<uint16_t>(kFirstBackendPort + port);
      if (!comes_back(tuple_.local.port)) continue;
      --tries_left_;
      from_.work_left_ -= std::min(from_.work_left_, kProposalWork);
      tuple = tuple_;
      return true;
    }
    if (from_.work_left_ == 0 || !next_address()) return false;
  }
}

// A tuple that no flow, no listener and no young TIME_WAIT entry holds.
bool Engine::choose_source(const abi::SocketAddress& backend, net::FlowTuple& tuple,
                           tcp::TimeWaitReuse& previous, Micros now) {
  const auto tuple_of_ref = [this](FlowRef r) -> const net::FlowTuple& { return tuple_of(r); };
  SourcePorts::Search search = source_ports_.search(backend);
  while (search.next(tuple)) {
    if (listens_on(tuple.local)) continue;
    if (table_.find(tuple, table_.hash(tuple), tuple_of_ref).valid()) continue;
    if (time_wait_.reuse(use_.stack, tuple, now, previous)) return true;
  }
  return false;
}

uint16_t Engine::owner_of(const net::FlowTuple& tuple, const net::RssMap* rss) const {
  if (config_.workers == 1) return 0;
  if (rss != nullptr && rss->covers(tuple.local.address)) return rss->queue_of(tuple);
  if (tuple.local.port >= kFirstBackendPort && !listens_on(tuple.local)) {
    return static_cast<uint16_t>((tuple.local.port - kFirstBackendPort) % config_.workers);
  }
  return static_cast<uint16_t>(hash_tuple(config_.hash_key, tuple) % config_.workers);
}

}  // namespace sluice::flow
