"""What a port can have: a VLAN, several addresses of both families, listeners on each of them."""

import re

import lab
import pytest

VLAN = 7
ADDRESSES = (lab.SERVICE, "10.99.1.11", lab.SERVICE6, "fd00:99:1::11")
NOBODY = ("10.99.1.12", "fd00:99:1::12")
pytestmark = pytest.mark.restarts("control", "dataplane")
LISTENER = """
[[listener]]
name = "second-{number}"
address = "{address}"
protocol = "tls"
"""


@pytest.fixture(scope="module")
def tagged_port():
    text = lab.CONFIG.read_text()
    addresses = ", ".join(f'"{a}/{64 if ":" in a else 24}"' for a in ADDRESSES)
    text = re.sub(
        r'(?m)^addresses = \["10.99.1.10/24".*$', f"addresses = [{addresses}]\nvlan = {VLAN}", text
    )
    for number, address in enumerate(("10.99.1.11:443", "[fd00:99:1::11]:443")):
        text += LISTENER.format(number=number, address=address)
    config = lab.LAB / "tagged-port.toml"
    config.write_text(text)
    with lab.made_with("--config", config, "--impair", f"vlan={VLAN}"):
        yield


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_address_serves(tagged_port, address):
    assert lab.run_client(f"ping -c 1 -W 2 -s 1400 {address}").returncode == 0
    expected = (lab.WWW / "1m").read_bytes()
    for host in ("ecdsa.sluice.test", "six.sluice.test"):
        assert lab.fetch("1m", host, address=address) == expected


@pytest.mark.parametrize("address", NOBODY)
def test_no_other_address_answers(tagged_port, address):
    assert lab.run_client(f"ping -c 1 -W 1 {address}").returncode != 0


def test_other_vlans_are_dropped(tagged_port):
    """Without a tag, and with another one; nothing leaves without the tag."""
    assert lab.impairment()["down"]["foreign"] == 0
    for spec in ("none", f"vlan={VLAN + 1}"):
        before = lab.counters()
        lab.impair(spec)
        try:
            assert lab.run_client(f"ping -c 2 -i 0.2 -W 1 {lab.SERVICE}").returncode != 0
        finally:
            lab.impair(f"vlan={VLAN}")
        lab.wait_for(before, "drop_vlan", 2)
    lab.check_serves()
