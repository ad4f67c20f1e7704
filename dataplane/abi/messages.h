// THE contract: every message that crosses the rings between sluice-dataplane and sluice-control.
//
// All are trivially copyable, fixed width, native byte order (one machine), sizes and offsets
// asserted below. A receiver copies a message out of its slot once, then validates the copy
// (validate.h) and never looks at the slot again.
//
//   worker -> control                      control -> worker
//   HandshakeBegin   who connects          TransmitBytes  handshake bytes for the client
//   HandshakeBytes   whole records in      GrantCredit    more handshake bytes may come
//                    pieces, in order      InstallKeys    the handshake is complete
//   HandshakeEnd     the flow ended first  CloseFlow      the handshake failed
//   FlowRow, FlowsEnd  answer ListFlows    ListFlows      (endpoint 0 only)
//
// Order within one ring is the order of sending; TransmitBytes that precede InstallKeys or
// CloseFlow are on their way to the client before those take effect.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "abi/address.h"
#include "abi/close_reason.h"
#include "abi/limits.h"

namespace sluice::abi {

inline constexpr uint32_t kAbiVersion = 3;

// Names a flow for as long as it lives: a message that comes late misses harmlessly, because the
// generation has changed.
struct FlowId {
  uint32_t generation = 0;
  uint16_t core = 0;  // worker number, not processor id
  uint16_t reserved = 0;
  uint32_t index = 0;
  uint32_t reserved2 = 0;
  friend bool operator==(const FlowId& a, const FlowId& b) {
    return a.generation == b.generation && a.core == b.core && a.index == b.index;
  }
};
static_assert(sizeof(FlowId) == 16);

enum class MessageType : uint16_t {
  HandshakeBegin = 1,
  HandshakeBytes = 2,
  HandshakeEnd = 3,
  FlowRow = 4,
  FlowsEnd = 5,
  TransmitBytes = 64,
  GrantCredit = 65,
  InstallKeys = 66,
  CloseFlow = 67,
  ListFlows = 68,
};

struct MessageHeader {
  uint16_t type = 0;    // MessageType
  uint16_t length = 0;  // whole message in bytes, header included
  uint32_t epoch = 0;   // of the region: tells two lives of control apart
  FlowId flow;
};
static_assert(sizeof(MessageHeader) == 24);

inline constexpr uint32_t kMaxMessageBytes = kSlotBytes;
inline constexpr uint32_t kMaxChunkBytes = 1984;  // bytes carried by one message

// A ClientHello has begun. Precedes the flow's first HandshakeBytes.
struct HandshakeBegin {
  static constexpr MessageType kType = MessageType::HandshakeBegin;
  MessageHeader header;
  SocketAddress client;
  SocketAddress service;
  uint64_t waited_us = 0;  // since TCP was established
};
static_assert(sizeof(HandshakeBegin) == 72);

// Bytes of the client's stream, in order, without gaps. `offset` counts from the first byte of
// the connection. `record_end` is 1 when the chunk completes a TLS record: control feeds OpenSSL
// one whole record (header included) at a time.
struct HandshakeBytes {
  static constexpr MessageType kType = MessageType::HandshakeBytes;
  MessageHeader header;
  uint32_t offset = 0;
  uint16_t length = 0;  // 1..kMaxChunkBytes
  uint8_t record_end = 0;
  uint8_t reserved = 0;
  uint8_t bytes[kMaxChunkBytes] = {};
};
static_assert(offsetof(HandshakeBytes, bytes) == 32);
static_assert(sizeof(HandshakeBytes) <= kMaxMessageBytes);

// The flow ended before InstallKeys or CloseFlow came. It also reports flows that the worker itself
// refused before any HandshakeBegin (not TLS, SSLv3 ...), so that control can log them.
// `awaits_answer` is 1 when the flow still lives: the client closed, or broke a rule, behind bytes
// that may complete the handshake. Control, which has then seen all of them, answers with CloseFlow
// unless it has sent InstallKeys.
struct HandshakeEnd {
  static constexpr MessageType kType = MessageType::HandshakeEnd;
  MessageHeader header;
  SocketAddress client;
  SocketAddress service;
  uint16_t reason = 0;  // CloseReason
  uint8_t alert = 255;  // alert description that the worker sent, 255 for none
  uint8_t peer_alert = 255;
  uint8_t awaits_answer = 0;
  uint8_t reserved[3] = {};
};
static_assert(sizeof(HandshakeEnd) == 72);

enum class FlowPhase : uint8_t {
  ExpectClientHello = 0,
  ExpectControl = 1,    // a record is ready, control is away or has given no credit
  ExpectKeys = 2,       // control is at work
  ExpectBackend = 3,    // keys installed, the backend's SYN-ACK is awaited
  Relaying = 4,
  Closing = 5,
};
inline constexpr uint8_t kFlowPhases = 6;

struct FlowRow {
  static constexpr MessageType kType = MessageType::FlowRow;
  MessageHeader header;
  SocketAddress client;
  SocketAddress service;
  SocketAddress backend;  // port 0 before one is chosen
  uint16_t backend_local_port = 0;
  uint16_t tls_version = 0;  // 0x0303, 0x0304, 0 before keys and for plain relays
  uint32_t suite = 0;        // TLS cipher-suite id
  uint32_t host_tag = 0;     // as given in InstallKeys
  uint8_t phase = 0;         // FlowPhase
  uint8_t client_state = 0;  // tcp::State
  uint8_t backend_state = 0;
  uint8_t reserved = 0;
  uint64_t age_us = 0;
  uint64_t idle_us = 0;
  uint64_t bytes_from_client = 0;  // application bytes
  uint64_t bytes_to_client = 0;
  uint32_t client_rtt_us = 0;  // smoothed
  uint32_t held_bytes = 0;     // buffers held, both sides
};
static_assert(sizeof(FlowRow) == 144);

struct FlowsEnd {
  static constexpr MessageType kType = MessageType::FlowsEnd;
  MessageHeader header;
  uint64_t token = 0;
  uint32_t next_index = 0;  // where to go on; UINT32_MAX when that was all
  uint32_t reserved = 0;
};
static_assert(sizeof(FlowsEnd) == 40);

struct TransmitBytes {
  static constexpr MessageType kType = MessageType::TransmitBytes;
  MessageHeader header;
  uint16_t length = 0;  // 1..kMaxChunkBytes
  uint16_t reserved = 0;
  uint32_t reserved2 = 0;
  uint8_t bytes[kMaxChunkBytes] = {};
};
static_assert(offsetof(TransmitBytes, bytes) == 32);
static_assert(sizeof(TransmitBytes) <= kMaxMessageBytes);

// `bytes` more of the client's stream have been consumed by the handshake: the worker forgets them
// and may send as many more. The sum of all grants is what InstallKeys calls consumed_bytes, or
// less.
// A new flow starts with kHandshakeCreditBytes.
struct GrantCredit {
  static constexpr MessageType kType = MessageType::GrantCredit;
  MessageHeader header;
  uint32_t bytes = 0;
  uint32_t reserved = 0;
};
static_assert(sizeof(GrantCredit) == 32);

// Keys of one direction. TLS 1.3: `secret` is the application traffic secret and all else is zero
// but the sequence. Older: key, IV, MAC key; `secret` is empty. The master secret never crosses.
struct DirectionKeys {
  uint8_t secret[48] = {};
  uint8_t key[32] = {};
  uint8_t mac_key[48] = {};
  uint8_t iv[16] = {};              // salt of AES-GCM (4 bytes), IV of ChaCha20 (12), TLS 1.0 (16)
  uint8_t chaining_block[16] = {};  // TLS 1.0: last ciphertext block (EtM: in front of the MAC)
  uint64_t sequence = 0;            // of the next record; at least 1 before TLS 1.3
  uint64_t next_explicit_nonce = 0; // TLS 1.2 GCM
  uint8_t secret_length = 0;
  uint8_t key_length = 0;
  uint8_t mac_key_length = 0;
  uint8_t iv_length = 0;
  uint32_t fragment_limit_bytes = 0;  // content, 64..16384; in TLS 1.3 RFC 8449's limit less one
};
static_assert(sizeof(DirectionKeys) == 184);

struct InstallKeys {
  static constexpr MessageType kType = MessageType::InstallKeys;
  MessageHeader header;
  uint16_t version = 0;  // 0x0301..0x0304
  uint16_t suite = 0;    // TLS cipher-suite id
  uint8_t encrypt_then_mac = 0;
  uint8_t alpn_length = 0;
  uint16_t reserved = 0;
  uint32_t consumed_bytes = 0;  // of the client's stream: the worker resumes there
  uint32_t host_tag = 0;        // names the configured host to control; opaque to the worker
  SocketAddress backend;
  uint32_t reserved2 = 0;
  uint8_t alpn[32] = {};
  DirectionKeys open;  // client -> Sluice
  DirectionKeys seal;  // Sluice -> client
};
static_assert(offsetof(InstallKeys, backend) == 40);
static_assert(offsetof(InstallKeys, open) == 96);
static_assert(sizeof(InstallKeys) == 96 + 2 * 184);

// Control gives up. What TransmitBytes brought before (an alert) is still delivered, then FIN;
// `reset` asks for RST instead.
struct CloseFlow {
  static constexpr MessageType kType = MessageType::CloseFlow;
  MessageHeader header;
  uint16_t reason = 0;  // CloseReason
  uint8_t reset = 0;
  uint8_t reserved[5] = {};
};
static_assert(sizeof(CloseFlow) == 32);

// Asks for at most `max_rows` FlowRow messages from flow index `first_index` on, then FlowsEnd.
struct ListFlows {
  static constexpr MessageType kType = MessageType::ListFlows;
  MessageHeader header;
  uint64_t token = 0;
  uint32_t first_index = 0;
  uint32_t max_rows = 0;  // 1..kRingSlots / 2
};
static_assert(sizeof(ListFlows) == 40);

template <class M>
inline constexpr bool kIsMessage = std::is_trivially_copyable_v<M> && alignof(M) <= 8 &&
                                   offsetof(M, header) == 0 && sizeof(M) <= kMaxMessageBytes;
static_assert(kIsMessage<HandshakeBegin> && kIsMessage<HandshakeBytes> && kIsMessage<HandshakeEnd>);
static_assert(kIsMessage<FlowRow> && kIsMessage<FlowsEnd> && kIsMessage<TransmitBytes>);
static_assert(kIsMessage<GrantCredit> && kIsMessage<InstallKeys> && kIsMessage<CloseFlow>);
static_assert(kIsMessage<ListFlows>);

}  // namespace sluice::abi
