"""IPv6, end to end: each family of the client with each family of the backend; neighbours found both
ways; what is not trusted or not answered."""

import ipaddress
import json
import socket
import struct

import lab
import pytest
import raw

FAMILIES = ("-4", "-6")
BACKENDS = {"IPv4": "ecdsa.sluice.test", "IPv6": "six.sluice.test"}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_10_mib_each_way(family, backend, tmp_path):
    lab.download("10m", tmp_path / "got", BACKENDS[backend], options=family)
    lab.upload("10m", "dual-stack", BACKENDS[backend], options=family)


@pytest.mark.parametrize("version", ("1.2", "1.3"))
def test_openssl(version):
    host = "six.sluice.test"
    done = lab.run_client(
        f"openssl s_client -connect [{lab.SERVICE6}]:443 -servername {host} -CAfile {lab.CA}"
        f" -verify_hostname {host} -verify_return_error -brief -ign_eof"
        f" -tls{version.replace('.', '_')}",
        lab.request("64k", host),
    )
    assert done.returncode == 0, done.stderr
    assert lab.body_of(done.stdout) == (lab.WWW / "64k").read_bytes()


def test_plain_relay():
    done = lab.run_client(f"curl -sS --fail http://[{lab.SERVICE6}]/64k")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (lab.WWW / "64k").read_bytes()


def test_the_operator_sees_the_clients_address():
    with lab.tls("echo.sluice.test", address=lab.SERVICE6) as stream:
        assert f"[{raw.CLIENT6}]:{stream.getsockname()[1]}" in lab.ctl("connections").stdout


def neighbor(address):
    said = lab.run_client(f"ip -j neigh show {address}").stdout
    return json.loads(said)[0]["lladdr"]


def link_local(mac):
    """RFC 4291, appendix A."""
    octets = bytes.fromhex(mac.replace(":", ""))
    return ipaddress.IPv6Address(
        b"\xfe\x80" + bytes(6) + bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    )


def test_neighbours_and_ping():
    """The kernel finds us, by every address; we have found it: pings are answered by the table."""
    assert lab.run_client("ip neigh flush dev eth0").returncode == 0
    before = lab.counters()
    assert lab.run_client(f"ping -c 2 -i 0.2 -W 2 -s 1400 {lab.SERVICE}").returncode == 0
    mac = neighbor(lab.SERVICE)
    for address in (lab.SERVICE6, f"{link_local(mac)}%eth0"):
        done = lab.run_client(f"ping -6 -c 2 -i 0.2 -W 2 -s 1400 {address}")
        assert done.returncode == 0, done.stdout
        assert neighbor(address.partition("%")[0]) == mac
    assert lab.growth(before, "icmp_echo_replies")["icmp_echo_replies"] == 6
    lab.wait_for(before, "nd_solicitations_in", 2)


@pytest.mark.restarts("control", "dataplane")
def test_a_new_dataplane_finds_its_neighbours():
    """Whom it has to answer it asks for first."""
    lab.command("restart", "dataplane")
    lab.wait_until(lambda: lab.ctl("counters").returncode == 0, 10, "control is back")
    lab.check_serves(address=lab.SERVICE6)
    assert lab.fetch("1k", "six.sluice.test") == (lab.WWW / "1k").read_bytes()
    now = lab.counters()
    assert now["nd_solicitations_out"] >= 1 and now["nd_advertisements_in"] >= 1


@pytest.mark.parametrize("address", (lab.SERVICE, lab.SERVICE6))
def test_udp_is_met_with_silence(address):
    before = lab.counters()
    with lab.inside("client"):
        family = socket.AF_INET6 if raw.is_v6(address) else socket.AF_INET
        probe = socket.socket(family, socket.SOCK_DGRAM)
    with probe:
        probe.settimeout(0.3)
        probe.connect((address, 443))
        probe.send(b"anybody there?")
        with pytest.raises(TimeoutError):  # a port unreachable would be ConnectionRefusedError
            probe.recv(100)
    lab.wait_for(before, "drop_udp")


ROUTER = "fe80::1"  # as a host of the link may call itself
SPOILED = {  # what any host of the link can say: the counter of its end
    "router advertisement": (
        (134, 0, struct.pack("!BBHII", 64, 0, 1800, 0, 0)),
        "drop_router_advertisement",
    ),
    "redirect": (
        (137, 0, bytes(4) + raw.packed("fe80::bad") + raw.packed(raw.CLIENT6)),
        "drop_icmp_redirect",
    ),
}


@pytest.mark.parametrize("what", SPOILED)
def test_routes_are_not_learned(what):
    (kind, code, rest), counter = SPOILED[what]
    before = lab.counters()
    message = raw.icmp(ROUTER, lab.SERVICE6, kind, code, rest)
    packet = raw.ip(ROUTER, lab.SERVICE6, raw.ICMP6, message, hops=255)
    raw.send_frame(raw.ETH_IPV6, packet, service_mac())
    lab.wait_for(before, counter)
    lab.check_serves(address=lab.SERVICE6)


def service_mac():
    assert lab.run_client(f"ping -c 1 {lab.SERVICE}").returncode == 0
    return bytes.fromhex(neighbor(lab.SERVICE).replace(":", ""))


def arp_announcement(mac):
    return struct.pack(
        "!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac, raw.packed(lab.SERVICE), bytes(6),
        raw.packed(lab.SERVICE),
    )  # fmt: skip


def nd_announcement(mac):
    """An unsolicited advertisement that says: I have Sluice's address."""
    target = "ff02::1"
    rest = struct.pack("!I", 0x20000000) + raw.packed(lab.SERVICE6) + b"\x02\x01" + mac
    message = raw.icmp(lab.SERVICE6, target, 136, 0, rest)
    return raw.ip(lab.SERVICE6, target, raw.ICMP6, message, hops=255)


def test_address_conflicts_are_noticed():
    """Somebody else announces our addresses: counted, and we go on."""
    mac = raw.client_mac()
    for kind, announcement, target in (
        (raw.ETH_ARP, arp_announcement(mac), b"\xff" * 6),
        (raw.ETH_IPV6, nd_announcement(mac), b"\x33\x33\x00\x00\x00\x01"),
    ):
        before = lab.counters()
        raw.send_frame(kind, announcement, target)
        lab.wait_for(before, "arp_conflicts")
    lab.check_serves()
    lab.check_serves(address=lab.SERVICE6)
