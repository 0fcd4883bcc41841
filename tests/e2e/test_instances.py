"""Creating, listing, editing, copying, renaming and deleting instances."""
import json
import re

import pytest

INSTANCE_KEYS = ["architecture", "config", "devices", "ephemeral", "profiles", "stateful", "description", "created_at",
                 "expanded_config", "expanded_devices", "name", "status", "status_code", "last_used_at", "location", "type", "project"]


def url(name):
    return f"/1.0/instances/{name}"


def test_create_from_alias(daemon, api, name):
    api.done(api.create(name, profiles=None))
    instance = api.get(url(name))
    assert list(instance) == INSTANCE_KEYS
    assert (instance["status"], instance["status_code"]) == ("Stopped", 102)
    assert instance["profiles"] == ["default"] and instance["devices"] == {}
    assert instance["expanded_devices"]["root"] == {"type": "disk", "path": "/", "pool": "default"}
    assert instance["type"] == "container" and instance["project"] == "default" and instance["location"] == "none"
    config = instance["config"]
    assert config["volatile.apply_template"] == "create"
    assert config["volatile.base_image"] == daemon.fingerprint
    assert re.fullmatch(r"[0-9a-f-]{36}", config["volatile.uuid"])
    assert config["image.os"] == "busybox"
    assert instance["last_used_at"].startswith("1970-01-01T00:00:00Z")


@pytest.mark.parametrize("length", [12, 64])
def test_create_from_fingerprint(daemon, api, name, length):
    source = {"type": "image", "fingerprint": daemon.fingerprint[:length]}
    api.done(api.create(name, source=source))
    assert api.get(url(name))["config"]["volatile.base_image"] == daemon.fingerprint


def test_create_from_properties(daemon, api, name):
    api.done(api.create(name, source={"type": "image", "properties": {"os": "busybox"}}))
    assert api.get(url(name))["config"]["volatile.base_image"] == daemon.fingerprint


def test_create_empty(api, name):
    api.done(api.create(name, source={"type": "none"}))
    assert api.get(url(name))["status"] == "Stopped"
    assert api.failure(api.state(name, "start"))
    assert api.get(url(name))["status"] == "Stopped"


def test_create_without_a_name_makes_one_up(daemon, api):
    operation = api.done(api.create(""))
    name = operation["resources"]["instances"][0].rsplit("/", 1)[1]
    daemon.names.add(name)
    assert re.fullmatch(r"[a-z][a-z0-9-]*[a-z0-9]", name)
    api.remove(name)


def test_create_with_config_devices_and_description(api, name):
    api.done(api.create(name, {"user.a": "b", "limits.processes": "100"}, {"root": {"type": "disk", "path": "/", "pool": "default"}},
                        description="text", ephemeral=True, profiles=[]))
    instance = api.get(url(name))
    assert instance["config"]["user.a"] == "b" and instance["description"] == "text" and instance["ephemeral"] is True
    assert instance["profiles"] == [] and instance["devices"]["root"]["pool"] == "default"


@pytest.mark.parametrize("bad, text", [
    ("bad_name", "Name can only contain alphanumeric and hyphen characters"),
    ("-a", 'Name must not start with "-" character'),
    ("a-", 'Name must not end with "-" character'),
    ("1a", "Name must not start with a number"),
    ("a" * 64, "Name must be 1-63 characters long"),
    ("a b", "Name can only contain alphanumeric and hyphen characters"),
])
def test_bad_names(api, bad, text):
    reply = api.post("/1.0/instances", {"name": bad, "source": {"type": "none"}})
    assert reply.status == 400 and reply.error == f"Invalid instance name: {text}", reply


@pytest.mark.parametrize("bad", ["../x", "a/b", "/", "a\n", "a\u00e9"])
def test_names_that_could_be_paths(api, bad):
    reply = api.post("/1.0/instances", {"name": bad, "source": {"type": "none"}})
    assert reply.status == 400, reply


@pytest.mark.parametrize("source, status, text", [
    ({"type": "bogus"}, 400, "Unknown source type bogus"),
    ({"type": "image", "alias": "nope"}, 404, "Image alias not found"),
    ({"type": "image"}, None, "Must specify one of alias, fingerprint or properties for init from image"),
    ({"type": "copy"}, 400, "Must specify a source instance"),
    ({"type": "copy", "source": "nope-nope"}, 404, ""),
])
def test_bad_sources(api, name, source, status, text):
    reply = api.create(name, source=source)
    if status:
        assert reply.status == status, reply
    assert text in api.failure(reply)
    assert api.request("GET", url(name)).status == 404


