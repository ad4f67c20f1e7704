// Reassembly of IP fragments.
//
// Job: put the pieces of a fragmented TCP segment together again (parse_frame names no others
// Fragment), and let nobody who sends pieces without an end, or pieces that contradict each other,
// cost more than a fixed amount. Limits: kFragmentEntries packets at a time, of which one source
// (an IPv6 /64) may have kFragmentEntriesPerSource; kFragmentBytes of buffers in all and
// kFragmentEntryBytes for a packet, counted as what holding them costs; kFragmentPieces buffers of
// a packet; kFragmentTimeoutUs from the first fragment on. What is full pushes out what is oldest:
// the pieces of an honest packet follow each other closely, so it is complete before a flood has
// gone once around the table, and a table that refused the newest would serve the flood alone.
// Rules: pieces that overlap condemn their packet, and what still comes of it (RFC 5722 4, applied
// to IPv4 too, RFC 1858 4); an exact duplicate is dropped alone (RFC 8200 4.5). The end is told
// once. A first fragment has the whole TCP header, and no other begins within one (RFC 3128).
// Data flow: add() -> pieces (sorted slices of the frames' buffers, one reference each) -> finish()
// writes the whole packet's lengths into the first fragment's own header, and passes the
// references on in a Frame that the ordinary parser reads. IPv6's fragment header stays in it, as
// that of an atomic fragment.
#include "net/fragments.h"

#include <algorithm>
#include <cstring>

#include "net/ipv6.h"

