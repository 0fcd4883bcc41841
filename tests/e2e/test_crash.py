"""SIGKILL of the daemon in the middle of work, at many moments; after a restart nothing half-made is left."""
import os
import threading
import time

import pytest

from helpers import images
from helpers.daemon import cgroup_dirs, eventually, processes

pytestmark = pytest.mark.ours
# Seconds after the request; the last ones are beyond the end of the work on most machines.
MOMENTS = [0, 0.001, 0.002, 0.004, 0.006, 0.008, 0.010, 0.013, 0.016, 0.020, 0.025, 0.030, 0.040, 0.050, 0.070, 0.100, 0.200]


def send(api, method, path, body=None, headers=None):
    """A request whose answer nobody waits for; the daemon may die under it."""
    def work():
        try:
            api.request(method, path, body, headers, timeout=20)
        except OSError:
            pass
        except Exception as error:  # a reply cut in the middle
            assert type(error).__module__.startswith("http"), error
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def crash_during(daemon, moment, *requests):
    """Send the requests one after another, SIGKILL after @moment, start again."""
    threads = [send(daemon.api, *request) for request in requests]
    time.sleep(moment)
    daemon.kill()
    for thread in threads:
        thread.join()
    # Helpers of the dead daemon must end by themselves; monitors of containers go on.
    daemon.start()


def tree_entries(daemon, name):
    """What the disk holds for one instance, anywhere below the daemon's directory."""
    return sorted(str(p) for top in ("storage-pools", "containers", "devices", "logs", "security") for p in (daemon.dir / top).rglob(f"*{name}*")
                  if "/rootfs/" not in str(p))


def staging(daemon):
    return [str(p) for p in daemon.dir.glob("storage-pools/*/staging/*")]


def assert_no_trace(daemon, name):
    assert daemon.api.request("GET", f"/1.0/instances/{name}").status == 404
    assert name not in str(daemon.api.get("/1.0/profiles/default")["used_by"])
    left = lambda: ([m for m in daemon.mounts() if name in m], [c for c in cgroup_dirs() if name in c], tree_entries(daemon, name), staging(daemon))
    eventually(lambda: left() == ([], [], [], []), what=f"nothing is left of {name}: {left()}")


def assert_whole_or_gone(daemon, name):
    """The instance either does not exist at all, or works."""
    api = daemon.api
    reply = api.request("GET", f"/1.0/instances/{name}")
    if reply.status == 200:
        assert reply.metadata["status"] in ("Running", "Stopped"), reply
        if reply.metadata["status"] == "Stopped":
            eventually(lambda: not [m for m in daemon.mounts() if name in m], what="a stopped instance has no mounts")
            api.done(api.state(name, "start"))
        assert api.sh(name, "echo whole") == "whole\n"
        api.remove(name)
    assert_no_trace(daemon, name)


@pytest.mark.parametrize("moment", MOMENTS)
def test_create(daemon, api, moment):
    name = daemon.new_name()
    crash_during(daemon, moment, ("POST", "/1.0/instances", {"name": name, "source": {"type": "image", "alias": "bb"}}))
    assert_whole_or_gone(daemon, name)


@pytest.mark.parametrize("moment", MOMENTS)
def test_start(daemon, api, moment):
    name = daemon.new_name()
    api.done(api.create(name))
    crash_during(daemon, moment, ("PUT", f"/1.0/instances/{name}/state", {"action": "start"}))
    assert api.get(f"/1.0/instances/{name}")["status"] in ("Running", "Stopped")
    assert_whole_or_gone(daemon, name)


@pytest.mark.parametrize("moment", MOMENTS[::2])
def test_stop(daemon, api, moment):
    name = daemon.new_name()
    api.launch(name)
    crash_during(daemon, moment, ("PUT", f"/1.0/instances/{name}/state", {"action": "stop", "force": True}))
    assert_whole_or_gone(daemon, name)


@pytest.mark.parametrize("moment", MOMENTS)
def test_delete(daemon, api, moment):
    name = daemon.new_name()
    api.done(api.create(name))
    crash_during(daemon, moment, ("DELETE", f"/1.0/instances/{name}"))
    assert_whole_or_gone(daemon, name)


@pytest.mark.parametrize("moment", MOMENTS[::2])
def test_rename(daemon, api, moment):
    name, other = daemon.new_name(), daemon.new_name()
    api.done(api.create(name))
    crash_during(daemon, moment, ("POST", f"/1.0/instances/{name}", {"name": other}))
    existing = [n for n in (name, other) if api.request("GET", f"/1.0/instances/{n}").status == 200]
    assert len(existing) == 1
    for each in (name, other):
        assert_whole_or_gone(daemon, each)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("form", ["unified", "split"])
def test_image_import(daemon, api, form, moment):
    images_before = api.get("/1.0/images")
    files_before = sorted(os.listdir(daemon.dir / "images"))
    label = f"crash {form} {moment}"
    if form == "unified":
        body, headers = images.busybox("none", label=label), {"Content-Type": "application/octet-stream"}
    else:
        body, headers = images.split_form(*images.busybox_split("none", label=label))
    crash_during(daemon, moment, ("POST", "/1.0/images", body, headers))
    for url in set(api.get("/1.0/images")) - set(images_before):
        name = daemon.new_name()
        api.launch(name, source={"type": "image", "fingerprint": url.rsplit("/", 1)[1]})
        api.remove(name)
        api.done(api.delete(url))
    assert sorted(os.listdir(daemon.dir / "images")) == files_before
    eventually(lambda: "lxd-unpack" not in processes().values(), what="no unpacker is left")


def test_twenty_at_once(daemon, api):
    names = [daemon.new_name() for _ in range(20)]
    crash_during(daemon, 0.05, *[("POST", "/1.0/instances", {"name": name, "source": {"type": "image", "alias": "bb"}}) for name in names])
    for name in names:
        if api.request("GET", f"/1.0/instances/{name}").status == 200:
            api.remove(name)
        assert_no_trace(daemon, name)


def test_ten_crashes_in_a_row_with_running_containers(daemon, api):
    names = [daemon.new_name() for _ in range(3)]
    for name in names:
        api.launch(name)
    pids = [api.get(f"/1.0/instances/{name}/state")["pid"] for name in names]
    for _ in range(10):
        daemon.restart(9)
    assert [api.get(f"/1.0/instances/{name}/state")["pid"] for name in names] == pids
    for name in names:
        api.remove(name)
        assert_no_trace(daemon, name)
