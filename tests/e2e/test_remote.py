"""Remotes: `lxc remote`, whom the client believes, and every command over TLS. Our client against the daemon under test."""
import concurrent.futures
import json
import os
import shutil
import socket
import subprocess
import threading

import pytest

from helpers import fakelxd, streams
from helpers.connect_proxy import Proxy
from helpers.client import OURS, ClientProgram
from helpers.daemon import REFERENCE
from helpers.fakelxd import SERVER, FakeLxd, sync
from helpers.tls import make_certificate, server_fingerprint

GO = "/usr/bin/lxc"
PROMPT = "ok (y/n/[fingerprint])? "


@pytest.fixture(scope="module")
def program():
    return OURS


@pytest.fixture
def only_ours(program):
    if program != OURS:
        pytest.skip("our client's own behaviour")


@pytest.fixture(scope="module")
def server(daemon):
    """The daemon, listening, with a password."""
    reply = daemon.api.patch("/1.0", {"config": {"core.https_address": "127.0.0.1:8443", "core.trust_password": "foo"}})
    assert reply.status == 200, reply
    daemon.server_fingerprint = server_fingerprint()
    return daemon


@pytest.fixture
def lxc(server, program, tmp_path_factory, request):
    """A client that knows nothing yet."""
    client = ClientProgram(server, program, server.root / "clients" / request.node.name[:60])
    yield client
    for fingerprint in (c.rsplit("/", 1)[1] for c in server.api.get("/1.0/certificates")):
        server.api.delete(f"/1.0/certificates/{fingerprint}")


@pytest.fixture
def m(lxc):
    """The client with remote m, trusted."""
    lxc("remote", "add", "m", "127.0.0.1", "--accept-certificate", "--password", "foo")
    return lxc


def trusted(server, client):
    return f"/1.0/certificates/{client.fingerprint}" in server.api.get("/1.0/certificates")


def token(server, name="tok"):
    return ClientProgram(server, GO, server.root / "tokens" / os.urandom(4).hex(), key=False)(
        "config", "trust", "add", "--name", name, "-q", "--force-local")[0].strip()


# Adding


def test_add_with_password(lxc, server):
    out, err = lxc("remote", "add", "m", "127.0.0.1", "--accept-certificate", "--password", "foo")
    assert out == "Client certificate now trusted by server: m\n"
    assert "  m:\n    addr: https://127.0.0.1:8443\n    auth_type: tls\n    project: default\n    protocol: lxd\n    public: false\n" in lxc.config
    assert fakelxd.fingerprint_of(lxc.pin("m")) == server.server_fingerprint
    assert (lxc.dir / "config.yml").stat().st_mode & 0o777 == 0o644
    assert lxc.pin("m").stat().st_mode & 0o777 == 0o644 and lxc.pin("m").parent.stat().st_mode & 0o777 == 0o750
    assert trusted(server, lxc)
    assert lxc("list", "m:", "-f", "csv")[0] == ""
    # trusted already: neither password nor message
    assert lxc("remote", "add", "m2", "https://127.0.0.1:8443", "--accept-certificate")[0] == ""


def test_each_client_understands_the_other(m, program):
    other = GO if program == OURS else OURS
    assert "m,https://127.0.0.1:8443,lxd,tls,NO,NO,NO\n" in m("remote", "list", "-f", "csv", program=other)[0]
    assert m("list", "m:", "-f", "csv", program=other)[0] == ""
    m("remote", "rename", "m", "n", program=other)
    m("remote", "switch", "n", program=other)
    m("alias", "add", "l", "list -f csv", program=other)
    assert m("l")[0] == ""
    assert m("remote", "get-default")[0] == "n\n"
    before = m.config
    m("remote", "switch", "n")
    assert m.config == before


def test_fingerprint_is_asked(lxc, server):
    for answer, message in (("x", "Please type 'y', 'n' or the fingerprint:"), ("n", "Server certificate NACKed by user"),
                            ("", "Server certificate NACKed by user"), ("No", "Server certificate NACKed by user"),
                            (server.server_fingerprint[:-1], "Please type 'y', 'n' or the fingerprint:")):
        out, err = lxc("remote", "add", "m", "127.0.0.1", stdin=answer + "\n", code=1)
        assert out.endswith(f"Certificate fingerprint: {server.server_fingerprint}\n{PROMPT}")
        assert err.endswith(f"Error: {message}\n")
        assert not lxc.pin("m").exists() and " m:" not in lxc.config
    assert lxc.error("remote", "add", "m", "127.0.0.1").endswith("Error: EOF\n")
    lxc("remote", "add", "m", "127.0.0.1", "--password", "foo", stdin=server.server_fingerprint + "\n")
    assert lxc.pin("m").exists()


