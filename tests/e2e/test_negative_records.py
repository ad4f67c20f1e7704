"""The record protocol's rules, each broken on an established connection: bytes in, the alert that
comes back sealed, the reason that is counted, and the backend's RST instead of a clean end."""

import dataclasses
import typing

import lab
import peer
import pytest
import seals
import witness
from seals import ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning")]

HOST = "witness.sluice.test"  # every version and suite; the backend is the test's own
WARNING, FATAL = 1, 2
UNEXPECTED, BAD_MAC, OVERFLOW, ILLEGAL, DECODE = 10, 20, 22, 47, 50
PROTOCOL_VERSION, USER_CANCELED, NO_RENEGOTIATION, NO_CERTIFICATE = 70, 90, 100, 41
CLIENT_HELLO, FINISHED, CERTIFICATE_REQUEST, KEY_UPDATE = 1, 20, 13, 24
MAX_PLAINTEXT = 1 << 14
REFUSED_POLITELY = (WARNING, NO_RENEGOTIATION)
CREDITS = 32  # kIdleRecordCredits of dataplane/tls/limits.h

PROTOCOLS = {  # name: (version, OpenSSL's suite, encrypt_then_mac)
    "1.3": ("1.3", None, True),
    "1.2-gcm": ("1.2", "ECDHE-RSA-AES128-GCM-SHA256", True),
    "1.2-chacha": ("1.2", "ECDHE-ECDSA-CHACHA20-POLY1305", True),
    "1.2-cbc-mte": ("1.2", "ECDHE-RSA-AES256-SHA384", False),
    "1.2-cbc-etm": ("1.2", "ECDHE-RSA-AES128-SHA256", True),
    "1.1-cbc-mte": ("1.1", "ECDHE-RSA-AES256-SHA", False),
    "1.0-cbc-mte": ("1.0", "ECDHE-RSA-AES128-SHA", False),
    "1.0-cbc-etm": ("1.0", "ECDHE-RSA-AES128-SHA", True),
}
TLS13 = ["1.3"]
OLDER = [name for name in PROTOCOLS if name != "1.3"]
MTE = [name for name in PROTOCOLS if name.endswith("mte")]
CBC = [name for name in PROTOCOLS if "cbc" in name]


@dataclasses.dataclass
class Row:
    make: typing.Callable  # peer -> the bytes to send
    alert: int | None  # of the server's fatal alert; None: none, or the client's own was fatal
    reason: str  # of the close, as in close_reasons.def
    protocols: list = dataclasses.field(default_factory=lambda: list(PROTOCOLS))


def handshake(kind, body=b""):
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def many(kind, payload=b"", count=CREDITS + 1):
    """So many records of the same that the last of them finds no credit."""
    return lambda p: b"".join(p.seal(kind, payload) for _ in range(count))


def key_updates(p, count=CREDITS + 1):
    sealed = b""
    for _ in range(count):
        sealed += p.seal(HANDSHAKE, handshake(KEY_UPDATE, b"\x00"))
        p.out.update()
    return sealed


def warnings(p):
    return many(ALERT, bytes([WARNING, USER_CANCELED]))(p)


def one(kind, payload=b"", **broken):
    return lambda p: p.seal(kind, payload, **broken)


def plaintext(kind, payload):
    return lambda p: seals.header(kind, min(p.version, seals.TLS12), len(payload)) + payload


def bare_header(kind, length, version=None):
    """A header that says more than there is: it is refused before anything follows."""
    return lambda p: seals.header(kind, version or min(p.version, seals.TLS12), length)


def twice(p):
    record = p.seal(APPLICATION_DATA, b"again")
    return record + record


def swapped(p):
    first, second = (p.seal(APPLICATION_DATA, data) for data in (b"first", b"second"))
    return second + first


def wrong_sequence(distance):
    return lambda p: p.seal(APPLICATION_DATA, b"?", sequence=p.out.sequence + distance)


def flipped(at):
    return lambda p: seals.flipped(p.seal(APPLICATION_DATA, bytes(100)), at)


def old_key(p):
    """A KeyUpdate, and then the old key again."""
    sealed = p.seal(HANDSHAKE, handshake(KEY_UPDATE, b"\x00"))
    return sealed + p.seal(APPLICATION_DATA, b"?")


def bad_padding(at):
    """Sixteen bytes of 15 behind whole blocks, one of them wrong."""
    mac = {"sha1": 20, "sha256": 32, "sha384": 48}

    def make(p):
        inner = 64 - mac[p.suite.mac] if not p.etm else 64
        padding = bytearray([15] * 16)
        padding[at] ^= 1
        return p.seal(APPLICATION_DATA, bytes(inner), padding=bytes(padding))

    return make


