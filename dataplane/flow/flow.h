// One connection: both of its TCP sides, its record keys and where it stands.
#pragma once

#include <cstdint>

#include "abi/close_reason.h"
#include "abi/messages.h"
#include "flow/flow_table.h"
#include "net/record_pool.h"
#include "net/segment.h"
#include "tcp/tcb.h"
#include "tls/keys.h"
#include "tls/record.h"

namespace sluice::flow {

using abi::FlowPhase;
using tcp::Micros;

// What a flow carries towards the client.
enum class Protocol : uint8_t { Tls = 0, Tcp = 1 };

// The buffers at the ends of the send queues, into which more may be written: small records would
// otherwise hold a whole buffer each. One reference each while `owner` is set. By side.
struct Tails {
  net::RecordBuffer* owner[2] = {};
  uint32_t used_bytes[2] = {};
};

// Names of the two lists that a flow can be on (indices into the engine's flow array).
struct ListNode {
  uint32_t next = UINT32_MAX;
  uint32_t previous = UINT32_MAX;
};

// How far records to the client have grown since the last idle time: Engine::record_limit.
struct RecordRamp {
  uint32_t bytes;           // application bytes sealed since then
  tcp::Millis32 sealed_at;  // the last of them
};

struct Flow {
  tcp::Tcb sides[2];  // by Side
  Tails tails;

  tls::FlowKeys keys;  // installed from ExpectBackend on

  uint32_t generation = 0;
  uint32_t host_tag = 0;
  FlowPhase phase = FlowPhase::ExpectClientHello;
  Protocol protocol = Protocol::Tls;
  uint8_t endpoint = 0;  // control's handshake thread, 0 before HandshakeBegin
  uint8_t listener = 0;
  abi::CloseReason reason = abi::CloseReason::none;  // set once, by Engine::close

  bool in_use : 1 = false;
  bool dirty : 1 = false;          // on the engine's list of flows to serve in this poll
  bool stalled : 1 = false;        // wants a ring slot, a buffer or transmit room: served next poll
  bool client_closed : 1 = false;  // the client's close_notify (or FIN, for Tcp) was relayed
  bool backend_closed : 1 = false;  // the backend's FIN was relayed
  bool hashed_client : 1 = false;   // tuple is in the flow table
  bool hashed_backend : 1 = false;
  bool in_handshake : 1 = false;  // is on handshake_list
  bool waiting_for_control : 1 = false;
  bool end_reported : 1 = false;  // control knows how the handshake ended
  bool has_deadline : 1 = false;
  bool open_queued : 1 = false;  // CBC records of the client wait in the batch
  bool seal_queued : 1 = false;  // and records to it
  uint8_t alert_sent = 255;

  uint32_t client_hash = 0;
  uint32_t backend_hash = 0;

  // The handshake phase, offsets in the client's stream.
  uint32_t released_bytes = 0;     // consumed by control, no longer in the receive queue
  uint32_t sent_bytes = 0;         // of whole records sent to control
  uint32_t record_left_bytes = 0;  // of a record of which a part has been sent
  tls::RecordPhase record_phase = tls::RecordPhase::BeforeServer;
  uint32_t transmitted_bytes = 0;  // handshake bytes from control to the client

  union {
    ListNode handshake_list = {};  // flows before InstallKeys
    RecordRamp ramp;               // afterwards
  };
  tcp::Millis32 opened_at = 0;
  tcp::Millis32 active_at = 0;    // last byte in either direction
  tcp::Millis32 deadline_at = 0;  // of the phase
  uint64_t bytes_from_client = 0;
  uint64_t bytes_to_client = 0;

  tcp::Tcb& side(Side which) { return sides[number(which)]; }
  tcp::Tcb& client() { return sides[0]; }
  tcp::Tcb& backend() { return sides[1]; }
  bool hashed(Side which) const { return which == Side::Client ? hashed_client : hashed_backend; }
};

// Whether the peer's FIN has come and everything before it stands in the receive queue.
inline bool peer_finished(const tcp::Tcb& tcb) {
  return tcb.peer_fin && tcb.rcv_nxt == tcb.peer_fin_seq + 1;
}

// Application bytes of the client go to the backend.
inline void note_delivered(Flow& flow, uint32_t bytes, Micros now) {
  flow.bytes_from_client += bytes;
  flow.active_at = tcp::to_millis(now);
}

// When the flow's phase must be over.
void set_deadline(Flow& flow, Micros at);

}  // namespace sluice::flow