namespace sluice::net {
namespace {

constexpr uint64_t kTickUs = 100'000;
constexpr uint32_t kMaxIpBytes = 65535;

bool same_source(const abi::IpAddress& a, const abi::IpAddress& b) {
  return same_prefix(a, b, a.is_ipv4() ? 32 : 64);
}

// Calls use(slice) for each run of the fragment's share of the packet.
template <typename Use>
void for_each_run(const Frame& frame, const Packet& packet, Use use) {
  uint32_t left = packet.transport_bytes;
  const uint32_t first = std::min(frame.length - packet.transport_offset, left);
  if (first > 0) use(Slice{frame.data + packet.transport_offset, first, frame.owner});
  left -= first;
  for (uint16_t i = 0; i < frame.more_count && left > 0; ++i) {
    Slice run = frame.more[i];
    run.length = std::min(run.length, left);
    left -= run.length;
    if (run.length > 0) use(run);
  }
}

// RFC 3168 5.3: congestion that one fragment met, all have met. False: somebody marked a packet
// whose sender does not take marks.
bool join_ecn(uint8_t seen, bool& congested) {
  constexpr uint8_t kNotEct = 1U << 0, kCongested = 1U << 3;
  congested = (seen & kCongested) != 0;
  return !congested || (seen & kNotEct) == 0;
}

void write_ipv4(uint8_t* ip, uint32_t header_bytes, uint32_t total_bytes, bool congested) {
  store_be16(ip + 2, total_bytes);
  std::memset(ip + 6, 0, 2);
  if (congested) ip[1] |= 3;
  std::memset(ip + 10, 0, 2);
  const uint16_t sum = checksum_finish(checksum_add(ip, header_bytes));
  std::memcpy(ip + 10, &sum, 2);
}

void write_ipv6(uint8_t* ip, uint32_t header_bytes, uint32_t payload_bytes, bool congested) {
  store_be16(ip + 4, payload_bytes);
  if (congested) ip[1] |= 0x30;
  std::memset(ip + header_bytes - kFragmentHeaderBytes + 2, 0, 2);
}

}  // namespace

FragmentTable::FragmentTable(abi::Counters& counters)
    : counters_(counters), entries_(kFragmentEntries) {}

FragmentTable::~FragmentTable() {
  for (Entry& entry : entries_) {
    if (entry.used) forget(entry);
  }
}

FragmentTable::Entry* FragmentTable::find(const Frame& frame, const Packet& packet) {
  for (Entry& entry : entries_) {
    if (entry.used && entry.info.id == packet.fragment.id &&
        entry.info.protocol == packet.fragment.protocol && entry.port == frame.port &&
        entry.source == packet.source && entry.destination == packet.destination) {
      return &entry;
    }
  }
  return nullptr;
}

FragmentTable::Entry* FragmentTable::oldest(const Entry* but) {
  Entry* chosen = nullptr;
  for (Entry& entry : entries_) {
    if (!entry.used || &entry == but) continue;
    if (chosen == nullptr || entry.since_us < chosen->since_us) chosen = &entry;
  }
  return chosen;
}

// A fresh entry; the oldest of its source, or of all, makes room.
FragmentTable::Entry* FragmentTable::claim(const Frame& frame, const Packet& packet,
                                           uint64_t now_us) {
  Entry* of_source = nullptr;
  uint32_t from_source = 0;
  for (Entry& entry : entries_) {
    if (!entry.used || !same_source(entry.source, packet.source)) continue;
    ++from_source;
    if (of_source == nullptr || entry.since_us < of_source->since_us) of_source = &entry;
  }
  if (from_source >= kFragmentEntriesPerSource) {
    give_up(*of_source, abi::Counter::drop_fragment_limit);
  } else if (entries_in_use_ == kFragmentEntries) {
    give_up(*oldest(nullptr), abi::Counter::drop_fragment_limit);
  }
  for (Entry& entry : entries_) {
    if (entry.used) continue;
    entry.used = true;
    entry.port = frame.port;
    entry.info = packet.fragment;
    entry.source = packet.source;
    entry.destination = packet.destination;
    entry.since_us = now_us;
    ++entries_in_use_;
    return &entry;
  }
  return nullptr;
}

FragmentTable::Fit FragmentTable::fit(const Entry& entry, const Span& span, bool more) const {
  // The last fragment says where the packet ends, and all agree with it.
  const uint32_t arrived_end = entry.count == 0 ? 0
                                                : entry.pieces[entry.count - 1].offset +
                                                      entry.pieces[entry.count - 1].slice.length;
  if (entry.has_end && span.end() > entry.end_bytes) return Fit::Impossible;
  if (!more && (entry.has_end ? span.end() != entry.end_bytes : arrived_end > span.end())) {
    return Fit::Impossible;
  }
  for (uint32_t i = 0; i < entry.count; ++i) {
    const Piece& piece = entry.pieces[i];
    const uint32_t end = piece.offset + piece.slice.length;
    if (end <= span.offset) continue;
    if (piece.offset >= span.end()) return Fit::New;
    if (piece.offset != span.offset || !piece.begins_fragment) return Fit::Overlap;
    uint32_t length = piece.slice.length;
    while (++i < entry.count && !entry.pieces[i].begins_fragment) {
      length += entry.pieces[i].slice.length;
    }
    return length == span.length ? Fit::Duplicate : Fit::Overlap;
  }
  return Fit::New;
}

// Puts the fragment's buffers in their place; there is room.
void FragmentTable::insert(Entry& entry, const Span& span, const Frame& frame,
                           const Packet& packet) {
  uint32_t at = 0;
  while (at < entry.count && entry.pieces[at].offset < span.offset) ++at;
  uint32_t offset = span.offset;
  for_each_run(frame, packet, [&](const Slice& slice) {
    std::copy_backward(entry.pieces.begin() + at, entry.pieces.begin() + entry.count,
                       entry.pieces.begin() + entry.count + 1);
    entry.pieces[at++] = {slice, static_cast<uint16_t>(offset), offset == span.offset};
    ++entry.count;
    offset += slice.length;
    retain(slice.owner);
    entry.held_bytes += slice.owner->truesize_bytes;
    held_bytes_ += slice.owner->truesize_bytes;
  });
}

// False: over a bound, and the packet is given up.
bool FragmentTable::keep(Entry& entry, const Frame& frame, const Packet& packet) {
  const Span span{packet.fragment.offset_bytes, packet.transport_bytes};
  uint32_t pieces = 0;
  uint32_t bytes = 0;
  for_each_run(frame, packet, [&](const Slice& slice) {
    ++pieces;
    bytes += slice.owner->truesize_bytes;
  });
  if (entry.count + pieces > kFragmentPieces || entry.held_bytes + bytes > kFragmentEntryBytes) {
    return false;
  }
  while (held_bytes_ + bytes > kFragmentBytes) {
    Entry* victim = oldest(&entry);
    if (victim == nullptr) return false;
    give_up(*victim, abi::Counter::drop_fragment_limit);
  }
  insert(entry, span, frame, packet);
  if (span.offset == 0) {
    entry.head = frame.data;
    entry.network_offset = packet.network_offset;
    entry.transport_offset = packet.transport_offset;
  }
  if (!packet.fragment.more) {
    entry.has_end = true;
    entry.end_bytes = span.end();
  }
  entry.arrived_bytes += span.length;
  entry.ecn_seen |= static_cast<uint8_t>(1U << packet.ecn);
  ++entry.fragments;
  return true;
}

bool FragmentTable::add(const Frame& frame, const Packet& packet, uint64_t now_us, Frame& whole) {
  const Span span{packet.fragment.offset_bytes, packet.transport_bytes};
  const bool more = packet.fragment.more;
  const auto refuse = [&](abi::Counter reason) {
    counters_.add(reason);
    return false;
  };
  // RFC 791 3.2: all but the last are whole units of eight bytes.
  if (span.length == 0 || (more && span.length % 8 != 0) || span.end() > kMaxIpBytes) {
    return refuse(abi::Counter::drop_ip_fragment);
  }
  // RFC 3128: a fragment that would begin within the TCP header.
  if (span.offset != 0 && span.offset < kTcpHeaderBytes) {
    return refuse(abi::Counter::drop_fragment_tiny);
  }
  Entry* entry = find(frame, packet);
  if (entry == nullptr) entry = claim(frame, packet, now_us);
  if (entry->condemned) return refuse(abi::Counter::drop_fragment_overlap);
  switch (fit(*entry, span, more)) {
    case Fit::New:
      break;
    case Fit::Duplicate:
      return refuse(abi::Counter::drop_fragment_overlap);
    case Fit::Overlap:
      condemn(*entry, abi::Counter::drop_fragment_overlap);
      return refuse(abi::Counter::drop_fragment_overlap);
    case Fit::Impossible:
      condemn(*entry, abi::Counter::drop_ip_fragment);
      return refuse(abi::Counter::drop_ip_fragment);
  }
  if (!keep(*entry, frame, packet)) {
    condemn(*entry, abi::Counter::drop_fragment_limit);
    return refuse(abi::Counter::drop_fragment_limit);
  }
  counters_.add(abi::Counter::fragments_in);
  if (!entry->has_end || entry->arrived_bytes != entry->end_bytes) return false;
  return finish(*entry, whole);
}

bool FragmentTable::finish(Entry& entry, Frame& whole) {
  // Nothing overlaps and the bytes are as many as the end says, so the first piece is at 0.
  uint8_t* ip = entry.head + entry.network_offset;
  const uint32_t header_bytes = entry.transport_offset - uint32_t{entry.network_offset};
  const bool ipv4 = entry.source.is_ipv4();
  const uint32_t counted_header = ipv4 ? header_bytes : header_bytes - kIpv6HeaderBytes;
  bool congested = false;
  if (!join_ecn(entry.ecn_seen, congested) || counted_header + entry.end_bytes > kMaxIpBytes) {
    give_up(entry, abi::Counter::drop_ip_fragment);
    return false;
  }
  if (ipv4) {
    write_ipv4(ip, header_bytes, counted_header + entry.end_bytes, congested);
  } else {
    write_ipv6(ip, header_bytes, counted_header + entry.end_bytes, congested);
  }
  const Slice& first = entry.pieces[0].slice;
  whole.data = entry.head;
  whole.length = entry.transport_offset + first.length;
  whole.owner = first.owner;
  whole.more = more_.data();
  whole.more_count = static_cast<uint16_t>(entry.count - 1);
  whole.port = entry.port;
  whole.checksum_ok = false;  // of the fragments, if of anything
  for (uint32_t i = 1; i < entry.count; ++i) more_[i - 1] = entry.pieces[i].slice;
  entry.count = 0;  // the references are the frame's now
  forget(entry);
  counters_.add(abi::Counter::fragments_reassembled);
  return true;
}

// Releases the buffers, and counts the fragments that were kept for nothing.
void FragmentTable::give_up(Entry& entry, abi::Counter reason) {
  counters_.add(reason, entry.fragments);
  forget(entry);
}

// The entry stays, without buffers, and takes what still comes of its packet with it.
void FragmentTable::condemn(Entry& entry, abi::Counter reason) {
  give_up(entry, reason);
  entry.used = true;  // forget() leaves its identity and its time
  entry.condemned = true;
  ++entries_in_use_;
}

void FragmentTable::forget(Entry& entry) {
  for (uint32_t i = 0; i < entry.count; ++i) release(entry.pieces[i].slice.owner);
  held_bytes_ -= entry.held_bytes;
  --entries_in_use_;
  entry.used = false;
  entry.condemned = false;
  entry.has_end = false;
  entry.ecn_seen = 0;
  entry.arrived_bytes = 0;
  entry.end_bytes = 0;
  entry.held_bytes = 0;
  entry.fragments = 0;
  entry.head = nullptr;
  entry.count = 0;
}

void FragmentTable::tick(uint64_t now_us) {
  if (entries_in_use_ == 0 || now_us < next_tick_us_) return;
  next_tick_us_ = now_us + kTickUs;
  for (Entry& entry : entries_) {
    if (entry.used && now_us - entry.since_us >= kFragmentTimeoutUs) {
      give_up(entry, abi::Counter::drop_fragment_timeout);
    }
  }
}

}  // namespace sluice::net
