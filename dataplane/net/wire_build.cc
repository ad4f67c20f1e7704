// From Segment to bytes.
//
// Job: write complete packets, or headers for a payload that the port fetches itself. Limits:
// IPv4 and IPv6 without options; one VLAN tag; 40 bytes of TCP options, of which SACK takes what
// the others leave. Data flow: a Segment of up to 64 KiB leaves as one or several packets, each a
// `Cut` of its payload. All of them carry the same options (a receiver that uses timestamps drops
// segments without, RFC 7323 3.2), sequence numbers advance by Cut::offset, and the flags that
// speak of the beginning or the end stay with the first or last packet. copy_chain sums while it
// copies, so a payload byte is touched once; headers are summed while they are written, because
// reading back in other widths what was just stored stalls until the stores have left the core.
#include <algorithm>
#include <bit>
#include <cstring>

#include "net/wire.h"

namespace sluice::net {
namespace {

// Writes header words, big-endian, one behind the other, and sums them.
class Writer {
 public:
  explicit Writer(uint8_t* at) : at_(at) {}
  void put(uint32_t word) {
    store_be32(at_, word);
    at_ += 4;
    sum_ += memory_order(word);
  }
  uint8_t* at() const { return at_; }
  Sum sum() const { return sum_; }
  // A word as the sum of its bytes in memory sees it.
  static Sum memory_order(uint32_t word) {
    static_assert(std::endian::native == std::endian::little);
    return __builtin_bswap32(word);
  }

