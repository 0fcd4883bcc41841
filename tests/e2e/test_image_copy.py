"""`lxc image copy` between two servers, in every mode and with both programs; tokens; what strangers see of images."""
import hashlib
import os
import pathlib
import shutil
import subprocess
import time

import pytest

from helpers import images
from helpers.client import ClientProgram
from helpers.daemon import BIN, Daemon, eventually
from helpers.tls import TlsClient

pytestmark = pytest.mark.ours
PORTS = {"a": 8443, "b": 8444, "debian": 8445}


class Reference(Daemon):
    """Debian's lxd 5.0.2."""

    def spawn(self, *args, log=None, **kwargs):
        with open(self.log_path, "ab") as out:
            return subprocess.Popen(["/usr/bin/lxd", "--group", "root"], env=self.env(), stdin=subprocess.DEVNULL, stdout=out, stderr=out, **kwargs)


def start(kind, name):
    directory = pathlib.Path(f"/var/tmp/lxd-e2e-imgcopy-{name}-{time.time_ns() % 10**10}")
    made = kind(directory)
    made.start()
    reply = made.api.patch("/1.0", {"config": {"core.https_address": f"127.0.0.1:{PORTS[name]}", "core.trust_password": "pw"}})
    assert reply.status == 200, reply
    made.port = PORTS[name]
    made.stranger = TlsClient(port=made.port)
    return made


def end(made):
    if made.alive:
        made.stop()
    made.cleanup()


@pytest.fixture(scope="module")
def a():
    made = start(Daemon, "a")
    yield made
    end(made)


@pytest.fixture(scope="module")
def b():
    made = start(Daemon, "b")
    yield made
    end(made)


@pytest.fixture(scope="module")
def debian():
    if not pathlib.Path("/usr/bin/lxd").exists():
        pytest.skip("Debian's lxd is not installed")
    made = start(Reference, "debian")
    yield made
    end(made)


@pytest.fixture(scope="module")
def lxc(a, b, tmp_path_factory):
    """Our client, that both of our servers know as a and b."""
    client = ClientProgram(a, BIN / "lxc", tmp_path_factory.mktemp("client") / "conf")
    for name, server in (("a", a), ("b", b)):
        client("remote", "add", name, f"https://127.0.0.1:{server.port}", "--accept-certificate", "--password", "pw")
    return client


def clean(*servers):
    for server in servers:
        for op in tokens(server):
            server.api.delete(f"/1.0/operations/{op['id']}")
        for url in server.api.get("/1.0/images"):
            server.api.done(server.api.delete(url))


@pytest.fixture(autouse=True)
def fresh(a, b, request):
    yield
    clean(a, b)
    if "debian" in request.fixturenames:
        clean(request.getfixturevalue("debian"))


def put(server, kind, alias="img", public=False):
    """A unified or split image under an alias; gives back its fingerprint."""
    headers = {"X-LXD-properties": "os=copied&description=a%20b", "X-LXD-public": "true" if public else "false"}
    if kind == "split":
        body, form = images.split_form(*images.busybox_split(label="copy split", squashfs=True))
        headers.update(form)
    else:
        body = images.busybox(label="copy unified")
        headers["Content-Type"] = "application/octet-stream"
    fp = server.api.done(server.api.post("/1.0/images", body, headers=headers))["metadata"]["fingerprint"]
    assert server.api.post("/1.0/images/aliases", {"name": alias, "target": fp, "description": ""}).status == 201
    return fp


def tokens(server):
    """Image tokens that still work."""
    running = server.api.get("/1.0/operations?recursion=1").get("running", [])
    return [op for op in running if op["description"] == "Image download token"]


def same(first, second, fp):
    """Both have the image, byte for byte."""
    one, two = first.api.get(f"/1.0/images/{fp}"), second.api.get(f"/1.0/images/{fp}")
    assert {k: one[k] for k in ("properties", "architecture", "size", "type")} == {k: two[k] for k in ("properties", "architecture", "size", "type")}
    return two


