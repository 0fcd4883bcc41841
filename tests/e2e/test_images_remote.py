"""Images from other servers, fetched by the daemon: LXD servers, simplestreams, single files; and all that may go wrong."""
import hashlib
import json
import os
import pathlib
import threading
import time

import pytest

from helpers import images
from helpers.connect_proxy import Proxy
from helpers.daemon import eventually, processes
from helpers.https import Server
from helpers.tls import Certificate, openssl

pytestmark = pytest.mark.ours


def server_certificate(directory, name, *, san="DNS:localhost,IP:127.0.0.1,IP:::1", days=30, subject="/CN=server"):
    crt, key = pathlib.Path(directory) / f"{name}.crt", pathlib.Path(directory) / f"{name}.key"
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", crt, "-days", days,
            "-subj", subject, "-addext", f"subjectAltName={san}")
    return Certificate(crt, key)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Server(server_certificate(tmp_path_factory.mktemp("pki"), "server"))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def fresh(request):
    server = request.getfixturevalue("server")
    server.routes.clear()
    server.asked.clear()


@pytest.fixture(scope="module")
def unified():
    return images.busybox(label="remote unified")


@pytest.fixture(scope="module")
def split():
    return images.busybox_split(label="remote split", squashfs=True)


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).hexdigest()


def publish(server, *parts, alias="bb", export=None, size=None, fingerprint=None, **more):
    """An image on a fake LXD server; gives back its fingerprint."""
    fp = fingerprint or sha(*parts)
    if export is None and len(parts) == 1:
        export = (200, {"Content-Type": "application/octet-stream"}, parts[0])
    elif export is None:
        body, headers = images.split_form(*parts)
        export = (200, headers, body, {"chunked": True})
    info = {"fingerprint": fp, "filename": "image.tar.xz", "size": size if size is not None else sum(map(len, parts)), "public": True,
            "properties": {"os": "remote", "description": "from afar"}, "architecture": "x86_64", "type": "container",
            "aliases": [{"name": alias, "description": ""}], "auto_update": False, **more}
    server.json(f"/1.0/images/aliases/{alias}", {"name": alias, "target": fp, "type": "container", "description": ""})
    server.json(f"/1.0/images/{fp}", info)
    server.routes[f"/1.0/images/{fp}/export"] = export
    return fp


def source(server, **more):
    return {"source": {"type": "image", "mode": "pull", "server": server.url(), "protocol": "lxd",
                       "certificate": server.certificate.pem, **more.pop("source", {})}, **more}


def streams(server, meta_file, root_file, **more):
    """The same as a simplestreams tree; gives back the fingerprint."""
    fp = sha(meta_file, root_file)
    item = {"ftype": "lxd.tar.xz", "path": "images/bb/20240101_00:00/lxd.tar.xz", "size": len(meta_file), "sha256": sha(meta_file),
            "combined_squashfs_sha256": fp}
    rootfs = {"ftype": "squashfs", "path": "images/bb/20240101_00:00/rootfs.squashfs", "size": len(root_file), "sha256": sha(root_file)}
    item.update(more.get("meta", {}))
    rootfs.update(more.get("root", {}))
    product = {"aliases": "busybox/1,busybox", "arch": "amd64", "os": "Busybox", "release": "1", "release_title": "One", "variant": "default",
               "versions": {"20240101_00:00": {"items": {"lxd.tar.xz": item, "root.squashfs": rootfs}}}}
    server.routes["/streams/v1/index.json"] = json.dumps(
        {"format": "index:1.0", "index": {"images": {"datatype": "image-downloads", "path": "streams/v1/images.json", "products": ["bb"],
                                                     "format": "products:1.0"}}}).encode()
    server.routes["/streams/v1/images.json"] = json.dumps({"products": {"bb": product}, "format": "products:1.0"}).encode()
    server.routes["/images/bb/20240101_00:00/lxd.tar.xz"] = meta_file
    server.routes["/images/bb/20240101_00:00/rootfs.squashfs"] = root_file
    return fp


def fetch(api, body):
    """The ended operation of POST /1.0/images."""
    reply = api.post("/1.0/images", body)
    assert reply.status == 202, reply
    return api.wait(reply, 20)


def no_dial():
    """No lxd-dial is left over."""
    eventually(lambda: "lxd-dial" not in processes().values(), what="lxd-dial has ended")


