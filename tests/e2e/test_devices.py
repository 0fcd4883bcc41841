"""Devices: disk, unix-char, unix-block, none; set before the start, and added and removed while running."""
import os
import stat

import pytest

from helpers.daemon import eventually


def url(name):
    return f"/1.0/instances/{name}"


def change(api, name, add=None, remove=()):
    instance = api.get(url(name))
    instance["devices"].update(add or {})
    for device in remove:
        del instance["devices"][device]
    return api.put(url(name), instance)


@pytest.fixture
def source(daemon):
    """A host directory with a file, owned so that a container may read it."""
    path = daemon.root / f"share-{daemon._count}"
    path.mkdir()
    (path / "file").write_text("from the host\n")
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def block_device(daemon):
    """A block device node of the host, made for the test; its driver does not matter."""
    path = f"/dev/{daemon.prefix}block"
    os.mknod(path, 0o600 | stat.S_IFBLK, os.makedev(7, 200))
    yield path
    os.unlink(path)


def test_disk(api, name, source):
    api.launch(name, devices={"d": {"type": "disk", "source": str(source), "path": "/mnt/share"}})
    assert api.sh(name, "cat /mnt/share/file") == "from the host\n"


def assert_stays_readonly(api, name, path):
    """The container's root tries to take the flag off, with and without the mount's other flags, and through copies of it."""
    for line in api.sh(name, "cat /proc/self/mounts").splitlines():
        _, point, _, options = line.split()[:4]
        if point == path:
            flags = [o for o in options.split(",") if o in ("nosuid", "nodev", "noexec", "relatime", "noatime", "nodiratime")]
    attempts = ["remount,bind,rw", "remount,rw,bind," + ",".join(flags), "remount,rw", "remount,bind,rw,relatime", "remount,bind,rw,noatime"]
    for where in (path, "/mnt/copy"):
        if where != path:
            api.sh(name, f"mkdir -p {where}; mount -o bind {path} {where}")
        for options in attempts:
            api.run(name, "mount", "-o", options, where)
        assert api.run(name, "touch", f"{where}/new")[0] != 0
        assert api.run(name, "sh", "-c", f"echo x >{where}/file")[0] != 0
    api.run(name, "unshare", "-m", "sh", "-c", f"mount -o {attempts[1]} {path}; touch {path}/new")
    assert api.run(name, "sh", "-c", f"umount {path} && touch {path}/new && cat {path}/file")[0] != 0


@pytest.fixture
def open_source(source):
    """A directory that everybody may write: only the mount's flag stands in the way."""
    source.chmod(0o777)
    (source / "file").chmod(0o666)
    return source


@pytest.mark.ours
@pytest.mark.parametrize("shift", ["false", "true"])
@pytest.mark.parametrize("when", ["start", "hot", "reboot"])
def test_disk_readonly(api, name, open_source, shift, when):
    device = {"d": {"type": "disk", "source": str(open_source), "path": "/mnt/share", "readonly": "true", "shift": shift}}
    api.launch(name, devices={} if when == "hot" else device)
    if when == "hot":
        api.done(change(api, name, device))
    elif when == "reboot":
        api.done(api.state(name, "restart"))
    assert api.sh(name, "cat /mnt/share/file") == "from the host\n"
    assert_stays_readonly(api, name, "/mnt/share")
    assert not (open_source / "new").exists()
    assert (open_source / "file").read_text() == "from the host\n"


@pytest.mark.ours
def test_readonly_and_writable_disks_of_one_source(daemon, api, name, open_source):
    """A path with a space, a file, and the same folder twice; the folder is free to go while the container runs."""
    spaced = daemon.root / f"with space {name}"
    spaced.mkdir()
    (spaced / "file").write_text("spaced\n")
    disk = {"type": "disk", "source": str(open_source)}
    api.launch(name, devices={"r": {**disk, "path": "/mnt/r", "readonly": "true"}, "w": {**disk, "path": "/mnt/w"},
                              "s": {"type": "disk", "source": str(spaced), "path": "/mnt/s", "readonly": "true"},
                              "f": {"type": "disk", "source": str(open_source / "file"), "path": "/etc/given", "readonly": "true"}})
    api.sh(name, "touch /mnt/w/new; cat /mnt/r/new")
    assert api.sh(name, "cat /mnt/s/file") == "spaced\n"
    assert api.sh(name, "cat /etc/given") == "from the host\n"
    assert_stays_readonly(api, name, "/mnt/r")
    assert api.run(name, "sh", "-c", "mount -o remount,bind,rw,relatime /etc/given; echo x >/etc/given")[0] != 0
    assert (open_source / "file").read_text() == "from the host\n"
    (spaced / "file").unlink()
    spaced.rmdir()
    assert ".readonly" not in open("/proc/self/mountinfo").read()
    daemon.restart()
    assert api.get(url(name))["status"] == "Running"
    assert api.sh(name, "cat /mnt/w/file") == "from the host\n"


