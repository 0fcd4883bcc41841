"""Images made of instances: what is in them, what comes of them, and `lxc publish` of our client and Debian's."""
import io
import json
import os
import pathlib
import subprocess
import tarfile
import time

import pytest

from helpers.daemon import BIN

GO = pathlib.Path("/usr/bin/lxc")
SECRET = pathlib.Path("/var/tmp/lxd-e2e-publish-secret")

FILL = f"""
mkdir -p /pub/dir && cd /pub && echo one > a && chown 7:8 a && chmod 4751 a && ln a hard && ln -s a soft && ln -s {SECRET} out && ln -s / up &&
mkfifo fifo && : > empty && chown 65533:1 dir && chmod 2770 dir && printf x > "$(printf 'odd\\377\\nname')" && dd if=/dev/zero of=zeros bs=1M count=3 2>/dev/null
"""
CHECK = """cd /pub && stat -c '%n %u %g %a %h %F %s' a hard soft fifo empty dir zeros && cat hard && readlink soft && ls | wc -l"""


@pytest.fixture(scope="module", params=["", "privileged"])
def source(request, daemon):
    """A stopped instance with everything in its files that an image should keep."""
    name = daemon.new_name()
    config = {"security.privileged": "true"} if request.param else {}
    SECRET.write_text("secret of the host")
    daemon.api.launch(name, config)
    daemon.api.sh(name, FILL)
    seen = daemon.api.sh(name, CHECK)
    daemon.api.done(daemon.api.state(name, "stop", force=True))
    root = daemon.dir / "storage-pools/default/containers" / name / "rootfs/pub"
    os.setxattr(root / "a", "user.mark", b"kept")
    os.setxattr(root / "a", "trusted.host", b"not kept")
    yield name, seen
    daemon.api.remove(name)
    SECRET.unlink()


def publish(api, name, **more):
    body = {"source": {"type": "instance", "name": name}, **more}
    return api.post("/1.0/images", body)


def fingerprint(api, reply):
    return api.done(reply)["metadata"]["fingerprint"]


def exported(api, found, mode="r:*"):
    reply = api.request("GET", f"/1.0/images/{found}/export")
    assert reply.status == 200, reply
    return tarfile.open(fileobj=io.BytesIO(reply.body), mode=mode)


def test_what_is_in_the_image(api, source):
    name, _ = source
    found = fingerprint(api, publish(api, name, properties={"os": "busybox", "description": "mine"}, public=True, aliases=[{"name": f"a-{name}"}]))
    image = api.get(f"/1.0/images/{found}")
    assert image["public"] is True and image["properties"] == {"os": "busybox", "description": "mine"} and image["aliases"][0]["name"] == f"a-{name}"
    assert image["architecture"] == os.uname().machine and image["type"] == "container"
    with exported(api, found, "r:gz") as tar:
        members = {m.name: m for m in tar.getmembers()}
        metadata = json.load(tar.extractfile("metadata.yaml"))
    assert metadata["properties"] == {"os": "busybox", "description": "mine"} and metadata["architecture"] == os.uname().machine
    a = members["rootfs/pub/a"] if not members["rootfs/pub/a"].islnk() else members["rootfs/pub/hard"]
    assert (a.uid, a.gid, a.mode, a.size) == (7, 8, 0o4751, 4)
    assert sum(members[f"rootfs/pub/{n}"].islnk() for n in ("a", "hard")) == 1
    assert members["rootfs/pub/out"].issym() and members["rootfs/pub/out"].linkname == str(SECRET)
    assert members["rootfs/pub/fifo"].isfifo() and members["rootfs/pub/dir"].uid == 65533 and members["rootfs"].uid == 0
    assert a.pax_headers["SCHILY.xattr.user.mark"] == "kept" and "SCHILY.xattr.trusted.host" not in a.pax_headers
    assert {m.split("/")[0] for m in members} <= {"metadata.yaml", "templates", "rootfs"}
    assert api.delete(f"/1.0/images/{found}").status == 202


@pytest.mark.parametrize("compression, suffix, mode", [("", ".tar.gz", "r:gz"), ("xz", ".tar.xz", "r:xz"), ("bzip2", ".tar.bz2", "r:bz2"), ("zstd", ".tar.zst", None),
                                                       ("none", ".tar", "r:")])
def test_compressions_and_what_comes_of_it(daemon, api, source, compression, suffix, mode):
    name, seen = source
    found = fingerprint(api, publish(api, name, compression_algorithm=compression))
    reply = api.request("GET", f"/1.0/images/{found}/export")
    assert reply.headers["Content-Disposition"] == f"inline;filename={found}{suffix}"
    if mode:
        exported(api, found, mode).close()
    copy = daemon.new_name()
    body = {"name": copy, "source": {"type": "image", "fingerprint": found}, "config": {}}
    try:
        api.done(api.post("/1.0/instances", body))
        api.done(api.state(copy, "start"))
        assert api.sh(copy, CHECK) == seen
    finally:
        api.remove(copy)
        api.done(api.delete(f"/1.0/images/{found}"))