def nothing_staged(daemon):
    eventually(lambda: not list((daemon.dir / "images" / "staging").iterdir()), what="staging is empty")
    no_dial()


def remove(api, fp):
    if fp and api.request("GET", f"/1.0/images/{fp}").status == 200:
        api.done(api.delete(f"/1.0/images/{fp}"))


@pytest.fixture
def gone(daemon):
    """Fingerprints to be removed after the test."""
    listed = []
    yield listed.append
    for fp in listed:
        remove(daemon.api, fp)


def test_unified_image_from_an_lxd_server(daemon, api, server, unified, gone):
    fp = publish(server, unified)
    gone(fp)
    op = fetch(api, source(server, source={"alias": "bb"}, aliases=[{"name": "from-afar", "description": "d"}], public=True))
    assert op["status"] == "Success", op
    assert op["metadata"]["fingerprint"] == fp and op["metadata"]["size"] == str(len(unified))
    image = api.get(f"/1.0/images/{fp}")
    assert image["public"] and not image["cached"] and image["properties"] == {"os": "remote", "description": "from afar"}
    assert image["filename"] == "image.tar.xz" and image["aliases"] == [{"name": "from-afar", "description": "d"}]
    assert image["update_source"] == {"alias": "bb", "certificate": server.certificate.pem, "protocol": "lxd", "server": server.url(),
                                      "image_type": "container"}
    assert api.request("GET", f"/1.0/images/{fp}/export").body == unified
    assert all(path.startswith("/1.0/images") for _, path, _ in server.asked)
    no_dial()


def test_split_image_by_a_part_of_its_fingerprint(daemon, api, server, split, gone):
    fp = publish(server, *split)
    gone(fp)
    server.routes[f"/1.0/images/{fp[:16]}"] = server.routes[f"/1.0/images/{fp}"]
    op = fetch(api, source(server, source={"fingerprint": fp[:16]}))
    assert op["status"] == "Success", op
    assert op["metadata"]["fingerprint"] == fp
    name = daemon.new_name()
    api.launch(name, source={"type": "image", "fingerprint": fp})
    api.remove(name)


def test_secret_and_project_are_passed_on(api, server, unified, gone):
    fp = publish(server, unified)
    gone(fp)
    op = fetch(api, source(server, source={"fingerprint": fp, "secret": "s&c ret", "project": "p q"}))
    assert op["status"] == "Success", op
    paths = [path for _, path, _ in server.asked]
    assert paths == [f"/1.0/images/{fp}?project=p%20q&secret=s%26c%20ret", f"/1.0/images/{fp}/export?project=p%20q&secret=s%26c%20ret"]
    assert "update_source" not in api.get(f"/1.0/images/{fp}")


@pytest.mark.parametrize("ignored", [False, True])
def test_proxy_of_the_server(api, server, unified, gone, ignored):
    """core.proxy_https is asked for a host that only it knows, unless core.proxy_ignore_hosts names the host."""
    fp = publish(server, unified)
    proxy = Proxy("127.0.0.1", upstream="127.0.0.1")
    port = int(server.url().rsplit(":", 1)[1].rstrip("/"))
    config = {"core.proxy_https": f"http://{proxy.address}", "core.proxy_ignore_hosts": "far.example.com" if ignored else ""}
    assert api.patch("/1.0", {"config": config}).status == 200
    try:
        operation = fetch(api, source(server, source={"alias": "bb", "server": f"https://far.example.com:{port}"}))
    finally:
        assert api.patch("/1.0", {"config": {"core.proxy_https": "", "core.proxy_ignore_hosts": ""}}).status == 200
        proxy.socket.close()
    if ignored:
        assert operation["status"] == "Failure" and "far.example.com" in operation["err"] and proxy.connected == []
    else:
        assert operation["status"] == "Success" and set(proxy.connected) == {f"far.example.com:{port}"}
        assert api.get(f"/1.0/images/{fp}")["fingerprint"] == fp
        gone(fp)


def test_image_that_is_here_already_is_no_failure(api, server, unified, gone):
    fp = publish(server, unified)
    gone(fp)
    assert fetch(api, source(server, source={"alias": "bb"}))["status"] == "Success"
    server.asked.clear()
    op = fetch(api, source(server, source={"alias": "bb"}, public=True, aliases=[{"name": "again"}]))
    assert op["status"] == "Success" and op["metadata"]["fingerprint"] == fp
    assert not any("export" in path for _, path, _ in server.asked)
    assert api.get(f"/1.0/images/{fp}")["public"] and api.get("/1.0/images/aliases/again")["target"] == fp


