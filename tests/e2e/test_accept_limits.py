"""One network may only have its share of the flows: what is beyond is refused, and room that comes free
is given again."""

import contextlib

import lab
import pytest

MOST = 5
LIMITS = f"""max_connections_per_source = {MOST}
source_bits_ipv4 = 32
source_bits_ipv6 = 64
"""
SECOND, SECOND6 = "10.99.1.3", "fd00:99:1::3"  # further addresses of the client
pytestmark = pytest.mark.restarts("control", "dataplane")


@pytest.fixture(scope="module")
def limited():
    config = lab.LAB / "limited.toml"
    config.write_text(lab.CONFIG.read_text().replace("[dataplane]\n", "[dataplane]\n" + LIMITS, 1))
    with lab.made_with("--config", config):
        for address in (f"{SECOND}/32", f"{SECOND6}/128 nodad"):
            assert lab.run_client(f"ip addr add {address} dev eth0").returncode == 0
        yield


def connect(stack, address, source=None):
    raw = stack.enter_context(lab.tcp_socket(address))
    raw.settimeout(10)
    if source:
        raw.bind((source, 0))
    raw.connect((address, lab.TLS_PORT))
    return raw


def open_one(stack, address, source=None):
    raw = connect(stack, address, source)
    return stack.enter_context(lab.context().wrap_socket(raw, server_hostname="echo.sluice.test"))


def refused(address, source=None):
    """One refusal, exactly: a client that spoke before the RST arrived would be refused twice, since
    its first data carries the same cookie as its ACK."""
    with contextlib.ExitStack() as stack:
        with pytest.raises(ConnectionResetError):
            connect(stack, address, source).recv(1)
    return 1


def echoes(stream):
    stream.sendall(b"still there?")
    return stream.recv(100) == b"still there?"


@pytest.mark.parametrize(
    "address, stranger, shares",
    ((lab.SERVICE, SECOND, False), (lab.SERVICE6, SECOND6, True)),  # /32 each; one /64
    ids=("IPv4", "IPv6"),
)
def test_each_source_has_its_share(limited, address, stranger, shares):
    lab.wait_idle()
    before = lab.counters()
    with contextlib.ExitStack() as stack:
        streams = [open_one(stack, address) for _ in range(MOST)]
        refusals = sum(refused(address) for _ in range(3))
        if shares:
            refusals += refused(address, stranger)
        else:
            streams.append(open_one(stack, address, stranger))
        grown = lab.growth(before, "tcp_source_refused", "tcp_accept_refused", "flows_opened")
        assert grown == {
            "tcp_source_refused": refusals,
            "tcp_accept_refused": 0,
            "flows_opened": MOST + 1 - shares,
        }
        other = lab.SERVICE6 if address == lab.SERVICE else lab.SERVICE
        assert echoes(open_one(stack, other))  # the other family has a share of its own
        assert all(echoes(stream) for stream in streams)
        streams[0].unwrap().close()  # room for one
        lab.wait_until(lambda: lab.counters()["flows_closed"] > before["flows_closed"], 5, "a close")
        assert echoes(open_one(stack, address))
        refused(address)
    lab.wait_idle()
    for _ in range(2):  # and all of it again
        with contextlib.ExitStack() as stack:
            assert all(echoes(open_one(stack, address)) for _ in range(MOST))
        lab.wait_idle()
