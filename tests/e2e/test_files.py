"""Files of instances: the API, and `lxc file` of our client and Debian's, running and stopped, privileged and not."""
import os
import pathlib
import stat
import threading
from urllib.parse import quote

import pytest

from helpers.daemon import BIN

GO = pathlib.Path("/usr/bin/lxc")


def url(name, path):
    return f"/1.0/instances/{name}/files?path={quote(path)}"


def get(api, path):
    return api.request("GET", path)


def put(api, name, path, data=b"", kind=None, **headers):
    sent = {f"X-LXD-{k}": str(v) for k, v in headers.items()}
    if kind:
        sent["X-LXD-type"] = kind
    sent["Content-Type"] = "application/octet-stream"
    return api.request("POST", url(name, path), data, headers=sent)


def rss(daemon):
    with open(f"/proc/{daemon.process.pid}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS:"))


@pytest.fixture(scope="module", params=["running", "stopped", "privileged", "privileged-stopped"])
def place(request, daemon):
    """An instance whose files are worked on."""
    name = daemon.new_name()
    config = {"security.privileged": "true"} if "privileged" in request.param else {}
    daemon.api.launch(name, config)
    if "stopped" in request.param:
        daemon.api.done(daemon.api.state(name, "stop", force=True))
    yield name
    daemon.api.remove(name)


def test_put_and_get(api, place):
    reply = put(api, place, "/root/f", b"hello", uid=12, gid=13, mode="0640")
    assert reply.status == 200, reply
    got = get(api, url(place, "/root/f"))
    assert (got.status, got.body) == (200, b"hello")
    headers = {k.lower(): v for k, v in got.headers.items()}
    assert (headers["x-lxd-uid"], headers["x-lxd-gid"], headers["x-lxd-mode"], headers["x-lxd-type"]) == ("12", "13", "0640", "file")
    assert headers["x-lxd-modified"].endswith(" +0000 UTC")
    assert headers["content-disposition"] == "inline;filename=f"
    # owner and mode are those of a file that is made, not of one that is there
    assert put(api, place, "/root/f", b"bye", uid=1, mode="0777").status == 200
    got = get(api, url(place, "/root/f"))
    assert got.body == b"bye" and got.headers["X-LXD-uid"] == "12" and got.headers["X-LXD-mode"] == "0640"
    assert put(api, place, "root/f", b"!", write="append").status == 200
    assert get(api, url(place, "/root/f")).body == b"bye!"
    assert put(api, place, "/root/none", b"!", write="append").status == 404
    assert api.delete(url(place, "/root/f")).status == 200
    assert get(api, url(place, "/root/f")).status == 404


def test_defaults(api, place):
    assert put(api, place, "/root/d", b"").status == 200
    got = get(api, url(place, "/root/d"))
    assert (got.body, got.headers["X-LXD-uid"], got.headers["X-LXD-mode"]) == (b"", "0", "0644")
    assert put(api, place, "/root/dir", kind="directory").status == 200
    assert put(api, place, "/root/dir", kind="directory", mode="0700").status == 200
    got = get(api, url(place, "/root/dir"))
    assert got.metadata == [] and got.headers["X-LXD-type"] == "directory" and got.headers["X-LXD-mode"] == "0750"
    assert put(api, place, "/root/dir/a", b"x", mode=420).status == 200
    assert get(api, url(place, "/root/dir")).metadata == ["a"]
    assert get(api, url(place, "/root/dir/a")).headers["X-LXD-mode"] == "0644"
    assert api.delete(url(place, "/root/dir")).status == 500
    for path in ("/root/dir/a", "/root/dir", "/root/d"):
        assert api.delete(url(place, path)).status == 200
    assert api.delete(url(place, "/root/dir")).status == 404


def test_links(api, place):
    assert put(api, place, "/root/link", b"../etc/passwd", kind="symlink").status == 200
    assert put(api, place, "/root/link", b"../etc/passwd", kind="symlink").status == 200
    assert put(api, place, "/root/link", b"other", kind="symlink").status == 500
    got = get(api, url(place, "/root/link"))
    assert (got.body, got.headers["X-LXD-type"]) == (b"/etc/passwd", "symlink")
    assert get(api, url(place, "/sbin/init")).headers["X-LXD-type"] in ("symlink", "file")
    assert api.delete(url(place, "/root/link")).status == 200
    assert get(api, url(place, "/etc/passwd")).status == 200


