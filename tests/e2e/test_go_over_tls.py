"""Debian's Go client 5.0.2 as a remote client of our daemon: spec auth.md section 11 as far as it is a client's."""
import base64
import csv
import hashlib
import io
import json
import os
import subprocess
import threading
import time

import pytest
import yaml

from helpers.daemon import BIN, REFERENCE, eventually
from helpers.authority import EasyRsa, root, self_signed
from helpers.terminal import dialogue
from helpers.tls import TlsClient, make_certificate, server_fingerprint

GO = "/usr/bin/lxc"
PASSWORD = "foo"
ADDRESS = "127.0.0.1:8443"

pytestmark = pytest.mark.skipif(not os.path.exists(GO), reason="Debian's lxd-client is not installed")


@pytest.fixture(scope="module")
def server(daemon):
    reply = daemon.api.patch("/1.0", {"config": {"core.https_address": ADDRESS, "core.trust_password": PASSWORD}})
    assert reply.status == 200, reply
    eventually(server_is_up)
    return daemon


def server_is_up():
    try:
        return TlsClient().get("/1.0")
    except OSError:
        return None


class Go:
    """The Go client with a configuration folder of its own."""

    def __init__(self, daemon, directory):
        self.daemon, self.conf = daemon, directory
        directory.mkdir(parents=True)
        self.env = daemon.env(LXD_CONF=str(directory))

    def run(self, *args, stdin=None, timeout=120):
        return subprocess.run([GO, *map(str, args)], env=self.env, input=stdin, capture_output=True, text=True, timeout=timeout,
                              check=False, **({} if stdin is not None else {"stdin": subprocess.DEVNULL}))

    def __call__(self, *args, **kwargs):
        result = self.run(*args, **kwargs)
        assert result.returncode == 0, result
        return result.stdout

    def fails(self, *args, **kwargs):
        result = self.run(*args, **kwargs)
        assert result.returncode == 1, result
        return result.stderr.splitlines()[-1].removeprefix("Error: ")

    def asked(self, *args, steps):
        return dialogue([GO, *args], steps, self.env)

    def add(self, name="m"):
        self("remote", "add", name, ADDRESS, "--accept-certificate", "--password", PASSWORD)
        return self

    def csv(self, *args):
        return list(csv.reader(io.StringIO(self(*args, "-f", "csv"))))

    @property
    def config(self):
        path = self.conf / "config.yml"
        return yaml.safe_load(path.read_text()) if path.exists() else {"remotes": {}}

    def pinned(self, name="m"):
        path = self.conf / "servercerts" / f"{name}.crt"
        return path.read_text() if path.exists() else None

    @property
    def fingerprint(self):
        pem = (self.conf / "client.crt").read_text()
        return hashlib.sha256(subprocess.run(["openssl", "x509", "-outform", "DER"], input=pem.encode(), capture_output=True, check=True).stdout).hexdigest()


@pytest.fixture
def make_go(server):
    """make_go(): a new user; what they were trusted by is taken away afterwards."""
    made = []

    def make():
        made.append(Go(server, server.root / f"conf-{time.time_ns()}"))
        return made[-1]

    yield make
    for go in made:
        if (go.conf / "client.crt").exists():
            server.api.delete(f"/1.0/certificates/{go.fingerprint}")


@pytest.fixture
def go(make_go):
    return make_go()


@pytest.fixture(scope="module")
def trusted(server):
    """A user whose remote m: is added, for the tests of commands."""
    return Go(server, server.root / "conf-trusted").add()


def token_for(*args, go):
    """What `lxc config trust add` prints, by the default remote: this client takes a lone "remote:" for a file."""
    return go("config", "trust", "add", "--name", *args, "-q").strip()


def decoded(token):
    return json.loads(base64.b64decode(token))


def encoded(**fields):
    return base64.b64encode(json.dumps(fields, separators=(",", ":")).encode()).decode()


def trust_list(server):
    return {c["fingerprint"]: c for c in server.api.get("/1.0/certificates?recursion=1")}


# remote add


