"""Archives that try to hurt: each is refused with 400 (at once or in its operation), leaves nothing, and the daemon goes on.
The few kinds that are harmless when taken literally must be stored literally."""
import gzip
import io
import os
import pathlib
import subprocess
import tarfile

import pytest

from helpers import images
from helpers.images import METADATA, Tar

pytestmark = pytest.mark.ours
OCTETS = {"Content-Type": "application/octet-stream"}
MARKER = "/var/tmp/lxd-e2e-escaped"


def add_members(tar, prefix, members):
    for method, args, kwargs in members:
        getattr(tar, method)(prefix + args[0], *args[1:], **kwargs)
    return tar


def m(method, *args, **kwargs):
    return method, args, kwargs


UP = "../" * 12
# What stands in the tree, by class; names are below the root of the container's file system.
TREES = {
    "dotdot": [m("add", UP + MARKER[1:], data=b"x")],
    "dotdot-inside": [m("dir", "a"), m("add", "a/../../../" + UP + MARKER[1:], data=b"x")],
    "dotdot-directory": [m("dir", UP + MARKER[1:])],
    "dotdot-symlink": [m("symlink", UP + MARKER[1:], "/etc/passwd")],
    "write-through-symlink": [m("symlink", "etc", "/var/tmp"), m("add", "etc/lxd-e2e-escaped", data=b"x")],
    "write-through-relative-symlink": [m("symlink", "etc", UP + "var/tmp"), m("add", "etc/lxd-e2e-escaped", data=b"x")],
    "write-over-symlink-chain": [m("symlink", "a", "/var"), m("symlink", "b", "a/tmp"), m("add", "b/lxd-e2e-escaped", data=b"x")],
    "directory-through-symlink": [m("symlink", "etc", "/var/tmp"), m("dir", "etc/lxd-e2e-escaped")],
    "hardlink-out": [m("hardlink", "passwd", "/etc/passwd")],
    "hardlink-dotdot": [m("hardlink", "passwd", UP + "etc/passwd")],
    "hardlink-through-symlink": [m("symlink", "etc", "/etc"), m("hardlink", "passwd", "etc/passwd")],
    "hardlink-to-nothing": [m("hardlink", "x", "no/such/member")],
}


def absolute(tar_prefix):
    """Absolute members cannot carry a prefix."""
    tar = images.unified() if tar_prefix else Tar().dir(".")
    return tar.add(MARKER, data=b"x").bytes()


