"""TLS records sealed and opened by hand, so that a test can seal what no TLS library would.

A `Direction` is one direction's keys: `seal` numbers records itself, and each of its keyword
arguments breaks one rule. The primitives are python3-cryptography's; what stands here is the record
protocol alone: RFC 8446 5.2 (TLS 1.3), RFC 5288 and RFC 7905 (the AEADs of 1.2), RFC 5246 6.2.3.2
and RFC 7366 (CBC; 1.0 chains, 1.1 and 1.2 send their IV).
"""

import hashlib
import hmac
import os

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
TLS10, TLS11, TLS12, TLS13 = 0x0301, 0x0302, 0x0303, 0x0304
TAG_BYTES = BLOCK_BYTES = 16


def header(kind, version, length):
    return bytes([kind]) + version.to_bytes(2, "big") + length.to_bytes(2, "big")


def flipped(data, at=-1):
    """The same bytes but for one bit."""
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


# --- from secrets to keys


def expand_label(secret, label, length, hash_name):
    label = b"tls13 " + label.encode()
    info = length.to_bytes(2, "big") + bytes([len(label)]) + label + b"\x00"
    out = block = b""
    while len(out) < length:
        block = hmac.digest(secret, block + info + bytes([len(out) // len(secret) + 1]), hash_name)
        out += block
    return out[:length]


def p_hash(secret, seed, length, hash_name):
    out, a = b"", seed
    while len(out) < length:
        a = hmac.digest(secret, a, hash_name)
        out += hmac.digest(secret, a + seed, hash_name)
    return out[:length]


def prf(version, hash_name, secret, label, seed, length):
    """RFC 5246 5, and RFC 2246 5 before that."""
    if version == TLS12:
        return p_hash(secret, label + seed, length, hash_name)
    half = (len(secret) + 1) // 2
    md5 = p_hash(secret[:half], label + seed, length, "md5")
    sha1 = p_hash(secret[-half:], label + seed, length, "sha1")
    return bytes(a ^ b for a, b in zip(md5, sha1))


class Suite:
    """What the record layer needs to know, read from OpenSSL's name of the suite."""

    def __init__(self, name):
        self.chacha = "CHACHA20" in name
        self.aead = self.chacha or "GCM" in name
        self.key_bytes = 16 if "AES128" in name or "AES_128" in name else 32
        self.prf_hash = "sha384" if name.endswith("SHA384") else "sha256"
        self.mac = None if self.aead else {"SHA": "sha1"}.get(name.split("-")[-1], self.prf_hash)

    def cipher(self, key):
        return ChaCha20Poly1305(key) if self.chacha else AESGCM(key)


# --- one direction


class Direction13:
    version = TLS13

    def __init__(self, suite, secret):
        self.suite = suite
        self.use(secret)

    def use(self, secret):
        self.secret, self.sequence = secret, 0
        hash_name = self.suite.prf_hash
        key = expand_label(secret, "key", self.suite.key_bytes, hash_name)
        self.cipher = self.suite.cipher(key)
        self.iv = expand_label(secret, "iv", 12, hash_name)

    def update(self):
        """RFC 8446 7.2: the next generation of keys."""
        length = len(self.secret)
        self.use(expand_label(self.secret, "traffic upd", length, self.suite.prf_hash))

    def nonce(self, sequence):
        return bytes(a ^ b for a, b in zip(self.iv, sequence.to_bytes(12, "big")))

    def seal(self, kind, payload=b"", padding=0, sequence=None, outer=APPLICATION_DATA, inner=None):
        """`inner` is all of TLSInnerPlaintext; `sequence` another number than the next one."""
        inner = payload + bytes([kind]) + bytes(padding) if inner is None else inner
        own, self.sequence = self.sequence, self.sequence + 1
        head = header(outer, TLS12, len(inner) + TAG_BYTES)
        nonce = self.nonce(own if sequence is None else sequence)
        return head + self.cipher.encrypt(nonce, inner, head)

    def open(self, record):
        """(type, plaintext, bytes of padding)"""
        inner = self.cipher.decrypt(self.nonce(self.sequence), record[5:], record[:5])
        self.sequence += 1
        content = inner.rstrip(b"\x00")
        return content[-1], content[:-1], len(inner) - len(content)


class Aead12:
    version = TLS12

    def __init__(self, suite, key, iv, sequence=1):
        self.suite, self.cipher, self.iv, self.sequence = suite, suite.cipher(key), iv, sequence
        # A client may number its explicit nonces as it likes (RFC 5288 3); OpenSSL has used one.
        self.explicit = int.from_bytes(b"sluice\x00\x00", "big")

    def nonce(self, sequence, explicit):
        if self.suite.chacha:
            return bytes(a ^ b for a, b in zip(self.iv, sequence.to_bytes(12, "big")))
        return self.iv + explicit

    def covered(self, kind, sequence, length):
        return sequence.to_bytes(8, "big") + header(kind, self.version, length)

    def seal(self, kind, payload=b"", sequence=None):
        own, self.sequence = self.sequence, self.sequence + 1
        sequence = own if sequence is None else sequence
        explicit = b"" if self.suite.chacha else self.explicit.to_bytes(8, "big")
        self.explicit += 1
        sealed = explicit + self.cipher.encrypt(
            self.nonce(sequence, explicit), payload, self.covered(kind, sequence, len(payload))
        )
        return header(kind, self.version, len(sealed)) + sealed

    def open(self, record):
        body = record[5:]
        explicit, body = (b"", body) if self.suite.chacha else (body[:8], body[8:])
        length = len(body) - TAG_BYTES
        nonce = self.nonce(self.sequence, explicit)
        plaintext = self.cipher.decrypt(
            nonce, body, self.covered(record[0], self.sequence, length)
        )
        self.sequence += 1
        return record[0], plaintext, 0


class Cbc:
    def __init__(self, suite, version, etm, mac_key, key, iv, sequence=1):
        self.suite, self.version, self.etm = suite, version, etm
        self.mac_key, self.key, self.chained, self.sequence = mac_key, key, iv, sequence

    def explicit_iv(self):
        return self.version != TLS10

    def mac(self, kind, sequence, data):
        covered = sequence.to_bytes(8, "big") + header(kind, self.version, len(data)) + data
        return hmac.digest(self.mac_key, covered, self.suite.mac)

    def crypt(self, iv, data, encrypt):
        cipher = Cipher(algorithms.AES(self.key), modes.CBC(iv))
        worker = cipher.encryptor() if encrypt else cipher.decryptor()
        return worker.update(data) + worker.finalize()

    def seal(self, kind, payload=b"", sequence=None, padding=None, mac=None):
        """`padding`: these bytes, the padding length included; `mac`: these instead of the MAC."""
        own, self.sequence = self.sequence, self.sequence + 1
        sequence = own if sequence is None else sequence
        iv = os.urandom(BLOCK_BYTES) if self.explicit_iv() else self.chained
        sent_iv = iv if self.explicit_iv() else b""
        inner = payload if self.etm else payload + (mac or self.mac(kind, sequence, payload))
        if padding is None:
            count = BLOCK_BYTES - len(inner) % BLOCK_BYTES
            padding = bytes([count - 1]) * count
        ciphertext = self.crypt(iv, inner + padding, encrypt=True)
        self.chained = ciphertext[-BLOCK_BYTES:]
        sealed = sent_iv + ciphertext
        if self.etm:
            sealed += mac or self.mac(kind, sequence, sealed)
        return header(kind, self.version, len(sealed)) + sealed

    def open(self, record):
        body, mac_bytes = record[5:], hashlib.new(self.suite.mac).digest_size
        if self.etm:
            body, mac = body[:-mac_bytes], body[-mac_bytes:]
            assert mac == self.mac(record[0], self.sequence, body)
        iv, body = (body[:16], body[16:]) if self.explicit_iv() else (self.chained, body)
        self.chained = body[-BLOCK_BYTES:]
        inner = self.crypt(iv, body, encrypt=False)
        count = inner[-1] + 1
        assert inner[-count:] == bytes([count - 1]) * count
        plaintext = inner[:-count]
        if not self.etm:
            plaintext, mac = plaintext[:-mac_bytes], plaintext[-mac_bytes:]
            assert mac == self.mac(record[0], self.sequence, plaintext)
        self.sequence += 1
        return record[0], plaintext, 0


def directions_before_13(suite, version, etm, master, client_random, server_random, finished):
    """(client's, server's): RFC 5246 6.3. `finished` are the records of both Finished, whose last
    ciphertext blocks TLS 1.0 goes on from."""
    mac_bytes = 0 if suite.aead else hashlib.new(suite.mac).digest_size
    end = -mac_bytes if etm and mac_bytes else None
    iv_bytes = (12 if suite.chacha else 4) if suite.aead else 0
    sizes = [mac_bytes] * 2 + [suite.key_bytes] * 2 + [iv_bytes] * 2
    seed = server_random + client_random
    block = prf(version, suite.prf_hash, master, b"key expansion", seed, sum(sizes))
    parts, at = [], 0
    for size in sizes:
        parts.append(block[at : at + size])
        at += size
    made = []
    for side in (0, 1):
        mac_key, key, iv = parts[side], parts[2 + side], parts[4 + side]
        if suite.aead:
            made.append(Aead12(suite, key, iv))
        else:
            made.append(Cbc(suite, version, etm, mac_key, key, finished[side][:end][-16:]))
    return made
