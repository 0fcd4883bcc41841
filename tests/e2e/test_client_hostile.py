"""Our client against servers that lie: what they send is neither a path, nor a reason to crash, nor raw for a terminal."""
import base64
import json
import os
import pathlib
import socket
import subprocess
import threading

import pytest

from helpers import streams
from helpers.client import OURS, ClientProgram
from helpers.fakelxd import SERVER, FakeLxd, error, sync
from helpers.tls import make_certificate

FINGERPRINT = "0123456789abcdef" * 4


class Nowhere:
    """No daemon at all, for clients of made-up servers."""

    def __init__(self, root):
        self.root = root

    def env(self, **more):
        return {**os.environ, "LXD_DIR": str(self.root / "no-daemon"), "HOME": str(self.root), **more}


@pytest.fixture
def lxc(tmp_path):
    return ClientProgram(Nowhere(tmp_path), OURS, tmp_path / "conf")


@pytest.fixture
def fake(lxc, tmp_path):
    """Makes a server that is remote f of the client."""
    started = []

    def start(routes=None, **kwargs):
        pem = streams.write_pem(tmp_path / "server.pem", *streams.make_leaf(streams.make_authority()))
        started.append(FakeLxd(pem, routes, **kwargs))
        lxc("remote", "add", "f", started[-1].address, "--accept-certificate")
        started[-1].asked()
        return started[-1]

    yield start
    for one in started:
        one.stop()


def files_below(directory):
    return sorted(str(path.relative_to(directory)) for path in pathlib.Path(directory).rglob("*") if path.is_file())


# `lxc image export`


def exported(name, headers=None, data=b"image"):
    return {"GET /1.0/images/aliases/a": (200, sync({"name": "a", "target": FINGERPRINT})),
            f"GET /1.0/images/{FINGERPRINT}/export":
                (200, (headers or {"Content-Type": "application/octet-stream", "Content-Disposition": f"inline;filename={name}"}, data))}


@pytest.mark.parametrize("target", ["../victim/file", "/etc/x", "..", FINGERPRINT.upper(), FINGERPRINT[:-1], FINGERPRINT + "0", FINGERPRINT + "/x"])
@pytest.mark.parametrize("by", ["alias", "fingerprint"])
def test_export_of_what_is_no_fingerprint(lxc, fake, tmp_path, target, by):
    one = fake({"GET /1.0/images/aliases/a": (200, sync({"target": target}))} if by == "alias" else
               {"GET /1.0/images/a": (200, sync({"fingerprint": target}))})
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    victim.mkdir()
    for command in (("image", "export", "f:a", out), ("image", "export", "f:a", out / "x"), ("image", "delete", "f:a"), ("image", "show", "f:a"),
                    ("image", "set-property", "f:a", "b", "c")):
        assert "is no fingerprint" in lxc.error(*command)
    assert files_below(out) == files_below(victim) == []
    assert not any("/export" in line or line.startswith(("DELETE", "PUT", "PATCH")) for line in one.asked())


@pytest.mark.parametrize("name, extension", [
    ("x.tar.xz", ".tar.xz"), ("x.squashfs", ".squashfs"), ("x.tar", ".tar"), ("x.tar/../../victim/file", ""), ("x./../victim/file", ""),
    ("x.tar/../../victim/file.tar", ".tar"), ("x.sh", ""), ("x", ""), (".tar.gz", ".tar.gz"),
])
def test_export_takes_no_path_from_a_file_name(lxc, fake, tmp_path, name, extension):
    fake(exported(name))
    out, victim = tmp_path / "out", tmp_path / "victim"
    for directory in (out, victim, out / "named.tar", out / "named."):
        directory.mkdir()
    lxc("image", "export", "f:a", out)
    lxc("image", "export", "f:a", out / "copy")
    assert files_below(out) == sorted([FINGERPRINT + extension, "copy" + extension]) and files_below(victim) == []


