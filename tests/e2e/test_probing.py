"""Port scans, stack probing and a SYN flood from the client's network, while transfers run: nothing
is upset, and nothing is kept."""

import json
import threading

import lab
import pytest

SCANS = {  # nmap's options: the ports it must then call open, or None where that says nothing
    "SYN": ("-sS -p 1-2000", {80, 443}),
    "SYN over IPv6": ("-6 -sS -p 1-2000", {80, 443}),
    "ACK": ("-sA -p 1-2000", set()),
    "NULL": ("-sN -p 1-100,443", None),
    "FIN": ("-sF -p 1-100,443", None),
    "Xmas": ("-sX -p 1-100,443", None),
    "UDP": ("-sU -p 53,123,161,443", set()),
    "IP protocols": ("-sO -p 0-60", None),
    "window": ("-sW -p 1-100,443", None),
    "system": ("-O --osscan-guess -p 22,80,443", {80, 443}),
}
PROBES = (  # hping3's options
    "-S -p 443",
    "-A -p 443",
    "-F -p 443",
    "-R -p 443",
    "-SA -p 443",
    "-SF -p 443",
    "-SFRPAUXY -p 443",
    "-S -p 443 -d 200",
    "-S -p 443 -w 0",
    "-S -p 443 -t 0",
    "-S -p 443 -O 15",
    "-S -p 443 --tcp-timestamp",
    "-S -p 443 --badcksum",
    "-S -p 443 -s 443 -k",
    "-S -p 443 --frag -d 100",
    "-S -p 443 -a 10.99.1.10",
    "-S -p 443 -a 127.0.0.1",
    "-S -p 443 -a 224.0.0.1",
    "-S -p 443 --lsrr 10.99.1.9",
    "-S -p 443 --rroute",
    "-S -p 0",
    "-S -p ++1",
    "-2 -p 443",
    "-1 -C 8",
    "-1 -d 1400 --frag",
    "-1 -C 13",
    "-1 -C 17",
    "-1 -C 3 -K 4",
    "-1 -C 5 -K 1 --icmp-gw 10.99.1.77",
    "-0 -H 47 -d 100",
)
SYNS = 1_000_000
FLOODS_MOST = 5


class Transfers:
    """Downloads and uploads, one after the other and paced, for as long as the block lasts."""

    def __init__(self, folder):
        self.folder, self.over, self.done, self.failure = folder, threading.Event(), 0, None

    def __enter__(self):
        self.threads = [threading.Thread(target=self.repeat, args=(way,)) for way in (0, 1)]
        for thread in self.threads:
            thread.start()

    def repeat(self, way):
        try:
            while not self.over.is_set():
                if way == 0:
                    lab.download("100m", self.folder / "got", options="--limit-rate 40M")
                else:
                    lab.upload("100m", "probed", options="--limit-rate 40M")
                self.done += 1
        except (AssertionError, OSError) as error:
            self.failure = error

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(60)
        assert self.failure is None, self.failure
        assert self.done >= 2


@pytest.fixture
def undisturbed(tmp_path):
    """Transfers while the test runs; afterwards everything is as it was."""
    before = lab.wait_idle()
    with Transfers(tmp_path):
        yield
    after = lab.wait_idle()
    assert after["buffers_in_use"] <= before["buffers_in_use"]
    assert after["nodes_in_use"] <= before["nodes_in_use"]
    assert not lab.troubles(before)
    lab.check_serves()


@pytest.mark.heavy
@pytest.mark.seconds(120)
def test_nmap(undisturbed):
    for name, (options, wanted) in SCANS.items():
        address = lab.SERVICE6 if "IPv6" in name else lab.SERVICE
        done = lab.run_client(
            f"nmap -n -Pn -T5 --max-retries 1 -oG - {options} {address}", timeout=60
        )
        assert done.returncode == 0, f"{name}: {done.stderr}"
        if wanted is not None:
            assert open_ports(done.stdout.decode()) == wanted, f"{name}: {done.stdout}"


def open_ports(listing):
    """Of nmap's "grepable" output: ... Ports: 80/open/tcp//http///, 443/open/tcp//https///"""
    found = set()
    for line in listing.splitlines():
        for entry in line.partition("Ports: ")[2].split("\t")[0].split(", "):
            fields = entry.strip().split("/")
            if len(fields) > 1 and fields[1] == "open":
                found.add(int(fields[0]))
    return found


@pytest.mark.seconds(120)
def test_hping3(undisturbed):
    for options in zip(PROBES[::3], PROBES[1::3], PROBES[2::3]):  # three at once
        lines = [f"hping3 -n -q -i u1000 -c 50 {one} {lab.SERVICE}" for one in options]
        for line, running in [(line, lab.start_client(line)) for line in lines]:
            _, said = running.communicate(timeout=20)
            assert b"packets transmitted" in said, f"{line}: {said}"


def held():
    now = lab.counters()
    return {name: now[name] for name in ("flows_active", "buffers_in_use", "nodes_in_use")}


def service_mac():
    assert lab.run_client(f"ping -c 1 {lab.SERVICE}").returncode == 0
    said = lab.run_client(f"ip -j neigh show {lab.SERVICE}").stdout
    return json.loads(said)[0]["lladdr"]


@pytest.mark.heavy
@pytest.mark.seconds(120)
def test_a_million_spoofed_syns():
    """As fast as they go: what the worker's queue has no room for is lost before it. So the flood
    is repeated until a million have been answered; a client gets through all the time."""
    lab.check_serves()
    lab.wait_idle()
    before, resident, began = held(), lab.resident_kib("dataplane"), lab.counters()
    flood = (
        f"{lab.program('sluice-syn-flood')} --interface eth0 --to {lab.SERVICE}"
        f" --to-mac {service_mac()} --count {SYNS} --seconds 20"
    )
    served = 0
    for _ in range(FLOODS_MOST):
        running = lab.start_client(flood)
        while running.poll() is None:
            lab.check_serves()
            served += 1
        said, wrong = running.communicate()
        assert running.returncode == 0 and json.loads(said)["sent"] == SYNS, wrong
        if lab.counters()["tcp_syn_in"] - began["tcp_syn_in"] >= SYNS:
            break
    assert lab.counters()["tcp_syn_in"] - began["tcp_syn_in"] >= SYNS
    assert served >= 3
    lab.wait_idle()
    assert held() == before
    assert lab.resident_kib("dataplane") - resident < 256
    assert not lab.troubles(began)
    lab.check_serves()
