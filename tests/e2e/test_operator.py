"""What an operator meets: sluicectl's commands and exit codes, and a configuration that is
refused."""

import json
import pathlib
import subprocess

import lab
import pytest

COMMANDS = ("status", "connections", "counters", "cores", "certs")


@pytest.mark.parametrize("what", COMMANDS)
def test_table_and_json(what):
    with lab.tls("echo.sluice.test"):
        table = lab.ctl("-o", "table", what)
        assert table.returncode == 0 and table.stdout.strip(), table.stderr
        described = lab.ctl("-o", "json", what)
        assert described.returncode == 0, described.stderr
        assert json.loads(described.stdout)


def test_certificates_by_name():
    listing = lab.ctl("-o", "json", "certs").stdout
    for name in ("rsa.sluice.test", "ecdsa.sluice.test", "dual.sluice.test", "*.wild.sluice.test"):
        assert name in listing


def test_wrong_usage_is_2():
    assert lab.ctl("no-such-command").returncode == 2
    assert lab.ctl("-o", "no-such-format", "status").returncode == 2


def test_unreachable_is_3(tmp_path):
    assert lab.ctl("status", admin_socket=tmp_path / "nobody.sock").returncode == 3


WRONG_CONFIGS = (
    {  # name: (text in the lab's configuration, its replacement, what the line must name)
        "unknown key": ("log_level =", "log_levle =", "log_levle"),
        "wrong type": ("handshake_threads = 1 ", 'handshake_threads = "1"', "handshake_threads"),
        "missing file": ('chain = "rsa.pem"', 'chain = "none.pem"', "none.pem"),
        "key of another certificate": ('key = "rsa.key"', 'key = "dual-rsa.key"', "key"),
        "not TOML": ("[control]", "[control", ""),
        "backend that is not there": ('backend = "echo"', 'backend = "nosuch"', "nosuch"),
    }
)


@pytest.mark.parametrize("row", WRONG_CONFIGS.values(), ids=WRONG_CONFIGS.keys())
def test_wrong_configuration_is_one_line(row):
    """One line with file:line:column, exit code 1, and the control that runs is not disturbed."""
    old, new, named = row
    text = lab.CONFIG.read_text()
    assert old in text
    wrong = lab.LAB / "e2e-wrong.toml"
    wrong.write_text(text.replace(old, new, 1))
    try:
        done = subprocess.run(
            [lab.program("sluice-control"), "--config", wrong],
            text=True,
            timeout=10,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    finally:
        wrong.unlink()
    assert done.returncode == 1, done.stdout
    lines = done.stdout.strip().splitlines()
    assert len(lines) == 1, done.stdout
    place, _, rest = lines[0].partition("e2e-wrong.toml:")
    row_and_column = rest.split(":")[:2]
    assert len(row_and_column) == 2 and all(
        part.strip().isdigit() for part in row_and_column
    ), lines[0]
    assert named in lines[0]
    lab.check_serves()


def test_a_failed_handshake_is_logged_with_its_reason():
    """Who, which name, in which phase, and why."""
    done = lab.run_client("curl -sS --cacert /dev/null https://ecdsa.sluice.test/1k")
    assert done.returncode != 0

    def told():
        lines = lab.log("control").splitlines()
        wanted = ("10.99.1.2", "ecdsa.sluice.test", "alert")
        return [line for line in lines if all(word in line.lower() for word in wanted)]

    lab.wait_until(told, 5, "a line about the refused certificate in control's log")


def test_up_twice_is_harmless():
    before = {name: lab.pid(name) for name in ("nginx", "echo", "dataplane", "control")}
    assert "is up already" in lab.command("up").stdout
    assert {name: lab.pid(name) for name in before} == before


@pytest.mark.heavy  # a sanitizer's runtime needs what control's filter denies
@pytest.mark.parametrize("name", ("dataplane", "control"))
def test_privileges_are_dropped(name):
    """Every thread: no capability that mounts, loads or traces, and a system-call filter."""
    allowed = 1 << 14  # IPC_LOCK
    if name == "dataplane":  # NET_ADMIN, NET_RAW, SYS_RAWIO, BPF
        allowed |= 1 << 12 | 1 << 13 | 1 << 17 | 1 << 39
    for status in pathlib.Path(f"/proc/{lab.pid(name)}/task").glob("*/status"):
        lines = status.read_text().splitlines()
        fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        if fields["Name"] in ("eal-intr-thread", "rte_mp_handle"):
            continue  # DPDK's own, started before anything could be dropped; under the filter too
        assert int(fields["CapEff"], 16) & ~allowed == 0, fields
        assert fields["Seccomp"] == "2", fields