@pytest.mark.ours
def test_readonly_with_the_mounts_below_is_refused(api, name, source):
    device = {"type": "disk", "source": str(source), "path": "/mnt/r", "readonly": "true", "recursive": "true"}
    assert "exclude each other" in api.failure(api.create(name, devices={"d": device}))


@pytest.mark.ours
def test_disk_shift(api, name, source):
    api.launch(name, devices={"d": {"type": "disk", "source": str(source), "path": "/mnt/share", "shift": "true"}})
    assert api.sh(name, "stat -c %u /mnt/share/file").strip() == "0"
    api.sh(name, "touch /mnt/share/new")
    assert (source / "new").stat().st_uid == 0


def test_disk_without_shift_belongs_to_nobody(api, name, source):
    api.launch(name, devices={"d": {"type": "disk", "source": str(source), "path": "/mnt/share"}})
    assert api.sh(name, "stat -c %u /mnt/share/file").strip() == "65534"
    assert api.run(name, "touch", "/mnt/share/new")[0] != 0


def test_disk_of_a_single_file(api, name, source):
    api.launch(name, devices={"d": {"type": "disk", "source": str(source / "file"), "path": "/etc/given"}})
    assert api.sh(name, "cat /etc/given") == "from the host\n"


def test_disk_hot_add_and_remove(daemon, api, name, source):
    api.launch(name)
    api.done(change(api, name, {"d": {"type": "disk", "source": str(source), "path": "/mnt/hot"}}))
    assert api.sh(name, "cat /mnt/hot/file") == "from the host\n"
    api.done(change(api, name, remove=["d"]))
    assert api.run(name, "cat", "/mnt/hot/file")[0] != 0
    assert "/mnt/hot" not in api.sh(name, "cat /proc/mounts")
    api.done(change(api, name, {"d": {"type": "disk", "source": str(source), "path": "/mnt/hot", "readonly": "true"}}))
    assert api.run(name, "touch", "/mnt/hot/x")[0] != 0
    api.done(api.state(name, "restart", force=True))
    assert api.sh(name, "cat /mnt/hot/file") == "from the host\n"


def test_missing_source(daemon, api, name):
    missing = str(daemon.root / "not-there")
    device = {"type": "disk", "source": missing, "path": "/mnt/x"}
    reply = api.create(name, devices={"d": device})
    error = api.failure(reply) if reply.status != 202 or api.wait(reply)["status"] == "Failure" else None
    if error is None:
        error = api.failure(api.state(name, "start"))
    assert missing in error
    api.remove(name)
    api.launch(name, devices={"d": {**device, "required": "false"}})
    assert api.sh(name, "echo started") == "started\n"


@pytest.mark.parametrize("device, text", [
    ({"type": "disk", "path": "/x"}, 'Disk entry is missing the required "source"'),
    ({"type": "disk", "source": "/tmp", "path": "/x", "bogus": "1"}, "bogus"),
    ({"type": "disk", "source": "relative", "path": "/x"}, ""),
    ({"type": "disk", "source": "/tmp", "path": "/x", "size": "1GB"}, "Only the root disk may have a size quota"),
    ({"type": "disk", "source": "/tmp", "path": "/"}, ""),
    ({"type": "unix-char"}, 'Unix device entry is missing the required "source" or "path" property'),
    ({"type": "unix-char", "source": "/dev/null", "mode": "rw"}, ""),
    ({"type": "unix-char", "source": "/dev/null", "major": "x"}, ""),
    ({"type": "zzz"}, "device type"),
    ({}, ""),
])
def test_bad_devices_are_refused(api, name, device, text):
    api.done(api.create(name))
    before = api.get(url(name))
    assert text in api.failure(change(api, name, {"bad": device}))
    assert api.get(url(name)) == before


