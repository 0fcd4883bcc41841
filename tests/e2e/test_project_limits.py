"""limits.* of projects: sums over effective values, by every route, also when many come at once."""
import threading

import pytest

from helpers.projects import URL, in_project, project, with_root  # noqa: F401 (a fixture)

pytestmark = pytest.mark.ours


def limit(api, **limits):
    return api.patch(f"{URL}/pr1", {"config": {f"limits.{k.replace('_', '-')}": v for k, v in limits.items()}})


def config(inside, name):
    return inside.get(f"/1.0/instances/{name}")["config"]


@pytest.fixture
def inside(project):
    return in_project(project, "pr1")


def test_count(api, inside, name, daemon):
    other = daemon.new_name()
    assert limit(api, containers="1").status == 200
    inside.done(inside.create(name))
    text = 'Reached maximum number of instances of type "container" in project "pr1"'
    assert text in inside.failure(inside.create(other))
    assert inside.request("GET", f"/1.0/instances/{other}").status == 404
    # by a copy, too
    assert text in inside.failure(inside.post("/1.0/instances", {"name": other, "source": {"type": "copy", "source": name}}))
    reply = limit(api, containers="0")
    assert reply.status == 400 and '"limits.containers" is too low: there currently are 1 instances' in reply.error
    assert limit(api, containers="", instances="1").status == 200
    assert 'Reached maximum number of instances in project "pr1"' in inside.failure(inside.create(other))
    assert '"limits.instances" is too low: there currently are 1 total instances' in limit(api, instances="0").error
    # it counts nobody else's
    api.done(api.create(other))
    api.remove(other)


def test_the_default_project_has_limits_too(api, name):
    before = api.get(f"{URL}/default")
    assert api.get("/1.0/instances") == []
    assert api.patch(f"{URL}/default", {"config": {"limits.instances": "0"}}).status == 200
    try:
        assert 'Reached maximum number of instances in project "default"' in api.failure(api.create(name))
    finally:
        assert api.put(f"{URL}/default", before).status == 200
    assert api.get(f"{URL}/default")["config"] == before["config"]


def test_zero(api, inside, name):
    assert limit(api, containers="0").status == 200
    assert "Reached maximum number" in inside.failure(inside.create(name))


@pytest.mark.parametrize("key, value, more, limit_value", [
    ("limits.memory", "64MiB", "65MiB", "128MiB"), ("limits.processes", "100", "101", "200"), ("limits.cpu", "1", "2", "2")])
def test_sums(api, inside, name, daemon, key, value, more, limit_value):
    other = daemon.new_name()
    what = key.removeprefix("limits.")
    assert limit(api, **{what: limit_value}).status == 200
    assert f'has no "{key}" config, either directly or via a profile' in inside.failure(inside.create(name))
    inside.done(inside.create(name, {key: value}))
    text = f'Reached maximum aggregate value "{limit_value}" for "{key}" in project "pr1"'
    assert text in inside.failure(inside.create(other, {key: more}))
    inside.done(inside.create(other, {key: value}))
    # by edits: patch, put, removal of the key
    reply = inside.patch(f"/1.0/instances/{name}", {"config": {key: more}})
    assert reply.status == 403 and text in reply.error
    whole = inside.get(f"/1.0/instances/{name}")
    del whole["config"][key]
    assert f'has no "{key}" config' in inside.failure(inside.put(f"/1.0/instances/{name}", whole))
    assert config(inside, name)[key] == value
    # by the project
    reply = limit(api, **{what: value})
    assert reply.status == 400 and f'"{key}" is too low: current maximum is' in reply.error
    # what is there may shrink
    assert inside.patch(f"/1.0/instances/{other}", {"config": {key: "1" if what != "memory" else "32MiB"}}).status == 200
    state = api.get(f"{URL}/pr1/state")["resources"][what]
    assert 0 < state["Usage"] <= state["Limit"]


