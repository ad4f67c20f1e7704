// A neighbour table and an echo responder on a link where anything may be said: ARP and neighbour
// discovery messages composed around the addresses that matter, raw frames, lookups, parked packets
// and time. Every parked packet comes back exactly once, all bounds hold, and what the table sends
// is well-formed and speaks of our addresses alone.
#include <set>

#include "frame_input.h"
#include "net/icmp.h"
#include "net/neighbor.h"

namespace sluice::fuzz {
namespace {

constexpr abi::IpAddress kLinkLocal{
    {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0x01}};

abi::IpAddress address4(Input& input) {
  static const uint32_t kChoices[] = {0x0a63010a, 0x0a630102, 0x0a630103, 0x0a6301ff,
                                      0,          0x0a630101, 0xc0000201, 0x7f000001};
  const uint8_t pick = input.byte();
  if (pick < 200) return abi::IpAddress::from_ipv4(kChoices[pick % 8]);
  return abi::IpAddress::from_ipv4(0x0a630100U | input.byte());
}

abi::IpAddress address6(Input& input) {
  const uint8_t pick = input.byte();
  abi::IpAddress address = kOur6;
  switch (pick % 8) {
    case 0:
      return kOur6;
    case 1:
      return kPeer6;
    case 2:
      return abi::IpAddress{};
    case 3:
      return kLinkLocal;
    case 4:
      return net::kAllNodes;
    case 5:
      return net::solicited_node(kOur6);
    case 6:
      address = net::solicited_node(kOur6);
      break;
    default:
      break;
  }
  address.bytes[15] = input.byte();
  return address;
}

net::Mac link_address(Input& input) {
  const uint8_t pick = input.byte();
  if (pick < 100) return kPeerMac;
  if (pick < 130) return kOurMac;
  if (pick < 140) return net::Mac::broadcast();
  return net::Mac{{2, 0, 0, 0, 1, pick}};
}

class Link {
 public:
  void step(Input& input) {
    const uint8_t what = input.byte();
    switch (what % 8) {
      case 0:
        return hear_arp(input);
      case 1:
      case 2:
        return hear_nd(input);
      case 3: {
        std::vector<uint8_t> raw = input.bytes(input.byte());
        repair_checksums(raw);
        return hear(raw, true);
      }
      case 4:
        now_us_ += uint64_t{1} << (input.byte() % 32);
        return table_.tick(now_us_);
      case 5:
        return send(input);
      case 6:
        return table_.announce();
      default:
        return drain();
    }
  }
  void check() const {
    SLUICE_ASSERT(table_.parked() == parked_.size());
    SLUICE_ASSERT(table_.parked() <= net::kNeighborParkedTotal);
  }
  // Time in which everything that waits is given up.
  void finish() {
    for (uint32_t i = 0; i < 2000; ++i) {
      now_us_ += 20'000;
      table_.tick(now_us_);
      drain();
    }
    SLUICE_ASSERT(parked_.empty() && table_.parked() == 0);
  }

 private:
  void hear_arp(Input& input) {
    net::Arp arp;
    const uint8_t bits = input.byte();
    arp.operation = (bits & 1) != 0 ? net::ArpOperation::Reply : net::ArpOperation::Request;
    arp.sender = address4(input);
    arp.target = address4(input);
    arp.sender_mac = link_address(input);
    arp.target_mac = link_address(input);
    std::vector<uint8_t> bytes(net::kNeighborFrameBytes);
    const net::Mac to = (bits & 2) != 0 ? kOurMac : net::Mac::broadcast();
    bytes.resize(net::build_arp(arp, peer(), to, bytes));
    hear(bytes, (bits & 4) == 0);
  }

  void hear_nd(Input& input) {
    net::NdMessage message;
    const uint8_t bits = input.byte();
    message.type = (bits & 1) != 0 ? net::NdType::Advertisement : net::NdType::Solicitation;
    message.solicited = (bits & 2) != 0;
    message.override_ = (bits & 4) != 0;
    message.has_link_address = (bits & 8) != 0;
    message.link_address = link_address(input);
    message.source = address6(input);
    message.destination = address6(input);
    message.target = address6(input);
    std::vector<uint8_t> bytes(net::kNeighborFrameBytes);
    const bool group = net::is_multicast(message.destination);
    net::Interface from = peer();
    if ((bits & 16) != 0) from.mac = link_address(input);
    const net::Mac to = group ? net::multicast_mac(message.destination) : kOurMac;
    bytes.resize(net::build_nd(message, from, to, bytes));
    if ((bits & 32) != 0) {  // spoil a byte, with the checksum right
      bytes[input.byte() % bytes.size()] = input.byte();
      repair_checksums(bytes);
    }
    hear(bytes, (bits & 64) == 0);
  }

