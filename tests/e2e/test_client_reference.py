"""Our client and Debian's Go client against the reference daemon: same output, same exit codes.

The daemon runs in a network, mount, pid and uts namespace of its own and dies with it; a small Python helper inside
runs both clients and hands back what they printed.
"""
import hashlib
import json
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import sys
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
GO_CLIENT = shutil.which("lxc", path="/usr/bin:/bin")
REFERENCE = shutil.which("lxd", path="/usr/sbin:/usr/bin")
BUILD = pathlib.Path(os.environ.get("LXD_BIN") or os.environ.get("LXD_BUILD") or ROOT / "build")

# Lines that state what differs by nature: times, ids, counters, addresses.
VOLATILE = [
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"\d{4}/\d\d/\d\d \d\d:\d\d \w+", "TIME"),
    (r"\w{3} \d+, \d{4} at [\d:]+[ap]m \(\w+\)", "TIME"),
    (r"[\d.]+(KiB|MiB|GiB)", "SIZE"),
    (r"(usage|usage_peak|packets_\w+|bytes_\w+|space used): .*", r"\1: N"),
    (r"(Bytes|Packets) (received|sent): .*", r"\1 \2: N"),
    (r"eyJ[A-Za-z0-9+/=]+", "TOKEN"),
    (r"Generating a client certificate.*", ""),
]

# Run one after the other by each client on a server of the same state: (arguments, standard input or None).
READ_ONLY = [
    "list", "list -f csv", "list -f compact", "list -f json", "list -f yaml", "list --fast", "list -c nsDbcdeflPSF -f csv",
    "list -c n,user.a:A", "list -c n,user.a:A:1,devices:root.pool", "list c", "list ^c1$", "list status=stopped -c n",
    "list u.a=b -c n", "list type=virtual-machine", "list -c Z", "list -c L", "list -f bogus", "list nope:",
    "image list -f csv", "image list", "image list -f compact", "image list -f json", "image list -f yaml",
    "image list -c F -f csv bb", "image list os=busybox -f csv", "image info bb", "image show bb",
    "image alias list", "image alias list -f csv", "image get-property bb os", "image get-property bb nope",
    "image show nope", "image delete nope", "info c1", "info nope", "config show c1", "config show -e c1", "config show",
    "config get c1 user.a", "config get c1 nope", "config get core.https_address", "config device list c1",
    "config device show c1", "config device get c1 root pool", "config device remove c1 nope",
    "profile list", "profile list -f csv", "profile show default", "profile show nope",
    "profile get default nope", "storage list", "storage show default", "storage show nope", "storage info default",
    "operation show zz", "query /1.0/profiles/default", "query --raw /", "query /1.0/nope", "remote list",
    "remote list -f csv", "remote list -f json", "remote list -f yaml", "remote get-default", "remote remove local",
    "alias list", "alias remove nope", "exec c1 -t -T -- x", "exec c1 ls -l", "exec c1 -- true", "delete nope",
    "config trust list", "config trust list -f csv", "config trust list -f json", "config trust list -f yaml",
    "config trust list -f compact", "config trust list -f bogus", "config trust show {fp}", "config trust show {fp12}",
    "config trust show nope", "config trust show local:{fp12}", "config trust list nope:", "config trust remove nope",
    "config trust list-tokens", "config trust list-tokens -f csv", "config trust list-tokens -f compact",
    "config trust revoke-token nope", "config trust revoke-token local:nope", "config trust add --type bogus",
    "config trust add --type metrics --name x", "config trust add /nonexistent", "config trust add /etc/passwd",
    "config trust add {cert}", "config trust add a b c", "config trust foo",
    "stop c1", "start nope", "foo", "config foo", "list --x", "start -z", "list --format", "list -f",
    "warning list", "warning list -a", "warning list -f csv", "warning list -f json", "warning list -f yaml", "warning list -f compact",
    "warning list -c utSscpLlf -f csv", "warning list -c u,t -f csv", "warning list -c L", "warning list -c Z", "warning list -f bogus",
    "warning list --all-projects", "warning show nope", "warning delete nope", "warning foo", "warning list --project default",
    "image copy bb local:", "rename c1/foo c2/bar", "config set core.foo 1", "config set c1 user.z",
]