def test_password(server, go):
    text = go("remote", "add", "m", ADDRESS, "--accept-certificate", "--password", PASSWORD)
    assert "Client certificate now trusted by server: m" in text
    assert go.config["remotes"]["m"] == {"addr": f"https://{ADDRESS}", "auth_type": "tls", "project": "default", "protocol": "lxd", "public": False}
    assert go.pinned() == (server.dir / "server.crt").read_text()
    entry = trust_list(server)[go.fingerprint]
    assert entry["type"] == "client" and not entry["restricted"]
    assert go("list", "m:") is not None
    # trusted now: another name needs no password
    assert "now trusted" not in go("remote", "add", "again", ADDRESS, "--accept-certificate")
    assert go.fails("remote", "add", "m", ADDRESS) == f"Remote m exists as <https://{ADDRESS}>"


@pytest.mark.parametrize("answer", ["y", "YES", "fingerprint"])
def test_prompts(server, go, answer):
    fingerprint = server_fingerprint()
    status, text = go.asked("remote", "add", "m", ADDRESS, steps=[
        ("ok (y/n/[fingerprint])? ", fingerprint if answer == "fingerprint" else answer),
        ("assword", PASSWORD)])
    assert status == 0, text
    assert f"Certificate fingerprint: {fingerprint}" in text and "Admin password (or token) for m:" in text
    assert "Client certificate now trusted by server: m" in text and PASSWORD not in text.replace("Admin password", "")
    assert go("info", "m:") and "m" in go.config["remotes"]


@pytest.mark.parametrize("answer,error", [
    ("n", "Server certificate NACKed by user"), ("", "Server certificate NACKed by user"),
    ("x", "Please type 'y', 'n' or the fingerprint:"), ("0" * 64, "Please type 'y', 'n' or the fingerprint:"),
])
def test_refused_prompts(go, answer, error):
    status, text = go.asked("remote", "add", "m", ADDRESS, steps=[("ok (y/n/[fingerprint])? ", answer)])
    assert status == 1 and error in text
    assert "m" not in go.config["remotes"] and go.pinned() is None


def test_wrong_password(server, go):
    assert go.fails("remote", "add", "m", ADDRESS, "--accept-certificate", "--password", "wrong") == "not authorized"
    status, text = go.asked("remote", "add", "m", ADDRESS, "--accept-certificate", steps=[("assword", "wrong too")])
    assert status == 1 and "Error: not authorized" in text
    assert "m" not in go.config["remotes"] and go.fingerprint not in trust_list(server)
    # and a right one after them, at once
    go.add()


def test_no_password_is_set(server, go):
    """The same words as for a wrong one: nobody learns whether there is one."""
    assert server.api.patch("/1.0", {"config": {"core.trust_password": ""}}).status == 200
    try:
        assert go.fails("remote", "add", "m", ADDRESS, "--accept-certificate", "--password", PASSWORD) == "not authorized"
    finally:
        assert server.api.patch("/1.0", {"config": {"core.trust_password": PASSWORD}}).status == 200


def test_nobody_there(go):
    error = go.fails("remote", "add", "m", "127.0.0.1:1", "--accept-certificate", "--password", PASSWORD)
    assert error.startswith('Get "https://127.0.0.1:1": Unable to connect to: 127.0.0.1:1') and "m" not in go.config["remotes"]


def test_ipv6(server, go):
    assert server.api.patch("/1.0", {"config": {"core.https_address": ":8443"}}).status == 200
    try:
        eventually(lambda: TlsClient(host="::1").get("/1.0"))
        go("remote", "add", "six", "[::1]", "--accept-certificate", "--password", PASSWORD)
        assert go.config["remotes"]["six"]["addr"] == "https://[::1]:8443"
        assert go("list", "six:") is not None
    finally:
        assert server.api.patch("/1.0", {"config": {"core.https_address": ADDRESS}}).status == 200
        eventually(server_is_up)


