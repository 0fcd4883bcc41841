"""
The unpacker alone, without a daemon: hostile images in unified, split and squashfs form, each of which must be refused, leave
nothing in its target and touch nothing outside; and honest trees, which must arrive as they were.
"""
import gzip
import io
import json
import os
import pathlib
import shutil
import stat
import struct
import subprocess
import tarfile
import time

import pytest

from helpers.images import METADATA, Tar, metadata_only, squashfs, unified

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("LXD_BIN", TOP / "build"))
DRIVER = BUILD / "unpack-driver"
pytestmark = [pytest.mark.ours,
              pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
              pytest.mark.skipif(not DRIVER.exists(), reason=f"{DRIVER} is not built")]
FORMS = ["unified", "split"]


class Jail:
    def __init__(self, tmp):
        self.tmp = tmp
        self.outside = tmp / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_text("secret")
        self.target = tmp / "target"
        self.count = 0

    def run(self, meta, rootfs=None, max_bytes=0, max_members=0, timeout_ms=0):
        """Unpack into a fresh target; images are bytes or paths."""
        shutil.rmtree(self.target, ignore_errors=True)
        self.target.mkdir()
        args = [DRIVER, self.target]
        for name, data in (("meta", meta), ("rootfs", rootfs)):
            if isinstance(data, bytes):
                path = self.tmp / name
                path.write_bytes(data)
                data = path
            args.append(data or "-")
        args += [str(max_bytes), str(max_members), str(timeout_ms)]
        out = subprocess.run(args, check=True, capture_output=True, text=True, timeout=120)
        assert out.stderr == ""
        return json.loads(out.stdout)

    def form(self, form, tar, **limits):
        """@tar: a function that adds members below a prefix. Unpack its tree in one of the forms."""
        if form == "unified":
            return self.run(tar(unified(), "rootfs/").bytes(), **limits)
        return self.run(metadata_only(), tar(Tar().dir("."), "").bytes(), **limits)

    def good(self, result):
        assert result["status"] == 0, result
        return self.target / "rootfs"

    def bad(self, result, words, status=400):
        assert result["status"] == status, result
        assert words in result["error"], result
        self.untouched()
        assert list(self.target.iterdir()) == []

    def untouched(self):
        assert [p.name for p in self.outside.iterdir()] == ["secret"]
        assert (self.outside / "secret").read_text() == "secret"
        info = os.stat(self.outside / "secret")
        assert info.st_nlink == 1 and info.st_uid == 0


@pytest.fixture
def jail(tmp_path):
    return Jail(tmp_path)


def outside(jail):
    return str(jail.outside)


def relative(jail):
    return "../" * 20 + str(jail.outside).lstrip("/")