def padding_longer_than_the_record(p):
    """The last byte says 255 where there are not so many."""
    mac = {"sha1": 20, "sha256": 32, "sha384": 48}[p.suite.mac]
    inner = 64 - mac if not p.etm else 64
    return p.seal(APPLICATION_DATA, bytes(inner), padding=bytes([255] * 16))


def wrong_mac(p):
    good = {"sha1": 20, "sha256": 32, "sha384": 48}[p.suite.mac]
    return p.seal(APPLICATION_DATA, bytes(100), mac=bytes(good))


def half_a_block(p):
    """Ciphertext that is not whole blocks."""
    record = p.seal(APPLICATION_DATA, bytes(100))
    return seals.header(record[0], p.version, len(record) - 5 - 8) + record[5:-8]


def split(kind, payload, at, between=b""):
    """One message in two records, `between` with data in the middle."""

    def make(p):
        sealed = p.seal(kind, payload[:at])
        if between:
            sealed += p.seal(APPLICATION_DATA, between)
        return sealed + p.seal(kind, payload[at:])

    return make


def inner_of(content_type, length):
    return lambda p: p.seal(0, inner=bytes(length) + bytes([content_type]))


ROWS = {
    # Records that do not verify: RFC 8446 5.2, RFC 5246 6.2.3.
    "flipped last bit": Row(flipped(-1), BAD_MAC, "bad_record_mac"),
    "flipped first bit": Row(flipped(5), BAD_MAC, "bad_record_mac"),
    "flipped bit in the middle": Row(flipped(40), BAD_MAC, "bad_record_mac"),
    "sequence one ahead": Row(wrong_sequence(1), BAD_MAC, "bad_record_mac"),
    "sequence one behind": Row(wrong_sequence(-1), BAD_MAC, "bad_record_mac"),
    "record twice": Row(twice, BAD_MAC, "bad_record_mac"),
    "two records swapped": Row(swapped, BAD_MAC, "bad_record_mac"),
    "old key behind a key update": Row(old_key, BAD_MAC, "bad_record_mac", TLS13),
    "empty body": Row(plaintext(APPLICATION_DATA, b""), BAD_MAC, "bad_record_mac"),
    "shorter than a tag": Row(plaintext(APPLICATION_DATA, bytes(15)), BAD_MAC, "bad_record_mac"),
    "type changed on the way": Row(
        lambda p: bytes([ALERT]) + p.seal(APPLICATION_DATA, bytes(2))[1:],
        BAD_MAC,
        "bad_record_mac",
        OLDER,
    ),
    "version changed on the way": Row(
        lambda p: seals.flipped(p.seal(APPLICATION_DATA, b"?"), 2),
        BAD_MAC,
        "bad_record_mac",
        TLS13,
    ),
    # CBC: whatever is wrong inside, one alert (RFC 5246 6.2.3.2).
    "first padding byte wrong": Row(bad_padding(0), BAD_MAC, "bad_record_mac", CBC),
    "middle padding byte wrong": Row(bad_padding(7), BAD_MAC, "bad_record_mac", CBC),
    "padding length wrong": Row(bad_padding(15), BAD_MAC, "bad_record_mac", CBC),
    "padding longer than the record": Row(
        padding_longer_than_the_record, BAD_MAC, "bad_record_mac", CBC
    ),
    "wrong MAC, right padding": Row(wrong_mac, BAD_MAC, "bad_record_mac", CBC),
    "half a block": Row(half_a_block, BAD_MAC, "bad_record_mac", CBC),
    # Plaintext after keys.
    "plaintext data": Row(plaintext(APPLICATION_DATA, bytes(64)), BAD_MAC, "bad_record_mac"),
    "plaintext alert, 1.3": Row(
        plaintext(ALERT, bytes([WARNING, 0])), UNEXPECTED, "unexpected_record_type", TLS13
    ),
    "plaintext alert": Row(plaintext(ALERT, bytes([WARNING, 0])), BAD_MAC, "bad_record_mac", OLDER),
    "plaintext hello, 1.3": Row(
        plaintext(HANDSHAKE, handshake(CLIENT_HELLO, bytes(64))),
        UNEXPECTED,
        "unexpected_record_type",
        TLS13,
    ),
    "plaintext hello": Row(
        plaintext(HANDSHAKE, handshake(CLIENT_HELLO, bytes(60))), BAD_MAC, "bad_record_mac", OLDER
    ),
    "change_cipher_spec": Row(
        plaintext(CHANGE_CIPHER_SPEC, b"\x01"), UNEXPECTED, "unexpected_record_type"
    ),
    "sealed change_cipher_spec": Row(
        one(CHANGE_CIPHER_SPEC, b"\x01"), UNEXPECTED, "unexpected_record_type"
    ),
    # Headers.
    "unknown type 24": Row(bare_header(24, 64), UNEXPECTED, "unexpected_record_type"),
    "unknown type 0": Row(bare_header(0, 64), UNEXPECTED, "unexpected_record_type"),
    "unknown type 255": Row(bare_header(255, 64), UNEXPECTED, "unexpected_record_type"),
    "another minor version": Row(
        bare_header(APPLICATION_DATA, 64, 0x0304), PROTOCOL_VERSION, "bad_record_version", OLDER
    ),
    "another major version": Row(
        bare_header(APPLICATION_DATA, 64, 0x0203), PROTOCOL_VERSION, "bad_record_version", OLDER
    ),
    # Lengths: RFC 8446 5.2, RFC 5246 6.2.3.
    "header too long, 1.3": Row(
        bare_header(APPLICATION_DATA, MAX_PLAINTEXT + 257), OVERFLOW, "record_overflow", TLS13
    ),
    "header too long": Row(
        bare_header(APPLICATION_DATA, MAX_PLAINTEXT + 2049), OVERFLOW, "record_overflow", OLDER
    ),
    "content too long": Row(
        one(APPLICATION_DATA, bytes(MAX_PLAINTEXT + 1)), OVERFLOW, "record_overflow"
    ),
    "padding over the limit": Row(
        one(APPLICATION_DATA, b"x", padding=MAX_PLAINTEXT), OVERFLOW, "record_overflow", TLS13
    ),
    # TLS 1.3's inner content type: RFC 8446 5.2 and 5.4.
    "nothing but zeros": Row(
        lambda p: p.seal(0, inner=bytes(64)), UNEXPECTED, "bad_inner_plaintext", TLS13
    ),
    "nothing at all": Row(
        lambda p: p.seal(0, inner=b""), UNEXPECTED, "bad_inner_plaintext", TLS13
    ),
    "inner type 24": Row(inner_of(24, 8), UNEXPECTED, "unexpected_record_type", TLS13),
    "inner type 255": Row(inner_of(255, 8), UNEXPECTED, "unexpected_record_type", TLS13),
    # Records without content.
    "empty alert": Row(one(ALERT), UNEXPECTED, "bad_alert"),
    "empty handshake": Row(one(HANDSHAKE), UNEXPECTED, "bad_handshake_message"),
    "flood of empty data": Row(many(APPLICATION_DATA), UNEXPECTED, "too_many_empty_records"),
    "flood of warnings": Row(warnings, UNEXPECTED, "too_many_warnings"),
    "flood of key updates": Row(key_updates, UNEXPECTED, "too_many_key_updates", TLS13),
    "flood of renegotiations": Row(
        many(HANDSHAKE, handshake(CLIENT_HELLO, bytes(40))),
        UNEXPECTED,
        "too_many_renegotiations",
        OLDER,
    ),
    # Alerts: RFC 8446 6, RFC 5246 7.2.
    "alert of one byte": Row(one(ALERT, b"\x02"), DECODE, "bad_alert"),
    "alert over two records": Row(split(ALERT, b"\x02\x28", 1), DECODE, "bad_alert"),
    "two alerts in a record": Row(one(ALERT, b"\x01\x5a\x01\x5a"), DECODE, "bad_alert"),
    "alert of level 3": Row(one(ALERT, b"\x03\x28"), ILLEGAL, "bad_alert"),
    "fatal handshake_failure": Row(one(ALERT, b"\x02\x28"), None, "client_alert"),
    "fatal bad_record_mac": Row(one(ALERT, b"\x02\x14"), None, "client_alert"),
    "fatal internal_error": Row(one(ALERT, b"\x02\x50"), None, "client_alert"),
    "fatal unknown description": Row(one(ALERT, b"\x02\xfa"), None, "client_alert"),
    "fatal user_canceled": Row(one(ALERT, b"\x02\x5a"), None, "client_alert", OLDER),
    "warning that is always fatal": Row(one(ALERT, b"\x01\x14"), None, "client_alert"),
    "warning no_certificate, 1.3": Row(
        one(ALERT, bytes([WARNING, NO_CERTIFICATE])), None, "client_alert", TLS13
    ),
    # Handshake messages: RFC 8446 4.6.3 and 5.1, RFC 5246 7.4.1.1.
    "hello in 1.3": Row(
        one(HANDSHAKE, handshake(CLIENT_HELLO, bytes(40))),
        UNEXPECTED,
        "bad_handshake_message",
        TLS13,
    ),
    "finished again": Row(
        one(HANDSHAKE, handshake(FINISHED, bytes(12))), UNEXPECTED, "bad_handshake_message"
    ),
    "hello request": Row(one(HANDSHAKE, handshake(0)), UNEXPECTED, "bad_handshake_message"),
    "certificate request": Row(
        one(HANDSHAKE, handshake(CERTIFICATE_REQUEST, bytes(3))),
        UNEXPECTED,
        "bad_handshake_message",
    ),
    "key update before 1.3": Row(
        one(HANDSHAKE, handshake(KEY_UPDATE, b"\x00")), UNEXPECTED, "bad_handshake_message", OLDER
    ),
    "key update asks for 2": Row(
        one(HANDSHAKE, handshake(KEY_UPDATE, b"\x02")), ILLEGAL, "bad_handshake_message", TLS13
    ),
    "key update of no bytes": Row(
        one(HANDSHAKE, handshake(KEY_UPDATE)), DECODE, "bad_handshake_message", TLS13
    ),
    "key update of two bytes": Row(
        one(HANDSHAKE, handshake(KEY_UPDATE, b"\x00\x00")), DECODE, "bad_handshake_message", TLS13
    ),
    "more behind a key update": Row(
        one(HANDSHAKE, handshake(KEY_UPDATE, b"\x00") * 2),
        UNEXPECTED,
        "bad_handshake_message",
        TLS13,
    ),
    "data between the parts of a key update": Row(
        split(HANDSHAKE, handshake(KEY_UPDATE, b"\x00"), 2, between=b"?"),
        UNEXPECTED,
        "bad_handshake_message",
        TLS13,
    ),
    "alert between the parts of a key update": Row(
        lambda p: p.seal(HANDSHAKE, handshake(KEY_UPDATE)[:1])
        + p.seal(ALERT, bytes([WARNING, 0])),
        UNEXPECTED,
        "bad_handshake_message",
        TLS13,
    ),
    "hello longer than is skipped": Row(
        one(HANDSHAKE, bytes([CLIENT_HELLO]) + (MAX_PLAINTEXT + 1).to_bytes(3, "big")),
        DECODE,
        "bad_handshake_message",
        OLDER,
    ),
}

