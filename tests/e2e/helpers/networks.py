"""What the tests of managed networks share."""
import pytest

from . import net
from .daemon import eventually

URL = "/1.0/networks"
V4, V6 = "192.0.2.1/24", "2001:db8::1/64"
BOTH = {"ipv4.address": V4, "ipv6.address": V6}
NONE = {"ipv4.address": "none", "ipv6.address": "none"}


def managed(api):
    return sorted(n["name"] for n in api.get(f"{URL}?recursion=1") if n["managed"])


def bridges():
    return sorted(n for n, l in net.links().items() if l.get("linkinfo", {}).get("info_kind") == "bridge")


def create(api, name="br0", config=None, **more):
    reply = api.post(URL, {"name": name, "config": BOTH if config is None else config, **more})
    assert reply.status == 201, reply
    return reply


def config_of(api, name="br0"):
    return api.get(f"{URL}/{name}")["config"]


def change(api, name="br0", **config):
    """PATCH keys; underscores stand for dots."""
    return api.patch(f"{URL}/{name}", {"config": {k.replace("_", "."): v for k, v in config.items()}})


@pytest.fixture(scope="module")
def daemon(bare_daemon):
    """No image is needed here."""
    return bare_daemon


@pytest.fixture(autouse=True)
def no_networks(daemon):
    """Each test begins and ends without managed networks, and leaves nothing of them."""
    yield
    if not daemon.alive:
        daemon.start()
    daemon.api.put("/1.0/profiles/default", {"devices": {}, "config": {}, "description": ""})
    for network in managed(daemon.api):
        reply = daemon.api.delete(f"{URL}/{network}")
        assert reply.status == 200, reply
    assert not bridges()
    assert not list((daemon.dir / "networks").glob("*"))
    eventually(lambda: not any(net.dnsmasq(n) for n in ("br0", "br1", "br2")), what="no dnsmasq is left")


@pytest.fixture
def br0(api):
    create(api)
    return "br0"