# name: (members as a function of tar, prefix and jail, words of the message)
HOSTILE = {
    "dotdot": (lambda t, p, j: t.add(p + relative(j) + "/x", data=b"x"), '".."'),
    "dotdot-within": (lambda t, p, j: t.dir(p + "a").add(p + "a/../b", data=b"x"), '".."'),
    "dotdot-directory": (lambda t, p, j: t.dir(p + relative(j) + "/d"), '".."'),
    "absolute": (lambda t, p, j: t.add(outside(j) + "/x", data=b"x"), "absolute"),
    "through-symlink": (lambda t, p, j: t.symlink(p + "a", outside(j)).add(p + "a/x", data=b"x"), "symbolic link"),
    "through-relative-symlink": (lambda t, p, j: t.symlink(p + "a", relative(j)).add(p + "a/x", data=b"x"), "symbolic link"),
    "through-chain": (lambda t, p, j: t.symlink(p + "a", "b").symlink(p + "b", outside(j)).add(p + "a/x", data=b"x"), "symbolic link"),
    "through-inner-symlink": (lambda t, p, j: t.dir(p + "d").symlink(p + "a", "d").add(p + "a/x", data=b"x"), "symbolic link"),
    "through-proc-symlink": (lambda t, p, j: t.symlink(p + "a", "/proc/self/fd/3").add(p + "a/x", data=b"x"), "symbolic link"),
    "symlink-then-directory": (lambda t, p, j: t.symlink(p + "a", outside(j)).dir(p + "a"), "symbolic link"),
    "directory-through-symlink": (lambda t, p, j: t.symlink(p + "a", outside(j)).dir(p + "a/b"), "symbolic link"),
    "link-through-symlink": (lambda t, p, j: t.symlink(p + "a", outside(j)).symlink(p + "a/l", "x"), "symbolic link"),
    "hardlink-absolute": (lambda t, p, j: t.hardlink(p + "h", outside(j) + "/secret"), "absolute"),
    "hardlink-dotdot": (lambda t, p, j: t.hardlink(p + "h", p + relative(j) + "/secret"), '".."'),
    "hardlink-through-symlink": (lambda t, p, j: t.symlink(p + "a", outside(j)).hardlink(p + "h", p + "a/secret"), "symbolic link"),
    "hardlink-to-directory": (lambda t, p, j: t.dir(p + "d").hardlink(p + "h", p + "d"), "directory"),
    "hardlink-to-nothing": (lambda t, p, j: t.hardlink(p + "h", p + "later").add(p + "later"), "not there"),
    "hardlink-to-itself": (lambda t, p, j: t.add(p + "h", data=b"x").hardlink(p + "h", p + "h"), "itself"),
    "file-over-directory": (lambda t, p, j: t.dir(p + "d").add(p + "d", data=b"x"), "directory"),
    "file-as-parent": (lambda t, p, j: t.add(p + "f", data=b"x").add(p + "f/x", data=b"x"), "not a directory"),
    "name-too-long": (lambda t, p, j: t.add(p + "n" * 300, data=b"x"), "too long"),
    "path-too-long": (lambda t, p, j: t.add(p + "/".join(["n" * 200] * 30), data=b"x"), "too long"),
    "too-deep": (lambda t, p, j: t.add(p + "d/" * 300 + "f", data=b"x"), "too deep"),
    "owner-out-of-range": (lambda t, p, j: t.add(p + "f", data=b"x", uid=1 << 33), "out of range"),
    "owner-is-nobody": (lambda t, p, j: t.add(p + "f", data=b"x", uid=0xffffffff), "out of range"),
    "control-characters": (lambda t, p, j: t.add(p + "a\x1b[2J\n/../x", data=b"x"), "\\x1b[2J\\x0a"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_member(jail, form, name):
    add, words = HOSTILE[name]
    jail.bad(jail.form(form, lambda t, p: add(t, p, jail)), words)


def test_symlink_is_replaced_not_written_through(jail):
    """A file of the same name as an earlier link replaces the link."""
    result = jail.form("unified", lambda t, p: t.symlink(p + "a", str(jail.outside / "secret")).add(p + "a", data=b"new"))
    assert (jail.good(result) / "a").read_bytes() == b"new"
    assert not (jail.target / "rootfs/a").is_symlink()
    jail.untouched()


@pytest.mark.parametrize("what", ["rootfs", "templates", "metadata.yaml"])
@pytest.mark.parametrize("kind", ["symlink", "hardlink", "fifo"])
def test_top_entry_of_the_wrong_kind(jail, what, kind):
    tar = Tar()
    if what != "metadata.yaml":
        tar.add("metadata.yaml", data=METADATA)
    if kind == "fifo":
        tar.add(what, tarfile.FIFOTYPE)
    else:
        getattr(tar, kind)(what, str(jail.outside / "secret") if kind == "symlink" else "x")
    if what != "rootfs":
        tar.dir("rootfs")
    assert jail.run(tar.bytes())["status"] == 400
    jail.bad(jail.run(tar.bytes()), "")


def test_templates_may_not_be_links(jail):
    jail.bad(jail.run(unified().symlink("templates/x.tpl", "/etc/shadow").bytes()), "templates/x.tpl")
    jail.bad(jail.run(unified().add("rootfs/f").hardlink("templates/x.tpl", "rootfs/f").bytes()), "leaves its tree")
    jail.bad(jail.run(Tar().add("metadata.yaml", data=METADATA).symlink("templates", "/etc").bytes(), Tar().dir(".").bytes()), "templates")


def test_no_rootfs(jail):
    jail.bad(jail.run(metadata_only()), "rootfs")


def test_no_metadata(jail):
    jail.bad(jail.run(Tar().dir("rootfs").bytes()), "Metadata tarball is missing metadata.yaml")
    jail.bad(jail.run(Tar().dir("templates").bytes(), Tar().dir(".").bytes()), "Metadata tarball is missing metadata.yaml")


def test_metadata_twice(jail):
    jail.bad(jail.run(unified().add("metadata.yaml", data=METADATA).bytes()), "twice")


@pytest.mark.parametrize("yaml,words", [
    (b"", "Architecture isn't supported"), (b"architecture: x86_64\n", "Missing creation date"), (b"- a\n", "must be a map"),
    (METADATA + b"a: &a [x]\nb: *a\n", "aliases"), (METADATA + b"a: " + b"[" * 5000, "nested"), (METADATA + b"#" * (2 << 20), "larger than"),
    (b"\xff\xfe\xfd", "Could not parse"), (METADATA + b"templates:\n  /x: {template: ../../x}\n", "template file name"),
], ids=["empty", "no-date", "list", "alias", "deep", "endless", "no-utf8", "template"])
def test_bad_metadata(jail, yaml, words):
    jail.bad(jail.run(unified(yaml).bytes()), words)
    jail.bad(jail.run(metadata_only(yaml), squashfs()), words)


@pytest.mark.parametrize("data", [b"", b"text", bytes(20480), b"PK\3\4" + bytes(2000), b"QFI\xfb" + bytes(600)])
def test_wrong_type(jail, data):
    jail.bad(jail.run(data), "Unsupported compression")
    jail.bad(jail.run(metadata_only(), data), "Unsupported compression")


@pytest.mark.parametrize("magic", [b"hsqs", b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"BZh9", b"\x5d\0\0\x80", b"\x04\x22\x4d\x18"])
def test_magic_and_nothing_behind(jail, magic):
    assert jail.run(magic + bytes(300))["status"] == 400
    jail.bad(jail.run(metadata_only(), magic + bytes(300)), "")


@pytest.mark.parametrize("pack", ["cat", "gzip", "bzip2", "xz", "zstd -q"])
def test_truncated(jail, pack):
    plain = unified().add("rootfs/f", data=os.urandom(300000)).add("rootfs/g", data=os.urandom(300000)).bytes()
    packed = subprocess.run(pack.split(), input=plain, stdout=subprocess.PIPE, check=True).stdout
    assert jail.run(packed)["status"] == 0
    for part in (0.3, 0.7):
        jail.bad(jail.run(packed[:int(len(packed) * part)]), "")


def test_members_cap(jail):
    tar = unified()
    for i in range(60):
        tar.add(f"rootfs/f{i}")
    data = tar.bytes()
    assert jail.run(data, max_members=62)["status"] == 0
    jail.bad(jail.run(data, max_members=61), "61 members", 413)


def test_many_members_from_little_data(jail):
    """Three million members in a few MiB: the default cap stops it."""
    block = gzip.compress(tarfile.TarInfo("ignored").tobuf(tarfile.USTAR_FORMAT) * 8192)
    jail.bad(jail.run(block * 300), "2000000 members", 413)


def zeros_tar(size):
    """A tarball in gzip with one member of @size zeros, made without holding them."""
    info = tarfile.TarInfo("rootfs/zeros")
    info.size = size
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT)) + gzip.compress(bytes(1 << 20)) * (size >> 20) + gzip.compress(bytes(1024))


