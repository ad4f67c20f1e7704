"""openssl s_client and gnutls-cli as movers of bytes through the echo backend.

A program reads a file and then keeps its input open, so that it does not close while the echo is on
its way; what it writes is counted and hashed behind it. All bytes go through pipes between native
programs: Python only waits.
"""

import pathlib
import re
import subprocess

import lab


class Transfer:
    """A running client whose echo is hashed. `log` has what the program says about itself."""

    def __init__(self, client, file, log, environment=""):
        size = file.stat().st_size
        self.log = pathlib.Path(log)
        script = (
            f"set -o pipefail; (cat {file}; cat) | {environment} {client} 2>>{log}"
            f" | (head -c {size} | sha256sum; cat >/dev/null)"
        )
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", "client", "bash", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def sum(self):
        """Waits until as much has come back as was sent."""
        return self.process.stdout.readline().split()[0]

    def finish(self, timeout=20):
        """Ends the input: the client says close_notify and exits. Returns its log."""
        self.process.stdin.close()
        self.process.stdin = None
        code = self.process.wait(timeout)
        said = self.log.read_text(errors="replace")
        assert code == 0, f"exit {code}\n{said[-2000:]}"
        return said

    def kill(self):
        self.process.kill()
        self.process.communicate()


def openssl(host, options):
    return (
        f"openssl s_client -connect {lab.SERVICE}:{lab.TLS_PORT} -servername {host}"
        f" -CAfile {lab.CA} -verify_hostname {host} -verify_return_error -brief {options}"
    )


def gnutls(host, log, options):
    """`log` again, since what gnutls-cli says of the session goes to the standard output."""
    return (
        f"gnutls-cli --x509cafile={lab.CA} --logfile={log} --sni-hostname={host}"
        f" --verify-hostname={host} {options} -p {lab.TLS_PORT} {lab.SERVICE}"
    )


def echoed(client, file, log):
    """Runs a client once; asserts that every byte came back; returns its log."""
    transfer = Transfer(client, file, log)
    try:
        came = transfer.sum()
        said = transfer.finish()
    finally:
        transfer.kill()
    assert came == lab.sum_of(file.name)
    return said


def openssl_session(said):
    """(version, suite) of -brief's summary."""
    version = re.search(r"Protocol version: TLSv([\d.]+)", said)
    suite = re.search(r"Ciphersuite: (\S+)", said)
    assert version and suite, said[-2000:]
    return version[1], suite[1]