def test_public(server, go):
    go("remote", "add", "p", ADDRESS, "--public", "--accept-certificate")
    assert go.config["remotes"]["p"]["public"] is True
    assert go.csv("image", "list", "p:") == []
    image = server.api.get(f"/1.0/images/{server.fingerprint}")
    assert server.api.put(f"/1.0/images/{server.fingerprint}", {**image, "public": True}).status == 200
    try:
        (row,) = go.csv("image", "list", "p:")
        assert server.fingerprint.startswith(row[1]) and row[0] == "bb"
        go("image", "export", "p:bb", str(go.conf / "exported"))
        exported = next(go.conf.glob("exported*"))
        assert hashlib.sha256(exported.read_bytes()).hexdigest() == server.fingerprint
    finally:
        assert server.api.put(f"/1.0/images/{server.fingerprint}", {**image, "public": False}).status == 200
    assert go.csv("image", "list", "p:") == []
    assert go.fails("list", "p:") == "The remote isn't a private LXD server"


def test_projects(server, go):
    assert "not found" in go.fails("remote", "add", "m", ADDRESS, "--accept-certificate", "--password", PASSWORD, "--project", "nosuch").lower()
    assert "m" not in go.config["remotes"]
    go("remote", "add", "m", ADDRESS, "--accept-certificate", "--project", "default")
    assert go.config["remotes"]["m"]["project"] == "default"
    assert "m" in go.csv("remote", "list")[[row[0] for row in go.csv("remote", "list")].index("m")]


def test_remote_commands(go):
    go.add()
    go("remote", "rename", "m", "n")
    assert go.pinned("m") is None and go.pinned("n")
    go("remote", "switch", "n")
    assert go("remote", "get-default").strip() == "n"
    assert go("list") is not None
    assert go.fails("remote", "remove", "n") == "Can't remove the default remote"
    go("remote", "switch", "local")
    go("remote", "set-url", "n", "https://127.0.0.1:1")
    assert "connect" in go.fails("list", "n:")
    go("remote", "remove", "n")
    assert go.pinned("n") is None
    # the server still trusts us
    assert "now trusted" not in go("remote", "add", "m", ADDRESS, "--accept-certificate")


# Tokens


def test_token(server, make_go):
    admin, user, late = make_go(), make_go(), make_go()
    token = token_for("tess", go=admin)
    fields = decoded(token)
    assert list(fields) == ["client_name", "fingerprint", "addresses", "secret", "expires_at"]
    assert fields["client_name"] == "tess" and fields["fingerprint"] == server_fingerprint() and fields["addresses"] == [ADDRESS]
    assert len(fields["secret"]) == 64
    if not REFERENCE:  # ours ends after a day
        assert fields["expires_at"] > time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 23 * 3600))
    assert user("remote", "add", "m", token) == ""
    assert trust_list(server)[user.fingerprint]["name"] == "tess"
    assert user("list", "m:") is not None and user.config["remotes"]["m"]["addr"] == f"https://{ADDRESS}"
    assert late.fails("remote", "add", "m", token).endswith("No matching certificate add operation found")
    assert late.config["remotes"].get("m") is None


def test_token_as_password(server, make_go):
    admin, user, third = make_go(), make_go(), make_go()
    user("remote", "add", "m", ADDRESS, "--accept-certificate", "--password", token_for("flag", go=admin))
    assert trust_list(server)[user.fingerprint]["name"] == "flag"
    status, text = third.asked("remote", "add", "m", ADDRESS, "--accept-certificate",
                               steps=[("assword (or token)", token_for("typed", go=admin))])
    assert status == 0 and trust_list(server)[third.fingerprint]["name"] == "typed", text


def test_token_with_a_dead_address(server, make_go):
    admin, user = make_go(), make_go()
    fields = decoded(token_for("two-addresses", go=admin))
    user("remote", "add", "m", encoded(**{**fields, "addresses": ["127.0.0.1:1", ADDRESS]}))
    assert user.config["remotes"]["m"]["addr"] == f"https://{ADDRESS}"


def test_token_of_another_server(server, make_go):
    admin, user = make_go(), make_go()
    fields = decoded(token_for("mismatch", go=admin))
    error = user.fails("remote", "add", "m", encoded(**{**fields, "fingerprint": "0" * 64}))
    assert error == f'Certificate fingerprint mismatch between certificate token and server "https://{ADDRESS}"'
    assert "m" not in user.config["remotes"] and user.fingerprint not in trust_list(server)
    user("remote", "add", "m", encoded(**fields))  # it was not used up


