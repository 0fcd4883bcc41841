"""Networks, their devices and instances on them from the command line, as recorded of the reference: our client and Debian's, on our daemon and Debian's."""
import os
import pathlib
import shutil
import subprocess
import time

import pytest

from helpers import images
from helpers.client import OURS
from helpers.daemon import BIN, REFERENCE, Daemon
from helpers.session import Session

SESSIONS = {name: Session(name) for name in ("init", "networks", "network_devices", "network_instances")}
CLIENTS = {"ours": OURS, "go": pathlib.Path("/usr/bin/lxc")}
DAEMONS = {**({} if REFERENCE else {"ours": BIN / "lxd"}), "reference": pathlib.Path("/usr/bin/lxd")}
RECORD = os.environ.get("RECORD_SESSIONS") == "1"


@pytest.fixture(scope="module", params=DAEMONS)
def server(request):
    """A daemon with a storage pool, a root disk in the default profile, and interfaces that are not its own."""
    program = DAEMONS[request.param]
    if not program.exists():
        pytest.skip(f"{program} is not installed")
    daemon = Daemon(f"/var/tmp/lxd-e2e-sessions-{time.time_ns() % 10**10}", reference=request.param == "reference")
    try:
        daemon.start()
        daemon.setup()
        daemon.upload(images.busybox(), "bb")
        daemon.kind = request.param
        for command in ("ip link add ubr0 address 00:16:3e:00:00:01 type bridge", "ip link add up0 type veth peer name up1", "ip link set up0 up", "ip link set up1 up"):
            subprocess.run(command.split(), check=True)
        yield daemon
    finally:
        for link in ("ubr0", "up0"):
            subprocess.run(["ip", "link", "del", link], check=False)
        if daemon.alive:
            daemon.kill()
        daemon.cleanup()


@pytest.fixture(scope="module", params=CLIENTS)
def results(request, server):
    """A function that gives the outputs of a session, which runs once."""
    program = CLIENTS[request.param]
    if not program.exists():
        pytest.skip(f"{program} is not installed")
    home = server.root / request.param
    subprocess.run([program, "remote", "list"], env=server.env(LXD_CONF=str(home)), check=True, capture_output=True)
    done = {}

    def outputs(name):
        if name not in done:
            done[name] = None
            done[name] = SESSIONS[name].run(server, program, home)
            if RECORD and request.param == "go" and server.kind == "reference":
                SESSIONS[name].record(done[name])
        assert done[name], "the session has failed before"
        return done[name]

    yield outputs
    shutil.rmtree(home, ignore_errors=True)


@pytest.mark.parametrize("name,step", [pytest.param(name, i, id=f"{name}-{i}-{command}") for name, session in SESSIONS.items() for i, command in session.commands])
def test_step(results, server, name, step):
    assert results(name)[step] == SESSIONS[name].expected(step, server.kind == "ours")
