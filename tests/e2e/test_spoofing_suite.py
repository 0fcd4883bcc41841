"""The spoofing tests' own test: every frame arrives where nothing filters, and a packet filter with one rule missing is found out."""
import pytest

from helpers import handmade_filter
from helpers import lan as lans
from helpers.truth_table import COLUMNS, ROWS, check, differences

pytestmark = pytest.mark.ours


@pytest.fixture(scope="module")
def lan():
    made = lans.plain_lan("br0")
    yield made
    handmade_filter.remove()
    made.close()
    lans.run("ip", "link", "delete", made.bridge)


def test_rows_are_unique_and_complete():
    assert len({row.name for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert len(row.cells.split()) == len(COLUMNS) and set(row.cells.split()) <= {"HP", "H", "P", "-"}, row


def test_without_filters_every_frame_arrives(lan):
    check(lan, "none")


def test_without_filters_advertisements_reach_the_hosts_stack(lan):
    lan.xtables = True
    try:
        check(lan, "none")
    finally:
        lan.xtables = False


@pytest.mark.parametrize("column", list(COLUMNS)[1:])
def test_a_filter_by_hand_meets_every_row(lan, column):
    handmade_filter.install(lan.a, handmade_filter.rules(column, lan.a))
    check(lan, column)


# Rules whose frames are caught by a later, wider rule of the same column.
COVERED = {"mac": (), "46": ("na headers",), "n46": ("ports", "arp sender", "dhcp client", "na headers", "na length", "na option")}


@pytest.mark.parametrize("column", list(COVERED))
def test_each_rule_is_missed(lan, column):
    """Without any one of its rules, some row comes out differently."""
    made = handmade_filter.rules(column, lan.a)
    unnoticed = []
    for missing in made:
        handmade_filter.install(lan.a, [rule for rule in made if rule != missing])
        if missing[0] not in COVERED[column] and not differences(lan, column):
            unnoticed.append(missing[0])
    assert unnoticed == []


def test_a_filtered_machine_keeps_its_place(lan):
    """Its neighbour may send anything, but the bridge does not believe that it moved."""
    handmade_filter.install(lan.a, handmade_filter.rules("46", lan.a))
    with lan.reversed() as from_b:
        check(from_b, "none", kept=[lan.a.mac])
    handmade_filter.remove()
