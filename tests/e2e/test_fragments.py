"""IP fragments by raw sockets: put together within bounds, or dropped by name; nothing is kept."""

import random

import lab
import pytest
import raw

SOURCES = {"IPv4": (raw.CLIENT, lab.SERVICE), "IPv6": (raw.CLIENT6, lab.SERVICE6)}
KEPT_SECONDS = 5  # for the rest of a packet
PER_SOURCE = 8  # packets in the making
families = pytest.mark.parametrize("family", SOURCES)
dice = random.Random(11)


def syn(source, target):
    """A SYN with text: it is answered, and long enough to be cut."""
    port = dice.randrange(10_000, 60_000)
    return raw.tcp(source, target, port, lab.TLS_PORT, seq=dice.getrandbits(32), text=bytes(580))


def pieces(source, target):
    return raw.fragments(source, target, raw.TCP, syn(source, target), (200, 400))


@pytest.fixture(autouse=True)
def nothing_is_kept():
    before = lab.wait_idle()
    yield
    lab.check_serves()
    lab.check_serves(address=lab.SERVICE6)
    after = lab.wait_idle()
    assert after["buffers_in_use"] <= before["buffers_in_use"]
    assert not lab.troubles(before)


ORDERS = {
    "in order": (0, 1, 2),
    "backwards": (2, 1, 0),
    "the first one last": (1, 2, 0),
    "with duplicates": (0, 0, 1, 0, 1, 2),
}


@families
@pytest.mark.parametrize("order", ORDERS)
def test_put_together(family, order):
    made = pieces(*SOURCES[family])
    before = lab.counters()
    raw.send(*(made[index] for index in ORDERS[order]))
    lab.wait_for(before, "tcp_syn_text")
    grown = lab.growth(before, "fragments_reassembled", "tcp_syn_in")
    assert grown == {"fragments_reassembled": 1, "tcp_syn_in": 1}


def tiny(source, target):
    """The first one ends within the TCP header."""
    return raw.fragments(source, target, raw.TCP, syn(source, target), (16, 400))


def overlapping(source, target):
    text, name = syn(source, target), dice.getrandbits(16)
    return [
        raw.fragment(source, target, raw.TCP, text[begin:end], begin, end != len(text), name)
        for begin, end in ((0, 208), (200, 400), (400, len(text)))
    ]


def crooked(source, target):
    """One that is not the last has a length that is not a multiple of eight."""
    return raw.fragments(source, target, raw.TCP, syn(source, target), (201, 400))[:1]


def beyond(source, target):
    """It ends behind the largest packet that there is."""
    return [raw.fragment(source, target, raw.TCP, bytes(200), 65_528, False, dice.getrandbits(16))]


WRONG = {
    "tiny": (tiny, "drop_fragment_tiny"),
    "overlapping": (overlapping, "drop_fragment_overlap"),
    "crooked": (crooked, "drop_ip_fragment"),
    "beyond the end": (beyond, "drop_ip_fragment"),
}


@families
@pytest.mark.parametrize("what", WRONG)
def test_wrong_ones_are_dropped_by_name(family, what):
    make, counter = WRONG[what]
    before = lab.counters()
    raw.send(*make(*SOURCES[family]))
    lab.wait_for(before, counter)
    assert lab.growth(before, "fragments_reassembled") == {"fragments_reassembled": 0}


def test_of_one_source_only_few_wait_and_not_for_ever():
    """Both families at once, for the time that it takes."""
    before = lab.counters()
    for source, target in SOURCES.values():
        raw.send(*(pieces(source, target)[0] for _ in range(PER_SOURCE + 5)))
    lab.wait_for(before, "drop_fragment_limit", 2 * 5)
    lab.wait_for(before, "drop_fragment_timeout", 2 * PER_SOURCE, KEPT_SECONDS + 5)