def test_list_and_revoke_tokens(server, make_go):
    admin, user = make_go(), make_go()
    admin.add()
    admin("remote", "switch", "m")
    token = token_for("soon", go=admin)
    listed = {row[0]: row[1] for row in admin.csv("config", "trust", "list-tokens", "m:")}
    assert listed["soon"] == token
    assert [t for t in json.loads(admin("config", "trust", "list-tokens", "m:", "-f", "json")) if t["ClientName"] == "soon"][0]["Token"] == token
    assert admin("config", "trust", "revoke-token", "m:soon").strip() == "Certificate add token for soon deleted"
    assert user.fails("remote", "add", "m", token).endswith("No matching certificate add operation found")
    assert "No certificate add token for member soon on remote: m" in admin.fails("config", "trust", "revoke-token", "m:soon")


def test_token_asks_for_a_name(server, go):
    go.add()
    go("remote", "switch", "m")
    status, text = go.asked("config", "trust", "add", steps=[("Please provide client name: ", "asked")])
    assert status == 0 and "Client asked certificate add token:" in text, text
    go("config", "trust", "revoke-token", "m:asked")


def test_expired_token(server, make_go):
    admin, user = make_go(), make_go()
    assert server.api.patch("/1.0", {"config": {"core.remote_token_expiry": "1S"}}).status == 200
    try:
        token = token_for("brief", go=admin)
    finally:
        assert server.api.patch("/1.0", {"config": {"core.remote_token_expiry": ""}}).status == 200
    time.sleep(2)
    error = user.fails("remote", "add", "m", token)
    assert "Token has expired" in error or "No matching certificate add operation" in error  # after it has been swept away
    assert user.fingerprint not in trust_list(server)


@pytest.mark.ours
def test_token_survives_a_restart(server, make_go):
    admin, user = make_go(), make_go()
    token = token_for("patient", go=admin)
    server.restart()
    eventually(server_is_up)
    assert "patient" in [row[0] for row in admin.csv("config", "trust", "list-tokens", "local:")]
    user("remote", "add", "m", token)
    assert trust_list(server)[user.fingerprint]["name"] == "patient"


def test_restricted_token(server, make_go):
    admin, user = make_go(), make_go()
    token = token_for("fenced", "--restricted", "--projects", "default", go=admin)
    user("remote", "add", "m", token)
    entry = trust_list(server)[user.fingerprint]
    assert entry["restricted"] and entry["projects"] == ["default"] and entry["name"] == "fenced"
    assert user("list", "m:") is not None
    # not `config set`: this client does not survive that the configuration is hidden from it
    assert user.fails("query", "-X", "PATCH", "-d", '{"config": {"user.x": "1"}}', "m:/1.0") == "not authorized"
    assert user.fails("config", "trust", "remove", f"m:{user.fingerprint}") == "not authorized"
    user("remote", "switch", "m")
    assert user.fails("config", "trust", "add", "--name", "more") == "not authorized"


# What changes on the server's side


def test_revoked_trust(server, go):
    go.add()
    assert server.api.delete(f"/1.0/certificates/{go.fingerprint[:12]}").status == 200
    assert go.fails("list", "m:") == "not authorized"
    info = yaml.safe_load(go("info", "m:"))
    assert info["auth"] == "untrusted" and not info["environment"]["server"]
    assert go.fails("exec", "m:x", "true") == "not authorized"
    # the remote stays as it is until it is removed and added again
    go("remote", "remove", "m")
    go.add()
    assert go("list", "m:") is not None


@pytest.mark.ours
def test_changed_server_certificate(server, go):
    """Not a byte reaches a server whose certificate is another one, and the pin stays."""
    go.add()
    pinned = go.pinned()
    kept = {name: (server.dir / name).read_bytes() for name in ("server.crt", "server.key")}
    before = server_fingerprint()
    for name in kept:
        (server.dir / name).unlink()
    eventually(lambda: server_fingerprint() != before, what="a new certificate")
    try:
        for command in (("list", "m:"), ("info", "m:"), ("launch", "bb", "m:x")):
            error = go.fails(*command)
            assert "x509:" in error and error.startswith("Get \"https://127.0.0.1:8443/1.0"), error
        assert go.pinned() == pinned and go.pinned() != (server.dir / "server.crt").read_text()
        # taken out and added again, by hand, it is the new one
        go("remote", "remove", "m")
        go("remote", "add", "m", ADDRESS, "--accept-certificate")
        assert go.pinned() == (server.dir / "server.crt").read_text() and go("list", "m:") is not None
    finally:
        for name, data in kept.items():
            (server.dir / name).write_bytes(data)
        eventually(lambda: server_fingerprint() == before, what="the old certificate")