def test_answers_through_one_pipe(lxc, only_ours, server):
    assert lxc.error("remote", "add", "m", "127.0.0.1", stdin="y\nbar\n") == "Error: not authorized\n"
    assert not lxc.pin("m").exists() and " m:" not in lxc.config
    fingerprint = ":".join(server.server_fingerprint[i:i + 2] for i in range(0, 64, 2)).upper()
    out, _ = lxc("remote", "add", "m", "127.0.0.1", stdin=f"{fingerprint}\nfoo\n")
    assert out.endswith(f"{PROMPT}Admin password (or token) for m: \nClient certificate now trusted by server: m\n")


def test_prompts_on_a_terminal(lxc):
    screen = lxc.terminal("remote", "add", "m", "127.0.0.1", answers=[(PROMPT, "y"), ("Admin password (or token) for m:", "foo")])
    assert screen.endswith("\nClient certificate now trusted by server: m\n")
    if lxc.program == OURS:   # the Go client asks first and turns the echo off then: a race of its own
        assert "foo" not in screen and "Admin password (or token) for m: \nClient" in screen
    screen = lxc.terminal("remote", "add", "n", "127.0.0.1", answers=[(PROMPT, "n")], code=1)
    assert screen.endswith("Error: Server certificate NACKed by user\n")


def test_interrupt_gives_the_echo_back(lxc, only_ours):
    script = f"{lxc.program} remote add m 127.0.0.1 --accept-certificate; stty -a | grep -o ' -\\?echo '"
    client = ClientProgram(lxc.daemon, lxc.program, lxc.dir / "sh")
    client.program = "/bin/sh"
    screen = client.terminal("-c", "trap : INT; " + script, answers=[("Admin password (or token) for m:", "\x03")])
    assert screen.splitlines()[-1].strip() == "echo"


def test_wrong_password_leaves_nothing(lxc, only_ours, server):
    files = lambda: sorted(p.name for p in lxc.dir.iterdir())
    before = files()
    assert lxc.error("remote", "add", "m", "127.0.0.1", "--accept-certificate", "--password", "bar") == "Error: not authorized\n"
    assert " m:" not in lxc.config
    assert files() == before
    assert not trusted(server, lxc)


def test_fingerprint_flag(lxc, only_ours, server):
    right = server.server_fingerprint
    wrong = "0" * 64
    err = lxc.error("remote", "add", "m", "127.0.0.1", "--fingerprint", wrong, "--password", "foo")
    assert wrong in err and right in err and "mismatch" in err
    assert not lxc.pin("m").exists() and " m:" not in lxc.config and not trusted(server, lxc)
    for bad in ("", "12", right + "0", right[:-1] + "g"):
        assert "64 hexadecimal digits" in lxc.error("remote", "add", "m", "127.0.0.1", "--fingerprint", bad)
    colons = ":".join(right[i:i + 2] for i in range(0, 64, 2)).upper()
    lxc("remote", "add", "m", "127.0.0.1", "--fingerprint", colons, "--password", "foo")
    assert fakelxd.fingerprint_of(lxc.pin("m")) == right


def test_the_key_pair_is_made_once(server, program):
    client = ClientProgram(server, program, server.root / "clients" / "fresh", key=False)
    _, err = client("remote", "add", "m", "127.0.0.1", "--accept-certificate", "--password", "foo")
    assert err.startswith("Generating a client certificate. This may take a minute...\n")
    text = subprocess.run(["openssl", "x509", "-in", client.dir / "client.crt", "-noout", "-text"], capture_output=True, text=True).stdout
    assert "ASN1 OID: secp384r1" in text and "ecdsa-with-SHA384" in text and "TLS Web Client Authentication" in text
    assert (client.dir / "client.key").stat().st_mode & 0o777 == 0o600
    assert (client.dir / "client.crt").stat().st_mode & 0o777 == 0o644
    assert (client.dir / "client.key").read_text().startswith("-----BEGIN EC PRIVATE KEY-----")
    before = (client.dir / "client.key").read_text()
    _, err = client("remote", "add", "n", "127.0.0.1", "--accept-certificate")
    assert err == "" and (client.dir / "client.key").read_text() == before
    assert client("list", "n:", program=GO if program == OURS else OURS)
    # a certificate that lost its key is made anew, with it
    (client.dir / "client.key").unlink()
    client.error("remote", "add", "o", "127.0.0.1", "--accept-certificate", "--password", "bar")
    assert (client.dir / "client.key").exists()


