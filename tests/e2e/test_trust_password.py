"""The trust password: how it is kept, that it lets in, that guessing it is useless, and that it unsets itself."""
import json
import socket
import statistics
import time

import pytest

from helpers import tls
from helpers.daemon import eventually

pytestmark = pytest.mark.ours

_source = 10


@pytest.fixture(scope="module")
def daemon(bare_daemon):
    reply = bare_daemon.api.patch("/1.0", {"config": {"core.https_address": "0.0.0.0:8443", "core.trust_password": "foo"}})
    assert reply.status == 200, reply
    return bare_daemon


@pytest.fixture
def api(daemon):
    assert daemon.api.patch("/1.0", {"config": {"core.trust_password": "foo", "core.trust_password.expiry": ""}}).status == 200
    yield daemon.api
    for url in daemon.api.get("/1.0/certificates"):
        assert daemon.api.delete(url).status == 200


_count = 0


@pytest.fixture
def make(daemon):
    def certificate(name=None, **kwargs):
        global _count
        _count += 1
        return tls.make_certificate(daemon.root / "certs", name or f"client{_count}", **kwargs)
    return certificate


class From(tls.TlsClient):
    """A client that comes from one loopback address."""

    def __init__(self, certificate, source):
        super().__init__(certificate)
        self.source = source

    def connection(self, timeout=None):
        made = tls.TlsConnection(self, timeout or self.timeout)

        def connect():
            raw = socket.create_connection((self.host, self.port), timeout=20, source_address=(self.source, 0))
            made.sock = tls.context(self.certificate).wrap_socket(raw, server_hostname=None)
        made.connect = connect
        return made


@pytest.fixture
def source():
    """An address that no other test has guessed from."""
    global _source
    _source += 1
    return f"127.0.1.{_source}"


def guess(certificate, password, source="127.0.0.1", /, **fields):
    return From(certificate, source).post("/1.0/certificates", {"type": "client", "password": password, **fields})


def stats(api):
    return api.get("/internal/trust")["password"]


def test_it_is_kept_as_a_hash_and_shows_as_true(api, daemon, make, source):
    secret = "correct horse battery staple"
    assert api.patch("/1.0", {"config": {"core.trust_password": secret}}).status == 200
    config = api.get("/1.0")["config"]
    assert config["core.trust_password"] is True
    assert api.put("/1.0", {"config": config}).status == 200
    assert guess(make(), secret, source).status == 201
    for path in (daemon.dir / "database").iterdir():
        assert secret.encode() not in path.read_bytes(), path
    assert secret not in daemon.log_path.read_text()
    assert secret not in (daemon.dir / "logs" / "audit.log").read_text()
    database = b"".join(path.read_bytes() for path in (daemon.dir / "database").iterdir())
    assert b"$argon2id$v=19$" in database


def test_lets_in(api, make, source):
    one = make("castiana")
    reply = guess(one, "foo", source)
    assert reply.status == 201 and reply.headers["Location"] == f"/1.0/certificates/{one.fingerprint}"
    assert tls.TlsClient(one).get("/1.0")["auth"] == "trusted"
    assert api.get(f"/1.0/certificates/{one.fingerprint}")["name"] == "castiana"
    # known by now
    reply = guess(one, "foo", source)
    assert reply.status == 400 and reply.error == "Client is already trusted", reply


def test_pylxd_way(api, make, source):
    """The certificate in the body with line breaks, no name; then on with the same connection."""
    one = make()
    connection = From(one, source).connection()
    body = "\n".join(one.pem.splitlines()[1:-1]) + "\n"
    connection.request("POST", "/1.0/certificates", json.dumps({"type": "client", "certificate": body, "password": "foo"}))
    reply = connection.getresponse()
    assert reply.status == 201, reply.read()
    reply.read()
    assert reply.headers.get("Connection", "").lower() != "close"
    connection.request("GET", f"/1.0/certificates/{one.fingerprint}")
    reply = connection.getresponse()
    assert reply.status == 200 and json.loads(reply.read())["metadata"]["fingerprint"] == one.fingerprint
    connection.close()


def test_the_given_certificate_is_stored(api, make, source):
    one, other = make(), make()
    assert guess(one, "foo", source, certificate=other.base64).status == 201
    assert api.get("/1.0/certificates") == [f"/1.0/certificates/{other.fingerprint}"]


@pytest.mark.parametrize("fields, status, text", [
    ({"type": ""}, 400, "Invalid certificate type"),
    ({"type": "server"}, 403, "cluster"),
    ({"projects": ["nosuch"]}, 404, "nosuch"),
    ({"certificate": "AAAA"}, 400, "Invalid certificate material"),
])
def test_right_but_refused(api, make, source, fields, status, text):
    reply = guess(make(), "foo", source, **fields)
    assert reply.status == status and text in reply.error, reply
    assert api.get("/1.0/certificates") == []


def test_without_a_certificate(api, source):
    reply = guess(None, "foo", source)
    assert reply.status == 400 and reply.error == "No client certificate provided", reply