def test_two_disks_on_one_path_are_refused(api, name):
    device = {"type": "disk", "source": "/tmp", "path": "/mnt"}
    assert api.failure(api.create(name, devices={"a": device, "b": device}))


def test_unix_char(api, name):
    api.launch(name, devices={"z": {"type": "unix-char", "source": "/dev/zero", "path": "/dev/other", "uid": "5", "gid": "6", "mode": "0640"}})
    assert api.sh(name, "stat -c '%F %t:%T %u %g %a' /dev/other").strip() == "character special file 1:5 5 6 640"
    assert api.sh(name, "head -c 3 /dev/other | wc -c").strip() == "3"


def test_unix_char_hot_add_and_remove(daemon, api, name):
    api.launch(name)
    api.done(change(api, name, {"z": {"type": "unix-char", "source": "/dev/zero", "path": "/dev/hot"}}))
    assert api.sh(name, "head -c 3 /dev/hot | wc -c").strip() == "3"
    api.done(change(api, name, remove=["z"]))
    assert api.run(name, "test", "-e", "/dev/hot")[0] != 0
    assert [p.name for p in daemon.dir.glob(f"devices/{name}/*")] == []


def test_unix_block(api, name, block_device):
    api.launch(name, devices={"b": {"type": "unix-block", "source": block_device, "path": "/dev/blk"}})
    assert api.sh(name, "stat -c '%F %t:%T' /dev/blk").strip() == "block special file 7:c8"


def test_unix_by_number(api, name):
    api.launch(name, devices={"n": {"type": "unix-char", "path": "/dev/mynull", "major": "1", "minor": "3"}})
    assert api.sh(name, "stat -c '%t:%T' /dev/mynull").strip() == "1:3"


def test_wrong_kind_of_node_is_refused(api, name, block_device):
    reply = api.create(name, devices={"c": {"type": "unix-char", "source": block_device}})
    if reply.status == 202 and api.wait(reply)["status"] == "Success":
        assert api.failure(api.state(name, "start"))


def test_none_hides_a_profile_device(api, name):
    assert api.post("/1.0/profiles", {"name": "dev", "devices": {"t": {"type": "disk", "source": "/tmp", "path": "/mnt/t"}}}).status == 201
    api.launch(name, devices={"t": {"type": "none"}}, profiles=["default", "dev"])
    assert "/mnt/t" not in api.sh(name, "cat /proc/mounts")
    api.remove(name)
    assert api.delete("/1.0/profiles/dev").status == 200


def test_profile_devices_are_hot_plugged(api, name):
    assert api.post("/1.0/profiles", {"name": "hot", "devices": {}}).status == 201
    api.launch(name, profiles=["default", "hot"])
    assert api.patch("/1.0/profiles/hot", {"devices": {"z": {"type": "unix-char", "source": "/dev/zero", "path": "/dev/fromprofile"}}}).status == 200
    eventually(lambda: api.run(name, "test", "-c", "/dev/fromprofile")[0] == 0, what="the profile's device in the container")
    api.remove(name)
    assert api.delete("/1.0/profiles/hot").status == 200


@pytest.mark.ours
def test_a_path_that_a_container_made_a_symlink_stays_inside(daemon, api, name, source):
    """The container's own tree decides where a mount lands; a link in it must not reach the host's files."""
    api.launch(name)
    api.sh(name, "rm -rf /mnt; ln -s /proc/1/root/../../.. /mnt")
    reply = change(api, name, {"d": {"type": "disk", "source": str(source), "path": "/mnt/tmp/lxd-e2e-mounted"}})
    api.wait(reply) if reply.status == 202 else None
    assert not os.path.lexists("/tmp/lxd-e2e-mounted")


@pytest.mark.ours
def test_stop_leaves_no_mount_or_node(daemon, api, name, source):
    api.launch(name, devices={"d": {"type": "disk", "source": str(source), "path": "/mnt/share", "shift": "true"},
                              "z": {"type": "unix-char", "source": "/dev/zero", "path": "/dev/z"}})
    api.done(api.state(name, "stop", force=True))
    eventually(lambda: not [m for m in daemon.mounts() if name in m], what="mounts are gone")
    eventually(lambda: not list(daemon.dir.glob(f"devices/{name}/*")), what="nodes are gone")
