"""What README begins with: a server set up without questions, an image, a container with an address and a name."""
import os
import re
import subprocess

import pytest

from helpers.daemon import BIN, REFERENCE, TOP, eventually

CLIENTS = {"ours": BIN / "lxc", "go": "/usr/bin/lxc"}
pytestmark = pytest.mark.skipif(REFERENCE, reason="its dnsmasq keeps running")


@pytest.fixture(scope="module")
def server(bare_daemon):
    bare_daemon.admin("init", "--minimal")
    image = bare_daemon.root / "image"
    subprocess.run([TOP / "scripts" / "make-busybox-image", "--dhcp", image], check=True)
    bare_daemon.upload(image.read_bytes(), "bb")
    yield bare_daemon
    bare_daemon.remove_all()
    bare_daemon.lxc("profile", "device", "remove", "default", "eth0")
    bare_daemon.lxc("network", "delete", "lxdbr0")


@pytest.mark.parametrize("client", CLIENTS)
def test_address_and_name(server, client):
    program = CLIENTS[client]
    if not os.path.exists(program):
        pytest.skip(f"{program} is not installed")
    name = server.new_name()
    lxc = lambda *args: server.lxc(*args, program=program).stdout
    lxc("launch", "bb", name)
    address = eventually(lambda: lxc("list", f"^{name}$", "-c", "4", "-f", "csv").strip(), what="an address by DHCP")
    assert re.fullmatch(r"10\.\d+\.\d+\.\d+ \(eth0\)", address), address
    plain = address.split()[0]
    assert f"inet:  {plain}/24 (global)" in lxc("info", name)
    mac = server.api.get(f"/1.0/instances/{name}")["config"]["volatile.eth0.hwaddr"]
    assert f"{name},{mac},{plain},DYNAMIC" in lxc("network", "list-leases", "lxdbr0", "-f", "csv").splitlines()
    assert plain in lxc("exec", name, "--", "nslookup", f"{name}.lxd")
    lxc("delete", "-f", name)
    assert mac not in lxc("network", "list-leases", "lxdbr0", "-f", "csv")
