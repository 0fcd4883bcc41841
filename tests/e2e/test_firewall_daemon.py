"""The daemon's firewall: which driver, changed while running, and the warnings that administrators see."""
import subprocess

import pytest

from helpers.daemon import BIN, eventually
from helpers.firewall import chains, nft, tables

pytestmark = pytest.mark.ours

CONFIG = {"ipv4.address": "192.0.2.1/24", "ipv6.address": "2001:db8::1/64", "ipv4.nat": "true"}


@pytest.fixture
def api(bare_daemon):
    api = bare_daemon.api
    reply = api.post("/1.0/networks", {"name": "br0", "config": CONFIG})
    assert reply.status == 201, reply
    yield api
    if not bare_daemon.alive:
        bare_daemon.start()
    assert set_driver(api, "").status == 200
    assert api.delete("/1.0/networks/br0").status == 200


def set_driver(api, name):
    return api.patch("/1.0", {"config": {"core.firewall_driver": name}})


def driver(api):
    return api.get("/1.0")["environment"]["firewall"]


def saved(program="iptables"):
    return subprocess.run([f"{program}-save"], check=True, capture_output=True, text=True).stdout


def warnings(api, kind, status="new"):
    return [w for w in api.get("/1.0/warnings?recursion=1") if w["type"] == kind and w["status"] == status]


def test_driver_is_shown(bare_daemon, api):
    assert driver(api) == "nftables"
    text = subprocess.run([BIN / "lxc", "info"], env=bare_daemon.env(), check=True, capture_output=True, text=True).stdout
    assert "\n  firewall: nftables\n" in text


def test_change_of_driver(bare_daemon, api):
    four = ["fwd.br0", "in.br0", "out.br0", "pstrt.br0"]
    assert chains("inet lxd") == four
    assert set_driver(api, "xtables").status == 200
    assert driver(api) == "xtables"
    assert "table inet lxd" not in tables()
    assert "generated for LXD network br0" in saved() and "generated for LXD network br0" in saved("ip6tables")
    bare_daemon.restart()
    assert driver(api) == "xtables" and saved().count("-j MASQUERADE") == 1
    assert set_driver(api, "").status == 200
    assert driver(api) == "nftables" and chains("inet lxd") == four and "lxd" not in saved()


def test_drivers_that_cannot_be(bare_daemon, api):
    reply = set_driver(api, "ipfw")
    assert reply.status == 400 and "ipfw" in reply.error, reply
    bare_daemon.stop()
    bare_daemon.extra_env = {"PATH": "/nowhere"}
    try:
        bare_daemon.start()
        reply = set_driver(api, "xtables")
        assert reply.status == 400
        assert "xtables needs the program ebtables-save, which is not installed" in reply.error
        assert "core.firewall_driver" not in api.get("/1.0")["config"] and driver(api) == "nftables"
        assert "pstrt.br0" in chains("inet lxd")
    finally:
        bare_daemon.stop()
        bare_daemon.extra_env = {}
        bare_daemon.start()


def test_a_chosen_driver_that_stops_working(bare_daemon, api):
    assert set_driver(api, "xtables").status == 200
    bare_daemon.stop()
    bare_daemon.extra_env = {"PATH": "/nowhere"}
    try:
        bare_daemon.start()
        assert driver(api) == "none"
        [warning] = warnings(api, "Packet filters are not in force")
        assert "ebtables-save" in warning["last_message"] and warning["severity"] == "high"
        assert "generated for LXD network br0" in saved()  # what was in force stays
        assert set_driver(api, "nftables").status == 200
        assert "pstrt.br0" in chains("inet lxd")
    finally:
        bare_daemon.stop()
        bare_daemon.extra_env = {}
        bare_daemon.start()
    assert warnings(api, "Packet filters are not in force") == []
    assert driver(api) == "nftables" and "lxd-" not in saved()  # and what xtables left is gone now


def test_flush_is_undone(bare_daemon, api):
    nft("flush", "ruleset")
    eventually(lambda: tables() and chains("inet lxd") == ["fwd.br0", "in.br0", "out.br0", "pstrt.br0"], what="the rules are back")
    eventually(lambda: warnings(api, "Packet filters changed by another program"), what="a warning")
    bare_daemon.stop()
    nft("flush", "ruleset")
    nft("add table inet lxd; add chain inet lxd fwd.gone { type filter hook forward priority 0; }")
    bare_daemon.start()
    eventually(lambda: chains("inet lxd") == ["fwd.br0", "in.br0", "out.br0", "pstrt.br0"], what="the rules are back")


def test_foreign_policy(bare_daemon, api):
    kind = "Another firewall drops forwarded traffic"
    nft("add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }")
    [warning] = eventually(lambda: warnings(api, kind), what="a warning")
    assert warning["entity_url"] == "/1.0/networks/br0" and warning["severity"] == "moderate"
    assert 'Chain "FORWARD" of table "ip filter"' in warning["last_message"]
    bare_daemon.restart()
    nft("delete table ip filter")
    eventually(lambda: not warnings(api, kind), what="the warning is resolved")
    assert warnings(api, kind, "resolved")
