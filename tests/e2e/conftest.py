"""Fixtures of the end-to-end tests. Each test file gets a daemon of its own; run alone, a file first enters a sandbox."""
import os
import pathlib
import sys
import time

import pytest

from helpers import images
from helpers.daemon import BIN, REFERENCE, TOP, Daemon, cgroup_dirs, eventually, processes

SANDBOX = TOP / "scripts" / "sandbox"
OURS = {"lxd", "lxd-container", "lxd-unpack", "lxd-pack", "lxd-transfer", "lxd-nft", "lxd-admin", "init"}


def pytest_configure(config):
    config.addinivalue_line("markers", "ours: our own stated behaviour, which the reference does not share")
    if os.environ.get("LXD_SANDBOX") != "1" and not config.option.collectonly:
        capture = config.pluginmanager.getplugin("capturemanager")
        if capture:
            capture.suspend_global_capture(in_=True)
        os.execv(SANDBOX, [str(SANDBOX), sys.executable, "-m", "pytest", *config.invocation_params.args])
    if not (BIN / "lxd").exists():
        raise pytest.UsageError(f"{BIN}/lxd does not exist: build first, or set LXD_BIN")


def pytest_collection_modifyitems(items):
    for item in items:
        if REFERENCE and item.get_closest_marker("ours"):
            item.add_marker(pytest.mark.skip(reason="our own behaviour, not the reference's"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the daemon's log beside a failure."""
    outcome = yield
    report = outcome.get_result()
    daemon = item.funcargs.get("daemon") if hasattr(item, "funcargs") else None
    if report.failed and daemon is not None:
        report.sections.append(("daemon log", daemon.log(40)))


def make_daemon(module):
    directory = pathlib.Path(f"/var/tmp/lxd-e2e-{module}-{time.time_ns() % 10**10}")
    daemon = Daemon(directory)
    daemon.prefix = f"t{os.urandom(2).hex()}-{module.replace('_', '-')[:20]}-"
    return daemon


def assert_nothing_left(daemon):
    """After everything was deleted and the daemon has ended: no mount, control group or process."""
    assert daemon.mounts() == []
    if not REFERENCE:
        left = lambda: [p for p in cgroup_dirs() if daemon.prefix in p.rsplit("/", 1)[1]]
        eventually(lambda: not left(), what=f"control groups are gone: {left()}")
    gone = lambda: not OURS & set(processes().values())
    eventually(gone, what=f"processes have ended: {processes()}")


@pytest.fixture(scope="module")
def bare_daemon(request):
    """A running daemon without storage pool, profile devices or images; checked for leaks at the end."""
    daemon = make_daemon(request.module.__name__.removeprefix("test_"))
    try:
        daemon.start()
        yield daemon
        if daemon.process is None:
            daemon.start()
        assert daemon.alive, f"the daemon died:\n{daemon.log()}"
        daemon.remove_all()
        status = daemon.stop()
        assert status == 0, f"exit status {status}:\n{daemon.log()}"
        assert_nothing_left(daemon)
    finally:
        if daemon.alive:
            daemon.kill()
        daemon.cleanup()


@pytest.fixture(scope="module")
def daemon(bare_daemon):
    """A running daemon with a dir pool and the busybox image under the alias bb."""
    bare_daemon.setup()
    bare_daemon.fingerprint = bare_daemon.upload(images.busybox(), "bb")
    return bare_daemon


@pytest.fixture
def api(daemon):
    return daemon.api


@pytest.fixture
def name(daemon):
    """A fresh instance name; the instance is removed after the test."""
    fresh = daemon.new_name()
    yield fresh
    if daemon.alive:
        daemon.api.remove(fresh)


@pytest.fixture(scope="module")
def running(daemon):
    """The name of one running container that the tests of a file share."""
    shared = daemon.new_name()
    daemon.api.launch(shared)
    return shared
