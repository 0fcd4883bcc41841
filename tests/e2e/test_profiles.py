"""Profiles and how they reach instances."""
import pytest

URL = "/1.0/profiles"


@pytest.fixture
def profile(api):
    """A profile that is deleted after the test."""
    assert api.post(URL, {"name": "p1", "config": {"user.p": "1"}, "description": "d"}).status == 201
    yield "p1"
    api.delete(f"{URL}/p1")


def test_life(api):
    reply = api.post(URL, {"name": "life", "config": {"limits.processes": "10"}, "description": "text",
                           "devices": {"d": {"type": "none"}}})
    assert reply.status == 201 and reply.headers["Location"] == f"{URL}/life"
    assert api.get(f"{URL}/life") == {"name": "life", "config": {"limits.processes": "10"}, "description": "text",
                                      "devices": {"d": {"type": "none"}}, "used_by": []}
    assert f"{URL}/life" in api.get(URL) and "life" in {row["name"] for row in api.get(URL + "?recursion=1")}
    assert api.post(f"{URL}/life", {"name": "renamed"}).status == 201
    assert api.request("GET", f"{URL}/life").status == 404
    assert api.delete(f"{URL}/renamed").status == 200
    assert api.request("GET", f"{URL}/renamed").status == 404


def test_put_replaces_and_patch_merges(api, profile):
    assert api.patch(f"{URL}/p1", {"config": {"user.q": "2"}}).status == 200
    after = api.get(f"{URL}/p1")
    assert after["config"] == {"user.p": "1", "user.q": "2"} and after["description"] == "d"
    assert api.put(f"{URL}/p1", {"config": {"user.r": "3"}, "devices": {}, "description": "e"}).status == 200
    after = api.get(f"{URL}/p1")
    assert after["config"] == {"user.r": "3"} and after["description"] == "e"


def test_etag(api, profile):
    etag = api.request("GET", f"{URL}/p1").headers["ETag"]
    body = {"config": {"user.e": "1"}, "devices": {}, "description": ""}
    assert api.put(f"{URL}/p1", body, headers={"If-Match": etag}).status == 200
    reply = api.put(f"{URL}/p1", body, headers={"If-Match": etag})
    assert reply.status == 412 and reply.error.startswith("ETag doesn't match:")


@pytest.mark.parametrize("body, text", [
    ({"name": ""}, "No name provided"),
    ({}, "No name provided"),
    ({"name": "a/b"}, "Profile names may not contain slashes"),
    ({"name": "x", "config": {"zz": "1"}}, "Unknown configuration key: zz"),
    ({"name": "x", "config": {"limits.memory": "12q"}}, ""),
    ({"name": "x", "config": {"volatile.uuid": "1"}}, "Volatile keys can only be set on instances"),
    ({"name": "x", "devices": {"e": {"type": "zzz"}}}, "device type"),
    ({"name": "x", "devices": {"e": {"type": "disk", "path": "/x"}}}, 'Device validation failed for "e"'),
])
def test_refused(api, body, text):
    before = api.get(URL)
    reply = api.post(URL, body)
    assert reply.status == 400 and text in reply.error, reply
    assert api.get(URL) == before


def test_duplicate(api, profile):
    reply = api.post(URL, {"name": "p1"})
    assert reply.status in (409, 500) and "already exists" in reply.error


def test_default_is_kept(api):
    reply = api.delete(f"{URL}/default")
    assert reply.status == 403 and 'The "default" profile cannot be deleted' in reply.error
    assert api.post(f"{URL}/default", {"name": "other"}).status == 403


def test_used_profile_cannot_be_deleted(api, profile, name):
    api.done(api.create(name, profiles=["default", "p1"]))
    assert api.get(f"{URL}/p1")["used_by"] == [f"/1.0/instances/{name}"]
    reply = api.delete(f"{URL}/p1")
    assert reply.status in (400, 500) and reply.error == "Profile is currently in use"
    api.remove(name)
    assert api.get(f"{URL}/p1")["used_by"] == []


def test_expansion_order(api, profile, name):
    assert api.post(URL, {"name": "p2", "config": {"user.p": "2", "user.o": "p2"}}).status == 201
    api.done(api.create(name, {"user.o": "own"}, profiles=["default", "p1", "p2"]))
    instance = api.get(f"/1.0/instances/{name}")
    assert instance["expanded_config"]["user.p"] == "2" and instance["expanded_config"]["user.o"] == "own"
    assert "user.p" not in instance["config"]
    api.remove(name)
    assert api.delete(f"{URL}/p2").status == 200


def test_change_reaches_instances(api, profile, name):
    api.launch(name, profiles=["default", "p1"])
    assert api.patch(f"{URL}/p1", {"config": {"limits.processes": "77"}}).status == 200
    assert api.get(f"/1.0/instances/{name}")["expanded_config"]["limits.processes"] == "77"


def test_change_that_breaks_an_instance_is_refused(api, name):
    assert api.post(URL, {"name": "rooted", "devices": {"root": {"type": "disk", "path": "/", "pool": "default"}}}).status == 201
    api.done(api.create(name, profiles=["rooted"]))
    reply = api.put(f"{URL}/rooted", {"config": {}, "devices": {}, "description": ""})
    assert reply.status >= 400, reply
    assert api.get(f"{URL}/rooted")["devices"]["root"]["pool"] == "default"
    api.remove(name)
    assert api.delete(f"{URL}/rooted").status == 200


def test_rename_follows_in_instances(api, profile, name):
    api.done(api.create(name, profiles=["default", "p1"]))
    assert api.post(f"{URL}/p1", {"name": "p9"}).status == 201
    assert api.get(f"/1.0/instances/{name}")["profiles"] == ["default", "p9"]
    assert api.post(f"{URL}/p9", {"name": "p1"}).status == 201
    api.remove(name)
