"""A peer that does not read stalls its own connection and no other, and what is kept for it is
bounded."""

import random
import selectors
import ssl
import time

import lab
import pytest

MIB = 1 << 20
STALLED_MOST = 16 * MIB  # both kernels' socket buffers of one connection and Sluice's own for it
GROWTH_KIB = 16 << 10
OTHERS_SECONDS = 2.0


def check_others():
    """Other connections are served at their usual pace."""
    for _ in range(10):
        began = time.monotonic()
        assert lab.fetch("1m", "rsa.sluice.test") == (lab.WWW / "1m").read_bytes()
        assert time.monotonic() - began < OTHERS_SECONDS


def settled_bytes_sealed():
    """The count of sealed bytes once it stands still: nothing more is taken for the reader."""
    last = -1

    def still():
        nonlocal last
        now = lab.counters()["tls_bytes_sealed"]
        same, last = now == last, now
        time.sleep(0.2)
        return now if same else None

    return lab.wait_until(still, 10, "a standstill")


@pytest.mark.parametrize("version", ("1.2", "1.3"))
def test_client_that_does_not_read(version):
    lab.wait_idle()
    before, resident = lab.counters(), lab.resident_kib("dataplane")
    with lab.tls("ecdsa.sluice.test", version, receive_buffer=64 << 10) as slow:
        slow.sendall(lab.request("100m"))
        sealed = settled_bytes_sealed() - before["tls_bytes_sealed"]
        assert sealed < STALLED_MOST
        check_others()
        assert lab.resident_kib("dataplane") - resident < GROWTH_KIB
        # It goes on where it stood, to the last byte.
        body = lab.body_of(lab.read_to_end(slow))
        assert lab.sha256(body) == lab.sum_of("100m")
    assert lab.wait_idle()["buffers_in_use"] <= before["buffers_in_use"]


@pytest.mark.parametrize("version", ("1.2", "1.3"))
def test_many_clients_that_do_not_read(version):
    lab.wait_idle()
    before = lab.counters()
    slow = [lab.tls("ecdsa.sluice.test", version, receive_buffer=16 << 10) for _ in range(50)]
    try:
        for stream in slow:
            stream.sendall(lab.request("100m"))
        settled_bytes_sealed()
        check_others()
    finally:
        for stream in slow:
            stream.close()
    assert lab.wait_idle()["buffers_in_use"] <= before["buffers_in_use"]


def test_backend_that_does_not_read():
    lab.wait_idle()
    before, resident = lab.counters(), lab.resident_kib("dataplane")
    block = random.Random(3).randbytes(256 << 10)
    with lab.tls("echo.sluice.test") as stream:
        stream.sendall(b"ready")
        assert stream.recv(5) == b"ready"
        with lab.stopped("echo"):
            taken = send_until_stalled(stream, block)
            assert taken < STALLED_MOST
            check_others()
            assert lab.resident_kib("dataplane") - resident < GROWTH_KIB
        check_echo(stream, block, taken)
    assert lab.wait_idle()["buffers_in_use"] <= before["buffers_in_use"]


def send_until_stalled(stream, block):
    """Sends `block` again and again until nothing is taken for a second; the bytes taken."""
    stream.setblocking(False)
    taken, last = 0, time.monotonic()
    while time.monotonic() - last < 1.0:
        try:
            taken += stream.send(block[taken % len(block) :])
            last = time.monotonic()
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            time.sleep(0.01)
        assert taken < STALLED_MOST, "no back-pressure"
    return taken


def check_echo(stream, block, size):
    """Everything that was taken comes back. The record that stalled half written has to be finished
    first."""
    wanted = block * (size // len(block) + 2)
    selector = selectors.DefaultSelector()
    selector.register(stream, selectors.EVENT_READ | selectors.EVENT_WRITE)
    got, pending = bytearray(), True
    while len(got) < size:
        assert selector.select(15), f"no progress after {len(got)} of {size} bytes"
        try:
            if pending:
                size += stream.send(block[size % len(block) :])
                pending = False
                selector.modify(stream, selectors.EVENT_READ)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        try:
            piece = stream.recv(1 << 18)
            assert piece, f"the echo ended after {len(got)} of {size} bytes"
            got += piece
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
    assert got == wanted[:size]
