// The stateless listener: SYNs are answered with a cookie and nothing is kept until it comes back.
#pragma once

#include <array>
#include <cstdint>

#include "tcp/stack.h"

namespace sluice::tcp {

// What an ACK's cookie says about the handshake it completes.
struct CookieContents {
  uint32_t iss = 0;
  uint32_t irs = 0;
  uint16_t mss = 0;  // of the peer, rounded down to the table
  bool timestamps = false;
  bool sack_permitted = false;
  bool window_scale = false;
  bool ecn = false;               // RFC 3168; only with timestamps
  uint8_t peer_window_scale = 0;  // exact with timestamps, otherwise rounded down to the table
  uint32_t ts_offset = 0;
};

// One per worker; all with the same secrets and clock understand each other's cookies.
class Listener {
 public:
  Listener(const TcpConfig& config, const Secrets& secrets);

  // The SYN-ACK for a SYN. False when it is not to be answered: it has FIN, or comes from port 0.
  // RFC 9293 3.10.7.2, third. Text on it is not acknowledged.
  bool make_syn_ack(const net::Segment& syn, Micros now, net::Segment& reply) const;
  // Whether `ack` returns a cookie of the last 15 to 30 seconds; fills `contents` if so.
  bool check_cookie(const net::Segment& ack, Micros now, CookieContents& contents) const;

  // For a segment that check_cookie has refused: whether it acknowledges one of our last cookies
  // all the same (a stranger's does by a chance of 1/16). Then it is text that overtook the ACK,
  // and silence serves better than a RST: it comes again behind what completes the handshake.
  bool is_probably_early(const net::Segment& segment, Micros now) const;

  static constexpr Micros kKeyLifetime = 15 * kSecond;

 private:
  // Indexed by the cookie's three bits; ascending.
  using MssTable = std::array<uint16_t, 8>;
  static MssTable make_table(uint16_t largest);
  const MssTable& table(bool ipv4) const { return ipv4 ? mss_ipv4_ : mss_ipv6_; }
  uint32_t tuple_mac(const net::FlowTuple& tuple, uint8_t bits, uint64_t generation) const;
  uint32_t cookie(const net::FlowTuple& tuple, uint32_t irs, uint8_t bits,
                  uint64_t generation) const;

  const TcpConfig& config_;
  Secrets secrets_;
  MssTable mss_ipv4_;
  MssTable mss_ipv6_;
};

// The two of above, counted. Segments in and out are counted here by the caller.
bool make_syn_ack(Stack& stack, const Listener& listener, const net::Segment& syn, Micros now,
                  net::Segment& reply);
bool check_cookie(Stack& stack, const Listener& listener, const net::Segment& ack, Micros now,
                  CookieContents& contents);
// The RST for a segment that belongs to no connection. False when it is not to be answered: it is
// itself a RST, or comes from port 0. RFC 9293 3.10.7.1.
bool make_reset(const net::Segment& in, net::Segment& out);

// RFC 6528 3.
uint32_t initial_sequence_number(const Secrets& secrets, const net::FlowTuple& tuple, Micros now);
// What is added to our timestamp clock, by pair of addresses: a later connection between the same
// hosts continues the earlier one's time. RFC 7323 5.4, 7.1.
uint32_t timestamp_offset(const Secrets& secrets, const net::FlowTuple& tuple);

}  // namespace sluice::tcp
