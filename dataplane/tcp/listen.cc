// Job: answer SYNs without keeping anything, and recognise the ACK that returns the answer.
//
// The SYN-ACK's sequence number is the cookie: 24 bits of MAC and FreeBSD's 8 bits of options,
//
//   31      28   27          8     7     6         5..3          2..0
//   [ tuple MAC | MAC with ISN | key | SACK | scale index | MSS index ]
//
// The low byte is XORed with the top one. Both MACs are SipHash over the endpoints and the options,
// under a key that lives for kKeyLifetime; the key bit is the parity of its generation, and the
// generation before the current one still counts. So a cookie is good for 15 to 30 seconds, and
// guessing one takes 2^23 packets on average within that time. Twenty bits of the MAC cover the
// client's ISN as well. Four do without, so that text which has overtaken the ACK, and whose ISN
// can't be known, is told from a stranger's and not answered with a RST; no more than four, for
// such text passes the others by a chance of 2^-20, as if it were the first. Keys are derived from
// one secret and the clock: workers need not talk to each other, and nothing is written here.
//
// Three bits hold the window scale rounded down (a smaller scale makes us send less, never wrong).
// A client with timestamps returns our tsval, whose low six bits hold the exact scale and ECN; they
// are believed only when they agree with the MACed index and the sixth is zero. RFC 4987 3.6.
// Without timestamps there is no place for ECN, so it is not offered.
#include "tcp/listen.h"

#include <algorithm>
#include <cstring>

#include "tcp/receive.h"
#include "tcp/seq.h"