@pytest.mark.parametrize("arguments, message", [
    (("a:b", "127.0.0.1"), "Remote names may not contain colons"),
    (("local", "127.0.0.1"), "Remote local exists as <unix://>"),
    (("z", "ftp://h"), 'Invalid URL scheme "ftp" in "ftp://h"'),
    (("z", "http://127.0.0.1"), 'Invalid URL scheme "http" in "http://127.0.0.1"'),
    (("z", "127.0.0.1", "--protocol", "foo"), "Invalid protocol: foo"),
    (("z", "127.0.0.1", "--protocol", "simplestreams"), "Only https URLs are supported for simplestreams"),
    (("z", "127.0.0.1:1", "--accept-certificate"),
     'Get "https://127.0.0.1:1": Unable to connect to: 127.0.0.1:1 ([dial tcp 127.0.0.1:1: connect: connection refused])'),
    (("z", "[::1]:1", "--accept-certificate"),
     'Get "https://[::1]:1": Unable to connect to: [::1]:1 ([dial tcp [::1]:1: connect: connection refused])'),
    (("z", "/nope"), 'Get "http://unix.socket/1.0": dial unix /nope: connect: no such file or directory'),
    (("z", "127.0.0.1", "--accept-certificate", "--auth-type", "bogus"), "Authentication type 'bogus' not supported by server"),
    (("z", "127.0.0.1", "--accept-certificate", "--password", "foo", "--project", "nope"), "Project not found"),
])
def test_add_refused(lxc, arguments, message):
    assert lxc.error("remote", "add", *arguments).endswith(f"Error: {message}\n")
    assert " z:" not in lxc.config


@pytest.mark.parametrize("arguments, message", [
    (("a/b", "127.0.0.1"), "slashes"), (("..", "127.0.0.1"), ".."), (("", "127.0.0.1"), "empty"), (("z", ""), "empty"),
    (("z", "u@127.0.0.1"), "user names"), (("z", "127.0.0.1:99999"), "1 to 65535"), (("z", "127.0.0.1/x"), "no host name"),
    (("z", "127.0.0.1", "--auth-type", "candid", "--accept-certificate"), "Authentication type 'candid' not supported by server"),
    (("z", "127.0.0.1", "--auth-type", "candid", "--password", "x"), "are for certificates"),
    (("z", "127.0.0.1", "--token", "foo"), "not a certificate add token"),
])
def test_add_refused_by_ours(lxc, only_ours, arguments, message):
    assert message in lxc.error("remote", "add", *arguments)
    assert " z:" not in lxc.config and not (lxc.dir / "servercerts").exists()


def test_forms_of_addresses(m):
    for n, address in enumerate(("127.0.0.1:8443", "https://127.0.0.1", "https://127.0.0.1:8443/1.0", "HTTPS://127.0.0.1", "[127.0.0.1]:8443")):
        m("remote", "add", f"a{n}", address, "--accept-certificate")
        assert f"a{n},https://127.0.0.1:8443,lxd,tls,NO,NO,NO\n" in m("remote", "list", "-f", "csv")[0]
    m("remote", "add", "127.0.0.1", "--accept-certificate")
    assert m("list", "127.0.0.1:", "-f", "csv")[0] == ""


def test_socket_and_public(lxc, server):
    path = server.dir / "unix.socket"
    lxc("remote", "add", "s", path)
    lxc("remote", "add", "t", f"unix://{path}")
    assert f"s,unix://{path},lxd,tls,NO,NO,NO\n" in lxc("remote", "list", "-f", "csv")[0]
    assert lxc("list", "t:", "-f", "csv")[0] == ""
    lxc("remote", "add", "p", "127.0.0.1", "--public", "--accept-certificate")
    assert "p,https://127.0.0.1:8443,lxd,tls,YES,NO,NO\n" in lxc("remote", "list", "-f", "csv")[0]
    assert lxc.error("list", "p:") == "Error: The remote isn't a private LXD server\n"


def test_public_images_of_a_server(lxc, server):
    lxc("remote", "add", "p", "127.0.0.1", "--public", "--accept-certificate")
    assert lxc("image", "list", "p:", "-f", "csv")[0] == ""
    assert server.api.patch(f"/1.0/images/{server.fingerprint}", {"public": True}).status == 200
    try:
        assert lxc("image", "list", "p:", "-f", "csv", "-c", "F")[0] == server.fingerprint + "\n"
    finally:
        server.api.patch(f"/1.0/images/{server.fingerprint}", {"public": False})


# Tokens


def test_add_with_token(lxc, server):
    text = token(server)
    out, err = lxc("remote", "add", "t", text)
    assert (out, err) == ("", "")
    assert trusted(server, lxc) and "auth_type" not in lxc.config.partition("  t:")[2]
    assert lxc("list", "t:", "-f", "csv")[0] == ""
    other = ClientProgram(server, lxc.program, lxc.dir / "other")
    assert "No matching certificate add operation found" in other.error("remote", "add", "t", text)
    assert " t:" not in other.config and not trusted(server, other)