def test_bytes_cap(jail):
    jail.bad(jail.run(zeros_tar(32 << 20), max_bytes=31 << 20), "rootfs/zeros", 413)


def sparse_header(name, size):
    """An old GNU sparse member that is one hole."""
    header = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[386:398] = b"\x80" + size.to_bytes(11, "big")
    header[398:410] = b"\x80" + bytes(11)
    header[483:495] = b"\x80" + size.to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def raw_tar(members):
    out = b""
    info = tarfile.TarInfo("metadata.yaml")
    info.size = len(METADATA)
    out += info.tobuf() + METADATA + bytes(-len(METADATA) % 512)
    return out + b"".join(members) + bytes(1024)


def test_sparse_bomb(jail):
    jail.bad(jail.run(raw_tar([sparse_header("rootfs/bomb", 64 << 40)])), "rootfs/bomb", 413)
    jail.bad(jail.run(raw_tar([sparse_header(f"rootfs/bomb{i}", 20 << 30) for i in range(5)])), "rootfs/bomb3", 413)


def test_sparse_file_keeps_its_holes(jail):
    result = jail.run(raw_tar([sparse_header("rootfs/holes", 1 << 30)]))
    info = os.stat(jail.good(result) / "holes")
    assert info.st_size == 1 << 30 and info.st_blocks < 64
    assert result["bytes"] >= 1 << 30


