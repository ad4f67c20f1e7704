// One side of a connection: everything TCP remembers of it. RFC 9293 3.3.1, names verbatim.
//
// A Tcb is plain memory without a constructor's work: value-initialise one, then open it with
// tcp_connect or tcp_accept_cookie (connection.h), feed it through tcp_input (input.h), drain it
// through tcp_output (output.h), and end with tcp_release.
#pragma once

#include <cstdint>

#include "net/segment.h"
#include "tcp/congestion.h"
#include "tcp/in_flight.h"
#include "tcp/path.h"
#include "tcp/pools.h"
#include "tcp/reassembly.h"
#include "tcp/receive_space.h"
#include "tcp/slice_queue.h"
#include "tcp/stack.h"

namespace sluice::tcp {

enum class State : uint8_t {
  Closed,
  SynSent,
  SynReceived,
  Established,
  FinWait1,
  FinWait2,
  CloseWait,
  Closing,
  LastAck,
  TimeWait,
};
const char* to_string(State state);

enum class CloseCause : uint8_t {
  None,
  Finished,    // both FINs acknowledged
  PeerReset,   // a valid RST
  Timeout,     // no acknowledgement for user_timeout_us, no answer to keepalives or to our SYN
  Refused,     // RST in answer to our SYN
  LocalAbort,  // tcp_abort
};
const char* to_string(CloseCause cause);

using ReceiveQueue = SliceQueue;

// A peer that offers less than this gets segments of this size all the same: a tiny MSS is an
// attack on our packet rate.
inline constexpr uint32_t kMinMssBytes = 216;

// A place in the send queue: the pool's index of a node, and a byte in it (or its end).
inline constexpr uint32_t kNoNode = UINT32_MAX;
struct SendCursor {
  uint32_t node = kNoNode;  // kNoNode: the queue's beginning
  uint32_t offset = 0;
};

// What the sender is doing about losses.
enum class SendPhase : uint8_t {
  Open,      // nothing is known to be lost
  Recovery,  // fast recovery until snd_una reaches `recover`; RFC 6675 5
  Loss,      // after a timeout, until snd_una reaches `recover`
};

struct Tcb {
  net::FlowTuple tuple;
  State state = State::Closed;
  CloseCause close_cause = CloseCause::None;

  uint8_t snd_wscale = 0;           // shift of the windows we receive; RFC 7323 2
  uint8_t rcv_wscale = 0;           // shift of the windows we send
  uint16_t mss = 0;                 // most we send in a segment, options included; RFC 9293 3.7.1
  uint16_t peer_segment_bytes = 0;  // largest payload seen, at most our MSS: a "full segment"

  // Negotiated.
  bool ecn : 1 = false;             // RFC 3168 6.1.1
  bool timestamps : 1 = false;      // RFC 7323 3
  bool sack_permitted : 1 = false;  // RFC 2018 2
  bool window_scale : 1 = false;    // RFC 7323 2: offered by the peer
  // Of the stream.
  bool fin_queued : 1 = false;  // our FIN follows the send queue
  bool peer_fin : 1 = false;    // peer_fin_seq is known, maybe out of order
  // Set by the owner: a segment that is not full is acknowledged at once, because the peer may hold
  // back the next one until then (Nagle) and nothing of ours will carry the ACK.
  bool ack_small : 1 = false;
  bool ecn_echo : 1 = false;  // CE came: ECE on every ACK until CWR comes; RFC 3168 6.1.3
  bool ecn_cwr : 1 = false;   // CWR goes on the next new data; RFC 3168 6.1.2
  // Owed to the peer; cleared when sent.
  bool ack_now : 1 = false;
  bool rst_pending : 1 = false;
  bool loss_probe : 1 = false;     // the probe timer expired: RFC 8985 7.3
  bool probe : 1 = false;          // persist timer expired
  bool keepalive : 1 = false;      // keepalive timer expired
  bool output_wanted : 1 = false;  // queue or window changed, or emit had no room
  // Of loss recovery.
  bool persist : 1 = false;          // retransmit_at is the persist timer
  bool reordering_seen : 1 = false;  // RFC 8985: RACK.reordering_seen