def craft(fingerprint, *addresses, secret="ab" * 32):
    import base64
    return base64.b64encode(json.dumps({"client_name": "x", "fingerprint": fingerprint, "addresses": addresses, "secret": secret,
                                        "expires_at": "0001-01-01T00:00:00Z"}).encode()).decode()


def secret_of(text):
    import base64
    return json.loads(base64.b64decode(text))["secret"]


def test_token_with_a_dead_address(lxc, server):
    text = craft(server.server_fingerprint, "127.0.0.1:1", "127.0.0.1:8443", secret=secret_of(token(server)))
    lxc("remote", "add", "t", text)
    assert "addr: https://127.0.0.1:8443" in lxc.config and trusted(server, lxc)


def test_token_of_another_server(lxc, server):
    err = lxc.error("remote", "add", "t", craft("0" * 64, "127.0.0.1:8443"))
    assert 'Certificate fingerprint mismatch between certificate token and server "https://127.0.0.1:8443"' in err
    assert " t:" not in lxc.config and not lxc.pin("t").exists() and not trusted(server, lxc)


def test_token_whose_addresses_are_all_dead(lxc, server):
    text = craft(server.server_fingerprint, "127.0.0.1:1", "127.0.0.1:2", secret=secret_of(token(server)))
    out, err = lxc("remote", "add", "t", text, stdin="\n", code=1)
    assert out.endswith("All server addresses are unavailable\nPlease provide an alternate server address (empty to abort): ")
    assert err.endswith("Error: Failed to add remote\n")
    if lxc.program == OURS:
        lxc("remote", "add", "t", text, stdin="127.0.0.1:8443\n")
        assert trusted(server, lxc)


def test_token_flag(lxc, only_ours, server):
    text = token(server)
    assert "--token cannot be used with --accept-certificate" in lxc.error("remote", "add", "t", "--token", text, "--accept-certificate")
    err = lxc.error("remote", "add", "t", "--token", text, "--fingerprint", "0" * 64)
    assert "0" * 64 in err and server.server_fingerprint in err
    lxc("remote", "add", "t", "localhost:8443", "--token", text)
    assert "addr: https://localhost:8443" in lxc.config and trusted(server, lxc)
    # a token at the prompt, and as the password
    other = ClientProgram(server, lxc.program, lxc.dir / "other")
    other("remote", "add", "t", "127.0.0.1", stdin=f"y\n{token(server)}\n")
    third = ClientProgram(server, lxc.program, lxc.dir / "third")
    third("remote", "add", "t", "127.0.0.1", "--accept-certificate", "--password", token(server))
    assert trusted(server, other) and trusted(server, third)
    # not needed, not used
    unused = token(server, "unused")
    assert "the token was not used" in third("remote", "add", "u", unused)[1]
    assert "unused" in third("config", "trust", "list-tokens", "t:", "-f", "csv")[0]


# The list of remotes


def test_rename_remove_switch(m):
    assert m.error("remote", "rename", "m", "local") == "Error: Remote local already exists\n"
    pem = m.pin("m").read_text()
    m("remote", "rename", "m", "n")
    assert not m.pin("m").exists() and m.pin("n").read_text() == pem
    m("list", "n:")
    m("remote", "switch", "n")
    assert m.error("remote", "remove", "n") == "Error: Can't remove the default remote\n"
    m("remote", "rename", "n", "o")
    assert m("remote", "get-default")[0] == "o\n"
    m("remote", "set-default", "local")
    (m.dir / "jars").mkdir(exist_ok=True)
    (m.dir / "jars" / "o").write_text("[]")
    m("remote", "remove", "o")
    assert not m.pin("o").exists() and not (m.dir / "jars" / "o").exists() and " o:" not in m.config
    assert m.error("remote", "remove", "o") == "Error: Remote o doesn't exist\n"
    for command in (("remove", "local"), ("rename", "local", "x"), ("set-url", "local", "x"), ("remove", "ubuntu")):
        assert m.error("remote", *command).endswith("is static and cannot be modified\n")


def test_set_url(m):
    m("remote", "set-url", "m", "https://127.0.0.1:1")
    assert "connection refused" in m.error("list", "m:")
    m("remote", "set-url", "m", "https://127.0.0.1:8443")
    m("list", "m:")


def test_default_from_environment(m):
    m("list", LXC_REMOTE="m")
    assert m("remote", "get-default", LXC_REMOTE="m")[0] == "m\n"
    assert m.error("remote", "remove", "m", LXC_REMOTE="m") == "Error: Can't remove the default remote\n"
    assert m("remote", "get-default")[0] == "local\n"


