"""change_cipher_spec and alerts where they may and where they may not come before the handshake is
done: bytes in, the alert that comes back in plaintext, the reason that is counted."""

import lab
import peer
import pytest
import seals
import wire
from seals import ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE

HOST = "echo.sluice.test"
VERSIONS = ("1.2", "1.3")
FATAL, UNEXPECTED = 2, 10
CHANGE = wire.record(CHANGE_CIPHER_SPEC, b"\x01")
CHANGES_GONE_WRONG = {
    "another value": wire.record(CHANGE_CIPHER_SPEC, b"\x02"),
    "two bytes": wire.record(CHANGE_CIPHER_SPEC, b"\x01\x01"),
    "empty": wire.record(CHANGE_CIPHER_SPEC, b""),
}
FATAL_ALERT = wire.record(ALERT, b"\x02\x28")

FIRST = {  # name: (first record of a connection, alert or None, reason)
    "change_cipher_spec": (CHANGE, UNEXPECTED, "unexpected_record_type"),
    "application data": (
        wire.record(APPLICATION_DATA, bytes(40)),
        UNEXPECTED,
        "unexpected_record_type",
    ),
    "finished": (wire.record(HANDSHAKE, b"\x14\0\0\x0c"), UNEXPECTED, "unexpected_record_type"),
    "empty handshake": (wire.record(HANDSHAKE, b""), UNEXPECTED, "unexpected_record_type"),
    "alert": (FATAL_ALERT, None, "client_alert"),
    "close_notify": (wire.record(ALERT, b"\x01\x00"), None, "client_alert"),
}


def counted_once(before, reason):
    lab.wait_for(before, f"close_{reason}")
    assert lab.growth(before, f"close_{reason}") == {f"close_{reason}": 1}


@pytest.mark.parametrize("name", FIRST)
def test_first_record(name):
    data, alert, reason = FIRST[name]
    before = lab.counters()
    assert wire.alerts_in(wire.answer_to(data)) == ([] if alert is None else [(FATAL, alert)])
    counted_once(before, reason)


def served(client):
    client.tls.write(b"echo")
    client.flush()
    assert client.read_exactly(4) == b"echo"


@pytest.mark.parametrize("count", (1, 3))
def test_change_cipher_spec_where_tls13_allows_it(count):
    """RFC 8446 5: any time between the first ClientHello and the client's Finished."""
    with wire.Wire(HOST, "1.3") as client:
        client.finish_handshake(client.hello() + CHANGE * count)
        client.socket.sendall(CHANGE * count + client.outgoing())
        served(client)


def server_flight(client):
    """Sends the hello and reads until the server has answered."""
    client.socket.sendall(client.hello())
    while not client.receive():
        pass


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", CHANGES_GONE_WRONG)
def test_change_cipher_spec_that_is_none(name, version):
    """Control alone knows how an alert would have to be protected by then: there is none."""
    before = lab.counters()
    with wire.Wire(HOST, version) as client:
        server_flight(client)
        client.socket.sendall(CHANGES_GONE_WRONG[name])
        assert wire.alerts_in(wire.until_closed(client.socket)) == []
    counted_once(before, "unexpected_record_type")
    lab.check_serves()


def test_change_cipher_spec_before_the_key_exchange_of_tls12():
    before = lab.counters()
    with wire.Wire(HOST, "1.2") as client:
        server_flight(client)
        client.socket.sendall(CHANGE)
        assert wire.alerts_in(wire.until_closed(client.socket)) == [(FATAL, UNEXPECTED)]
    counted_once(before, "handshake_failed")
    lab.check_serves()


@pytest.mark.parametrize("version", VERSIONS)
def test_fatal_alert_instead_of_the_clients_flight(version):
    before = lab.counters()
    with wire.Wire(HOST, version) as client:
        server_flight(client)
        client.socket.sendall(FATAL_ALERT)
        assert wire.alerts_in(wire.until_closed(client.socket)) == []
    counted_once(before, "client_alert")
    lab.check_serves()


def test_sealed_alert_instead_of_finished():
    before = lab.counters()
    with peer.Peer(HOST, send_finished=False) as client:
        secret = client.secrets["CLIENT_HANDSHAKE_TRAFFIC_SECRET"]
        handshake_keys = seals.Direction13(client.suite, secret)
        client.socket.sendall(CHANGE + handshake_keys.seal(ALERT, b"\x02\x2a"))
        wire.until_closed(client.socket)
    counted_once(before, "client_alert")
    lab.check_serves()


def test_data_under_the_wrong_keys_instead_of_finished():
    before = lab.counters()
    with peer.Peer(HOST, send_finished=False) as client:
        client.socket.sendall(CHANGE + client.seal(APPLICATION_DATA, b"too early"))
        wire.until_closed(client.socket)
    counted_once(before, "handshake_failed")
    lab.check_serves()