  void hear(std::vector<uint8_t> bytes, bool answer) {
    bytes.shrink_to_fit();
    net::BufferOwner owner;
    net::Frame frame;
    frame.data = bytes.data();
    frame.length = static_cast<uint32_t>(bytes.size());
    frame.owner = &owner;
    net::Packet packet;
    net::Segment segment;
    const net::PacketKind kind = net::parse_frame(frame, interface_, packet, segment);
    if (kind == net::PacketKind::Neighbor) {
      const auto input = table_.input(frame, packet, now_us_, answer);
      SLUICE_ASSERT(!(input.conflict && input.valid));
    } else if (kind == net::PacketKind::Icmp) {
      const uint32_t length = responder_.reply(frame, packet, interface_, now_us_);
      SLUICE_ASSERT(length <= frame.length);
      if (length != 0) check_reply(frame, length);
    }
  }

  // The peer sees a packet from the address that it asked, and its checksums hold.
  void check_reply(net::Frame reply, uint32_t length) {
    reply.length = length;
    net::Packet packet;
    net::Segment segment;
    net::Interface asker = interface_;
    std::memcpy(asker.mac.bytes.data(), reply.data, 6);
    asker.address_count = 0;
    const bool ipv4 = net::load_be16(reply.data + 12) == net::kEthertypeIpv4;
    abi::IpAddress to = abi::IpAddress::from_ipv4(net::load_be32(reply.data + 30));
    if (!ipv4) std::memcpy(to.bytes.data(), reply.data + 38, 16);
    SLUICE_ASSERT(asker.add_address({to, 32}));
    const net::PacketKind kind = net::parse_frame(reply, asker, packet, segment);
    SLUICE_ASSERT(kind == net::PacketKind::Drop && packet.drop == abi::Counter::drop_icmp);
    SLUICE_ASSERT(interface_.owns(packet.source));
  }

  void send(Input& input) {
    const uint8_t kind = input.byte();
    const abi::IpAddress hop = (kind & 1) != 0 ? address4(input) : address6(input);
    net::Mac mac;
    if (table_.lookup(hop, now_us_, mac,
                      (kind & 2) != 0 ? net::Peer::Known : net::Peer::Stranger)) {
      SLUICE_ASSERT(!mac.is_multicast() && !mac.is_zero());
      return;
    }
    const uintptr_t packet = ++packets_;
    if (table_.park(hop, packet)) parked_.insert(packet);
  }

  void drain() {
    std::vector<uint8_t> out(net::kNeighborFrameBytes);
    uint32_t frames = 0;
    while (const uint32_t length = table_.next_frame(out)) {
      SLUICE_ASSERT(length <= out.size());
      SLUICE_ASSERT(++frames <= net::kNeighborOutQueue + 3 * (interface_.address_count + 1U));
      check_sent({out.data(), length});
    }
    net::Unparked unparked;
    while (table_.next_unparked(unparked)) {
      SLUICE_ASSERT(parked_.erase(unparked.packet) == 1);
      SLUICE_ASSERT(!unparked.resolved || !unparked.mac.is_multicast());
    }
  }

  void check_sent(std::span<const uint8_t> frame) {
    SLUICE_ASSERT(std::memcmp(frame.data() + 6, kOurMac.bytes.data(), 6) == 0);
    if (net::load_be16(frame.data() + 12) == net::kEthertypeArp) {
      net::Arp arp;
      SLUICE_ASSERT(net::parse_arp(frame.subspan(net::kEthernetBytes), arp));
      SLUICE_ASSERT(interface_.owns(arp.sender) && arp.sender_mac == kOurMac);
      return;
    }
    abi::IpAddress source;
    std::memcpy(source.bytes.data(), frame.data() + 22, 16);
    SLUICE_ASSERT(net::is_unspecified(source) || interface_.owns(source));
    std::vector<uint8_t> repaired(frame.begin(), frame.end());
    repair_checksums(repaired);
    SLUICE_ASSERT(std::equal(frame.begin(), frame.end(), repaired.begin()));
  }

  net::Interface interface_ = us();
  abi::Counters counters_;
  net::NeighborTable table_{interface_, counters_};
  net::IcmpResponder responder_{counters_};
  std::set<uintptr_t> parked_;
  uintptr_t packets_ = 0;
  uint64_t now_us_ = 100'000'000;
};

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::fuzz::Input input(data, size);
  sluice::fuzz::Link link;
  while (!input.empty()) {
    link.step(input);
    link.check();
  }
  link.finish();
  return 0;
}
