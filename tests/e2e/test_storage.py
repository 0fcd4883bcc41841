"""Storage pools of the dir driver."""
import os
import stat

import pytest

from helpers.daemon import REFERENCE

URL = "/1.0/storage-pools"


@pytest.fixture
def pool(api):
    assert api.post(URL, {"name": "s1", "driver": "dir", "config": {}}).status == 201
    yield "s1"
    api.delete(f"{URL}/s1")


def test_life(daemon, api, pool):
    got = api.get(f"{URL}/s1")
    assert got["name"] == "s1" and got["driver"] == "dir" and got["status"] == "Created" and not got["used_by"]
    assert got["config"]["source"] == str(daemon.dir / "storage-pools" / "s1")
    assert got["locations"] == ["none"]
    assert {f"{URL}/default", f"{URL}/s1"} <= set(api.get(URL))
    assert api.patch(f"{URL}/s1", {"description": "text", "config": {"user.x": "1"}}).status == 200
    assert api.get(f"{URL}/s1")["description"] == "text"
    assert api.delete(f"{URL}/s1").status == 200
    assert api.request("GET", f"{URL}/s1").status == 404
    assert not (daemon.dir / "storage-pools" / "s1").exists()


def test_resources(api):
    got = api.get(f"{URL}/default/resources")
    assert 0 < got["space"]["used"] < got["space"]["total"]
    assert 0 < got["inodes"]["used"] < got["inodes"]["total"]


@pytest.mark.parametrize("body, text", [
    ({"name": "default", "driver": "dir"}, "already exists"),
    ({"name": "x1"}, "No driver provided"),
    ({"driver": "dir"}, "No name provided"),
    ({"name": "x1", "driver": "nope"}, "driver"),
    ({"name": "x/1", "driver": "dir"}, "slash"),
    ({"name": "x1", "driver": "dir", "config": {"zz": "1"}}, "zz"),
])
def test_refused(api, body, text):
    before = api.get(URL)
    reply = api.post(URL, body)
    assert reply.status >= 400, reply
    if not REFERENCE or "already" in text or "provided" in text:
        assert text in reply.error, reply
    assert api.get(URL) == before


def test_used_pool_cannot_be_deleted(api, pool, name):
    reply = api.delete(f"{URL}/default")
    assert reply.status == 400 and reply.error == "The storage pool is currently in use"
    api.done(api.create(name, devices={"root": {"type": "disk", "path": "/", "pool": "s1"}}))
    assert f"/1.0/instances/{name}" in api.get(f"{URL}/s1")["used_by"]
    assert api.delete(f"{URL}/s1").status == 400
    api.remove(name)
    # The reference keeps a copy of the image in the pool; ours does not need one.
    for used in api.get(f"{URL}/s1")["used_by"] or []:
        assert used.startswith("/1.0/images/")


def test_instance_in_another_pool(daemon, api, pool, name):
    api.launch(name, devices={"root": {"type": "disk", "path": "/", "pool": "s1"}})
    assert (daemon.dir / f"storage-pools/s1/containers/{name}/rootfs").is_dir()
    assert not (daemon.dir / f"storage-pools/default/containers/{name}").exists()
    assert api.sh(name, "echo ok") == "ok\n"


def test_unknown_pool(api, name):
    assert api.failure(api.create(name, devices={"root": {"type": "disk", "path": "/", "pool": "nope"}}))
    assert api.request("GET", f"/1.0/instances/{name}").status == 404


def test_other_users_cannot_enter_an_instance(daemon, api, running):
    info = os.stat(daemon.dir / f"storage-pools/default/containers/{running}")
    assert stat.S_IMODE(info.st_mode) & 0o077 == 0


@pytest.mark.ours
def test_trees_are_not_chowned_where_idmapped_mounts_work(daemon, api, running):
    if api.get("/1.0")["environment"]["kernel_features"].get("idmapped_mounts") != "true":
        pytest.skip("this kernel has no idmapped mounts")
    assert os.stat(daemon.dir / f"storage-pools/default/containers/{running}/rootfs/bin/busybox").st_uid == 0
    assert api.get(f"/1.0/instances/{running}")["config"]["volatile.last_state.idmap"] == "[]"


def test_existing_directory_as_source(daemon, api):
    source = daemon.root / "elsewhere"
    source.mkdir()
    assert api.post(URL, {"name": "s2", "driver": "dir", "config": {"source": str(source)}}).status == 201
    assert api.delete(f"{URL}/s2").status == 200
    assert source.is_dir() and list(source.iterdir()) == []


def test_source_that_holds_files_is_refused(daemon, api):
    source = daemon.root / "full"
    source.mkdir()
    (source / "file").write_text("precious")
    assert api.post(URL, {"name": "s3", "driver": "dir", "config": {"source": str(source)}}).status >= 400
    assert (source / "file").read_text() == "precious"