# Each client does these on a server that the other has left as it was before.
CHANGES = [
    ["config set c1 user.z 1", "config get c1 user.z", "config set c1 user.y=2 user.x=3", "config show c1",
     "config unset c1 user.z", "config unset c1 user.y", "config unset c1 user.x", "config unset c1 user.x"],
    ["config set c1 bogus 1", "config device add c1 d1 disk source=/tmp path=/m",
     "config device add c1 d1 disk source=/tmp path=/m", "config device set c1 d1 readonly=true",
     "config device get c1 d1 readonly", "config device unset c1 d1 readonly", "config device show c1",
     "config device remove c1 d1", "config device remove c1 d1"],
    ["config device override c1 root", "config device remove c1 root", "config device remove c1 root",
     "config device set c1 root size=1GiB", "config device override c1 root", "config device override c1 nope"],
    ["profile create p1", "profile create p1", "profile set p1 user.a=1", "profile get p1 user.a",
     "profile assign c1 default,p1", "profile delete p1", "profile remove c1 p1", "profile add c1 p1",
     "profile add c1 p1", "profile assign c1 default", "profile device add p1 e disk source=/tmp path=/z",
     "profile device add p1 e disk", "profile device list p1", "profile device remove p1 e", "profile rename p1 p2",
     "profile copy p2 p3", "profile show p3", "profile delete p2", "profile delete p3", "profile delete default"],
    ["storage create s1 dir", "storage set s1 rsync.bwlimit=1", "storage get s1 rsync.bwlimit",
     "storage unset s1 rsync.bwlimit", "storage delete s1", "storage create s2 foo"],
    ["image set-property bb a b", "image get-property bb a", "image unset-property bb a"],
    ["copy c1 c2", "list -c n -f csv", "move c2 c3", "rename c3 c4", "delete c4", "list -c n -f csv"],
    ["init bb x1 -c user.q=1", "config get x1 user.q", "init bb x1", "launch bb b_d", "init nope x2", "delete x1"],
    ["config trust remove {fp12}", "config trust list -f csv", "config trust add local: {cert} --name n --restricted --projects default",
     "config trust list -f json", "config trust remove local:{fp}", "config trust add {cert} --type metrics", "config trust list -f csv",
     "config trust remove local: {fp12}", "config trust add {cert}"],
    ["config trust add --name one -q --projects default --restricted", "config trust add --name two", "config trust list-tokens -f yaml",
     "config trust list-tokens -f json", "config trust revoke-token two", "config trust revoke-token local:one", "config trust list-tokens -f csv"],
    ["remote rename images i2", "remote switch i2", "remote get-default", "remote remove i2", "remote set-url i2 https://x:1", "remote list",
     "remote switch local", "remote rename i2 local", "remote rename nope x", "remote switch nope", "remote set-url nope x",
     "remote set-url ubuntu x", "remote rename local x", "remote remove i2", "remote list -f json",
     "remote add images https://images.linuxcontainers.org --protocol simplestreams", "remote list -f yaml",
     "remote add z x --protocol foo", "remote add z x --protocol simplestreams", "remote add z http://x", "remote add z ftp://x",
     "remote add a:b x", "remote add images x", "remote add z unix:///nope", "remote add z /nope", "remote add z 127.0.0.1:1", "list images:"],
    ["remote add s unix://", "remote list -f csv", "remote list -f yaml", "list s: -f csv", "remote remove s"],
    ["alias add l list", "l -c n -f csv", "alias rename l m", "alias add m x", "alias list", "alias remove m"],
    ["start c1", "list -c ns -f csv", "exec c1 -- echo hi", "exec c1 -- false", "exec c1 -- sh -c exit\\ 42",
     "exec c1 -- nosuch", "exec c1 -- /etc", "exec c1 --env A=1 --user 5 --cwd /tmp -- pwd", "delete c1",
     "pause c1", "list -c s -f csv", "start c1", "list -c s -f csv", "stop c1 --force", "list -c s -f csv"],
]