def test_global_remotes(m, server):
    folder = server.root / "global"
    (folder / "servercerts").mkdir(parents=True, exist_ok=True)
    (folder / "config.yml").write_text("remotes:\n  g:\n    addr: https://127.0.0.1:8443\n    protocol: lxd\n    public: false\n")
    shutil.copy(m.pin("m"), folder / "servercerts" / "g.crt")
    env = {"LXD_GLOBAL_CONF": str(folder)}
    assert "g,https://127.0.0.1:8443,lxd,tls,NO,NO,YES\n" in m("remote", "list", "-f", "csv", **env)[0]
    m("list", "g:", **env)
    assert m.error("remote", "remove", "g", **env) == "Error: Remote g is global and cannot be removed\n"
    m("alias", "add", "x", "y", **env)
    assert " g:" not in m.config


def test_damaged_configuration(m, only_ours):
    path = m.dir / "config.yml"
    text = "remotes:\n  m:\n    addr: [\n"
    path.write_text(text)
    for command in (("list",), ("remote", "list"), ("remote", "remove", "m"), ("alias", "add", "a", "b")):
        err = m.error(*command)
        assert str(path) in err and "line" in err
        assert path.read_text() == text


def test_two_at_once_lose_nothing(m, only_ours):
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: m("remote", "add", f"n{n}", "127.0.0.1", "--accept-certificate"), range(6)))
        list(pool.map(lambda n: m("alias", "add", f"a{n}", "list"), range(6)))
    names = {line.split(",")[0] for line in m("remote", "list", "-f", "csv")[0].splitlines()}
    assert {f"n{n}" for n in range(6)} <= names and "m" in names
    assert len(m("alias", "list", "-f", "csv")[0].splitlines()) == 6


# Certificates that changed, trust that ended


@pytest.fixture
def certificates(server):
    return server.root / "certificates"


def make_pem(directory, name):
    """A server's certificate that nobody has reason to trust, and its key."""
    directory.mkdir(parents=True, exist_ok=True)
    return streams.write_pem(directory / f"{name}.pem", *streams.make_leaf(streams.make_authority()))


@pytest.fixture
def fake(certificates):
    """Starts made-up servers."""
    started = []

    def start(routes=None, pem=None, **kwargs):
        started.append(FakeLxd(pem or make_pem(certificates, f"fake{len(started)}"), routes, **kwargs))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def test_changed_certificate(m, fake, server):
    other = fake()
    m("remote", "set-url", "m", f"https://{other.address}")
    before = m.pin("m").read_text()
    for command in (("list", "m:"), ("info", "m:"), ("exec", "m:c1", "--", "true"), ("monitor", "m:"), ("query", "m:/1.0"),
                    ("image", "list", "m:"), ("config", "set", "m:", "user.a=b"), ("delete", "m:c1"), ("copy", "m:c1", "m:c2")):
        err = m.error(*command)
        assert f"https://{other.address}/1.0" in err and "x509: certificate signed by unknown authority" in err
        if m.program == OURS:
            assert str(m.pin("m")) in err and server.server_fingerprint in err and other.fingerprint in err
            assert f"lxc remote add m https://{other.address} --fingerprint {other.fingerprint}" in err
    assert other.asked() == [] and other.handshakes >= 9
    assert m.pin("m").read_text() == before


def test_trust_removed(m, server):
    assert server.api.delete(f"/1.0/certificates/{m.fingerprint}").status == 200
    err = m.error("list", "m:")
    assert err.startswith("Error: not authorized\n")
    if m.program == OURS:
        assert len(err.splitlines()) == 2 and "`lxc info m:`" in err and "lxc config trust add" in err
    out, err = m("info", "m:")
    assert "auth: untrusted\n" in out and err == ""
    assert "core.https_address" not in out


# Projects


@pytest.mark.parametrize("projects, answer, stored", [
    ([], "", None), (["default"], "", "default"), (["only"], "", "only"), (["a", "default"], "", None), (["a", "b"], "b", "b"),
])
def test_project_of_a_remote(lxc, fake, projects, answer, stored):
    one = fake({"GET /1.0/projects": (200, sync([f"/1.0/projects/{name}" for name in projects]))})
    out, _ = lxc("remote", "add", "p", one.address, "--accept-certificate", stdin=answer + "\n")
    block = lxc.config[lxc.config.index("  p:\n"):].split("\n")[1:6]
    assert [line.split(": ")[1] for line in block if "project:" in line] == ([stored] if stored else [])
    if answer:
        assert out.startswith("Available projects:\n - a\n - b\nName of the project to use for this remote: ")


