"""Every cipher suite in every version that Sluice speaks, CBC with encrypt_then_mac (RFC 7366) and
without: 10 MiB to the echo backend and back by `openssl s_client`, which has all of them; 1 MiB by
gnutls-cli, which waits for the echo of each 4 KiB, of CBC every other row.

The clients of all rows share the machine's cores in a pool, started before the first test looks at
its row."""

import concurrent.futures
import itertools
import re

import lab
import movers
import pytest

pytestmark = [pytest.mark.heavy, pytest.mark.seconds(180)]

FILES = {"openssl": lab.WWW / "10m", "gnutls": lab.WWW / "1m"}
HOST = "old.sluice.test"  # policy old-5.8, an RSA and an ECDSA certificate, the echo backend
AT_ONCE = 4
EXCHANGES = {  # prefix of OpenSSL's names: gnutls's key exchange
    "ECDHE-ECDSA-": "ECDHE-ECDSA",
    "ECDHE-RSA-": "ECDHE-RSA",
    "DHE-RSA-": "DHE-RSA",
    "": "RSA",
}


def suites13():
    yield "1.3", "TLS_AES_128_GCM_SHA256", "AES-128-GCM:+AEAD"
    yield "1.3", "TLS_AES_256_GCM_SHA384", "AES-256-GCM:+AEAD"
    yield "1.3", "TLS_CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305:+AEAD"


def aeads12():
    for prefix, exchange in EXCHANGES.items():
        yield "1.2", f"{prefix}AES128-GCM-SHA256", f"{exchange}:+AES-128-GCM:+AEAD"
        yield "1.2", f"{prefix}AES256-GCM-SHA384", f"{exchange}:+AES-256-GCM:+AEAD"
        if prefix:
            name = f"{prefix}CHACHA20-POLY1305"
            yield "1.2", name, f"{exchange}:+CHACHA20-POLY1305:+AEAD"


def cbc():
    """SHA-1 in every version; in 1.2 SHA-256 and SHA-384 for those that have them."""
    for (prefix, exchange), bits in itertools.product(EXCHANGES.items(), (128, 256)):
        for version in ("1.0", "1.1", "1.2"):
            yield version, f"{prefix}AES{bits}-SHA", f"{exchange}:+AES-{bits}-CBC:+SHA1"
        mac = 384 if bits == 256 and prefix.startswith("ECDHE") else 256
        yield "1.2", f"{prefix}AES{bits}-SHA{mac}", f"{exchange}:+AES-{bits}-CBC:+SHA{mac}"


def rows():
    """(client, version, OpenSSL's name, gnutls's, encrypt_then_mac or None)"""
    for suite in (*suites13(), *aeads12()):
        yield "openssl", *suite, None
        yield "gnutls", *suite, None
    for number, suite in enumerate(cbc()):
        yield "openssl", *suite, True
        yield "openssl", *suite, False
        yield "gnutls", *suite, number % 2 == 0


ROWS = {
    f"{client}-{version}-{name}" + {None: "", True: "-etm", False: "-mte"}[etm]: row
    for row in rows()
    for client, version, name, _, etm in (row,)
}


def options_of_openssl(version, name, etm):
    if version == "1.3":
        return f"-tls1_3 -ciphersuites {name}"
    flag = {"1.0": "-tls1", "1.1": "-tls1_1", "1.2": "-tls1_2"}[version]
    # -msg: the only way to see encrypt_then_mac in the ServerHello.
    return f"{flag} -cipher {name}:@SECLEVEL=0" + ("" if etm is not False else " -no_etm")


def priority_of_gnutls(version, suite, etm):
    base = f"NONE:+VERS-TLS{version}:+{suite}:+COMP-NULL:+GROUP-ALL:+SIGN-ALL"
    return base + (":%NO_ETM" if etm is False else "")


def run(row, directory):
    client, version, name, suite, etm = row
    log = directory / f"{client}-{version}-{name}-{etm}"
    if client == "openssl":
        options = f"-nocommands {options_of_openssl(version, name, etm)}"
        if etm is not None:
            options += f" -msg -msgfile {log}.messages"
        said = movers.echoed(movers.openssl(HOST, options), FILES[client], log)
        return said, (log.parent / f"{log.name}.messages").read_text() if etm is not None else ""
    options = f"--priority={priority_of_gnutls(version, suite, etm)}"
    movers.echoed(movers.gnutls(HOST, f"{log}.session", options), FILES[client], log)
    return (log.parent / f"{log.name}.session").read_text(), ""


@pytest.fixture(scope="module")
def results(request, tmp_path_factory):
    """The future of each row's run, of those rows that this session has chosen."""
    directory = tmp_path_factory.mktemp("suites")
    chosen = [item.callspec.params["name"] for item in request.session.items if is_row(item)]
    before = lab.counters()
    pool = concurrent.futures.ThreadPoolExecutor(AT_ONCE)
    yield {name: pool.submit(run, ROWS[name], directory) for name in chosen}
    pool.shutdown(cancel_futures=True)
    assert not lab.troubles(before)


def is_row(item):
    return item.module.__name__ == __name__ and hasattr(item, "callspec")


def server_hello_has_etm(messages):
    """Extension 22, without data, in -msg's dump of the ServerHello."""
    dump = re.search(r"<<< .*ServerHello\n((?:    .*\n)+)", messages)
    assert dump, messages[:500]
    return "00 16 00 00" in " ".join(dump[1].split())


def check_openssl(row, said, messages):
    _, version, name, _, etm = row
    assert movers.openssl_session(said) == (version.removesuffix(".0"), name)
    if etm is not None:
        assert server_hello_has_etm(messages) == etm


def check_gnutls(row, session):
    _, version, _, suite, etm = row
    exchange, *rest = suite.split(":+")
    description = re.search(r"Description: (.*)", session)[1]
    assert description.startswith(f"(TLS{version}")
    if version == "1.3":
        assert f"({exchange})" in description
    else:
        key_exchange = exchange.replace("ECDHE-RSA", "ECDHE-").replace("ECDHE-ECDSA", "ECDHE-")
        key_exchange = key_exchange.replace("DHE-RSA", "DHE-")
        assert f"({key_exchange}" in description and f"({rest[0]})" in description
        assert rest[1] == "AEAD" or f"({rest[1]})" in description
    if etm is not None:
        assert (re.search(r"Options: .*\bEtM\b", session) is not None) == etm


@pytest.mark.parametrize("name", ROWS)
def test_suite(name, results):
    said, messages = results[name].result(timeout=150)
    if ROWS[name][0] == "openssl":
        check_openssl(ROWS[name], said, messages)
    else:
        check_gnutls(ROWS[name], said)


def test_every_suite_is_here():
    """As many as the product's table has, and each once."""
    table = (lab.ROOT / "crypto" / "suite.cc").read_text()
    known = set(re.findall(r'"((?:TLS_|ECDHE-|DHE-|AES)[A-Z0-9_-]+)"', table))
    known = {name for name in known if "_WITH_" not in name}
    assert {row[2] for row in ROWS.values()} == known
