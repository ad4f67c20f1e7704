"""Files of the lab: its CA and certificates, the backend's files, and the configurations.

Certificates and files stay over `down`, so that the next `up` is quick; certificates are made
anew a week before they expire. The files' bytes come from a seeded generator and are the same on
every machine.
"""

import hashlib
import os
import random

from common import (
    BACKEND_ADDRESS,
    BACKEND_ADDRESS6,
    CLIENT_ADDRESS,
    CLIENT_ADDRESS6,
    ECHO_PORT,
    GENERATED_CONFIG,
    H2C_PORT,
    HTTP_PORT,
    LAB,
    PUT,
    ROUTER_ADDRESS,
    ROUTER_ADDRESS6,
    SERVICE_ADDRESS,
    SERVICE_ADDRESS6,
    SLUICE_BACKEND_ADDRESS,
    SLUICE_BACKEND_ADDRESS6,
    TEMPLATES,
    WITNESS_PORT,
    WWW,
    run,
)
import network

WEEK_SECONDS = 7 * 24 * 3600
VALID_DAYS = 365
RSA = ("-newkey", "rsa:2048")
ECDSA = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")

CERTIFICATES = {  # file name: (key type, names)
    "rsa": (RSA, ["rsa.sluice.test"]),
    "ecdsa": (ECDSA, ["ecdsa.sluice.test"]),
    "dual-rsa": (RSA, ["dual.sluice.test"]),
    "dual-ecdsa": (ECDSA, ["dual.sluice.test"]),
    "wild": (ECDSA, ["*.wild.sluice.test"]),
    "echo": (ECDSA, ["echo.sluice.test"]),
    "old-rsa": (RSA, ["old.sluice.test", "witness.sluice.test"]),
    "old-ecdsa": (ECDSA, ["old.sluice.test", "witness.sluice.test"]),
    "six": (ECDSA, ["six.sluice.test"]),
}
FILES = {
    "0": 0,
    "1k": 1 << 10,
    "64k": 64 << 10,
    "1m": 1 << 20,
    "10m": 10 << 20,
    "100m": 100 << 20,
}


def still_valid(path):
    return (
        path.exists()
        and run(
            "openssl", "x509", "-in", path, "-noout", "-checkend", WEEK_SECONDS, check=False
        ).returncode
        == 0
    )


def authority(name, common_name, path_length, signer=()):
    extensions = f"basicConstraints=critical,CA:TRUE,pathlen:{path_length}"
    run(
        "openssl",
        "req",
        "-x509",
        *ECDSA,
        "-noenc",
        "-sha256",
        "-days",
        VALID_DAYS,
        "-subj",
        f"/CN={common_name}",
        "-addext",
        extensions,
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
        "-keyout",
        LAB / f"{name}.key",
        "-out",
        LAB / f"{name}.pem",
        *signer,
    )


def leaf(name, key_type, names):
    """NAME.pem: the certificate and then the intermediate that signed it; NAME.key: its key."""
    certificate = LAB / f"{name}.pem"
    alternatives = ",".join(f"DNS:{host}" for host in names)
    run(
        "openssl",
        "req",
        "-x509",
        *key_type,
        "-noenc",
        "-sha256",
        "-days",
        VALID_DAYS,
        "-subj",
        f"/CN={names[0]}",
        "-addext",
        f"subjectAltName={alternatives}",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-addext",
        f"keyUsage=critical,digitalSignature{',keyEncipherment' if key_type == RSA else ''}",
        "-addext",
        "extendedKeyUsage=serverAuth",
        "-CA",
        LAB / "issuer.pem",
        "-CAkey",
        LAB / "issuer.key",
        "-keyout",
        LAB / f"{name}.key",
        "-out",
        certificate,
    )
    certificate.write_text(certificate.read_text() + (LAB / "issuer.pem").read_text())


def make_certificates():
    LAB.mkdir(parents=True, exist_ok=True)
    names = ["ca", "issuer", *CERTIFICATES]
    if all(still_valid(LAB / f"{name}.pem") and (LAB / f"{name}.key").exists() for name in names):
        return False
    for name in names:
        (LAB / f"{name}.pem").unlink(missing_ok=True)
    authority("ca", "Sluice lab root", 1)
    authority("issuer", "Sluice lab issuer", 0, ("-CA", LAB / "ca.pem", "-CAkey", LAB / "ca.key"))
    for name, (key_type, hosts) in CERTIFICATES.items():
        leaf(name, key_type, hosts)
    return True


def make_files():
    WWW.mkdir(parents=True, exist_ok=True)
    sums = WWW / "SHA256SUMS"
    complete = all(
        (WWW / name).exists() and (WWW / name).stat().st_size == size
        for name, size in FILES.items()
    )
    if complete and sums.exists():
        return False
    lines = []
    for name, size in FILES.items():
        generator, digest = random.Random(f"sluice {name}"), hashlib.sha256()
        with open(WWW / f"{name}.part", "wb") as out:
            for begin in range(0, size, 1 << 20):
                piece = generator.randbytes(min(1 << 20, size - begin))
                digest.update(piece)
                out.write(piece)
        os.rename(WWW / f"{name}.part", WWW / name)
        lines.append(f"{digest.hexdigest()}  {name}\n")
    sums.write_text("".join(lines))
    return True


def processors():
    """(main, worker): two different ones where there are two."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def fill_in(template, target, mtu, routed):
    main, worker = processors()
    values = {
        "LAB": LAB,
        "BACKEND": BACKEND_ADDRESS,
        "BACKEND6": BACKEND_ADDRESS6,
        "SERVICE": SERVICE_ADDRESS,
        "SERVICE6": SERVICE_ADDRESS6,
        "OWN": SLUICE_BACKEND_ADDRESS,
        "OWN6": SLUICE_BACKEND_ADDRESS6,
        "GATEWAY": ROUTER_ADDRESS if routed else CLIENT_ADDRESS,
        "GATEWAY6": ROUTER_ADDRESS6 if routed else CLIENT_ADDRESS6,
        "MTU": mtu,
        "HTTP_PORT": HTTP_PORT,
        "H2C_PORT": H2C_PORT,
        "ECHO_PORT": ECHO_PORT,
        "WITNESS_PORT": WITNESS_PORT,
        "MAIN": main,
        "WORKER": worker,
        "CLIENT_DEVICE": network.device(0, network.LINKS["client"][0]),
        "BACKEND_DEVICE": network.device(1, network.LINKS["backend"][0]),
    }
    text = (TEMPLATES / template).read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    target.write_text(text)


def make_configurations(mtu, routed):
    for folder in (LAB / "nginx", PUT):
        folder.mkdir(parents=True, exist_ok=True)
    fill_in("nginx.conf.in", LAB / "nginx.conf", mtu, routed)
    fill_in("sluice.toml.in", GENERATED_CONFIG, mtu, routed)