 private:
  uint8_t* at_;
  Sum sum_ = 0;
};

// SACK blocks that fit beside the other options (RFC 2018 3: at most 3 with timestamps).
uint32_t sack_blocks(const TcpOptions& options, uint32_t used) {
  const uint32_t room = (kMaxTcpOptionBytes - used) < 4 ? 0 : (kMaxTcpOptionBytes - used - 4) / 8;
  return std::min<uint32_t>({options.sack_count, room, static_cast<uint32_t>(options.sack.size())});
}

// Writes the options in the order that most stacks use, padded to words.
void write_options(const Segment& segment, Writer& out) {
  constexpr uint32_t kNop2 = 0x01010000, kNop1 = 0x01000000;
  constexpr uint32_t kMss = 0x02040000, kSackPermitted = 0x0402, kTimestamps = 0x080a;
  constexpr uint32_t kWindowScale = 0x030300, kSack = 0x0500;
  const TcpOptions& options = segment.options;
  const bool syn = (segment.flags & kSyn) != 0;
  const uint8_t* const begin = out.at();
  if (syn && options.mss != 0) out.put(kMss | options.mss);
  if (options.has_timestamps) {
    // Where SACK is offered it takes the place of the padding.
    out.put((syn && options.sack_permitted ? kSackPermitted << 16 : kNop2) | kTimestamps);
    out.put(options.tsval);
    out.put(options.tsecr);
  } else if (syn && options.sack_permitted) {
    out.put(kNop2 | kSackPermitted);
  }
  if (syn && options.has_window_scale) out.put(kNop1 | kWindowScale | options.window_scale);
  const uint32_t blocks = sack_blocks(options, static_cast<uint32_t>(out.at() - begin));
  if (blocks > 0) {
    out.put(kNop2 | kSack | (2 + 8 * blocks));
    for (uint32_t i = 0; i < blocks; ++i) {
      out.put(options.sack[i].start);
      out.put(options.sack[i].end);
    }
  }
}

// The same sum of lengths as write_options.
uint32_t option_bytes(const Segment& segment) {
  const TcpOptions& options = segment.options;
  const bool syn = (segment.flags & kSyn) != 0;
  uint32_t bytes = syn && options.mss != 0 ? 4 : 0;
  if (options.has_timestamps) {
    bytes += 12;
  } else if (syn && options.sack_permitted) {
    bytes += 4;
  }
  if (syn && options.has_window_scale) bytes += 4;
  const uint32_t blocks = sack_blocks(options, bytes);
  return bytes + (blocks > 0 ? 4 + 8 * blocks : 0);
}

// Calls use(data, length) for each run of [offset, offset + length).
template <typename Use>
void for_each_run(const Chain& chain, uint32_t offset, uint32_t length, Use use) {
  for (uint32_t i = 0; i < chain.count && length > 0; ++i) {
    const Slice& piece = chain.pieces[i];
    if (offset >= piece.length) {
      offset -= piece.length;
      continue;
    }
    const uint32_t run = std::min(piece.length - offset, length);
    use(piece.data + offset, run);
    offset = 0;
    length -= run;
  }
}

uint8_t cut_flags(uint8_t flags, const Cut& cut) {
  uint8_t kept = flags;
  if (!cut.first) kept &= static_cast<uint8_t>(~(kSyn | kCwr));
  if (!cut.last) kept &= static_cast<uint8_t>(~(kFin | kPsh));
  return kept;
}

// Both return the sum of the addresses.
Sum write_ipv4(const HeaderRequest& request, uint32_t total_length, uint8_t* ip) {
  const Segment& segment = request.segment;
  Writer out(ip);
  out.put(0x45U << 24 | (segment.ecn & 3U) << 16 | total_length);
  // RFC 6864 4.1: with DF set the identification has no meaning.
  out.put(0x4000);
  out.put(uint32_t{kTimeToLive} << 24 | uint32_t{kProtocolTcp} << 16);
  const Sum before = out.sum();
  out.put(segment.tuple.local.address.ipv4());
  out.put(segment.tuple.remote.address.ipv4());
  if (request.checksum == ChecksumBy::Software) {
    const uint16_t sum = checksum_finish(out.sum());
    std::memcpy(ip + 10, &sum, 2);
  }
  return out.sum() - before;
}

// RFC 6437 3: the same for all packets of a flow, different for most others; a router may spread
// load by it. It needs no secret, as the tuple is in the same packet.
uint32_t flow_label(const FlowTuple& tuple) {
  uint64_t words[4];
  std::memcpy(words, tuple.local.address.bytes.data(), 16);
  std::memcpy(words + 2, tuple.remote.address.bytes.data(), 16);
  uint64_t mixed = static_cast<uint64_t>(tuple.local.port) << 16 | tuple.remote.port;
  for (const uint64_t word : words) mixed = (mixed ^ word) * 0x9e3779b97f4a7c15U + (mixed >> 32);
  return static_cast<uint32_t>(mixed >> 44);
}

Sum write_ipv6(const HeaderRequest& request, uint32_t payload_length, uint8_t* ip) {
  const Segment& segment = request.segment;
  const uint32_t traffic_class = segment.ecn & 3U;
  store_be32(ip, 6U << 28 | traffic_class << 20 | flow_label(segment.tuple));
  store_be16(ip + 4, payload_length);
  ip[6] = kProtocolTcp;
  ip[7] = kTimeToLive;
  std::memcpy(ip + 8, segment.tuple.local.address.bytes.data(), 16);
  std::memcpy(ip + 24, segment.tuple.remote.address.bytes.data(), 16);
  return checksum_add(segment.tuple.local.address.bytes.data(), 16) +
         checksum_add(segment.tuple.remote.address.bytes.data(), 16);
}

// What the pseudo header says beside the addresses.
Sum length_and_protocol(uint32_t length, uint8_t protocol) {
  return Writer::memory_order(length) + Writer::memory_order(protocol);
}

uint16_t tcp_checksum(const HeaderRequest& request, Sum addresses, Sum header,
                      uint32_t header_length) {
  const auto pseudo = [&](uint32_t length) {
    return addresses + length_and_protocol(length, kProtocolTcp);
  };
  switch (request.checksum) {
    case ChecksumBy::Software:
      return checksum_finish(pseudo(header_length + request.cut.length) + header +
                             checksum_fold(request.payload_sum));
    case ChecksumBy::Hardware:
      return checksum_fold(pseudo(header_length + request.cut.length));
    case ChecksumBy::HardwareTso:
      return checksum_fold(pseudo(0));
  }
  return 0;
}

}  // namespace

uint32_t link_bytes(const Interface& interface) {
  return kEthernetBytes + (interface.vlan != 0 ? kVlanTagBytes : 0);
}

uint32_t build_ethernet(const Interface& interface, const Mac& destination, uint16_t ethertype,
                        uint8_t* out) {
  std::memcpy(out, destination.bytes.data(), 6);
  std::memcpy(out + 6, interface.mac.bytes.data(), 6);
  uint8_t* at = out + 12;
  if (interface.vlan != 0) {
    store_be16(at, kEthertypeVlan);
    store_be16(at + 2, interface.vlan & 0x0fffU);
    at += kVlanTagBytes;
  }
  store_be16(at, ethertype);
  return link_bytes(interface);
}

Sum pseudo_header(const uint8_t* ip, uint8_t protocol, uint32_t length) {
  const Sum addresses = ip[0] >> 4 == 4 ? checksum_add(ip + 12, 8) : checksum_add(ip + 8, 32);
  return addresses + length_and_protocol(length, protocol);
}

uint32_t ip_header_bytes(const Segment& segment) {
  return segment.tuple.local.address.is_ipv4() ? kIpv4HeaderBytes : kIpv6HeaderBytes;
}

uint32_t header_bytes(const Segment& segment, const Interface& interface) {
  const FlowTuple& tuple = segment.tuple;
  if (tuple.local.address.is_ipv4() != tuple.remote.address.is_ipv4()) return 0;
  return link_bytes(interface) + ip_header_bytes(segment) + kTcpHeaderBytes + option_bytes(segment);
}

uint32_t max_payload_bytes(const Segment& segment, const Interface& interface) {
  const uint32_t headers = ip_header_bytes(segment) + kTcpHeaderBytes + option_bytes(segment);
  const uint32_t room = interface.mtu > headers ? interface.mtu - headers : 0;
  return segment.cut_bytes != 0 ? std::min<uint32_t>(segment.cut_bytes, room) : room;
}

uint32_t build_headers(const HeaderRequest& request, uint8_t* begin) {
  const Segment& segment = request.segment;
  const Cut& cut = request.cut;
  if (header_bytes(segment, request.interface) == 0) return 0;
  const bool ipv4 = segment.tuple.local.address.is_ipv4();
  uint8_t* ip = begin + build_ethernet(request.interface, request.destination,
                                       ipv4 ? kEthertypeIpv4 : kEthertypeIpv6, begin);
  uint8_t* tcp = ip + ip_header_bytes(segment);
  const uint32_t tcp_length = kTcpHeaderBytes + option_bytes(segment);
  const Sum addresses = ipv4
                            ? write_ipv4(request, kIpv4HeaderBytes + tcp_length + cut.length, ip)
                            : write_ipv6(request, tcp_length + cut.length, ip);
  // A SYN takes a sequence number in front of the payload.
  const uint32_t syn = !cut.first && (segment.flags & kSyn) != 0 ? 1 : 0;
  Writer out(tcp);
  out.put(uint32_t{segment.tuple.local.port} << 16 | segment.tuple.remote.port);
  out.put(segment.seq + cut.offset + syn);
  out.put(segment.ack);
  out.put(tcp_length / 4 << 28 | uint32_t{cut_flags(segment.flags, cut)} << 16 | segment.window);
  out.put(0);
  write_options(segment, out);
  const uint16_t sum = tcp_checksum(request, addresses, out.sum(), tcp_length);
  std::memcpy(tcp + 16, &sum, 2);
  return static_cast<uint32_t>(tcp + tcp_length - begin);
}

Sum copy_chain(const Chain& chain, uint32_t offset, uint32_t length, uint8_t* out) {
  Sum sum = 0;
  uint32_t done = 0;
  for_each_run(chain, offset, length, [&](const uint8_t* data, uint32_t run) {
    sum = checksum_combine(sum, checksum_copy(out + done, data, run), done);
    done += run;
  });
  return sum;
}

Sum sum_chain(const Chain& chain, uint32_t offset, uint32_t length) {
  Sum sum = 0;
  uint32_t done = 0;
  for_each_run(chain, offset, length, [&](const uint8_t* data, uint32_t run) {
    sum = checksum_combine(sum, checksum_add(data, run), done);
    done += run;
  });
  return sum;
}

uint32_t build_frame(const Segment& segment, const Cut& cut, const Interface& interface,
                     const Mac& destination, std::span<uint8_t> out) {
  const uint32_t headers = header_bytes(segment, interface);
  if (headers == 0 || cut.offset > segment.payload.length ||
      cut.length > segment.payload.length - cut.offset || out.size() < headers + cut.length) {
    return 0;
  }
  const Sum sum = copy_chain(segment.payload, cut.offset, cut.length, out.data() + headers);
  build_headers({segment, interface, destination, cut, ChecksumBy::Software, sum}, out.data());
  return headers + cut.length;
}

}  // namespace sluice::net
