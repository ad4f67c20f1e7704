#!/usr/bin/python3
"""Writes the first inputs of the corpora of frames: one good packet of each kind that is spoken, and
the refused ones that take the most steps to tell. What the fuzzers found beside these came from
`-merge=1` over longer runs.

make_seeds.py FOLDER    (tests/fuzz/corpus)
"""

import hashlib
import ipaddress
import os
import struct
import sys

OURS, PEER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
OUR4, PEER4 = (ipaddress.ip_address(a).packed for a in ("10.99.1.10", "10.99.1.2"))
OUR6, PEER6 = (ipaddress.ip_address(a).packed for a in ("fd00:99:1::10", "fd00:99:1::2"))
GROUP6 = ipaddress.ip_address("ff02::1:ff00:10").packed
ALL6 = ipaddress.ip_address("ff02::1").packed
LINK6 = ipaddress.ip_address("fe80::1").packed
REPAIR, VLAN, BELIEVE = 1, 2, 4  # the first byte of an input of parse_frame

SYN_OPTIONS = bytes.fromhex("020405b40402080a0000000100000000010303" "07")
ACK_OPTIONS = bytes.fromhex("0101080a0000000100000002" "0101050a0000000100000002")


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo(source, destination, protocol, length):
    return source + destination + struct.pack("!II", length, protocol)


def tcp(source, destination, flags, options=b"", payload=b""):
    def header(field):
        offset = (20 + len(options)) // 4 << 4
        return struct.pack("!HHIIBBHHH", 40000, 443, 1, 2, offset, flags, 4096, field, 0) + options
    length = 20 + len(options) + len(payload)
    field = checksum(pseudo(source, destination, 6, length) + header(0) + payload)
    return header(field) + payload


def ethernet(ethertype, packet, destination=OURS, tag=None):
    link = destination + PEER + (struct.pack("!HH", 0x8100, tag) if tag is not None else b"")
    return link + struct.pack("!H", ethertype) + packet


