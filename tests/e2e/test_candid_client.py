"""Our client's login by an identity provider: forms, pages, the cookie jar that Debian's client reads too, and providers that lie."""
import fcntl
import http.server
import json
import pathlib
import stat
import subprocess
import threading
import time

import pytest

from helpers import streams
from helpers.candid_provider import Provider
from helpers.client import OURS, ClientProgram
from helpers.tls import Certificate

pytestmark = pytest.mark.ours

PORT = 8471
BOB = "bob@example\nsecret\n"
ADD = ("remote", "add", "m", "127.0.0.1", "--auth-type=candid", "--accept-certificate")
GO = pathlib.Path("/usr/bin/lxc")


@pytest.fixture(scope="module")
def provider():
    made = Provider(PORT)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def server(daemon):
    assert daemon.api.patch("/1.0", {"config": {"core.https_address": "127.0.0.1:8443"}}).status == 200
    return daemon


def configure(server, url, key, **more):
    keys = {"candid.api.url": url, "candid.api.key": key, "candid.domains": "", "candid.expiry": "", "candid.default_role": "", **more}
    reply = server.api.patch("/1.0", {"config": keys})
    assert reply.status == 200, reply


@pytest.fixture
def candid(server, provider):
    """The server with its provider; made anew, so that nobody is logged in."""
    provider.lifetime, provider.offered, provider.browser_user = 3600, ("form",), "bob@example"
    provider.requests.clear()
    configure(server, provider.url, provider.public_key)
    yield provider
    configure(server, "", "")


@pytest.fixture
def lxc(server, tmp_path):
    return ClientProgram(server, OURS, tmp_path / "conf", key=False)


def jar(lxc, remote="m"):
    return lxc.dir / "jars" / remote


def cookies(lxc, remote="m"):
    return {c["Name"]: c for c in json.loads(jar(lxc, remote).read_text()) or []}


def discharges(provider):
    asked = [path for method, path in provider.requests if method == "POST" and path == "/discharge"]
    provider.requests.clear()
    return len(asked)


def test_logs_in_by_a_form(lxc, candid):
    out, err = lxc(*ADD, stdin=BOB)
    assert "Log in to 127.0.0.1" in out and out.index("username: ") < out.index("password: ") and err == ""
    assert "auth_type: candid" in lxc.config and "addr: https://127.0.0.1:8443" in lxc.config
    # no key pair was made, and none shown
    assert not (lxc.dir / "client.key").exists()
    assert discharges(candid) == 2
    for command in (("list", "m:"), ("profile", "list", "m:"), ("info", "m:")):
        lxc(*command)
    assert "auth_user_name" not in lxc.error("list", "nope:")
    assert discharges(candid) == 0
    assert "m,https://127.0.0.1:8443,lxd,candid,NO,NO,NO\n" in lxc("remote", "list", "-f", "csv")[0]
    assert "candid" in lxc("query", "m:/1.0")[0]


def test_the_jar(lxc, candid):
    lxc(*ADD, stdin=BOB)
    assert stat.S_IMODE(jar(lxc).stat().st_mode) == 0o600 and stat.S_IMODE(jar(lxc).parent.stat().st_mode) == 0o700
    assert jar(lxc).read_text().count("\n") == 1
    made = cookies(lxc)["macaroon-auth"]
    assert (made["Domain"], made["CanonicalHost"], made["Path"], made["Persistent"], made["HostOnly"]) == ("127.0.0.1", "127.0.0.1", "/", True, True)
    assert {"Secure", "HttpOnly", "Expires", "Creation", "LastAccess", "Updated"} <= set(made)
    lxc("remote", "rename", "m", "n")
    assert not jar(lxc).exists() and jar(lxc, "n").exists()
    lxc("list", "n:")
    assert discharges(candid) == 2
    lxc("remote", "remove", "n")
    assert not jar(lxc, "n").exists()