def test_export_takes_no_path_from_parts(lxc, fake, tmp_path):
    part = '--b\r\nContent-Disposition: form-data; name="{0}"; filename="{0}{1}"\r\n\r\n{0}\r\n'
    for n, (bad, extension) in enumerate([(".tar/../../victim/file", ""), (".tar.xz", ".tar.xz"), (".squashfs", ".squashfs")]):
        body = (part.format("metadata", bad) + part.format("rootfs", bad) + "--b--\r\n").encode()
        one = fake(exported("", {"Content-Type": "multipart/form-data; boundary=b"}, body))
        out = tmp_path / f"out{n}"
        (out / f"meta-{FINGERPRINT}.tar").mkdir(parents=True)
        (tmp_path / "victim").mkdir(exist_ok=True)
        lxc("image", "export", "f:a", out)
        assert files_below(out) == sorted([f"meta-{FINGERPRINT}{extension}", FINGERPRINT + extension])
        assert files_below(tmp_path / "victim") == []
        one.stop()
        lxc("remote", "remove", "f")


# Operations


OPERATION = {"id": "x", "class": "task", "status": "Running", "status_code": 103, "metadata": {"control": "s", "fs": "s", "fds": {}}}
INSTANCE = {"name": "c1", "type": "container", "status": "Stopped", "architecture": "x86_64", "config": {}, "devices": {}, "profiles": [],
            "expanded_config": {}, "expanded_devices": {}, "ephemeral": False, "stateful": False}
UUID = "01234567-89ab-cdef-0123-456789abcdef"
BAD_OPERATIONS = [None, "", "x", "/1.0/operations/", f"/1.0/operations/{UUID}/x", f"/1.0/instances/{UUID}", UUID, "/1.0/operations/../instances", 5]


def answer(kind, operation):
    reply = {"type": kind, "status": "Operation created", "status_code": 100, "metadata": OPERATION}
    return reply if operation is None else {**reply, "operation": operation}


@pytest.mark.parametrize("operation", BAD_OPERATIONS)
def test_answers_without_an_operation(lxc, fake, operation):
    extensions = [*SERVER["api_extensions"], "container_push", "container_push_target"]
    reply = answer("async", operation)
    one = fake({"GET /1.0": (200, sync({**SERVER, "api_extensions": extensions})), "GET /1.0/instances/c1": (200, sync(INSTANCE)),
                "POST /1.0/instances": (202, reply), "POST /1.0/instances/c1": (202, reply), "POST /1.0/instances/c1/exec": (202, reply),
                "PUT /1.0/instances/c1/state": (202, reply), "DELETE /1.0/instances/c1": (202, reply)})
    lxc("remote", "add", "g", one.address, "--accept-certificate")
    commands = [("exec", "f:c1", "--", "true"), ("stop", "f:c1"), ("delete", "f:c1"), ("query", "--wait", "-X", "POST", "f:/1.0/instances"),
                *(("copy", "f:c1", "g:c2", "--mode", mode) for mode in ("pull", "push", "relay"))]
    for command in commands:
        if command[0] == "query" and (not operation or operation == 5):
            continue  # nothing to wait for
        assert "names no operation" in lxc.error(*command)
    # an answer at once where an operation is needed
    for path in ("/1.0/instances", "/1.0/instances/c1", "/1.0/instances/c1/exec"):
        one.routes[f"POST {path}"] = (200, answer("sync", operation))
    for command in (commands[0], *commands[4:]):
        assert "names no operation" in lxc.error(*command)


# Texts for a terminal

ESCAPE = "\x1b]0;owned\x07\x1b[2Jx\u009b31m"