def test_alias_that_is_taken_fails_before_the_download(api, server, unified):
    fp = publish(server, unified)
    op = fetch(api, source(server, source={"alias": "bb"}, aliases=[{"name": "bb"}]))
    assert op["status"] == "Failure" and op["err"] == "Alias already exists: bb"
    assert api.request("GET", f"/1.0/images/{fp}").status == 404
    assert not any("export" in path for _, path, _ in server.asked)


def test_simplestreams(daemon, api, server, split, gone):
    fp = streams(server, *split)
    gone(fp)
    op = fetch(api, source(server, source={"protocol": "simplestreams", "alias": "busybox"}))
    assert op["status"] == "Success", op
    image = api.get(f"/1.0/images/{fp}")
    assert image["properties"]["description"] == "Busybox One amd64 (20240101_00:00)" and image["properties"]["serial"] == "20240101_00:00"
    assert image["filename"] == "lxd.tar.xz" and image["update_source"]["protocol"] == "simplestreams"


@pytest.mark.parametrize("what, error", [
    ({"root": {"sha256": "0" * 64}}, "Hash mismatch for "),
    ({"meta": {"sha256": "0" * 64}}, "Hash mismatch for "),
    ({"meta": {"combined_squashfs_sha256": "0" * 64}}, "fingerprints don't match, got "),
    ({"root": {"size": 17}}, "bytes where 17 were announced"),
    ({"root": {"path": "../../etc/passwd"}}, "The requested image couldn't be found"),
    ({"root": {"path": "images/absent"}}, "Image not found"),
])
def test_simplestreams_that_lie(daemon, api, server, split, what, error):
    streams(server, *split, **what)
    op = fetch(api, source(server, source={"protocol": "simplestreams", "alias": "busybox"}))
    assert op["status"] == "Failure" and error in op["err"], op
    nothing_staged(daemon)


@pytest.mark.parametrize("index", [b"", b"[]", b"{", b'{"index":{"a":{"datatype":"image-downloads","path":"/etc","products":["a"]}}}',
                                   b"x" * (5 << 20)])
def test_simplestreams_index_that_is_none(api, server, index):
    server.routes["/streams/v1/index.json"] = index
    op = fetch(api, source(server, source={"protocol": "simplestreams", "alias": "busybox"}))
    assert op["status"] == "Failure" and op["err"]


def test_url(api, server, unified, gone):
    fp = sha(unified)
    gone(fp)
    server.routes[("HEAD", "/image")] = (200, {"LXD-Image-Hash": fp.upper(), "LXD-Image-URL": server.url() + "/files/bb.tar.xz?x=1"}, b"")
    server.routes["/files/bb.tar.xz"] = unified
    op = fetch(api, {"source": {"type": "url", "mode": "pull", "url": server.url() + "/image", "certificate": server.certificate.pem},
                     "properties": {"a": "b"}})
    assert op["status"] == "Success", op
    image = api.get(f"/1.0/images/{fp}")
    assert image["filename"] == "bb.tar.xz" and image["properties"]["a"] == "b" and "update_source" not in image
    method, path, headers = server.asked[0]
    assert (method, path) == ("HEAD", "/image") and "x86_64" in headers["LXD-Server-Architectures"]


@pytest.mark.parametrize("headers, error", [
    ({}, "Missing LXD-Image-Hash header"),
    ({"LXD-Image-Hash": "0" * 64}, "Missing LXD-Image-URL header"),
    ({"LXD-Image-Hash": "zz", "LXD-Image-URL": "https://127.0.0.1/x"}, 'Invalid LXD-Image-Hash header "zz"'),
    ({"LXD-Image-Hash": "0" * 64, "LXD-Image-URL": "http://127.0.0.1/x"}, "only https:// is supported"),
    ({"LXD-Image-Hash": "0" * 64, "LXD-Image-URL": "file:///etc/passwd"}, "only https:// is supported"),
])
def test_url_that_names_no_image(daemon, api, server, headers, error):
    server.routes[("HEAD", "/image")] = (200, headers, b"")
    op = fetch(api, {"source": {"type": "url", "url": server.url() + "/image", "certificate": server.certificate.pem}})
    assert op["status"] == "Failure" and error in op["err"], op
    nothing_staged(daemon)


