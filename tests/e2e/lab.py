"""What the end-to-end tests use of the lab: sockets in its namespaces, clients, counters,
processes.

pytest itself stays in the machine's own network namespace, where scripts/lab works. A socket
belongs to the namespace in which it was created, so `connect` enters `client` for that one call;
client programs are run through `ip netns exec`.
"""

import contextlib
import ctypes
import hashlib
import json
import os
import pathlib
import shlex
import signal
import socket
import ssl
import struct
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAB = ROOT / "build" / "lab"
WWW = LAB / "www"
PUT = LAB / "put"
CONFIG = LAB / "sluice.toml"
CA = LAB / "ca.pem"
SERVICE, SERVICE6 = "10.99.1.10", "fd00:99:1::10"
TLS_PORT, PLAIN_PORT = 443, 80
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

TCP_INFO = 11
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


# --- the lab itself


def command(*words, check=True, timeout=60):
    """scripts/lab WORDS."""
    result = subprocess.run(
        [str(ROOT / "scripts" / "lab"), *map(str, words)],
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert not check or result.returncode == 0, f"scripts/lab {words}: {result.stdout}"
    return result


@contextlib.contextmanager
def made_with(*options):
    """For the time of the block the lab is another one: `up` with these options."""
    command("down")
    try:
        command("up", *options, timeout=120)
        yield
    finally:
        command("down")
        command("up", timeout=120)


def impair(spec, at="client"):
    """What the impairment port at that place does from now on."""
    command("impair", "--at", at, spec)


def impairment(at="client"):
    """Its counters: {"up": {...}, "down": {...}}, up is away from the client."""
    return json.loads(command("impair", "--at", at).stdout)


def pid(name):
    return json.loads((LAB / "run" / f"{name}.pid").read_text())["pid"]


def running(name):
    """(pid, start time) of a program of the lab that runs, or None. Not by scripts/lab: it is asked
    around every test."""
    entry = json.loads((LAB / "run" / f"{name}.pid").read_text())
    try:
        fields = pathlib.Path(f"/proc/{entry['pid']}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    state, start_time = fields[0], fields[19]
    same = state not in "ZX" and start_time == str(entry["start_time"])
    return (entry["pid"], start_time) if same else None


def log(name):
    return (LAB / "logs" / f"{name}.log").read_text(errors="replace")


def descriptors(name):
    return len(os.listdir(f"/proc/{pid(name)}/fd"))


def resident_kib(name):
    for line in pathlib.Path(f"/proc/{pid(name)}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError(f"no VmRSS for {name}")


@contextlib.contextmanager
def stopped(name):
    """SIGSTOP for the time of the block: a program that reads nothing any more."""
    os.kill(pid(name), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid(name), signal.SIGCONT)


def build_directory():
    return pathlib.Path(json.loads((LAB / "run" / "lab.json").read_text())["build"])


def program(name):
    return next(
        path
        for path in sorted(build_directory().glob(f"**/{name}"))
        if path.is_file() and os.access(path, os.X_OK)
    )


# --- sluicectl and the counters


def ctl(*words, admin_socket=LAB / "run" / "admin.sock"):
    return subprocess.run(
        [str(program("sluicectl")), "--socket", str(admin_socket), *words],
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=20,
    )


def counters():
    """Every counter and gauge, named as in dataplane/abi/counters.def, summed over workers."""
    result = ctl("-o", "json", "counters")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["counters"]


def growth(before, *names):
    """How much these counters, or all, have grown since `before`."""
    now = counters()
    return {name: now[name] - before[name] for name in names or now}


# Counters that grow only when something inside is short or wrong, whatever comes from outside.
TROUBLES = (
    "tx_no_buffer",
    "redirect_full",
    "ring_bad_index",
    "ring_bad_message",
    "no_flow",
    "no_buffer",
    "no_node",
    "close_out_of_buffers",
    "close_bad_keys",
    "close_control_lost",
)


def troubles(before):
    """Those of them that grew since `before`."""
    now = counters()
    return {name: now[name] - before[name] for name in TROUBLES if now[name] != before[name]}


def wait_for(before, name, least=1, seconds=5):
    """Waits until that counter has grown by `least` since `before`."""
    wait_until(lambda: growth(before, name)[name] >= least, seconds, f"{name} grew by {least}")


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while True:
        last = condition()
        if last:
            return last
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def wait_idle(seconds=20):
    """Waits until no flow is left and returns the counters of that moment."""

    def idle():
        now = counters()
        return now if now["flows_active"] == 0 else None

    return wait_until(idle, seconds, "no active flow")


# --- clients


@contextlib.contextmanager
def inside(namespace):
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{namespace}") as there:
        enter(there)
        try:
            yield
        finally:
            enter(home)


def enter(namespace):
    if _libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def tcp_socket(address=SERVICE):
    """An unconnected TCP socket of the namespace `client`, of that address's family."""
    with inside("client"):
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def connect(port=TLS_PORT, timeout=15, receive_buffer=None, address=SERVICE):
    made = tcp_socket(address)
    if receive_buffer:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    made.settimeout(timeout)
    try:
        made.connect((address, port))
    except OSError:
        made.close()
        raise
    return made


def context(version=None, alpn=None):
    """A client that trusts the lab's CA and no other; `version` fixes "1.2" or "1.3"."""
    made = ssl.create_default_context(cafile=CA)
    if version:
        made.minimum_version = made.maximum_version = VERSIONS[version]
    if alpn:
        made.set_alpn_protocols(alpn)
    return made


def tls(
    host="ecdsa.sluice.test",
    version=None,
    timeout=15,
    alpn=None,
    receive_buffer=None,
    address=SERVICE,
):
    raw = connect(timeout=timeout, receive_buffer=receive_buffer, address=address)
    try:
        return context(version, alpn).wrap_socket(raw, server_hostname=host)
    except OSError:
        raw.close()
        raise


def request(file, host="ecdsa.sluice.test", connection="close"):
    return f"GET /{file} HTTP/1.1\r\nHost: {host}\r\nConnection: {connection}\r\n\r\n".encode()


def read_to_end(stream):
    pieces = []
    while piece := stream.recv(1 << 18):
        pieces.append(piece)
    return b"".join(pieces)


def body_of(answer):
    head, separator, body = answer.partition(b"\r\n\r\n")
    assert separator and head.startswith(b"HTTP/1.1 200"), answer[:200]
    return body


def fetch(file, host="ecdsa.sluice.test", version=None, timeout=15, address=SERVICE):
    """GET by HTTP/1.1 over a connection of its own; the bytes of the file."""
    with tls(host, version, timeout, address=address) as stream:
        stream.sendall(request(file, host))
        return body_of(read_to_end(stream))


def check_serves(file="1k", address=SERVICE):
    assert fetch(file, address=address) == (WWW / file).read_bytes()


@contextlib.contextmanager
def client_with(setting, value):
    """A sysctl of the namespace `client` for the time of the block."""
    before = run_client(f"sysctl -n {setting}").stdout.decode().strip()
    assert run_client(f"sysctl -qw {setting}={value}").returncode == 0
    try:
        yield
    finally:
        assert run_client(f"sysctl -qw {setting}={before}").returncode == 0


def received_mss(connection):
    """The size of the segments that came, as the kernel sees it (tcpi_rcv_mss)."""
    return struct.unpack_from("I", connection.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 24), 20)[0]


def start_client(line, **options):
    """A client program in the namespace `client`, by its command line, still running."""
    return subprocess.Popen(
        ["ip", "netns", "exec", "client", *shlex.split(line)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def run_client(line, send=b"", timeout=30, namespace="client"):
    """A client program in the namespace `client`, by its command line."""
    return subprocess.run(
        ["ip", "netns", "exec", namespace, *shlex.split(line)],
        input=send,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=timeout,
    )


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(file, to, host="ecdsa.sluice.test", timeout=60, options=""):
    """GET by curl into the file `to`; fails unless every byte came."""
    done = run_client(
        f"curl -sS --fail --cacert {CA} --http1.1 {options} -o {to} https://{host}/{file}",
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    assert sha256_of_file(to) == sum_of(file)


def upload(file, name, host="ecdsa.sluice.test", timeout=60, options=""):
    """PUT by curl; fails unless the backend has every byte."""
    done = run_client(
        f"curl -sS --fail --cacert {CA} --http1.1 {options} -T {WWW / file}"
        f" https://{host}/put/{name}",
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    assert sha256_of_file(PUT / name) == sum_of(file)
    (PUT / name).unlink()


def sum_of(file):
    for line in (WWW / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        if name == file:
            return digest
    raise AssertionError(f"no {file} in SHA256SUMS")