def test_no_escapes_on_a_terminal(lxc, fake):
    image = {"fingerprint": FINGERPRINT, "architecture": ESCAPE, "type": ESCAPE, "size": 1, "uploaded_at": ESCAPE, "expires_at": ESCAPE,
             "last_used_at": ESCAPE, "created_at": ESCAPE, "properties": {}, "aliases": [{"name": ESCAPE}], "public": True}
    environment = {**SERVER["environment"], "server_version": ESCAPE}
    done = {**answer("async", f"/1.0/operations/{UUID}"),
            "metadata": {**OPERATION, "status_code": 200, "resources": {"instances": [f"/1.0/instances/{ESCAPE}"]}}}
    fake({"GET /1.0": (200, sync({**SERVER, "environment": environment})),
          "GET /1.0/images/aliases/a": (200, sync({"target": FINGERPRINT})), f"GET /1.0/images/{FINGERPRINT}": (200, sync(image)),
          "GET /1.0/images": (200, sync([image])), "POST /1.0/instances": (202, done),
          f"GET /1.0/operations/{UUID}/wait": (200, sync(done["metadata"])), "GET /1.0/instances/c1": (200, sync(INSTANCE))})
    for command, code in ((("version", "f:"), 0), (("image", "info", "f:a"), 0), (("image", "list", "f:", "-c", "lFats"), 0),
                          (("image", "show", "f:a"), 0), (("--debug", "version", "f:"), 0), (("copy", "f:c1", "f:"), 0),
                          (("init", "f:a", "f:"), 1)):
        screen = lxc.terminal(*command, code=code)
        assert "\x1b" not in screen and "\x07" not in screen and "\x9b" not in screen, command
        assert "owned" in screen, command


def test_no_escapes_of_networks(lxc, fake):
    network = {"name": ESCAPE, "type": ESCAPE, "description": ESCAPE, "managed": True, "status": ESCAPE, "used_by": [ESCAPE], "locations": [ESCAPE],
               "config": {"ipv4.address": ESCAPE, ESCAPE: "x"}}
    state = {"hwaddr": ESCAPE, "mtu": 1500, "state": ESCAPE, "type": ESCAPE, "addresses": [{"family": ESCAPE, "address": ESCAPE, "netmask": ESCAPE, "scope": ESCAPE}],
             "bridge": {"id": ESCAPE, "upper_devices": [ESCAPE]}, "bond": {"mode": ESCAPE, "lower_devices": [ESCAPE, ESCAPE]}, "vlan": {"lower_device": ESCAPE}}
    lease = {"hostname": ESCAPE, "hwaddr": ESCAPE, "address": ESCAPE, "type": ESCAPE}
    fake({"GET /1.0/networks": (200, sync([network])), "GET /1.0/networks/n": (200, sync(network)), "GET /1.0/networks/n/state": (200, sync(state)),
          "GET /1.0/networks/n/leases": (200, sync([lease])), "GET /1.0/instances/c1": (200, sync({**INSTANCE, "devices": {ESCAPE: {"type": "nic", "network": "n"}}}))})
    for command in (("list", "f:"), ("list", "f:", "-f", "csv"), ("show", "f:n"), ("get", "f:n", "ipv4.address"), ("info", "f:n"), ("list-leases", "f:n"),
                    ("list-leases", "f:n", "-f", "compact")):
        screen = lxc.terminal("network", *command)
        assert "\x1b" not in screen and "\x07" not in screen and "\x9b" not in screen, command
        assert "owned" in screen, command
    screen = lxc.terminal("config", "device", "list", "f:c1")
    assert "owned" in screen and "\x1b" not in screen


@pytest.mark.parametrize("odd", [None, 5, "x", [], {}, [None, 5, [], {}], {"addresses": [5, None], "counters": 5, "bridge": {"upper_devices": {"a": 5}}, "used_by": [None, 5]},
                                 {"name": 5, "type": [], "config": 7, "managed": "yes", "used_by": {"a": 1}, "devices": 5}])