def truncated(data):
    return data[: len(data) * 2 // 3]


def joined(first, second):
    """Two tar streams as one: the first without its end marker."""
    end = len(first.rstrip(b"\0"))
    return first[: end + -end % 512] + second


def bomb_archive():
    """A small archive that claims one file of 64 TiB: an old GNU sparse member without data."""
    size = 64 << 40
    header = bytearray(tarfile.TarInfo("rootfs/bomb").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[386:398] = b"\x80" + (size - 512).to_bytes(11, "big")  # offset of the one chunk, which is empty
    header[398:410] = b"\x80" + bytes(11)
    header[483:495] = b"\x80" + size.to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return joined(images.unified().bytes(), bytes(header) + bytes(1024))


def zero_bomb():
    """A few MiB that unpack to 100 GiB of zeros in one member."""
    info = tarfile.TarInfo("rootfs/zeros")
    info.size = 100 << 30
    head = joined(images.unified().bytes(), info.tobuf(tarfile.GNU_FORMAT))
    return gzip.compress(head) + gzip.compress(bytes(64 << 20), 9) * 1600  # gzip members may be joined


def many_members(count):
    """@count empty files, compressed to very little."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as packed:
        packed.write(joined(images.unified().bytes(), b""))
        template = bytearray(tarfile.TarInfo("rootfs/0000000000").tobuf(tarfile.USTAR_FORMAT))
        base = sum(template[:148]) + sum(template[156:]) + 8 * 32 - sum(template[7:17])
        chunk = []
        for i in range(count):
            digits = b"%010d" % i
            template[7:17] = digits
            template[148:156] = b"%06o\0 " % (base + sum(digits))
            chunk.append(bytes(template))
            if len(chunk) == 8192:
                packed.write(b"".join(chunk))
                chunk = []
        packed.write(b"".join(chunk) + bytes(1024))
    return out.getvalue()


YAML = {
    "empty": b"",
    "not-yaml": b"{[}",
    "a-list": b"- a\n- b\n",
    "a-scalar": b"hello\n",
    "no-architecture": b"creation_date: 1\n",
    "unknown-architecture": b"architecture: pdp11\ncreation_date: 1\n",
    "no-creation-date": b"architecture: x86_64\n",
    "date-is-text": b"architecture: x86_64\ncreation_date: yesterday\n",
    "properties-are-a-list": METADATA.replace(b"properties:\n  os: test\n", b"properties: [a, b]\n"),
    "templates-are-text": METADATA + b"templates: text\n",
    "template-escapes": METADATA + b"templates:\n  /etc/hostname:\n    when: [create]\n    template: ../../../../etc/shadow\n",
    "template-target-escapes": METADATA + b"templates:\n  /../../../var/tmp/lxd-e2e-escaped:\n    when: [create]\n    template: a.tpl\n",
    "anchors-that-explode": METADATA + b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(ord("b"), ord("k"))),
    "alias-to-itself": METADATA + b"a: &a [*a]\n",
    "deep": METADATA + b"a: " + b"[" * 100000,
    "endless": METADATA + b"# " + b"x" * (32 << 20),
    "many-keys": METADATA + b"templates:\n" + b"".join(b"  /f%d:\n    template: t\n" % i for i in range(300000)),
    "nul": METADATA + b"a: \"\\0\"\nb: \0\n",
}


def files(daemon):
    """Everything below the daemon's image and storage directories."""
    return sorted(str(p) for folder in ("images", "storage-pools") for p in (daemon.dir / folder).rglob("*"))


@pytest.fixture
def refused(daemon, api):
    """A function that uploads, expects a refusal with 400, and looks around."""
    before = files(daemon)
    rows = api.get("/1.0/images")
    pathlib.Path(MARKER).unlink(missing_ok=True)

    def upload(body, headers=OCTETS, timeout=120):
        reply = api.post("/1.0/images", body, headers=headers, timeout=timeout)
        if reply.status == 202:
            operation = api.wait(reply, timeout)
            assert operation["status"] == "Failure" and operation["status_code"] == 400, operation
            assert operation["err"], operation
            error = operation["err"]
        else:
            assert reply.status in (400, 413), reply
            error = reply.error
        assert not os.path.lexists(MARKER), "the archive escaped"
        assert api.get("/1.0/images") == rows
        assert files(daemon) == before
        assert daemon.alive
        return error

    yield upload
    assert not os.path.lexists(MARKER)


@pytest.mark.parametrize("kind", TREES)
def test_tree_in_unified(refused, kind):
    refused(add_members(images.unified(), "rootfs/", TREES[kind]).bytes())


@pytest.mark.parametrize("kind", TREES)
def test_tree_in_split(refused, kind):
    refused(*images.split_form(images.metadata_only(), add_members(Tar().dir("."), "", TREES[kind]).bytes()))


def test_absolute_member_in_unified(refused):
    refused(absolute(True))


def test_absolute_member_in_split(refused):
    refused(*images.split_form(images.metadata_only(), absolute(False)))


@pytest.mark.parametrize("entry", ["rootfs", "templates", "metadata.yaml"])
@pytest.mark.parametrize("target", ["/etc", "/etc/passwd", "../../../../../../etc"])
def test_symlinked_top_entries_in_unified(refused, entry, target):
    tar = Tar()
    if entry != "metadata.yaml":
        tar.add("metadata.yaml", data=METADATA)
    if entry != "rootfs":
        tar.dir("rootfs")
    refused(tar.symlink(entry, target).bytes())


@pytest.mark.parametrize("entry", ["templates", "metadata.yaml"])
def test_symlinked_top_entries_in_split(refused, entry):
    tar = Tar()
    if entry != "metadata.yaml":
        tar.add("metadata.yaml", data=METADATA)
    tar.symlink(entry, "/etc/passwd")
    refused(*images.split_form(tar.bytes(), Tar().dir(".").bytes()))


@pytest.mark.parametrize("entry", ["rootfs", "metadata.yaml"])
def test_top_entries_of_the_wrong_type(refused, entry):
    tar = Tar()
    tar.dir("metadata.yaml") if entry == "metadata.yaml" else tar.add("metadata.yaml", data=METADATA)
    tar.add("rootfs", data=b"x") if entry == "rootfs" else tar.dir("rootfs")
    refused(tar.bytes())


@pytest.mark.parametrize("kind", YAML)
def test_metadata_in_unified(refused, kind):
    refused(images.unified(YAML[kind]).bytes())


@pytest.mark.parametrize("kind", YAML)
def test_metadata_in_split(refused, kind):
    refused(*images.split_form(images.metadata_only(YAML[kind]), Tar().dir(".").bytes()))


@pytest.mark.parametrize("kind", ["anchors-that-explode", "empty"])
def test_metadata_beside_squashfs(refused, kind):
    refused(*images.split_form(images.metadata_only(YAML[kind]), images.squashfs()))


def test_no_metadata_at_all(refused):
    error = refused(Tar().dir("rootfs").add("rootfs/x", data=b"1").bytes())
    assert "metadata.yaml" in error


def test_no_rootfs(refused):
    refused(Tar().add("metadata.yaml", data=METADATA).bytes())


@pytest.mark.parametrize("compression", ["none", "gz", "xz", "zst", "bz2"])
def test_truncated_unified(refused, compression):
    refused(truncated(images.busybox(compression, label="truncated")))


@pytest.mark.parametrize("compression", ["none", "gz", "xz", "zst", "bz2"])
def test_truncated_split(refused, compression):
    metadata, rootfs = images.busybox_split(compression, label="truncated")
    refused(*images.split_form(metadata, truncated(rootfs)))


def test_truncated_squashfs(refused):
    metadata, rootfs = images.busybox_split("xz", True)
    refused(*images.split_form(metadata, truncated(rootfs)))


def test_damaged_squashfs(refused):
    metadata, rootfs = images.busybox_split("xz", True)
    damaged = bytearray(rootfs)
    for position in range(200, len(damaged), 997):
        damaged[position] ^= 0xff
    refused(*images.split_form(metadata, bytes(damaged)))


@pytest.mark.parametrize("data", [b"", b"hello", b"\0" * 10240, b"MZ" + bytes(5000), b"PK\x03\x04" + bytes(500), b"hsqs" + bytes(200),
                                  b"\x1f\x8b\x08" + bytes(50), b"\xfd7zXZ\0" + bytes(50), b"\x28\xb5\x2f\xfd" + bytes(50), b"BZh9" + bytes(50)],
                         ids=["empty", "text", "zeros", "exe", "zip", "squashfs-magic", "gzip-magic", "xz-magic", "zstd-magic", "bzip2-magic"])
def test_wrong_type(refused, data):
    refused(data)
    refused(*images.split_form(images.metadata_only(), data))


def test_squashfs_as_unified(refused):
    refused(images.squashfs())


def test_sparse_bomb(refused):
    refused(bomb_archive())


def test_zero_bomb_in_unified(refused):
    refused(zero_bomb(), timeout=300)


def test_zero_bomb_in_squashfs(refused):
    """A file of holes whose inode is then made to claim 80 TiB: truly making one would take minutes of reading holes."""
    size = 0x2345_0000
    def prepare(root):
        with open(root / "zeros", "wb") as out:
            out.truncate(size)
    data = images.squashfs(prepare=prepare, options=["-noI"])
    assert data.count(size.to_bytes(8, "little")) == 1
    refused(*images.split_form(images.metadata_only(), data.replace(size.to_bytes(8, "little"), (80 << 40).to_bytes(8, "little"))))


def test_ten_million_members(refused):
    refused(many_members(10_000_000), timeout=1200)  # making a million files takes long where many were just removed


def test_deep_directories(refused):
    tar, path = images.unified(), "rootfs"
    for _ in range(3000):
        path += "/d"
    tar.add(path + "/f", data=b"x")
    refused(tar.bytes())


@pytest.mark.parametrize("parts", [[("metadata", "m", b"x")], [("rootfs", "r", b"x")], [("rootfs", "r", b"x"), ("metadata", "m", b"x")],
                                   [("metadata", "m", b"x"), ("other", "o", b"x")], []],
                         ids=["no-rootfs", "no-metadata", "swapped", "unknown-part", "no-parts"])
def test_bad_multipart(refused, parts):
    refused(*images.multipart(parts))


@pytest.mark.parametrize("header", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "b" * 5000,
                                    "multipart/form-data; boundary=other"])
def test_bad_multipart_headers(refused, header):
    body, _ = images.split_form(*images.busybox_split())
    refused(body, {"Content-Type": header})


def test_honest_symlinks_are_stored_as_they_are(daemon, api, name):
    links = {"abs": "/etc/passwd", "up": "../../../../etc/passwd", "loop": "loop", "dangling": "no/such", "dots": "./a/../b"}
    tar = images.unified()
    for link, target in links.items():
        tar.symlink(f"rootfs/{link}", target)
    fingerprint = daemon.upload(tar.bytes())
    api.done(api.create(name, source={"type": "image", "fingerprint": fingerprint}))
    root = next(daemon.dir.glob(f"storage-pools/default/containers/{name}/rootfs"))
    assert {link: os.readlink(root / link) for link in links} == links
    api.done(api.delete(f"/1.0/images/{fingerprint}"))


def test_foreign_xattrs_are_dropped(daemon, api, name):
    tar = images.unified()
    tar.add("rootfs/f", data=b"x", pax={"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.security.selinux": "z",
                                        "SCHILY.xattr.user.ok": "1"})
    fingerprint = daemon.upload(tar.bytes())
    api.done(api.create(name, source={"type": "image", "fingerprint": fingerprint}))
    root = next(daemon.dir.glob(f"storage-pools/default/containers/{name}/rootfs"))
    assert os.listxattr(root / "f") in (["user.ok"], [])
    api.done(api.delete(f"/1.0/images/{fingerprint}"))


def test_a_real_debian_style_tree_arrives(daemon, api, name):
    """The part of this machine's own /etc and /usr/bin that a busybox image lacks: owners, modes, setuid."""
    packed = subprocess.run(["tar", "-C", "/", "--numeric-owner", "--xattrs", "--acls", "--transform", "s,^,rootfs/,", "-cf", "-",
                             "etc", "usr/bin/su", "usr/bin/passwd", "var/mail", "var/log"], check=True, capture_output=True).stdout
    fingerprint = daemon.upload(joined(images.unified().bytes(), packed))
    api.done(api.create(name, source={"type": "image", "fingerprint": fingerprint}))
    root = next(daemon.dir.glob(f"storage-pools/default/containers/{name}/rootfs"))
    checked = 0
    for path in [*pathlib.Path("/etc").iterdir(), pathlib.Path("/usr/bin/su"), pathlib.Path("/var/mail"), pathlib.Path("/var/log")]:
        info, copy = os.lstat(path), os.lstat(root / str(path)[1:])
        assert (info.st_mode, info.st_uid, info.st_gid) == (copy.st_mode, copy.st_uid, copy.st_gid), path
        checked += 1
    assert checked > 50
    api.done(api.delete(f"/1.0/images/{fingerprint}"))


def test_the_daemon_still_works(api, name):
    api.launch(name)
    assert api.sh(name, "echo unharmed") == "unharmed\n"