def test_the_first_images_properties_stay(api, source):
    name, _ = source
    found = fingerprint(api, publish(api, name))
    assert api.get(f"/1.0/images/{found}")["properties"] == api.get(f"/1.0/images/{api.get('/1.0/images/aliases/bb')['target']}")["properties"]
    api.done(api.delete(f"/1.0/images/{found}"))


def test_expiry(api, source):
    found = fingerprint(api, publish(api, source[0], expires_at="2099-01-02T03:04:05Z", filename="f.tar.gz"))
    image = api.get(f"/1.0/images/{found}")
    assert image["expires_at"].startswith("2099-01-02T03:04:05") and image["filename"] == "f.tar.gz"
    api.done(api.delete(f"/1.0/images/{found}"))


@pytest.mark.parametrize("deep, status", [(254, "Success"), (255, "Failure")])
def test_deep_folders(daemon, api, name, deep, status):
    """rootfs/root and below."""
    api.launch(name)
    api.sh(name, f"cd /root; i=0; while [ $i -lt {deep} ]; do mkdir d && cd d || exit 1; i=$((i+1)); done")
    api.done(api.state(name, "stop", force=True))
    operation = api.wait(publish(api, name, compression_algorithm="none"))
    assert operation["status"] == status, operation
    if status == "Success":
        assert api.delete(f"/1.0/images/{operation['metadata']['fingerprint']}").status == 202
    else:
        assert "An image cannot be more than 256 folders deep: rootfs/root/d/d" in operation["err"]


def test_refused(daemon, api, source, name):
    images = api.get("/1.0/images")
    api.launch(name)
    assert api.failure(publish(api, name)) == "Cannot export a running instance as an image"
    assert publish(api, "nothere").status == 404
    assert publish(api, source[0], compression_algorithm="squashfs").status == 400
    assert publish(api, source[0], compression_algorithm="gzip; touch /x").status == 400
    assert publish(api, "").error == "No source instance specified"
    assert publish(api, source[0], auto_update=True).status == 400
    assert "bb" in api.failure(publish(api, source[0], aliases=[{"name": "bb"}]))
    assert api.get("/1.0/images") == images and api.get(f"/1.0/instances/{source[0]}")["status"] == "Stopped"
    assert list((daemon.dir / "images/staging").iterdir()) == []


def test_cancel(daemon, api, name):
    """A large tree whose publishing is cancelled leaves no image, no file and no process."""
    api.done(api.create(name))
    root = daemon.dir / "storage-pools/default/containers" / name / "rootfs"
    with open(root / "big", "wb") as file:
        file.truncate(64 << 30)
    images = api.get("/1.0/images")
    reply = publish(api, name, compression_algorithm="xz")
    time.sleep(0.5)
    assert api.delete(reply.json["operation"]).status == 200
    assert api.wait(reply)["status"] in ("Cancelled", "Failure")
    assert api.get("/1.0/images") == images
    api.done(api.state(name, "start"))   # nothing holds it any more


# --- clients ---

@pytest.fixture(scope="module", params=["ours", "go"])
def lxc(request, daemon):
    program = BIN / "lxc" if request.param == "ours" else GO
    if not program.exists():
        pytest.skip("Debian's lxd-client is not installed")
    conf = daemon.root / f"publish-conf-{request.param}"
    os.makedirs(conf, exist_ok=True)

    def run(*args, code=0):
        result = daemon.lxc(*args, program=program, LXD_CONF=str(conf), check=False)
        assert result.returncode == code, result
        return result.stderr if code else result.stdout

    return run


def test_client(daemon, api, lxc, name):
    api.launch(name)
    api.sh(name, "echo published > /mark")
    assert "Error: The instance is currently running. Use --force to have it stopped and restarted" in lxc("publish", name, code=1)
    out = lxc("publish", name, "--force", "--alias", f"pub-{name}", "--public", "--compression", "none", "os=mine", "release=1")
    assert "Instance published with fingerprint: " in out
    assert api.get(f"/1.0/instances/{name}")["status"] == "Running"
    target = api.get(f"/1.0/images/aliases/pub-{name}")["target"]
    image = api.get(f"/1.0/images/{target}")
    assert image["public"] is True and image["properties"]["os"] == "mine"
    copy = daemon.new_name()
    api.launch(copy, image=f"pub-{name}")
    assert api.sh(copy, "cat /mark") == "published\n"
    api.remove(copy)
    api.done(api.delete(f"/1.0/images/{target}"))


def test_client_refusals(lxc, daemon):
    assert "Error: " in lxc("publish", "nothere", code=1)
    result = subprocess.run([str(BIN / "lxd-pack")], capture_output=True, text=True)
    assert result.returncode == 2 and "started by lxd" in result.stderr
