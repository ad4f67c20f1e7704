// Any frame: parse_frame says the same of it in one piece and in several, changes nothing, and
// whatever it promises lies within the frame. What it takes for TCP can be built again and read
// back. The first three bytes say what the port is and how the frame lies in memory; the rest is
// the frame, in memory of exactly its size, so that ASan sees each step beyond.
#include "frame_input.h"

namespace sluice::fuzz {
namespace {

struct Pieces {
  net::BufferOwner owner;
  net::Frame frame;
  std::vector<net::Slice> more;
};

void lay_out(std::vector<uint8_t>& bytes, uint32_t first, uint32_t most, Pieces& pieces) {
  const auto total = static_cast<uint32_t>(bytes.size());
  pieces.frame.data = bytes.data();
  pieces.frame.length = std::min(first, total);
  pieces.frame.owner = &pieces.owner;
  for (uint32_t at = pieces.frame.length; at < total && pieces.more.size() < 60; at += most) {
    pieces.more.push_back({bytes.data() + at, std::min(most, total - at), &pieces.owner});
  }
  pieces.frame.more = pieces.more.data();
  pieces.frame.more_count = static_cast<uint16_t>(pieces.more.size());
}

std::vector<uint8_t> payload_of(const net::Segment& segment) {
  std::vector<uint8_t> all;
  for (uint32_t i = 0; i < segment.payload.count; ++i) {
    const net::Slice& piece = segment.payload.pieces[i];
    all.insert(all.end(), piece.data, piece.data + piece.length);
  }
  SLUICE_ASSERT(all.size() == segment.payload.length);
  return all;
}

void check_segment(const std::vector<uint8_t>& bytes, const net::Interface& interface,
                   const net::Packet& packet, const net::Segment& segment) {
  SLUICE_ASSERT(interface.owns(segment.tuple.local.address));
  SLUICE_ASSERT(!interface.owns(segment.tuple.remote.address));
  SLUICE_ASSERT(segment.tuple.local.address.is_ipv4() == segment.tuple.remote.address.is_ipv4());
  SLUICE_ASSERT(segment.tuple.local.port != 0 && segment.tuple.remote.port != 0);
  SLUICE_ASSERT(segment.ecn <= 3 && segment.options.sack_count <= 4);
  SLUICE_ASSERT(segment.options.window_scale <= 14);
  SLUICE_ASSERT(segment.payload.length + net::kTcpHeaderBytes <= packet.transport_bytes);
  for (uint32_t i = 0; i < segment.payload.count; ++i) {
    const net::Slice& piece = segment.payload.pieces[i];
    SLUICE_ASSERT(piece.data >= bytes.data() && piece.length > 0 &&
                  piece.data + piece.length <= bytes.data() + bytes.size());
  }
}

// What was read is built from the other side and read again.
void check_round_trip(const net::Segment& seen, const net::Interface& interface) {
  if (seen.payload.length > 8000) return;
  net::Segment sent = seen;
  std::swap(sent.tuple.local, sent.tuple.remote);
  std::vector<uint8_t> out(net::kMaxHeaderBytes + seen.payload.length);
  const net::Cut cut{0, seen.payload.length, true, true};
  const uint32_t length = net::build_frame(sent, cut, peer(interface.vlan), kOurMac, out);
  SLUICE_ASSERT(length > 0 && length <= out.size());
  out.resize(length);
  Pieces pieces;
  lay_out(out, length, 1, pieces);
  net::Packet packet;
  net::Segment again;
  SLUICE_ASSERT(net::parse_frame(pieces.frame, interface, packet, again) == net::PacketKind::Tcp);
  SLUICE_ASSERT(again.tuple == seen.tuple && again.seq == seen.seq && again.ack == seen.ack);
  SLUICE_ASSERT(again.flags == seen.flags && again.window == seen.window);
  SLUICE_ASSERT(again.ecn == seen.ecn && payload_of(again) == payload_of(seen));
}

void check_error(const net::Interface& interface, const net::Packet& packet) {
  const net::IcmpError& error = packet.error;
  SLUICE_ASSERT(interface.owns(error.tuple.local.address));
  SLUICE_ASSERT(error.tuple.local.address == packet.destination);
  SLUICE_ASSERT(error.tuple.local.address.is_ipv4() == error.tuple.remote.address.is_ipv4());
  SLUICE_ASSERT(error.tuple.local.port != 0 && error.tuple.remote.port != 0);
  if (error.kind != net::IcmpErrorKind::TooBig) {
    SLUICE_ASSERT(error.mtu_bytes == 0);
  } else if (!error.tuple.local.address.is_ipv4()) {
    SLUICE_ASSERT(error.mtu_bytes >= 1280);
  }
}

net::PacketKind read(std::vector<uint8_t>& bytes, const Pieces& pieces,
                     const net::Interface& interface, std::vector<uint8_t>& payload) {
  const std::vector<uint8_t> before = bytes;
  net::Packet packet;
  net::Segment segment;
  const net::PacketKind kind = net::parse_frame(pieces.frame, interface, packet, segment);
  SLUICE_ASSERT(bytes == before);
  if (kind == net::PacketKind::Drop) return kind;
  SLUICE_ASSERT(packet.network_offset <= pieces.frame.length);
  if (packet.ethertype == net::kEthertypeArp) return kind;
  SLUICE_ASSERT(packet.transport_offset <= pieces.frame.length);
  SLUICE_ASSERT(packet.transport_offset + packet.transport_bytes <= bytes.size());
  switch (kind) {
    case net::PacketKind::Tcp:
      check_segment(bytes, interface, packet, segment);
      check_round_trip(segment, interface);
      payload = payload_of(segment);
      break;
    case net::PacketKind::IcmpError:
      check_error(interface, packet);
      break;
    case net::PacketKind::Fragment:
      SLUICE_ASSERT(packet.fragment.offset_bytes % 8 == 0);
      SLUICE_ASSERT(packet.fragment.offset_bytes != 0 || packet.fragment.more);
      break;
    case net::PacketKind::Neighbor:
    case net::PacketKind::Icmp:
    case net::PacketKind::Drop:
      break;
  }
  return kind;
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  fuzz::Input input(data, size);
  const uint8_t how = input.byte();
  const uint8_t first = input.byte();
  const uint8_t most = input.byte();
  std::vector<uint8_t> bytes = input.bytes(SIZE_MAX);
  bytes.shrink_to_fit();
  if ((how & 1) != 0) fuzz::repair_checksums(bytes);
  const net::Interface interface = fuzz::us((how & 2) != 0 ? 7 : 0);
  fuzz::Pieces whole;
  fuzz::lay_out(bytes, UINT32_MAX, 1, whole);
  whole.frame.checksum_ok = (how & 4) != 0;
  std::vector<uint8_t> payload;
  const net::PacketKind kind = fuzz::read(bytes, whole, interface, payload);
  fuzz::Pieces cut;
  fuzz::lay_out(bytes, first, 1U + most * 8U, cut);
  cut.frame.checksum_ok = whole.frame.checksum_ok;
  std::vector<uint8_t> cut_payload;
  const net::PacketKind cut_kind = fuzz::read(bytes, cut, interface, cut_payload);
  // Headers behind the first piece are refused; nothing else depends on the cut.
  if (cut_kind != net::PacketKind::Drop) {
    SLUICE_ASSERT(cut_kind == kind && cut_payload == payload);
  }
  return 0;
}
