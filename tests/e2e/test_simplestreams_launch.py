"""From `lxc remote add` of a public image server to a running container: our client and Debian's, our daemon."""
import pathlib

import pytest

from helpers import images, streams
from helpers.daemon import BIN

GO = pathlib.Path("/usr/bin/lxc")


@pytest.fixture(scope="module")
def server(bare_daemon):
    """The image server; the daemon, started again, trusts its authority as one of the system's."""
    directory = bare_daemon.root / "streams"
    directory.mkdir()
    one = streams.Streams(directory)
    one.fingerprint = one.add("busybox", "1", "amd64", images.busybox_split(squashfs=True, label="streams"))
    one.start()
    bare_daemon.setup()
    bare_daemon.stop()
    bare_daemon.extra_env["SSL_CERT_FILE"] = str(one.ca)
    bare_daemon.start()
    yield one
    one.stop()


@pytest.fixture(scope="module", params=["ours", "go"])
def lxc(request, bare_daemon, server):
    """lxc(*args): standard output; lxc.fails(*args): what it complained of. It has the remote pub:."""
    program = BIN / "lxc" if request.param == "ours" else GO
    if not program.exists():
        pytest.skip("Debian's lxd-client is not installed")
    conf = bare_daemon.root / f"conf-{request.param}"
    conf.mkdir()

    def run(*args, **kwargs):
        return bare_daemon.lxc(*args, program=program, LXD_CONF=str(conf), **kwargs)

    def output(*args):
        return run(*args).stdout

    def fails(*args):
        result = run(*args, check=False)
        assert result.returncode == 1, result
        return result.stderr

    output.fails = fails
    output("remote", "add", "pub", server.url, "--protocol=simplestreams")
    return output


@pytest.fixture
def api(bare_daemon):
    """What a test made and the image that it fetched are gone after it."""
    yield bare_daemon.api
    bare_daemon.remove_all()
    for image in bare_daemon.api.get("/1.0/images"):
        bare_daemon.api.done(bare_daemon.api.delete(image))


@pytest.fixture
def name(bare_daemon):
    return bare_daemon.new_name()


def downloads(server):
    return sum("rootfs.squashfs" in line for line in server.requests)


def test_launch(lxc, server, api, bare_daemon, name):
    listed = lxc("image", "list", "pub:", "-f", "csv")
    assert server.fingerprint[:12] in listed and "busybox/1" in listed
    before = downloads(server)
    lxc("launch", "pub:busybox/1", name)
    assert downloads(server) == before + 1
    assert api.sh(name, "cat /etc/hosts") == "127.0.0.1 localhost\n"
    instance = api.get(f"/1.0/instances/{name}")
    assert instance["status"] == "Running" and instance["config"]["volatile.base_image"] == server.fingerprint
    assert instance["config"]["image.os"] == "Busybox"
    image = api.get(f"/1.0/images/{server.fingerprint}")
    assert image["cached"] and not image["public"]
    source = image["update_source"]
    assert (source["server"], source["protocol"], source["alias"]) == (server.url, "simplestreams", "busybox/1")

    # what is here already is not fetched again, by whatever name
    second, third = bare_daemon.new_name(), bare_daemon.new_name()
    lxc("launch", "pub:busybox/1/default", second)
    lxc("init", f"pub:{server.fingerprint[:12]}", third)
    assert downloads(server) == before + 1
    assert [api.get(f"/1.0/instances/{n}")["status"] for n in (second, third)] == ["Running", "Stopped"]
    assert api.get("/1.0/images") == [f"/1.0/images/{server.fingerprint}"]


def test_launch_by_a_copied_image(lxc, server, api, name):
    lxc("image", "copy", "pub:busybox/1", "local:", "--copy-aliases")
    lxc("launch", "busybox/1", name)
    assert api.get(f"/1.0/instances/{name}")["status"] == "Running"
    assert not api.get(f"/1.0/images/{server.fingerprint}")["cached"]


def nothing_is_left(api, name):
    assert api.request("GET", f"/1.0/instances/{name}").status == 404
    assert api.get("/1.0/images") == []


def test_names_that_there_are_not(lxc, api, name):
    assert "Error: " in lxc.fails("launch", "pub:nosuch", name)
    assert "Error: " in lxc.fails("launch", "pub:0123456789ab", name)
    nothing_is_left(api, name)


@pytest.mark.parametrize("change", ["shorter", "other bytes", "gone"])
def test_a_server_that_sends_something_else(lxc, server, api, name, change):
    path = next((server.dir / "tree/images").rglob("rootfs.squashfs"))
    right = path.read_bytes()
    try:
        if change == "gone":
            path.unlink()
        else:
            path.write_bytes(right[:-4096] if change == "shorter" else right[:-1] + bytes([right[-1] ^ 1]))
        assert "Error: " in lxc.fails("launch", "pub:busybox/1", name)
        nothing_is_left(api, name)
    finally:
        path.write_bytes(right)
    lxc("launch", "pub:busybox/1", name)


def test_a_server_that_the_daemon_does_not_trust(lxc, server, api, bare_daemon, name):
    """The client has read the list; what the daemon fetches itself it checks itself."""
    bare_daemon.stop()
    trusted = bare_daemon.extra_env.pop("SSL_CERT_FILE")
    other = streams.write_pem(bare_daemon.root / "other.pem", streams.make_authority("another")[0])
    try:
        bare_daemon.extra_env["SSL_CERT_FILE"] = str(other)
        bare_daemon.start()
        bare_daemon.extra_env["SSL_CERT_FILE"] = trusted
        error = lxc.fails("launch", "pub:busybox/1", name)
        assert "certificate" in error, error
        nothing_is_left(api, name)
    finally:
        bare_daemon.extra_env["SSL_CERT_FILE"] = trusted
        bare_daemon.restart()