@pytest.mark.parametrize("path, headers, status, text", [
    ("", {}, 400, "Missing path argument"),
    ("/root/x", {"X-LXD-type": "foo"}, 400, "Bad file type: foo"),
    ("/root/x", {"X-LXD-write": "foo"}, 400, "Bad file write mode: foo"),
    ("/root/x", {"X-LXD-uid": "root"}, 400, 'Invalid X-LXD-uid "root"'),
    ("/root/x", {"X-LXD-mode": "99999"}, 400, 'Invalid X-LXD-mode "99999"'),
    ("/nope/x", {}, 404, "Not Found"),
    ("/root", {}, 400, "/root is no regular file"),
    ("/etc/passwd/x", {}, 404, "Not Found"),
    ("/root/" + "n" * 300, {}, 500, "File name too long"),
])
def test_refused(api, place, path, headers, status, text):
    before = get(api, url(place, "/root")).metadata
    reply = api.request("POST", url(place, path), b"data", headers={"Content-Type": "application/octet-stream", **headers})
    assert reply.status == status and text in reply.error, reply
    assert get(api, url(place, "/root")).metadata == before


@pytest.mark.parametrize("kind", ["directory", "symlink"])
def test_an_owner_that_cannot_be_leaves_nothing(api, place, kind):
    before = get(api, url(place, "/root")).metadata
    reply = put(api, place, "/root/x", b"target" if kind == "symlink" else b"", kind=kind, uid=4294967294)
    instance = api.get(f"/1.0/instances/{place}")
    mapped = instance["status"] == "Running" and instance["config"].get("security.privileged") != "true"
    assert reply.status == (500 if mapped else 200), reply
    if not mapped:   # every number is somebody there, or on the disk
        assert api.delete(url(place, "/root/x")).status == 200
    assert get(api, url(place, "/root")).metadata == before


def test_no_such_instance(api, daemon):
    assert get(api, url("nothere", "/etc")).status == 404
    assert put(api, "nothere", "/x", b"").status == 404
    assert get(api, f"/1.0/instances/{daemon.new_name()}/files").status == 404


def test_large_file_streams(api, daemon, place):
    """More than a request's memory, both ways, with the daemon's memory bounded."""
    data = os.urandom(1 << 20) * 64
    before = rss(daemon)
    assert put(api, place, "/root/large", data).status == 200
    assert get(api, url(place, "/root/large")).body == data
    assert rss(daemon) - before < 24 << 20
    part = api.request("HEAD", url(place, "/root/large"))
    assert part.status == 200 and part.headers["Content-Length"] == str(len(data)) and part.body == b""
    assert api.delete(url(place, "/root/large")).status == 200


def test_upload_that_is_cut_leaves_nothing(api, daemon, place):
    connection = api.connection()
    connection.putrequest("POST", url(place, "/root/cut"))
    connection.putheader("Content-Length", "1000000")
    connection.putheader("Content-Type", "application/octet-stream")
    connection.endheaders()
    connection.send(b"x" * 100000)
    assert get(api, url(place, "/root/cut")).status == 404
    connection.close()
    assert get(api, url(place, "/root/cut")).status == 404
    assert put(api, place, "/root/cut", b"whole").status == 200
    assert api.delete(url(place, "/root/cut")).status == 200


def test_owner_inside(api, daemon, running):
    """What the container itself sees of a file that was put there."""
    assert put(api, running, "/root/own", b"1", uid=5, gid=6, mode="0604").status == 200
    assert api.sh(running, "stat -c '%u %g %a' /root/own").strip() == "5 6 604"
    api.sh(running, "mkdir /root/m && mount -t tmpfs none /root/m")
    assert put(api, running, "/root/m/in", b"mounted").status == 200
    assert api.sh(running, "cat /root/m/in") == "mounted"
    api.sh(running, "umount /root/m")
    assert get(api, url(running, "/root/m/in")).status == 404
    assert get(api, url(running, "/proc/uptime")).body.count(b".") == 2


def test_start_during_upload(api, daemon, name):
    api.done(api.create(name))
    connection = api.connection()
    connection.putrequest("POST", url(name, "/root/late"))
    connection.putheader("Content-Length", "10")
    connection.endheaders()
    connection.send(b"12345")
    assert get(api, url(name, "/root")).status == 200   # the upload does not keep others waiting
    api.done(api.state(name, "start"))
    connection.send(b"67890")
    reply = connection.getresponse()
    assert reply.status == 409, reply.read()
    assert get(api, url(name, "/root/late")).status == 404


# --- clients ---

@pytest.fixture(scope="module", params=["ours", "go"])
def lxc(request, daemon):
    program = BIN / "lxc" if request.param == "ours" else GO
    if not program.exists():
        pytest.skip("Debian's lxd-client is not installed")
    conf = daemon.root / f"files-conf-{request.param}"
    os.makedirs(conf, exist_ok=True)

    def run(*args, code=0, **kwargs):
        """Standard output, or of what must fail standard error."""
        result = daemon.lxc(*map(str, args), program=program, LXD_CONF=str(conf), check=False, **kwargs)
        assert result.returncode == code, result
        return result.stderr if code else result.stdout

    return run