# Commands on the remote


def test_instances(server, trusted, name):
    go, copy = trusted, server.new_name()
    go("launch", "m:bb", f"m:{name}", "-q")
    rows = {row[0]: row[1] for row in go.csv("list", "m:", "-c", "ns")}
    assert rows[name] == "RUNNING"
    result = go.run("exec", f"m:{name}", "--", "sh", "-c", "cat; echo err >&2; exit 7", stdin="in\n")
    assert (result.returncode, result.stdout, result.stderr) == (7, "in\n", "err\n")
    status, text = dialogue([GO, "exec", f"m:{name}", "--", "sh", "-c", "echo ready; read x; echo got $x; tty"], [("ready", "hello")], go.env)
    assert status == 0 and (REFERENCE or "got hello" in text and "/dev/pts/" in text), text  # the reference loses the end
    go("config", "set", f"m:{name}", "user.key=value")
    assert go("config", "get", f"m:{name}", "user.key") == "value\n"
    assert yaml.safe_load(go("config", "show", f"m:{name}"))["config"]["user.key"] == "value"
    assert name in go("info", f"m:{name}") and "RUNNING" in go("info", f"m:{name}")
    go("pause", f"m:{name}")
    go("start", f"m:{name}")
    go("stop", f"m:{name}", "--force")
    go("copy", f"m:{name}", f"m:{copy}")
    assert yaml.safe_load(go("config", "show", f"m:{copy}"))["config"]["user.key"] == "value"
    moved = server.new_name()
    go("move", f"m:{copy}", f"m:{moved}")
    assert {row[0] for row in go.csv("list", "m:", "-c", "n")} >= {name, moved}
    go("delete", f"m:{name}", f"m:{moved}")
    assert "not found" in go.fails("info", f"m:{name}").lower()
    assert not {row[0] for row in go.csv("list", "m:", "-c", "n")} & {name, moved, copy}


def test_monitor(server, trusted, name):
    process = subprocess.Popen([GO, "monitor", "m:", "--type", "lifecycle", "-f", "json"], env=trusted.env, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, text=True)
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(process.stdout))
    reader.start()
    try:
        def there():
            server.api.patch("/1.0", {"config": {"user.tick": str(time.time_ns())}})
            time.sleep(0.1)
            return seen

        eventually(there, what="the stream is open")
        trusted("init", "m:bb", f"m:{name}", "-q")
        eventually(lambda: any("instance-created" in line and name in line for line in seen), what="the event")
        created = json.loads(next(line for line in seen if "instance-created" in line))
        if not REFERENCE:  # it tells who asked only where no operation is in between
            requestor = created["metadata"]["requestor"]
            assert requestor["username"] == trusted.fingerprint and requestor["protocol"] == "tls" and requestor["address"].startswith("127.0.0.1:")
    finally:
        process.terminate()
        process.wait(10)
        reader.join()


def test_operations_and_query(trusted):
    for row in trusted.csv("operation", "list", "m:"):
        assert row[3] in ("SUCCESS", "RUNNING", "FAILURE", "CANCELLED"), row  # a token that was taken back
    assert json.loads(trusted("query", "m:/1.0"))["auth"] == "trusted"
    assert trusted.fails("query", "m:/1.0/nosuch") == "not found"
    assert trusted("profile", "show", "m:default") and trusted.csv("storage", "list", "m:")


def test_server_config(server, trusted):
    trusted("config", "set", "m:", "user.from=afar")
    assert trusted("config", "get", "m:", "user.from") == "afar\n"
    assert trusted("config", "get", "m:", "core.trust_password") == "true\n"
    shown = yaml.safe_load(trusted("config", "show", "m:"))["config"]
    assert shown["user.from"] == "afar" and shown["core.trust_password"] in (True, "true")
    trusted("config", "unset", "m:", "user.from")
    info = yaml.safe_load(trusted("info", "m:"))
    assert info["environment"]["certificate_fingerprint"] == server_fingerprint() and info["environment"]["addresses"] == [ADDRESS]


