// The bounds of the network layer that nothing outside of net/ needs to know. What the two
// processes or several folders share is in abi/limits.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::net {

// Frames. Ethernet 14, one 802.1Q tag 4, IPv6 40 (IPv4 20), TCP 60 at most.
inline constexpr uint32_t kEthernetBytes = 14;
inline constexpr uint32_t kVlanTagBytes = 4;
inline constexpr uint32_t kIpv4HeaderBytes = 20;
inline constexpr uint32_t kIpv6HeaderBytes = 40;
inline constexpr uint32_t kTcpHeaderBytes = 20;
inline constexpr uint32_t kIcmpHeaderBytes = 8;
inline constexpr uint32_t kMaxTcpOptionBytes = 40;
inline constexpr uint32_t kMaxHeaderBytes = 14 + 4 + 40 + 60;
inline constexpr uint32_t kMinFrameBytes = 60;  // without the FCS; shorter ones are padded
inline constexpr uint32_t kMinMtuBytes = 576;   // RFC 1122 3.3.2
// Buffers of one received frame behind its first: 64 KiB of LRO in buffers of 2 KiB, and some.
inline constexpr uint32_t kMaxFramePieces = 40;
inline constexpr uint8_t kTimeToLive = 64;  // RFC 1122 3.2.1.7, as assigned

// IPv6 extension headers of one packet (RFC 8504 5.3 allows such limits).
inline constexpr uint32_t kMaxExtensionHeaders = 8;
inline constexpr uint32_t kMaxExtensionBytes = 256;
inline constexpr uint32_t kMaxExtensionOptions = 16;  // without padding, of one header

// Interfaces and ports.
inline constexpr uint32_t kMaxPorts = 16;
inline constexpr uint32_t kMaxInterfaceAddresses = 64;

// Neighbours, per table (one table per worker and port).
inline constexpr uint32_t kNeighborBuckets = 256;
inline constexpr uint32_t kNeighborWays = 4;
inline constexpr uint32_t kNeighborParked = 4;     // packets kept per unresolved neighbour
inline constexpr uint32_t kNeighborOutQueue = 32;  // ARP and ND frames waiting to be sent
inline constexpr uint32_t kNeighborParkedTotal = 256;
// Of those two, what is kept for neighbours that we have to do with (Peer::Known).
inline constexpr uint32_t kNeighborOutReserved = 16;
inline constexpr uint32_t kNeighborParkedReserved = 128;
inline constexpr uint32_t kNeighborRequestsPerSecond =
    1000;  // for strangers, and the same for others
inline constexpr uint32_t kNeighborRequestBurst = 200;
inline constexpr uint32_t kNeighborAnswersPerSecond = 2000;
inline constexpr uint32_t kNeighborAnswerBurst = 400;
// The largest frame that a neighbour table sends: a listener report of one group, 8 bytes of
// hop-by-hop header included; a solicitation with its option has 90.
inline constexpr uint32_t kNeighborFrameBytes = 14 + 4 + 40 + 8 + 8 + 20;

// ICMP echo replies of one worker.
inline constexpr uint32_t kIcmpRepliesPerSecond = 1000;
inline constexpr uint32_t kIcmpBurst = 100;

// Reassembly of IP fragments, per worker.
inline constexpr uint32_t kFragmentEntries = 64;          // packets in the making
inline constexpr uint32_t kFragmentEntriesPerSource = 8;  // an IPv4 address, an IPv6 /64
inline constexpr uint32_t kFragmentPieces = 46;           // 64 KiB at an MTU of 1,500, and one
inline constexpr uint32_t kFragmentBytes = 512 * 1024;    // buffers held, whatever they show
inline constexpr uint32_t kFragmentEntryBytes = 160 * 1024;
inline constexpr uint64_t kFragmentTimeoutUs = 5'000'000;  // RFC 791 says 15 s, RFC 8200 60 s

// Record buffers. The large class holds one whole record of any version, header and tag included.
inline constexpr uint32_t kSmallRecordBytes = 2048;
inline constexpr uint32_t kLargeRecordBytes = 18560;  // 5 + 2^14 + 2048, rounded up to 64
inline constexpr uint32_t kRecordHeadroomBytes = 64;
inline constexpr uint32_t kMaxRecordObjectBytes = 65535;  // an mbuf's buffer length has 16 bits

// Transmission.
inline constexpr uint32_t kTxBatch = 128;       // packets waiting for the next flush, per port
inline constexpr uint32_t kTxCopyBytes = 256;   // payloads up to this are copied, never attached
inline constexpr uint32_t kTxPatience = 65536;  // flushes without progress before a packet goes
inline constexpr uint32_t kSteerRing = 2048;    // packets between one pair of workers

}  // namespace sluice::net
