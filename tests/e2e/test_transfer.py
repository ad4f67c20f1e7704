"""Many bytes, many connections: everything arrives unchanged, and nothing is left over."""

import asyncio
import hashlib
import random
import selectors
import ssl
import time

import lab
import pytest

MIB = 1 << 20
VERSIONS = ("1.2", "1.3")


@pytest.mark.seconds(120)
@pytest.mark.parametrize("version", VERSIONS)
def test_100_mib_down(version, tmp_path):
    out = tmp_path / "got"
    done = lab.run_client(
        f"curl -sS --fail --cacert {lab.CA} --http1.1 --tlsv{version} --tls-max {version}"
        f" -o {out} https://ecdsa.sluice.test/100m",
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    assert lab.sha256(out.read_bytes()) == lab.sum_of("100m")


@pytest.mark.seconds(120)
@pytest.mark.parametrize("version", VERSIONS)
def test_100_mib_up_and_back(version):
    with lab.tls("echo.sluice.test", version) as stream:
        sent, received, size = exchange(stream, 100 * MIB, seed=7)
    assert size == 100 * MIB
    assert received == sent


def exchange(stream, size, seed):
    """Sends `size` seeded bytes and reads as many back at the same time: (digest, digest, bytes
    read)."""
    generator = random.Random(seed)
    blocks = [generator.randbytes(256 << 10) for _ in range(16)]
    sent, received = hashlib.sha256(), hashlib.sha256()
    to_send, got, count, pending = size, 0, 0, memoryview(b"")
    stream.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(stream, selectors.EVENT_READ)
    while got < size:
        progress = False
        if not pending and to_send:
            pending = memoryview(blocks[count % len(blocks)])[:to_send]
            sent.update(pending)
            to_send, count = to_send - len(pending), count + 1
        try:
            if pending:
                pending = pending[stream.send(pending) :]
                progress = True
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        try:
            piece = stream.recv(1 << 18)
            assert piece, f"the echo ended after {got} of {size} bytes"
            received.update(piece)
            got, progress = got + len(piece), True
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        if not progress:
            interest = selectors.EVENT_READ | (selectors.EVENT_WRITE if pending else 0)
            selector.modify(stream, interest)
            assert selector.select(15), f"no progress for 15 s after {got} of {size} bytes"
    return sent.hexdigest(), received.hexdigest(), got


@pytest.mark.seconds(120)
@pytest.mark.parametrize("version", VERSIONS)
def test_500_connections_at_once(version):
    lab.wait_idle()
    asyncio.run(many_at_once(500, version))
    lab.wait_idle()


async def many_at_once(number, version):
    """All are connected before the first asks for anything, and all are asked at once."""
    context, expected = lab.context(version), lab.sum_of("64k")

    async def open_one():
        raw = lab.tcp_socket()
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, (lab.SERVICE, lab.TLS_PORT))
        return await asyncio.open_connection(
            sock=raw, ssl=context, server_hostname="ecdsa.sluice.test"
        )

    async def fetch(reader, writer):
        writer.write(lab.request("64k"))
        body = lab.body_of(await reader.read(-1))
        writer.close()
        return lab.sha256(body)

    connections = await asyncio.wait_for(asyncio.gather(*(open_one() for _ in range(number))), 60)
    assert lab.counters()["flows_active"] == number
    digests = await asyncio.wait_for(asyncio.gather(*(fetch(*pair) for pair in connections)), 50)
    assert digests == [expected] * number


def least_descriptors(program):
    """Without the admin connection of the command before, which control closes a moment later."""
    counts = []
    for _ in range(10):
        counts.append(lab.descriptors(program))
        time.sleep(0.05)
    return min(counts)


def held():
    """What may not grow: flows, buffers and slice nodes of the dataplane, descriptors of both
    programs."""
    now = lab.wait_idle(30)
    return {
        "flows": now["flows_active"],
        "buffers": now["buffers_in_use"],
        "nodes": now["nodes_in_use"],
        "dataplane descriptors": least_descriptors("dataplane"),
        "control descriptors": least_descriptors("control"),
    }


def one_after_another(number):
    """Half of them closed by the backend first, half by the client."""
    context, expected = lab.context(), (lab.WWW / "1k").read_bytes()
    for index in range(number):
        with context.wrap_socket(lab.connect(), server_hostname="ecdsa.sluice.test") as stream:
            backend_closes = index % 2 == 0
            stream.sendall(
                lab.request("1k", connection="close" if backend_closes else "keep-alive")
            )
            answer = b""
            while not answer.endswith(expected):
                piece = stream.recv(1 << 16)
                assert piece, f"connection {index} ended after {len(answer)} bytes"
                answer += piece
            if backend_closes:
                assert stream.recv(1) == b""


@pytest.mark.heavy
@pytest.mark.seconds(400)
def test_20000_connections_one_after_another_leave_nothing():
    one_after_another(200)
    before, resident = held(), {name: lab.resident_kib(name) for name in ("dataplane", "control")}
    opened = lab.counters()["flows_opened"]
    one_after_another(20_000)
    assert held() == before
    assert lab.counters()["flows_opened"] - opened >= 20_000
    for name, was in resident.items():
        assert lab.resident_kib(name) - was < 16 << 10, f"{name} grew from {was} KiB"
