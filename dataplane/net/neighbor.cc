// The neighbour table: its entries, their ageing, and what it sends.
//
// Job: turn next hops into link addresses without ever blocking a worker. Limits: a set-associative
// table of kNeighborBuckets x kNeighborWays; kNeighborParked packets wait per unresolved neighbour
// and kNeighborParkedTotal in all; kNeighborOutQueue frames wait to leave; one question per
// neighbour and second (RFC 1122 2.3.2.1, RFC 4861 7.2.2) and kNeighborRequestsPerSecond in all.
// Packets to invented neighbours must not cut us off. So the gateways, and neighbours that have a
// MAC already, are asked outside of that limit, a gateway's entry is never pushed out, and
// strangers have limits of their own, push out strangers alone, and leave kNeighborOutReserved
// frames and kNeighborParkedReserved packets of the room to those that we have to do with. States:
// lookup() makes Incomplete and asks; an answer makes Reachable; kReachableUs later it is Stale,
// still usable; the next lookup (one in the last second will do) makes it Probing: asked by
// unicast, then by broadcast or multicast (RFC 7048 3), while packets go on; silence ends it.
// RFC 4861's DELAY is left out: what it saves is one small frame a neighbour and half minute.
// Data flow: input() (neighbor_input.cc) -> entries_ -> unpark() -> unparked_ -> next_unparked();
// what is to be sent collects in out_ and is drawn by next_frame(), announcements behind it: they
// are not queued but made one by one, so that their number needs no bound.
#include "net/neighbor.h"

#include "abi/assert.h"
#include "net/ipv6.h"

