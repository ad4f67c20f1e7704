"""The end of the run: both programs stop in order on SIGTERM, and no sanitizer had anything to
say."""

import re

import lab
import pytest

REPORT = re.compile(
    r"ERROR: \w+Sanitizer|runtime error:|WARNING: ThreadSanitizer|[Aa]ssertion .*failed"
)


@pytest.mark.restarts("control", "dataplane")
def test_both_stop_on_sigterm():
    with lab.tls("echo.sluice.test"):
        for name in ("control", "dataplane"):
            said = lab.command("stop", name).stdout
            assert "did not stop" not in said, lab.log(name)[-4000:]


@pytest.mark.restarts("control", "dataplane")
@pytest.mark.parametrize("name", ("dataplane", "control"))
def test_no_report_in_the_log(name):
    found = [line for line in lab.log(name).splitlines() if REPORT.search(line)]
    assert not found, lab.log(name)[-8000:]