def test_images(server, trusted):
    out = trusted.conf / "images"
    out.mkdir()
    trusted("image", "export", "m:bb", str(out / "bb"))
    (file,) = out.glob("bb*")
    assert hashlib.sha256(file.read_bytes()).hexdigest() == server.fingerprint
    trusted("image", "alias", "create", "m:second", server.fingerprint)
    assert trusted.csv("image", "list", "m:second")[0][1] == server.fingerprint[:12]
    trusted("image", "alias", "delete", "m:second")
    # a new one: another compression of the same content
    from helpers import images

    (out / "gz").write_bytes(images.busybox("gz", label="go-remote"))
    text = trusted("image", "import", str(out / "gz"), "m:", "--alias", "imported")
    fingerprint = hashlib.sha256((out / "gz").read_bytes()).hexdigest()
    assert fingerprint in text
    assert "imported" in trusted("image", "info", "m:imported")
    trusted("image", "delete", "m:imported")
    assert "not found" in trusted.fails("image", "info", "m:imported").lower()


def test_trust_commands(server, trusted):
    certificate = make_certificate(server.root / "certs", "colleague")
    metrics = make_certificate(server.root / "certs", "prometheus")
    trusted("config", "trust", "add", "m:", str(certificate.crt), "--name", "col")
    trusted("config", "trust", "add", "m:", str(metrics.crt), "--type", "metrics", "--restricted", "--projects", "default")
    rows = {row[3]: row for row in trusted.csv("config", "trust", "list", "m:")}
    row = rows[certificate.fingerprint[:12]]
    assert row[:3] == ["client", "col", "colleague"] and "UTC" in row[4] and "UTC" in row[5]
    assert rows[metrics.fingerprint[:12]][:2] == ["metrics", "prometheus.crt"]
    listed = {c["fingerprint"]: c for c in json.loads(trusted("config", "trust", "list", "m:", "-f", "json"))}
    assert listed[metrics.fingerprint]["restricted"] and listed[metrics.fingerprint]["projects"] == ["default"]
    shown = yaml.safe_load(trusted("config", "trust", "show", f"m:{certificate.fingerprint[:12]}"))
    assert shown["name"] == "col" and shown["certificate"] == certificate.pem and shown["restricted"] is False
    assert TlsClient(certificate).get("/1.0")["auth"] == "trusted"
    trusted("config", "trust", "edit", f"m:{certificate.fingerprint}", stdin=yaml.safe_dump({**shown, "name": "edited", "restricted": True, "projects": ["default"]}))
    assert trust_list(server)[certificate.fingerprint]["name"] == "edited"
    assert TlsClient(certificate).patch("/1.0", {"config": {}}).status == 403
    assert "already in trust store" in trusted.fails("config", "trust", "add", "m:", str(certificate.crt))
    for fingerprint in (certificate.fingerprint[:12], metrics.fingerprint):
        trusted("config", "trust", "remove", f"m:{fingerprint}")
    assert not {certificate.fingerprint, metrics.fingerprint} & set(trust_list(server))
    assert trusted.fails("config", "trust", "show", "m:ffffffffffff") == "Certificate not found"


# PKI


@pytest.fixture(scope="module")
def authority(server):
    folder = server.root / "pki"
    folder.mkdir()
    return EasyRsa(folder, "go-ca")


@pytest.fixture
def signed_server(server, authority, request):
    """The daemon with a certificate that the CA signed for localhost; and, for "mutual", with server.ca."""
    kept = {name: (server.dir / name).read_bytes() for name in ("server.crt", "server.key")}
    pair = next((c for c in [getattr(authority, "pair", None)] if c), None) or authority.server("localhost", "DNS:localhost", "IP:127.0.0.1")
    authority.pair = pair
    server.stop()
    (server.dir / "server.crt").write_bytes(pair.crt.read_bytes())
    (server.dir / "server.key").write_bytes(pair.key.read_bytes())
    if getattr(request, "param", None) == "mutual":
        (server.dir / "server.ca").write_text(authority.pem)
    server.start()
    eventually(server_is_up)
    yield server
    server.stop()
    (server.dir / "server.ca").unlink(missing_ok=True)
    for name, data in kept.items():
        (server.dir / name).write_bytes(data)
    server.start()
    eventually(server_is_up)


