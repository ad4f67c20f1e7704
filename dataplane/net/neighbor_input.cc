// The neighbour table: what others say.
//
// Job: learn from ARP and neighbour discovery no more than is needed, answer for our addresses, and
// notice who else uses one. Limits: answers, and copies for other workers, are bounded by
// kNeighborAnswersPerSecond each, the defence of an address by kConflictUs, listener reports to one
// round a second.
// Rules: who asks for us is remembered as Stale (RFC 826's merge, RFC 4861 7.2.3), because it is
// about to talk to us, but never at the cost of a neighbour that we use: a flood of invented askers
// cannot push those out. An unsolicited answer creates nothing. Nobody's word changes an address
// that was confirmed within kLockUs.
#include "net/ipv6.h"
#include "net/neighbor.h"

namespace sluice::net {

NeighborTable::Input NeighborTable::input(const Frame& frame, const Packet& packet, uint64_t now_us,
                                          bool answer) {
  Input result = packet.ethertype == kEthertypeArp ? input_arp(frame, packet, now_us, answer)
                                                   : input_nd(frame, packet, now_us, answer);
  // A flood costs this worker its parsing; the others not even that. What a table misses by it, it
  // asks for itself.
  if (result.share && answer) result.share = shares_.take(now_us);
  return result;
}

// `own` is used by somebody else: defend it, at most once per DEFEND_INTERVAL (RFC 5227 2.4(c)).
void NeighborTable::note_conflict(const abi::IpAddress& own, uint64_t now_us) {
  ++conflicts_;
  if (defended_us_ != 0 && now_us - defended_us_ < kConflictUs) return;
  defended_us_ = now_us;
  OutFrame frame;
  frame.is_nd = !own.is_ipv4();
  if (frame.is_nd) {
    frame.nd.type = NdType::Advertisement;
    frame.nd.source = own;
    frame.nd.destination = kAllNodes;
    frame.nd.target = own;
    frame.nd.override_ = true;
    frame.nd.has_link_address = true;
    frame.nd.link_address = interface_.mac;
    frame.destination = multicast_mac(kAllNodes);
  } else {
    frame.arp = {ArpOperation::Request, interface_.mac, Mac{}, own, own};
    frame.destination = Mac::broadcast();
  }
  push(frame, Peer::Known);
}

// Somebody who asks for us, and whom no entry knows yet.
void NeighborTable::remember_asker(const abi::IpAddress& address, const Word& word,
                                   uint64_t now_us) {
  Entry* entry = claim(address, Worth::Asked, now_us);
  if (entry == nullptr) return;
  entry->mac = word.mac;
  entry->state = NeighborState::Stale;
  entry->confirmed_us = now_us;
  entry->used_us = now_us;
}

void NeighborTable::answer_with(const OutFrame& frame, abi::Counter counter, uint64_t now_us) {
  if (!answers_.take(now_us)) {
    counters_.add(abi::Counter::neighbor_rate_limited);
    return;
  }
  counters_.add(counter);
  push(frame, Peer::Stranger);
}

NeighborTable::Input NeighborTable::input_arp(const Frame& frame, const Packet& packet,
                                              uint64_t now_us, bool answer) {
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
    if (answer) note_conflict(arp.sender, now_us);
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
    confirm(*entry, {arp.sender_mac}, now_us);
  }
  if (arp.operation == ArpOperation::Reply || !for_us) return result;
  if (entry == nullptr && !probe) remember_asker(arp.sender, {arp.sender_mac}, now_us);
  if (answer) {
    OutFrame reply;
    reply.arp = {ArpOperation::Reply, interface_.mac, arp.sender_mac, arp.target, arp.sender};
    reply.destination = arp.sender_mac;
    answer_with(reply, abi::Counter::arp_requests_in, now_us);
  }
  return result;
}

NeighborTable::Input NeighborTable::input_nd(const Frame& frame, const Packet& packet,
                                             uint64_t now_us, bool answer) {
  Input result;
  NdMessage message;
  const auto refuse = [&] {
    counters_.add(abi::Counter::drop_nd);
    return result;
  };
  if (!parse_nd(frame, packet, message)) return refuse();
  if (message.type == NdType::ListenerQuery) {
    if (answer) hear_query(now_us);
    result.valid = true;
    return result;
  }
  const bool advertised = message.type == NdType::Advertisement;
  const bool for_us = interface_.owns(message.target);
  const bool from_us = interface_.owns(message.source);
  if (from_us || (advertised && for_us)) {
    if (packet.link_source == interface_.mac) return refuse();  // our own words, come back
    // RFC 4862 5.4.4.
    result.conflict = true;
    if (answer) note_conflict(from_us ? message.source : message.target, now_us);
    return refuse();
  }
  if (!advertised && !for_us) return refuse();
  result.valid = true;
  result.share = !is_unspecified(message.source);
  if (advertised) {
    hear_advertisement(message, now_us);
  } else {
    hear_solicitation(message, packet, now_us, answer);
  }
  return result;
}

// RFC 4861 7.2.5.
void NeighborTable::hear_advertisement(const NdMessage& message, uint64_t now_us) {
  Entry* entry = find(message.target);
  if (entry == nullptr) return;
  // An answer to a question by unicast may leave the address out; without one there is nothing to
  // learn for an entry that has none.
  if (!message.has_link_address && entry->state == NeighborState::Incomplete) return;
  counters_.add(abi::Counter::nd_advertisements_in);
  const Mac& mac = message.has_link_address ? message.link_address : entry->mac;
  confirm(*entry, {mac, message.override_, message.solicited}, now_us);
}

// RFC 4861 7.2.3 and 7.2.4.
void NeighborTable::hear_solicitation(const NdMessage& message, const Packet& packet,
                                      uint64_t now_us, bool answer) {
  const bool probe = is_unspecified(message.source);
  if (message.has_link_address && interface_.on_link(message.source)) {
    const Word word{message.link_address, true, false};
    if (Entry* entry = find(message.source); entry != nullptr) {
      confirm(*entry, word, now_us);
    } else {
      remember_asker(message.source, word, now_us);
    }
  }
  if (!answer) return;
  OutFrame reply;
  reply.is_nd = true;
  reply.nd.type = NdType::Advertisement;
  reply.nd.solicited = !probe;
  reply.nd.override_ = true;
  reply.nd.source = message.target;
  reply.nd.destination = probe ? kAllNodes : message.source;
  reply.nd.target = message.target;
  reply.nd.has_link_address = true;
  reply.nd.link_address = interface_.mac;
  const Mac& asker = message.has_link_address ? message.link_address : packet.link_source;
  reply.destination = probe ? multicast_mac(kAllNodes) : asker;
  answer_with(reply, abi::Counter::nd_solicitations_in, now_us);
}

// RFC 3810 5.1: a router asks who listens to what. One round of reports tells it.
void NeighborTable::hear_query(uint64_t now_us) {
  if (!interface_.speaks_ipv6() || (reported_us_ != 0 && now_us - reported_us_ < kRetransmitUs)) {
    return;
  }
  reported_us_ = now_us;
  if (rounds_left_ > 0) return;  // the announcements report as well
  announce_at_ = 0;
  reports_only_ = true;
}

}  // namespace sluice::net
