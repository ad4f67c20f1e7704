"""The lab's network: two namespaces, a veth pair to each, hugepages, and the kernel's packet door.

    namespace client            this namespace              namespace backend
    eth0 10.99.1.2/24  <---->  dp-client   dp-backend  <---->  eth0 10.99.2.2/24

The dp- ends carry no address of the kernel: their frames belong to the dataplane, which answers
for 10.99.1.10 and 10.99.2.10 itself. Every offload is off on both ends: a veth otherwise passes
frames whose checksum nobody computed, and segments of 64 KiB that fit no receive buffer.
"""

import contextlib
import json
import os
import pathlib
import shutil
import socket

from common import BACKEND_ADDRESS, CLIENT_ADDRESS, SERVICE_ADDRESS, StepFailed, run

LINKS = {"client": ("dp-client", CLIENT_ADDRESS), "backend": ("dp-backend", BACKEND_ADDRESS)}
OFFLOADS = ("tx", "rx", "gso", "gro", "tso", "sg", "rxvlan", "txvlan")
HOST_NAMES = ("rsa", "ecdsa", "dual", "a.wild", "echo")
HOSTS_MARK = "# written by scripts/lab"
HUGEPAGES = 544  # 1 GiB for the dataplane in pages of 2 MiB, and some to spare
AF_XDP = 44


def namespace_exists(name):
    return pathlib.Path("/run/netns", name).exists()


def belongs_to_lab(name):
    """True for a namespace that a lab made, whole or half: it has no address but eth0's."""
    links = json.loads(run("ip", "-n", name, "-j", "addr").stdout or "[]")
    addresses = {
        (link["ifname"], address["local"])
        for link in links
        if link["ifname"] != "lo"
        for address in link["addr_info"]
        if address["family"] == "inet"
    }
    return addresses <= {("eth0", LINKS[name][1])}


def switch_offloads_off(prefix, link):
    for feature in OFFLOADS:
        # A feature that this kernel does not let change answers with an error: nothing to do then.
        run(*prefix, "ethtool", "-K", link, feature, "off", check=False)


def make_link(name):
    host_end, address = LINKS[name]
    inside = ("ip", "netns", "exec", name)
    run("ip", "netns", "add", name)
    run("ip", "link", "add", host_end, "type", "veth", "peer", "name", "eth0", "netns", name)
    # Router solicitations of the kernel on the dataplane's wire would be noise in every counter.
    run("sysctl", "-qw", f"net.ipv6.conf.{host_end}.disable_ipv6=1", check=False)
    run("ip", "-n", name, "link", "set", "eth0", "addrgenmode", "none", check=False)
    switch_offloads_off((), host_end)
    switch_offloads_off(inside, "eth0")
    run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
    for link in ("lo", "eth0"):
        run("ip", "-n", name, "link", "set", link, "up")
    run("ip", "link", "set", host_end, "up")


def up():
    for name in LINKS:
        if namespace_exists(name) and not belongs_to_lab(name):
            raise StepFailed(
                "network", f"a network namespace '{name}' exists that is not the lab's"
            )
    down()
    for name in LINKS:
        make_link(name)
    # 20,000 connections one after another leave that many TIME_WAIT ports in this namespace.
    run("ip", "netns", "exec", "client", "sysctl", "-qw", "net.ipv4.ip_local_port_range=2048 65535")
    write_hosts()


def down():
    """Removes what is there; a namespace that is not the lab's is left alone."""
    for name, (host_end, _) in LINKS.items():
        if namespace_exists(name) and belongs_to_lab(name):
            run("ip", "netns", "del", name)
        if pathlib.Path("/sys/class/net", host_end).exists():
            run("ip", "link", "del", host_end)
    remove_hosts()


def detach_programs():
    """A dataplane that was killed leaves its XDP program on the links; the next one needs them
    free."""
    for host_end, _ in LINKS.values():
        run("ip", "link", "set", "dev", host_end, "xdp", "off", check=False)


def write_hosts():
    """`ip netns exec` shows this file as /etc/hosts, so that names resolve in the namespace."""
    directory = pathlib.Path("/etc/netns/client")
    directory.mkdir(parents=True, exist_ok=True)
    names = " ".join(f"{name}.sluice.test" for name in HOST_NAMES)
    hosts = directory / "hosts"
    if hosts.exists() and HOSTS_MARK not in hosts.read_text():
        return
    hosts.write_text(
        f"{HOSTS_MARK}; gone after 'lab down'\n127.0.0.1 localhost\n" f"{SERVICE_ADDRESS} {names}\n"
    )


def remove_hosts():
    hosts = pathlib.Path("/etc/netns/client/hosts")
    if not hosts.exists() or HOSTS_MARK not in hosts.read_text():
        return
    hosts.unlink()
    with contextlib.suppress(OSError):  # not empty: somebody else's files are in there
        hosts.parent.rmdir()
        hosts.parent.parent.rmdir()


def reserve_hugepages():
    """Returns a sentence about the dataplane's memory; the lab works without hugepages too."""
    pages = pathlib.Path("/proc/sys/vm/nr_hugepages")
    try:
        present = int(pages.read_text())
        if present < HUGEPAGES:
            pages.write_text(str(HUGEPAGES))
            present = int(pages.read_text())
    except OSError as error:
        return f"no hugepages ({error.strerror}): continuing with ordinary pages"
    if present < HUGEPAGES:
        return (
            f"only {present} of {HUGEPAGES} hugepages are to be had: continuing with what there is"
        )
    return f"{present} hugepages of 2 MiB reserved"


def driver():
    """ "af_xdp" where this kernel has it, else "af_packet"; SLUICE_LAB_DRIVER overrides."""
    forced = os.environ.get("SLUICE_LAB_DRIVER")
    if forced:
        if forced not in ("af_xdp", "af_packet"):
            raise StepFailed("network", f"SLUICE_LAB_DRIVER={forced}: af_xdp or af_packet")
        return forced
    try:
        socket.socket(AF_XDP, socket.SOCK_RAW, 0).close()
    except OSError:
        return "af_packet"
    return "af_xdp"


def device(index, name):
    """The DPDK device string of one port of the dataplane."""
    host_end = LINKS[name][0]
    if driver() == "af_packet":
        return f"net_af_packet{index},iface={host_end}"
    return f"net_af_xdp{index},iface={host_end},start_queue=0,queue_count=1,busy_budget=0"


def tools_missing():
    return [
        tool for tool in ("ip", "ethtool", "sysctl", "nginx", "openssl") if not shutil.which(tool)
    ]
