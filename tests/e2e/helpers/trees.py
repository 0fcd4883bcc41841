"""File trees with everything that a root file system can hold, and a manifest to compare two of them by."""
import os
import pathlib
import socket
import stat
import subprocess

BIG = 3_000_001


def fill(root, devices=True):
    """@devices: also nodes that only a privileged container may keep."""
    root = os.fsencode(os.fspath(root))

    def file(name, data=b"x", mode=0o644, uid=0, gid=0):
        path = os.path.join(root, os.fsencode(name))
        with open(path, "wb") as out:
            out.write(data)
        os.chown(path, uid, gid)
        os.chmod(path, mode)
        return path

    plain = file("plain", b"hello\n", 0o640, 1000, 1001)
    os.setxattr(plain, "user.note", b"a\0b")
    os.link(plain, os.path.join(root, b"second-name"))
    file("suid", b"#!", 0o6755, 5, 6)
    file("high-ids", b"", 0o600, 65534, 65535)
    file("empty-file", b"")
    file("big", os.urandom(BIG))
    capable = file("capable", b"z", 0o755)
    subprocess.run(["setcap", "cap_net_raw+ep", capable], check=True)
    file("new\nline \xff\u2028 'quote\"")
    with open(os.path.join(root, b"not-utf8-\xfe\xff\x01"), "wb"):
        pass
    file("n" * 255)
    os.symlink("/etc/passwd", os.path.join(root, b"absolute"))
    os.symlink("../" * 30 + "etc/shadow", os.path.join(root, b"upwards"))
    os.lchown(os.path.join(root, b"absolute"), 7, 8)
    with open(os.path.join(root, b"sparse"), "wb") as out:
        out.seek(60 << 20)
        out.write(b"end")
    deep = os.path.join(root, b"deep", *[b"d" * 200] * 5)
    os.makedirs(deep)
    with open(os.path.join(deep, b"bottom"), "wb") as out:
        out.write(b"here")
    os.mkdir(os.path.join(root, b"empty-dir"), 0o700)
    os.chmod(os.path.join(root, b"empty-dir"), 0o2750)
    os.chown(os.path.join(root, b"empty-dir"), 33, 44)
    os.mkfifo(os.path.join(root, b"fifo"), 0o600)
    os.mknod(os.path.join(root, b"whiteout"), stat.S_IFCHR, os.makedev(0, 0))
    here = os.getcwd()
    os.chdir(root)  # addresses are short
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("socket")
    os.chdir(here)
    if devices:
        os.mknod(os.path.join(root, b"null-node"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(os.path.join(root, b"disk-node"), stat.S_IFBLK | 0o660, os.makedev(8, 0))
    for name, ns in ((b"plain", 10**18 + 123456789), (b"empty-dir", 5), (b"absolute", 2 * 10**18 + 1)):
        os.utime(os.path.join(root, name), ns=(ns, ns), follow_symlinks=False)


def add_acls(root):
    subprocess.run(["setfacl", "-m", "u:123:rw,g:9:r", f"{root}/suid"], check=True)
    subprocess.run(["setfacl", "-d", "-m", "u:55:rwx", f"{root}/empty-dir"], check=True)


def _xattrs(path, skip):
    found = {}
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        if not name.startswith(tuple(skip)):
            found[name] = os.getxattr(path, name, follow_symlinks=False)
    return found


def manifest(root, links=True, acls=True, devices=True):
    """{relative path: all that matters of it}. @links, @acls, @devices: False leaves out what some way of transfer cannot keep."""
    root = os.fsencode(os.fspath(root))
    skip = ["trusted.", "security.selinux"] + ([] if acls else ["system.posix_acl"])
    entries, inodes = {}, {}
    for top, dirs, files in os.walk(root):
        for name in [b""] * (top == root) + dirs + files:
            path = os.path.join(top, name) if name else root
            st = os.lstat(path)
            kind = stat.S_IFMT(st.st_mode)
            if not devices and (kind == stat.S_IFBLK or (kind == stat.S_IFCHR and st.st_rdev)):
                continue
            key = os.path.relpath(path, root)
            entry = {"mode": oct(st.st_mode), "owner": (st.st_uid, st.st_gid), "mtime": st.st_mtime_ns,
                     "xattrs": _xattrs(path, skip)}
            if kind == stat.S_IFLNK:
                entry["target"] = os.readlink(path)
            elif kind == stat.S_IFREG:
                entry["data"] = hash(pathlib.Path(os.fsdecode(path)).read_bytes())
                entry["sparse"] = st.st_blocks * 512 < st.st_size // 2 and st.st_size > 1 << 20
            elif kind in (stat.S_IFBLK, stat.S_IFCHR):
                entry["device"] = st.st_rdev
            entries[key] = entry
            if links and kind == stat.S_IFREG and st.st_nlink > 1:
                inodes.setdefault(st.st_ino, []).append(key)
    for names in inodes.values():
        for key in names:
            entries[key]["same-as"] = sorted(names)
    return entries


def differences(one, other):
    """Readable lines; none when the two manifests are equal."""
    lines = []
    for key in sorted(set(one) | set(other)):
        if one.get(key) != other.get(key):
            lines.append(f"{key!r}: {one.get(key)} != {other.get(key)}")
    return lines