namespace sluice::tcp {
namespace {

using abi::Counter;

// Low bits of a SYN-ACK's tsval: 0, ECN, the scale.
constexpr uint32_t kTimestampBits = 6;
constexpr uint32_t kTimestampMask = (1U << kTimestampBits) - 1;
constexpr uint32_t kTimestampScaleMask = 0x0f;
constexpr uint32_t kTimestampEcn = 0x10;
constexpr uint8_t kNoScale = 15;
constexpr uint8_t kMaxScale = 14;  // RFC 7323 2.3

constexpr uint32_t kTupleMacMask = 0xf0000000;
constexpr uint8_t kKeyBit = 0x80;
constexpr uint8_t kSackBit = 0x40;

// Index 0 means that window scaling was not offered.
constexpr std::array<uint8_t, 8> kScales = {kNoScale, 0, 2, 5, 6, 7, 8, 10};

uint8_t scale_index(const net::TcpOptions& options) {
  if (!options.has_window_scale) return 0;
  uint8_t index = 1;
  while (index + 1U < kScales.size() && kScales[index + 1U] <= options.window_scale) ++index;
  return index;
}

void put(uint8_t*& at, const void* from, size_t length) {
  std::memcpy(at, from, length);
  at += length;
}

void put_tuple(uint8_t*& at, const net::FlowTuple& tuple) {
  put(at, tuple.local.address.bytes.data(), 16);
  put(at, tuple.remote.address.bytes.data(), 16);
  put(at, &tuple.local.port, 2);
  put(at, &tuple.remote.port, 2);
}

SipHashKey derive_key(const SipHashKey& secret, uint64_t generation) {
  SipHashKey key;
  for (uint64_t half = 0; half < 2; ++half) {
    const uint64_t input[2] = {generation, half};
    const uint64_t output =
        siphash24(secret, reinterpret_cast<const uint8_t*>(input), sizeof input);
    std::memcpy(key.data() + 8 * half, &output, sizeof output);
  }
  return key;
}

uint8_t cookie_bits(uint32_t iss) { return static_cast<uint8_t>(iss ^ (iss >> 24)); }

// The youngest generation of keys that can have made a cookie with these bits.
uint64_t cookie_generation(uint8_t bits, Micros now) {
  const uint64_t current = now / Listener::kKeyLifetime;
  return ((current & 1) != 0) == ((bits & kKeyBit) != 0) ? current : current - 1;
}

// The tsval of a SYN-ACK: our clock, set back to where its low bits are the ones wanted, so that no
// later tsval of the connection is below it. RFC 7323 4.3.
uint32_t cookie_timestamp(const net::TcpOptions& syn, bool ecn, Micros now) {
  const uint32_t clock = timestamp_clock(now);
  const uint32_t scale =
      syn.has_window_scale ? std::min(syn.window_scale, kMaxScale) : uint32_t{kNoScale};
  const uint32_t bits = scale | (ecn ? kTimestampEcn : 0U);
  uint32_t value = (clock & ~kTimestampMask) | bits;
  if (seq_less(clock, value)) value -= kTimestampMask + 1;
  return value;
}

}  // namespace

Listener::MssTable Listener::make_table(uint16_t largest) {
  // What is met in the wild: minimum, defaults (RFC 9293, RFC 8200), tunnels, PPPoE, Ethernet.
  MssTable table = {kMinMssBytes, 536, 1220, 1360, 1400, 1440, 1452, largest};
  if (largest > 1460) {
    const auto half = static_cast<uint16_t>(std::max(largest / 2, 1460));
    table = {kMinMssBytes, 536, 1220, 1360, 1440, 1460, half, largest};
  }
  for (uint16_t& mss : table) mss = std::min(mss, largest);
  return table;
}

Listener::Listener(const TcpConfig& config, const Secrets& secrets)
    : config_(config),
      secrets_(secrets),
      mss_ipv4_(make_table(announced_mss(config, true))),
      mss_ipv6_(make_table(announced_mss(config, false))) {}

uint32_t Listener::tuple_mac(const net::FlowTuple& tuple, uint8_t bits, uint64_t generation) const {
  uint8_t input[16 + 16 + 2 + 2 + 1];
  uint8_t* at = input;
  put_tuple(at, tuple);
  put(at, &bits, 1);
  const SipHashKey key = derive_key(secrets_.cookie, generation);
  return static_cast<uint32_t>(siphash24(key, input, sizeof input)) & kTupleMacMask;
}

uint32_t Listener::cookie(const net::FlowTuple& tuple, uint32_t irs, uint8_t bits,
                          uint64_t generation) const {
  uint8_t input[16 + 16 + 2 + 2 + 1 + 4];
  uint8_t* at = input;
  put_tuple(at, tuple);
  put(at, &bits, 1);
  put(at, &irs, 4);
  const SipHashKey key = derive_key(secrets_.cookie, generation);
  const auto mac = static_cast<uint32_t>(siphash24(key, input, sizeof input));
  const uint32_t macs = (mac & ~kTupleMacMask) | tuple_mac(tuple, bits, generation);
  return (macs & 0xffffff00) | ((macs >> 24) ^ bits);
}

bool Listener::make_syn_ack(const net::Segment& syn, Micros now, net::Segment& reply) const {
  // SYN with FIN is nobody's honest opening; RST and ACK were dealt with by RFC 9293 3.10.7.2.
  constexpr uint8_t kLooked = net::kSyn | net::kAck | net::kRst | net::kFin;
  if ((syn.flags & kLooked) != net::kSyn) return false;
  if (syn.tuple.remote.port == 0) return false;  // reserved: RFC 6335 6
  const bool ipv4 = syn.tuple.local.address.is_ipv4();
  const uint32_t offered = syn.options.mss != 0 ? syn.options.mss : (ipv4 ? 536U : 1220U);
  const MssTable& sizes = table(ipv4);
  uint32_t mss_index = 0;
  while (mss_index + 1 < sizes.size() && sizes[mss_index + 1] <= offered) ++mss_index;

  const uint64_t generation = now / kKeyLifetime;
  const auto bits = static_cast<uint8_t>(
      mss_index | static_cast<uint32_t>(scale_index(syn.options) << 3) |
      (syn.options.sack_permitted ? kSackBit : 0U) | ((generation & 1) != 0 ? kKeyBit : 0U));

  reply = net::Segment{};
  reply.tuple = syn.tuple;
  reply.seq = cookie(syn.tuple, syn.seq, bits, generation);
  reply.ack = syn.seq + 1;
  reply.flags = net::kSyn | net::kAck;
  reply.window = syn_window_bytes(config_);
  reply.options.mss = announced_mss(config_, ipv4);
  reply.options.sack_permitted = syn.options.sack_permitted;
  reply.options.has_window_scale = syn.options.has_window_scale;
  reply.options.window_scale = syn.options.has_window_scale ? announced_window_scale(config_) : 0;
  if (syn.options.has_timestamps) {
    // RFC 3168 6.1.1: an ECN-setup SYN has both flags, its SYN-ACK only ECE and no ECT.
    constexpr uint8_t kEcnSetup = net::kEce | net::kCwr;
    const bool ecn = config_.ecn && (syn.flags & kEcnSetup) == kEcnSetup;
    if (ecn) reply.flags |= net::kEce;
    reply.options.has_timestamps = true;
    reply.options.tsval =
        cookie_timestamp(syn.options, ecn, now) + timestamp_offset(secrets_, syn.tuple);
    reply.options.tsecr = syn.options.tsval;
  }
  return true;
}

bool Listener::check_cookie(const net::Segment& ack, Micros now, CookieContents& contents) const {
  if ((ack.flags & (net::kAck | net::kSyn | net::kRst)) != net::kAck) return false;
  const uint32_t iss = ack.ack - 1;
  const uint32_t irs = ack.seq - 1;
  const uint8_t bits = cookie_bits(iss);
  const uint64_t generation = cookie_generation(bits, now);
  if (cookie(ack.tuple, irs, bits, generation) != iss) return false;

  contents = CookieContents{};
  contents.iss = iss;
  contents.irs = irs;
  contents.mss = table(ack.tuple.local.address.is_ipv4())[bits & 7];
  contents.sack_permitted = (bits & kSackBit) != 0;
  const uint8_t index = (bits >> 3) & 7;
  contents.window_scale = index != 0;
  contents.peer_window_scale = contents.window_scale ? kScales[index] : 0;
  contents.timestamps = ack.options.has_timestamps;
  contents.ts_offset = timestamp_offset(secrets_, ack.tuple);
  if (!contents.timestamps) return true;
  const uint32_t returned = (ack.options.tsecr - contents.ts_offset) & kTimestampMask;
  net::TcpOptions exact;
  exact.window_scale = static_cast<uint8_t>(returned & kTimestampScaleMask);
  exact.has_window_scale = exact.window_scale <= kMaxScale;
  constexpr uint32_t kUnused = kTimestampMask & ~(kTimestampScaleMask | kTimestampEcn);
  if ((returned & kUnused) != 0 || scale_index(exact) != index) return true;
  if (contents.window_scale) contents.peer_window_scale = exact.window_scale;
  contents.ecn = config_.ecn && (returned & kTimestampEcn) != 0;
  return true;
}

bool Listener::is_probably_early(const net::Segment& segment, Micros now) const {
  if ((segment.flags & (net::kAck | net::kSyn | net::kRst)) != net::kAck) return false;
  const uint32_t iss = segment.ack - 1;
  const uint8_t bits = cookie_bits(iss);
  return tuple_mac(segment.tuple, bits, cookie_generation(bits, now)) == (iss & kTupleMacMask);
}

bool make_syn_ack(Stack& stack, const Listener& listener, const net::Segment& syn, Micros now,
                  net::Segment& reply) {
  if (!listener.make_syn_ack(syn, now, reply)) {
    stack.counters.add(Counter::tcp_syn_refused);
    return false;
  }
  stack.counters.add(Counter::tcp_syn_in);
  // RFC 9293 3.10.7.2 would keep it until the handshake is done; it is sent again instead.
  if (syn.payload.length != 0) stack.counters.add(Counter::tcp_syn_text);
  return true;
}

bool check_cookie(Stack& stack, const Listener& listener, const net::Segment& ack, Micros now,
                  CookieContents& contents) {
  const bool valid = listener.check_cookie(ack, now, contents);
  stack.counters.add(valid ? Counter::tcp_cookie_accepted : Counter::tcp_cookie_refused);
  return valid;
}

bool make_reset(const net::Segment& in, net::Segment& out) {
  if ((in.flags & net::kRst) != 0 || in.tuple.remote.port == 0) return false;
  const net::FlowTuple tuple = in.tuple;
  const uint32_t end = in.seq + in.sequence_length();
  const bool has_ack = (in.flags & net::kAck) != 0;
  const uint32_t ack = in.ack;
  out = net::Segment{};
  out.tuple = tuple;
  out.seq = has_ack ? ack : 0;
  out.ack = has_ack ? 0 : end;
  out.flags = static_cast<uint8_t>(net::kRst | (has_ack ? 0 : net::kAck));
  return true;
}

uint32_t initial_sequence_number(const Secrets& secrets, const net::FlowTuple& tuple, Micros now) {
  uint8_t input[16 + 16 + 2 + 2];
  uint8_t* at = input;
  put_tuple(at, tuple);
  // M: a clock of 4 us, as RFC 793 wanted it; F: the keyed hash.
  return static_cast<uint32_t>(now / 4) +
         static_cast<uint32_t>(siphash24(secrets.isn, input, sizeof input));
}

uint32_t timestamp_offset(const Secrets& secrets, const net::FlowTuple& tuple) {
  uint8_t input[16 + 16];
  uint8_t* at = input;
  put(at, tuple.local.address.bytes.data(), 16);
  put(at, tuple.remote.address.bytes.data(), 16);
  return static_cast<uint32_t>(siphash24(secrets.timestamp, input, sizeof input));
}

}  // namespace sluice::tcp
