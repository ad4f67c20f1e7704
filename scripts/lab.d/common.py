"""Where the lab keeps its things, and how it runs commands and reports a failed step."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAB = ROOT / "build" / "lab"
LOGS = LAB / "logs"
RUN = LAB / "run"
WWW = LAB / "www"
PUT = LAB / "put"
GENERATED_CONFIG = LAB / "sluice.toml"
TEMPLATES = pathlib.Path(__file__).resolve().parent

CLIENT_ADDRESS = "10.99.1.2"
SERVICE_ADDRESS = "10.99.1.10"
BACKEND_ADDRESS = "10.99.2.2"
CLIENT_ADDRESS6 = "fd00:99:1::2"
SERVICE_ADDRESS6 = "fd00:99:1::10"
BACKEND_ADDRESS6 = "fd00:99:2::2"
SLUICE_BACKEND_ADDRESS = "10.99.2.10"  # from where Sluice speaks to the backend
SLUICE_BACKEND_ADDRESS6 = "fd00:99:2::10"
DIRECT_ADDRESSES = {"client": "10.99.3.2", "backend": "10.99.3.3"}  # the way around Sluice
# With a router between client and Sluice: its ends, and where the client is then.
ROUTER_ADDRESS, ROUTER_ADDRESS6 = "10.99.1.1", "fd00:99:1::1"
ROUTER_FAR_ADDRESS, ROUTER_FAR_ADDRESS6 = "10.99.4.1", "fd00:99:4::1"
ROUTED_CLIENT_ADDRESS, ROUTED_CLIENT_ADDRESS6 = "10.99.4.2", "fd00:99:4::2"
HTTP_PORT, H2C_PORT, ECHO_PORT = 8080, 8081, 7
WITNESS_PORT = 9  # nobody listens there but a test that plays the backend itself
DEFAULT_MTU = 1500
MIN_MTU = 1280  # RFC 8200 5
PLACES = ("client", "backend", "direct")  # where an impairment port can stand


class StepFailed(Exception):
    """A step of `lab` that did not succeed; `log` is the file whose tail explains it."""

    def __init__(self, step, reason, log=None):
        super().__init__(f"{step}: {reason}")
        self.log = log


def run(*command, check=True, **options):
    """Runs a command to its end; a failure carries the command and what it printed."""
    command = [str(word) for word in command]
    result = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    if check and result.returncode != 0:
        raise StepFailed(" ".join(command), f"exit {result.returncode}: {result.stdout.strip()}")
    return result


def say(text):
    print(f"lab: {text}", flush=True)


def build_directory():
    return pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build" / "release")).resolve()


def binary(name):
    """The program `name` of the build in use, wherever meson put it there."""
    for found in sorted(build_directory().glob(f"**/{name}")):
        if found.is_file() and os.access(found, os.X_OK):
            return found
    raise StepFailed(
        "find programs",
        f"no {name} below {build_directory()}; build it first "
        "(scripts/quickstart does) or set SLUICE_BUILD",
    )


def log_tail(path, lines=25):
    try:
        text = pathlib.Path(path).read_text(errors="replace")
    except OSError as error:
        return f"(no log: {error})"
    return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"