def lying(server, unified, kind):
    """An export that is not what was announced, and the error that must come."""
    form, headers = images.multipart([("metadata", "m", b"a" * 100), ("other", "r", unified)])
    half, half_headers = images.split_form(b"m" * 100, unified[:-100])
    table = {
        "other bytes": ((200, {}, bytes(len(unified))), "fingerprints don't match, got "),
        "too short": ((200, {}, unified[:-1]), "bytes of an image of"),
        "too long": ((200, {}, unified + b"x" * 300000), "sends more than the"),
        "truncated": ((200, {"Content-Length": str(len(unified))}, unified, {"truncate": 1000}), "ended early"),
        "no length": (no_length, "has no length"),
        "bad part": ((200, headers, form), 'unexpected part "other"'),
        "form without end": ((200, half_headers, half[:-8]), "ends early"),
        "form without boundary": ((200, {"Content-Type": "multipart/form-data"}, b"x"), "no boundary"),
        "error": ((500, {"Content-Type": "application/json"}, b'{"type":"error","error":"it broke"}'), "it broke"),
        "html": ((503, {}, b"<html>"), "status 503"),
    }
    return table[kind]


def no_length(handler):
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(b"x" * 1000)
    handler.close_connection = True


@pytest.mark.parametrize("kind", ["other bytes", "too short", "too long", "truncated", "no length", "bad part", "form without end",
                                  "form without boundary", "error", "html"])
def test_export_that_lies(daemon, api, server, unified, kind):
    export, error = lying(server, unified, kind)
    fp = publish(server, unified, export=export)
    op = fetch(api, source(server, source={"alias": "bb"}))
    assert op["status"] == "Failure" and error in op["err"], op
    assert api.request("GET", f"/1.0/images/{fp}").status == 404
    nothing_staged(daemon)


def test_answer_for_another_image(api, server, unified):
    publish(server, unified)
    server.json("/1.0/images/" + "a" * 64, {"fingerprint": "b" * 64, "size": 1})
    op = fetch(api, source(server, source={"fingerprint": "a" * 64}))
    assert op["status"] == "Failure" and "answers for another image" in op["err"]


@pytest.mark.parametrize("body, error", [
    ({"source": {}}, "Invalid images JSON"),
    ({}, "Invalid images JSON"),
    ({"source": {"type": "image", "alias": "bb"}}, "server is missing"),
    ({"source": {"type": "url"}}, "Missing URL"),
    ({"source": {"type": "image", "mode": "sideways", "server": "https://x", "alias": "bb"}}, 'Invalid image source mode "sideways"'),
    ({"source": {"type": "instance"}}, "No source instance specified"),
    ({"source": {"type": "snapshot", "name": "c1"}}, "INSTANCE/SNAPSHOT"), ({"source": {"type": "snapshot"}}, "INSTANCE/SNAPSHOT"),
    ({"source": {"type": "bogus"}}, "not supported by this server yet"),
    ({"source": {"type": "image", "server": "https://x", "alias": "bb"}, "aliases": "x"}, "Invalid aliases"),
    ({"source": {"type": "image", "server": "https://x", "alias": "bb"}, "profiles": ["absent"]}, "absent"),
    ({"source": {"type": "image", "mode": "push"}}, "fingerprint"),
    ({"source": {"type": "image", "mode": "push", "fingerprint": "../x"}}, "fingerprint"),
])
def test_requests_that_make_no_sense(api, body, error):
    reply = api.post("/1.0/images", body)
    assert reply.status == 400 and error in reply.error, reply


@pytest.mark.parametrize("src, error", [
    ({"server": "http://127.0.0.1:1", "alias": "bb"}, "only https:// is supported"),
    ({"server": "file:///etc", "alias": "bb"}, "only https:// is supported"),
    ({"server": "https://user:pw@127.0.0.1:1", "alias": "bb"}, "user name"),
    ({"server": "https://127.0.0.1:1", "alias": "bb"}, "Unable to connect to: 127.0.0.1:1 ([dial tcp 127.0.0.1:1: connect: connection refused])"),
    ({"server": "https://nosuch.invalid", "alias": "bb"}, "lookup nosuch.invalid: "),
    ({"server": "https://127.0.0.1:1", "alias": "bb", "protocol": "ftp"}, "Unsupported protocol: ftp"),
    ({"server": "https://127.0.0.1:1", "alias": ""}, "Must specify one of alias or fingerprint"),
    ({"server": "https://127.0.0.1:1", "alias": "bb", "certificate": "junk"}, "Invalid certificate"),
])
def test_servers_that_are_none(api, src, error):
    op = fetch(api, {"source": {"type": "image", "mode": "pull", **src}})
    assert op["status"] == "Failure" and error in op["err"], op