def closes(before):
    """Which close reasons were counted since, and how often."""
    grown = lab.growth(before)
    return {name: count for name, count in grown.items() if name.startswith("close_") and count}


def connect(protocol):
    version, suite, etm = PROTOCOLS[protocol]
    client = peer.Peer(HOST, version, suite, etm)
    if "cbc" in protocol:
        assert client.etm == etm
    return client


@pytest.fixture(scope="module")
def backend(running_lab):
    with witness.Witness() as playing:
        yield playing


@pytest.mark.parametrize("name", ROWS)
def test_broken_rule(name, backend):
    for protocol in ROWS[name].protocols:
        check_row(ROWS[name], protocol, backend)


def check_row(row, protocol, backend):
    before = lab.wait_idle()
    with connect(protocol) as client, accepted(client, backend) as server:
        client.socket.sendall(row.make(client))
        _, alerts, _ = client.until_closed()
        wanted = [] if row.alert is None else [(FATAL, row.alert)]
        assert [alert for alert in alerts if alert != REFUSED_POLITELY] == wanted, protocol
        data, how = witness.read_to_end(server)
        assert how == "reset", f"{protocol}: the backend saw a clean end after {data[:40]}"
    grown = lab.wait_until(lambda: closes(before), 5, f"{protocol}: a counted close")
    assert grown == {f"close_{row.reason}": 1}, protocol


