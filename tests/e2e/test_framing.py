"""The same bytes in unusual pieces: TCP may cut and join what TLS sends wherever it likes."""

import random
import socket
import threading
import time

import lab
import pytest
import wire

VERSIONS = ("1.2", "1.3")


def test_request_in_the_segment_of_finished():
    """What is behind the client's Finished stays in the worker and is opened with new keys."""
    with wire.Wire(version="1.3") as client:
        client.finish_handshake()
        client.tls.write(lab.request("64k"))
        flight = client.outgoing()
        assert len(flight) < 1400  # CCS, Finished and the request leave in one segment
        client.socket.send(flight)
        assert lab.body_of(client.read_to_end()) == (lab.WWW / "64k").read_bytes()


def test_many_records_behind_finished():
    """More than one segment of them, sent before the server can know that the handshake is done."""
    data = random.Random(5).randbytes(48_000)
    with wire.Wire("echo.sluice.test", "1.3") as client:
        client.finish_handshake()
        for begin in range(0, len(data), 3000):
            client.tls.write(data[begin : begin + 3000])
        client.flush()
        assert client.read_exactly(len(data)) == data


@pytest.mark.parametrize("version", VERSIONS)
def test_client_hello_in_single_bytes(version):
    before = lab.counters()["tcp_segments_in"]
    with wire.Wire(version=version) as client:
        hello = client.hello()
        wire.send_in_single_bytes(client.socket, hello)
        client.handshake()
        assert lab.counters()["tcp_segments_in"] - before > 0.8 * len(hello)
        client.tls.write(lab.request("1k"))
        client.flush()
        assert lab.body_of(client.read_to_end()) == (lab.WWW / "1k").read_bytes()


@pytest.mark.parametrize("version", VERSIONS)
def test_whole_handshake_in_single_bytes(version):
    with wire.Wire(version=version) as client:
        wire.send_in_single_bytes(client.socket, client.hello())
        client.finish_handshake()
        wire.send_in_single_bytes(client.socket, client.outgoing())
        client.tls.write(lab.request("1k"))
        wire.send_in_single_bytes(client.socket, client.outgoing())
        assert lab.body_of(client.read_to_end()) == (lab.WWW / "1k").read_bytes()


@pytest.mark.parametrize("version", VERSIONS)
def test_client_hello_over_several_records(version):
    """RFC 8446 5.1: handshake messages may be fragmented over records, down to one byte each."""
    with wire.Wire(version=version) as client:
        hello = client.hello()
        header, body = hello[:3], hello[5:]
        sizes = [1, 1, 2, 3, 5, 8, 13, 21, 34, len(body)]
        cut, begin = b"", 0
        for size in sizes:
            piece = body[begin : begin + size]
            cut += header + len(piece).to_bytes(2, "big") + piece
            begin += size
        client.socket.sendall(cut)
        client.handshake()
        client.tls.write(lab.request("1k"))
        client.flush()
        assert lab.body_of(client.read_to_end()) == (lab.WWW / "1k").read_bytes()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("seed", range(5))
def test_records_cut_and_joined_at_random(version, seed):
    """Records of random sizes as one stream of ciphertext, sent in pieces that know nothing of
    records."""
    generator = random.Random(f"{version} {seed}")
    data = generator.randbytes(1 << 20)
    with wire.Wire("echo.sluice.test", version) as client:
        client.handshake()
        begin = 0
        while begin < len(data):
            size = generator.choice((1, 2, 17, 200, 1400, 5000, 16384, 16384))
            begin += client.tls.write(data[begin : begin + size])
        sender = threading.Thread(
            target=send_in_pieces, args=(client.socket, client.outgoing(), generator)
        )
        sender.start()
        got = client.read_exactly(len(data))
        sender.join()
        assert got == data, f"seed {seed}"


def send_in_pieces(connection, stream, generator):
    begin = 0
    while begin < len(stream):
        size = generator.choice((1, 4, 5, 6, 21, 700, 1448, 4000, 60_000))
        connection.sendall(stream[begin : begin + size])
        begin += size
        if generator.random() < 0.05:
            time.sleep(0.001)


@pytest.mark.parametrize("version", VERSIONS)
def test_half_close_brings_the_rest(version):
    """close_notify is a FIN to the backend; what it still sends arrives, then its close_notify."""
    data = random.Random(9).randbytes(300_000)
    with wire.Wire("echo.sluice.test", version) as client:
        client.handshake()
        client.tls.write(data)
        client.close_notify()
        assert client.read_to_end() == data
        assert client.receive() == b""  # and the connection ends in order, not by a RST


def test_end_without_close_notify_is_counted():
    """A truncated stream must never look complete to the backend."""
    before = lab.counters()["close_client_truncated"]
    with wire.Wire("echo.sluice.test") as client:
        client.handshake()
        client.tls.write(b"cut off")
        client.flush()
        assert client.read_exactly(7) == b"cut off"
        client.socket.shutdown(socket.SHUT_WR)
        while client.socket.recv(1 << 16):
            pass
    lab.wait_until(
        lambda: lab.counters()["close_client_truncated"] > before, 5, "a counted truncation"
    )
