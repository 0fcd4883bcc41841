"""The drivers of the packet filter against the spoofing truth table, without daemon or containers: what a NIC with given keys may send."""
import subprocess

import pytest

from helpers import lan as lans
from helpers.daemon import BIN
from helpers.firewall import Firewall, nft
from helpers.truth_table import COLUMNS, ROUTES, check

pytestmark = pytest.mark.ours


@pytest.fixture(scope="module")
def lan():
    made = lans.plain_lan("br0")
    yield made
    made.close()
    lans.run("ip", "link", "delete", made.bridge)


@pytest.fixture(scope="module", params=["nftables", "xtables"])
def firewall(request, lan, tmp_path_factory):
    nft("flush", "ruleset")
    lan.xtables = request.param == "xtables"
    made = Firewall(tmp_path_factory.mktemp("firewall"), request.param)
    made.ask("start")
    assert made.ask("driver") == request.param
    yield made
    assert made.close() == 0
    nft("flush", "ruleset")


def allowed(column, family):
    """The column's prefixes of a family as the driver program takes them."""
    keys = COLUMNS[column]
    if keys.get(f"security.{family}_filtering") != "true":
        return "-"
    return "none" if keys[f"{family}.address"] == "none" else f"{keys[f'{family}.address']},{ROUTES[f'{family}.routes']}"


@pytest.mark.parametrize("column", COLUMNS)
def test_column(firewall, lan, column):
    """Each from the one before it; the addresses of the port are the bridge's business."""
    if column == "none":
        firewall.ask("nic", "c1.eth0", lan.a.host_end, lan.a.mac, "192.0.2.10", "-", lan.bridge)
        firewall.ask("nic-remove", "c1.eth0")
    else:
        firewall.ask("nic", "c1.eth0", lan.a.host_end, lan.a.mac, allowed(column, "ipv4"), allowed(column, "ipv6"), lan.bridge)
    subprocess.run([BIN / "link-driver", "unpin" if column == "none" else "pin", lan.a.host_end, lan.a.mac], check=True)
    check(lan, column)
