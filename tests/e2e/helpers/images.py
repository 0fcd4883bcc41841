"""Image archives: the busybox image in all its forms, and hostile ones."""
import functools
import io
import pathlib
import subprocess
import tarfile
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[3]
MAKE = TOP / "scripts" / "make-busybox-image"
METADATA = b"architecture: x86_64\ncreation_date: 1700000000\nproperties:\n  os: test\n"


@functools.lru_cache(None)
def busybox(compression="xz", label=""):
    """The unified image as bytes."""
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run([MAKE, "--compression", compression, "--label", label, f"{tmp}/image"], check=True)
        return pathlib.Path(tmp, "image").read_bytes()


@functools.lru_cache(None)
def busybox_split(compression="xz", squashfs=False, label=""):
    """(metadata archive, root file system) as bytes."""
    with tempfile.TemporaryDirectory() as tmp:
        command = [MAKE, "--compression", compression, "--label", label, "--split", f"{tmp}/meta", f"{tmp}/root"]
        if squashfs:
            command.insert(1, "--squashfs")
        subprocess.run(command, check=True)
        return pathlib.Path(tmp, "meta").read_bytes(), pathlib.Path(tmp, "root").read_bytes()


def multipart(parts):
    """(body, headers) of a form; @parts are (field name, file name, content)."""
    boundary = "x0test0boundary0x"
    body = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n".encode() + content + b"\r\n"
        for name, filename, content in parts) + f"--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def split_form(metadata, rootfs):
    return multipart([("metadata", "meta.tar", metadata), ("rootfs", "root", rootfs)])


class Tar:
    """Builds an archive member by member; nothing is checked, that is the point."""

    def __init__(self, fmt=tarfile.PAX_FORMAT):
        self._out = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._out, mode="w", format=fmt)

    def add(self, name, kind=tarfile.REGTYPE, data=b"", link="", mode=0o644, uid=0, gid=0, device=(0, 0), pax=None):
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.mode, info.uid, info.gid = kind, link, mode, uid, gid
        info.mtime = int(time.time())
        info.devmajor, info.devminor = device
        info.pax_headers = pax or {}
        info.size = len(data)
        self._tar.addfile(info, io.BytesIO(data) if data else None)
        return self

    def dir(self, name, **kwargs):
        return self.add(name, tarfile.DIRTYPE, mode=kwargs.pop("mode", 0o755), **kwargs)

    def symlink(self, name, target, **kwargs):
        return self.add(name, tarfile.SYMTYPE, link=target, **kwargs)

    def hardlink(self, name, target, **kwargs):
        return self.add(name, tarfile.LNKTYPE, link=target, **kwargs)

    def bytes(self):
        self._tar.close()
        return self._out.getvalue()


def unified(metadata=METADATA):
    """The start of a unified image; members are added with a rootfs/ prefix."""
    return Tar().add("metadata.yaml", data=metadata).dir("rootfs")


def metadata_only(metadata=METADATA):
    return Tar().add("metadata.yaml", data=metadata).bytes()


def squashfs(definitions="", prepare=None, options=()):
    """A squashfs made of a small directory; @prepare fills it, @definitions are mksquashfs pseudo-file lines."""
    with tempfile.TemporaryDirectory() as tmp:
        root, out = pathlib.Path(tmp, "root"), pathlib.Path(tmp, "out")
        root.mkdir()
        if prepare:
            prepare(root)
        command = ["mksquashfs", root, out, "-noappend", "-quiet", "-no-progress", "-all-root", *options]
        for line in filter(None, definitions.split("\n")):
            command += ["-p", line]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return out.read_bytes()
