"""The lab's network: two namespaces, veth pairs, hugepages, and the kernel's packet door.

    namespace client            this namespace              namespace backend
    eth0 10.99.1.2/24  <---->  dp-client   dp-backend  <---->  eth0 10.99.2.2/24
         fd00:99:1::2/64                                            fd00:99:2::2/64

The dp- ends carry no address of the kernel: their frames belong to the dataplane, which answers
for 10.99.1.10 and 10.99.2.10 itself. Every offload is off on both ends: a veth otherwise passes
frames whose checksum nobody computed, and segments of 64 KiB that fit no receive buffer.

With a router (`--router MTU`) the client is at 10.99.4.2 and fd00:99:4::2, and between it and Sluice
lies a namespace that forwards, and says by ICMP what is larger than MTU, in both directions:

    client eth0 <---> eth1 10.99.4.1  router  10.99.1.1 eth0 <---> dp-client

An impairment port stands between two more ends, im-PLACE-a and im-PLACE-b; its "up" is from a to b:

    client   eth0 <---> im-client-a | im-client-b <---> dp-client
    backend  dp-backend <---> im-backend-a | im-backend-b <---> eth0
    direct   eth1 10.99.3.2 <---> im-direct-a | im-direct-b <---> eth1 10.99.3.3: around Sluice
"""

import contextlib
import ipaddress
import json
import os
import pathlib
import shutil
import socket

from common import (
    BACKEND_ADDRESS,
    BACKEND_ADDRESS6,
    CLIENT_ADDRESS,
    CLIENT_ADDRESS6,
    DIRECT_ADDRESSES,
    PLACES,
    ROUTED_CLIENT_ADDRESS,
    ROUTED_CLIENT_ADDRESS6,
    ROUTER_ADDRESS,
    ROUTER_ADDRESS6,
    ROUTER_FAR_ADDRESS,
    ROUTER_FAR_ADDRESS6,
    SERVICE_ADDRESS,
    SERVICE_ADDRESS6,
    StepFailed,
    run,
)

NAMESPACES = ("client", "router", "backend")
LINKS = {"client": ("dp-client", CLIENT_ADDRESS), "backend": ("dp-backend", BACKEND_ADDRESS)}
ADDRESSES6 = {"client": CLIENT_ADDRESS6, "backend": BACKEND_ADDRESS6}
OFFLOADS = ("tx", "rx", "gso", "gro", "tso", "sg", "rxvlan", "txvlan")
ROUTER_ADDRESSES = (("eth0", ROUTER_ADDRESS), ("eth1", ROUTER_FAR_ADDRESS))
OWN_ADDRESSES = {  # (interface, IPv4 address) by which a lab's namespace is known
    "client": {
        ("eth0", CLIENT_ADDRESS),
        ("eth0", ROUTED_CLIENT_ADDRESS),
        ("eth1", DIRECT_ADDRESSES["client"]),
    },
    "router": set(ROUTER_ADDRESSES),
    "backend": {("eth0", BACKEND_ADDRESS), ("eth1", DIRECT_ADDRESSES["backend"])},
}
HOST_NAMES = ("rsa", "ecdsa", "dual", "a.wild", "echo", "six", "old", "witness")
HOSTS_MARK = "# written by scripts/lab"
HUGEPAGES = 544  # 1 GiB for the dataplane in pages of 2 MiB, and some to spare
AF_XDP = 44
# What most servers and clients have. It is a property of the routes: a namespace may not choose as
# its default what the machine does not allow to everybody.
CONGESTION_CONTROL = "cubic"
# In both namespaces: nothing learned about a path in one run helps the next; nothing on the wire
# that nobody asked for.
SYSCTLS = (
    "net.ipv4.tcp_no_metrics_save=1",
    "net.ipv6.conf.default.accept_ra=0",
    "net.ipv6.conf.default.router_solicitations=0",
    "net.ipv6.conf.default.accept_dad=0",
)
# 20,000 connections one after another leave that many TIME_WAIT ports in this namespace.
CLIENT_SYSCTLS = ("net.ipv4.ip_local_port_range=2048 65535",)
ROUTER_SYSCTLS = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
# Of IPv4 and IPv6 a client of the lab takes IPv4 unless it is told otherwise, so that a test says
# which it means.
ADDRESS_ORDER = "precedence ::ffff:0:0/96 100\n"