HARMLESS = {  # what a client may say and nothing comes of it
    "empty data": (one(APPLICATION_DATA), list(PROTOCOLS)),
    "all but too many empty records": (many(APPLICATION_DATA, count=CREDITS), list(PROTOCOLS)),
    "user_canceled": (one(ALERT, bytes([WARNING, USER_CANCELED])), list(PROTOCOLS)),
    "no_certificate before 1.3": (one(ALERT, bytes([WARNING, NO_CERTIFICATE])), OLDER),
    "padding": (one(APPLICATION_DATA, b"", padding=1000), TLS13),
    "padding to the limit": (one(APPLICATION_DATA, b"", padding=MAX_PLAINTEXT), TLS13),
    "another version in the header": (
        lambda p: resealed_with_version(p, 0x0301),
        TLS13,
    ),
    "255 bytes of CBC padding": (lambda p: longest_padding(p), CBC),
}


def resealed_with_version(p, version):
    """RFC 8446 5.1: legacy_record_version is to be ignored; it is authenticated as it stands."""
    inner = bytes([APPLICATION_DATA])
    head = seals.header(APPLICATION_DATA, version, len(inner) + seals.TAG_BYTES)
    sequence, p.out.sequence = p.out.sequence, p.out.sequence + 1
    return head + p.out.cipher.encrypt(p.out.nonce(sequence), inner, head)


