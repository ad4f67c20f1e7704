"""Two workers on ports with one queue: what arrives at the wrong worker is handed over, both ways."""

import json
import re
import threading

import lab
import pytest

CLIENTS = 32


@pytest.fixture(scope="module")
def two_workers():
    text = lab.CONFIG.read_text()
    config = lab.LAB / "two-workers.toml"
    config.write_text(re.sub(r"(?m)^workers = \[.*?\]", "workers = [0, 1]", text))
    with lab.made_with("--config", config):
        yield


@pytest.mark.restarts("control", "dataplane")
@pytest.mark.parametrize("version", ("1.2", "1.3"))
def test_both_workers_serve(two_workers, version):
    expected = (lab.WWW / "1m").read_bytes()
    bodies = []
    threads = [
        threading.Thread(target=lambda: bodies.append(lab.fetch("1m", version=version, timeout=30)))
        for _ in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert bodies == [expected] * CLIENTS
    lab.wait_idle()
    workers = json.loads(lab.ctl("-o", "json", "counters").stdout)["workers"]
    assert [worker["worker"] for worker in workers] == [0, 1]
    for worker in workers:  # 32 tuples by a keyed hash: one in 2^31 runs leaves one none
        assert worker["counters"]["tls_handshakes_done"] > 0
    assert sum(worker["counters"]["redirected_in"] for worker in workers) > 0
