"""The lab for the whole run, a time limit for every test, and the check that nothing died on the
way."""

import signal

import lab
import pytest

DEFAULT_SECONDS = 60


def pytest_configure(config):
    config.addinivalue_line("markers", "seconds(n): this test may take so long (60 without it)")
    config.addinivalue_line("markers", "heavy: left out of the round on the sanitizer build")
    config.addinivalue_line("markers", "restarts(name): this test replaces that process")


def pytest_collection_modifyitems(items):
    """Stopping the programs ends the run, so that their reports at exit are seen as well."""
    items.sort(key=lambda item: item.module.__name__ == "test_stop")


@pytest.fixture(scope="session", autouse=True)
def running_lab():
    lab.command("up", timeout=120)
    yield
    lab.command("down")


@pytest.fixture(autouse=True)
def time_limit(request):
    mark = request.node.get_closest_marker("seconds")
    seconds = mark.args[0] if mark else DEFAULT_SECONDS

    def expired(*_):
        pytest.fail(f"the test took more than {seconds} s")

    previous = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.fixture(autouse=True)
def nothing_died(request, running_lab):
    """What served before a test serves after it, but for those it replaces on purpose."""
    replaced = {name for mark in request.node.iter_markers("restarts") for name in mark.args}
    watched = {"dataplane", "control"} - replaced
    before = {name: lab.running(name) for name in watched}
    yield
    for name in watched:
        assert before[name] and lab.running(name) == before[name], (
            f"{name} died:\n{lab.log(name)[-4000:]}"
        )
