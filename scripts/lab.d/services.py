"""The processes of the lab - two plain backends, impairment ports where there are any, the
dataplane, control - and the proof that they serve."""

import json
import os
import pathlib
import resource
import subprocess
import tomllib

import impairment
import material
import network
import process
from common import (
    DEFAULT_MTU,
    ECHO_PORT,
    GENERATED_CONFIG,
    HTTP_PORT,
    LAB,
    LOGS,
    PLACES,
    RUN,
    TEMPLATES,
    StepFailed,
    binary,
    build_directory,
    run,
)

IMPAIRMENTS = {impairment.name_of(place): place for place in PLACES}
ORDER = ("nginx", "echo", *IMPAIRMENTS, "dataplane", "control")
READY_SECONDS = 20
STATE = RUN / "lab.json"


def state():
    """What the present `up` was made with: config, build, driver, MTU and the impairment ports'
    specs; empty when there is none."""
    try:
        return json.loads(STATE.read_text())
    except (OSError, ValueError):
        return {}


def remember(config, specs, mtu, router):
    RUN.mkdir(parents=True, exist_ok=True)
    made_with = {
        "config": str(config),
        "build": str(build_directory()),
        "driver": network.driver(),
        "mtu": mtu,
        "router": router,
        "impair": specs,
    }
    STATE.write_text(json.dumps(made_with) + "\n")


def remember_spec(place, spec):
    have = state()
    remember(have["config"], {**have["impair"], place: spec}, have["mtu"], have["router"])


def specs():
    return state().get("impair", {})


def mtu():
    return state().get("mtu", DEFAULT_MTU)


def wanted():
    """The processes that this lab consists of, in the order of their start."""
    return [name for name in ORDER if name not in IMPAIRMENTS or IMPAIRMENTS[name] in specs()]


def parsed(config):
    """The config as a dict, or {} when it is not TOML: then the programs themselves say what is
    wrong."""
    try:
        return tomllib.loads(pathlib.Path(config).read_text())
    except (OSError, ValueError):
        return {}


def socket_path(config, section, key, default):
    value = parsed(config).get(section, {}).get(key, default)
    return pathlib.Path(config).parent / str(value)


def identity(path):
    """Tells a socket that was just made from one that a killed process left behind."""
    try:
        there = os.stat(path)
    except OSError:
        return None
    return there.st_ino, there.st_ctime_ns


def raise_limits():
    """Thousands of connections need descriptors and locked memory; what may not be raised stays."""
    for limit, wanted in (
        (resource.RLIMIT_NOFILE, None),
        (resource.RLIMIT_MEMLOCK, resource.RLIM_INFINITY),
    ):
        _, hard = resource.getrlimit(limit)
        try:
            resource.setrlimit(limit, (hard if wanted is None else wanted,) * 2)
        except (OSError, ValueError):
            resource.setrlimit(limit, (hard, hard))


def listens(namespace, port):
    listing = run(*network.in_namespace(namespace), "ss", "-Hltn", f"sport = :{port}").stdout
    return bool(listing.strip())


def start_backend(name):
    command, port = {
        "nginx": (("nginx", "-p", LAB, "-c", LAB / "nginx.conf", "-e", "stderr"), HTTP_PORT),
        "echo": (
            ("/usr/bin/python3", TEMPLATES / "echo_server.py", ECHO_PORT),
            ECHO_PORT,
        ),
    }[name]
    process.start(name, (*network.in_namespace("backend"), *command))
    process.wait_ready(name, lambda: listens("backend", port), f"its port {port}", READY_SECONDS)


def start_program(name, config, append=False):
    """Starts sluice-dataplane or sluice-control and waits for its socket."""
    section, key, default, program = {
        "dataplane": ("dataplane", "control_socket", "run/dataplane.sock", "sluice-dataplane"),
        "control": ("control", "admin_socket", "run/admin.sock", "sluice-control"),
    }[name]
    path = socket_path(config, section, key, default)
    path.parent.mkdir(parents=True, exist_ok=True)
    before = identity(path)
    if name == "dataplane":
        network.detach_programs(host_end for host_end, _ in network.LINKS.values())
    # One way of loading the XDP program everywhere: libxdp's dispatcher wants a bpffs and locked
    # memory, and leaves pins behind a killed process.
    process.start(
        name,
        (binary(program), "--config", config),
        config=config,
        environment={"LIBXDP_SKIP_DISPATCHER": "1"},
        append=append,
    )
    process.wait_ready(
        name, lambda: identity(path) not in (None, before), f"its socket {path}", READY_SECONDS
    )


def start(name, config, append=False):
    if name in ("nginx", "echo"):
        start_backend(name)
    elif name in IMPAIRMENTS:
        place = IMPAIRMENTS[name]
        impairment.start(place, specs()[place], material.processors()[0])
    else:
        start_program(name, config, append)


def probe_target(config):
    """(kind, address, port, SNI) of the first listener and the default host."""
    tables = parsed(config)
    listeners = tables.get("listener", [])
    chosen = next((l for l in listeners if l.get("protocol", "tls") == "tls"), None)
    if chosen is None:
        chosen = next(iter(listeners), None)
    if chosen is None:
        raise StepFailed("TLS handshake", f"{config} has no [[listener]]")
    address, _, port = str(chosen["address"]).rpartition(":")
    hosts = tables.get("host", [])
    host = next((h for h in hosts if h.get("default")), hosts[0] if hosts else {})
    name = str(next(iter(host.get("names", [])), "probe.sluice.test")).replace("*", "probe")
    return chosen.get("protocol", "tls"), address, port, name


def probe(config, attempts=10):
    """A handshake from the namespace `client`; with the lab's own config its certificate is
    verified too."""
    kind, address, port, name = probe_target(config)
    if kind == "tls":
        command = [
            "openssl",
            "s_client",
            "-connect",
            f"{address}:{port}",
            "-servername",
            name,
            "-brief",
        ]
        if pathlib.Path(config) == GENERATED_CONFIG:
            command += [
                "-CAfile",
                str(LAB / "ca.pem"),
                "-verify_return_error",
                "-verify_hostname",
                name,
            ]
    else:
        reach = f"import socket; socket.create_connection(({address!r}, {port}), 2).close()"
        command = ["/usr/bin/python3", "-c", reach]
    said = ""
    for _ in range(attempts):
        try:
            result = run("ip", "netns", "exec", "client", *command, check=False, timeout=2)
        except subprocess.TimeoutExpired:
            said = "no answer within 2 s"
            continue
        if result.returncode == 0:
            return f"{kind} handshake with {name} at {address}:{port}"
        said = result.stdout.strip()
    raise StepFailed(
        "TLS handshake",
        f"namespace client -> {address}:{port} ({name}): {said}",
        [LOGS / "dataplane.log", LOGS / "control.log"],
    )


def all_running():
    return all(process.running(name) for name in wanted())


def own_namespaces():
    return [
        name
        for name in network.NAMESPACES
        if network.namespace_exists(name) and network.belongs_to_lab(name)
    ]


def any_remains():
    return (
        any(process.record(name) for name in ORDER)
        or bool(own_namespaces())
        or bool(process.leftovers([]))
    )


def take_down():
    """Ends everything an `up` made, whole or half made, running or crashed."""
    stopped = [name for name in reversed(ORDER) if process.stop(name)]
    process.end_leftovers(own_namespaces())
    network.down()
    for place in PLACES:
        impairment.spec_file(place).unlink(missing_ok=True)
    STATE.unlink(missing_ok=True)
    return stopped