  SendPhase phase : 2 = SendPhase::Open;
  uint8_t reorder_multiple : 4 = 1;     // RFC 8985: RACK.reo_wnd_mult
  uint8_t reorder_persistence : 4 = 0;  // RFC 8985: RACK.reo_wnd_persist - 1
  bool rtt_since_probe : 1 = false;     // RFC 8985 7.3: without, no tail loss probe
  // RFC 8985 7.4: a probe was sent again and all is acknowledged; TLP.end_seq is snd_una, and
  // whether it has repaired a loss is still open.
  bool probe_undecided : 1 = false;
  bool unsampled : 1 = false;  // without an in-flight block: what is in flight was sent before
  uint8_t dup_acks = 0;
  uint8_t backoff = 0;          // doublings of the RTO, of the persist interval
  uint8_t keepalives_sent = 0;  // without an answer
  uint8_t challenges = 0;       // sent in challenge_second

  // Send sequence space.
  uint32_t iss = 0;
  uint32_t snd_una = 0;
  uint32_t snd_nxt = 0;  // what goes out next; falls back to snd_una when the window has closed
  uint32_t snd_max = 0;  // the RFC's SND.NXT: one past the highest number sent
  uint32_t snd_wnd = 0;
  uint32_t snd_wl1 = 0;
  uint32_t snd_wl2 = 0;
  uint32_t max_snd_wnd = 0;  // RFC 5961 5.2, RFC 9293 3.8.6.2.1
  // Receive sequence space.
  uint32_t irs = 0;
  uint32_t rcv_nxt = 0;
  uint32_t rcv_adv = 0;  // right edge of the window as advertised; never moves left
  uint32_t last_ack_sent = 0;
  uint32_t peer_fin_seq = 0;
  // Timestamps.
  uint32_t ts_recent = 0;
  uint32_t ts_recent_second = 0;  // when it was taken, in seconds
  uint32_t ts_offset = 0;
  uint32_t challenge_second = 0;

  // Round trip. RFC 6298.
  uint32_t srtt_us = 0;  // 0: no sample yet
  uint32_t rttvar_us = 0;
  uint32_t rto_us = 0;  // without backoff
  uint32_t min_rtt_us = UINT32_MAX;

  uint32_t sent_us = 0;  // when the last data segment or SYN went, modulo 2^32
  Congestion congestion;
  InFlight* in_flight = nullptr;  // null: nothing is, or the pool was empty
  Path path;
  ReceiveSpace receive_space;

  SliceQueue send;
  SendCursor cursor;
  ReceiveQueue receive;
  Reassembly out_of_order;

  // Timers; kNever when off.
  Micros retransmit_at = kNever;  // RTO or persist; tail loss probe, reordering, pacing
  Micros delayed_ack_at = kNever;
  Micros idle_at = kNever;  // keepalive, FIN-WAIT-2 or TIME-WAIT, by state
  // Moments.
  Millis32 unanswered_since = 0;  // the peer owes an acknowledgement since then
  Millis32 received_at = 0;

  // Sequence number of the first byte in `send`: snd_una, unless our SYN is still unacknowledged.
  uint32_t send_seq() const {
    return state == State::SynSent || state == State::SynReceived ? iss + 1 : snd_una;
  }
  // One past the last queued byte: where the FIN goes.
  uint32_t send_end() const { return send_seq() + send.readable_bytes(); }
  uint32_t flight_bytes() const { return snd_nxt - snd_una; }
};
static_assert(sizeof(Tcb) <= 288);

// Every change of state goes through here.
void set_state(Tcb& tcb, State state);
// The end: stops the timers, frees what can no longer be sent or completed. What has been received
// in order stays readable until tcp_release.
void close_tcb(Stack& stack, Tcb& tcb, CloseCause cause);
// As close_tcb, and a RST goes out with the next tcp_output.
void close_with_reset(Stack& stack, Tcb& tcb, CloseCause cause);

// Whether the handshake is done and the connection not over.
bool is_synchronized(State state);
// Whether the peer may still send data.
bool can_receive(State state);
// Payload bytes of a full segment, options taken off. RFC 9293 3.7.1.
uint32_t effective_mss(const Tcb& tcb);
// The MSS we announce, by the port's MTU and the address family.
uint16_t announced_mss(const TcpConfig& config, bool ipv4);
// The window scale we announce: the least that lets the receive limit be shown.
uint8_t announced_window_scale(const TcpConfig& config);
// Our timestamp clock ticks in milliseconds. RFC 7323 5.4.
inline uint32_t timestamp_clock(Micros now) { return static_cast<uint32_t>(now / 1000); }

// Moves a place in `queue` on by `length` bytes, at most to its end.
void advance_cursor(const Stack& stack, const SliceQueue& queue, SendCursor& cursor,
                    uint32_t length);

// Asserts what always holds between two calls; walks every list. For tests.
void check_invariants(const Stack& stack, const Tcb& tcb);

}  // namespace sluice::tcp
