"""The lab's processes: started detached, recorded in run/NAME.pid, and killed by that record
alone.

A record holds the pid, the kernel's start time of that process and the config it runs with. A pid
alone could by now be somebody else's; pid and start time together name one process for ever.
Signals go through a pidfd that was opened before the start time was compared, so that no reuse
can slip in between.
"""

import json
import os
import pathlib
import signal
import subprocess
import time

from common import LAB, LOGS, RUN, StepFailed

GONE = -1
STOP_SECONDS = 5.0
MARK = "SLUICE_LAB"  # in the environment of everything a lab starts


def start_time(pid):
    """Field 22 of /proc/PID/stat, in clock ticks since boot; GONE for a process that has ended."""
    try:
        fields = pathlib.Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return GONE
    return GONE if fields[0] in "ZX" else int(fields[19])


def record(name):
    try:
        return json.loads((RUN / f"{name}.pid").read_text())
    except (OSError, ValueError):
        return None


def running(name):
    """The record of the live process NAME, or None."""
    entry = record(name)
    alive = entry and is_alive(entry["pid"], entry["start_time"])
    return entry if alive else None


def is_alive(pid, expected_start_time):
    # A program that ended before its start time was read is recorded as GONE.
    return expected_start_time != GONE and start_time(pid) == expected_start_time


def start(name, command, config=None, environment=None, append=False):
    LOGS.mkdir(parents=True, exist_ok=True)
    RUN.mkdir(parents=True, exist_ok=True)
    with open(LOGS / f"{name}.log", "a" if append else "w") as log:
        child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env={**os.environ, MARK: str(LAB), **(environment or {})},
        )
    entry = {
        "pid": child.pid,
        "start_time": start_time(child.pid),
        "config": str(config) if config else None,
    }
    part = RUN / f"{name}.pid.part"
    part.write_text(json.dumps(entry) + "\n")
    part.rename(RUN / f"{name}.pid")
    return child


def wait_ready(name, ready, what, seconds):
    """Waits until `ready()` is true while NAME lives; otherwise fails with the tail of its log."""
    deadline = time.monotonic() + seconds
    log = LOGS / f"{name}.log"
    while not ready():
        if running(name) is None:
            raise StepFailed(f"start {name}", "it exited", log)
        if time.monotonic() > deadline:
            raise StepFailed(f"start {name}", f"{what} did not come in {seconds:g} s", log)
        time.sleep(0.02)


def signal_exactly(pid, expected_start_time, number):
    """Sends a signal to the process that pid and start time name; False when it is gone."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if not is_alive(pid, expected_start_time):
            return False
        signal.pidfd_send_signal(fd, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)


def wait_gone(pid, expected_start_time, seconds):
    deadline = time.monotonic() + seconds
    while is_alive(pid, expected_start_time):
        if time.monotonic() > deadline:
            return False
        reap(pid)
        time.sleep(0.02)
    return True


def reap(pid):
    """A process that this very command started stays a zombie until its end is taken note of."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass


def stop(name, force=False):
    """SIGTERM, and SIGKILL after five seconds (at once with `force`). True when it was running."""
    entry = record(name)
    if entry is None:
        return False
    pid, began = entry["pid"], entry["start_time"]
    was_running = signal_exactly(pid, began, signal.SIGKILL if force else signal.SIGTERM)
    if was_running and not wait_gone(pid, began, STOP_SECONDS):
        print(f"lab: {name} did not stop in {STOP_SECONDS:g} s: killing it", flush=True)
        signal_exactly(pid, began, signal.SIGKILL)
        if not wait_gone(pid, began, STOP_SECONDS):
            raise StepFailed(
                f"stop {name}", f"process {pid} survives SIGKILL", LOGS / f"{name}.log"
            )
    (RUN / f"{name}.pid").unlink(missing_ok=True)
    return was_running


def ancestors():
    """This process and those it descends from: emptying a namespace must not end the caller."""
    chain, pid = set(), os.getpid()
    while pid > 1:
        chain.add(pid)
        try:
            stat = pathlib.Path("/proc", str(pid), "stat").read_text()
        except OSError:
            break
        pid = int(stat.rpartition(")")[2].split()[1])
    return chain


def end_leftovers(namespaces):
    """Ends what the records do not name: workers of a killed nginx, an `exec` left behind, children
    of a crashed program, or everything when the records themselves were deleted."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        found = leftovers(namespaces)
        for pid, began in found:
            signal_exactly(pid, began, number)
        for pid, began in found:
            wait_gone(pid, began, 2.0)


def leftovers(namespaces):
    """(pid, start time) of every process that lives in one of the lab's namespaces or carries its
    mark."""
    inodes = {
        there.st_ino
        for there in map(stat_or_none, (f"/run/netns/{n}" for n in namespaces))
        if there
    }
    mark = f"{MARK}={LAB}".encode()
    found, spared = [], ancestors()
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in spared:
            continue
        began = start_time(int(entry.name))
        there = stat_or_none(entry / "ns" / "net")
        try:
            marked = mark in (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            marked = False
        if began != GONE and (marked or (there and there.st_ino in inodes)):
            found.append((int(entry.name), began))
    return found


def stat_or_none(path):
    try:
        return os.stat(path)
    except OSError:
        return None
