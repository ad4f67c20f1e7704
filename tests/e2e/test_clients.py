"""Real clients: each over both versions, both cipher suites and both kinds of certificate; ALPN;
SNI."""

import re
import subprocess

import lab
import pytest

KEYS = ("rsa", "ecdsa")
SUITES = {  # (version, key bits): the suite by OpenSSL's name, for RSA and ECDSA certificates
    ("1.2", 128): {"rsa": "ECDHE-RSA-AES128-GCM-SHA256", "ecdsa": "ECDHE-ECDSA-AES128-GCM-SHA256"},
    ("1.2", 256): {"rsa": "ECDHE-RSA-AES256-GCM-SHA384", "ecdsa": "ECDHE-ECDSA-AES256-GCM-SHA384"},
    ("1.3", 128): dict.fromkeys(KEYS, "TLS_AES_128_GCM_SHA256"),
    ("1.3", 256): dict.fromkeys(KEYS, "TLS_AES_256_GCM_SHA384"),
}
MATRIX = [(version, bits, key) for version, bits in SUITES for key in KEYS]
FILE = "64k"


def wanted():
    return (lab.WWW / FILE).read_bytes()


def curl(options):
    return lab.run_client(f"curl -sS --fail --cacert {lab.CA} {options}")


def s_client(host, options, send=b""):
    return lab.run_client(
        f"openssl s_client -connect {lab.SERVICE}:{lab.TLS_PORT} -servername {host}"
        f" -CAfile {lab.CA} -verify_hostname {host} {options}",
        send,
    )


@pytest.mark.parametrize("version, bits, key", MATRIX)
def test_curl(version, bits, key):
    suite = SUITES[version, bits][key]
    option = "--tls13-ciphers" if version == "1.3" else "--ciphers"
    done = curl(
        f"-v --tlsv{version} --tls-max {version} {option} {suite} https://{key}.sluice.test/{FILE}"
    )
    assert done.returncode == 0, done.stderr
    assert f"SSL connection using TLSv{version} / {suite}".encode() in done.stderr
    assert done.stdout == wanted()


@pytest.mark.parametrize("version, bits, key", MATRIX)
def test_openssl(version, bits, key):
    suite, host = SUITES[version, bits][key], f"{key}.sluice.test"
    option = "-ciphersuites" if version == "1.3" else "-cipher"
    done = s_client(
        host,
        f"-verify_return_error -brief -ign_eof -tls{version.replace('.', '_')} {option} {suite}",
        send=lab.request(FILE, host),
    )
    assert done.returncode == 0, done.stderr
    assert f"Protocol version: TLSv{version}".encode() in done.stderr
    assert f"Ciphersuite: {suite}".encode() in done.stderr
    assert lab.body_of(done.stdout) == wanted()


@pytest.mark.parametrize("version, bits, key", MATRIX)
def test_gnutls(version, bits, key, tmp_path):
    exchange = "" if version == "1.3" else f":+ECDHE-{key.upper()}"
    priority = f"NONE:+VERS-TLS{version}:+AES-{bits}-GCM:+AEAD{exchange}:+GROUP-ALL:+SIGN-ALL"
    answer = gnutls(tmp_path / "log", f"{key}.sluice.test", f"--priority {priority}:+COMP-NULL")
    report = (tmp_path / "log").read_text()
    assert "Status: The certificate is trusted." in report
    assert re.search(rf"Description: \(TLS{version}.*\(AES-{bits}-GCM\)", report), report
    assert lab.body_of(answer) == wanted()


def gnutls(log, host, options):
    """gnutls-cli ends at the end of its input, so that stays open until the server has closed."""
    line = f"ip netns exec client gnutls-cli --x509cafile {lab.CA} --logfile={log} {options}"
    client = subprocess.Popen(
        [*line.split(), "-p", str(lab.TLS_PORT), host],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        client.stdin.write(lab.request(FILE, host))
        client.stdin.flush()
        answer = client.stdout.read()
        assert client.wait(timeout=15) == 0, client.stderr.read()
        return answer
    finally:
        client.kill()
        client.communicate()


@pytest.mark.parametrize("version", ("1.2", "1.3"))
@pytest.mark.parametrize("option, spoken", (("--http2", "2"), ("--http1.1", "1.1")))
def test_alpn_picks_the_backend(version, option, spoken):
    done = curl(
        f"--tlsv{version} --tls-max {version} {option} -o /dev/null"
        f" -w '%{{http_version}} %{{size_download}}' https://rsa.sluice.test/{FILE}"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == f"{spoken} {len(wanted())}"


def test_many_streams_of_http2_on_one_connection(tmp_path):
    urls = " ".join(
        f"-o {tmp_path / str(index)} https://ecdsa.sluice.test/1m" for index in range(20)
    )
    done = curl(f"--http2 --parallel -w '%{{num_connects}}\\n' {urls}")
    assert done.returncode == 0, done.stderr
    assert sum(int(line) for line in done.stdout.split()) == 1
    expected = (lab.WWW / "1m").read_bytes()
    assert all((tmp_path / str(index)).read_bytes() == expected for index in range(20))


def test_no_common_application_protocol_is_the_clients_problem():
    """echo.sluice.test names no ALPN: the extension goes unanswered and the bytes go through."""
    with lab.tls("echo.sluice.test", alpn=["http/1.1"]) as stream:
        assert stream.selected_alpn_protocol() is None
        stream.sendall(b"hello")
        assert stream.recv(5) == b"hello"


@pytest.mark.parametrize(
    "algorithms, kind",
    (("ECDSA+SHA256", "id-ecPublicKey"), ("RSA-PSS+SHA256:RSA+SHA256", "rsaEncryption")),
)
@pytest.mark.parametrize("version", ("1_2", "1_3"))
def test_one_name_with_two_certificates(version, algorithms, kind):
    """The client's signature algorithms decide between the RSA and the ECDSA certificate."""
    host = "dual.sluice.test"
    done = s_client(host, f"-tls{version} -sigalgs {algorithms}")
    assert b"Verify return code: 0 (ok)" in done.stdout, done.stdout + done.stderr
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-text"],
        input=done.stdout,
        timeout=10,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ).stdout
    assert f"Public Key Algorithm: {kind}".encode() in shown


@pytest.mark.parametrize(
    "name, common_name",
    (
        ("ecdsa.sluice.test", "ecdsa.sluice.test"),
        ("ECDSA.Sluice.TEST", "ecdsa.sluice.test"),
        ("a.wild.sluice.test", "*.wild.sluice.test"),
        (
            "a.b.wild.sluice.test",
            "rsa.sluice.test",
        ),  # a star stands for one label: the default host
        ("wild.sluice.test", "rsa.sluice.test"),
        ("unknown.sluice.test", "rsa.sluice.test"),
        (None, "rsa.sluice.test"),
    ),
)
def test_certificate_by_name(name, common_name):
    context = lab.context()
    context.check_hostname = False
    with context.wrap_socket(lab.connect(), server_hostname=name) as stream:
        subject = dict(pair for part in stream.getpeercert()["subject"] for pair in part)
        assert subject["commonName"] == common_name
        stream.sendall(lab.request("1k"))
        assert lab.body_of(lab.read_to_end(stream)) == (lab.WWW / "1k").read_bytes()


def test_plain_relay():
    done = lab.run_client(f"curl -sS --fail http://{lab.SERVICE}/{FILE}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == wanted()


def test_ping():
    done = lab.run_client(f"ping -c 2 -i 0.2 -W 2 -s 1400 {lab.SERVICE}")
    assert done.returncode == 0, done.stdout
