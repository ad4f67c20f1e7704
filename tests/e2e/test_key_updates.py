"""What happens to records and keys in long connections: key updates of both sides under load,
fragment limits, padding, record sizes, attempts to renegotiate."""

import contextlib
import fcntl
import re
import struct
import subprocess
import termios
import time

import lab
import movers
import peer
import pytest
import seals
import witness
from seals import APPLICATION_DATA

HOST, WITNESS = "old.sluice.test", "witness.sluice.test"
FILE = lab.WWW / "10m"
MAX_PLAINTEXT = 1 << 14
UPDATES = ("tls_key_updates_in", "tls_key_updates_out")


# --- key updates that the client asks for


class Typist:
    """openssl s_client with a pipe as its keyboard. A line is a command only where a read of its
    input begins with the letter, so each is written into an empty pipe and waited for."""

    def __init__(self, options, directory):
        self.errors = open(directory / "stderr", "w+b")
        self.echo = open(directory / "echo", "wb")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", "client", *movers.openssl(HOST, options).split()],
            stdin=subprocess.PIPE,
            stdout=self.echo,
            stderr=self.errors,
            bufsize=0,
        )

    def wait_until_read(self):
        def empty():
            unread = fcntl.ioctl(self.process.stdin, termios.FIONREAD, bytes(4))
            return struct.unpack("i", unread)[0] == 0

        deadline = time.monotonic() + 20
        while not empty():
            assert self.process.poll() is None and time.monotonic() < deadline, self.said()
            time.sleep(0.001)

    def type(self, data):
        self.process.stdin.write(data)

    def command(self, letter):
        self.wait_until_read()
        self.type(letter + b"\n")
        self.wait_until_read()

    def said(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def close(self):
        self.process.kill()
        self.process.communicate()
        self.errors.close()
        self.echo.close()


@contextlib.contextmanager
def typing(options, directory):
    client = Typist(options, directory)
    try:
        yield client
    finally:
        client.close()


def test_key_updates_of_openssl_under_load(tmp_path):
    """K asks for the server's update too, k does not; data runs both ways all the time."""
    before = lab.counters()
    block = b"0123456789abcdef" * 4096
    letters = (b"K", b"k") * 12
    with typing("-tls1_3", tmp_path) as client:
        for letter in letters:
            for _ in range(6):
                client.type(block)
            client.command(letter)
        client.type(block)
        expected = block * (6 * len(letters) + 1)
        sent = tmp_path / "echo"
        lab.wait_until(lambda: sent.stat().st_size >= len(expected), 20, "the echo of all of it")
        assert lab.sha256(sent.read_bytes()) == lab.sha256(expected)
        assert client.said().count("KEYUPDATE") == len(letters)
    grown = lab.growth(before, *UPDATES)
    assert grown == {"tls_key_updates_in": len(letters), "tls_key_updates_out": len(letters) // 2}


# --- other [records]


@contextlib.contextmanager
def records(lines):
    """The lab with this [records] table."""
    config = lab.LAB / "e2e-records.toml"
    config.write_text(lab.CONFIG.read_text() + f"\n[records]\n{lines}\n")
    with lab.made_with("--config", config):
        yield
    config.unlink()


EVERY = 50
BLOCK = 1024


@pytest.fixture(scope="class")
def updating():
    with records(
        f'key_update_after_records = {EVERY}\npadding = "block"\npadding_block_bytes = {BLOCK}'
    ):
        yield


@pytest.mark.restarts("dataplane", "control")
@pytest.mark.seconds(120)
@pytest.mark.heavy
class TestLowLimit:
    """A KeyUpdate of Sluice's own after every 50 records (RFC 8446 5.5), in both directions: the
    client is asked for its update when its key has seen as many. And padding to whole blocks."""

    def updates_while(self, client, file, log):
        before = lab.counters()
        movers.echoed(client, file, log)
        grown = lab.growth(before, *UPDATES)
        assert grown["tls_key_updates_out"] >= file.stat().st_size // MAX_PLAINTEXT // EVERY
        # A client answers when it writes next, and one answer is enough for all that was asked.
        assert grown["tls_key_updates_in"] >= 1
        assert not lab.troubles(before)

    @pytest.mark.parametrize(
        "suite",
        ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"),
    )
    def test_openssl(self, suite, updating, tmp_path):
        client = movers.openssl(HOST, f"-nocommands -tls1_3 -ciphersuites {suite}")
        self.updates_while(client, FILE, tmp_path / "log")

    def test_gnutls(self, updating, tmp_path):
        """1 MiB, since gnutls takes no more than eight KeyUpdates a second."""
        priority = "--priority=NORMAL:-VERS-ALL:+VERS-TLS1.3"
        client = movers.gnutls(HOST, tmp_path / "session", priority)
        self.updates_while(client, lab.WWW / "1m", tmp_path / "log")

    def test_python(self, updating):
        """The download alone, whose key updates Python's TLS follows without a word."""
        before = lab.counters()
        assert lab.sha256(lab.fetch("10m", version="1.3", timeout=40)) == lab.sum_of("10m")
        full_records = FILE.stat().st_size // MAX_PLAINTEXT
        grown = lab.growth(before, "tls_key_updates_out")
        assert grown["tls_key_updates_out"] >= full_records // EVERY

    def test_updates_stand_where_they_must(self, updating):
        """By hand: no key of either side sees more than its records, and all opens."""
        with witness.Witness() as backend, peer.Peer(WITNESS) as client:
            client.say(b"good")
            with backend.accept() as server:
                assert server.recv(4) == b"good"
                longest, count = 0, 0
                for _ in range(3 * EVERY):
                    server.sendall(b"down")
                    while client.next() != (APPLICATION_DATA, b"down"):
                        longest, count = max(longest, count), 0
                    count += 1
                    longest = max(longest, client.into.sequence)
                assert EVERY // 2 <= longest <= EVERY + 1

    @pytest.mark.parametrize("size", (1, BLOCK - 2, BLOCK - 1, BLOCK, 5000))
    def test_padding_to_blocks(self, size, updating):
        """RFC 8446 5.4: content, type and zeros together are whole blocks."""
        for inner_bytes, padding in inner_sizes(size, count=3):
            assert inner_bytes % BLOCK == 0
            assert padding < BLOCK


def inner_sizes(size, count):
    """(TLSInnerPlaintext, its padding) in bytes, of records with so much of the backend's data."""
    with witness.Witness() as backend, peer.Peer(WITNESS) as client:
        client.say(b"good")
        with backend.accept() as server:
            assert server.recv(4) == b"good"
            for _ in range(count):
                server.sendall(bytes(size))
                left = size
                while left:
                    kind, plaintext = client.next()
                    if kind == APPLICATION_DATA:
                        left -= len(plaintext)
                        yield len(client.last_record) - 5 - seals.TAG_BYTES, client.padding


@pytest.fixture(scope="class")
def random_padding():
    with records('padding = "random"\npadding_random_bytes = 200\ndynamic_size = false'):
        yield


@pytest.mark.restarts("dataplane", "control")
@pytest.mark.seconds(120)
@pytest.mark.heavy
class TestRandomPadding:
    def test_lengths_differ_within_their_bound(self, random_padding):
        found = [padding for _, padding in inner_sizes(100, count=60)]
        assert max(found) <= 200 and len(set(found)) > 20

    def test_bulk(self, random_padding, tmp_path):
        client = movers.openssl(HOST, "-nocommands -tls1_3")
        movers.echoed(client, FILE, tmp_path / "log")

    def test_full_records_from_the_start(self, random_padding):
        """dynamic_size = false."""
        assert max(sizes_of_records(1 << 16)[:4]) > MAX_PLAINTEXT // 2


# --- sizes of records


def sizes_of_records(count, pause=0.0):
    """Plaintext bytes of each record of a download of so many bytes; with a pause, of a second one
    behind it."""
    sizes = []
    with witness.Witness() as backend, peer.Peer(WITNESS) as client:
        client.say(b"good")
        with backend.accept() as server:
            assert server.recv(4) == b"good"
            for wait in (0.0, pause) if pause else (0.0,):
                time.sleep(wait)
                server.sendall(bytes(count))
                left = count
                while left:
                    kind, plaintext = client.next()
                    if kind == APPLICATION_DATA:
                        sizes.append(len(plaintext))
                        left -= len(plaintext)
    return sizes


def test_small_records_first_and_after_idle():
    """One segment each for the first 64 KiB, then full ones, then small ones again."""
    mss, ramp, count = 1448, 64 * 1024, 300_000
    sizes = sizes_of_records(count, pause=1.5)
    second = next(i for i in range(len(sizes)) if sum(sizes[: i + 1]) == count) + 1
    for burst in (sizes[:second], sizes[second:]):
        first_large = next(i for i, size in enumerate(burst) if size > mss)
        assert ramp - mss < sum(burst[:first_large]) <= ramp + mss
        assert max(burst) > 4 * mss
        assert all(size + 5 + 1 + seals.TAG_BYTES <= mss for size in burst[:first_large])


def lengths_received(messages):
    """Lengths of the application data records that came, from -msg's dump of their headers."""
    headers = re.findall(r"<<< .*RecordHeader.*\n    17 03 03 (\w\w) (\w\w)", messages)
    return [int(high + low, 16) for high, low in headers]


@pytest.mark.parametrize("limit", (512, 1024, 2048, 4096))
@pytest.mark.parametrize(
    "version, overhead", (("-tls1_3", 17), ("-tls1_2", 24)), ids=("1.3", "1.2")
)
def test_max_fragment_length(limit, version, overhead, tmp_path):
    """RFC 6066 4. The default host's suite in TLS 1.2 is one with AES-GCM."""
    options = f"-nocommands {version} -maxfraglen {limit} -msg -msgfile {tmp_path / 'messages'}"
    movers.echoed(movers.openssl("echo.sluice.test", options), lab.WWW / "1m", tmp_path / "log")
    lengths = lengths_received((tmp_path / "messages").read_text())
    assert len(lengths) >= (1 << 20) // limit
    assert max(lengths) == limit + overhead


def downloaded_by_gnutls(options, directory):
    """(the answer to a request for 1 MiB, what gnutls-cli said of records). A download, since
    gnutls-cli loses what it reads beyond the limit it asks for."""
    with open(directory / "said", "wb") as said:
        client = subprocess.Popen(
            ["ip", "netns", "exec", "client"]
            + movers.gnutls("ecdsa.sluice.test", directory / "session", options).split(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
        )
    try:
        client.stdin.write(lab.request("1m"))
        client.stdin.flush()
        return client.stdout.read(), (directory / "said").read_text(errors="replace")
    finally:
        client.kill()
        client.communicate()


@pytest.mark.parametrize("limit", (600, 1000, 2000))
@pytest.mark.parametrize("version, overhead", (("1.3", 17), ("1.2", 24)), ids=("1.3", "1.2"))
def test_record_size_limit(limit, version, overhead, tmp_path):
    """RFC 8449, which gnutls offers; in TLS 1.3 its limit counts the inner type as well."""
    priority = f"NORMAL:-VERS-ALL:+VERS-TLS{version}:-CIPHER-ALL:+AES-128-GCM"
    options = f"--priority={priority} --recordsize={limit} -d 5"
    answer, said = downloaded_by_gnutls(options, tmp_path)
    assert lab.body_of(answer) == (lab.WWW / "1m").read_bytes()
    received = r"Received Packet Application Data\(23\) with length: (\d+)"
    lengths = [int(length) for length in re.findall(received, said)]
    assert len(lengths) >= (1 << 20) // limit
    assert max(lengths) == limit + overhead


# --- renegotiation


def test_openssl_tries_to_renegotiate(tmp_path):
    """R in s_client: no_renegotiation makes OpenSSL give up by a fatal alert of its own."""
    before = lab.counters()
    with typing("-tls1_2", tmp_path) as client:
        client.type(b"data" * 1000)
        lab.wait_until(lambda: (tmp_path / "echo").stat().st_size == 4000, 10, "the echo")
        client.command(b"R")
        lab.wait_until(lambda: client.process.poll() is not None, 10, "s_client's end")
        assert "no renegotiation" in client.said()
    lab.wait_for(before, "tls_renegotiations_refused")
    lab.wait_for(before, "close_client_alert")
    lab.check_serves()
