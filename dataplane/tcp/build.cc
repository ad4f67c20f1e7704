// Segments are filled in here: headers, options, and the payload as slices of the send queue.
// Nothing of the connection changes.
#include "tcp/build.h"

#include <algorithm>

#include "tcp/receive.h"

namespace sluice::tcp {
namespace {

constexpr uint32_t kMaxPayloadBytes = 65'000;  // of one emitted segment: an IP packet with headers
constexpr uint32_t kOptionBytes = 40;          // RFC 9293 3.1
constexpr uint32_t kTimestampBytes = 12;
constexpr uint32_t kSackFixedBytes = 4;  // with padding; RFC 2018 3
constexpr uint32_t kSackBlockBytes = 8;

void add_timestamps(const Tcb& tcb, net::Segment& segment, Micros now) {
  segment.options.has_timestamps = true;
  segment.options.tsval = timestamp_clock(now) + tcb.ts_offset;
  segment.options.tsecr = tcb.ts_recent;
}

uint16_t window_field(const Stack& stack, const Tcb& tcb) {
  const uint32_t window = window_edge(stack, tcb) - tcb.rcv_nxt;
  const uint64_t unit = 1ULL << tcb.rcv_wscale;  // rounding down would shrink the window
  return static_cast<uint16_t>(std::min<uint64_t>((window + unit - 1) >> tcb.rcv_wscale, 65535));
}

}  // namespace

void begin_segment(const Stack& stack, const Tcb& tcb, net::Segment& segment, uint32_t seq,
                   Micros now) {
  segment.tuple = tcb.tuple;
  segment.seq = seq;
  segment.ack = tcb.rcv_nxt;
  segment.flags = static_cast<uint8_t>(net::kAck | (tcb.ecn_echo ? uint32_t{net::kEce} : 0U));
  segment.ecn = 0;
  segment.cut_bytes = static_cast<uint16_t>(effective_mss(tcb));
  segment.window = window_field(stack, tcb);
  segment.options = net::TcpOptions{};
  segment.payload.clear();
  if (tcb.timestamps) add_timestamps(tcb, segment, now);
  if (tcb.sack_permitted && tcb.out_of_order.list != nullptr) {
    const uint32_t room = kOptionBytes - (tcb.timestamps ? kTimestampBytes : 0) - kSackFixedBytes;
    reassembly_fill_sack(tcb.out_of_order, segment.options, room / kSackBlockBytes);
  }
}

// SACK blocks are not repeated on each cut, so segments with them go out one by one.
uint32_t payload_limit(const Stack& stack, const Tcb& tcb, const net::Segment& segment) {
  const uint32_t mss = effective_mss(tcb);
  if (segment.options.sack_count != 0) {
    return mss - (kSackFixedBytes + kSackBlockBytes * segment.options.sack_count);
  }
  const uint32_t most = std::min(stack.config.tso_bytes, kMaxPayloadBytes);
  return std::max(mss, most - most % mss);
}

void fill_payload(const Stack& stack, const Tcb& tcb, const SendCursor& cursor, uint32_t length,
                  net::Segment& segment) {
  const SliceNode* node = cursor.node == kNoNode ? tcb.send.head() : stack.nodes.at(cursor.node);
  uint32_t offset = cursor.offset;
  net::Chain& chain = segment.payload;
  while (chain.length < length) {
    const uint32_t part = std::min(node->length - offset, length - chain.length);
    if (part != 0 && !chain.append({node->data + offset, part, node->owner})) break;
    node = node->next;
    offset = 0;
  }
  const uint32_t mss = segment.cut_bytes;
  if (chain.length == length || chain.length <= mss) return;
  uint32_t surplus = chain.length % mss;
  chain.length -= surplus;
  while (surplus != 0) {
    net::Slice& last = chain.pieces[chain.count - 1];
    const uint32_t part = std::min(surplus, last.length);
    last.length -= part;
    surplus -= part;
    if (last.length == 0) --chain.count;
  }
}

void set_end_flags(const Tcb& tcb, net::Segment& segment, bool fin_allowed) {
  if (segment.seq + segment.payload.length != tcb.send_end()) return;
  if (segment.payload.length != 0) segment.flags |= net::kPsh;
  if (fin_allowed && tcb.fin_queued) segment.flags |= net::kFin;
}

void build_syn(const Stack& stack, const Tcb& tcb, net::Segment& segment, Micros now) {
  const bool passive = tcb.state == State::SynReceived;
  const bool ipv4 = tcb.tuple.local.address.is_ipv4();
  segment.tuple = tcb.tuple;
  segment.seq = tcb.iss;
  segment.ack = passive ? tcb.rcv_nxt : 0;
  // RFC 3168 6.1.1.1: a SYN that got no answer is repeated without ECN.
  const bool offer_ecn = stack.config.ecn && !passive && tcb.backoff == 0;
  segment.flags = static_cast<uint8_t>(net::kSyn | (passive ? uint32_t{net::kAck} : 0U) |
                                       (offer_ecn ? uint32_t{net::kEce | net::kCwr} : 0U));
  segment.ecn = 0;
  segment.cut_bytes = 0;
  segment.window = syn_window_bytes(stack.config);
  segment.payload.clear();
  // A SYN-ACK offers what the peer's SYN did; RFC 7323 2.2, 3.2, RFC 2018 2.
  net::TcpOptions& options = segment.options = net::TcpOptions{};
  options.mss = announced_mss(stack.config, ipv4);
  options.has_window_scale = !passive || tcb.window_scale;
  options.window_scale = options.has_window_scale ? announced_window_scale(stack.config) : 0;
  options.sack_permitted = !passive || tcb.sack_permitted;
  if (!passive || tcb.timestamps) add_timestamps(tcb, segment, now);
}

void build_reset(const Tcb& tcb, net::Segment& segment) {  // RFC 9293 3.10.5
  segment.tuple = tcb.tuple;
  segment.seq = tcb.snd_nxt;
  segment.ack = tcb.rcv_nxt;
  segment.flags = net::kRst | net::kAck;
  segment.ecn = 0;
  segment.window = 0;
  segment.cut_bytes = 0;
  segment.options = net::TcpOptions{};
  segment.payload.clear();
}

}  // namespace sluice::tcp