def test_project_flag_and_requests(lxc, fake):
    one = fake({"GET /1.0/projects/x": (200, sync({"name": "x"})), "GET /1.0/instances": (200, sync([]))})
    lxc("remote", "add", "p", one.address, "--accept-certificate", "--project", "x")
    assert "project: x\n" in lxc.config
    one.asked()
    lxc("list", "p:")
    assert any("project=x" in line for line in one.asked())


def test_untrusted_after_the_password(lxc, fake, only_ours):
    one = fake({"GET /1.0": (200, sync({**SERVER, "auth": "untrusted"})), "POST /1.0/certificates": (201, sync(None))})
    err = lxc.error("remote", "add", "p", one.address, "--accept-certificate", "--password", "x")
    assert err == "Error: Server doesn't trust us after authentication\n"
    body = json.loads([b for method, _, b in one.requests if method == "POST"][0])
    assert body == {"name": "", "type": "client", "restricted": False, "projects": None, "certificate": "", "password": "x", "token": False}
    assert not lxc.pin("p").exists() and " p:" not in lxc.config


# PKI


def test_client_ca(lxc, certificates, fake):
    """Signed by client.ca: no question, no pin. Not signed: the question and a pin."""
    authority = streams.make_authority()
    certificates.mkdir(exist_ok=True)
    signed = fake(pem=streams.write_pem(certificates / "signed.pem", *streams.make_leaf(authority)))
    own = fake()
    streams.write_pem(lxc.dir / "client.ca", authority[0])
    out, _ = lxc("remote", "add", "s", signed.address)
    assert PROMPT not in out and not lxc.pin("s").exists()
    out, _ = lxc("remote", "add", "o", own.address, stdin="y\n")
    assert PROMPT in out and lxc.pin("o").exists()
    for remote, one in (("s", signed), ("o", own)):
        one.routes["GET /1.0/instances"] = (200, sync([]))
        lxc("list", f"{remote}:")
    # another authority's certificate on the same address
    other = fake(pem=streams.write_pem(certificates / "other.pem", *streams.make_leaf(streams.make_authority())))
    lxc("remote", "set-url", "s", f"https://{other.address}")
    assert "x509: certificate signed by unknown authority" in lxc.error("list", "s:")
    assert other.asked() == []
    # pinned, and replaced by one that the authority signed
    lxc("remote", "set-url", "o", f"https://{signed.address}")
    lxc("list", "o:")


def test_system_authorities_do_not_count_for_a_pinned_server(lxc, certificates, fake, only_ours):
    authority = streams.make_authority()
    certificates.mkdir(exist_ok=True)
    first = fake()
    signed = fake(pem=streams.write_pem(certificates / "system.pem", *streams.make_leaf(authority)))
    bundle = streams.write_pem(certificates / "bundle.pem", authority[0])
    env = {"SSL_CERT_FILE": str(bundle)}
    out, _ = lxc("remote", "add", "s", signed.address, **env)
    assert PROMPT not in out and not lxc.pin("s").exists()
    lxc("remote", "add", "f", first.address, "--accept-certificate")
    lxc("remote", "set-url", "f", f"https://{signed.address}")
    signed.asked()
    assert "x509: certificate signed by unknown authority" in lxc.error("list", "f:", **env)
    assert signed.asked() == []
    # a fingerprint that was given is pinned, whoever signed
    assert "mismatch" in lxc.error("remote", "add", "g", signed.address, "--fingerprint", "0" * 64, **env)
    lxc("remote", "add", "g", signed.address, "--fingerprint", signed.fingerprint, **env)
    assert lxc.pin("g").exists()


# Every command over TLS


def test_instances(m, server, name):
    m("init", "m:bb", f"m:{name}")
    m("config", "set", f"m:{name}", "user.a=b")
    assert m("config", "get", f"m:{name}", "user.a")[0] == "b\n"
    assert m("list", "m:", name, "-c", "ns", "-f", "csv")[0] == f"{name},STOPPED\n"
    m("start", f"m:{name}")
    assert m("exec", f"m:{name}", "--", "echo", "hi")[0] == "hi\n"
    assert m("exec", f"m:{name}", "--", "cat", stdin="x" * 200000)[0] == "x" * 200000
    m("exec", f"m:{name}", "--", "sh", "-c", "exit 42", code=42)
    screen = m.terminal("exec", f"m:{name}", "--", "sh", "-c", "read x; echo got $x; tty", answers=[("", "typed")])
    assert "got typed" in screen and "/dev/" in screen
    assert "Status: RUNNING" in m("info", f"m:{name}")[0]
    m("stop", "--force", f"m:{name}")
    m("rename", f"m:{name}", f"{name}b")
    m("delete", f"m:{name}b")