def longest_padding(p):
    mac = {"sha1": 20, "sha256": 32, "sha384": 48}[p.suite.mac]
    fill = (16 - (0 if p.etm else mac)) % 16
    return p.seal(APPLICATION_DATA, bytes(fill), padding=bytes([255] * 256))


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless(name, backend):
    make, protocols = HARMLESS[name]
    for protocol in protocols:
        with connect(protocol) as client, accepted(client, backend) as server:
            client.socket.sendall(make(client))
            client.say(b"behind it")
            assert b"behind it" in wait_for_bytes(server, b"behind it")
            check_both_ways(client, server)


def accepted(client, backend):
    client.say(b"good")
    server = backend.accept()
    assert server.recv(4) == b"good"
    return server


def wait_for_bytes(server, wanted):
    data = b""
    while not data.endswith(wanted):
        piece = server.recv(1 << 16)
        assert piece, data
        data += piece
    return data


def check_both_ways(client, server):
    """Bytes go through in both directions, then both ends close in order."""
    server.sendall(b"down")
    assert client.read_exactly(4) == b"down"
    client.say(b"up")
    assert server.recv(2) == b"up"
    client.send(ALERT, bytes([WARNING, 0]))
    assert witness.read_to_end(server) == (b"", "end")
    server.close()
    _, alerts, how = client.until_closed()
    assert (alerts, how) == ([(WARNING, 0)], "end")


@pytest.mark.parametrize("protocol", OLDER)
def test_renegotiation_is_refused_and_service_goes_on(protocol, backend):
    """RFC 5246 7.2.2: a warning no_renegotiation; the hello may be cut anywhere, and data may stand
    between its parts (RFC 5246 6.2.1)."""
    hello = handshake(CLIENT_HELLO, bytes(range(200)))
    before = lab.counters()
    with connect(protocol) as client, accepted(client, backend) as server:
        for at in (1, 3, 4, 5, 100):
            client.send(HANDSHAKE, hello[:at])
            client.say(b"between")
            assert server.recv(7) == b"between"
            client.send(HANDSHAKE, hello[at:])
            assert client.next() == (ALERT, bytes([WARNING, NO_RENEGOTIATION]))
        check_both_ways(client, server)
    assert lab.growth(before, "tls_renegotiations_refused")["tls_renegotiations_refused"] == 5


@pytest.mark.parametrize("asks", (0, 1))
def test_key_update_in_pieces(asks, backend):
    """RFC 8446 5.1: any handshake message may be cut over records."""
    before = lab.counters()
    message = handshake(KEY_UPDATE, bytes([asks]))
    with connect("1.3") as client, accepted(client, backend) as server:
        for at in range(1, len(message)):
            client.send(HANDSHAKE, message[:at])
            client.send(HANDSHAKE, message[at:])
            client.out.update()
            client.say(b"new key")
            assert server.recv(7) == b"new key"
        check_both_ways(client, server)
    grown = lab.growth(before, "tls_key_updates_in", "tls_key_updates_out")
    assert grown == {"tls_key_updates_in": 4, "tls_key_updates_out": 4 * asks}


def test_key_updates_for_ever(backend):
    """Data earns them: one for each sixteen records, as often as a client likes."""
    with connect("1.3") as client, accepted(client, backend) as server:
        for _ in range(3 * CREDITS):
            stream = b"".join(client.seal(APPLICATION_DATA, b"data") for _ in range(16))
            stream += client.seal(HANDSHAKE, handshake(KEY_UPDATE, b"\x01"))
            client.out.update()
            client.socket.sendall(stream)
            wait_for_bytes_count(server, 64)
        check_both_ways(client, server)


def wait_for_bytes_count(server, count):
    while count:
        piece = server.recv(count)
        assert piece
        count -= len(piece)