def test_certificate_must_be_the_pinned_one(api, server, unified, tmp_path):
    publish(server, unified)
    other = server_certificate(tmp_path, "other")
    for pem in (other.pem, ""):
        op = fetch(api, source(server, source={"alias": "bb", "certificate": pem}))
        assert op["status"] == "Failure" and "x509: certificate signed by unknown authority" in op["err"], op
    assert server.asked == []


def test_redirects(daemon, api, server, unified, gone):
    fp = publish(server, unified)
    gone(fp)
    export = f"/1.0/images/{fp}/export"
    server.routes["/elsewhere"] = server.routes[export]
    server.routes[export] = (302, {"Location": "/elsewhere"}, b"")
    assert fetch(api, source(server, source={"alias": "bb"}))["status"] == "Success"


@pytest.mark.parametrize("location, error", [
    ("http://127.0.0.1/x", "only https:// addresses are followed"), ("ftp://x/", "only https:// addresses are followed"),
    ("//127.0.0.1/x", "only https:// addresses are followed"), ("", "leads nowhere"), ("https://127.0.0.1:1/x", "pinned"),
    ("https://exa mple/", "redirect"), (None, "more than 5 redirects"),
])
def test_redirects_that_are_not_followed(daemon, api, server, unified, location, error):
    fp = publish(server, unified)
    export = f"/1.0/images/{fp}/export"
    server.routes[export] = (302, {"Location": export if location is None else location}, b"")
    op = fetch(api, source(server, source={"alias": "bb"}))
    assert op["status"] == "Failure" and error in op["err"], op
    nothing_staged(daemon)


def slow(started, stop, body):
    """An export that comes drop by drop."""
    def run(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[:65536])
        started.set()
        stop.wait(50)
        handler.close_connection = True
    return run


def test_cancel_and_progress(daemon, api, server, unified):
    started, stop = threading.Event(), threading.Event()
    fp = publish(server, unified, export=slow(started, stop, unified))
    reply = api.post("/1.0/images", source(server, source={"alias": "bb"}))
    assert reply.status == 202 and reply.json["metadata"]["may_cancel"]
    assert started.wait(20)
    url = reply.json["operation"]
    eventually(lambda: "rootfs: " in (api.get(url)["metadata"] or {}).get("download_progress", ""), what="progress")
    began = time.monotonic()
    assert api.delete(url).status == 200
    op = api.wait(reply)
    assert op["status"] == "Cancelled" and time.monotonic() - began < 5, op
    stop.set()
    nothing_staged(daemon)
    assert api.request("GET", f"/1.0/images/{fp}").status == 404


def test_kill_in_the_middle(daemon, server, unified, gone):
    started, stop = threading.Event(), threading.Event()
    fp = publish(server, unified, export=slow(started, stop, unified))
    assert daemon.api.post("/1.0/images", source(server, source={"alias": "bb"})).status == 202
    assert started.wait(20)
    daemon.kill()
    no_dial()
    stop.set()
    daemon.start()
    nothing_staged(daemon)
    assert daemon.api.request("GET", f"/1.0/images/{fp}").status == 404
    publish(server, unified)
    gone(fp)
    assert fetch(daemon.api, source(server, source={"alias": "bb"}))["status"] == "Success"


def test_same_image_twice_at_once(daemon, api, server, unified, gone):
    fp = publish(server, unified)
    gone(fp)
    replies = [api.post("/1.0/images", source(server, source={"alias": "bb"})) for _ in range(4)]
    assert [api.wait(r)["status"] for r in replies] == ["Success"] * 4
    assert [i for i in api.get("/1.0/images") if fp in i] == [f"/1.0/images/{fp}"]
    nothing_staged(daemon)


def test_refresh(daemon, api, server, unified, split, gone):
    old = publish(server, unified)
    gone(old)
    fetch(api, source(server, source={"alias": "bb"}, aliases=[{"name": "follows"}], auto_update=True, public=True))
    assert api.get(f"/1.0/images/{old}")["auto_update"]
    assert api.done(api.post(f"/1.0/images/{old}/refresh"))["metadata"] == {"refreshed": False}
    new = publish(server, *split)
    gone(new)
    assert api.done(api.post(f"/1.0/images/{old}/refresh"))["metadata"] == {"refreshed": True}
    assert api.request("GET", f"/1.0/images/{old}").status == 404
    image = api.get(f"/1.0/images/{new}")
    assert image["aliases"] == [{"name": "follows", "description": ""}] and image["public"] and image["auto_update"]


