// Who is behind an address on the link: the table of ARP (RFC 826, RFC 1122 2.3.2) and of neighbour
// discovery (RFC 4861 7), one per worker and port. Bounded, no I/O, time is handed in: the caller
// feeds frames in, takes frames and parked packets out. Addresses of both families, one interface.
//
// A worker's turn:
//   lookup(hop) -> Ready: send. Pending: park() a prepared packet, or drop what it would have sent.
//   input(frame) for every frame of kind Neighbor; if `share` comes back, hand a copy to the other
//   workers, whose tables may wait for the same answer.
//   tick(now); then drain next_frame() and next_unparked().
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "abi/counters.h"
#include "net/arp.h"
#include "net/frame.h"
#include "net/interface.h"
#include "net/nd.h"
#include "net/token_bucket.h"
#include "net/wire.h"

namespace sluice::net {

enum class NeighborState : uint8_t {
  Free,
  Incomplete,  // asked, no answer yet
  Reachable,   // confirmed lately
  Stale,       // usable; the next use asks again
  Probing,     // usable; asked again, by unicast first
};

// For whom a packet is. Anybody can invent addresses and have us answer their SYNs: such strangers
// get what the others leave of the table, of the parking place and of the questions.
enum class Peer : uint8_t {
  Stranger,  // nothing shows yet that somebody is there
  Known,     // a backend, or a client whose handshake is complete
};

struct Unparked {
  uintptr_t packet = 0;
  Mac mac;
  bool resolved = false;  // false: nobody answered, the packet is the caller's to drop
};

class NeighborTable {
 public:
  // Both outlive the table.
  NeighborTable(const Interface& interface, abi::Counters& counters);
  NeighborTable(const NeighborTable&) = delete;
  NeighborTable& operator=(const NeighborTable&) = delete;

  // True and `mac` when a packet for `hop` can go. Otherwise the asking has begun, or there is no
  // place for a stranger. Who was Known once stays it until the entry is forgotten.
  bool lookup(const abi::IpAddress& hop, uint64_t now_us, Mac& mac, Peer peer = Peer::Stranger);
  // Keeps an opaque packet until `hop` (just looked up, unresolved) is known. False: no room,
  // counted in arp_queue_drop, and the packet stays the caller's. 0 is no packet.
  bool park(const abi::IpAddress& hop, uintptr_t packet);

  struct Input {
    bool valid = false;
    bool share = false;     // it spoke to one of our addresses: other workers' tables want it too
    bool conflict = false;  // somebody else uses an address of ours (RFC 5227 2.4, RFC 4862 5.4.4)
  };
  // `answer` is false for a frame that another worker has shared: learned from, never answered.
  Input input(const Frame& frame, const Packet& packet, uint64_t now_us, bool answer = true);

  // Ages entries and retransmits requests; cheap enough for every turn.
  void tick(uint64_t now_us);
  // Says who we are, for each of our addresses, kAnnounceRounds times; at start. IPv4: a request
  // for oneself (RFC 5227 2.3). IPv6: a listener report for the address's group, the question
  // whether somebody has the address (RFC 4862 5.4.2), and an unsolicited advertisement
  // (RFC 4861 7.2.6). The address is used at once: it was configured, so a conflict is an error of
  // the configuration, which is noticed and counted.
  void announce();
  // The next frame to send: its length, or 0 when there is none. `out` holds kNeighborFrameBytes.
  uint32_t next_frame(std::span<uint8_t> out);
  // The next packet that leaves the parking place; false when there is none.
  bool next_unparked(Unparked& out);

  NeighborState state(const abi::IpAddress& address) const;
  uint32_t parked() const { return parked_; }
  uint64_t conflicts() const { return conflicts_; }

  static constexpr uint64_t kReachableUs = 30'000'000;  // RFC 4861 10, REACHABLE_TIME
  static constexpr uint64_t kStaleUs = 600'000'000;     // unused this long: forgotten
  static constexpr uint64_t kRetransmitUs = 1'000'000;  // RFC 1122 2.3.2.1: at most one a second
  static constexpr uint64_t kLockUs = 1'000'000;        // a fresh entry keeps its MAC this long
  static constexpr uint64_t kDormantUs = 5'000'000;     // not used for so long: may give way
  static constexpr uint64_t kConflictUs = 10'000'000;   // RFC 5227 2.4(c): DEFEND_INTERVAL
  static constexpr uint8_t kTries = 3;                  // of each kind, unicast and broadcast
  static constexpr uint8_t kAnnounceRounds = 3;         // RFC 4861 10: MAX_NEIGHBOR_ADVERTISEMENT