def namespace_exists(name):
    return pathlib.Path("/run/netns", name).exists()


def belongs_to_lab(name):
    """True for a namespace that a lab made, whole or half: it has no address but the lab's."""
    links = json.loads(run("ip", "-n", name, "-j", "addr").stdout or "[]")
    addresses = {
        (link["ifname"], address["local"])
        for link in links
        if link["ifname"] != "lo"
        for address in link["addr_info"]
        if address["family"] == "inet"
    }
    return addresses <= OWN_ADDRESSES[name]


def impairment_ends(place):
    return f"im-{place}-a", f"im-{place}-b"


def host_ends():
    """Every interface of this namespace that a lab may have made."""
    ends = [host_end for host_end, _ in LINKS.values()]
    return ends + [end for place in PLACES for end in impairment_ends(place)]


def in_namespace(name):
    return ("ip", "netns", "exec", name)


def switch_offloads_off(prefix, link):
    for feature in OFFLOADS:
        # A feature that this kernel does not let change answers with an error: nothing to do then.
        run(*prefix, "ethtool", "-K", link, feature, "off", check=False)


def set_up(link, mtu, namespace=None):
    """Offloads off, MTU, up. An end in this namespace belongs to a program: the kernel's IPv6 has
    nothing to say there, it would be noise in every counter."""
    prefix = in_namespace(namespace) if namespace else ()
    switch_offloads_off(prefix, link)
    if namespace is None:
        run("sysctl", "-qw", f"net.ipv6.conf.{link}.disable_ipv6=1", check=False)
    run(*prefix, "ip", "link", "set", link, "mtu", mtu, "up")


def make_namespace(name):
    run("ip", "netns", "add", name)
    more = {"client": CLIENT_SYSCTLS, "router": ROUTER_SYSCTLS}
    for setting in SYSCTLS + more.get(name, ()):
        run(*in_namespace(name), "sysctl", "-qw", setting)
    run("ip", "-n", name, "link", "set", "lo", "up")


def add_address(namespace, link, address, mtu=None):
    """An address and the route to its network; a route of our own for the congestion control, and
    for an MTU that is not the interface's."""
    own = ipaddress.ip_interface(address)
    family = f"-{own.version}"
    options = ["nodad"] if own.version == 6 else []
    run("ip", "-n", namespace, "addr", "add", address, "dev", link, "noprefixroute", *options)
    route = ("route", "add", own.network, "dev", link, "src", own.ip)
    smaller = ("mtu", "lock", mtu) if mtu else ()
    run("ip", "-n", namespace, family, *route, "congctl", CONGESTION_CONTROL, *smaller)