def test_time_limit(jail):
    jail.bad(jail.run(zeros_tar(1 << 30), timeout_ms=300), "longer than", 413)


def test_full_disk(jail, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "small", small], check=True)
    try:
        jail.target = small / "target"
        jail.bad(jail.run(unified().add("rootfs/big", data=os.urandom(3 << 20)).bytes()), "rootfs/big", 507)
    finally:
        subprocess.run(["umount", small], check=True)


def test_target_must_be_empty(jail):
    jail.target.mkdir()
    (jail.target / "mine").write_text("x")
    (jail.tmp / "meta").write_bytes(unified().bytes())
    out = subprocess.run([DRIVER, jail.target, jail.tmp / "meta"], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout)["status"] == 500
    assert (jail.target / "mine").read_text() == "x"


# Squashfs

def split_squash(jail, data, **limits):
    return jail.run(metadata_only(), data, **limits)


@pytest.mark.parametrize("compressor", ["gzip", "xz", "zstd", "lz4", "lzo"])
def test_squashfs_round_trip(jail, tmp_path, compressor):
    source = tmp_path / "source"
    make_tree(source)
    subprocess.run(["mksquashfs", source, tmp_path / "sq", "-quiet", "-no-progress", "-comp", compressor], check=True, stdout=subprocess.DEVNULL)
    result = jail.run(metadata_only(), tmp_path / "sq")
    compare(source, jail.good(result), acls=False)
    assert result["rootfs_ext"] == ".squashfs"
    assert result["skipped_nodes"] == 2


def patched_squashfs(old, new):
    """An image with all tables uncompressed, in which a name or text is replaced by another of the same length."""
    def prepare(root):
        (root / "dir").mkdir()
        (root / "dir" / "NAMENAME").write_text("data")
        os.symlink("TARGETTARGET", root / "link")
        (root / "zzz").mkdir()
    data = subprocess_squashfs(prepare)
    assert data.count(old) == 1 and len(old) == len(new)
    return data.replace(old, new)


def subprocess_squashfs(prepare):
    import tempfile
    with tempfile.TemporaryDirectory() as tmp:
        root = pathlib.Path(tmp, "root")
        root.mkdir()
        prepare(root)
        subprocess.run(["mksquashfs", root, tmp + "/sq", "-quiet", "-no-progress", "-noI", "-noD", "-noF"], check=True, stdout=subprocess.DEVNULL)
        return pathlib.Path(tmp, "sq").read_bytes()


@pytest.mark.parametrize("new,words", [(b"../../xx", '"/"'), (b"/etc/xxx", '"/"'), (b"NAME\0AME", "NUL")])
def test_squashfs_names(jail, new, words):
    jail.bad(split_squash(jail, patched_squashfs(b"NAMENAME", new)), words)


def test_squashfs_dotdot(jail):
    data = subprocess_squashfs(lambda root: (root / "XX").mkdir())
    assert data.count(b"XX") == 1
    jail.bad(split_squash(jail, data.replace(b"XX", b"..")), '".."')


def test_squashfs_symlink_and_directory_of_one_name(jail):
    """CVE-2021-41072: a link and a folder under the same name, the folder's file written through the link."""
    def prepare(root):
        os.symlink(jail.outside, root / "aaa")
        (root / "bbb").mkdir()
        (root / "bbb" / "x").write_text("x")
    data = subprocess_squashfs(prepare)
    assert data.count(b"bbb") == 1
    jail.bad(split_squash(jail, data.replace(b"bbb", b"aaa")), "symbolic link")


def test_squashfs_bomb(jail):
    data = squashfs(prepare=lambda root: os.truncate(os.open(root / "zeros", os.O_CREAT | os.O_WRONLY), 1 << 30))
    assert len(data) < 100000
    jail.bad(split_squash(jail, data, max_bytes=1 << 29), "zeros", 413)


def test_squashfs_members_cap(jail):
    data = squashfs(prepare=lambda root: [(root / f"f{i}").write_text("") for i in range(40)])
    jail.bad(split_squash(jail, data, max_members=20), "20 members", 413)


