"""kill -9 of control: established connections do not notice, new ones wait for the next control."""

import threading
import time

import lab
import pytest

MIB = 1 << 20
SECONDS_AWAY = 2.0

pytestmark = pytest.mark.restarts("control")


@pytest.fixture(autouse=True)
def control_comes_back():
    yield
    lab.command("start", "control")
    lab.check_serves()


class Waiting(threading.Thread):
    """A client that connects while there is no control."""

    def __init__(self, version):
        super().__init__(daemon=True)
        self.version, self.body, self.seconds, self.error = version, None, None, None

    def run(self):
        began = time.monotonic()
        try:
            self.body = lab.fetch("64k", version=self.version, timeout=15)
        except (OSError, AssertionError) as error:
            self.error = error
        self.seconds = time.monotonic() - began


def paced_download(stream, on_quarter):
    """Reads 100m to its end; `on_quarter` runs when a quarter of it has come."""
    pieces, have = [], 0
    while piece := stream.recv(1 << 18):
        pieces.append(piece)
        have += len(piece)
        if on_quarter and have > 25 * MIB:
            on_quarter()
            on_quarter = None
    return lab.body_of(b"".join(pieces))


@pytest.mark.parametrize("version", ("1.2", "1.3"))
def test_kill_during_a_download(version):
    lab.command("start", "control")
    with lab.tls("ecdsa.sluice.test", version) as stream:
        stream.sendall(lab.request("100m"))
        body = paced_download(stream, lambda: lab.command("kill", "control"))
    assert lab.command("status", check=False).stdout.count("control    not running") == 1
    assert lab.sha256(body) == lab.sum_of("100m")


@pytest.mark.parametrize("version", ("1.2", "1.3"))
def test_new_connections_wait_for_control(version):
    lab.command("start", "control")
    with lab.tls("echo.sluice.test", version) as established:
        lab.command("kill", "control")
        waiting = [Waiting(version) for _ in range(20)]
        for client in waiting:
            client.start()
        gone_until = time.monotonic() + SECONDS_AWAY
        while time.monotonic() < gone_until:  # meanwhile the established one goes on
            established.sendall(b"still here")
            assert established.recv(10) == b"still here"
            time.sleep(0.1)
        assert all(client.is_alive() for client in waiting)
        lab.command("start", "control")
        for client in waiting:
            client.join(15)
    expected = (lab.WWW / "64k").read_bytes()
    for client in waiting:
        assert client.error is None
        assert client.body == expected
        assert client.seconds > SECONDS_AWAY / 2
    assert lab.counters()["tls_waited_for_control"] >= len(waiting)


@pytest.mark.seconds(90)
def test_waiting_ends_at_the_deadline():
    """handshake_wait_ms of the lab's configuration is 10 s: then a waiting connection is closed,
    and counted."""
    lab.command("start", "control")
    before = lab.counters()["close_handshake_timeout"]
    lab.command("kill", "control")
    client = Waiting("1.3")
    client.start()
    client.join(14)
    assert client.error is not None
    assert 8 < client.seconds < 14
    lab.command("start", "control")
    lab.wait_until(
        lambda: lab.counters()["close_handshake_timeout"] > before, 5, "a counted timeout"
    )


def test_three_lives_of_control():
    for _ in range(3):
        lab.command("kill", "control")
        lab.command("start", "control")
        lab.check_serves()
