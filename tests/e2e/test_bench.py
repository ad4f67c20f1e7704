"""scripts/bench measures what it says, and refuses what it cannot."""

import json
import subprocess

import lab
import pytest


def bench(*words):
    return subprocess.run(
        [str(lab.ROOT / "scripts" / "bench"), *words],
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=100,
    )


@pytest.fixture(scope="module")
def two_links():
    with lab.made_with("--impair", "none", "--impair-direct", "none"):
        yield


@pytest.mark.heavy
def test_goodput(two_links):
    done = bench("goodput", "--loss", "0%", "--rtt", "10ms", "--spec", "rate=80mbit,queue=128k",
                 "--seconds", "2", "--runs", "1", "-o", "json")  # fmt: skip
    assert done.returncode == 0, done.stdout
    measured = json.loads(done.stdout)
    for name in ("Linux", "Sluice"):  # 10 MB/s of frames carry 9.6 MB/s of text
        assert 4e6 < measured["median"][name] < 9.7e6
    assert bench("goodput", "--seconds", "1", "--runs", "1", "--at-least", "1000").returncode == 1


@pytest.mark.heavy
def test_a_wrong_link_is_refused(two_links):
    assert bench("goodput", "--rtt", "20").returncode == 2
    refused = bench("goodput", "--loss", "1")
    assert refused.returncode == 1 and "is not a number" in refused.stdout