namespace sluice::net {
namespace {

constexpr uint64_t kSweepUs = 10'000;
constexpr uint32_t kSweepBuckets = 8;  // the whole table in 320 ms
constexpr uint64_t kRoundUs = 1'000'000;
constexpr uint32_t kAnnounceSteps = 3;  // of an IPv6 address; an IPv4 address has one

uint32_t bucket_of(const abi::IpAddress& address) {
  uint64_t high = 0;
  uint64_t low = 0;
  std::memcpy(&high, address.bytes.data(), 8);
  std::memcpy(&low, address.bytes.data() + 8, 8);
  uint64_t mixed = (high ^ (low >> 29)) * 0x9e3779b97f4a7c15U + low;
  mixed = (mixed ^ (mixed >> 32)) * 0xd6e8feb86659fd93U;
  return static_cast<uint32_t>(mixed >> 40) % kNeighborBuckets;
}

bool is_gateway(const Interface& interface, const abi::IpAddress& address) {
  return (interface.has_gateway && address == interface.gateway) ||
         (interface.has_gateway6 && address == interface.gateway6);
}

}  // namespace

NeighborTable::NeighborTable(const Interface& interface, abi::Counters& counters)
    : interface_(interface), counters_(counters), entries_(kNeighborBuckets * kNeighborWays) {}

const NeighborTable::Entry* NeighborTable::find(const abi::IpAddress& address) const {
  const Entry* bucket = &entries_[bucket_of(address) * kNeighborWays];
  for (uint32_t way = 0; way < kNeighborWays; ++way) {
    if (bucket[way].state != NeighborState::Free && bucket[way].address == address) {
      return &bucket[way];
    }
  }
  return nullptr;
}

NeighborTable::Entry* NeighborTable::find(const abi::IpAddress& address) {
  return const_cast<Entry*>(static_cast<const NeighborTable*>(this)->find(address));
}

NeighborState NeighborTable::state(const abi::IpAddress& address) const {
  const Entry* entry = find(address);
  return entry == nullptr ? NeighborState::Free : entry->state;
}

bool NeighborTable::is_ours(const Entry& entry) const {
  return entry.peer == Peer::Known || is_gateway(interface_, entry.address);
}

// What pushing an entry out would cost: a stranger who asked for us, a question that is under way
// for a stranger, one that we knew and have not used lately, somebody's traffic, ours.
NeighborTable::Worth NeighborTable::worth_of(const Entry& entry, uint64_t now_us) const {
  if (entry.state == NeighborState::Free) return Worth::Nothing;
  if (is_gateway(interface_, entry.address)) return Worth::Gateway;
  const bool asked = entry.state == NeighborState::Incomplete;
  if (entry.peer == Peer::Known) {
    return asked || now_us - entry.used_us < kDormantUs ? Worth::Needed : Worth::Dormant;
  }
  if (entry.state == NeighborState::Stale) return Worth::Heard;
  return asked ? Worth::Asked : Worth::Used;
}

// A fresh entry for `address`: of those worth less than `below` the one that is worth least, and of
// equals the one that was used longest ago. Null: there is none.
NeighborTable::Entry* NeighborTable::claim(const abi::IpAddress& address, Worth below,
                                           uint64_t now_us) {
  Entry* bucket = &entries_[bucket_of(address) * kNeighborWays];
  Entry* chosen = &bucket[0];
  for (uint32_t way = 1; way < kNeighborWays; ++way) {
    Entry& entry = bucket[way];
    const Worth worth = worth_of(entry, now_us);
    const Worth least = worth_of(*chosen, now_us);
    if (worth < least || (worth == least && entry.used_us < chosen->used_us)) chosen = &entry;
  }
  if (worth_of(*chosen, now_us) >= below) return nullptr;
  forget(*chosen);
  chosen->address = address;
  return chosen;
}

void NeighborTable::forget(Entry& entry) {
  unpark(entry, false);
  entry = Entry{};
}

// A stranger turns out to be somebody: a question that was held back is asked now.
void NeighborTable::know(Entry& entry, uint64_t now_us) {
  entry.peer = Peer::Known;
  if (entry.state != NeighborState::Incomplete || !entry.held_back) return;
  entry.tries = 0;
  ask(entry, now_us, false);
}

bool NeighborTable::lookup(const abi::IpAddress& hop, uint64_t now_us, Mac& mac, Peer peer) {
  // Nobody answers for these: a group has no neighbour, and the mapping to its MAC is no secret.
  if (!hop.is_ipv4() && (!interface_.speaks_ipv6() || is_multicast(hop))) return false;
  Entry* entry = find(hop);
  if (entry == nullptr) {
    entry = claim(hop, peer == Peer::Known ? Worth::Gateway : Worth::Needed, now_us);
    if (entry == nullptr) return false;
    entry->state = NeighborState::Incomplete;
    entry->peer = peer;
    ask(*entry, now_us, false);
  } else if (peer == Peer::Known && entry->peer == Peer::Stranger) {
    know(*entry, now_us);
  }
  entry->used_us = now_us;
  switch (entry->state) {
    case NeighborState::Free:
    case NeighborState::Incomplete:
      return false;
    case NeighborState::Stale:
      probe(*entry, now_us);
      break;
    case NeighborState::Reachable:
    case NeighborState::Probing:
      break;
  }
  mac = entry->mac;
  return true;
}

bool NeighborTable::park(const abi::IpAddress& hop, uintptr_t packet) {
  Entry* entry = find(hop);
  const bool reserved = entry != nullptr && is_ours(*entry);
  const uint32_t room = kNeighborParkedTotal - (reserved ? 0 : kNeighborParkedReserved);
  if (entry == nullptr || entry->state != NeighborState::Incomplete || packet == 0 ||
      entry->parked_count == kNeighborParked || parked_ >= room) {
    counters_.add(abi::Counter::arp_queue_drop);
    return false;
  }
  entry->parked[entry->parked_count++] = packet;
  ++parked_;
  return true;
}

void NeighborTable::unpark(Entry& entry, bool resolved) {
  for (uint8_t i = 0; i < entry.parked_count; ++i) {
    SLUICE_ASSERT(unparked_count_ < kNeighborParkedTotal);
    const uint32_t at = (unparked_head_ + unparked_count_++) % kNeighborParkedTotal;
    unparked_[at] = {entry.parked[i], entry.mac, resolved};
  }
  entry.parked_count = 0;
}

bool NeighborTable::next_unparked(Unparked& out) {
  if (unparked_count_ == 0) return false;
  out = unparked_[unparked_head_];
  unparked_head_ = (unparked_head_ + 1) % kNeighborParkedTotal;
  --unparked_count_;
  --parked_;
  return true;
}

// Whatever finds no room is asked again a second later, by us or by the other side.
bool NeighborTable::push(const OutFrame& frame, Peer peer) {
  const uint32_t room = kNeighborOutQueue - (peer == Peer::Known ? 0 : kNeighborOutReserved);
  if (out_count_ >= room) {
    counters_.add(abi::Counter::arp_queue_drop);
    return false;
  }
  out_[(out_head_ + out_count_++) % kNeighborOutQueue] = frame;
  return true;
}

uint32_t NeighborTable::build(const OutFrame& frame, std::span<uint8_t> out) {
  if (!frame.is_nd) {
    if (frame.arp.operation == ArpOperation::Request) {
      counters_.add(abi::Counter::arp_requests_out);
    }
    return build_arp(frame.arp, interface_, frame.destination, out);
  }
  if (frame.nd.type == NdType::Solicitation) counters_.add(abi::Counter::nd_solicitations_out);
  return build_nd(frame.nd, interface_, frame.destination, out);
}

uint32_t NeighborTable::next_frame(std::span<uint8_t> out) {
  if (out.size() < kNeighborFrameBytes) return 0;
  if (out_count_ == 0) return next_announcement(out);
  const uint32_t length = build(out_[out_head_], out);
  out_head_ = (out_head_ + 1) % kNeighborOutQueue;
  --out_count_;
  return length;
}

bool NeighborTable::may_ask(const Entry& entry, uint64_t now_us) {
  if (entry.state == NeighborState::Probing || is_gateway(interface_, entry.address)) return true;
  return (entry.peer == Peer::Known ? requests_ : stranger_requests_).take(now_us);
}

void NeighborTable::ask(Entry& entry, uint64_t now_us, bool unicast) {
  entry.asked_us = now_us;
  ++entry.tries;
  abi::IpAddress source;
  // A request that the rate limit holds back is made up for by the next one, a second later.
  entry.held_back = true;
  if (!interface_.source_for(entry.address, source) || !may_ask(entry, now_us)) return;
  OutFrame frame;
  frame.is_nd = !entry.address.is_ipv4();
  if (!frame.is_nd) {
    frame.destination = unicast ? entry.mac : Mac::broadcast();
    frame.arp = {ArpOperation::Request, interface_.mac, Mac{}, source, entry.address};
  } else {
    // RFC 4861 7.2.2.
    frame.nd.source = source;
    frame.nd.target = entry.address;
    frame.nd.destination = unicast ? entry.address : solicited_node(entry.address);
    frame.destination = unicast ? entry.mac : multicast_mac(frame.nd.destination);
    frame.nd.has_link_address = true;
    frame.nd.link_address = interface_.mac;
  }
  entry.held_back = !push(frame, is_ours(entry) ? Peer::Known : Peer::Stranger);
}

void NeighborTable::probe(Entry& entry, uint64_t now_us) {
  entry.state = NeighborState::Probing;
  entry.tries = 0;
  ask(entry, now_us, true);
}

void NeighborTable::announce() {
  announce_at_ = 0;
  reports_only_ = false;
  rounds_left_ = kAnnounceRounds - 1;
  next_round_us_ = 0;
}

// The round's next frame; 0 when the round is over.
uint32_t NeighborTable::next_announcement(std::span<uint8_t> out) {
  // Behind the addresses that were given stands the link-local one that goes with them.
  const abi::IpAddress link_local = interface_.link_local();
  const bool implied = interface_.speaks_ipv6();
  const uint32_t addresses = interface_.address_count + (implied ? 1U : 0U);
  while (announce_at_ < addresses * kAnnounceSteps) {
    const uint32_t number = announce_at_ / kAnnounceSteps;
    const uint32_t step = announce_at_++ % kAnnounceSteps;
    const bool last = number == interface_.address_count;
    const abi::IpAddress& own = last ? link_local : interface_.addresses[number].address;
    if (!last && own == link_local) continue;  // its turn comes
    if (const uint32_t length = announce_step(own, step, out); length != 0) return length;
  }
  return 0;
}

uint32_t NeighborTable::announce_step(const abi::IpAddress& own, uint32_t step,
                                      std::span<uint8_t> out) {
  enum Step : uint32_t { kReport, kProbe, kAdvertise };
  OutFrame frame;
  if (own.is_ipv4()) {
    if (step != 0 || reports_only_) return 0;
    frame.arp = {ArpOperation::Request, interface_.mac, Mac{}, own, own};
    frame.destination = Mac::broadcast();
    return build(frame, out);
  }
  if (step == kReport) {
    counters_.add(abi::Counter::mld_reports_out);
    return build_mld_report(interface_.link_local(), solicited_node(own), interface_, out);
  }
  if (reports_only_) return 0;
  frame.is_nd = true;
  frame.nd.target = own;
  if (step == kProbe) {
    // RFC 4862 5.4.2: from nowhere, so that whoever has the address tells everybody.
    frame.nd.destination = solicited_node(own);
  } else {
    frame.nd.type = NdType::Advertisement;
    frame.nd.source = own;
    frame.nd.destination = kAllNodes;
    frame.nd.override_ = true;
    frame.nd.has_link_address = true;
    frame.nd.link_address = interface_.mac;
  }
  frame.destination = multicast_mac(frame.nd.destination);
  return build(frame, out);
}

void NeighborTable::advance(Entry& entry, uint64_t now_us) {
  switch (entry.state) {
    case NeighborState::Free:
      break;
    case NeighborState::Incomplete:
      if (now_us - entry.asked_us < kRetransmitUs) break;
      if (entry.tries < kTries) {
        ask(entry, now_us, false);
      } else {
        forget(entry);
      }
      break;
    case NeighborState::Reachable:
      if (now_us - entry.confirmed_us < kReachableUs) break;
      entry.state = NeighborState::Stale;
      if (now_us - entry.used_us < kRetransmitUs) probe(entry, now_us);
      break;
    case NeighborState::Stale:
      if (now_us - entry.used_us >= kStaleUs) forget(entry);
      break;
    case NeighborState::Probing:
      if (now_us - entry.asked_us < kRetransmitUs) break;
      if (entry.tries < 2 * kTries) {
        ask(entry, now_us, entry.tries < kTries);
      } else {
        forget(entry);
      }
      break;
  }
}

void NeighborTable::tick(uint64_t now_us) {
  if (now_us < next_sweep_us_) return;
  next_sweep_us_ = now_us + kSweepUs;
  if (rounds_left_ > 0 && next_round_us_ == 0) {
    next_round_us_ = now_us + kRoundUs;
  } else if (rounds_left_ > 0 && now_us >= next_round_us_) {
    --rounds_left_;
    next_round_us_ = now_us + kRoundUs;
    announce_at_ = 0;
    reports_only_ = false;
  }
  for (uint32_t i = 0; i < kSweepBuckets * kNeighborWays; ++i) {
    advance(entries_[sweep_], now_us);
    sweep_ = (sweep_ + 1) % (kNeighborBuckets * kNeighborWays);
  }
}

// The neighbour has spoken. Solicited or not, a changed MAC counts only when the entry was not
// confirmed a moment ago, so that two hosts that fight for an address do not make it flap.
// RFC 4861 7.2.5, of which an ARP reply is the case with both flags set.
void NeighborTable::confirm(Entry& entry, const Word& word, uint64_t now_us) {
  const bool incomplete = entry.state == NeighborState::Incomplete;
  const bool asked = incomplete || entry.state == NeighborState::Probing;
  const bool changed = !(entry.mac == word.mac);
  if (changed && !incomplete) {
    if (now_us - entry.confirmed_us < kLockUs) return;
    if (!word.overrides) {
      if (entry.state == NeighborState::Reachable) entry.state = NeighborState::Stale;
      return;
    }
  }
  entry.mac = word.mac;
  if (asked && word.proves) {
    entry.state = NeighborState::Reachable;
    entry.confirmed_us = now_us;
    entry.tries = 0;
  } else if (changed) {
    entry.state = NeighborState::Stale;
    entry.confirmed_us = now_us;
  }
  unpark(entry, true);
}

}  // namespace sluice::net
