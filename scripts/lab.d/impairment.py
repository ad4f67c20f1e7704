"""The impairment ports: sluice-impair between two ends of a place, changed by a file and SIGHUP,
asked for its counters by SIGUSR1."""

import json
import signal
import time

import network
import process
from common import LOGS, RUN, StepFailed, binary

READY_SECONDS = 20
ANSWER_SECONDS = 3


def name_of(place):
    return f"impair-{place}"


def spec_file(place):
    return RUN / f"impair-{place}.spec"


def log_of(place):
    return LOGS / f"{name_of(place)}.log"


def start(place, spec, core):
    ends = network.impairment_ends(place)
    network.detach_programs(ends)
    spec_file(place).write_text(spec + "\n")
    command = [binary("sluice-impair"), "--spec-file", spec_file(place), "--core", core]
    for option, index, end in zip(("--first", "--second"), range(2), ends):
        command += [option, network.device(index, end)]
    process.start(name_of(place), command)
    process.wait_ready(
        name_of(place),
        lambda: "sluice-impair: forwarding" in log_of(place).read_text(),
        "its first frame",
        READY_SECONDS,
    )


def ask(place, number):
    """Sends a signal and returns the line that the program adds to its log for it."""
    entry = process.running(name_of(place))
    if entry is None:
        raise StepFailed("impair", f"there is no impairment port at '{place}'; 'lab up --impair'")
    with open(log_of(place)) as log:
        log.seek(0, 2)
        process.signal_exactly(entry["pid"], entry["start_time"], number)
        deadline, said = time.monotonic() + ANSWER_SECONDS, ""
        while not said.endswith("\n"):
            if time.monotonic() > deadline:
                raise StepFailed("impair", f"{name_of(place)} does not answer", log_of(place))
            time.sleep(0.005)
            said += log.read()
    return said.splitlines()[0]


def change(place, spec):
    before = spec_file(place).read_text() if spec_file(place).exists() else "none\n"
    spec_file(place).write_text(spec + "\n")
    answer = ask(place, signal.SIGHUP)
    if "new spec" not in answer:
        spec_file(place).write_text(before)
        raise StepFailed("impair", answer.removeprefix("sluice-impair: "))


def counters(place):
    return json.loads(ask(place, signal.SIGUSR1))