def test_squashfs_truncated_and_damaged(jail):
    data = squashfs(prepare=lambda root: (root / "f").write_bytes(os.urandom(500000)))
    jail.bad(split_squash(jail, data[:len(data) // 2]), "truncated")
    # every byte of the superblock and a sample of the rest: any answer but a crash, and nothing left after a refusal
    for at in [*range(0, 96, 3), *range(len(data) - 400, len(data), 17)]:
        bad = bytearray(data)
        bad[at] ^= 0xff
        result = split_squash(jail, bytes(bad))
        assert result["status"] in (0, 400, 413), (at, result)
        if result["status"]:
            assert list(jail.target.iterdir()) == []


def test_squashfs_folder_loop(jail):
    """A folder whose entry leads back to the root."""
    data = bytearray(subprocess_squashfs(lambda root: (root / "loop").mkdir()))
    root_ref = struct.unpack_from("<Q", data, 32)[0]
    name = data.index(b"loop")
    struct.pack_into("<H", data, name - 8, root_ref & 0xffff)
    jail.bad(split_squash(jail, bytes(data)), "twice")


# Honest trees

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # version 2, effective, net_bind_service


def acl(entries):
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)


ACCESS = acl([(1, 6, 0xffffffff), (2, 4, 1234), (4, 4, 0xffffffff), (0x10, 6, 0xffffffff), (0x20, 0, 0xffffffff)])
DEFAULT = acl([(1, 7, 0xffffffff), (2, 5, 1234), (4, 5, 0xffffffff), (0x10, 5, 0xffffffff), (0x20, 0, 0xffffffff)])


def make_tree(root):
    root.mkdir()
    (root / "bin").mkdir()
    for name, mode, uid, gid in [("su", 0o4755, 0, 0), ("wall", 0o2755, 0, 5), ("odd", 0o640, 4294967294, 70000), ("none", 0o000, 1, 1)]:
        path = root / "bin" / name
        path.write_bytes(os.urandom(5000))
        os.chown(path, uid, gid)
        os.chmod(path, mode)
    (root / "bin/ping").write_bytes(b"x" * 300000)
    os.setxattr(root / "bin/ping", "security.capability", CAPABILITY)
    os.setxattr(root / "bin/odd", "system.posix_acl_access", ACCESS)
    os.setxattr(root / "bin/su", "user.note", b"kept")
    os.setxattr(root / "bin/su", "trusted.note", b"dropped")
    os.link(root / "bin/su", root / "bin/su-again")
    os.symlink("/etc/passwd", root / "abs")
    os.symlink("../../../x", root / "up")
    os.symlink("loop", root / "loop")
    os.lchown(root / "up", 12, 34)
    (root / "tmp").mkdir()
    os.chmod(root / "tmp", 0o1777)
    (root / "mail").mkdir()
    os.chown(root / "mail", 0, 8)
    os.chmod(root / "mail", 0o2775)
    os.setxattr(root / "mail", "system.posix_acl_default", DEFAULT)
    (root / "mail/inner").mkdir()
    os.removexattr(root / "mail/inner", "system.posix_acl_default")
    (root / "mail/file").write_text("x")
    os.mkfifo(root / "fifo", 0o620)
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "disk", stat.S_IFBLK | 0o660, os.makedev(8, 0))
    os.mknod(root / "whiteout", stat.S_IFCHR | 0o000, os.makedev(0, 0))
    (root / ("long-" + "n" * 240)).write_text("x")
    (root / "ünïcödé-名前").write_text("x")
    deep = root / "/".join(["deep" * 10] * 5)
    deep.mkdir(parents=True)
    (deep / "leaf").write_text("x")
    with open(root / "holes", "wb") as f:
        f.truncate(50 << 20)
        f.seek(20 << 20)
        f.write(b"middle" * 1000)
    (root / "readonly").mkdir()
    (root / "readonly/f").write_text("x")
    os.chmod(root / "readonly", 0o555)
    for i, path in enumerate(sorted(root.rglob("*"), reverse=True)):
        os.utime(path, (1500000000 + i, 1500000000 + i), follow_symlinks=False)
    os.utime(root, (1400000000, 1400000000))


def attributes(path, acls):
    if path.is_symlink():
        return {}
    names = [n for n in os.listxattr(path) if not n.startswith("trusted.")]
    return {n: os.getxattr(path, n) for n in names if acls or not n.startswith("system.")}


def compare(source, copy, acls=True):
    here = {str(p.relative_to(source)): p for p in source.rglob("*")}
    there = {str(p.relative_to(copy)): p for p in copy.rglob("*")}
    missing = {n for n in here if stat.S_ISBLK(os.lstat(here[n]).st_mode) or
               (stat.S_ISCHR(os.lstat(here[n]).st_mode) and os.lstat(here[n]).st_rdev)}
    assert set(here) - missing == set(there)
    for name, path in there.items():
        a, b = os.lstat(here[name]), os.lstat(path)
        mode = a.st_mode
        if not acls and attributes(here[name], True) != attributes(here[name], False):
            mode = b.st_mode  # the group bits are the mask of an ACL that squashfs does not hold
        assert (mode, a.st_uid, a.st_gid, a.st_size if not stat.S_ISDIR(mode) else 0, int(a.st_mtime), a.st_nlink) == \
               (b.st_mode, b.st_uid, b.st_gid, b.st_size if not stat.S_ISDIR(mode) else 0, int(b.st_mtime), b.st_nlink), name
        assert attributes(here[name], acls) == attributes(path, acls), name
        if stat.S_ISREG(a.st_mode):
            assert here[name].read_bytes() == path.read_bytes(), name
            assert b.st_blocks <= a.st_blocks + 300, name  # squashfs keeps holes by blocks of 128 KiB
        if stat.S_ISLNK(a.st_mode):
            assert os.readlink(here[name]) == os.readlink(path)
    assert os.stat(source).st_mode == os.stat(copy).st_mode
    assert int(os.stat(source).st_mtime) == int(os.stat(copy).st_mtime)


@pytest.mark.parametrize("options", [["--format=pax", "--xattrs", "--xattrs-include=*"], ["--format=pax", "--xattrs", "--acls", "--xattrs-include=*"],
                                     ["--format=pax", "--xattrs", "--xattrs-include=*", "--sparse"]], ids=["xattrs", "acls", "sparse"])
@pytest.mark.parametrize("form", FORMS)
def test_honest_tree(jail, tmp_path, form, options):
    source = tmp_path / "source" / "rootfs"
    source.parent.mkdir()
    make_tree(source)
    base = ["tar", "--numeric-owner", *options, "-cf", tmp_path / "tar"]
    if form == "unified":
        (source.parent / "metadata.yaml").write_bytes(METADATA)
        subprocess.run(base + ["-C", source.parent, "metadata.yaml", "rootfs"], check=True)
        result = jail.run(tmp_path / "tar")
    else:
        subprocess.run(base + ["-C", source, "."], check=True)
        result = jail.run(metadata_only(), tmp_path / "tar")
    root = jail.good(result)
    if "--sparse" not in options:  # zeros in the archive arrive as zeros
        (root / "holes").unlink(), (source / "holes").unlink()
        os.utime(source, (1400000000, 1400000000)), os.utime(root, (1400000000, 1400000000))
    compare(source, root)
    assert result["skipped_nodes"] == 2


@pytest.mark.parametrize("form", ["tar", "squashfs"])
def test_real_tree_of_this_machine(jail, tmp_path, form):
    """Part of the host itself: /etc, /usr/bin and /var with their setuid programs, owners and links."""
    parts = [p for p in ["etc", "usr/bin", "usr/sbin", "var/log", "var/mail", "var/cache"] if os.path.exists("/" + p)]
    source = tmp_path / "source"
    source.mkdir()
    small = []
    for part in parts:
        for folder, _, names in os.walk("/" + part):
            small += [os.path.join(folder, n)[1:] for n in names if os.lstat(os.path.join(folder, n)).st_size < 200000][:400]
            small.append(folder[1:])
    listing = "\0".join(sorted(set(small))).encode()
    packed = subprocess.run(["tar", "-C", "/", "--no-recursion", "--null", "-T", "-", "-c"], input=listing, stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "-C", source, "-xp", "--numeric-owner"], input=packed, check=True)
    if form == "tar":
        subprocess.run(["tar", "-C", source, "--numeric-owner", "--xattrs", "--acls", "-cJf", tmp_path / "image", "."],
                       check=True, env=dict(os.environ, XZ_OPT="-0"))
    else:
        subprocess.run(["mksquashfs", source, tmp_path / "image", "-quiet", "-no-progress"], check=True, stdout=subprocess.DEVNULL)
    result = jail.run(metadata_only(), tmp_path / "image")
    compare(source, jail.good(result), acls=form == "tar")
    assert result["members"] > 500