@pytest.mark.parametrize("mode", ["pull", "push", "relay"])
@pytest.mark.parametrize("kind", ["unified", "split"])
def test_private_image_between_ours(a, b, lxc, mode, kind):
    fp = put(a, kind)
    out, _ = lxc("image", "copy", "a:img", "b:", "--mode", mode, "--copy-aliases", "--alias", "another", "--public")
    assert out == "Image copied successfully!\n"
    image = same(a, b, fp)
    assert image["public"] and sorted(x["name"] for x in image["aliases"]) == ["another", "img"]
    eventually(lambda: tokens(a) == tokens(b) == [], what="tokens are used up")


def test_public_image_is_remembered_by_its_alias(a, b, lxc):
    fp = put(a, "unified", public=True)
    lxc("image", "copy", "a:img", "b:", "--auto-update")
    image = same(a, b, fp)
    assert image["update_source"]["alias"] == "img" and image["auto_update"] and not image["public"]


@pytest.mark.parametrize("mode", ["pull", "push", "relay"])
@pytest.mark.parametrize("way", ["from", "to"])
@pytest.mark.parametrize("kind", ["unified", "split"])
def test_between_ours_and_debians(a, debian, lxc, mode, way, kind):
    if "debian" not in lxc("remote", "list")[0]:
        lxc("remote", "add", "debian", f"https://127.0.0.1:{debian.port}", "--accept-certificate", "--password", "pw")
    source, dest = (debian, a) if way == "from" else (a, debian)
    names = {id(a): "a", id(debian): "debian"}
    fp = put(source, kind)
    lxc("image", "copy", f"{names[id(source)]}:img", f"{names[id(dest)]}:", "--mode", mode, "--copy-aliases")
    assert [x["name"] for x in same(source, dest, fp)["aliases"]] == ["img"]


@pytest.mark.parametrize("mode", ["pull", "push", "relay"])
def test_with_the_go_client(a, b, lxc, mode, tmp_path):
    if not pathlib.Path("/usr/bin/lxc").exists():
        pytest.skip("Debian's lxc is not installed")
    fp = put(a, "split")
    out, _ = lxc("image", "copy", "a:img", "b:", "--mode", mode, "--copy-aliases", program="/usr/bin/lxc")
    assert "Image copied successfully!" in out
    # in relay mode the Go client does not pass properties on
    image = b.api.get(f"/1.0/images/{fp}") if mode == "relay" else same(a, b, fp)
    assert [x["name"] for x in image["aliases"]] == ["img"]


@pytest.mark.parametrize("args, error", [
    (("a:img", "a:"), "The source and target servers must be different"),
    (("a:img", "b:name"), "Can't provide a name for the target image"),
    (("a:", "b:"), "Missing image name"),
    (("a:absent", "b:"), "Image not found"),
    (("a:img", "b:", "--mode", "beam"), 'Invalid mode "beam"'),
    (("a:img", "b:", "--mode", "push", "--auto-update"), "--auto-update"),
    (("a:img", "nosuch:"), 'The remote "nosuch" doesn\'t exist'),
])
def test_commands_that_make_no_sense(a, lxc, args, error):
    put(a, "unified")
    assert error in lxc.error("image", "copy", *args)


def test_refresh(a, b, lxc):
    fp = put(a, "unified", public=True)
    lxc("image", "copy", "a:img", "b:", "--alias", "mine")
    assert lxc("image", "refresh", "b:mine")[0] == "Image already up to date.\n"
    a.api.done(a.api.delete(f"/1.0/images/{fp}"))
    new = put(a, "split", public=True)
    assert lxc("image", "refresh", "b:mine")[0] == "Image refreshed successfully!\n"
    assert b.api.get("/1.0/images/aliases/mine")["target"] == new
    assert "Image source not found" in lxc.error("image", "refresh", "a:img")


def test_import_of_an_address(a, lxc):
    assert "Only https:// is supported" in lxc.error("image", "import", "http://127.0.0.1/x", "a:")
    assert "one file" in lxc.error("image", "import", "https://127.0.0.1/x", "root", "a:")
    assert "connection refused" in lxc.error("image", "import", "https://127.0.0.1:1/x", "a:", "k=v")


