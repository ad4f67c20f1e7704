"""Wrong input: each row's bytes get its answer, are counted under its name, and harm no other
connection."""

import ssl

import lab
import pytest
import wire

CLOSE = None  # the connection ends without one byte in answer
MAX_PLAINTEXT = 1 << 14
OVERFLOW_1_2, OVERFLOW_1_3 = (
    MAX_PLAINTEXT + 2048 + 1,
    MAX_PLAINTEXT + 256 + 1,
)  # RFC 5246 6.2.3, RFC 8446 5.2

FIRST_BYTES = {  # name: (bytes, alert or CLOSE, counter)
    "plain HTTP": (b"GET / HTTP/1.1\r\nHost: rsa.sluice.test\r\n\r\n", CLOSE, "close_not_tls"),
    "SSH banner": (b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n", CLOSE, "close_not_tls"),
    "binary noise": (bytes(range(200, 256)) * 4, CLOSE, "close_not_tls"),
    "SSLv2 hello": (wire.sslv2_hello(), CLOSE, "close_sslv2_hello"),
    "SSLv3 hello": (wire.sslv3_hello(), wire.PROTOCOL_VERSION, "close_sslv3_hello"),
    "TLS 1.0 only": (
        lambda: wire.hello_of(legacy=ssl.TLSVersion.TLSv1),
        wire.PROTOCOL_VERSION,
        "close_handshake_failed",
    ),
    "TLS 1.1 only": (
        lambda: wire.hello_of(legacy=ssl.TLSVersion.TLSv1_1),
        wire.PROTOCOL_VERSION,
        "close_handshake_failed",
    ),
    "no common cipher, TLS 1.2": (  # ECDHE with Camellia
        lambda: wire.with_suites(wire.hello_of(versions=("1.2", "1.2")), [0xC072, 0xC076]),
        wire.HANDSHAKE_FAILURE,
        "close_handshake_failed",
    ),
    "no common cipher, TLS 1.3": (  # AES-128-CCM-8
        lambda: wire.with_suites(wire.hello_of(versions=("1.3", "1.3")), [0x1305]),
        wire.HANDSHAKE_FAILURE,
        "close_handshake_failed",
    ),
    "first record too long": (
        wire.record(wire.HANDSHAKE, b"\x01" + bytes(MAX_PLAINTEXT)),
        22,
        "close_record_overflow",
    ),
}


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("row", FIRST_BYTES.values(), ids=FIRST_BYTES.keys())
def test_first_bytes(row):
    data, alert, counter = row
    before = lab.counters().get(counter, 0)
    answer = wire.answer_to(data() if callable(data) else data)
    if alert is CLOSE:
        assert answer == b""
    else:
        assert wire.alerts_in(answer) == [(wire.FATAL, alert)]
    lab.wait_until(
        lambda: lab.counters().get(counter, 0) == before + 1, 5, f"{counter} counted once"
    )
    lab.check_serves()


def flipped_tag(client):
    client.tls.write(b"bytes that change on the way")
    sealed = bytearray(client.outgoing())
    sealed[-1] ^= 1
    return bytes(sealed)


def flipped_in_second_record(client):
    """The first record is good and is not taken back; the second ends the connection."""
    client.tls.write(b"good")
    return client.outgoing() + flipped_tag(client)


def too_long(client):
    length = OVERFLOW_1_3 if client.tls.version() == "TLSv1.3" else OVERFLOW_1_2
    return wire.record(wire.APPLICATION_DATA, bytes(length))


ESTABLISHED = {  # name: (what to send, OpenSSL's name for the alert that must come, counter)
    "flipped tag bit": (flipped_tag, "BAD_RECORD_MAC", "close_bad_record_mac"),
    "flipped tag bit in the second record": (
        flipped_in_second_record,
        "BAD_RECORD_MAC",
        "close_bad_record_mac",
    ),
    "record too long": (too_long, "ALERT_RECORD_OVERFLOW", "close_record_overflow"),
}


@pytest.mark.parametrize("version", ("1.2", "1.3"))
@pytest.mark.parametrize("row", ESTABLISHED.values(), ids=ESTABLISHED.keys())
def test_established(row, version):
    """The answer is an alert under the connection's keys: the client's TLS opens and names it."""
    make, alert, counter = row
    before = lab.counters().get(counter, 0)
    with wire.Wire("echo.sluice.test", version) as client:
        client.handshake()
        client.socket.sendall(make(client))
        with pytest.raises(ssl.SSLError) as error:
            while client.read():
                pass
        assert error.value.reason.endswith(alert), error.value
    lab.wait_until(
        lambda: lab.counters().get(counter, 0) == before + 1, 5, f"{counter} counted once"
    )
    lab.check_serves()


@pytest.fixture(scope="module")
def control_that_rejects(running_lab):
    """The lab's configuration but for unknown_sni; control alone is started again."""
    text = lab.CONFIG.read_text()
    assert 'unknown_sni = "default"' in text
    config = lab.LAB / "e2e-reject.toml"
    config.write_text(text.replace('unknown_sni = "default"', 'unknown_sni = "reject" '))
    lab.command("restart", "control", "--config", config)
    yield
    lab.command("restart", "control")
    config.unlink()


@pytest.mark.restarts("control")
@pytest.mark.parametrize("versions", (("1.2", "1.2"), ("1.3", "1.3")))
def test_unknown_name_rejected(control_that_rejects, versions):
    before = lab.counters().get("close_handshake_failed", 0)
    answer = wire.answer_to(wire.hello_of(versions=versions, host="unknown.sluice.test"))
    assert wire.alerts_in(answer) == [(wire.FATAL, wire.UNRECOGNIZED_NAME)]
    lab.wait_until(
        lambda: lab.counters().get("close_handshake_failed", 0) == before + 1, 5, "counted once"
    )
    lab.check_serves()
