"""A TLS client that keeps every rule until its handshake is done and may break each of them then.

Python's TLS makes the handshake over memory buffers; its secrets come out through the key log, and
from then on the test seals and opens the records itself (`seals`).
"""

import ssl
import tempfile

import lab
import seals
import wire

NO_ENCRYPT_THEN_MAC = 1 << 19  # SSL_OP_NO_ENCRYPT_THEN_MAC, for which Python has no name
VERSIONS = {
    "1.0": (ssl.TLSVersion.TLSv1, seals.TLS10),
    "1.1": (ssl.TLSVersion.TLSv1_1, seals.TLS11),
    "1.2": (ssl.TLSVersion.TLSv1_2, seals.TLS12),
    "1.3": (ssl.TLSVersion.TLSv1_3, seals.TLS13),
}
ENCRYPT_THEN_MAC = 22


def split_records(stream):
    """(whole records, what is left)"""
    records = []
    while len(stream) >= 5:
        length = 5 + int.from_bytes(stream[3:5], "big")
        if len(stream) < length:
            break
        records.append(stream[:length])
        stream = stream[length:]
    return records, stream


class Peer:
    """After construction the handshake is done, its last flight sent (not with `send_finished`
    False, which leaves it in `flight`). `suite` is OpenSSL's name; with TLS 1.3 the server's
    choice counts."""

    def __init__(self, host, version="1.3", suite=None, etm=True, send_finished=True):
        self.version, self.is_13 = VERSIONS[version][1], version == "1.3"
        with tempfile.NamedTemporaryFile() as log:
            self.wire = wire.Wire(host, context=self.context(version, suite, etm, log.name))
            self.socket = self.wire.socket
            self.received, self.sent = self.handshake()
            self.secrets = dict(self.read_log(log))
        self.suite = seals.Suite(self.wire.tls.cipher()[0])
        self.keys(self.secrets)
        self.left = b""
        if send_finished:
            self.socket.sendall(self.flight)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    @staticmethod
    def context(version, suite, etm, log):
        made = lab.context()
        made.keylog_filename = log
        made.minimum_version = made.maximum_version = VERSIONS[version][0]
        if suite and version != "1.3":
            made.set_ciphers(f"{suite}:@SECLEVEL=0")
        if not etm:
            made.options |= NO_ENCRYPT_THEN_MAC
        return made

    @staticmethod
    def read_log(log):
        for line in log.read().decode().splitlines():
            if line and line[0] != "#":
                label, _, secret = line.split()
                yield label, bytes.fromhex(secret)

    def handshake(self):
        """Runs it and returns all that came and went; the client's last flight is not sent yet."""
        received, sent = b"", b""
        while True:
            try:
                self.wire.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                out = self.wire.outgoing()
                self.socket.sendall(out)
                sent += out
                received += self.wire.receive()
        self.flight = self.wire.outgoing()
        return received, sent + self.flight

    def keys(self, secrets):
        if self.is_13:
            self.out = seals.Direction13(self.suite, secrets["CLIENT_TRAFFIC_SECRET_0"])
            self.into = seals.Direction13(self.suite, secrets["SERVER_TRAFFIC_SECRET_0"])
            return
        came, gone = split_records(self.received)[0], split_records(self.sent)[0]
        hello = came[0]
        self.etm = not self.suite.aead and ENCRYPT_THEN_MAC in extensions_of(hello[5:])
        self.out, self.into = seals.directions_before_13(
            self.suite,
            self.version,
            self.etm,
            secrets["CLIENT_RANDOM"],
            gone[0][11:43],
            hello[11:43],
            (gone[-1], came[-1]),
        )

    # --- records

    def seal(self, kind, payload=b"", **broken):
        return self.out.seal(kind, payload, **broken)

    def send(self, kind, payload=b"", **broken):
        self.socket.sendall(self.seal(kind, payload, **broken))

    def say(self, data):
        self.send(seals.APPLICATION_DATA, data)

    def opened(self, record):
        """(type, plaintext) of the server's next record, following its key updates."""
        kind, plaintext, self.padding = self.into.open(record)
        if self.is_13 and kind == seals.HANDSHAKE and plaintext[0] == 24:
            self.into.update()
        return kind, plaintext

    def next(self):
        """(type, plaintext); (None, how the connection ended) when nothing more comes."""
        while True:
            records, _ = split_records(self.left)
            if records:
                self.left = self.left[len(records[0]) :]
                self.last_record = records[0]
                return self.opened(records[0])
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionResetError:
                return None, "reset"
            if not data:
                assert not self.left, f"half a record at the end: {self.left[:16].hex()}"
                return None, "end"
            self.left += data

    def read_exactly(self, size):
        """Application bytes; tickets and key updates on the way are taken."""
        data = b""
        while len(data) < size:
            kind, plaintext = self.next()
            assert kind in (seals.APPLICATION_DATA, seals.HANDSHAKE), (kind, plaintext)
            data += plaintext if kind == seals.APPLICATION_DATA else b""
        assert len(data) == size
        return data

    def until_closed(self):
        """(application bytes, alerts as (level, description), how it ended)"""
        data, alerts = b"", []
        while True:
            kind, plaintext = self.next()
            if kind is None:
                return data, alerts, plaintext
            if kind == seals.APPLICATION_DATA:
                data += plaintext
            elif kind == seals.ALERT:
                alerts.append(tuple(plaintext))


def extensions_of(hello):
    """Types of the extensions of a ServerHello message."""
    at = 4 + 2 + 32
    at += 1 + hello[at] + 2 + 1 + 2
    found = set()
    while at + 4 <= len(hello):
        found.add(int.from_bytes(hello[at : at + 2], "big"))
        at += 4 + int.from_bytes(hello[at + 2 : at + 4], "big")
    return found