def test_foreign_xattrs(jail):
    pax = {"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.security.selinux": "z", "SCHILY.xattr.security.ima": "z",
           "SCHILY.xattr.user.ok": "1"}
    result = jail.form("unified", lambda t, p: t.add(p + "f", data=b"x", pax=pax).dir(p + "d", pax=pax))
    root = jail.good(result)
    assert os.listxattr(root / "f") == os.listxattr(root / "d") == ["user.ok"]


def test_templates_and_metadata(jail):
    yaml = METADATA + b"expiry_date: 1800000000\ntemplates:\n  /etc/hostname:\n    when: [create, copy]\n    create_only: yes\n" \
        b"    template: hostname.tpl\n    properties: {a: 1, b: null}\n"
    for leading in ("", "./"):
        tar = Tar().add(leading + "metadata.yaml", data=yaml).dir(leading + "templates").add(leading + "templates/hostname.tpl", data=b"{{ x }}")
        result = jail.run(tar.dir(leading + "rootfs").add(leading + "rootfs/f", data=b"1").add(leading + "other/x", data=b"ignored").bytes())
        assert jail.good(result).joinpath("f").read_bytes() == b"1"
        assert sorted(os.listdir(jail.target)) == ["metadata.yaml", "rootfs", "templates"]
        assert (jail.target / "metadata.yaml").read_bytes() == yaml
        assert (jail.target / "templates/hostname.tpl").read_bytes() == b"{{ x }}"
        assert result["metadata"] == {
            "architecture": "x86_64", "creation_date": 1700000000, "expiry_date": 1800000000, "properties": {"os": "test"},
            "templates": {"/etc/hostname": {"when": ["create", "copy"], "create_only": True, "template": "hostname.tpl",
                                            "properties": {"a": "1", "b": ""}}}}