def test_ca_known_to_the_client(signed_server, authority, make_go):
    """A server that client.ca vouches for: no fingerprint is shown, none pinned."""
    go, other = make_go(), make_go()
    (go.conf / "client.ca").write_text(authority.pem)
    status, text = go.asked("remote", "add", "m", "localhost:8443", steps=[("assword", PASSWORD)])
    assert status == 0 and "fingerprint" not in text.replace("Generating", ""), text
    assert go.pinned() is None and go("list", "m:") is not None
    # another name than the certificate's, and another CA: the ordinary way
    (other.conf / "client.ca").write_text(root(signed_server.root / "pki", "foreign-ca").pem)
    status, text = other.asked("remote", "add", "m", ADDRESS, steps=[("ok (y/n/[fingerprint])? ", "y"), ("assword", PASSWORD)])
    assert status == 0 and other.pinned() == (signed_server.dir / "server.crt").read_text(), text
    assert other("list", "m:") is not None


def give(go, certificate):
    (go.conf / "client.crt").write_bytes(certificate.crt.read_bytes())
    (go.conf / "client.key").write_bytes(certificate.key.read_bytes())
    (go.conf / "client.key").chmod(0o600)


@pytest.mark.parametrize("signed_server", ["mutual"], indirect=True)
def test_pki_both_ways(signed_server, authority, make_go):
    """The reference's own table: signed with and without the password, let in by the CA, self-signed."""
    server = signed_server
    by_password, by_ca, alien = make_go(), make_go(), make_go()
    for go in (by_password, by_ca, alien):
        (go.conf / "client.ca").write_text(authority.pem)
    give(by_password, authority.client("by-password"))
    give(by_ca, authority.client("by-ca"))
    give(alien, self_signed(server.root / "pki", "alien"))
    assert by_password.fails("remote", "add", "m", ADDRESS, "--password", "wrong") == "not authorized"
    by_password("remote", "add", "m", ADDRESS, "--password", PASSWORD)
    assert by_password.pinned() is None and by_password("list", "m:") is not None
    assert by_password.fingerprint in trust_list(server)
    # the CertificateRequest names the CA, so a Go client keeps another's certificate to itself
    assert alien.fails("remote", "add", "m", ADDRESS, "--password", PASSWORD) == "No client certificate provided"
    assert server.api.patch("/1.0", {"config": {"core.trust_ca_certificates": "true"}}).status == 200
    try:
        by_ca("remote", "add", "m", ADDRESS)
        assert by_ca("list", "m:") is not None and by_ca.fingerprint not in trust_list(server)
        assert alien.fails("remote", "add", "m", ADDRESS, "--password", PASSWORD) == "No client certificate provided"
    finally:
        assert server.api.patch("/1.0", {"config": {"core.trust_ca_certificates": "false"}}).status == 200
    assert by_ca.fails("list", "m:") == "not authorized"


@pytest.mark.ours
@pytest.mark.parametrize("signed_server", ["mutual"], indirect=True)
def test_pki_revoked_while_running(signed_server, authority, go):
    give(go, authority.client("to-be-revoked"))
    (go.conf / "client.ca").write_text(authority.pem)
    go("remote", "add", "m", ADDRESS, "--password", PASSWORD)
    assert go("list", "m:") is not None
    authority.revoke("to-be-revoked")
    try:
        (signed_server.dir / "ca.crl").write_text(authority.crl())
        eventually(lambda: go.run("list", "m:").returncode == 1, what="refused")
        assert go.fails("list", "m:") == "not authorized"
    finally:
        signed_server.stop()
        (signed_server.dir / "ca.crl").unlink(missing_ok=True)
        signed_server.start()
        eventually(server_is_up)


def test_the_client_is_the_go_one():
    assert BIN / "lxc" != GO and subprocess.run([GO, "version"], env={"LXD_DIR": "/nonexistent", "HOME": "/nonexistent", "PATH": "/usr/bin"},
                                                capture_output=True, text=True, check=False).stdout.startswith("Client version: 5.0.2")