# --- strangers ---

def test_strangers_see_public_images_only(a):
    private, public = put(a, "unified", alias="private"), put(a, "split", alias="public", public=True)
    stranger = a.stranger
    assert stranger.get("/1.0/images") == [f"/1.0/images/{public}"]
    assert [i["fingerprint"] for i in stranger.get("/1.0/images?recursion=1")] == [public]
    assert stranger.get(f"/1.0/images/{public[:12]}")["fingerprint"] == public
    # at most four at a time, but any number one after the other
    assert [stranger.request("GET", f"/1.0/images/{public}/export").status for _ in range(6)] == [200] * 6
    assert stranger.get("/1.0/images/aliases/public")["target"] == public
    absent = stranger.request("GET", "/1.0/images/" + "0" * 64)
    for path in (f"/1.0/images/{private}", f"/1.0/images/{private[:12]}", f"/1.0/images/{private}/export", f"/1.0/images/{private}?secret=",
                 f"/1.0/images/{private}?secret=x", f"/1.0/images/{private}/export?secret=x", f"/1.0/images/{public}?project=nosuch",
                 f"/1.0/images/{private}?project=nosuch", f"/1.0/images/{public}/export?project=nosuch", "/1.0/images/", "/1.0/images/%00"):
        reply = stranger.request("GET", path)
        assert reply.status == 404, (path, reply)
        if path.count("/") > 3 or "?" in path:
            assert reply.body == absent.body, (path, reply)
    gone = stranger.request("GET", "/1.0/images/aliases/absent")
    for path in ("/1.0/images/aliases/private", "/1.0/images/aliases/public?project=nosuch"):
        assert (stranger.request("GET", path).status, stranger.request("GET", path).body) == (gone.status, gone.body) and gone.status == 404
    assert stranger.get("/1.0/images?project=nosuch") == []
    for method, path in (("GET", "/1.0/images/aliases"), ("PUT", f"/1.0/images/{public}"), ("PATCH", f"/1.0/images/{public}"),
                         ("DELETE", f"/1.0/images/{public}"), ("POST", f"/1.0/images/{public}/secret"), ("POST", f"/1.0/images/{public}/export"),
                         ("POST", f"/1.0/images/{public}/refresh"), ("POST", "/1.0/images/aliases")):
        assert stranger.request(method, path, {}).status == 403, (method, path)


def secret_of(reply):
    assert reply.status == 202 and reply.json["metadata"]["class"] == "token", reply
    return reply.json["metadata"]["metadata"]["secret"], reply.json["operation"]


def test_secret_opens_one_image_once(a):
    fp, other = put(a, "unified"), put(a, "split", alias="other")
    secret, operation = secret_of(a.api.post(f"/1.0/images/{fp}/secret"))
    stranger = a.stranger
    assert "secret" not in (stranger.request("GET", operation).body or b"").decode()
    assert stranger.request("GET", f"/1.0/images/{other}?secret={secret}").status == 404
    assert stranger.request("GET", f"/1.0/images/{fp}/export?secret={secret[:-1]}0x").status == 404
    for _ in range(2):
        assert stranger.get(f"/1.0/images/{fp}?secret={secret}")["fingerprint"] == fp
    reply = stranger.request("GET", f"/1.0/images/{fp}/export?secret={secret}")
    assert reply.status == 200 and hashlib.sha256(reply.body).hexdigest() == fp
    assert stranger.request("GET", f"/1.0/images/{fp}/export?secret={secret}").status == 404
    assert stranger.request("GET", f"/1.0/images/{fp}?secret={secret}").status == 404
    assert tokens(a) == []


def test_secret_that_was_withdrawn(a):
    fp = put(a, "unified")
    secret, operation = secret_of(a.api.post(f"/1.0/images/{fp}/secret"))
    assert a.api.delete(operation).status == 200
    assert a.stranger.request("GET", f"/1.0/images/{fp}?secret={secret}").status == 404


def test_secret_needs_an_image(a):
    assert a.api.post("/1.0/images/" + "0" * 64 + "/secret").status == 404


