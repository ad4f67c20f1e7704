// The neighbour table.
//
// Job: turn next hops into link addresses without ever blocking a worker. Limits: a set-associative
// table of kNeighborBuckets x kNeighborWays; kNeighborParked packets wait per unresolved neighbour
// and kNeighborParkedTotal in all; kNeighborOutQueue ARP frames wait to leave; one request per
// neighbour and second (RFC 1122 2.3.2.1) and kArpRequestsPerSecond in all.
// States: lookup() makes Incomplete and asks; an answer makes Reachable; kReachableUs later it is
// Stale, still usable; the next lookup makes it Probing: asked by unicast, then by broadcast, while
// packets go on; silence ends it. Who asks for us is remembered as Stale (RFC 826's merge), because
// it is about to talk to us, but never at the cost of a neighbour that we use: a flood of invented
// askers cannot push those out. An unsolicited answer creates nothing.
// Data flow: input() -> entries_ -> unpark() -> unparked_ -> next_unparked(); what is to be sent
// collects in out_ and is drawn by next_frame().
#include "net/neighbor.h"

#include "abi/assert.h"

namespace sluice::net {
namespace {

constexpr uint64_t kSweepUs = 10'000;
constexpr uint32_t kSweepBuckets = 8;  // the whole table in 320 ms

uint32_t bucket_of(const abi::IpAddress& address) {
  uint64_t high = 0;
  uint64_t low = 0;
  std::memcpy(&high, address.bytes.data(), 8);
  std::memcpy(&low, address.bytes.data() + 8, 8);
  uint64_t mixed = (high ^ (low >> 29)) * 0x9e3779b97f4a7c15U + low;
  mixed = (mixed ^ (mixed >> 32)) * 0xd6e8feb86659fd93U;
  return static_cast<uint32_t>(mixed >> 40) % kNeighborBuckets;
}

int worth_of(NeighborState state) {
  switch (state) {
    case NeighborState::Free:
      return 0;
    case NeighborState::Stale:
      return 1;
    case NeighborState::Incomplete:
      return 2;
    case NeighborState::Reachable:
    case NeighborState::Probing:
      return 3;
  }
  return 3;
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

// A fresh entry for `address`: a free one, else the least worth keeping: Stale before Incomplete
// before what is in use, and of equals the one that was used longest ago. So neither invented
// askers nor packets to invented neighbours push out those that we talk to. For an address that
// nobody here `needed` only a Stale entry goes.
NeighborTable::Entry* NeighborTable::claim(const abi::IpAddress& address, bool needed) {
  Entry* bucket = &entries_[bucket_of(address) * kNeighborWays];
  Entry* chosen = &bucket[0];
  for (uint32_t way = 1; way < kNeighborWays; ++way) {
    Entry& entry = bucket[way];
    const int worth = worth_of(entry.state) - worth_of(chosen->state);
    if (worth < 0 || (worth == 0 && entry.used_us < chosen->used_us)) chosen = &entry;
  }
  if (!needed && worth_of(chosen->state) > worth_of(NeighborState::Stale)) return nullptr;
  forget(*chosen);
  chosen->address = address;
  return chosen;
}

void NeighborTable::forget(Entry& entry) {
  unpark(entry, false);
  entry = Entry{};
}

bool NeighborTable::lookup(const abi::IpAddress& hop, uint64_t now_us, Mac& mac) {
  // ARP speaks for IPv4 alone; other families have no way to ask.
  if (!hop.is_ipv4()) return false;
  Entry* entry = find(hop);
  if (entry == nullptr) {
    entry = claim(hop, true);
    entry->state = NeighborState::Incomplete;
    ask(*entry, now_us, false);
  }
  entry->used_us = now_us;
  switch (entry->state) {
    case NeighborState::Free:
    case NeighborState::Incomplete:
      return false;
    case NeighborState::Stale:
      entry->state = NeighborState::Probing;
      entry->tries = 0;
      ask(*entry, now_us, true);
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
  if (entry == nullptr || entry->state != NeighborState::Incomplete || packet == 0 ||
      entry->parked_count == kNeighborParked || parked_ == kNeighborParkedTotal) {
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

void NeighborTable::push(const Arp& arp, const Mac& destination) {
  // Whatever finds no room is asked again a second later, by us or by the other side.
  if (out_count_ == kNeighborOutQueue) {
    counters_.add(abi::Counter::arp_queue_drop);
    return;
  }
  out_[(out_head_ + out_count_++) % kNeighborOutQueue] = {arp, destination};
}

uint32_t NeighborTable::next_frame(std::span<uint8_t> out) {
  if (out_count_ == 0 || out.size() < kArpFrameBytes) return 0;
  const OutFrame& frame = out_[out_head_];
  const uint32_t length = build_arp(frame.arp, interface_, frame.destination, out);
  if (frame.arp.operation == ArpOperation::Request) {
    counters_.add(abi::Counter::arp_requests_out);
  }
  out_head_ = (out_head_ + 1) % kNeighborOutQueue;
  --out_count_;
  return length;
}

void NeighborTable::ask(Entry& entry, uint64_t now_us, bool unicast) {
  entry.asked_us = now_us;
  ++entry.tries;
  Arp arp;
  // A request that the rate limit holds back is made up for by the next one, a second later.
  if (!interface_.source_for(entry.address, arp.sender) || !requests_.take(now_us)) return;
  arp.sender_mac = interface_.mac;
  arp.target = entry.address;
  push(arp, unicast ? entry.mac : Mac::broadcast());
}

void NeighborTable::announce() {
  for (uint8_t i = 0; i < interface_.address_count; ++i) {
    const abi::IpAddress& own = interface_.addresses[i].address;
    if (!own.is_ipv4()) continue;
    // RFC 5227 2.3: a request for oneself, which nobody answers and everybody learns from.
    push({ArpOperation::Request, interface_.mac, Mac{}, own, own}, Mac::broadcast());
  }
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
      if (now_us - entry.confirmed_us >= kReachableUs) entry.state = NeighborState::Stale;
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
  for (uint32_t i = 0; i < kSweepBuckets * kNeighborWays; ++i) {
    advance(entries_[sweep_], now_us);
    sweep_ = (sweep_ + 1) % (kNeighborBuckets * kNeighborWays);
  }
}

// The neighbour has spoken. Solicited or not, a changed MAC counts only when the entry was not
// confirmed a moment ago, so that two hosts that fight for an address do not make it flap.
void NeighborTable::confirm(Entry& entry, const Mac& mac, uint64_t now_us) {
  const bool asked =
      entry.state == NeighborState::Incomplete || entry.state == NeighborState::Probing;
  const bool changed = !(entry.mac == mac);
  if (changed && entry.state != NeighborState::Incomplete &&
      now_us - entry.confirmed_us < kLockUs) {
    return;
  }
  entry.mac = mac;
  if (asked) {
    entry.state = NeighborState::Reachable;
    entry.confirmed_us = now_us;
    entry.tries = 0;
  } else if (changed) {
    entry.state = NeighborState::Stale;
    entry.confirmed_us = now_us;
  }
  unpark(entry, true);
}

void NeighborTable::note_conflict(const Arp& arp, uint64_t now_us) {
  ++conflicts_;
  // RFC 5227 2.4(c): defend, at most once per DEFEND_INTERVAL.
  if (defended_us_ != 0 && now_us - defended_us_ < kConflictUs) return;
  defended_us_ = now_us;
  push({ArpOperation::Request, interface_.mac, Mac{}, arp.sender, arp.sender}, Mac::broadcast());
}

NeighborTable::Input NeighborTable::input(const Frame& frame, const Packet& packet, uint64_t now_us,
                                          bool answer) {
  Input result;
  Arp arp;
  const auto refuse = [&] {
    counters_.add(abi::Counter::drop_arp);
    return result;
  };
  if (packet.network_offset > frame.length ||
      !parse_arp({frame.data + packet.network_offset, frame.length - packet.network_offset}, arp) ||
      arp.sender_mac.is_multicast() || arp.sender_mac.is_zero()) {
    return refuse();
  }
  if (interface_.owns(arp.sender)) {
    if (arp.sender_mac == interface_.mac) return refuse();  // our own words, come back
    result.conflict = true;
    if (answer) note_conflict(arp, now_us);
    return refuse();
  }
  // RFC 5227 1.1: a probe has no sender address; it is answered and nothing is learned.
  const bool probe = arp.sender.ipv4() == 0;
  if (!probe && (!interface_.on_link(arp.sender) || interface_.is_broadcast(arp.sender))) {
    return refuse();
  }
  const bool for_us = interface_.owns(arp.target);
  const bool gratuitous = arp.sender == arp.target;
  if (!for_us && !gratuitous) return refuse();
  result.valid = true;
  result.share = !probe;
  Entry* entry = probe ? nullptr : find(arp.sender);
  if (entry != nullptr) {
    if (arp.operation == ArpOperation::Reply) counters_.add(abi::Counter::arp_replies_in);
    confirm(*entry, arp.sender_mac, now_us);
  }
  if (arp.operation == ArpOperation::Reply || !for_us) return result;
  if (entry == nullptr && !probe && (entry = claim(arp.sender, false)) != nullptr) {
    entry->mac = arp.sender_mac;
    entry->state = NeighborState::Stale;
    entry->confirmed_us = now_us;
    entry->used_us = now_us;
  }
  if (answer) {
    counters_.add(abi::Counter::arp_requests_in);
    push({ArpOperation::Reply, interface_.mac, arp.sender_mac, arp.target, arp.sender},
         arp.sender_mac);
  }
  return result;
}

}  // namespace sluice::net
