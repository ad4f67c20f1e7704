"""The path between client and Sluice carries less than the ends' interfaces: through a real router
that says so, through one that does not, and what others claim about it."""

import contextlib
import json
import random

import lab
import pytest
import raw

MTU, FULL_MTU = 1400, 1500
BLACKHOLE_MSS = 1220  # what large segments that vanish lead to
FAMILIES = {  # address, headers with timestamps, the router's route to the client
    "-4": (lab.SERVICE, 52, "10.99.4.0/24"),
    "-6": (lab.SERVICE6, 72, "fd00:99:4::/64"),
}
families = pytest.mark.parametrize("family", FAMILIES)
replaces = pytest.mark.restarts("control", "dataplane")


def begin(address, file="10m"):
    stream = lab.tls(address=address, timeout=30)
    stream.sendall(lab.request(file))
    return stream


def finish(stream, file="10m", before=b""):
    """Reads to the end; returns the size of the segments that came."""
    assert lab.sha256(lab.body_of(before + lab.read_to_end(stream))) == lab.sum_of(file)
    return lab.received_mss(stream)


def forged(address, client, port, sequence):
    """What says that a segment of that connection was too big for the next hop."""
    source = raw.CLIENT6 if raw.is_v6(address) else raw.CLIENT
    segment = raw.tcp(address, client, lab.TLS_PORT, port, seq=sequence, flags=raw.ACK)
    return raw.too_big(source, raw.ip(address, client, raw.TCP, segment + bytes(1000)), 1280)


@families
def test_forged_claims_change_nothing(family):
    """Who does not see the connection has to guess its sequence number."""
    address, headers, _ = FAMILIES[family]
    before, dice = lab.counters(), random.Random(7)
    with begin(address) as stream:
        first = stream.recv(1 << 16)
        client, port = stream.getsockname()[:2]
        raw.send(*(forged(address, client, port, dice.getrandbits(32)) for _ in range(200)))
        raw.send(forged(address, client, port ^ 1, 1))
        lab.wait_for(before, "icmp_error_no_flow")
        assert finish(stream, before=first) == FULL_MTU - headers
    grown = lab.growth(before, "icmp_errors_in", "tcp_icmp_forged", "tcp_path_shrunk")
    # One in 2,000 may hit what is in flight, and must still wait for a timeout.
    assert grown["icmp_errors_in"] >= 200 and grown["tcp_icmp_forged"] >= 198
    assert grown["tcp_path_shrunk"] == 0


@pytest.fixture(scope="module")
def routed_lab():
    with lab.made_with("--router", MTU):
        yield


@pytest.fixture
def router(routed_lab):
    """Of what the client's kernel has learned about the path nothing is left: it would announce a
    smaller MSS."""
    for family in FAMILIES:
        assert lab.run_client(f"ip {family} route flush cache").returncode == 0


def in_router(line):
    done = lab.run_client(line, namespace="router")
    assert done.returncode == 0, done.stderr


def set_route(family, mtu):
    in_router(f"ip {family} route change {FAMILIES[family][2]} dev eth1 mtu lock {mtu}")


@contextlib.contextmanager
def silent_router(family):
    """What the router itself has to say to Sluice goes nowhere; what it forwards, does."""
    rule = f"iif lo to {FAMILIES[family][0]} blackhole"
    in_router(f"ip {family} rule add {rule}")
    try:
        yield
    finally:
        in_router(f"ip {family} rule del {rule}")


@replaces
@families
def test_a_router_says_so(router, family):
    """The first segments that do not fit are sent again, smaller: no timeout, no reduction."""
    address, headers, _ = FAMILIES[family]
    before = lab.counters()
    with begin(address) as stream:
        assert finish(stream) == MTU - headers
    grown = lab.growth(before)
    assert grown["tcp_path_shrunk"] >= 1 and grown["icmp_errors_in"] >= 1
    for name in ("tcp_blackholes", "tcp_rto", "tcp_icmp_forged"):
        assert grown[name] == 0, name


@replaces
@families
def test_upload_through_a_router(router, family):
    lab.upload("10m", "routed", options=family)


@replaces
@families
def test_the_path_becomes_smaller_on_the_way(router, family):
    """Full segments have been acknowledged: the claim waits until the timer confirms it."""
    address, headers, _ = FAMILIES[family]
    set_route(family, FULL_MTU)
    before, pieces = lab.counters(), []
    try:
        with begin(address) as stream:
            while sum(map(len, pieces)) < 2 << 20:
                pieces.append(stream.recv(1 << 16))
            assert lab.received_mss(stream) == FULL_MTU - headers
            set_route(family, MTU)
            finish(stream, before=b"".join(pieces))
    finally:
        set_route(family, MTU)
    grown = lab.growth(before, "tcp_icmp_waits", "tcp_path_shrunk", "tcp_blackholes")
    assert grown["tcp_icmp_waits"] >= 1 and grown["tcp_path_shrunk"] >= 1
    assert grown["tcp_blackholes"] == 0


@replaces
@families
def test_a_black_hole(router, family):
    """Nobody says anything: large segments vanish, until smaller ones are tried."""
    address, _, _ = FAMILIES[family]
    before = lab.counters()
    with silent_router(family), begin(address, "1m") as stream:
        assert finish(stream, "1m") == BLACKHOLE_MSS - 12
    grown = lab.growth(before, "tcp_blackholes", "tcp_path_shrunk", "icmp_errors_in")
    assert grown == {"tcp_blackholes": 1, "tcp_path_shrunk": 0, "icmp_errors_in": 0}


@replaces
def test_a_router_that_cuts(router):
    """A client that lets routers fragment: what it sends comes in pieces."""
    before = lab.counters()
    with lab.client_with("net.ipv4.ip_no_pmtu_disc", 1):
        lab.upload("1m", "cut", options="-4")
    grown = lab.growth(before)
    assert grown["fragments_reassembled"] >= (1 << 20) // FULL_MTU
    assert grown["fragments_in"] >= 2 * grown["fragments_reassembled"]
    for name in grown:
        assert not name.startswith("drop_fragment") or grown[name] == 0, name


@replaces
def test_the_gateway_is_found(router):
    """Whoever is elsewhere is reached through the gateway, in both families."""
    for address in (lab.SERVICE, lab.SERVICE6):
        assert lab.run_client(f"ping -c 1 -W 2 {address}").returncode == 0
        with lab.tls("echo.sluice.test", address=address) as stream:
            rows = json.loads(lab.ctl("-o", "json", "connections").stdout)
            assert stream.getsockname()[0] in json.dumps(rows)