def test_images(m, tmp_path):
    fingerprint = m("image", "list", "m:", "-c", "F", "-f", "csv")[0].strip()
    assert f"Fingerprint: {fingerprint}\n" in m("image", "info", "m:bb")[0]
    m("image", "export", "m:bb", tmp_path / "bb")
    (file,) = tmp_path.iterdir()
    m("image", "alias", "create", "m:other", fingerprint)
    assert "other," in m("image", "alias", "list", "m:", "-f", "csv")[0]
    m("image", "alias", "delete", "m:other")
    m("image", "set-property", "m:bb", "a", "b")
    assert m("image", "get-property", "m:bb", "a")[0] == "b\n"
    m("image", "unset-property", "m:bb", "a")
    m("image", "delete", "m:bb")
    out, _ = m("image", "import", file, "m:", "--alias", "bb")
    assert fingerprint in out


def test_the_rest_of_the_commands(m):
    m("profile", "create", "m:p1")
    assert "p1" in m("profile", "list", "m:", "-f", "csv")[0]
    assert m("profile", "show", "m:p1")[0].endswith("used_by: []\n")
    m("profile", "delete", "m:p1")
    assert "default" in m("storage", "list", "m:", "-f", "csv")[0]
    m("storage", "show", "m:default")
    assert m("query", "m:/1.0/profiles")[0].strip() == '[\n\t"/1.0/profiles/default"\n]'
    m("operation", "list", "m:")
    assert "Server version: 5.0.2" in m("version", "m:")[0]
    m("config", "show", "m:")


def test_monitor(m, server):
    process = subprocess.Popen([m.program, "monitor", "m:", "--type=lifecycle", "--format=json"], env=m.env(), stdout=subprocess.PIPE, text=True)
    try:
        stop = threading.Event()

        def poke():
            n = 0
            while not stop.wait(0.2):
                n += 1
                server.api.patch("/1.0", {"config": {"core.remote_token_expiry": f"{n}H"}})

        thread = threading.Thread(target=poke)
        thread.start()
        line = process.stdout.readline()
        stop.set()
        thread.join()
        assert json.loads(line)["metadata"]["action"] == "config-updated"
    finally:
        process.kill()
        process.wait()
        server.api.patch("/1.0", {"config": {"core.remote_token_expiry": ""}})


def test_trust_over_tls(m, server, certificates):
    mine = m("config", "trust", "list", "m:", "-f", "json")[0]
    assert [entry["fingerprint"] for entry in json.loads(mine)] == [m.fingerprint]
    second = make_certificate(certificates, "second")
    m("config", "trust", "add", "m:", second.crt)
    assert "client,second.crt,second," in m("config", "trust", "list", "m:", "-f", "csv")[0]
    assert f"fingerprint: {second.fingerprint}" in m("config", "trust", "show", f"m:{second.fingerprint[:12]}")[0]
    m("config", "trust", "edit", f"m:{second.fingerprint}",
      stdin=m("config", "trust", "show", f"m:{second.fingerprint}")[0].replace("name: second.crt", "name: other"))
    assert "client,other,second," in m("config", "trust", "list", "m:", "-f", "csv")[0]
    m("config", "trust", "remove", "m:", second.fingerprint[:12])
    assert m.error("config", "trust", "show", f"m:{second.fingerprint}") == "Error: Certificate not found\n"
    out, _ = m("config", "trust", "add", "m:", stdin="one\n") if m.program == OURS else m("config", "trust", "add", "--name", "one", LXC_REMOTE="m")
    text = out.splitlines()[-1]
    assert text in m("config", "trust", "list-tokens", "m:", "-f", "csv")[0]
    assert m("config", "trust", "revoke-token", "m:one")[0] == "Certificate add token for one deleted\n"
    assert m.error("config", "trust", "revoke-token", "m:one") == "Error: No certificate add token for member one on remote: m\n"
    m("config", "trust", "remove", f"m:{m.fingerprint[:12]}")
    assert m.error("list", "m:").startswith("Error: not authorized\n")


# Proxies


def test_proxy(lxc, fake):
    host = "10.98.76.5"
    subprocess.run(["ip", "addr", "replace", f"{host}/32", "dev", "lo"], check=True)
    one = fake({"GET /1.0/instances": (200, sync([]))}, host=host)
    proxy = Proxy(host)
    env = {"https_proxy": f"http://{proxy.address}"}
    lxc("remote", "add", "p", one.address, "--accept-certificate", **env)
    assert set(proxy.connected) == {one.address}
    proxy.connected.clear()
    lxc("list", "p:", **env)
    assert set(proxy.connected) == {one.address}
    proxy.connected.clear()
    for more in ({"no_proxy": host}, {"NO_PROXY": "10.98.0.0/16"}, {"https_proxy": ""}):
        lxc("list", "p:", **{**env, **more})
    assert proxy.connected == []
    proxy.socket.close()


