"""Containers that set traps in their files: nothing of the host is read, written or waited for."""
import pathlib
import time

import pytest

from test_files import get, put, url

SECRET = pathlib.Path("/var/tmp/lxd-e2e-files-secret")


@pytest.fixture(scope="module", params=["", "privileged"])
def victim(request, daemon):
    name = daemon.new_name()
    daemon.api.launch(name, {"security.privileged": "true"} if request.param else {})
    yield name
    daemon.api.remove(name)


@pytest.fixture(scope="module", autouse=True)
def secret():
    """A file that is on the host and in no container."""
    SECRET.write_text("secret of the host")
    yield
    SECRET.unlink()


@pytest.fixture(params=["running", "stopped"])
def farm(request, api, victim):
    """Links that would lead out, made by the container's root."""
    if get(api, f"/1.0/instances/{victim}").metadata["status"] == "Stopped":
        api.done(api.state(victim, "start"))
    up = "../" * 40
    api.sh(victim, f"""rm -rf /farm && mkdir -p /farm/d && cd /farm && ln -s {SECRET} abs && ln -s {up}{SECRET} dots && ln -s {up} root &&
        ln -s /proc/1/root procroot && ln -s /proc/self/root selfroot && ln -s /proc/self/fd fds && ln -s /proc/self/cwd cwd && ln -s loop loop &&
        mkfifo fifo && mknod null c 1 3 2>/dev/null; ln -s fifo tofifo; ln -s {SECRET.parent}/lxd-e2e-files-made dangling; mkdir -p {SECRET.parent}""")
    if request.param == "stopped":
        api.done(api.state(victim, "stop", force=True))
    return victim


@pytest.mark.parametrize("path", ["abs", "dots", "root" + str(SECRET), "../../../../.." + str(SECRET), "procroot" + str(SECRET), "selfroot" + str(SECRET),
                                  "cwd" + str(SECRET), "loop/x", "fds/0/x"])
def test_links_do_not_lead_out(api, farm, path):
    full = f"/farm/{path}"
    assert b"secret of the host" not in get(api, url(farm, full)).body
    put(api, farm, full, b"overwritten")
    put(api, farm, full + ".new", b"made")
    put(api, farm, full + ".dir", kind="directory")
    put(api, farm, full + ".link", b"x", kind="symlink")
    api.delete(url(farm, full))
    assert SECRET.read_text() == "secret of the host"
    assert not [p for p in SECRET.parent.iterdir() if p.name.startswith(SECRET.name + ".")]


@pytest.mark.parametrize("path, text", [("fifo", "is no"), ("null", "is no"), ("tofifo", "no regular file"), ("loop", "Too many levels"),
                                        ("dangling", "a link that leads nowhere")])
def test_only_regular_files_are_written(api, farm, path, text):
    if path == "null" and get(api, url(farm, "/farm/null")).status == 404:
        assert put(api, farm, "/farm/d/null", b"x").status == 200   # the container may make no device node
        return
    before = time.monotonic()
    reply = put(api, farm, f"/farm/{path}", b"x")
    assert reply.status in (400, 500) and text in reply.error, reply
    if path in ("fifo", "null"):
        assert get(api, url(farm, f"/farm/{path}")).status == 400
    assert time.monotonic() - before < 5
    assert not (SECRET.parent / "lxd-e2e-files-made").exists()


def test_swapping_folders_with_links(api, victim):
    """While a folder and a link to where it would hurt change places all the time."""
    if get(api, f"/1.0/instances/{victim}").metadata["status"] == "Stopped":
        api.done(api.state(victim, "start"))
    up = "../" * 30
    api.sh(victim, f"""rm -rf /swap && mkdir -p /swap/a && ln -s {up}var/tmp /swap/l && rm -f /swap/stop &&
        (while [ ! -e /swap/stop ]; do mv /swap/a /swap/t; mv /swap/l /swap/a; mv /swap/a /swap/l; mv /swap/t /swap/a; done) >/dev/null 2>&1 </dev/null &""")
    answers = set()
    for n in range(300):
        answers.add(get(api, url(victim, f"/swap/a/{SECRET.name}")).body)
        put(api, victim, f"/swap/a/{SECRET.name}", b"overwritten")
        put(api, victim, f"/swap/a/{SECRET.name}.{n}", kind="directory")
        api.delete(url(victim, f"/swap/a/{SECRET.name}"))
    api.sh(victim, "touch /swap/stop")
    assert SECRET.read_text() == "secret of the host"
    assert not [p for p in SECRET.parent.iterdir() if p.name.startswith(SECRET.name + ".")]
    assert not [a for a in answers if b"secret of the host" in a]


def test_the_kernels_files(api, victim):
    if get(api, f"/1.0/instances/{victim}").metadata["status"] == "Stopped":
        api.done(api.state(victim, "start"))
    api.sh(victim, "mkdir -p /p && mount -t proc p /p || true")
    for path in ("/p/sysrq-trigger", "/proc/sysrq-trigger", "/proc/sys/kernel/hostname"):
        reply = put(api, victim, path, b"b")
        assert reply.status in (403, 404, 500), reply
    assert put(api, victim, "/proc/sys/kernel/hostname", b"b").error == "/proc/sys/kernel/hostname is a file of the kernel's: it is not written"
    assert get(api, url(victim, "/proc/self/environ")).status in (400, 404, 500)
    api.sh(victim, "umount /p; rmdir /p")


def test_setuid_is_not_taken(api, victim):
    assert put(api, victim, "/suid", b"x", mode="04755").status == 200
    assert get(api, url(victim, "/suid")).headers["X-LXD-mode"] == "0755"
    assert put(api, victim, "/noid", b"x", uid=4294967294).status in (200, 500)