INSIDE = r"""
import json, os, shlex, shutil, subprocess, sys, time
spec = json.load(open(sys.argv[1]))
env = dict(os.environ, LXD_DIR=spec["dir"] + "/lxd", TZ="UTC", PATH="/usr/sbin:/usr/bin:/sbin:/bin")
os.makedirs(env["LXD_DIR"])
log = open(spec["dir"] + "/lxd.log", "w")
daemon = subprocess.Popen([spec["lxd"], "--group", "root"], env=env, stdout=log, stderr=log)
def run(client, text):
    home = spec["dir"] + "/" + os.path.basename(os.path.dirname(client))
    e = dict(env, HOME=home, LXD_CONF=home)
    for attempt in range(20):   # the reference is busy for a moment after a stop has been answered
        p = subprocess.run([client] + shlex.split(text), env=e, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
        if b"busy running a" not in p.stderr:
            break
        time.sleep(0.2)
    return [p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")]
subprocess.run([spec["lxd"], "waitready", "-t", "60"], env=env, check=True)
subprocess.run([spec["lxd"], "init", "--auto"], env=env, check=True)
setup = [run(spec["go"], t) for t in spec["setup"]]
for attempt in range(40):   # the reference raises its warnings some time after it is ready
    known = run(spec["go"], "query /1.0/warnings")[1]
    time.sleep(0.5)
    if known != "[]\n" and known == run(spec["go"], "query /1.0/warnings")[1]:
        break
out = {"setup": setup, "pairs": []}
for client in (spec["go"], spec["ours"]):
    run(client, "list")   # makes config.yml, prints the greeting
    for suffix in ("crt", "key"):
        shutil.copy(spec["cert"][:-3] + suffix, spec["dir"] + "/" + os.path.basename(os.path.dirname(client)) + "/client." + suffix)
for text in spec["read_only"]:
    out["pairs"].append([text, run(spec["go"], text), run(spec["ours"], text)])
for group in spec["changes"]:
    results = [[run(client, text) for text in group] for client in (spec["go"], spec["ours"])]
    out["pairs"] += [[t, a, b] for t, a, b in zip(group, *results)]
json.dump(out, open(sys.argv[2], "w"))
daemon.kill()
"""


def namespace(command):
    script = ("mount -t tmpfs keep /mnt; mkdir /mnt/cg; mount --rbind /sys/fs/cgroup /mnt/cg; mount -t sysfs sysfs /sys;"
              " mount --rbind /mnt/cg /sys/fs/cgroup; umount -l /mnt; ip link set lo up; exec \"$@\"")
    return ["unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc",
            "bash", "-ec", script, "inside", *command]