def test_by_profiles(api, inside, name):
    """A profile counts for each of its users."""
    assert inside.patch("/1.0/profiles/default", {"config": {"limits.memory": "64MiB"}}).status == 200
    assert limit(api, memory="100MiB").status == 200
    inside.done(inside.create(name))
    reply = inside.patch("/1.0/profiles/default", {"config": {"limits.memory": "101MiB"}})
    assert reply.status == 403 and "Reached maximum aggregate value" in reply.error
    assert inside.get("/1.0/profiles/default")["config"] == {"limits.memory": "64MiB"}
    reply = inside.patch("/1.0/profiles/default", {"config": {"limits.memory": ""}})
    assert reply.status == 403 and 'has no "limits.memory" config' in reply.error
    # another profile of the instance
    assert inside.post("/1.0/profiles", {"name": "big", "config": {"limits.memory": "1GiB"}}).status == 201
    reply = inside.patch(f"/1.0/instances/{name}", {"profiles": ["default", "big"]})
    assert reply.status == 403 and "Reached maximum aggregate value" in reply.error
    assert inside.get(f"/1.0/instances/{name}")["profiles"] == ["default"]


def test_a_profile_of_the_default_project_counts_in_others(api, project, name):
    inside = project("pr1", {"features.images": "false", "features.profiles": "false"})
    assert api.post("/1.0/profiles", {"name": "mem", "config": {"limits.memory": "64MiB"}}).status == 201
    assert limit(api, memory="64MiB").status == 200
    inside.done(inside.create(name, profiles=["default", "mem"]))
    reply = api.patch("/1.0/profiles/mem", {"config": {"limits.memory": "65MiB"}})
    assert reply.status == 403 and 'in project "pr1"' in reply.error
    inside.remove(name)
    assert api.delete("/1.0/profiles/mem").status == 200


def test_values_that_cannot_be_summed(api, inside, name):
    assert limit(api, memory="1GiB", cpu="4").status == 200
    assert "Value can't be a percentage" in inside.failure(inside.create(name, {"limits.memory": "10%", "limits.cpu": "1"}))
    assert "CPUs can't be pinned" in inside.failure(inside.create(name, {"limits.memory": "1MiB", "limits.cpu": "0-1"}))
    # a sum beyond all numbers is beyond the limit
    inside.done(inside.create(name, {"limits.memory": "1MiB", "limits.cpu": "1"}))
    reply = inside.patch(f"/1.0/instances/{name}", {"config": {"limits.memory": "7EiB"}})
    assert reply.status == 403 and "Reached maximum aggregate value" in reply.error


def test_disk(api, inside, name):
    """The pool's driver cannot limit root disks: a project that wants it gets none."""
    assert limit(api, disk="1GiB").status == 200
    assert 'has no "size" config set on the root device' in inside.failure(inside.create(name))


def test_a_limit_that_instances_do_not_have(api, inside, name):
    inside.done(inside.create(name))
    reply = limit(api, memory="1GiB")
    assert reply.status == 403 and f'Instance "{name}" in project "pr1" has no "limits.memory" config' in reply.error
    assert "limits.memory" not in api.get(f"{URL}/pr1")["config"]


def test_many_at_once(api, inside, daemon):
    """However they race: no more than the limit."""
    assert limit(api, instances="3", memory="100MiB").status == 200
    names = [daemon.new_name() for _ in range(12)]
    replies = {}

    def create(name):
        replies[name] = inside.wait(inside.create(name, {"limits.memory": "20MiB"}))

    threads = [threading.Thread(target=create, args=(n,)) for n in names]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len([r for r in replies.values() if r["status"] == "Success"]) == 3
    assert len(inside.get("/1.0/instances")) == 3
    made = [n for n in names if replies[n]["status"] == "Success"]
    # 60 MiB of 100: of three edits to 40 two may be
    results = []

    def edit(name):
        results.append(inside.patch(f"/1.0/instances/{name}", {"config": {"limits.memory": "40MiB"}}).status)

    threads = [threading.Thread(target=edit, args=(n,)) for n in made]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(results) == [200, 200, 403], results
    assert api.get(f"{URL}/pr1/state")["resources"]["memory"] == {"Limit": 100 << 20, "Usage": 100 << 20}


def test_state(api, inside, name):
    assert api.get(f"{URL}/pr1/state")["resources"]["containers"] == {"Limit": -1, "Usage": 0}
    inside.done(inside.create(name, {"limits.memory": "1MiB"}))
    assert limit(api, instances="5", processes="").status == 200
    resources = api.get(f"{URL}/pr1/state")["resources"]
    assert sorted(resources) == ["containers", "cpu", "disk", "instances", "memory", "networks", "processes", "virtual-machines"]
    assert resources["instances"] == {"Limit": 5, "Usage": 1} and resources["memory"] == {"Limit": -1, "Usage": 1 << 20}
    assert resources["virtual-machines"] == {"Limit": -1, "Usage": 0}
    assert api.request("GET", f"{URL}/nope/state").status == 404