def test_client_push_and_pull(daemon, lxc, place, tmp_path, api):
    (tmp_path / "f").write_text("content")
    (tmp_path / "f").chmod(0o604)
    lxc("file", "push", tmp_path / "f", f"{place}/root/one", "--uid", 3, "--mode", "0600")
    got = get(api, url(place, "/root/one"))
    assert got.body == b"content" and got.headers["X-LXD-uid"] == "3" and got.headers["X-LXD-mode"] == "0600"
    assert lxc("file", "pull", f"{place}/root/one", "-") == "content"
    lxc("file", "pull", f"{place}/root/one", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "content" and stat.S_IMODE((tmp_path / "back").stat().st_mode) == 0o600
    lxc("file", "push", "-p", tmp_path / "f", f"{place}/root/a/b/c/")
    got = get(api, url(place, "/root/a/b/c/f"))
    assert got.body == b"content" and got.headers["X-LXD-mode"] == "0604"
    lxc("file", "push", "-", f"{place}/root/typed", stdin="from stdin")
    assert lxc("file", "pull", f"{place}/root/typed", "-") == "from stdin"
    for path in ("one", "typed", "a/b/c/f", "a/b/c", "a/b", "a"):
        lxc("file", "delete", f"{place}/root/{path}")
    assert get(api, url(place, "/root/one")).status == 404


def test_client_recursive(daemon, lxc, place, tmp_path, api):
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "a").write_text("a")
    (tree / "sub/b").write_bytes(bytes(range(256)))
    (tree / "sub/link").symlink_to("/etc/passwd")
    lxc("file", "push", "-r", tree, f"{place}/root")
    assert sorted(get(api, url(place, "/root/tree")).metadata) == ["a", "sub"]
    out = tmp_path / "out"
    out.mkdir()
    lxc("file", "pull", "-r", f"{place}/root/tree", out)
    assert (out / "tree/a").read_text() == "a" and (out / "tree/sub/b").read_bytes() == bytes(range(256))
    assert os.readlink(out / "tree/sub/link") == "/etc/passwd"
    for path in ("tree/sub/link", "tree/sub/b", "tree/sub", "tree/a", "tree"):
        assert api.delete(url(place, f"/root/{path}")).status == 200


def test_client_errors(daemon, lxc, place, tmp_path):
    (tmp_path / "f").write_text("x")
    error = lambda *args: lxc("file", *args, code=1)
    assert "Error: Invalid target c1" in error("push", tmp_path / "f", "c1")
    assert "Error: Not Found" in error("pull", f"{place}/nope", tmp_path)
    assert "Error: Can't pull a directory without --recursive" in error("pull", f"{place}/etc", tmp_path)
    assert "Error: " in error("delete", f"{place}/nope")


@pytest.mark.ours
def test_client_edits_where_a_link_leads(daemon, place, api, tmp_path):
    assert put(api, place, "/root/e", b"one", mode="0640").status == 200
    assert put(api, place, "/root/way", b"e", kind="symlink").status == 200
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho two >> "$1"\n')
    editor.chmod(0o755)
    master, slave = os.openpty()
    try:
        result = daemon.lxc("file", "edit", f"{place}/root/way", LXD_CONF=str(tmp_path), EDITOR=str(editor), check=False, tty=slave)
    finally:
        os.close(master)
        os.close(slave)
    assert result.returncode == 0, result
    assert get(api, url(place, "/root/e")).body == b"onetwo\n"
    assert get(api, url(place, "/root/way")).headers["X-LXD-type"] == "symlink"
    for f in ("e", "way"):
        assert api.delete(url(place, f"/root/{f}")).status == 200


def test_client_edit(daemon, lxc, place, api):
    assert put(api, place, "/root/e", b"one", uid=4, mode="0640").status == 200
    lxc("file", "edit", f"{place}/root/e", stdin="two")
    got = get(api, url(place, "/root/e"))
    assert got.body == b"two" and got.headers["X-LXD-uid"] == "4" and got.headers["X-LXD-mode"] == "0640"
    assert api.delete(url(place, "/root/e")).status == 200


def test_pylxd_files(daemon, api, place, tmp_path):
    pylxd = pytest.importorskip("pylxd")
    client = pylxd.Client(endpoint="http+unix://" + str(daemon.dir / "unix.socket").replace("/", "%2F"))
    container = client.containers.get(place)
    files = container.files
    assert files.delete_available()
    files.put("/root/p", b"pylxd", mode=0o640, uid=2, gid=3)
    assert files.get("/root/p") == b"pylxd" and get(api, url(place, "/root/p")).headers["X-LXD-mode"] == "0640"
    (tmp_path / "s/t").mkdir(parents=True)
    (tmp_path / "s/t/u").write_text("deep")
    files.recursive_put(str(tmp_path / "s"), "/root/pd")
    assert files.get("/root/pd/t/u") == b"deep"
    for path in ("/root/p", "/root/pd/t/u", "/root/pd/t", "/root/pd"):
        files.delete(path)
    with pytest.raises(pylxd.exceptions.NotFound):
        files.get("/root/p")