def push_token(server, fp, **more):
    return secret_of(server.api.post("/1.0/images", {"source": {"type": "image", "mode": "push", "fingerprint": fp}, **more}))


def upload(client, body, headers):
    return client.post("/1.0/images", body, headers={"Content-Type": "application/octet-stream", **headers})


def test_stranger_brings_the_image_it_was_asked_for(a):
    data = images.busybox(label="pushed")
    fp = hashlib.sha256(data).hexdigest()
    secret, _ = push_token(a, fp, public=True, aliases=[{"name": "brought", "description": "d"}], properties={"a": "b"})
    reply = upload(a.stranger, data, {"X-LXD-secret": secret, "X-LXD-fingerprint": fp})
    assert reply.status == 202, reply
    wait = reply.json["metadata"]["metadata"]["secret"]
    url = f"{reply.json['operation']}/wait?timeout=60"
    assert a.stranger.request("GET", url).status == 403
    done = a.stranger.request("GET", f"{url}&secret={wait}")
    assert done.metadata["status"] == "Success", done
    image = a.api.get(f"/1.0/images/{fp}")
    assert image["public"] and image["properties"]["a"] == "b" and image["aliases"] == [{"name": "brought", "description": "d"}]
    assert upload(a.stranger, data, {"X-LXD-secret": secret, "X-LXD-fingerprint": fp}).status == 403


def test_stranger_brings_something_else(a):
    data = images.busybox(label="pushed")
    fp = "1" * 64
    secret, _ = push_token(a, fp)
    reply = upload(a.stranger, data, {"X-LXD-secret": secret, "X-LXD-fingerprint": fp})
    assert reply.status == 202
    done = a.stranger.request("GET", f"{reply.json['operation']}/wait?timeout=60&secret={secret}")
    assert done.metadata["status"] == "Failure" and "fingerprints don't match" in done.metadata["err"]
    assert a.api.get("/1.0/images") == []


def test_stranger_without_a_token(a):
    data = images.busybox(label="pushed")
    fp = hashlib.sha256(data).hexdigest()
    secret, _ = push_token(a, fp)
    read, _ = secret_of(a.api.post(f"/1.0/images/{put(a, 'unified')}/secret"))
    before = len(a.api.get("/1.0/images"))
    for headers in ({}, {"X-LXD-secret": secret}, {"X-LXD-fingerprint": fp}, {"X-LXD-secret": secret, "X-LXD-fingerprint": "0" * 64},
                    {"X-LXD-secret": secret[:-1] + "x", "X-LXD-fingerprint": fp}, {"X-LXD-secret": read, "X-LXD-fingerprint": fp}):
        reply = upload(a.stranger, data[:1000], headers)
        assert reply.status == 403 and reply.error == "not authorized", (headers, reply)
    assert a.stranger.post("/1.0/images", {"source": {"type": "image", "server": "https://x", "alias": "x"}}).status == 403
    assert len(a.api.get("/1.0/images")) == before and list((a.dir / "images" / "staging").iterdir()) == []
    assert len(tokens(a)) == 2


def test_push_to_a_server_that_refuses(a, b):
    fp = put(a, "unified")
    pem = b.api.get("/1.0")["environment"]["certificate"]
    target = {"target": f"https://127.0.0.1:{b.port}", "certificate": pem}
    op = a.api.wait(a.api.post(f"/1.0/images/{fp}/export", {**target, "secret": "wrong"}))
    assert op["status"] == "Failure" and "not authorized" in op["err"], op
    op = a.api.wait(a.api.post(f"/1.0/images/{fp}/export", {**target, "certificate": a.api.get("/1.0")["environment"]["certificate"], "secret": "x"}))
    assert op["status"] == "Failure" and "x509: certificate signed by unknown authority" in op["err"], op
    for body, error in (({}, "target server is missing"), (target, "secret"), ({**target, "secret": "x", "target": "http://x"}, "only https://")):
        reply = a.api.post(f"/1.0/images/{fp}/export", body)
        assert reply.status == 400 and error in reply.error, reply
