"""`lxc project`, and projects in other commands: our client and Debian's (Go) say and do the same."""
import pathlib

import pytest

from helpers.client import OURS, ClientProgram
from helpers.projects import URL, empty, project, with_root  # noqa: F401 (a fixture)

GO = pathlib.Path("/usr/bin/lxc")
CLIENTS = {"ours": OURS, "go": GO}


@pytest.fixture(params=CLIENTS)
def lxc(request, daemon, api):
    program = CLIENTS[request.param]
    if not program.exists():
        pytest.skip(f"{program} is not installed")
    client = ClientProgram(daemon, program, daemon.root / f"client-{request.param}-{daemon.new_name()}", key=False)
    yield client
    for name in ("pr1", "pr2"):
        empty(api, name)


def test_life(api, lxc):
    assert lxc("project", "create", "pr1", "-c", "features.images=false", "-c", "user.a=b")[0] == "Project pr1 created\n"
    assert api.get(f"{URL}/pr1")["config"]["features.images"] == "false"
    assert lxc("project", "list", "-f", "csv")[0] == (
        "default (current),YES,YES,YES,YES,Default LXD project,2\npr1,NO,YES,YES,NO,,1\n").replace(
            ",2\n", f",{len(api.get(URL + '/default')['used_by'])}\n")
    assert lxc("project", "get", "pr1", "user.a")[0] == "b\n"
    assert lxc("project", "get", "pr1", "user.none")[0] == "\n"
    assert lxc("project", "set", "pr1", "user.a=c", "user.d=e") == ("", "")
    assert lxc("project", "unset", "pr1", "user.d") == ("", "")
    assert lxc("project", "set", "pr1", "limits.memory", "1GiB") == ("", "")
    assert lxc("project", "show", "pr1")[0] == """\
config:
  features.images: "false"
  features.profiles: "true"
  features.storage.volumes: "true"
  limits.memory: 1GiB
  user.a: c
description: ""
name: pr1
used_by:
- /1.0/profiles/default?project=pr1
"""
    assert lxc("project", "info", "pr1")[0] == """\
+------------------+-----------+-------+
|     RESOURCE     |   LIMIT   | USAGE |
+------------------+-----------+-------+
| CONTAINERS       | UNLIMITED | 0     |
+------------------+-----------+-------+
| CPU              | UNLIMITED | 0     |
+------------------+-----------+-------+
| DISK             | UNLIMITED | 0B    |
+------------------+-----------+-------+
| INSTANCES        | UNLIMITED | 0     |
+------------------+-----------+-------+
| MEMORY           | 1.00GiB   | 0B    |
+------------------+-----------+-------+
| NETWORKS         | UNLIMITED | 0     |
+------------------+-----------+-------+
| PROCESSES        | UNLIMITED | 0     |
+------------------+-----------+-------+
| VIRTUAL-MACHINES | UNLIMITED | 0     |
+------------------+-----------+-------+
"""
    edited = 'description: text\nconfig:\n  features.images: "false"\n  features.profiles: "true"\n  features.storage.volumes: "true"\n'
    assert lxc("project", "edit", "pr1", stdin=edited) == ("", "")
    shown = api.get(f"{URL}/pr1")
    assert shown["description"] == "text" and "limits.memory" not in shown["config"]
    assert lxc("project", "rename", "pr1", "pr2")[0] == "Project pr1 renamed to pr2\n"
    assert lxc("project", "delete", "pr2")[0] == "Project pr2 deleted\n"
    assert api.get(URL) == [f"{URL}/default"]


def test_switch(api, lxc, name):
    lxc("project", "create", "pr1", "-c", "features.images=false", "-c", "features.profiles=false")
    assert lxc("project", "switch", "pr1") == ("", "")
    assert "project: pr1" in lxc.config
    assert lxc("project", "list", "-f", "csv")[0].splitlines()[1].startswith("pr1 (current),NO,NO,")
    lxc("init", "bb", name)
    assert api.get("/1.0/instances?project=pr1") == [f"/1.0/instances/{name}?project=pr1"]
    assert lxc("list", "-f", "csv", "-c", "n")[0] == f"{name}\n"
    assert lxc("list", "-f", "csv", "-c", "n", "--project", "default")[0] == ""
    assert lxc("list", "-f", "csv", "-c", "en", "--all-projects")[0] == f"pr1,{name}\n"
    assert lxc("config", "show", name)[0] == lxc("config", "show", name, "--project", "pr1")[0]
    lxc("start", name)
    assert lxc("exec", name, "--", "echo", "hello")[0] == "hello\n"
    assert f"Error: Only empty projects can be removed" in lxc.error("project", "delete", "pr1")
    lxc("delete", "-f", name)
    assert lxc("project", "delete", "pr1")[0] == "Project pr1 deleted\n"
    assert "project: pr1" not in lxc.config
    assert lxc("project", "list", "-f", "csv")[0].startswith("default (current),")


def test_profiles_of_a_project(api, lxc):
    lxc("project", "create", "pr1")
    assert lxc("profile", "list", "--project", "pr1", "-f", "csv")[0] == "default,Default LXD profile for project pr1,0\n"
    assert lxc("profile", "create", "extra", "--project", "pr1")[0] == "Profile extra created\n"
    assert "Error: Profile not found" in lxc.error("profile", "show", "extra")
    assert lxc("profile", "copy", "extra", "extra2", "--project", "pr1") == ("", "")
    lxc("profile", "set", "extra", "user.k=v", "--project", "pr1")
    assert lxc("profile", "copy", "extra", "there", "--project", "pr1", "--target-project", "default") == ("", "")
    assert api.get("/1.0/profiles/there")["config"] == {"user.k": "v"}
    assert api.delete("/1.0/profiles/there").status == 200
    assert api.get("/1.0/profiles?project=pr1") == [f"/1.0/profiles/{n}?project=pr1" for n in ("default", "extra", "extra2")]


def test_remote_of_a_project(api, lxc):
    lxc("project", "create", "pr1")
    lxc("project", "switch", "pr1")
    assert api.get("/1.0?project=pr1")["environment"]["project"] == "pr1"
    assert api.get("/1.0")["environment"]["project"] == "default"
    assert "  project: pr1\n" in lxc("info")[0]
    assert lxc("image", "list", "-f", "csv")[0] == ""
    assert "bb" in lxc("image", "list", "-f", "csv", "--project", "default")[0]


def test_images_between_projects(daemon, api, lxc):
    lxc("project", "create", "pr1")
    lxc("image", "copy", "bb", "local:", "--alias", "mine", "--target-project", "pr1", "--mode", "relay")
    assert api.get("/1.0/images/aliases/mine?project=pr1")["target"] == daemon.fingerprint
    assert api.request("GET", "/1.0/images/aliases/mine").status == 404


def test_errors(api, lxc):
    lxc("project", "create", "pr1")
    assert "already exists" in lxc.error("project", "create", "pr1")
    assert "Project names may not contain underscores" in lxc.error("project", "create", "a_b")
    assert "Project not found" in lxc.error("project", "show", "nope")
    assert "Project not found" in lxc.error("project", "switch", "nope")
    assert lxc("list", "--project", "nope", "-f", "csv")[0] == ""
    assert "Project not found" in lxc.error("profile", "show", "default", "--project", "nope")
    assert "The 'default' project cannot be deleted" in lxc.error("project", "delete", "default")
    assert 'Invalid project configuration key "foo"' in lxc.error("project", "set", "pr1", "foo=bar")
    assert "Missing project name" in lxc.error("project", "info", "")