@pytest.mark.parametrize("content", ["", "null\n", "{", "[1, {}, {\"Name\": 5}]", "\0\0", "[" * 100, '[{"Name":"a\\r\\nX: y","Value":"b","Path":"/","CanonicalHost":"127.0.0.1","Persistent":true}]'])
def test_a_broken_jar_is_a_login_more(lxc, candid, content):
    lxc(*ADD, stdin=BOB)
    jar(lxc).write_text(content)
    lxc("list", "m:", stdin=BOB)
    lxc("list", "m:")
    assert list(cookies(lxc)) == ["macaroon-auth"]


def test_a_jar_that_is_locked(lxc, candid):
    lxc(*ADD, stdin=BOB)
    with open(f"{jar(lxc)}.lock", "w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        assert "another client holds it" in lxc.error("list", "m:")
    lxc("list", "m:")


def test_wrong_answers(lxc, candid):
    before = lxc.config
    err = lxc.error(*ADD, stdin="bob@example\nwrong\n")
    assert f'cannot get discharge from "{candid.url}": cannot submit form: Post {candid.url}/form: invalid credentials' in err
    assert "EOF" in lxc.error(*ADD, stdin="bob@example\n")
    assert "must not be empty" in lxc.error(*ADD, stdin="\n\n\n\n")
    assert lxc.config == before and not jar(lxc).exists() and not lxc.pin("m").exists()


def test_on_a_terminal(lxc, candid):
    screen = lxc.terminal(*ADD, answers=[("username: ", "bob@example"), ("password: ", "secret")])
    assert "secret" not in screen
    lxc("list", "m:")


def test_users_who_may_not(lxc, server, candid):
    configure(server, candid.url, candid.public_key, **{"candid.domains": "other"})
    assert "Untrusted candid domain" in lxc.error(*ADD, stdin=BOB)
    configure(server, candid.url, candid.public_key)
    lxc(*ADD, stdin=BOB)
    configure(server, candid.url, candid.public_key, **{"candid.default_role": "none"})
    assert "not authorized" in lxc.error("profile", "create", "m:x", stdin=BOB)


def test_logs_in_again_when_the_ticket_is_over(lxc, server, candid):
    candid.lifetime = 70   # a minute or less would not be written down
    lxc(*ADD, stdin=BOB)
    kept = json.loads(jar(lxc).read_text())
    for cookie in kept:
        cookie["Expires"] = "2026-01-01T00:00:00Z"
    jar(lxc).write_text(json.dumps(kept))
    discharges(candid)
    lxc("list", "m:", stdin=BOB)
    assert discharges(candid) == 2
    # and when the server has forgotten its keys: the cookie is good still, the macaroon is not
    configure(server, candid.url, candid.public_key, **{"candid.expiry": "1000"})
    lxc("list", "m:", stdin=BOB)
    assert discharges(candid) == 2
    lxc("list", "m:")
    assert discharges(candid) == 0


def test_short_tickets_are_not_kept(lxc, candid):
    candid.lifetime = 30
    lxc(*ADD, stdin=BOB)
    assert jar(lxc).read_text() == "null\n"
    discharges(candid)
    lxc("list", "m:", stdin=BOB)
    assert discharges(candid) == 2


def test_uploads_after_a_new_login(lxc, server, candid, tmp_path):
    lxc(*ADD, stdin=BOB)
    configure(server, candid.url, candid.public_key, **{"candid.expiry": "2000"})
    tree = tmp_path / "image"
    (tree / "rootfs").mkdir(parents=True)
    (tree / "metadata.yaml").write_text("architecture: x86_64\ncreation_date: 1\n")
    subprocess.run(["tar", "-C", tree, "-cf", tmp_path / "image.tar", "metadata.yaml", "rootfs"], check=True)
    lxc("image", "import", tmp_path / "image.tar", "m:", "--alias", "uploaded", stdin=BOB)
    assert "uploaded" in lxc("image", "list", "m:")[0]
    lxc("image", "delete", "m:uploaded")


def test_waits_and_websockets(lxc, candid):
    lxc(*ADD, stdin=BOB)
    monitor = subprocess.Popen([OURS, "monitor", "m:", "--type=lifecycle"], env=lxc.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(monitor.stdout))
    reader.start()
    deadline = time.monotonic() + 20
    while not any("profile-created" in line for line in list(lines)) and time.monotonic() < deadline:
        lxc("profile", "create", "m:seen")
        lxc("profile", "delete", "m:seen")
        time.sleep(0.2)
    monitor.terminate()
    monitor.wait(20)
    reader.join(20)
    assert any("profile-created" in line for line in lines), (lines, monitor.stderr.read())


def test_what_is_taken_when_nothing_is_said(lxc, server, candid):
    """As Debian's client does it: candid where it is offered. A password is for certificates."""
    lxc("remote", "add", "m", "127.0.0.1", "--accept-certificate", stdin=BOB)
    assert "auth_type: candid" in lxc.config
    assert server.api.patch("/1.0", {"config": {"core.trust_password": "foo"}}).status == 200
    lxc("remote", "add", "n", "127.0.0.1", "--accept-certificate", "--password", "foo")
    assert "auth_type: tls" in lxc.config and not jar(lxc, "n").exists()
    lxc("list", "n:")


def test_another_server_sends_nobody_to_this_machine(lxc, server, candid):
    subprocess.run(["ip", "addr", "add", "192.0.2.77/32", "dev", "lo"], check=True)
    assert server.api.patch("/1.0", {"config": {"core.https_address": ":8443"}}).status == 200
    try:
        err = lxc.error("remote", "add", "m", "192.0.2.77", "--auth-type=candid", "--accept-certificate", stdin=BOB)
        assert "127.0.0.1 is this machine, which another server has no business with" in err
        assert candid.requests == []
    finally:
        assert server.api.patch("/1.0", {"config": {"core.https_address": "127.0.0.1:8443"}}).status == 200
        subprocess.run(["ip", "addr", "del", "192.0.2.77/32", "dev", "lo"], check=True)


# --- the browser ---


def test_a_page_in_the_browser(lxc, candid, tmp_path):
    candid.offered = ("browser-window",)
    err = lxc(*ADD, "--domain", "a b&c", BROWSER="", DISPLAY="", WAYLAND_DISPLAY="")[1]
    assert f"Please open this URL in your browser to authorize:\n{candid.url}/login?domain=a%20b%26c\n" in err
    assert "domain: a b&c" in lxc.config and "candid (a b&c)" in lxc("remote", "list", "-f", "csv")[0]
    lxc("list", "m:")


def test_the_browser_of_the_user(lxc, candid, tmp_path):
    candid.offered = ("browser-window",)
    seen, browser = tmp_path / "seen", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf "%s|" "$@" > {seen}.new\nmv {seen}.new {seen}\n')
    browser.chmod(0o755)
    err = lxc(*ADD, BROWSER=f"{browser} --new %s:other")[1]
    assert err.startswith("Opening an authorization web page in your browser.\n") and f"{candid.url}/login\n" in err
    end = time.monotonic() + 10
    while not seen.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert seen.read_text() == f"--new|{candid.url}/login|"
    lxc("remote", "remove", "m")
    assert "Please open" in lxc(*ADD, BROWSER="no-such-browser")[1]


# --- TLS of the provider ---


def test_provider_over_tls(lxc, server, candid, tmp_path):
    authority = streams.make_authority()
    pem = streams.write_pem(tmp_path / "server.pem", *streams.make_leaf(authority))
    bundle = streams.write_pem(tmp_path / "ca.pem", authority[0])
    other = Provider(PORT + 1, Certificate(pem, pem))
    other.offered = ("form",)
    try:
        configure(server, other.url, other.public_key)
        assert "certificate signed by unknown authority" in lxc.error(*ADD, stdin=BOB)
        assert other.requests == []
        lxc(*ADD, stdin=BOB, SSL_CERT_FILE=str(bundle))
        lxc("list", "m:")
    finally:
        other.stop()


def test_no_provider_there(lxc, server, candid):
    configure(server, "http://127.0.0.1:1", candid.public_key)
    err = lxc.error(*ADD, stdin=BOB)
    assert 'cannot get discharge from "http://127.0.0.1:1": ' in err and "Connection refused" in err


# --- Debian's client ---


@pytest.mark.skipif(not GO.exists(), reason="needs the package lxd-client")
def test_debians_client_reads_our_jar(lxc, candid):
    lxc(*ADD, stdin=BOB)
    discharges(candid)
    assert "NAME" in lxc("list", "m:", program=GO)[0]
    assert discharges(candid) == 0
    # and leaves it so that we can read it
    lxc("list", "m:")
    assert discharges(candid) == 0


@pytest.mark.skipif(not GO.exists(), reason="needs the package lxd-client")
def test_we_read_the_jar_of_debians_client(lxc, candid):
    lxc(*ADD, stdin=BOB, program=GO)
    discharges(candid)
    lxc("list", "m:")
    assert discharges(candid) == 0
    assert "auth_type: candid" in lxc.config


# --- providers that lie ---


class Liar:
    """Answers every request by @answer(handler), a function that gives (status, headers, body), or by raw bytes."""

    def __init__(self):
        self.requests, outer = [], self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.requests.append((self.command, self.path, dict(self.headers), body))
                status, headers, body = outer.answer(self)
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                try:
                    self.wfile.write(data)
                except OSError:
                    self.close_connection = True

            do_GET = do_POST = answer

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def liar(server, candid):
    made = Liar()
    configure(server, made.url, candid.public_key)
    yield made
    made.stop()


def interaction(**info):
    return 401, {"WWW-Authenticate": "Macaroon"}, {"Code": "interaction required", "Message": "m", "Info": info}


def form(handler, schema, token=None):
    """What a provider with a form answers."""
    if handler.path.startswith("/discharge"):
        return interaction(InteractionMethods={"form": {"url": "/form"}})
    return 200, {}, {"schema": schema} if handler.command == "GET" else (token or {"token": {"kind": "form", "value": "eA=="}})


NAME = {"username": {"type": "string", "mandatory": True}}


@pytest.mark.parametrize("answer, message", [
    (lambda h: (200, {}, b"garbage"), "malformed macaroon"),
    (lambda h: (200, {}, b""), "malformed macaroon"),
    (lambda h: (200, {}, {"Macaroon": {"m": {"i": "x", "s": "short"}}}), "malformed macaroon"),
    (lambda h: (200, {}, {"Macaroon": {"i": "other", "s64": "A" * 43}}), "the discharge is for something else"),
    (lambda h: (200, {}, b"[" * 100000), "malformed macaroon"),
    (lambda h: (200, {}, b"x" * 1000000), "too large"),
    (lambda h: (500, {}, {"Message": "out of order"}), "third party refused discharge: out of order"),
    (lambda h: (404, {}, b"<html>"), "third party refused discharge: status 404"),
    (lambda h: (401, {}, {"Code": "interaction required", "Info": {}}), "third party refused discharge"),
    (lambda h: interaction(), "no supported interaction method"),
    (lambda h: interaction(InteractionMethods={"agent": {"login-url": "/x"}}), "no supported interaction method"),
    (lambda h: interaction(InteractionMethods=[], VisitURL=5, WaitURL={}), "no supported interaction method"),
    (lambda h: interaction(InteractionMethods={"form": {"url": "https://192.0.2.1/form"}}), "sends elsewhere"),
    (lambda h: interaction(InteractionMethods={"form": {"url": "file:///etc/passwd"}}), "must begin with https://"),
    (lambda h: interaction(InteractionMethods={"form": {"url": "/a\r\nX: y"}}), "holds a character that no URL has"),
    (lambda h: interaction(InteractionMethods={"browser-window": {"VisitURL": "javascript:alert(1)", "WaitTokenURL": "/w"}}), "must begin with https://"),
    (lambda h: interaction(InteractionMethods={"browser-window": {"VisitURL": "http://192.0.2.1/", "WaitTokenURL": "/w"}}), "http is for this machine alone"),
    (lambda h: interaction(InteractionMethods={"browser-window": {"VisitURL": "https://x/\x1b[2J", "WaitTokenURL": "/w"}}), "holds a character that no URL has"),
    (lambda h: form(h, {}), "sent no form"),
    (lambda h: form(h, {"x" * 1000: {"type": "string"}}), "malformed field"),
    (lambda h: form(h, {f"f{n}": {"type": "string"} for n in range(40)}), "more than 16 fields"),
    (lambda h: form(h, {"username": {"type": "dance"}}), "unknown type"),
    (lambda h: form(h, NAME), "it does not accept the login"),
    (lambda h: form(h, NAME, {"token": {"kind": "form", "value": "!"}}), "no base64"),
    (lambda h: form(h, NAME, {"token": {"kind": "", "value": "eA=="}}), "no token"),
    (lambda h: (302, {"Location": "/discharge"}, b""), "redirects a request that must stay with it"),
    (lambda h: interaction(InteractionMethods={"form": {"url": "/form"}}) if h.command == "POST" else (302, {"Location": "/form"}, b""),
     "redirects more than 5 times"),
    (lambda h: interaction(InteractionMethods={"form": {"url": "/form"}}) if h.command == "POST" else (302, {"Location": "http://192.0.2.1/"}, b""),
     "http is for this machine alone"),
])
def test_lies(lxc, liar, answer, message):
    liar.answer = answer
    before = lxc.config
    err = lxc.error(*ADD, stdin="bob\n" * 20, BROWSER="", DISPLAY="", WAYLAND_DISPLAY="")
    assert message in err and f'cannot get discharge from "{liar.url}": ' in err, err
    assert lxc.config == before and not jar(lxc).exists()
    assert len(liar.requests) < 10


def test_text_of_the_provider_is_not_raw(lxc, liar):
    liar.answer = lambda h: form(h, {"user\x1b[31mname\u009b": {"type": "string"}}, None)
    screen = lxc.terminal(*ADD, answers=[("name", "bob")], code=1)
    assert "\x1b" not in screen and "\u009b" not in screen and "user\\x1b[31mname" in screen
    liar.answer = lambda h: (400, {}, {"Message": "\x1b]0;owned\x07"})
    screen = lxc.terminal(*ADD, code=1)
    assert "\x1b" not in screen and "\\x1b]0;owned" in screen


def test_a_discharge_that_leads_to_more_and_more(lxc, liar):
    """Each discharge has a caveat that needs another one."""
    def answer(handler):
        fields = dict(part.partition("=")[::2] for part in handler.path.partition("?")[2].split("&"))
        ident = {"i64": fields["id64"]} if "id64" in fields else {"i": fields["id"]}
        more = {"i": f"more{len(liar.requests)}", "v64": "A" * 96, "l": liar.url}
        return 200, {}, {"Macaroon": {"m": {"c": [more], **ident, "s64": "A" * 43}, "v": 3}}

    liar.answer = answer
    assert "more than 16 macaroons" in lxc.error(*ADD)
    assert len(liar.requests) == 16


def test_a_discharge_that_does_not_help(lxc, liar):
    """The server refuses it each time: three logins are enough."""
    def answer(handler):
        fields = dict(part.partition("=")[::2] for part in handler.path.partition("?")[2].split("&"))
        return 200, {}, {"Macaroon": {"m": {"i64": fields["id64"], "s64": "A" * 43}, "v": 3}}

    liar.answer = answer
    assert "too many (3) discharge requests" in lxc.error(*ADD)
    assert len(liar.requests) == 3


def test_cookies_stay_with_their_origin(lxc, liar):
    """The provider gets its own cookies back, not the server's."""
    liar.answer = lambda h: (400, {"Set-Cookie": "mine=1; Path=/; Expires=Wed, 21 Oct 2099 07:28:00 GMT"}, {"Message": "no"})
    assert "refused discharge: no" in lxc.error(*ADD)

    def answer(handler):
        if handler.path.startswith("/discharge") and len(liar.requests) < 3:
            return interaction(InteractionMethods={"form": {"url": "/form"}})[:1] + \
                ({"WWW-Authenticate": "Macaroon", "Set-Cookie": "mine=1; Path=/, other=2; Path=/elsewhere"},) + \
                interaction(InteractionMethods={"form": {"url": "/form"}})[2:]
        return form(handler, NAME)

    liar.requests.clear()
    liar.answer = answer
    lxc.error(*ADD, stdin="bob\n")
    sent = [headers.get("Cookie") for _, _, headers, _ in liar.requests]
    assert sent[0] is None and set(sent[1:]) == {"mine=1"}
    assert json.loads(liar.requests[2][3]) == {"form": {"username": "bob"}}