def make_link(name, namespace, impaired, mtu):
    """The namespace's eth0 and its way to the dataplane's end."""
    own_end, _ = LINKS[name]
    near, far = own_end, None
    if impaired:
        # The end on the namespace's side of the impairment port, and the one on Sluice's.
        near, far = impairment_ends(name) if name == "client" else impairment_ends(name)[::-1]
        run("ip", "link", "add", far, "type", "veth", "peer", "name", own_end)
    run("ip", "link", "add", near, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    for link in filter(None, (near, far, own_end if impaired else None)):
        set_up(link, mtu)
    set_up("eth0", mtu, namespace)


def add_own_addresses(name):
    add_address(name, "eth0", f"{LINKS[name][1]}/24")
    add_address(name, "eth0", f"{ADDRESSES6[name]}/64")


def make_routed_client(mtu, router_mtu):
    """The interfaces carry `mtu`, and so both ends announce it; the router forwards less, in both
    directions."""
    run("ip", "-n", "router", "link", "add", "eth1", "type", "veth", "peer", "name", "eth0",
        "netns", "client")  # fmt: skip
    for namespace, link in (("router", "eth1"), ("client", "eth0")):
        set_up(link, mtu, namespace)
    for link, address, address6 in (
        ("eth0", ROUTER_ADDRESS, ROUTER_ADDRESS6),
        ("eth1", ROUTER_FAR_ADDRESS, ROUTER_FAR_ADDRESS6),
    ):
        add_address("router", link, f"{address}/24", router_mtu)
        add_address("router", link, f"{address6}/64", router_mtu)
    add_address("client", "eth0", f"{ROUTED_CLIENT_ADDRESS}/24")
    add_address("client", "eth0", f"{ROUTED_CLIENT_ADDRESS6}/64")
    for gateway in (ROUTER_FAR_ADDRESS, ROUTER_FAR_ADDRESS6):
        family = f"-{ipaddress.ip_address(gateway).version}"
        route = ("route", "add", "default", "via", gateway, "congctl", CONGESTION_CONTROL)
        run("ip", "-n", "client", family, *route)


def make_direct_link(mtu):
    for end, name in zip(impairment_ends("direct"), ("client", "backend")):
        run("ip", "link", "add", end, "type", "veth", "peer", "name", "eth1", "netns", name)
        set_up(end, mtu)
        set_up("eth1", mtu, name)
        add_address(name, "eth1", f"{DIRECT_ADDRESSES[name]}/24")


def up(places, mtu, router_mtu):
    for name in NAMESPACES:
        if namespace_exists(name) and not belongs_to_lab(name):
            raise StepFailed(
                "network", f"a network namespace '{name}' exists that is not the lab's"
            )
    down()
    for name in NAMESPACES:
        if name != "router" or router_mtu:
            make_namespace(name)
    make_link("client", "router" if router_mtu else "client", "client" in places, mtu)
    make_link("backend", "backend", "backend" in places, mtu)
    add_own_addresses("backend")
    if router_mtu:
        make_routed_client(mtu, router_mtu)
    else:
        add_own_addresses("client")
    if "direct" in places:
        make_direct_link(mtu)
    write_hosts()


def down():
    """Removes what is there; a namespace that is not the lab's is left alone."""
    for name in NAMESPACES:
        if namespace_exists(name) and belongs_to_lab(name):
            run("ip", "netns", "del", name)
    for end in host_ends():
        # A veth end goes with its namespace, a moment later: it may vanish while we look.
        removed = run("ip", "link", "del", end, check=False)
        if removed.returncode != 0 and pathlib.Path("/sys/class/net", end).exists():
            raise StepFailed("network", f"{end} cannot be removed: {removed.stdout.strip()}")
    remove_hosts()


def detach_programs(ends):
    """A program that was killed leaves its XDP program on its links; the next one needs them
    free."""
    for end in ends:
        run("ip", "link", "set", "dev", end, "xdp", "off", check=False)


def write_hosts():
    """`ip netns exec` shows these files as those of /etc, so that names resolve in the
    namespace."""
    directory = pathlib.Path("/etc/netns/client")
    directory.mkdir(parents=True, exist_ok=True)
    names = " ".join(f"{name}.sluice.test" for name in HOST_NAMES)
    hosts = directory / "hosts"
    if hosts.exists() and HOSTS_MARK not in hosts.read_text():
        return
    hosts.write_text(
        f"{HOSTS_MARK}; gone after 'lab down'\n127.0.0.1 localhost\n"
        f"{SERVICE_ADDRESS} {names}\n{SERVICE_ADDRESS6} {names}\n"
    )
    if pathlib.Path("/etc/gai.conf").exists():  # nothing can be shown where nothing is
        (directory / "gai.conf").write_text(f"{HOSTS_MARK}\n{ADDRESS_ORDER}")


def remove_hosts():
    hosts = pathlib.Path("/etc/netns/client/hosts")
    if not hosts.exists() or HOSTS_MARK not in hosts.read_text():
        return
    hosts.unlink()
    order = hosts.parent / "gai.conf"
    if order.exists() and HOSTS_MARK in order.read_text():
        order.unlink()
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


def device(index, host_end):
    """The DPDK device string of an interface."""
    if driver() == "af_packet":
        return f"net_af_packet{index},iface={host_end}"
    return f"net_af_xdp{index},iface={host_end},start_queue=0,queue_count=1,busy_budget=0"


def tools_missing():
    return [
        tool for tool in ("ip", "ethtool", "sysctl", "nginx", "openssl") if not shutil.which(tool)
    ]