def ipv4(protocol, payload, fragment=0, options=b""):
    length = 20 + len(options) + len(payload)
    head = struct.pack("!BBHHHBB", 0x45 + len(options) // 4, 0, length, 7, fragment, 64, protocol)
    tail = PEER4 + OUR4 + options
    return head + struct.pack("!H", checksum(head + b"\0\0" + tail)) + tail + payload


def ipv6(next_header, payload, source=PEER6, destination=OUR6, hops=64):
    head = struct.pack("!IHBB", 6 << 28, len(payload), next_header, hops)
    return head + source + destination + payload


def icmp(kind, code, rest):
    body = struct.pack("!BB", kind, code)
    return body + struct.pack("!H", checksum(body + b"\0\0" + rest)) + rest


def icmp6(kind, code, rest, source=PEER6, destination=OUR6):
    body = struct.pack("!BB", kind, code)
    field = checksum(pseudo(source, destination, 58, 4 + len(rest)) + body + b"\0\0" + rest)
    return body + struct.pack("!H", field) + rest


def nd(kind, rest, source=PEER6, destination=OUR6, hops=255):
    return ipv6(58, icmp6(kind, 0, rest, source, destination), source, destination, hops)


def frames():
    segment4 = tcp(PEER4, OUR4, 0x10, ACK_OPTIONS, b"some payload")
    segment6 = tcp(PEER6, OUR6, 0x10, ACK_OPTIONS, b"some payload")
    yield 0, ethernet(0x0800, ipv4(6, tcp(PEER4, OUR4, 2, SYN_OPTIONS)))
    yield 0, ethernet(0x0800, ipv4(6, segment4))
    yield 0, ethernet(0x0800, ipv4(6, segment4, options=bytes.fromhex("94040000")))
    yield 0, ethernet(0x0800, ipv4(6, segment4, fragment=0x2000))
    yield 0, ethernet(0x0800, ipv4(6, b"\x33" * 64, fragment=8))
    yield 0, ethernet(0x0800, ipv4(6, segment4), tag=0xE000)
    yield VLAN, ethernet(0x86DD, ipv6(6, segment6), tag=7)
    yield 0, ethernet(0x86DD, ipv6(6, tcp(PEER6, OUR6, 2, SYN_OPTIONS)))
    yield BELIEVE, ethernet(0x86DD, ipv6(6, segment6))
    for first, headers in ((0, "0600050200000100"), (60, "0600010400000000"),
                           (43, "0600040000000000"), (44, "0600000000000001"),
                           (44, "0600000100000001"), (44, "0600000800000001"),
                           (60, "2b000104000000002c0004000000000006000000" "00000001")):
        yield 0, ethernet(0x86DD, ipv6(first, bytes.fromhex(headers) + segment6))
    yield REPAIR, ethernet(0x0800, ipv4(1, icmp(8, 0, b"\0\1\0\1ping")))
    yield REPAIR, ethernet(0x86DD, ipv6(58, icmp6(128, 0, b"\0\1\0\1ping")))
    ours4 = struct.pack("!BBHHHBBH", 0x45, 0, 60, 0, 0x4000, 60, 6, 0) + OUR4 + PEER4
    ours6 = struct.pack("!IHBB", 6 << 28, 40, 6, 60) + OUR6 + PEER6
    quoted = struct.pack("!HHI", 443, 40000, 77)
    for kind, code in ((3, 4), (3, 1), (11, 0), (12, 0)):
        yield REPAIR, ethernet(
            0x0800, ipv4(1, icmp(kind, code, struct.pack("!HH", 0, 1400) + ours4 + quoted)))
    for kind in (1, 2, 3, 4):
        yield REPAIR, ethernet(
            0x86DD, ipv6(58, icmp6(kind, 0, struct.pack("!I", 1400) + ours6 + quoted)))
    yield 0, ethernet(0x0806, struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + PEER + PEER4 + bytes(6)
                      + OUR4, b"\xff" * 6)
    group_mac = b"\x33\x33" + GROUP6[12:]
    yield REPAIR, ethernet(0x86DD, nd(135, bytes(4) + OUR6 + b"\1\1" + PEER, PEER6, GROUP6),
                           group_mac)
    yield REPAIR, ethernet(0x86DD, nd(135, bytes(4) + OUR6, bytes(16), GROUP6), group_mac)
    yield REPAIR, ethernet(0x86DD, nd(136, b"\x60\0\0\0" + PEER6 + b"\2\1" + PEER))
    all_mac = b"\x33\x33" + ALL6[12:]
    yield REPAIR, ethernet(0x86DD, nd(130, bytes(24), LINK6, ALL6, 1), all_mac)
    yield REPAIR, ethernet(0x86DD, nd(134, bytes(12), LINK6, ALL6), all_mac)


def inputs():
    for flags, frame in frames():
        yield "parse_frame", bytes([flags, 60, 20]) + frame
        # As raw frames of the link: step 3, its length, and then a turn that sends the answers.
        if len(frame) < 256:
            yield "neighbor", bytes([3, len(frame)]) + frame + b"\7"
    yield "tcp_options", b"\1" + SYN_OPTIONS
    yield "tcp_options", b"\0" + ACK_OPTIONS
    yield "tcp_options", b"\0" + bytes.fromhex("0101051a") + bytes(range(24))
    # Announce, ask, be answered, let time pass, ask again.
    yield "neighbor", bytes.fromhex("0607050000010710" "02000f4e000100" "0741a0070500000107" "041e07")
    # Three fragments in order; the same backwards; an overlap; a timeout.
    yield "fragments", bytes([0x0E, 0, 0x0E, 1, 0x08, 2])
    yield "fragments", bytes([0x09, 2, 0x0F, 1, 0x0F, 0])
    yield "fragments", bytes([0x0E, 0, 0x0E, 129, 0, 60, 0x0E, 1])
    yield "fragments", bytes([0x0E, 0, 240, 23, 0x0E, 1])


def main(folder):
    for target, data in inputs():
        os.makedirs(os.path.join(folder, target), exist_ok=True)
        name = hashlib.sha1(data).hexdigest()[:16] + ".bin"
        with open(os.path.join(folder, target, name), "wb") as file:
            file.write(data)


if __name__ == "__main__":
    main(sys.argv[1])
