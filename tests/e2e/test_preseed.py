"""`lxd init` without questions."""
import pytest
import yaml

from helpers.daemon import BIN, REFERENCE
from helpers.terminal import dialogue


@pytest.fixture(autouse=True)
def emptied(bare_daemon):
    """Each test begins and ends with a server that nobody has set up."""
    clear(bare_daemon)
    yield
    clear(bare_daemon)


def clear(daemon):
    api = daemon.api
    api.put("/1.0", {"config": {}})
    api.put("/1.0/profiles/default", {"config": {}, "devices": {}, "description": ""})
    for url in api.get("/1.0/profiles"):
        if url != "/1.0/profiles/default":
            api.delete(url)
    for url in api.get("/1.0/storage-pools"):
        assert api.delete(url).status == 200


def preseed(daemon, text, check=True):
    return daemon.admin("init", "--preseed", stdin=text if isinstance(text, str) else yaml.safe_dump(text), check=check)


FULL = {
    "config": {"images.auto_update_interval": "0"},
    "storage_pools": [{"name": "sp1", "driver": "dir", "description": "a pool", "config": {"user.x": "1"}}],
    "profiles": [{"name": "default", "devices": {"root": {"type": "disk", "path": "/", "pool": "sp1"}}},
                 {"name": "extra", "description": "more", "config": {"limits.processes": "100"}, "devices": {}}],
}


def test_minimal(bare_daemon):
    bare_daemon.admin("init", "--minimal")
    pool = bare_daemon.api.get("/1.0/storage-pools/default")
    assert pool["driver"] in ("dir", "btrfs")
    root = bare_daemon.api.get("/1.0/profiles/default")["devices"]["root"]
    assert root == {"type": "disk", "path": "/", "pool": "default"}
    if not REFERENCE:
        bare_daemon.admin("init", "--minimal")  # again changes nothing
        assert bare_daemon.api.get("/1.0/storage-pools/default") == {**pool, "used_by": ["/1.0/profiles/default"]}


@pytest.mark.ours
def test_auto(bare_daemon):
    bare_daemon.admin("init", "--auto", "--storage-backend", "dir")
    assert bare_daemon.api.get("/1.0/storage-pools/default")["driver"] == "dir"
    bare_daemon.admin("init", "--auto")
    result = bare_daemon.admin("init", "--auto", "--storage-backend", "dir", check=False)
    assert result.returncode == 1 and "Storage has already been configured" in result.stderr


def test_preseed_twice(bare_daemon):
    for _ in range(2):
        preseed(bare_daemon, FULL)
        api = bare_daemon.api
        assert api.get("/1.0")["config"]["images.auto_update_interval"] == "0"
        assert api.get("/1.0/storage-pools/sp1")["description"] == "a pool"
        assert api.get("/1.0/profiles/default")["devices"]["root"]["pool"] == "sp1"
        assert api.get("/1.0/profiles/extra")["config"] == {"limits.processes": "100"}


def test_preseed_merges_into_what_is_there(bare_daemon):
    preseed(bare_daemon, FULL)
    preseed(bare_daemon, {"profiles": [{"name": "extra", "config": {"user.more": "1"}}]})
    assert bare_daemon.api.get("/1.0/profiles/extra")["config"] == {"limits.processes": "100", "user.more": "1"}


def test_failure_rolls_back(bare_daemon):
    broken = {**FULL, "storage_pools": FULL["storage_pools"] + [{"name": "sp9", "driver": "nope"}]}
    result = preseed(bare_daemon, broken, check=False)
    assert result.returncode == 1 and 'Failed to create storage pool "sp9"' in result.stderr
    api = bare_daemon.api
    assert api.get("/1.0/storage-pools") == [] and "images.auto_update_interval" not in api.get("/1.0")["config"]
    assert api.get("/1.0/profiles") == ["/1.0/profiles/default"]


@pytest.mark.ours
def test_late_failure_rolls_back_too(bare_daemon):
    broken = {**FULL, "profiles": FULL["profiles"] + [{"name": "bad", "config": {"no.such.key": "1"}}]}
    result = preseed(bare_daemon, broken, check=False)
    assert result.returncode == 1 and "no.such.key" in result.stderr
    api = bare_daemon.api
    assert api.get("/1.0/storage-pools") == [] and api.get("/1.0/profiles") == ["/1.0/profiles/default"]
    assert api.get("/1.0/profiles/default")["devices"] == {} and api.get("/1.0")["config"] == {}


@pytest.mark.parametrize("text", ["{[", "- a\n- b\n", "storage_pools: text\n", "profiles: [{name: [1]}]\n"])
def test_bad_yaml(bare_daemon, text):
    result = preseed(bare_daemon, text, check=False)
    assert result.returncode == 1 and result.stderr.startswith("Error: ")