def test_networks_of_no_known_shape(lxc, fake, odd):
    """Whatever comes: an error or an empty field, no crash."""
    routes = {f"GET /1.0/{path}": (200, sync(odd)) for path in ("networks", "networks/n", "networks/n/state", "networks/n/leases", "instances/c1", "profiles/p")}
    fake({**routes, **{f"PUT /1.0/{path}": (200, sync({})) for path in ("networks/n", "instances/c1", "profiles/p")}})
    for command in ("list f:", "show f:n", "get f:n x", "set f:n a=b", "unset f:n a", "info f:n", "list-leases f:n", "attach f:n c1", "attach-profile f:n p e n",
                    "detach f:n c1", "detach-profile f:n p e"):
        done = subprocess.run([OURS, "network", *command.split()], env=lxc.env(), stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
        assert done.returncode in (0, 1), (command, done)


def test_debug_hides_passwords(lxc, tmp_path):
    routes = {"GET /1.0": (200, sync({**SERVER, "auth": "untrusted"})), "POST /1.0/certificates": (201, sync({"secret": "sesame", "password": 'a"b'}))}
    one = FakeLxd(streams.write_pem(tmp_path / "s.pem", *streams.make_leaf(streams.make_authority())), routes)
    err = lxc.error("--debug", "remote", "add", "f", one.address, "--accept-certificate", "--password", 'hun"ter2')
    assert "POST /1.0/certificates" in err and '"password":"***"' in err.replace('": "', '":"')
    assert "hun" not in err and "ter2" not in err and "sesame" not in err
    assert [json.loads(body)["password"] for method, _, body in one.requests if method == "POST"] == ['hun"ter2']
    one.stop()


# `lxc remote add` by token


def make_token(one, fingerprint=None, **more):
    return base64.b64encode(json.dumps({"client_name": "x", "fingerprint": fingerprint or one.fingerprint, "addresses": [one.address],
                                        "secret": "0" * 64, "expires_at": "0001-01-01T00:00:00Z", **more}).encode()).decode()


class Swap:
    """Passes the first connection on to @first, all others to @second."""

    def __init__(self, first, second):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.ports = [first.port]
        self.other = second.port
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            near, _ = self.listener.accept()
            far = socket.create_connection(("127.0.0.1", self.ports.pop() if self.ports else self.other))
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self.copy, args=(a, b), daemon=True).start()

    @staticmethod
    def copy(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.mark.parametrize("by", ["system", "client.ca"])
def test_token_binds_every_connection(lxc, tmp_path, by):
    """An authority that vouches for another server does not get it the secret."""
    authority = streams.make_authority()
    untrusted = {"GET /1.0": (200, sync({**SERVER, "auth": "untrusted"})), "POST /1.0/certificates": (201, sync(None))}
    right, wrong = (FakeLxd(streams.write_pem(tmp_path / f"{name}.pem", *streams.make_leaf(authority)), dict(untrusted)) for name in ("right", "wrong"))
    bundle = streams.write_pem(lxc.dir / "client.ca" if by == "client.ca" else tmp_path / "bundle.pem", authority[0])
    env = {"SSL_CERT_FILE": str(bundle)} if by == "system" else {}
    swap = Swap(right, wrong)
    text = make_token(right, addresses=[swap.address])
    lxc.error("remote", "add", "t", text, **env)
    assert wrong.asked() == [] and wrong.handshakes > 0
    # the same without a swap reaches the right one
    lxc.error("remote", "add", "t", make_token(right), **env)
    assert "POST /1.0/certificates" in right.asked()
    right.stop()
    wrong.stop()


def test_token_needs_a_name(lxc, tmp_path):
    one = FakeLxd(streams.write_pem(tmp_path / "s.pem", *streams.make_leaf(streams.make_authority())))
    text = make_token(one)
    for args in ((text,), ("x" * 300, text), (text, text)):
        err = lxc.error("remote", "add", *args)
        assert ("A name is needed with a token: lxc remote add NAME TOKEN" if len(args) == 1 else "too long") in err
    assert one.handshakes == 0 and one.asked() == []
    lxc("remote", "add", "t", text)
    one.stop()


# Refused, cut off, warned


@pytest.mark.parametrize("auth, hint", [("untrusted", "lxc config trust add"), ("trusted", "Your certificate is restricted on this server"), (None, None)])
def test_hint_after_a_refusal(lxc, fake, auth, hint):
    one = fake({"GET /1.0/instances": (403, error(403, "not authorized"))})
    one.routes["GET /1.0"] = (200, sync({**SERVER, "auth": auth}))
    lines = lxc.error("list", "f:").splitlines()
    assert lines[0] == "Error: not authorized"
    assert hint in lines[1] if hint else len(lines) == 1
    assert one.asked().count("GET /1.0") == 1


def test_hint_only_where_it_belongs(lxc, fake):
    one = fake({"GET /1.0/instances": (403, error(403, "no such thing"))})
    assert lxc.error("list", "f:") == "Error: no such thing\n"
    assert "GET /1.0" not in one.asked()


@pytest.mark.parametrize("frame, told", [(b"", "close 1006 (abnormal closure): unexpected EOF"), (b"\x81\x05ab", "close 1006"), (b"\x88\x02\x03\xe8", "close 1000"),
                                         (b"\x88\x02\x03\xe9", "close 1001")])
def test_monitor_that_is_cut(lxc, fake, frame, told):
    one = fake()
    one.upgrades["/1.0/events"] = frame
    assert f"Error: websocket: {told}" in lxc.error("monitor", "f:")


def test_projects_without_restriction(lxc, fake, tmp_path):
    fake({"POST /1.0/certificates": (201, sync(None))})
    warning = "Warning: without --restricted the projects are not a restriction: the client gets full access\n"
    crt = lxc.dir / "client.crt"
    assert lxc("config", "trust", "add", "f:", crt, "--projects", "a,b")[1] == warning
    for more in ((), ("--restricted",), ("--restricted", "--projects", "a")):
        assert lxc("config", "trust", "add", "f:", crt, *more)[1] == ""


# The client's own key pair


def test_damaged_key_pair(lxc, fake, tmp_path):
    one = fake()
    crt, key = lxc.dir / "client.crt", lxc.dir / "client.key"
    good = crt.read_text(), key.read_text()
    other = make_certificate(tmp_path / "other", "other")
    begin, end = "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n"
    for bad_crt in ("", "junk", begin + "AAAA\n" + end, begin + "!!!\n" + end, good[1]):
        crt.write_text(bad_crt)
        assert f"{crt} holds no certificate" in lxc.error("list", "f:"), bad_crt
    crt.write_text(good[0])
    for bad_key in ("", "junk", good[0]):
        key.write_text(bad_key)
        assert f"{key} holds no private key" in lxc.error("list", "f:"), bad_key
    key.write_text(pathlib.Path(other.key).read_text())
    err = lxc.error("list", "f:")
    assert "do not match" in err and str(crt) in err and str(key) in err
    assert one.asked() == []


# `lxc file pull --recursive`


def file_route(names, kind="directory"):
    headers = {"Content-Type": "application/json", "X-LXD-type": kind, "X-LXD-mode": "4777", "X-LXD-uid": "0", "X-LXD-gid": "0"}
    return {"GET /1.0/instances/c1/files": (200, (headers, json.dumps(sync(names)).encode() if kind == "directory" else names))}


@pytest.mark.parametrize("names, text", [(["../evil"], "refused"), (["/tmp/lxd-e2e-evil"], "refused"), ([".."], "refused"), (["."], "refused"), (["a/b"], "refused"),
                                         ([""], "refused"), ([7], "no texts"), (["deep"], "folders deep")])
def test_pull_of_names_that_lead_out(lxc, fake, tmp_path, names, text):
    fake(file_route(names))
    (tmp_path / "out").mkdir()
    assert text in lxc.error("file", "pull", "-r", "f:c1/d", tmp_path / "out")
    assert files_below(tmp_path / "out") == [] and [p.name for p in (tmp_path / "out").iterdir()] == ["d"]


def test_pull_does_not_follow_links_in_the_target(lxc, fake, tmp_path):
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.mkdir()
    out.mkdir()
    (victim / "f").write_text("mine")
    (out / "d").symlink_to(victim)
    fake(file_route(["f"]))
    assert "d: " in lxc.error("file", "pull", "-r", "f:c1/d", out)
    assert (victim / "f").read_text() == "mine" and files_below(victim) == ["f"]


def test_pull_of_links_without_end_and_of_nothing_known(lxc, fake, tmp_path):
    fake(file_route(b"/round", "symlink"))
    assert "too many links" in lxc.error("file", "pull", "f:c1/round", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_pull_of_what_has_no_type(lxc, fake, tmp_path):
    fake(file_route(b"data", "socket"))
    assert "does not say what" in lxc.error("file", "pull", "f:c1/s", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_pull_takes_no_setuid_bit(lxc, fake, tmp_path):
    fake(file_route(b"data", "file"))
    lxc("file", "pull", "f:c1/s", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"data" and (tmp_path / "x").stat().st_mode & 0o7777 == 0o777


def test_file_mount_says_why_not(lxc):
    assert "SFTP" in lxc.error("file", "mount", "c1", "/mnt")