@pytest.mark.parametrize("body, text", [
    ({"config": {"foo": "1"}}, "Unknown configuration key: foo"),
    ({"config": {"limits.memory": "bar"}}, "bar"),
    ({"config": {"security.nesting": "maybe"}}, 'Invalid value for a boolean "maybe"'),
    ({"config": {"volatile.zz": "1"}}, "volatile.zz"),
    ({"devices": {"d": {"type": "zzz"}}}, "zzz"),
    ({"devices": {"d": {"type": "disk", "path": "/x"}}}, 'Disk entry is missing the required "source"'),
    ({"devices": {"d": {"type": "disk", "source": "/tmp", "path": "/x", "bogus": "1"}}}, "bogus"),
    ({"profiles": ["nope"]}, 'Requested profile "nope" doesn\'t exist'),
    ({"profiles": []}, "No root device could be found"),
    ({"type": "virtual-machine", "source": {"type": "none"}}, "not supported"),
    ({"source": {"type": "image", "fingerprint": "0" * 64}}, ""),
])
def test_refused_creations_leave_nothing(daemon, api, name, body, text):
    reply = api.create(name, **body)
    assert text in api.failure(reply)
    assert api.request("GET", url(name)).status == 404
    left = [p for p in daemon.dir.glob(f"storage-pools/default/**/{name}*")]
    assert left == []


def test_duplicate_name(api, name):
    api.done(api.create(name))
    assert "already exists" in api.failure(api.create(name))


def test_patch_is_sync_and_merges(api, name):
    api.done(api.create(name, {"user.x": "1"}))
    reply = api.patch(url(name), {"config": {"user.a": "b"}})
    assert reply.status == 200 and reply.metadata == {}
    config = api.get(url(name))["config"]
    assert config["user.a"] == "b" and config["user.x"] == "1"


def test_put_is_async_and_replaces(api, name):
    api.done(api.create(name, {"user.x": "1"}))
    instance = api.get(url(name))
    del instance["config"]["user.x"]
    instance["description"] = "new"
    instance["config"]["user.y"] = "2"
    api.done(api.put(url(name), instance))
    after = api.get(url(name))
    assert "user.x" not in after["config"] and after["config"]["user.y"] == "2" and after["description"] == "new"
    assert after["config"]["volatile.uuid"] == instance["config"]["volatile.uuid"]


def test_put_refuses_bad_values_and_changes_nothing(api, name):
    api.done(api.create(name, {"user.x": "1"}))
    before = api.get(url(name))
    for change in ({"config": {**before["config"], "bogus": "1"}}, {"profiles": ["default", "default"]},
                   {"devices": {"d": {"type": "zzz"}}}):
        assert api.failure(api.put(url(name), {**before, **change}))
        assert api.get(url(name)) == before


def test_etag_guards_edits(api, name):
    api.done(api.create(name))
    reply = api.request("GET", url(name))
    etag = reply.headers["ETag"]
    assert re.fullmatch(r'"[0-9a-f]{64}"', etag)
    assert api.patch(url(name), {"config": {"user.a": "1"}}, headers={"If-Match": etag}).status == 200
    stale = api.patch(url(name), {"config": {"user.a": "2"}}, headers={"If-Match": etag})
    assert stale.status == 412 and stale.error.startswith("ETag doesn't match:")
    stale = api.put(url(name), reply.metadata, headers={"If-Match": etag})
    assert stale.status == 412
    assert api.get(url(name))["config"]["user.a"] == "1"


def test_rename(daemon, api, name):
    api.done(api.create(name, {"user.a": "1"}))
    other = daemon.new_name()
    api.done(api.post(url(name), {"name": other}))
    assert api.request("GET", url(name)).status == 404
    assert api.get(url(other))["config"]["user.a"] == "1"
    api.done(api.state(other, "start"))
    assert api.sh(other, "hostname").strip() == other
    assert api.failure(api.post(url(other), {"name": name}))  # it is running
    api.remove(other)


def test_rename_refuses_taken_and_bad_names(daemon, api, name):
    other = daemon.new_name()
    api.done(api.create(name))
    api.done(api.create(other))
    assert api.post(url(name), {"name": other}).status == 409
    reply = api.post(url(name), {"name": "bad_name"})
    assert "Name can only contain alphanumeric and hyphen characters" in api.failure(reply)
    assert api.get(url(name))["name"] == name
    api.remove(other)