def test_flags_that_exclude_each_other(bare_daemon):
    result = bare_daemon.admin("init", "--storage-backend", "dir", check=False)
    assert result.returncode == 1 and "Configuration flags require --auto" in result.stderr
    result = bare_daemon.admin("init", "--auto", "--preseed", stdin="", check=False)
    assert result.returncode == 1 and "Can't use" in result.stderr


def test_dump_can_be_fed_back(bare_daemon):
    preseed(bare_daemon, FULL)
    dump = bare_daemon.admin("init", "--dump").stdout
    assert {"config", "storage_pools", "profiles"} <= set(yaml.safe_load(dump))
    if not REFERENCE:
        preseed(bare_daemon, dump)


def answer(daemon, *steps):
    """`lxd init` on a terminal; @steps are answers to the questions that hold the text beside them."""
    return dialogue([str(BIN / "lxd"), "init"], list(steps), daemon.env())


FROM_AFAR = [("clustering", "no"), ("new storage pool?", ""), ("Name of the new", "p1"), ("MAAS", ""), ("bridge?", "no"), ("existing bridge", "no"), ("over the network", "yes"),
             ("Address to bind", "127.0.0.1"), ("Port to bind", "0"), ("Port to bind", "8447"), ("Trust password", "secret"), ("Again", "other"),
             ("Trust password", ""), ("Again", ""), ("Trust password", "secret"), ("Again", "secret"), ("cached images", "no"), ("preseed", "no")]


def questions(daemon, steps):
    """Without those about networks when the daemon knows none."""
    known = "network" in daemon.api.get("/1.0")["api_extensions"]
    return [step for step in steps if known or "bridge" not in step[0]]


@pytest.mark.ours
def test_projects(bare_daemon):
    preseed = """projects:
- name: pre1
  description: first
  config:
    features.images: "false"
    limits.containers: "3"
- name: default
  config: {}
"""
    bare_daemon.admin("init", "--preseed", stdin=preseed)
    shown = bare_daemon.api.get("/1.0/projects/pre1")
    assert shown["description"] == "first" and shown["config"]["limits.containers"] == "3" and shown["config"]["features.images"] == "false"
    # again, with a change
    bare_daemon.admin("init", "--preseed", stdin=preseed.replace('"3"', '"4"'))
    assert bare_daemon.api.get("/1.0/projects/pre1")["config"]["limits.containers"] == "4"
    # one that fails takes the others along
    failed = bare_daemon.admin("init", "--preseed", stdin="projects:\n- name: pre2\n- name: pre3\n  config: {foo: bar}\n", check=False)
    assert failed.returncode == 1 and 'Failed to create project "pre3"' in failed.stderr
    assert bare_daemon.api.get("/1.0/projects") == ["/1.0/projects/default", "/1.0/projects/pre1"]
    assert "name: pre1" in bare_daemon.admin("init", "--dump").stdout
    assert bare_daemon.api.delete("/1.0/projects/pre1").status == 200


@pytest.mark.ours
def test_questions_on_a_terminal(bare_daemon):
    status, screen = answer(bare_daemon, *questions(bare_daemon, FROM_AFAR))
    assert status == 0, screen
    assert screen.count("Invalid input, try again.") == 2 and 'Invalid input: "0" is not a port' in screen
    assert "secret" not in screen and "other" not in screen
    api = bare_daemon.api
    config = api.get("/1.0")["config"]
    assert config == {"core.https_address": "127.0.0.1:8447", "core.trust_password": True, "images.auto_update_interval": "0"}
    assert api.get("/1.0/storage-pools") == ["/1.0/storage-pools/p1"]
    assert api.get("/1.0/profiles/default")["devices"] == {"root": {"type": "disk", "path": "/", "pool": "p1"}}


@pytest.mark.ours
@pytest.mark.parametrize("steps,what", [([("clustering", "yes")], "Clusters"), ([("clustering", ""), ("storage pool?", "no"), ("MAAS", "yes")], "MAAS servers")])
def test_yes_to_what_cannot_be_done(bare_daemon, steps, what):
    status, screen = answer(bare_daemon, *steps)
    assert status == 1 and screen.endswith(f"Error: {what} are not supported yet\n")
    assert bare_daemon.api.get("/1.0/storage-pools") == []


@pytest.mark.ours
def test_the_end_of_the_answers_changes_nothing(bare_daemon):
    result = bare_daemon.admin("init", stdin="no\nyes\np1\n", check=False)
    assert result.returncode == 1 and result.stderr == "Error: EOF\n"
    assert bare_daemon.api.get("/1.0/storage-pools") == []
