"""Packets that no TCP stack of the client sends: made by hand, sent by raw sockets of the namespace
`client`. Addresses are text; the family follows from them."""

import ipaddress
import random
import socket
import struct

import lab

ICMP, TCP, FRAGMENT, ICMP6 = 1, 6, 44, 58
SYN, ACK = 0x02, 0x10
DONT_FRAGMENT, MORE_FRAGMENTS = 0x4000, 0x2000
ETH_ARP = 0x0806
ETH_IPV6 = 0x86DD
IPV6_HDRINCL = 36
CLIENT, CLIENT6 = "10.99.1.2", "fd00:99:1::2"


def is_v6(address):
    return ":" in address


def packed(address):
    return ipaddress.ip_address(address).packed


def checksum(data):
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def transport_checksum(source, target, protocol, data):
    """RFC 9293 3.1, RFC 8200 8.1."""
    if is_v6(source):
        pseudo = packed(source) + packed(target) + struct.pack("!II", len(data), protocol)
    else:
        pseudo = packed(source) + packed(target) + struct.pack("!HH", protocol, len(data))
    return checksum(pseudo + data)


def ip(source, target, protocol, payload, *, identification=0, fragment=0, hops=64):
    """`fragment` is IPv4's field of flags and offset."""
    if is_v6(source):
        return (
            struct.pack("!IHBB", 6 << 28, len(payload), protocol, hops)
            + packed(source)
            + packed(target)
            + payload
        )
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), identification, fragment, hops, protocol, 0,
        packed(source), packed(target),
    )  # fmt: skip
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def tcp(source, target, source_port, port, *, seq=0, ack=0, flags=SYN, text=b""):
    head = struct.pack("!HHIIBBHHH", source_port, port, seq, ack, 5 << 4, flags, 65535, 0, 0)
    right = transport_checksum(source, target, TCP, head + text)
    return head[:16] + struct.pack("!H", right) + head[18:] + text


def icmp(source, target, kind, code, rest):
    """`rest` begins with the four bytes behind the checksum."""
    head = struct.pack("!BBH", kind, code, 0)
    if is_v6(source):
        right = transport_checksum(source, target, ICMP6, head + rest)
    else:
        right = checksum(head + rest)
    return head[:2] + struct.pack("!H", right) + rest


def too_big(source, quoted, mtu):
    """The error that a router `source` sends when `quoted`, a whole IP packet, does not fit."""
    if quoted[0] >> 4 == 6:
        target = str(ipaddress.ip_address(quoted[8:24]))
        return ip(source, target, ICMP6, icmp(source, target, 2, 0, struct.pack("!I", mtu) + quoted))
    target = str(ipaddress.ip_address(quoted[12:16]))
    return ip(source, target, ICMP, icmp(source, target, 3, 4, struct.pack("!HH", 0, mtu) + quoted))


def fragments(source, target, protocol, payload, cuts, identification=None):
    """The payload cut at these offsets, in order."""
    if identification is None:
        identification = random.getrandbits(16)
    made = []
    for begin, end in zip((0, *cuts), (*cuts, len(payload))):
        made.append(
            fragment(source, target, protocol, payload[begin:end], begin, end != len(payload),
                     identification)  # fmt: skip
        )
    return made


def fragment(source, target, protocol, piece, offset, more, identification):
    if is_v6(source):
        head = struct.pack("!BBHI", protocol, 0, offset | more, identification)
        return ip(source, target, FRAGMENT, head + piece)
    flags = MORE_FRAGMENTS if more else 0
    return ip(source, target, protocol, piece, identification=identification,
              fragment=flags | offset // 8)  # fmt: skip


def send(*packets):
    """Whole IP packets, to where their headers say."""
    for packet in packets:
        v6 = packet[0] >> 4 == 6
        with lab.inside("client"):
            made = socket.socket(
                socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW
            )
        with made:
            if v6:
                made.setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL, 1)
            target = packet[24:40] if v6 else packet[16:20]
            made.sendto(packet, (str(ipaddress.ip_address(target)), 0))


def send_frame(kind, payload, target=b"\xff" * 6):
    """An Ethernet frame of the client's eth0, to everybody or to `target`."""
    with lab.inside("client"):
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        with made:
            made.bind(("eth0", 0))
            source = made.getsockname()[4]
            made.send(target + source + struct.pack("!H", kind) + payload)


def client_mac():
    with lab.inside("client"):
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        with made:
            made.bind(("eth0", 0))
            return made.getsockname()[4]
