// What does not belong to one direction: states, the end of a connection, derived sizes.
#include "tcp/tcb.h"

#include <algorithm>

#include "abi/assert.h"
#include "tcp/pools.h"
#include "tcp/scoreboard.h"

namespace sluice::tcp {
namespace {

constexpr uint32_t kIpv4AndTcpHeaderBytes = 20 + 20;
constexpr uint32_t kIpv6AndTcpHeaderBytes = 40 + 20;
constexpr uint32_t kTimestampOptionBytes = 12;  // with its padding; RFC 7323 A
constexpr uint8_t kMaxWindowScale = 14;         // RFC 7323 2.3

// The successors of each state; RFC 9293 3.3.2, figure 5. Closed is always allowed.
bool is_transition(State from, State to) {
  switch (from) {
    case State::Closed:
      return to == State::SynSent || to == State::SynReceived;
    case State::SynSent:
      return to == State::SynReceived || to == State::Established;
    case State::SynReceived:
      return to == State::Established;
    case State::Established:
      return to == State::FinWait1 || to == State::CloseWait;
    case State::FinWait1:
      return to == State::FinWait2 || to == State::Closing;
    case State::FinWait2:
      return to == State::TimeWait;
    case State::CloseWait:
      return to == State::LastAck;
    case State::Closing:
      return to == State::TimeWait;
    case State::LastAck:
      return false;
    case State::TimeWait:
      return false;
  }
  return false;
}

}  // namespace

Stack::Stack(const TcpConfig& with, Pools& of, abi::Counters& count, const SmallBufferPool& small,
             const Secrets& hidden)
    : config(with),
      pools(of),
      nodes(of.nodes),
      counters(count),
      small_buffers(small),
      secrets(hidden),
      send_limit_bytes(with.send_limit_bytes) {}

const char* to_string(State state) {
  switch (state) {
    case State::Closed:
      return "Closed";
    case State::SynSent:
      return "SynSent";
    case State::SynReceived:
      return "SynReceived";
    case State::Established:
      return "Established";
    case State::FinWait1:
      return "FinWait1";
    case State::FinWait2:
      return "FinWait2";
    case State::CloseWait:
      return "CloseWait";
    case State::Closing:
      return "Closing";
    case State::LastAck:
      return "LastAck";
    case State::TimeWait:
      return "TimeWait";
  }
  return "?";
}

const char* to_string(CloseCause cause) {
  switch (cause) {
    case CloseCause::None:
      return "None";
    case CloseCause::Finished:
      return "Finished";
    case CloseCause::PeerReset:
      return "PeerReset";
    case CloseCause::Timeout:
      return "Timeout";
    case CloseCause::Refused:
      return "Refused";
    case CloseCause::LocalAbort:
      return "LocalAbort";
  }
  return "?";
}

void set_state(Tcb& tcb, State state) {
  SLUICE_ASSERT(state == State::Closed || is_transition(tcb.state, state));
  tcb.state = state;
}

void close_tcb(Stack& stack, Tcb& tcb, CloseCause cause) {
  set_state(tcb, State::Closed);
  tcb.close_cause = cause;
  end_flight(stack, tcb);
  tcb.retransmit_at = tcb.delayed_ack_at = tcb.idle_at = kNever;
  tcb.ack_now = tcb.loss_probe = tcb.probe = tcb.keepalive = false;
  tcb.persist = tcb.fin_queued = tcb.ecn_echo = tcb.ecn_cwr = false;
  tcb.rst_pending = tcb.output_wanted = false;
  tcb.send.clear(stack.nodes);
  tcb.cursor = SendCursor{};
  reassembly_prune(stack, tcb.out_of_order, 0);
}

void close_with_reset(Stack& stack, Tcb& tcb, CloseCause cause) {
  close_tcb(stack, tcb, cause);
  tcb.rst_pending = true;
}

bool is_synchronized(State state) {
  return state != State::Closed && state != State::SynSent && state != State::SynReceived;
}

bool can_receive(State state) {
  return state == State::Established || state == State::FinWait1 || state == State::FinWait2;
}

uint32_t effective_mss(const Tcb& tcb) {
  return tcb.mss - (tcb.timestamps ? kTimestampOptionBytes : 0U);
}

void advance_cursor(const Stack& stack, const SliceQueue& queue, SendCursor& cursor,
                    uint32_t length) {
  if (cursor.node == kNoNode) {
    if (queue.head() == nullptr) return;
    cursor = {stack.nodes.index_of(queue.head()), 0};
  }
  const SliceNode* node = stack.nodes.at(cursor.node);
  while (length != 0) {
    if (cursor.offset == node->length) {
      if (node->next == nullptr) return;
      node = node->next;
      cursor = {stack.nodes.index_of(node), 0};
      continue;
    }
    const uint32_t part = std::min(node->length - cursor.offset, length);
    cursor.offset += part;
    length -= part;
  }
}

uint16_t announced_mss(const TcpConfig& config, bool ipv4) {
  const uint32_t headers = ipv4 ? kIpv4AndTcpHeaderBytes : kIpv6AndTcpHeaderBytes;
  SLUICE_ASSERT(config.mtu_bytes >= headers + kMinMssBytes && config.mtu_bytes <= 65535);
  const uint32_t most = config.mtu_bytes - headers;
  if (config.mss_clamp == 0) return static_cast<uint16_t>(most);
  SLUICE_ASSERT(config.mss_clamp >= kMinMssBytes);
  return static_cast<uint16_t>(std::min(most, config.mss_clamp));
}

uint8_t announced_window_scale(const TcpConfig& config) {
  uint8_t scale = 0;
  while (scale < kMaxWindowScale && (65535ULL << scale) < config.receive_limit_bytes) ++scale;
  return scale;
}

}  // namespace sluice::tcp
