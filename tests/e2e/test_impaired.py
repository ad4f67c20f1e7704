"""Linux's TCP and Sluice's over an impaired link: every byte arrives unchanged, whatever the link
does to the packets."""

import asyncio

import lab
import pytest

# Half a millisecond each way, so that a transfer takes seconds; the dice are seeded.
LINK = "delay=500us,seed=7"
CONDITIONS = {  # what is done, and the link's counters that show it
    "loss": ("loss=0.1%,burst=0.01%/30%", ("lost", "lost_in_burst")),
    "reordering": ("reorder=1%/500us", ("reordered",)),
    "duplication": ("duplicate=1%", ("duplicated",)),
    "corruption": ("corrupt=0.1%", ("corrupted",)),
    "everything": (
        "jitter=100us,loss=0.05%,burst=0.005%/30%,reorder=0.5%/500us,duplicate=0.5%,corrupt=0.05%",
        ("lost", "lost_in_burst", "reordered", "duplicated", "corrupted"),
    ),
}
MTUS = (1500, pytest.param(1400, marks=pytest.mark.heavy), 1280)
FAMILIES = (("-4", "ecdsa.sluice.test"), ("-6", "six.sluice.test"))


@pytest.fixture(scope="module", params=MTUS)
def mtu(request):
    """The lab with an impairment port at the client and this MTU everywhere."""
    with lab.made_with("--impair", "none", "--mtu", request.param):
        yield request.param


class Impaired:
    """The link does this for the time of the block; afterwards it must have done it, both ways, and
    nothing may be left in Sluice."""

    def __init__(self, spec, shown, at="client"):
        self.spec, self.shown, self.at = spec, shown, at

    def __enter__(self):
        self.counters, self.before = lab.wait_idle(), lab.impairment(self.at)
        lab.impair(f"{LINK},{self.spec}", self.at)

    def __exit__(self, kind, *_):
        lab.impair("none", self.at)
        if kind is not None:
            return
        after = lab.impairment(self.at)
        for way in ("up", "down"):
            for name in self.shown:
                assert after[way][name] > self.before[way][name], f"nothing was {name} {way}"
        assert lab.wait_idle()["buffers_in_use"] <= self.counters["buffers_in_use"]
        assert not lab.troubles(self.counters)


@pytest.mark.heavy
@pytest.mark.seconds(120)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_100_mib_each_way(mtu, condition, tmp_path):
    with Impaired(*CONDITIONS[condition]):
        lab.download("100m", tmp_path / "got", timeout=55)
        lab.upload("100m", "impaired", timeout=55)


@pytest.mark.parametrize("family, host", FAMILIES, ids=("IPv4", "IPv6"))
def test_1_mib_each_way(mtu, family, host, tmp_path):
    hard = "loss=1%,burst=0.1%/30%,reorder=3%/500us,duplicate=3%,corrupt=1%"
    with Impaired(hard, ("lost", "lost_in_burst", "reordered", "duplicated", "corrupted")):
        for _ in range(3):
            lab.download("1m", tmp_path / "got", host, options=family)
            lab.upload("1m", "impaired", host, options=family)


def test_a_wrong_spec_changes_nothing(mtu):
    lab.impair("delay=1ms,seed=3")
    for spec, reason in (("loss=1", "is not a number"), ("lag=1ms", "unknown key 'lag'")):
        refused = lab.command("impair", spec, check=False)
        assert refused.returncode == 1 and reason in refused.stdout
    assert "impair-client: delay=1ms,seed=3\n" in lab.command("status").stdout
    lab.check_serves()


def test_connections_begin_and_end(mtu):
    """Handshakes and closes are the packets that nobody repeats early: many short connections over
    a bad link."""
    bad = "loss=3%,reorder=5%/2ms,duplicate=5%,corrupt=1%"
    with Impaired(bad, ("lost", "reordered", "duplicated", "corrupted")):
        digests = asyncio.run(fetch_many(100))
    assert digests == [lab.sum_of("64k")] * 100


@pytest.mark.heavy
def test_10_mib_each_way_over_ipv6(mtu, tmp_path):
    spec, shown = CONDITIONS["everything"]
    with Impaired(spec, shown):
        lab.download("10m", tmp_path / "got", "six.sluice.test", options="-6")
        lab.upload("10m", "impaired", "six.sluice.test", options="-6")


@pytest.mark.restarts("control", "dataplane")
@pytest.mark.heavy
@pytest.mark.seconds(120)
def test_100_mib_each_way_on_the_backends_side(tmp_path):
    """There Sluice is the one that connects, and its receiver is the one that feeds TLS."""
    spec, shown = CONDITIONS["everything"]
    with lab.made_with("--impair-backend", "none"), Impaired(spec, shown, at="backend"):
        lab.download("100m", tmp_path / "got", timeout=55)
        lab.upload("100m", "impaired", timeout=55)


async def fetch_many(number):
    context = lab.context()

    async def fetch():
        raw = lab.tcp_socket()
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, (lab.SERVICE, lab.TLS_PORT))
        reader, writer = await asyncio.open_connection(
            sock=raw, ssl=context, server_hostname="ecdsa.sluice.test"
        )
        writer.write(lab.request("64k"))
        body = lab.body_of(await reader.read(-1))
        writer.close()
        return lab.sha256(body)

    return await asyncio.wait_for(asyncio.gather(*(fetch() for _ in range(number))), 45)