@pytest.fixture(scope="module")
def pairs(request):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if not REFERENCE or not GO_CLIENT:
        pytest.skip("Debian's lxd and lxd-client are not installed")
    if not (BUILD / "lxc").exists():
        pytest.skip(f"{BUILD}/lxc is not built")
    # containers with mapped ids must be able to reach their root file system, which pytest's own folders forbid
    tmp = pathlib.Path(tempfile.mkdtemp(prefix="lxd-client-", dir="/var/tmp"))
    tmp.chmod(0o755)
    request.addfinalizer(lambda: shutil.rmtree(tmp, ignore_errors=True))
    image = make_image(tmp)
    cert, fp = make_certificate(tmp)
    fill = lambda text: text.replace("{cert}", cert).replace("{fp}", fp).replace("{fp12}", fp[:12])
    spec = {"dir": str(tmp), "lxd": REFERENCE, "go": GO_CLIENT, "ours": str(BUILD / "lxc"), "read_only": list(map(fill, READ_ONLY)),
            "changes": [list(map(fill, group)) for group in CHANGES], "cert": cert,
            "setup": ["config set core.https_address 127.0.0.1:8443", f"config trust add {cert}", f"image import {image} --alias bb", "init bb c1 -c user.a=b", "config device override c1 root"]}
    (tmp / "inside.py").write_text(INSIDE)
    (tmp / "spec.json").write_text(json.dumps(spec))
    done = subprocess.run(namespace([sys.executable, tmp / "inside.py", tmp / "spec.json", tmp / "out.json"]),
                          capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr + (tmp / "lxd.log").read_text()[-2000:]
    out = json.loads((tmp / "out.json").read_text())
    assert all(rc == 0 for rc, _, _ in out["setup"]), out["setup"]
    return out["pairs"]


def make_certificate(tmp):
    """(path, fingerprint) of a client certificate, its key beside it."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-days", "3650",
                    "-subj", "/O=linuxcontainers.org/CN=some one@there", "-keyout", tmp / "cl.key", "-out", tmp / "cl.crt"],
                   check=True, capture_output=True)
    der = ssl.PEM_cert_to_DER_cert((tmp / "cl.crt").read_text())
    return str(tmp / "cl.crt"), hashlib.sha256(der).hexdigest()


def make_image(tmp):
    tree = tmp / "image"
    for name in ("bin", "sbin", "dev", "proc", "sys", "tmp", "etc", "root"):
        (tree / "rootfs" / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), tree / "rootfs/bin/busybox")
    for applet in ("sh", "true", "false", "echo", "cat", "pwd", "sleep", "init"):
        (tree / "rootfs/bin" / applet).symlink_to("busybox")
    (tree / "rootfs/sbin/init").symlink_to("../bin/busybox")
    (tree / "rootfs/etc/inittab").write_text("::respawn:/bin/sleep 100000\n")
    (tree / "metadata.yaml").write_text("architecture: x86_64\ncreation_date: 1424284563\nproperties:\n"
                                        "  description: busybox\n  os: busybox\n")
    subprocess.run(["tar", "-C", tree, "-czf", tmp / "bb.tar.gz", "metadata.yaml", "rootfs"], check=True)
    return tmp / "bb.tar.gz"


def normal(text):
    # the reference writes progress to pipes too: keep what the last carriage return left on the line
    lines = [re.sub(r"^.*\r", "", line).rstrip() for line in text.split("\n")]
    text = "\n".join(line for line in lines if line)
    for pattern, replacement in VOLATILE:
        text = re.sub(pattern, replacement, text)
    return text


def without_help(text):
    """Help texts are each project's own."""
    return "" if re.match(r"(Description|Usage):", text) else text


def test_exit_codes(pairs):
    differ = [(text, go[0], ours[0]) for text, go, ours in pairs if go[0] != ours[0]]
    assert not differ


def test_output(pairs):
    differ = []
    for text, go, ours in pairs:
        a, b = (without_help(normal(out[1])) for out in (go, ours))
        if text.startswith("image info"):   # the reference prints properties in random order
            a, b = sorted(a.split("\n")), sorted(b.split("\n"))
        if text.startswith("config trust list-tokens"):   # and operations as well
            a, b = sorted(re.split("[\n{}]", a)), sorted(re.split("[\n{}]", b))
        if a != b:
            differ.append((text, go[1], ours[1]))
    assert not differ


def without_hint(text):
    """The Go client adds this line, or not, by whether the operation had failed before it began to listen: a race of its own."""
    return re.sub(r"\n?Try `lxc info --show-log \S+` for more info", "", text)


def test_errors(pairs):
    differ = [(text, go[2], ours[2]) for text, go, ours in pairs if without_hint(normal(go[2])) != without_hint(normal(ours[2]))]
    assert not differ
