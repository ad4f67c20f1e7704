// Every bound of the dataplane and of its contract with control. Units are in the names.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::abi {

// The region and its rings.
inline constexpr uint32_t kMaxWorkers = 64;
inline constexpr uint32_t kMaxHandshakeThreads = 8;
inline constexpr uint32_t kMaxEndpoints = 1 + kMaxHandshakeThreads;  // endpoint 0 is admin
inline constexpr uint32_t kRingSlots = 512;                          // a power of two
inline constexpr uint32_t kSlotBytes = 2048;
inline constexpr uint32_t kRingBatch = 32;  // messages a worker takes from one ring in one poll

// TLS record layer. RFC 8446 5.1, 5.2; RFC 5246 6.2.
inline constexpr uint32_t kRecordHeaderBytes = 5;
inline constexpr uint32_t kMaxPlaintextBytes = 1U << 14;
inline constexpr uint32_t kMaxCiphertext13Bytes = kMaxPlaintextBytes + 256;
inline constexpr uint32_t kMaxCiphertext12Bytes = kMaxPlaintextBytes + 2048;
inline constexpr uint32_t kMaxTagBytes = 16;
inline constexpr uint32_t kMinFragmentLimitBytes = 64;  // RFC 8449 4: no endpoint may ask for less

// The handshake phase of one flow.
inline constexpr uint32_t kHandshakeCreditBytes = 64 * 1024;     // before control grants more
inline constexpr uint32_t kMaxHandshakeBytes = 256 * 1024;       // one direction, whole handshake
inline constexpr uint32_t kMaxEarlyBytes = 64 * 1024;         // kept behind the client's Finished
inline constexpr uint32_t kMaxWaitingForControl = 4096;          // flows a worker keeps for control

// TCP and relay.
inline constexpr uint32_t kDefaultMaxFlows = 65536;          // per worker
// Receive buffer of a side in held bytes: the most, at first (64 KiB of window), and while memory
// is scarce (a whole TLS record in ordinary segments, with some window left).
inline constexpr uint32_t kReceiveLimitBytes = 4 * 1024 * 1024;
inline constexpr uint32_t kReceiveInitialBytes = 104 * 1024;
inline constexpr uint32_t kReceiveFloorBytes = 48 * 1024;
// Send queue of a side in held bytes: the most, at first (beside twice cwnd), and however scarce
// memory is (one whole record).
inline constexpr uint32_t kSendLimitBytes = 4 * 1024 * 1024;
inline constexpr uint32_t kSendInitialBytes = 128 * 1024;
inline constexpr uint32_t kSendFloorBytes = 20 * 1024;
inline constexpr uint32_t kCollapseBytes = 512;   // received pieces up to this are copied together
inline constexpr uint32_t kMaxSegmentPieces = 48; // 64 KiB of 1,448-byte pieces and some
inline constexpr uint32_t kMaxOutOfOrderRanges = 1024;  // a slow start's overshoot leaves hundreds

// One burst of a worker's poll.
inline constexpr uint32_t kBurst = 32;

// The configuration file.
inline constexpr uint32_t kMaxPorts = 16;
inline constexpr uint32_t kMaxPortAddresses = 64;  // of one port
inline constexpr uint32_t kMaxListeners = 256;
inline constexpr uint32_t kMaxBackends = 4096;
inline constexpr uint32_t kMaxEalArguments = 64;
inline constexpr uint32_t kMaxProcessorId = 1023;
inline constexpr uint32_t kMinMtuBytes = 576;       // RFC 791 3.1: what every host can take
inline constexpr uint32_t kMinMtuIpv6Bytes = 1280;  // RFC 8200 5
inline constexpr uint32_t kMaxMtuBytes = 9216;
inline constexpr uint32_t kMaxVlan = 4094;
inline constexpr uint32_t kMaxFlows = 1U << 22;  // per worker
inline constexpr uint32_t kMinMemoryMib = 64;
inline constexpr uint32_t kMaxMemoryMib = 1U << 20;
inline constexpr uint32_t kMinHandshakeWaitMs = 100;
inline constexpr uint32_t kMaxHandshakeWaitMs = 120 * 1000;
inline constexpr uint32_t kMinIdleTimeoutMs = 1000;
inline constexpr uint32_t kMaxIdleTimeoutMs = 24 * 3600 * 1000;
inline constexpr uint32_t kMinSourceBitsIpv4 = 8;
inline constexpr uint32_t kMinSourceBitsIpv6 = 16;
inline constexpr uint32_t kMinPaddingBlockBytes = 2;
inline constexpr uint32_t kMaxKeyUpdateAfterRecords = 1U << 24;  // RFC 8446 5.5: AES-GCM's, halved
inline constexpr uint32_t kMaxRampBytes = 1U << 30;

}  // namespace sluice::abi