def test_all_failures_look_the_same(api, make, source):
    """Wrong, unset, throttled, too long, empty: the same bytes."""
    one = make()
    bodies = set()
    bodies.add(guess(one, "bar", source).body)
    bodies.add(guess(one, "", source).body)
    bodies.add(guess(one, "x" * 1025, source).body)
    bodies.add(From(one, source).post("/1.0/certificates", {"type": "client"}).body)
    bodies.add(From(one, source).request("GET", "/1.0/instances").body)
    for _ in range(8):
        bodies.add(guess(one, "bar", source).body)
    assert api.patch("/1.0", {"config": {"core.trust_password": ""}}).status == 200
    bodies.add(guess(one, "foo", "127.0.3.1").body)
    assert len(bodies) == 1, bodies
    assert json.loads(bodies.pop())["error"] == "not authorized"


def test_same_work_whether_set_or_not(api, make):
    one = make()

    def median(base):
        times = []
        for i in range(4):
            begin = time.monotonic()
            assert guess(one, "bar", f"127.0.4.{base + i}").status == 403
            times.append(time.monotonic() - begin)
        return statistics.median(times)

    before = stats(api)["evaluated"]
    median(1)
    assert api.patch("/1.0", {"config": {"core.trust_password": ""}}).status == 200
    median(10)
    # counted, not timed: every one of them was hashed
    assert stats(api)["evaluated"] - before == 8


def test_a_few_errors_then_right(api, make, source):
    one = make()
    for _ in range(4):
        assert guess(one, "bar", source).status == 403
    assert guess(one, "foo", source).status == 201


def test_one_source_is_throttled(api, make, source):
    one = make()
    for _ in range(6):
        assert guess(one, "bar", source).status == 403
    before = stats(api)
    assert guess(one, "foo", source).status == 403
    after = stats(api)
    assert after["evaluated"] == before["evaluated"] and after["throttled"] == before["throttled"] + 1
    # another address is not concerned
    other = make()
    assert guess(other, "foo", source.replace("127.0.1", "127.0.2")).status == 201
    eventually(lambda: guess(one, "foo", source).status == 201, timeout=10, what="after the delay the right one counts")


def test_many_sources_share_a_budget(api, make, daemon):
    """300 guesses from 100 addresses: few are hashed, and the API answers others meanwhile."""
    one = make()
    before = stats(api)["evaluated"]
    slowest = 0
    for i in range(300):
        assert guess(one, f"bar{i}", f"127.0.5.{i % 100 + 1}").status == 403
        if i % 30 == 0:
            begin = time.monotonic()
            api.get("/1.0")
            slowest = max(slowest, time.monotonic() - begin)
    spent = stats(api)["evaluated"] - before
    assert spent <= 60, spent
    assert slowest < 2
    text = (daemon.dir / "logs" / "audit.log").read_text()
    assert "trust-password" in text and '"failed"' in text


def test_failures_are_told(api, make, daemon, source):
    assert guess(make(), "bar", source).status == 403
    eventually(lambda: any(w["type"] == "Failed trust password" for w in api.get("/1.0/warnings?recursion=1")),
               what="a warning")
    assert "Bad trust password" in daemon.log_path.read_text()


def test_a_hint_to_unset_it(api, make):
    eventually(lambda: guess(make(), "foo", "127.0.6.1").status == 201, timeout=60, what="a place in the budget")
    warnings = lambda: [w["status"] for w in api.get("/1.0/warnings?recursion=1") if w["type"] == "Trust password is set"]
    eventually(lambda: warnings() == ["new"], what="the hint")
    assert api.patch("/1.0", {"config": {"core.trust_password": ""}}).status == 200
    eventually(lambda: warnings() == ["resolved"], what="the hint is resolved")


def is_set(api):
    return "core.trust_password" in api.get("/1.0")["config"]


def test_unsets_itself(api):
    assert api.patch("/1.0", {"config": {"core.trust_password": "x", "core.trust_password.expiry": "2S"}}).status == 200
    assert is_set(api)
    time.sleep(1)
    # an unrelated change does not make it last longer
    assert api.patch("/1.0", {"config": {"user.x": "y"}}).status == 200
    eventually(lambda: not is_set(api), timeout=3, what="the password is unset")
    assert api.get("/1.0")["config"]["core.trust_password.expiry"] == "2S"


def test_unsets_itself_after_a_restart(api, daemon):
    assert api.patch("/1.0", {"config": {"core.trust_password": "x", "core.trust_password.expiry": "3S"}}).status == 200
    daemon.kill()
    daemon.start()
    assert is_set(api)
    eventually(lambda: not is_set(api), timeout=6, what="the password is unset")
    # and while the daemon is away
    assert api.patch("/1.0", {"config": {"core.trust_password": "x"}}).status == 200
    daemon.kill()
    time.sleep(3.2)
    daemon.start()
    eventually(lambda: not is_set(api), timeout=2, what="the password is unset")


def test_a_new_password_has_its_own_time(api):
    assert api.patch("/1.0", {"config": {"core.trust_password": "x", "core.trust_password.expiry": "2S"}}).status == 200
    time.sleep(1.2)
    assert api.patch("/1.0", {"config": {"core.trust_password": "y"}}).status == 200
    time.sleep(1.2)
    assert is_set(api)
    eventually(lambda: not is_set(api), timeout=3, what="the password is unset")
