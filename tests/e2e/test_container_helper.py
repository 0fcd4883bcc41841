"""lxd-container by itself: real containers, started by tests/unit/ct_driver.c instead of the daemon."""
import ctypes
import errno
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest

from helpers.squatter import squatter

TOP = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("LXD_BIN", TOP / "build"))
POLICY = "2\ndenylist\nreject_force_umount\n[all]\nkexec_load errno 38\nopen_by_handle_at errno 38\n"
FIRST_ID = 100000


PREFIX = f"ct{os.urandom(3).hex()}-"  # control groups are named after containers, and the host may have some already


class Failure(Exception):
    def __init__(self, fields):
        self.status, self.errnum, self.message = int(fields[0]), int(fields[1]), fields[2]
        super().__init__(fields)


class Driver:
    def __init__(self, top, helper=BIN / "lxd-container"):
        self.top = top
        (top / "lxc").mkdir(exist_ok=True)
        self.process = subprocess.Popen([BIN / "ct-driver", helper, top / "lxc"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def ask(self, *words):
        self.process.stdin.write("\t".join(str(w) for w in words) + "\n")
        self.process.stdin.flush()
        fields = self.process.stdout.readline().rstrip("\n").split("\t")
        if fields[0] != "ok":
            raise Failure(fields[1:])
        return fields[1:]

    def items(self, name, privileged=False, **changes):
        values = {
            "lxc.log.file": self.top / f"{name}.log", "lxc.log.level": "warn", "lxc.console.buffer.size": "4096",
            "lxc.mount.auto": "proc:rw sys:rw cgroup:mixed", "lxc.autodev": "1", "lxc.pty.max": "1024",
            "lxc.arch": "linux64", "lxc.tty.max": "0", "lxc.uts.name": name,
            "lxc.seccomp.profile": self.top / "seccomp", "lxc.net.0.type": "empty", "lxc.net.0.flags": "up",
            "lxc.signal.halt": "SIGUSR2", "lxc.signal.reboot": "SIGTERM",  # busybox init's words
            "lxc.rootfs.path": f"dir:{self.top}/rootfs-{name}", "lxc.rootfs.options": "idmap=container",
        }
        if privileged:
            values.update({"lxc.rootfs.options": None, "lxc.mount.auto": "proc:mixed sys:mixed cgroup:mixed",
                           "lxc.cap.drop": "sys_time sys_module sys_rawio mac_admin mac_override"})
        values.update(changes)
        text = "".join(f"{k} = {v}\n" for k, v in values.items() if v is not None)
        if not privileged:
            text += f"lxc.idmap = u 0 {FIRST_ID} 65536\nlxc.idmap = g 0 {FIRST_ID} 65536\n"
        (self.top / f"{name}.items").write_text(text)
        if not (self.top / f"rootfs-{name}").exists():
            shutil.copytree(self.top / "rootfs", self.top / f"rootfs-{name}", symlinks=True)

    def start(self, name, **changes):
        self.items(name, **changes)
        state, init, monitor, _ = self.ask("start", name, self.top / f"{name}.items", self.top / f"{name}.conf",
                                           self.top / f"{name}.log")
        assert state == "1"
        return int(init), int(monitor)

    def exec(self, name, *argv, uid=0, gid=0, cwd="/root", mode="pipe", signum=0):
        end, value, _, out = self.ask("exec", name, self.top / f"{name}.conf", uid, gid, cwd, mode, signum, *argv)
        return int(end), int(value), out.replace("\\n", "\n")

    def output(self, name, *argv, **kwargs):
        end, value, out = self.exec(name, *argv, **kwargs)
        assert (end, value) == (0, 0), out
        return out

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)


@pytest.fixture(scope="module")
def driver():
    if not (BIN / "ct-driver").exists():
        pytest.skip(f"{BIN}/ct-driver is not built")
    top = pathlib.Path(f"/var/tmp/ct-{os.getpid()}-{time.time_ns() % 10**9}")
    top.mkdir()
    (top / "seccomp").write_text(POLICY)
    subprocess.run([TOP / "scripts" / "make-busybox-image", "--compression", "none", top / "image.tar"], check=True)
    subprocess.run(["tar", "-C", top, "-xf", top / "image.tar"], check=True)
    d = Driver(top)
    yield d
    d.close()
    shutil.rmtree(top)


def cgroups(name):
    found = []
    for top, dirs, _ in os.walk("/sys/fs/cgroup"):  # other tests' groups may go meanwhile
        found += [pathlib.Path(top, d) for d in dirs if d.startswith("lxc.") and d.endswith("." + name)]
    return found


def eventually(question, seconds=5):
    end = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def c1(driver):
    driver.pids = driver.start(f"{PREFIX}c1")
    c1 = f"{PREFIX}c1"
    yield c1
    if driver.ask("find", c1)[0] != "0":
        driver.ask("kill", c1)
    assert driver.ask("find", c1) == ["0", "0", "0"]
    eventually(lambda: not cgroups(c1))


def status(pid):
    return dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


def test_init_is_confined(driver, c1):
    init, monitor = driver.pids
    assert status(init)["Uid"].split()[0] == str(FIRST_ID)
    assert status(init)["Seccomp"] == "2"
    assert driver.output(c1, "id", "-u") == "0\n"
    assert "\nSeccomp:\t2\n".replace("\t", "\\t") in driver.output(c1, "cat", "/proc/self/status")
    assert status(init)["PPid"] == str(monitor)
    assert driver.output(c1, "stat", "-c", "%u", "/bin/busybox") == "0\n"


def test_no_fd_of_ours_in_init(driver, c1):
    for fd in pathlib.Path(f"/proc/{driver.pids[0]}/fd").iterdir():
        where = os.readlink(fd)
        assert where.startswith(("/dev/", "/proc/")), where
        assert int(fd.name) <= 2, f"{fd.name} is {where}"


def test_no_fd_of_ours_in_monitor(driver, c1):
    names = [os.readlink(f) for f in pathlib.Path(f"/proc/{driver.pids[1]}/fd").iterdir()]
    assert not [n for n in names if "memfd" in n or n.startswith("/proc/")], names


def test_exec_leaks_no_fd(driver, c1):
    for mode in ("pipe", "pty"):
        fds = driver.output(c1, "sh", "-c", "ls /proc/$$/fd; true", mode=mode).split()
        assert sorted(f for f in fds if int(f) < 10) == ["0", "1", "2"], fds  # ash keeps a duplicate above 9
        assert len(fds) <= 4


def test_exec_user_group_cwd(driver, c1):
    assert driver.output(c1, "id", uid=1000, gid=1001, cwd="/missing") == "uid=1000 gid=1001\n"
    assert driver.output(c1, "pwd", cwd="/missing") == "/\n"
    assert driver.output(c1, "pwd", cwd="/tmp") == "/tmp\n"
    assert "Groups:\\t \n" in driver.output(c1, "cat", "/proc/self/status")


def test_exec_ends(driver, c1):
    assert driver.exec(c1, "sh", "-c", "exit 7")[:2] == (0, 7)
    assert driver.exec(c1, "sh", "-c", "exit 127")[:2] == (0, 127)  # its own, not ours
    assert driver.exec(c1, "sleep", "60", signum=signal.SIGTERM)[:2] == (1, signal.SIGTERM)
    assert driver.exec(c1, "nosuch")[:2] == (2, 2)
    assert driver.exec(c1, "/no/such")[:2] == (2, 2)
    assert driver.exec(c1, "/etc/passwd")[:2] == (3, 13)
    assert driver.exec(c1, "/etc")[:2] == (3, 13)
    assert driver.exec(c1, "sh", "-c", "printf x >/tmp/x; chmod 755 /tmp/x")[:2] == (0, 0)
    assert driver.exec(c1, "/tmp/x")[:2] == (3, 8)


def test_exec_terminal(driver, c1):
    out = driver.output(c1, "sh", "-c", "tty; sleep 0.2; stty size; stat -c %u $(tty); cat /proc/self/stat", uid=1000,
                        mode="pty").splitlines()
    assert out[0].startswith("/dev/pts/") and out[1] == "31 101" and out[2] == "1000"
    assert int(out[3].split()[6]) != 0  # has a controlling terminal


def test_exec_refuses_a_false_terminal(driver, c1):
    driver.output(c1, "sh", "-c", "umount -l /dev/pts; mkdir -p /dev/pts; : >/dev/pts/ptmx")
    with pytest.raises(Failure) as e:
        driver.exec(c1, "true", mode="pty")
    assert "/dev/pts/ptmx" in e.value.message


def test_exec_leaves_nothing(driver, c1):
    before = driver.ask("usage", c1)[3]
    for _ in range(5):
        driver.exec(c1, "true")
    eventually(lambda: driver.ask("usage", c1)[3] == before)
    assert before == "1"


def test_freeze(driver, c1):
    driver.ask("freeze", c1)
    assert driver.ask("find", c1)[0] == "2"
    driver.ask("unfreeze", c1)
    assert driver.ask("find", c1)[0] == "1"
    driver.ask("freeze", c1)
    driver.ask("kill", c1)  # thaws


def test_halt(driver, c1):
    driver.ask("halt", c1)
    assert driver.ask("find", c1)[0] == "0"


def test_reboot(driver, c1):
    state, init, monitor = driver.ask("reboot", c1)
    assert state == "1" and int(init) != driver.pids[0] and int(monitor) == driver.pids[1]
    assert driver.output(c1, "id", "-u") == "0\n"


def test_zygote_death(driver, c1):
    pid = int(driver.ask("zygote")[0])
    os.kill(pid, signal.SIGKILL)
    assert driver.ask("find", c1) == ["1", str(driver.pids[0]), str(driver.pids[1])]
    assert int(driver.ask("zygote")[0]) != pid
    assert driver.output(c1, "id", "-u") == "0\n"


def test_network_state(driver, c1):
    text, outside = driver.ask("net", c1)
    assert '"lo":{"addresses":[{"family":"inet","address":"127.0.0.1","netmask":"8","scope":"local"}' in text
    assert '"mtu":65536,"state":"up","type":"loopback"' in text
    counted = re.compile(r'("(?:bytes|packets|errors)_\w+":)\d+')
    for each in (outside, driver.ask("net", c1)[1]):  # the second time the namespace has its id already
        assert counted.sub(r"\1N", each) == counted.sub(r"\1N", text)


def test_start_twice(driver, c1):
    with pytest.raises(Failure) as e:
        driver.start(c1)
    assert e.value.status == 400 and "already running" in e.value.message


@pytest.mark.parametrize("answers", [False, True])
def test_socket_held_by_another_user(driver, answers):
    """Nobody but root can pose as a monitor, and a start does not wait for who tries."""
    name = f"{PREFIX}held"
    driver.items(name)
    start = time.monotonic()
    with squatter(driver.top / "lxc" / name / "command", 65534, os.getpid() if answers else 0):
        for ask in (lambda: driver.start(name), lambda: driver.ask("find", name), lambda: driver.ask("kill", name)):
            with pytest.raises(Failure) as e:
                ask()
            assert e.value.message == f"The control socket of container {name} is held by uid 65534"
    assert time.monotonic() - start < 10
    assert driver.ask("find", name) == ["0", "0", "0"]


def test_monitor_is_our_program(driver, c1):
    """Even root's answer counts only when the processes that it names are a container's."""
    name = f"{PREFIX}posed"
    address = driver.top / "lxc" / name / "command"
    with squatter(address, 0, driver.process.pid):
        with pytest.raises(Failure) as e:
            driver.ask("find", name)
        assert f"that answers for container {name} is another program" in e.value.message
    with squatter(address, 0, driver.pids[0]):
        with pytest.raises(Failure) as e:
            driver.ask("find", name)
        assert f"container {name} has not started it: the process named as its init is in another" in e.value.message
    assert driver.ask("find", c1)[0] == "1"


def test_monitor_of_an_earlier_version_is_known(driver):
    """An upgrade puts another file in the program's place; the monitors that run are of the one that is gone."""
    top = driver.top / "upgrade"
    top.mkdir()
    (top / "rootfs").symlink_to(driver.top / "rootfs")
    (top / "seccomp").write_text(POLICY)
    helper = top / "lxd-container"
    shutil.copy(BIN / "lxd-container", helper)
    name = f"{PREFIX}upgrade"
    other = Driver(top, helper)
    try:
        init, monitor = other.start(name)
        shutil.copy(helper, top / "new")
        (top / "new").rename(helper)
        assert other.ask("find", name) == ["1", str(init), str(monitor)]
        os.kill(int(other.ask("zygote")[0]), signal.SIGKILL)
        assert other.ask("find", name) == ["1", str(init), str(monitor)]
        assert os.readlink(f"/proc/{monitor}/exe") == f"{helper} (deleted)"
        other.ask("kill", name)
    finally:
        other.close()


def test_name_too_long_for_a_socket(driver):
    """liblxc hashes such names; we must look at the same one."""
    top = driver.top / ("long" * 20) / ("path" * 10)
    top.mkdir(parents=True)
    (top / "rootfs").symlink_to(driver.top / "rootfs")
    (top / "seccomp").write_text(POLICY)
    name = f"{PREFIX}long"
    other = Driver(top)
    try:
        init, monitor = other.start(name)
        assert other.ask("find", name) == ["1", str(init), str(monitor)]
        addresses = [line.split()[-1] for line in open("/proc/net/unix") if line.rstrip().endswith("/command")]
        (hashed,) = [a for a in addresses if a.startswith("@lxc/")]
        other.ask("kill", name)
        assert other.ask("find", name)[0] == "0"
        with squatter(hashed[1:], 65534):
            with pytest.raises(Failure) as e:
                other.ask("find", name)
            assert f"container {name} is held by uid 65534" in e.value.message
    finally:
        other.close()


@pytest.mark.parametrize("changes,errnum,words", [
    ({"lxc.rootfs.path": "dir:/var/tmp/no-such-tree"}, 2, ["root file system /var/tmp/no-such-tree", "No such file"]),
    ({"lxc.init.cmd": "/no/init"}, 2, ["No such file", "/no/init"]),
    ({"lxc.nonsense": "1"}, None, ["lxc.nonsense"]),
    ({"lxc.seccomp.profile": "/no/policy"}, 2, ["/no/policy"]),
    ({"lxc.mount.entry": "/no/source mnt none bind 0 0"}, 2, ["No such file", "/no/source"]),
])
def test_start_failure_names_the_cause(driver, changes, errnum, words):
    with pytest.raises(Failure) as e:
        driver.start(f"{PREFIX}bad", **changes)
    for word in words:
        assert word in e.value.message, e.value.message
    assert errnum is None or e.value.errnum == errnum, e.value.message
    assert driver.ask("find", f"{PREFIX}bad")[0] == "0"
    eventually(lambda: not cgroups(f"{PREFIX}bad"))


def test_not_running(driver):
    for words in (("freeze", "nobody"), ("cgget", "nobody", "pids.current")):
        with pytest.raises(Failure) as e:
            driver.ask(*words)
        assert e.value.status == 400


def test_mount(driver, c1):
    source = driver.top / "source"
    source.mkdir(exist_ok=True)
    (source / "file").write_text("hello")
    assert driver.ask("mount", c1, source, "mnt/a/b", "r") == ["1"]
    assert driver.output(c1, "cat", "/mnt/a/b/file") == "hello"
    assert driver.exec(c1, "touch", "/mnt/a/b/x")[1] == 1
    driver.ask("umount", c1, "mnt/a/b", 1)
    assert driver.exec(c1, "ls", "/mnt/a/b")[1] == 1 and driver.exec(c1, "ls", "/mnt/a")[1] == 0
    assert driver.ask("mount", c1, source, "/mnt/s", "s") == ["1"]
    assert driver.output(c1, "stat", "-c", "%u", "/mnt/s/file") == "0\n"
    driver.output(c1, "touch", "/mnt/s/made")
    assert (source / "made").stat().st_uid == 0  # shifted: inside and on disk agree
    driver.ask("umount", c1, "/mnt/s", 0)
    assert driver.ask("mount", c1, source / "file", "etc/one", "") == ["1"]
    assert driver.output(c1, "cat", "/etc/one") == "hello"
    with pytest.raises(Failure):
        driver.ask("mount", c1, source, "etc/passwd", "")


def test_mount_stays_inside(driver, c1):
    source = driver.top / "source2"
    source.mkdir(exist_ok=True)
    (source / "mark").write_text("")
    victim = driver.top / "victim"
    victim.mkdir(exist_ok=True)
    driver.output(c1, "sh", "-c", f"ln -s {victim} /mnt/abs; ln -s ../../../../../..{victim} /mnt/rel;"
                  "ln -s /proc/1/root /mnt/magic; ln -s loop /mnt/loop")
    for target in ("mnt/abs", "mnt/rel", "mnt/abs/x", "mnt/rel/x", "mnt/loop/x", "mnt/../../x", "", "/", "mnt/magic/tmp"):
        try:
            driver.ask("mount", c1, source, target, "")
        except Failure:
            pass
        assert list(victim.iterdir()) == [], target
    assert str(victim) not in pathlib.Path("/proc/self/mountinfo").read_text()


def test_cgroup_values(driver, c1):
    kind = driver.ask("usage", c1)[0]
    driver.ask("cgset", c1, "pids.max", "77")
    assert driver.ask("cgget", c1, "pids.max")[0] == "77\\n"
    if kind != "v2":
        driver.ask("cgset", c1, "devices.deny", "c 10:200 rwm")
        driver.ask("cgset", c1, "devices.allow", "c 10:200 rwm")
    with pytest.raises(Failure) as e:
        driver.ask("cgset", c1, "pids.max", "rubbish")
    assert "pids.max" in e.value.message


def test_twenty_at_once(driver):
    names = [f"{PREFIX}many{i}" for i in range(20)]
    for name in names:
        driver.items(name)
    driver.ask("start-many", f"{PREFIX}many", driver.top, 20)
    inits = {driver.ask("find", name)[1] for name in names}
    assert len(inits) == 20 and "0" not in inits
    for name in names:
        driver.ask("kill", name)
    eventually(lambda: not any(cgroups(name) for name in names))


# What one command shows of the confinement it runs in.
CONFINEMENT = "; ".join((
    "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Umask|Cpus_allowed_list|Mems_allowed_list)' /proc/self/status",
    "cat /proc/self/limits /proc/self/cgroup /proc/self/personality /proc/self/attr/current /proc/self/oom_score_adj 2>/dev/null",
    "for n in /proc/self/ns/*; do readlink $n; done",
))
DENY = POLICY + "mkdir errno 1\nmkdirat errno 1\n"
CONFIGURATIONS = {
    "unprivileged": {},
    "privileged": {"privileged": True},
    "nesting": {"lxc.mount.entry": "proc dev/.lxc/proc proc create=dir,optional 0 0"},
    "syscalls.deny": {"policy": DENY},
    "raw.seccomp": {"policy": "2\ndenylist\n[all]\nbpf errno 1\nkeyctl errno 38 [0,11,SCMP_CMP_EQ]\n"},
    "no seccomp": {"lxc.seccomp.profile": None},
    "limits": {"lxc.prlimit.nofile": "300:400", "lxc.prlimit.core": "unlimited", "lxc.cgroup.pids.max": "100",
               "lxc.no_new_privs": "1", "lxc.arch": "linux32"},
}


def lxc_attach(driver, name, *argv):
    return subprocess.run(["lxc-attach", "-P", driver.top / "lxc", "-n", name, "-f", driver.top / f"{name}.conf", "--clear-env",
                           "-v", "PATH=/usr/bin:/bin", "--", *argv], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=30).stdout


def seccomp_programs(pid):
    """The programs that the kernel has for a process, read through ptrace."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    seize, interrupt, detach, get_filter = 0x4206, 0x4207, 17, 0x420C
    assert libc.ptrace(seize, pid, None, None) == 0, os.strerror(ctypes.get_errno())
    assert libc.ptrace(interrupt, pid, None, None) == 0
    os.waitpid(pid, 0x40000000)
    programs = []
    while True:
        count = libc.ptrace(get_filter, pid, len(programs), None)
        if count < 0:
            break
        code = ctypes.create_string_buffer(count * 8)
        assert libc.ptrace(get_filter, pid, len(programs), code) == count
        programs.append(code.raw)
    end = ctypes.get_errno()
    libc.ptrace(detach, pid, None, None)
    assert end in (errno.ENOENT, errno.EINVAL), os.strerror(end)  # past the last; none at all
    return programs


def sleeper(init, seconds):
    """The process on the host that runs "sleep SECONDS" in the container of @init."""
    space = os.readlink(f"/proc/{init}/ns/pid")
    for p in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (p / "cmdline").read_bytes() == f"sleep\0{seconds}\0".encode() and os.readlink(p / "ns" / "pid") == space:
                return int(p.name)
        except OSError:
            pass
    raise AssertionError("no such process")


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_commands_are_confined_as_by_liblxc(driver, kind):
    changes = dict(CONFIGURATIONS[kind])
    name = f"{PREFIX}same-{list(CONFIGURATIONS).index(kind)}"
    if "policy" in changes:
        changes["lxc.seccomp.profile"] = driver.top / f"{name}.policy"
        changes["lxc.seccomp.profile"].write_text(changes.pop("policy"))
    init, _ = driver.start(name, **changes)
    try:
        assert (driver.top / f"{name}.conf.join").exists()  # or liblxc is compared with itself
        theirs = lxc_attach(driver, name, "sh", "-c", CONFINEMENT)
        ours = driver.output(name, "sh", "-c", CONFINEMENT).replace("\\t", "\t")
        assert "Max open files" in ours and "CapBnd" in ours and "pid:[" in ours
        assert ours == theirs
        lxc_attach(driver, name, "sh", "-c", "sleep 7001 >/dev/null 2>&1 &")
        driver.output(name, "sh", "-c", "sleep 7002 >/dev/null 2>&1 &")
        programs = seccomp_programs(sleeper(init, 7002))
        assert programs == seccomp_programs(sleeper(init, 7001)) == seccomp_programs(init)
        assert len(programs) == (0 if kind == "no seccomp" else 1)
    finally:
        driver.ask("kill", name)


def test_unknown_items_leave_joining_to_liblxc(driver):
    name = f"{PREFIX}unknown"
    driver.start(name, **{"lxc.keyring.session": "0"})
    assert not (driver.top / f"{name}.conf.join").exists()
    assert driver.output(name, "id", "-u") == "0\n"
    driver.ask("kill", name)
    driver.start(name)
    assert (driver.top / f"{name}.conf.join").exists()
    driver.ask("kill", name)
    driver.start(name, **{"lxc.keyring.session": "0"})
    assert not (driver.top / f"{name}.conf.join").exists()  # that of the earlier start is gone
    driver.ask("kill", name)


def test_no_command_without_the_filter(driver, c1):
    note = driver.top / f"{c1}.conf.join"
    good = note.read_bytes()
    mark = driver.output(c1, "mktemp").strip()
    note.write_bytes(good[:-8] + b"\xff" * 8)  # no such instruction: the kernel refuses the program
    with pytest.raises(Failure) as e:
        driver.exec(c1, "rm", mark)
    assert "seccomp" in e.value.message
    note.write_bytes(good[:-5])  # not a note: liblxc joins
    assert "Seccomp:\\t2" in driver.output(c1, "cat", "/proc/self/status")
    note.write_bytes(good)
    driver.output(c1, "rm", mark)


def test_no_command_outside_the_limits(driver, c1):
    note = driver.top / f"{c1}.conf.join"
    good = note.read_bytes()
    note.write_bytes(good.replace(f"lxc.payload.{c1}".encode(), f"lxc.nowhere.{c1}".encode()))
    with pytest.raises(Failure) as e:
        driver.exec(c1, "true")
    assert "control group" in e.value.message
    note.write_bytes(good)


def test_exec_when_stopped(driver):
    name = f"{PREFIX}gone"
    driver.start(name)
    driver.ask("kill", name)
    with pytest.raises(Failure) as e:
        driver.exec(name, "true")
    assert e.value.status == 400 and "not running" in e.value.message


def test_exec_child_keeps_output(driver, c1):
    begin = time.monotonic()
    end, value, out = driver.exec(c1, "sh", "-c", "echo first; (sleep 1; echo second) & exit 3")
    assert (end, value, out) == (0, 3, "first\nsecond\n")
    assert time.monotonic() - begin >= 1


def test_poweroff_and_reboot_from_inside(driver, c1):
    init, monitor = driver.pids
    driver.exec(c1, "reboot")
    eventually(lambda: driver.ask("find", c1)[0] == "1" and driver.ask("find", c1)[1] != str(init))
    assert driver.ask("find", c1)[2] == str(monitor)
    assert driver.output(c1, "id", "-u") == "0\n"
    driver.exec(c1, "poweroff")
    eventually(lambda: driver.ask("find", c1)[0] == "0")
