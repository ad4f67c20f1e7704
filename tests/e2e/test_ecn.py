"""Explicit congestion notification with Linux at the other end: a queue that marks makes the sender
slower, and nothing is lost."""

import lab
import pytest

# Marks from 3 ms of queue on; the queue itself is never full. Without marks it would hold 500 KiB
# and more: what the windows allow.
LINK = "delay=2ms,rate=150mbit,queue=2m,mark=60k"
LONGEST_QUEUE = 250 << 10  # the first slow start's
pytestmark = pytest.mark.restarts("control", "dataplane")
families = pytest.mark.parametrize("family", ("-4", "-6"))


@pytest.fixture(scope="module")
def marking_link():
    with lab.made_with("--impair", LINK), lab.client_with("net.ipv4.tcp_ecn", 1):
        yield


@families
def test_our_marked_segments_slow_us_down(marking_link, family, tmp_path):
    lab.impair(LINK)  # the peak begins anew
    before, link = lab.counters(), lab.impairment()["down"]
    lab.download("10m", tmp_path / "got", options=family)
    grown, after = lab.growth(before), lab.impairment()["down"]
    assert after["marked"] > link["marked"] and after["queue_dropped"] == link["queue_dropped"]
    assert grown["tcp_ecn_reductions"] >= 2
    for name in ("tcp_retransmits", "tcp_fast_retransmits", "tcp_rto"):
        assert grown[name] == 0, name
    assert after["queue_peak_bytes"] < LONGEST_QUEUE


@families
def test_what_is_marked_on_its_way_to_us_is_told(marking_link, family):
    """Linux then sends less: its queue stays short."""
    lab.impair(LINK)
    link = lab.impairment()["up"]
    lab.upload("10m", "marked", options=family)
    after = lab.impairment()["up"]
    assert after["marked"] > link["marked"] and after["queue_dropped"] == link["queue_dropped"]
    assert after["queue_peak_bytes"] < LONGEST_QUEUE


def test_who_does_not_offer_it_is_not_marked(marking_link, tmp_path):
    link = lab.impairment()
    with lab.client_with("net.ipv4.tcp_ecn", 0):
        lab.download("1m", tmp_path / "got")
        lab.upload("1m", "unmarked")
    after = lab.impairment()
    assert all(after[way]["marked"] == link[way]["marked"] for way in ("up", "down"))