# Images from elsewhere


@pytest.fixture
def image_server(tmp_path):
    one = streams.Streams(tmp_path)
    yield one
    one.stop()


def test_simplestreams(lxc, image_server):
    """What people see of a public image server; nothing is asked of it when it is added."""
    image_server.add("alpine", "3.19", "amd64", (b"old", b"root"), version="20250101_07:42")
    newest = image_server.add("alpine", "3.19", "amd64", (b"meta", b"root"))
    arm = image_server.add("alpine", "3.19", "arm64", (b"meta-arm", b"root"))
    image_server.start()
    env = {"SSL_CERT_FILE": str(image_server.ca)}
    lxc("remote", "add", "s", image_server.url, "--protocol", "simplestreams")
    assert image_server.requests == []
    assert f"s,{image_server.url},simplestreams,none,YES,NO,NO\n" in lxc("remote", "list", "-f", "csv")[0]
    rows = lxc("image", "list", "s:", "-c", "lFa", "-f", "csv", **env)[0].splitlines()
    assert len(rows) == 3 and f"alpine/3.19 (3 more),{newest},x86_64" in rows and f"alpine/3.19/arm64 (1 more),{arm},aarch64" in rows
    assert f"Fingerprint: {arm}\n" in lxc("image", "info", "s:alpine/3.19/arm64", **env)[0]
    assert f"Fingerprint: {newest}\n" in lxc("image", "info", f"s:{newest[:12]}", **env)[0]
    assert lxc("image", "get-property", "s:alpine/3.19", "os", **env)[0] == "Alpine\n"
    assert "couldn't be found" in lxc.error("image", "info", "s:nope", **env)
    assert "x509" in lxc.error("image", "list", "s:")
    for command in (("list", "s:"), ("image", "delete", "s:alpine/3.19"), ("launch", "s:alpine/3.19", "s:x")):
        assert lxc.error(*command, **env) == "Error: The remote isn't a private LXD server\n"


def test_bad_simplestreams(lxc, image_server, only_ours):
    image_server.add("alpine", "3.19", "amd64", (b"meta", b"root"))
    image_server.start()
    env = {"SSL_CERT_FILE": str(image_server.ca)}
    lxc("remote", "add", "s", image_server.url, "--protocol", "simplestreams")
    for path, text in (("streams/v1/index.json", "{"), ("streams/v1/index.json", "[]"), ("streams/v1/images.json", '{"products": 1}'),
                       ("streams/v1/images.json", "[" * 100000), ("streams/v1/index.json", " " * (5 << 20))):
        image_server.write()
        image_server.put(path, text)
        err = lxc.error("image", "list", "s:", **env)
        assert err.startswith("Error: Failed parsing stream: ") and len(err) < 1000, err
    image_server.write()
    (image_server.dir / "tree/streams/v1/images.json").unlink()
    assert "status 404" in lxc.error("image", "list", "s:", **env)


def captured(client, fake_server, *args, **env):
    """The body of the POST that creates an instance."""
    error = client.error(*args, **env)
    assert "seen" in error, error
    (body,) = [body for method, path, body in fake_server.requests if method == "POST" and path.startswith("/1.0/instances")][-1:]
    fake_server.asked()
    return json.loads(body)


def test_source_of_an_image_elsewhere(m, fake, only_ours, image_server):
    """Our client asks for the same as the Go client does: images of simplestreams servers, public and private ones of LXD servers."""
    target = fake({"POST /1.0/instances": (400, {"type": "error", "error": "seen", "error_code": 400}), "GET /1.0": (200, sync({
        **SERVER, "api_extensions": [*SERVER["api_extensions"], "image_source_project"]}))})
    m("remote", "add", "f", target.address, "--accept-certificate")
    image_server.add("alpine", "3.19", "amd64", (b"meta", b"root"))
    image_server.start()
    m("remote", "add", "s", image_server.url, "--protocol", "simplestreams")
    env = {"SSL_CERT_FILE": str(image_server.ca)}
    bodies = []
    for program in (OURS, GO):
        m.program = program
        bodies.append([captured(m, target, "init", image, "f:c1", **env)["source"] for image in ("s:alpine/3.19", "m:bb", "local:bb")])
    m.program = OURS
    for ours, go in zip(*bodies):
        secrets = ours.pop("secret", None), go.pop("secret", None)
        assert (secrets[0] is None) == (secrets[1] is None)
        drop = lambda source: {key: value for key, value in source.items() if value}
        assert drop(ours) == drop(go)
    assert bodies[0][0]["server"] == image_server.url and bodies[0][0]["alias"] == "alpine/3.19"
    err = m.error("init", "s:alpine", "f:c1")
    assert err == "Error: Failed instance creation: seen\n"
