// What an opened record means once the handshake is over.
#pragma once

#include <cstdint>
#include <span>

#include "abi/close_reason.h"
#include "tls/alert.h"
#include "tls/keys.h"
#include "tls/record.h"

namespace sluice::tls {

enum class ActionKind : uint8_t {
  Deliver,     // application data: the plaintext goes to the backend
  Ignore,      // nothing to do
  Reply,       // `reply_bytes` sealed bytes stand in `reply`; they go to the client, in order
  PeerClosed,  // close_notify: no record behind this one may be opened
  Close,       // the flow ends with `refusal.reason`; its alert, if any, is sealed and sent first
};

struct Action {
  ActionKind kind = ActionKind::Ignore;
  Refusal refusal;
  uint8_t peer_alert = 255;  // description of the alert that came, 255 for none
  uint32_t reply_bytes = 0;
};

// Decides for one record that open_record accepted. `reply` has room for kMaxReplyBytes and must be
// queued to the client before anything else is sealed. The caller makes that room before it opens
// a record. Keys may have changed when this returns (KeyUpdate).
Action handle_record(RecordLayer& layer, FlowKeys& keys, ContentType type,
                     std::span<const uint8_t> plaintext, uint8_t* reply);

}  // namespace sluice::tls
