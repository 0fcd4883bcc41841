"""One daemon under test, in a directory of its own, and what it must not leave behind."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

from .api import Client

TOP = pathlib.Path(__file__).resolve().parents[3]
# LXD_E2E_REFERENCE=1 runs the tests against Debian's lxd 5.0.2, to show that the tests themselves are right.
REFERENCE = os.environ.get("LXD_E2E_REFERENCE") == "1"
BIN = pathlib.Path("/usr/bin") if REFERENCE else pathlib.Path(os.environ.get("LXD_BIN", TOP / "build"))


class Daemon:
    def __init__(self, directory, reference=REFERENCE):
        self.reference = reference
        self.bin = pathlib.Path("/usr/bin") if reference else BIN
        self.extra_env = {}
        self.root = pathlib.Path(directory)
        self.dir = self.root / "lxd"
        self.dir.mkdir(parents=True)
        self.root.chmod(0o711)
        self.dir.chmod(0o711)
        self.log_path = self.root / "daemon.log"
        self.process = None
        self.api = Client(str(self.dir / "unix.socket"))
        self.names = set()
        self._count = 0
        self.prefix = "x"

    # Life

    def spawn(self, *args, log=None, **kwargs):
        """A daemon process on this directory; returns at once."""
        with open(log or self.log_path, "ab") as out:
            return subprocess.Popen([str(self.bin / "lxd"), "--group", "root", *([] if self.reference else ["--debug"]), *args], env=self.env(), stdin=subprocess.DEVNULL,
                                    stdout=out, stderr=out, **kwargs)

    def start(self, *args):
        assert self.process is None
        self.process = self.spawn(*args)
        self.wait_ready()

    def wait_ready(self, timeout=30):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.log()}")
            try:
                if self.api.request("GET", "/1.0", timeout=5).status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"no answer after {timeout} s:\n{self.log()}")

    def stop(self, sig=signal.SIGTERM, timeout=30):
        """Ends the daemon and gives back its exit status; containers go on."""
        process, self.process = self.process, None
        process.send_signal(sig)
        return process.wait(timeout)

    def kill(self):
        return self.stop(signal.SIGKILL)

    def restart(self, sig=signal.SIGTERM):
        self.stop(sig)
        self.start()

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def log(self, lines=60):
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(line[:400] for line in text.splitlines()[-lines:])

    def env(self, **more):
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.root), "LANG": "C.UTF-8", "TERM": "xterm",
                "LXD_DIR": str(self.dir), "LXD_CONF": str(self.root / "client"),
                **{k: v for k, v in os.environ.items() if k.startswith(("ASAN_", "UBSAN_", "LSAN_", "LXD_IDMAPPED_"))}, **self.extra_env, **more}

    # Content

    def setup(self):
        """A dir pool and the default profile's root disk, on a fresh daemon."""
        if not self.api.get("/1.0/storage-pools"):
            reply = self.api.post("/1.0/storage-pools", {"name": "default", "driver": "dir", "config": {}})
            assert reply.status == 201, reply
        reply = self.api.patch("/1.0/profiles/default",
                               {"devices": {"root": {"type": "disk", "path": "/", "pool": "default"}}})
        assert reply.status == 200, reply

    def upload(self, data, alias=None, headers=None):
        """Import a unified image; gives back its fingerprint."""
        fingerprint = self.api.done(self.api.post("/1.0/images", data, headers={
            "Content-Type": "application/octet-stream", **(headers or {})}))["metadata"]["fingerprint"]
        if alias:
            reply = self.api.post("/1.0/images/aliases", {"name": alias, "target": fingerprint})
            assert reply.status == 201, reply
        return fingerprint

    def new_name(self):
        """An instance name that no other test file uses: several run on one machine."""
        self._count += 1
        name = f"{self.prefix}{self._count}"
        self.names.add(name)
        return name

    def lxc(self, *args, program=None, stdin=None, tty=subprocess.DEVNULL, timeout=120, check=True, **env):
        """Run a client (ours, unless @program names another) to its end; its standard input is @stdin's text, or the file @tty."""
        result = subprocess.run([str(program or BIN / "lxc"), *args], env=self.env(**env), input=stdin, capture_output=True,
                                text=True, timeout=timeout, **({} if stdin is not None else {"stdin": tty}))
        if check:
            assert result.returncode == 0, result
        return result

    def admin(self, *args, stdin=None, timeout=60, check=True):
        """Run `lxd SUBCOMMAND`."""
        result = subprocess.run([str(BIN / "lxd"), *args], env=self.env(), input=stdin, capture_output=True, text=True, timeout=timeout)
        if check:
            assert result.returncode == 0, result
        return result

    # What is left

    def remove_all(self):
        for instance in self.api.get("/1.0/instances?recursion=1&all-projects=true"):
            self.api.in_project(instance["project"]).remove(instance["name"])

    def mounts(self):
        """Mount points below the directory, in our mount namespace."""
        lines = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
        return [point for point in (line.split()[4] for line in lines) if point.startswith(str(self.root))]

    def cgroups(self, name):
        """Control groups made for one instance, whatever words stand around its name."""
        return [path for path in cgroup_dirs() if re.search(rf"(^|[._]){re.escape(name)}($|[._-])", path.rsplit("/", 1)[1])]

    def cleanup(self):
        for point in sorted(self.mounts(), reverse=True):
            subprocess.run(["umount", "--lazy", point], check=False)
        shutil.rmtree(self.root, ignore_errors=True)


def cgroup_dirs():
    found = []
    for top, dirs, _ in os.walk("/sys/fs/cgroup"):
        found += [os.path.join(top, d) for d in dirs]
    return found


def processes():
    """{pid: command name} of every living process in this pid namespace."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            head, _, tail = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        except OSError:
            continue
        if tail.split()[0] != "Z":
            found[int(pid)] = head.partition("(")[2]
    return found


def eventually(condition, timeout=10, what="condition"):
    """Waits for @condition to give something true, and gives it back."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not true after {timeout} s: {what}")
        time.sleep(0.02)