 private:
  struct Entry {
    abi::IpAddress address;
    Mac mac;
    NeighborState state = NeighborState::Free;
    Peer peer = Peer::Stranger;
    bool held_back = false;  // the last question found no room within the limits
    uint8_t tries = 0;
    uint8_t parked_count = 0;
    uint64_t confirmed_us = 0;
    uint64_t asked_us = 0;
    uint64_t used_us = 0;
    std::array<uintptr_t, kNeighborParked> parked{};
  };
  struct OutFrame {
    bool is_nd = false;
    Mac destination;
    Arp arp;
    NdMessage nd;
  };
  // What a neighbour's words are worth.
  struct Word {
    Mac mac;
    bool overrides = true;  // RFC 4861 4.4, O: a known address may be replaced
    bool proves = true;     // it answers our question, so our packets reach it
  };

  Entry* find(const abi::IpAddress& address);
  const Entry* find(const abi::IpAddress& address) const;
  // What an entry has to be worth less than to make room for a packet to that peer, or for a mere
  // asker.
  enum class Worth : uint8_t { Nothing, Heard, Asked, Dormant, Used, Needed, Gateway };
  bool is_ours(const Entry& entry) const;
  Worth worth_of(const Entry& entry, uint64_t now_us) const;
  Entry* claim(const abi::IpAddress& address, Worth below, uint64_t now_us);
  void know(Entry& entry, uint64_t now_us);
  bool may_ask(const Entry& entry, uint64_t now_us);
  void ask(Entry& entry, uint64_t now_us, bool unicast);
  void probe(Entry& entry, uint64_t now_us);
  void advance(Entry& entry, uint64_t now_us);
  void confirm(Entry& entry, const Word& word, uint64_t now_us);
  void unpark(Entry& entry, bool resolved);
  void forget(Entry& entry);
  bool push(const OutFrame& frame, Peer peer);
  uint32_t build(const OutFrame& frame, std::span<uint8_t> out);
  uint32_t next_announcement(std::span<uint8_t> out);
  uint32_t announce_step(const abi::IpAddress& own, uint32_t step, std::span<uint8_t> out);

  // neighbor_input.cc
  Input input_arp(const Frame& frame, const Packet& packet, uint64_t now_us, bool answer);
  Input input_nd(const Frame& frame, const Packet& packet, uint64_t now_us, bool answer);
  void hear_advertisement(const NdMessage& message, uint64_t now_us);
  void hear_solicitation(const NdMessage& message, const Packet& packet, uint64_t now_us,
                         bool answer);
  void remember_asker(const abi::IpAddress& address, const Word& word, uint64_t now_us);
  void answer_with(const OutFrame& frame, abi::Counter counter, uint64_t now_us);
  void note_conflict(const abi::IpAddress& own, uint64_t now_us);
  void hear_query(uint64_t now_us);

  const Interface& interface_;
  abi::Counters& counters_;
  std::vector<Entry> entries_;  // kNeighborBuckets sets of kNeighborWays
  std::array<OutFrame, kNeighborOutQueue> out_;
  std::array<Unparked, kNeighborParkedTotal> unparked_;
  uint32_t out_head_ = 0;
  uint32_t out_count_ = 0;
  uint32_t unparked_head_ = 0;
  uint32_t unparked_count_ = 0;
  uint32_t parked_ = 0;  // in entries and in unparked_ together, at most kNeighborParkedTotal
  uint32_t sweep_ = 0;
  uint64_t next_sweep_us_ = 0;
  uint64_t defended_us_ = 0;
  TokenBucket requests_{kNeighborRequestsPerSecond, kNeighborRequestBurst};
  TokenBucket stranger_requests_{kNeighborRequestsPerSecond, kNeighborRequestBurst};
  TokenBucket answers_{kNeighborAnswersPerSecond, kNeighborAnswerBurst};
  TokenBucket shares_{kNeighborAnswersPerSecond, kNeighborAnswerBurst};
  uint32_t announce_at_ = UINT32_MAX;  // address * kAnnounceSteps + step; behind the last: done
  bool reports_only_ = false;          // what the round under way says
  uint8_t rounds_left_ = 0;
  uint64_t next_round_us_ = 0;
  uint64_t reported_us_ = 0;
  uint64_t conflicts_ = 0;
};

}  // namespace sluice::net
