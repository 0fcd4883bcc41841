"""Importing, listing, exporting and deleting images, and their aliases."""
import hashlib
import os
import re
import tarfile

import pytest

from helpers import images

OCTETS = {"Content-Type": "application/octet-stream"}


def sha256(*parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


@pytest.fixture
def clean(api):
    """Deletes the images that a test adds."""
    before = set(api.get("/1.0/images"))
    yield
    for url in set(api.get("/1.0/images")) - before:
        api.done(api.delete(url))


@pytest.mark.parametrize("compression", ["none", "gz", "xz", "zst", "bz2"])
def test_unified_in_every_compression(daemon, api, clean, name, compression):
    data = images.busybox(compression, label=f"unified {compression}")
    operation = api.done(api.post("/1.0/images", data, headers=OCTETS))
    fingerprint = sha256(data)
    assert operation["metadata"]["fingerprint"] == fingerprint
    image = api.get(f"/1.0/images/{fingerprint}")
    assert image["size"] == len(data) and image["properties"]["description"] == f"busybox unified {compression}"
    api.launch(name, source={"type": "image", "fingerprint": fingerprint})
    assert api.sh(name, "echo ok") == "ok\n"


@pytest.mark.parametrize("compression", ["none", "gz", "xz", "zst", "bz2", "squashfs"])
def test_split_in_every_form(daemon, api, clean, name, compression):
    squashfs = compression == "squashfs"
    metadata, rootfs = images.busybox_split("xz" if squashfs else compression, squashfs, label=f"split {compression}")
    body, headers = images.split_form(metadata, rootfs)
    operation = api.done(api.post("/1.0/images", body, headers=headers))
    fingerprint = sha256(metadata, rootfs)
    assert operation["metadata"]["fingerprint"] == fingerprint
    api.launch(name, source={"type": "image", "fingerprint": fingerprint})
    assert api.sh(name, "stat -c '%u:%g %a' /bin/busybox /tmp").split() == ["0:0", "755", "0:0", "1777"]
    export = api.request("GET", f"/1.0/images/{fingerprint}/export")
    assert export.headers["Content-Type"].startswith("multipart/form-data")
    boundary = re.search(r'boundary="?([^";]+)', export.headers["Content-Type"]).group(1).encode()
    parts = [part for part in export.body.split(b"--" + boundary)[1:] if part.startswith(b"\r\n")]
    contents = [part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for part in parts]
    assert [re.search(rb'name="?(\w+)', part).group(1) for part in parts] == [b"metadata", b"rootfs"]
    assert contents == [metadata, rootfs]


def test_image_object(daemon, api):
    image = api.get(f"/1.0/images/{daemon.fingerprint}")
    assert image["fingerprint"] == daemon.fingerprint and image["architecture"] == os.uname().machine
    assert image["aliases"] == [{"name": "bb", "description": ""}]
    assert image["properties"]["os"] == "busybox" and image["type"] == "container"
    assert image["public"] is False and image["cached"] is False and image["auto_update"] is False
    assert image["profiles"] == ["default"]
    assert image["created_at"].startswith("2023-11-14T22:13:20") and image["expires_at"].startswith("1970-01-01T00:00:00")
    assert f"/1.0/images/{daemon.fingerprint}" in api.get("/1.0/images")
    assert daemon.fingerprint in {row["fingerprint"] for row in api.get("/1.0/images?recursion=1")}


def test_prefix_lookup(daemon, api):
    assert api.get(f"/1.0/images/{daemon.fingerprint[:8]}")["fingerprint"] == daemon.fingerprint
    assert api.request("GET", "/1.0/images/zzzz").status == 404


def test_filter(daemon, api):
    assert api.get("/1.0/images?filter=properties.os%20eq%20busybox")
    assert api.get("/1.0/images?filter=properties.os%20eq%20nope") == []


def test_export_is_the_upload_byte_for_byte(daemon, api):
    reply = api.request("GET", f"/1.0/images/{daemon.fingerprint}/export")
    assert reply.status == 200 and sha256(reply.body) == daemon.fingerprint
    assert reply.headers["Content-Disposition"].startswith("inline;filename=")
    assert ".tar.xz" in reply.headers["Content-Disposition"]


def test_same_image_again(daemon, api):
    operation = api.wait(api.post("/1.0/images", images.busybox(), headers=OCTETS))
    assert operation["status"] == "Failure" and operation["err"] == "Image with same fingerprint already exists"
    assert operation["metadata"]["fingerprint"] == daemon.fingerprint


def test_expected_fingerprint(api, clean):
    data = images.busybox("gz", label="expected")
    error = api.failure(api.post("/1.0/images", data, headers={**OCTETS, "X-LXD-fingerprint": "123"}))
    assert error == f"fingerprints don't match, got {sha256(data)} expected 123"
    assert f"/1.0/images/{sha256(data)}" not in api.get("/1.0/images")


def test_headers_set_properties_and_filename(api, clean):
    data = images.busybox("gz", label="headers")
    api.done(api.post("/1.0/images", data, headers={
        **OCTETS, "X-LXD-public": "1", "X-LXD-filename": "my.tar.gz", "X-LXD-properties": "os=other&user.x=a%20b"}))
    image = api.get(f"/1.0/images/{sha256(data)}")
    assert image["public"] is True and image["filename"] == "my.tar.gz"
    assert image["properties"]["os"] == "other" and image["properties"]["user.x"] == "a b"


def test_edit_with_etag(daemon, api):
    url = f"/1.0/images/{daemon.fingerprint}"
    reply = api.request("GET", url)
    image, etag = reply.metadata, reply.headers["ETag"]
    image["properties"]["user.p"] = "1"
    assert api.put(url, image, headers={"If-Match": etag}).status == 200
    assert api.put(url, image, headers={"If-Match": etag}).status == 412
    assert api.patch(url, {"properties": {"user.q": "2"}}).status == 200
    after = api.get(url)["properties"]
    assert after["user.p"] == "1" and after["user.q"] == "2"
    assert sha256(api.request("GET", url + "/export").body) == daemon.fingerprint


def test_delete_leaves_no_file(daemon, api):
    data = images.busybox("none", label="delete")
    fingerprint = daemon.upload(data, "gone")
    api.done(api.delete(f"/1.0/images/{fingerprint}"))
    assert api.request("GET", f"/1.0/images/{fingerprint}").status == 404
    assert api.request("GET", "/1.0/images/aliases/gone").status == 404
    assert [p.name for p in daemon.dir.rglob("*") if fingerprint in p.name] == []


def test_instances_outlive_their_image(daemon, api, name):
    fingerprint = daemon.upload(images.busybox("none", label="outlive"), "outlive")
    api.done(api.create(name, image="outlive"))
    api.done(api.delete(f"/1.0/images/{fingerprint}"))
    api.done(api.state(name, "start"))
    assert api.sh(name, "echo alive") == "alive\n"


def test_aliases(daemon, api):
    url = "/1.0/images/aliases"
    reply = api.post(url, {"name": "al1", "description": "d", "target": daemon.fingerprint})
    assert reply.status == 201 and reply.headers["Location"] == f"{url}/al1"
    assert api.post(url, {"name": "al1", "target": daemon.fingerprint}).status == 409
    assert api.post(url, {"name": "al2", "target": "0" * 64}).status == 404
    reply = api.post(url, {"name": "al2"})
    assert reply.status == 400 and reply.error == "name and target are required"
    assert api.get(f"{url}/al1") == {"name": "al1", "description": "d", "target": daemon.fingerprint, "type": "container"}
    etag = api.request("GET", f"{url}/al1").headers["ETag"]
    assert api.put(f"{url}/al1", {"description": "e", "target": daemon.fingerprint}, headers={"If-Match": etag}).status == 200
    assert api.put(f"{url}/al1", {"description": "f", "target": daemon.fingerprint}, headers={"If-Match": etag}).status == 412
    assert api.post(f"{url}/al1", {"name": "al3"}).status == 201
    assert api.get(f"{url}/al3")["description"] == "e"
    assert f"{url}/al3" in api.get(url) and f"{url}/al1" not in api.get(url)
    assert api.delete(f"{url}/al3").status == 200
    reply = api.request("GET", f"{url}/al3")
    assert reply.status == 404 and reply.error == "Image alias not found"


@pytest.mark.ours
def test_alias_patch(daemon, api):
    assert api.post("/1.0/images/aliases", {"name": "pa", "description": "d", "target": daemon.fingerprint}).status == 201
    assert api.patch("/1.0/images/aliases/pa", {"description": "n"}).status == 200
    assert api.get("/1.0/images/aliases/pa")["description"] == "n"
    assert api.delete("/1.0/images/aliases/pa").status == 200


def test_owners_modes_links_and_capabilities_arrive(daemon, api, clean, name):
    capability = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"  # cap_net_raw+ep, version 2
    tar = images.unified()
    tar.dir("rootfs/d", mode=0o2775, uid=3, gid=4)
    tar.add("rootfs/d/setuid", data=b"#!/bin/sh\n", mode=0o4755, uid=0, gid=8)
    tar.add("rootfs/d/owned", data=b"x", mode=0o640, uid=1000, gid=1001)
    tar.symlink("rootfs/d/link", "/etc/../absolute/target", uid=7, gid=7)
    tar.hardlink("rootfs/d/hard", "rootfs/d/owned")
    tar.add("rootfs/d/cap", data=b"c", mode=0o755,
            pax={"SCHILY.xattr.security.capability": capability.decode("utf-8", "surrogateescape"),
                 "SCHILY.xattr.user.note": "kept"})
    tar.add("rootfs/d/fifo", kind=tarfile.FIFOTYPE)
    fingerprint = daemon.upload(tar.bytes())
    api.done(api.create(name, source={"type": "image", "fingerprint": fingerprint}))
    root = next(daemon.dir.glob(f"storage-pools/default/containers/{name}/rootfs"))
    def stat(path):
        info = os.lstat(root / path)
        return info.st_uid, info.st_gid, oct(info.st_mode & 0o7777)
    assert stat("d") == (3, 4, "0o2775")
    assert stat("d/setuid") == (0, 8, "0o4755")
    assert stat("d/owned") == (1000, 1001, "0o640")
    assert os.readlink(root / "d/link") == "/etc/../absolute/target" and stat("d/link")[:2] == (7, 7)
    assert os.stat(root / "d/hard").st_ino == os.stat(root / "d/owned").st_ino
    assert os.getxattr(root / "d/cap", "security.capability") == capability
    assert os.lstat(root / "d/fifo").st_mode & 0o170000 == 0o010000


@pytest.mark.ours
def test_acls_arrive(daemon, api, clean, name):
    tar = images.unified()
    tar.add("rootfs/acl", data=b"x", mode=0o664, pax={"SCHILY.acl.access": "user::rw-,user:1234:r--,group::r--,mask::rw-,other::r--"})
    api.done(api.create(name, source={"type": "image", "fingerprint": daemon.upload(tar.bytes())}))
    root = next(daemon.dir.glob(f"storage-pools/default/containers/{name}/rootfs"))
    assert (1234).to_bytes(4, "little") in os.getxattr(root / "acl", "system.posix_acl_access")


@pytest.mark.ours
def test_device_nodes_are_skipped_and_counted(daemon, api, clean, name):
    tar = images.unified()
    tar.dir("rootfs/dev")
    tar.add("rootfs/dev/sda", kind=tarfile.BLKTYPE, device=(8, 0)).add("rootfs/dev/mem", kind=tarfile.CHRTYPE, device=(1, 1))
    tar.add("rootfs/file", data=b"1")
    operation = api.done(api.post("/1.0/images", tar.bytes(), headers=OCTETS))
    assert any(value in (2, "2") for value in operation["metadata"].values()), operation["metadata"]
    api.done(api.create(name, source={"type": "image", "fingerprint": operation["metadata"]["fingerprint"]}))
    root = next(daemon.dir.glob(f"storage-pools/default/containers/{name}/rootfs"))
    assert os.listdir(root / "dev") == [] and (root / "file").exists()