def claim(server, fp):
    """The server says that its alias bb is an image that it may not have."""
    server.json("/1.0/images/aliases/bb", {"name": "bb", "target": fp, "type": "container", "description": ""})
    server.json(f"/1.0/images/{fp}", {"fingerprint": fp, "filename": "x", "size": 1, "public": True, "properties": {"os": "evil"},
                                      "architecture": "x86_64", "type": "container", "aliases": [], "auto_update": True})


def test_a_server_cannot_change_images_that_are_not_its_own(daemon, api, server, unified, gone):
    private = api.get(f"/1.0/images/{daemon.fingerprint}")
    old = publish(server, unified)
    gone(old)
    fetch(api, source(server, source={"alias": "bb"}, aliases=[{"name": "follows"}], auto_update=True, public=True))
    before = api.get(f"/1.0/images/{old}")
    claim(server, daemon.fingerprint)
    # refreshing neither publishes the private image, nor gives it the alias, nor removes the old one
    assert api.done(api.post(f"/1.0/images/{old}/refresh"))["metadata"] == {"refreshed": False}
    assert api.get(f"/1.0/images/{old}")["aliases"] == before["aliases"] == [{"name": "follows", "description": ""}]
    assert api.get(f"/1.0/images/{daemon.fingerprint}") == private
    # nor does fetching it
    op = fetch(api, source(server, source={"alias": "bb"}, public=True, properties={"os": "other"}))
    assert op["metadata"]["fingerprint"] == daemon.fingerprint
    after = api.get(f"/1.0/images/{daemon.fingerprint}")
    assert after["public"] is False and after["properties"] == private["properties"] and after["auto_update"] is False


def test_secrets_are_not_in_errors(api, server, unified):
    fp = publish(server, unified)
    server.routes[f"/1.0/images/{fp}/export"] = (404, {}, b"no")
    texts = [json.dumps(fetch(api, source(server, source={"fingerprint": fp, "secret": "hushhush"})))]
    server.routes[f"/1.0/images/{fp}/export"] = (302, {"Location": "http://192.0.2.1/x?secret=hushhush"}, b"")
    texts.append(json.dumps(fetch(api, source(server, source={"fingerprint": fp, "secret": "hushhush"}))))
    down = source(server, source={"fingerprint": fp, "secret": "hushhush", "server": "https://127.0.0.1:1"})
    texts.append(json.dumps(fetch(api, down)))
    for text in texts:
        assert "Failure" in text and "hushhush" not in text, text


def test_refresh_without_source(daemon, api):
    op = api.wait(api.post(f"/1.0/images/{daemon.fingerprint}/refresh"))
    assert op["status"] == "Failure" and op["err"].endswith("Image source not found")


def test_instance_from_an_image_elsewhere(daemon, api, server, unified, gone):
    fp = publish(server, unified)
    gone(fp)
    for _ in range(2):
        name = daemon.new_name()
        src = {"type": "image", "mode": "pull", "server": server.url(), "protocol": "lxd", "certificate": server.certificate.pem, "alias": "bb"}
        api.done(api.post("/1.0/instances", {"name": name, "source": src}))
        assert api.get(f"/1.0/instances/{name}")["config"]["volatile.base_image"] == fp
        api.remove(name)
    image = api.get(f"/1.0/images/{fp}")
    assert image["cached"] and not image["public"]
    assert sum("export" in path for _, path, _ in server.asked) == 1
    assert fetch(api, source(server, source={"alias": "bb"}))["status"] == "Success"
    assert not api.get(f"/1.0/images/{fp}")["cached"]


def test_instance_from_an_image_that_is_not_there(daemon, api, server):
    name = daemon.new_name()
    src = {"type": "image", "server": server.url(), "protocol": "lxd", "certificate": server.certificate.pem, "alias": "absent"}
    op = api.wait(api.post("/1.0/instances", {"name": name, "source": src}))
    assert op["status"] == "Failure" and "Image not found" in op["err"], op
    assert api.request("GET", f"/1.0/instances/{name}").status == 404
    nothing_staged(daemon)