def test_probe(jail):
    (jail.tmp / "image").write_bytes(unified().add("rootfs/f", data=b"x").bytes())
    out = subprocess.run([DRIVER, "-", jail.tmp / "image"], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout)["metadata"]["properties"] == {"os": "test"}


def test_killed_jail_is_an_error(jail):
    """kill -9 of the jail: an error that says so, and an empty target."""
    (jail.tmp / "meta").write_bytes(zeros_tar(2 << 30))
    jail.target.mkdir()
    process = subprocess.Popen([DRIVER, jail.target, jail.tmp / "meta"], stdout=subprocess.PIPE, text=True)
    victim = None
    deadline = time.monotonic() + 10
    while not victim and time.monotonic() < deadline:
        for pid in children(process.pid):
            victim = victim or next(iter(children(pid)), None)
        time.sleep(0.01)
    assert victim
    while not (jail.target / "rootfs").exists():
        time.sleep(0.01)
    os.kill(victim, 9)
    result = json.loads(process.communicate(timeout=30)[0])
    assert result["error"] == "Image unpacker was killed by signal 9 (Killed)" and result["status"] == 500
    assert list(jail.target.iterdir()) == []


def children(pid):
    try:
        return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def test_confinement(jail):
    """While it works, the jail shows: own namespaces, five capabilities, seccomp, no_new_privs, few open files, an empty root."""
    (jail.tmp / "meta").write_bytes(zeros_tar(1 << 30))
    jail.target.mkdir()
    process = subprocess.Popen([DRIVER, jail.target, jail.tmp / "meta"], stdout=subprocess.PIPE, text=True)
    try:
        while not (jail.target / "rootfs/zeros").exists():
            assert process.poll() is None
            time.sleep(0.005)
        pid = children(children(process.pid)[0])[0]
        status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 31
        assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1"
        for space in ("user", "mnt", "pid", "net", "ipc", "uts"):
            assert os.readlink(f"/proc/{pid}/ns/{space}") != os.readlink(f"/proc/self/ns/{space}"), space
        assert len(os.listdir(f"/proc/{pid}/fd")) <= 9
        assert len(pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines()) == 1
        assert sorted(os.listdir(f"/proc/{pid}/root")) == ["rootfs", "templates"]
    finally:
        process.kill()
        process.wait()
