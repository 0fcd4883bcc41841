"""Kernels and file systems without idmapped mounts: owners on disk are shifted, and shifted back."""
import json
import os

import pytest

pytestmark = pytest.mark.ours


@pytest.fixture(scope="module", autouse=True)
def no_idmapped_mounts(daemon):
    """The module's daemon again, told not to use idmapped mounts."""
    os.environ["LXD_IDMAPPED_MOUNTS_DISABLE"] = "1"
    daemon.restart()
    yield
    del os.environ["LXD_IDMAPPED_MOUNTS_DISABLE"]
    daemon.restart()


def base_of(api, name):
    rows = json.loads(api.get(f"/1.0/instances/{name}")["config"]["volatile.last_state.idmap"])
    return rows[0]["Hostid"] if rows else 0


def on_disk(daemon, name, path):
    return os.lstat(daemon.dir / "storage-pools/default/containers" / name / "rootfs" / path)


def check(daemon, api, name, base):
    assert base_of(api, name) == base
    for path in ("bin/busybox", "bin/sh", "etc", "root"):
        assert on_disk(daemon, name, path).st_uid == base, path
    assert api.run(name, "stat", "-c", "%u:%g", "/bin/busybox") == (0, "0:0\n", "")
    assert api.run(name, "id", "-u") == (0, "0\n", "")


def test_first_start_shifts(daemon, api, name):
    api.launch(name)
    base = base_of(api, name)
    assert base >= 65536
    check(daemon, api, name, base)


def test_setuid_and_owners_survive(daemon, api, name):
    api.launch(name)
    status, out, err = api.run(name, "sh", "-c", "cp /bin/busybox /root/su && chown 5:6 /root/su && chmod 6755 /root/su")
    assert status == 0, err
    api.done(api.state(name, "stop", force=True))
    assert api.patch(f"/1.0/instances/{name}", {"config": {"security.privileged": "true"}}).status == 200
    api.done(api.state(name, "start"))
    check(daemon, api, name, 0)
    assert api.run(name, "stat", "-c", "%u:%g %a", "/root/su")[1] == "5:6 6755\n"
    assert (on_disk(daemon, name, "root/su").st_uid, on_disk(daemon, name, "root/su").st_mode & 0o7777) == (5, 0o6755)


def test_copy_of_a_shifted_instance(daemon, api, name):
    api.launch(name)
    api.done(api.state(name, "stop", force=True))
    copy = daemon.new_name()
    api.done(api.post("/1.0/instances", {"name": copy, "source": {"type": "copy", "source": name}}))
    api.done(api.state(copy, "start"))
    check(daemon, api, copy, base_of(api, name))


def test_isolated_gets_its_own_range(daemon, api, name):
    api.done(api.create(name, config={"security.idmap.isolated": "true"}))
    api.done(api.state(name, "start"))
    check(daemon, api, name, base_of(api, name))
    assert base_of(api, name) != 0


def test_protection_refuses(daemon, api, name):
    api.done(api.create(name, config={"security.protection.shift": "true"}))
    assert "Container is protected against filesystem shifting" in api.failure(api.state(name, "start"))
    assert on_disk(daemon, name, "bin/busybox").st_uid == 0
