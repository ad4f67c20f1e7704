// Neighbour discovery messages (RFC 4861 4.3, 4.4) and listener reports (RFC 3810 5.2): the checked
// view of what neighbours say, and the builders.
#pragma once

#include <cstdint>
#include <span>

#include "net/frame.h"
#include "net/interface.h"
#include "net/wire.h"

namespace sluice::net {

inline constexpr uint8_t kNdHopLimit = 255;  // RFC 4861 7.1: proves that no router passed it on

enum class NdType : uint8_t { ListenerQuery = 130, Solicitation = 135, Advertisement = 136 };

struct NdMessage {
  NdType type = NdType::Solicitation;
  bool solicited = false;  // of an Advertisement
  bool override_ = false;  // of an Advertisement
  bool has_link_address = false;
  Mac link_address;  // of the source (Solicitation) or the target (Advertisement)
  abi::IpAddress source;
  abi::IpAddress destination;
  abi::IpAddress target;
};

// A frame that parse_frame named Neighbor and that carries IPv6. False: not what RFC 4861 7.1 and
// RFC 3810 6.2 ask for.
bool parse_nd(const Frame& frame, const Packet& packet, NdMessage& message);
// A whole frame from `interface` to the link address `destination`; returns its length, 0 without
// room (kNeighborFrameBytes are enough). `link_address` goes into the option when there is one.
uint32_t build_nd(const NdMessage& message, const Interface& interface, const Mac& destination,
                  std::span<uint8_t> out);
// A version 2 listener report for one group, to all routers that listen for them.
uint32_t build_mld_report(const abi::IpAddress& source, const abi::IpAddress& group,
                          const Interface& interface, std::span<uint8_t> out);

}  // namespace sluice::net
