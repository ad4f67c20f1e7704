"""A TLS client whose bytes the test holds in its hands, and the pieces to make wrong ones.

`Wire` runs Python's TLS over memory buffers: what the protocol wants to send lies in `outgoing()`
until the test sends it, cut, joined or changed as it likes.
"""

import fcntl
import socket
import ssl
import struct
import termios
import time

import lab

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
FATAL = 2
PROTOCOL_VERSION, HANDSHAKE_FAILURE, UNRECOGNIZED_NAME = 70, 40, 112


class Wire:
    def __init__(self, host="ecdsa.sluice.test", version="1.3", context=None, port=lab.TLS_PORT):
        self.socket = lab.connect(port)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (context or lab.context(version)).wrap_bio(
            self._in, self._out, server_hostname=host
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def outgoing(self):
        """Takes what TLS has to send."""
        return self._out.read()

    def flush(self):
        self.socket.sendall(self.outgoing())

    def receive(self):
        """One read from the network into TLS; b"" tells it the end."""
        data = self.socket.recv(1 << 16)
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()
        return data

    def hello(self):
        """The ClientHello, not sent yet."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing()

    def finish_handshake(self, first=None):
        """Runs the handshake to the client's end; its last flight stays in `outgoing()`."""
        if first is not None:
            self.socket.sendall(first)
        while True:
            try:
                self.tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                self.flush()
                self.receive()

    def handshake(self):
        self.finish_handshake()
        self.flush()
        return self

    def read(self, size=1 << 18):
        """Application bytes, waiting for them; b"" at the peer's close_notify."""
        while True:
            try:
                return self.tls.read(size)
            except ssl.SSLWantReadError:
                self.receive()
            except ssl.SSLZeroReturnError:
                return b""

    def read_exactly(self, size):
        pieces, have = [], 0
        while have < size:
            piece = self.read(size - have)
            assert piece, f"the stream ended after {have} of {size} bytes"
            pieces.append(piece)
            have += len(piece)
        return b"".join(pieces)

    def read_to_end(self):
        pieces = []
        while piece := self.read():
            pieces.append(piece)
        return b"".join(pieces)

    def close_notify(self):
        """Sends close_notify; what the peer still has to say can be read afterwards."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self.flush()


def hello_of(*, versions=("1.2", "1.3"), host="ecdsa.sluice.test", legacy=None):
    """A ClientHello record; legacy = ssl.TLSVersion.TLSv1 or TLSv1_1 offers that version alone."""
    context = lab.context()
    if legacy is not None:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = legacy
    else:
        context.minimum_version, context.maximum_version = (lab.VERSIONS[v] for v in versions)
    out = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=host)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def with_suites(hello, suites):
    """The same ClientHello record offering exactly these cipher suites."""
    body = hello[9:]  # behind the record's and the message's header
    session_end = 35 + body[34]
    old = int.from_bytes(body[session_end : session_end + 2], "big")
    offered = b"".join(suite.to_bytes(2, "big") for suite in suites)
    body = (
        body[:session_end]
        + len(offered).to_bytes(2, "big")
        + offered
        + body[session_end + 2 + old :]
    )
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return hello[:3] + len(message).to_bytes(2, "big") + message


def record(kind, payload, version=0x0303):
    return bytes([kind]) + version.to_bytes(2, "big") + len(payload).to_bytes(2, "big") + payload


def sslv3_hello():
    """ClientHello of SSL 3.0: that version in the record and in the message, no extensions."""
    body = b"\x03\x00" + bytes(range(32)) + b"\x00" + b"\x00\x04\x00\x2f\x00\x35" + b"\x01\x00"
    return record(HANDSHAKE, b"\x01" + len(body).to_bytes(3, "big") + body, version=0x0300)


def sslv2_hello():
    """CLIENT-HELLO of SSL 2.0: 2-byte header with the high bit, type 1, version 0x0002."""
    specs, challenge = b"\x01\x00\x80\x07\x00\xc0\x05\x00\x80", bytes(range(16))
    body = (
        b"\x01\x00\x02"
        + len(specs).to_bytes(2, "big")
        + b"\x00\x00"
        + len(challenge).to_bytes(2, "big")
        + specs
        + challenge
    )
    return (0x8000 | len(body)).to_bytes(2, "big") + body


def answer_to(data, timeout=5):
    """Sends bytes on a new connection and returns everything that comes back until it is closed."""
    with lab.connect(timeout=timeout) as connection:
        connection.sendall(data)
        return until_closed(connection)


def until_closed(connection):
    """A RST counts as closed: what came before it is returned."""
    pieces = []
    while True:
        try:
            piece = connection.recv(1 << 16)
        except ConnectionResetError:
            break
        if not piece:
            break
        pieces.append(piece)
    return b"".join(pieces)


def alerts_in(answer):
    """(level, description) of each plaintext alert record in a server's answer."""
    found = []
    while len(answer) >= 5:
        length = int.from_bytes(answer[3:5], "big")
        if answer[0] == ALERT and length == 2:
            found.append((answer[5], answer[6]))
        answer = answer[5 + length :]
    return found


def send_in_single_bytes(connection, data):
    """Each byte in a segment of its own: the kernel joins what waits for the congestion window, so never
    more than five are unacknowledged."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for index in range(len(data)):
        connection.send(data[index : index + 1])
        unacknowledged = 6
        while unacknowledged > 5:
            time.sleep(0.0005)
            unacknowledged = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]
