// From bytes to Segment: TCP, over either family.
//
// Job: the header, the options and the checksum of one segment. Limits: the header lies in the
// frame's first piece; the payload may be in up to abi::kMaxSegmentPieces and have 64 KiB (a port
// that joins segments makes such). An option with a wrong length condemns the segment.
#include <algorithm>
#include <cstring>

#include "net/wire.h"
#include "net/wire_internal.h"

namespace sluice::net {
namespace {

bool parse_sack(std::span<const uint8_t> body, TcpOptions& options) {
  if (body.empty() || body.size() % 8 != 0 || body.size() / 8 > options.sack.size()) return false;
  options.sack_count = static_cast<uint8_t>(body.size() / 8);
  for (uint8_t i = 0; i < options.sack_count; ++i) {
    options.sack[i].start = load_be32(body.data() + 8U * i);
    options.sack[i].end = load_be32(body.data() + 8U * i + 4);
  }
  return true;
}

// One option's body, behind kind and length. False: its length is not the one its kind has.
bool parse_option(uint8_t kind, std::span<const uint8_t> body, bool syn, TcpOptions& options) {
  constexpr uint8_t kMss = 2, kWindowScale = 3, kSackPermitted = 4, kSack = 5, kTimestamps = 8;
  switch (kind) {  // over a byte from the wire, so with a default
    case kMss:
      if (body.size() != 2) return false;
      if (syn) options.mss = load_be16(body.data());
      return true;
    case kWindowScale:
      if (body.size() != 1) return false;
      if (syn) {
        options.has_window_scale = true;
        // RFC 7323 2.3: a shift over 14 counts as 14.
        options.window_scale = body[0] > 14 ? uint8_t{14} : body[0];
      }
      return true;
    case kSackPermitted:
      if (!body.empty()) return false;
      if (syn) options.sack_permitted = true;
      return true;
    case kSack:
      return parse_sack(body, options);
    case kTimestamps:
      if (body.size() != 8) return false;
      options.has_timestamps = true;
      options.tsval = load_be32(body.data());
      options.tsecr = load_be32(body.data() + 4);
      return true;
    default:
      return true;
  }
}

// Collects the pieces of [offset, offset + length) of the frame.
bool collect(const Frame& frame, uint32_t offset, uint32_t length, Chain& chain) {
  chain.clear();
  const uint32_t first = std::min(frame.length - offset, length);
  if (first > 0) chain.append({frame.data + offset, first, frame.owner});
  uint32_t left = length - first;
  for (uint16_t i = 0; i < frame.more_count && left > 0; ++i) {
    Slice piece = frame.more[i];
    piece.length = std::min(piece.length, left);
    left -= piece.length;
    if (piece.length > 0 && !chain.append(piece)) return false;
  }
  return left == 0;
}

bool tcp_checksum_holds(const Frame& frame, const Packet& packet, const uint8_t* ip) {
  const Sum sum = pseudo_header(ip, kProtocolTcp, packet.transport_bytes) +
                  checksum_fold(sum_transport(frame, packet));
  return checksum_fold(sum) == 0xffff;
}

}  // namespace

// RFC 9293 3.2 (MUST-7): illegal lengths are to be expected. A segment that has one is dropped
// whole: whoever sends it does not speak TCP.
bool parse_tcp_options(std::span<const uint8_t> bytes, bool syn, TcpOptions& options) {
  constexpr uint8_t kEnd = 0, kNop = 1;
  // RFC 7323 App. A: how nearly every segment looks.
  constexpr uint32_t kTimestampsAlone = 0x0101080a;
  if (bytes.size() == 12 && load_be32(bytes.data()) == kTimestampsAlone) {
    options.has_timestamps = true;
    options.tsval = load_be32(bytes.data() + 4);
    options.tsecr = load_be32(bytes.data() + 8);
    return true;
  }
  size_t at = 0;
  while (at < bytes.size()) {
    const uint8_t kind = bytes[at];
    if (kind == kEnd) return true;
    if (kind == kNop) {
      ++at;
      continue;
    }
    if (at + 2 > bytes.size()) return false;
    const size_t length = bytes[at + 1];
    if (length < 2 || at + length > bytes.size()) return false;
    if (!parse_option(kind, bytes.subspan(at + 2, length - 2), syn, options)) return false;
    at += length;
  }
  return true;
}

bool holds_tcp_header(std::span<const uint8_t> bytes) {
  return bytes.size() >= kTcpHeaderBytes && bytes.size() >= (bytes[12] >> 4) * 4U;
}

PacketKind parse_tcp(const Frame& frame, const uint8_t* ip, Packet& packet, Segment& segment) {
  const uint8_t* tcp = frame.data + packet.transport_offset;
  const uint32_t in_first = frame.length - packet.transport_offset;
  if (packet.transport_bytes < kTcpHeaderBytes || in_first < kTcpHeaderBytes) {
    return drop(packet, abi::Counter::drop_tcp_header);
  }
  const uint32_t header_length = (tcp[12] >> 4) * 4U;
  if (header_length < kTcpHeaderBytes || header_length > packet.transport_bytes ||
      header_length > in_first) {
    return drop(packet, abi::Counter::drop_tcp_header);
  }
  if (!collect(frame, packet.transport_offset + header_length,
               packet.transport_bytes - header_length, segment.payload)) {
    return drop(packet, abi::Counter::drop_runt);
  }
  if (!frame.checksum_ok && !tcp_checksum_holds(frame, packet, ip)) {
    return drop(packet, abi::Counter::drop_tcp_checksum);
  }
  segment.tuple.local = {packet.destination, load_be16(tcp + 2)};
  segment.tuple.remote = {packet.source, load_be16(tcp)};
  segment.seq = load_be32(tcp + 4);
  segment.ack = load_be32(tcp + 8);
  segment.flags = tcp[13];
  segment.window = load_be16(tcp + 14);
  segment.ecn = packet.ecn;
  segment.cut_bytes = 0;
  segment.options = TcpOptions{};
  const std::span<const uint8_t> options(tcp + kTcpHeaderBytes, header_length - kTcpHeaderBytes);
  if (segment.tuple.local.port == 0 || segment.tuple.remote.port == 0 ||
      !parse_tcp_options(options, (segment.flags & kSyn) != 0, segment.options)) {
    return drop(packet, abi::Counter::drop_tcp_header);
  }
  return PacketKind::Tcp;
}

}  // namespace sluice::net