def test_copy_on_this_host(daemon, api, name):
    api.launch(name, {"user.a": "1", "user.b": "1"})
    api.sh(name, "echo kept > /root/file; sync")
    api.done(api.state(name, "stop", force=True))
    copy = daemon.new_name()
    api.done(api.post("/1.0/instances", {"name": copy, "config": {"user.b": "2"}, "profiles": ["default"],
                                         "source": {"type": "copy", "source": name}}))
    instance, source = api.get(url(copy)), api.get(url(name))
    assert instance["config"]["user.a"] == "1" and instance["config"]["user.b"] == "2"
    assert instance["config"]["volatile.uuid"] != source["config"]["volatile.uuid"]
    assert instance["config"]["volatile.base_image"] == source["config"]["volatile.base_image"]
    api.done(api.state(copy, "start"))
    assert api.sh(copy, "cat /root/file; stat -c '%u %g' /root/file").split() == ["kept", "0", "0"]
    api.remove(copy)


@pytest.mark.ours
def test_copy_without_profiles_keeps_the_sources(daemon, api, name):
    api.done(api.create(name))
    copy = daemon.new_name()
    api.done(api.post("/1.0/instances", {"name": copy, "source": {"type": "copy", "source": name}}))
    assert api.get(url(copy))["profiles"] == ["default"]
    api.remove(copy)


def test_delete(daemon, api, name):
    api.launch(name)
    reply = api.delete(url(name))
    assert reply.status == 400 and reply.error == "Instance is running"
    api.done(api.state(name, "stop", force=True))
    api.done(api.delete(url(name)))
    assert api.request("GET", url(name)).status == 404
    assert api.delete(url(name)).status == 404
    assert [p for p in daemon.dir.glob(f"storage-pools/default/**/{name}*")] == []


def test_protected_from_deletion(api, name):
    api.done(api.create(name, {"security.protection.delete": "true"}))
    assert "protected" in api.failure(api.delete(url(name)))
    assert api.patch(url(name), {"config": {"security.protection.delete": "false"}}).status == 200


def test_lists_in_all_recursions(api, running):
    assert url(running) in api.get("/1.0/instances")
    rows = {row["name"]: row for row in api.get("/1.0/instances?recursion=1")}
    assert list(rows[running]) == INSTANCE_KEYS
    full = {row["name"]: row for row in api.get("/1.0/instances?recursion=2")}[running]
    assert full["backups"] is None and full["snapshots"] is None
    assert full["state"]["status"] == "Running" and full["state"]["pid"] > 1
    single = api.get(url(running) + "?recursion=1")
    assert single["state"]["pid"] == full["state"]["pid"]


@pytest.mark.parametrize("query, found", [
    ("config.user.f eq findme", True), ("config.user.f eq other", False), ("status eq STOPPED", True), ("status eq running", False),
    ("not config.user.f eq findme", False), ("config.user.f ne other", True), ("name eq NAME", True),
    ("config.user.f eq find.* and status eq stopped", True), ("config.user.f eq other or status eq stopped", True),
])
def test_filter(api, name, query, found):
    api.done(api.create(name, {"user.f": "findme"}))
    query = query.replace("NAME", name).replace(" ", "%20")
    assert (url(name) in api.get(f"/1.0/instances?filter={query}")) is found


def test_bad_filter_is_refused(api):
    assert api.request("GET", "/1.0/instances?filter=name").status in (400, 500)


def test_instance_type_filter(api, running):
    assert url(running) in api.get("/1.0/instances?instance-type=container")
    assert api.get("/1.0/instances?instance-type=virtual-machine") == []


def test_logs_are_listed_and_readable(api, running):
    logs = api.get(url(running) + "/logs")
    assert url(running) + "/logs/lxc.log" in logs or url(running) + "/logs/lxc.conf" in logs
    conf = api.request("GET", url(running) + "/logs/lxc.conf")
    assert conf.status == 200 and b"lxc." in conf.body
    assert api.request("GET", url(running) + "/logs/passwd").status == 400
    assert api.request("GET", url(running) + "/logs/..%2F..%2Flxd.log").status in (400, 404)
    assert api.delete(url(running) + "/logs/lxc.conf").status == 400


def test_mapped_owner_on_the_host(api, running):
    base = next(row["Hostid"] for row in json.loads(api.get(url(running))["config"]["volatile.idmap.current"])
                if row["Isuid"])
    pid = api.get(url(running) + "/state")["pid"]
    with open(f"/proc/{pid}/status") as status:
        uid = re.search(r"^Uid:\s+(\d+)", status.read(), re.M).group(1)
    assert int(uid) == base >= 65536
