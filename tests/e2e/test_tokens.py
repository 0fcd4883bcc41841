"""Tokens: made by administrators, used once, expired, revoked, across restarts, and never twice whatever happens."""
import base64
import json
import re
import subprocess
import threading
import time

import pytest

from helpers import tls
from helpers.tokens import issue, printable, use
from helpers.daemon import eventually

pytestmark = pytest.mark.ours


@pytest.fixture(scope="module")
def daemon(bare_daemon):
    reply = bare_daemon.api.patch("/1.0", {"config": {"core.https_address": "127.0.0.1:8443"}})
    assert reply.status == 200, reply
    return bare_daemon


@pytest.fixture
def api(daemon):
    yield daemon.api
    assert daemon.api.patch("/1.0", {"config": {"core.remote_token_expiry": ""}}).status == 200
    for url in daemon.api.get("/1.0/certificates"):
        assert daemon.api.delete(url).status == 200
    for url in daemon.api.get("/1.0/operations").get("running", []):
        assert daemon.api.delete(url).status == 200


_count = 0


@pytest.fixture
def make(daemon):
    def certificate(name=None):
        global _count
        _count += 1
        return tls.make_certificate(daemon.root / "certs", name or f"client{_count}")
    return certificate


def test_the_operation(api):
    reply = issue(api, restricted=True, projects=["default"])
    operation = reply.json["metadata"]
    assert reply.headers["Location"] == reply.json["operation"] == f"/1.0/operations/{operation['id']}"
    assert (operation["class"], operation["status"], operation["status_code"]) == ("token", "Running", 103)
    assert operation["may_cancel"] is True and operation["resources"] is None and operation["err"] == ""
    metadata = operation["metadata"]
    assert re.fullmatch("[0-9a-f]{64}", metadata["secret"])
    assert metadata["fingerprint"] == tls.server_fingerprint()
    assert metadata["addresses"] == ["127.0.0.1:8443"]
    assert metadata["request"] == {"name": "invited", "type": "client", "restricted": True, "projects": ["default"],
                                   "certificate": "", "password": "", "token": True}
    # 24 hours unless said otherwise
    expires = time.mktime(time.strptime(metadata["expiresAt"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert abs(expires - time.time() - 86400) < 60
    assert api.get(reply.json["operation"])["metadata"] == metadata
    assert api.get("/1.0/operations?recursion=1")["running"][0]["metadata"]["secret"] == metadata["secret"]


def test_used_once(api, make):
    token = printable(issue(api, "bob").json["metadata"]["metadata"])
    one, two = make(), make()
    reply = use(one, token)
    assert reply.status == 201, reply
    assert reply.headers["Location"] == f"/1.0/certificates/{one.fingerprint}"
    assert tls.TlsClient(one).get("/1.0")["auth"] == "trusted"
    assert api.get(f"/1.0/certificates/{one.fingerprint}")["name"] == "bob"
    again = use(two, token)
    assert again.status == 403 and again.error == "No matching certificate add operation found", again
    assert tls.TlsClient(two).get("/1.0")["auth"] == "untrusted"


def test_the_holder_overrides_nothing(api, make):
    token = printable(issue(api, "jail", restricted=True, projects=["default"]).json["metadata"]["metadata"])
    one, other = make(), make()
    reply = use(one, token, restricted=False, projects=[], name="king", type="metrics", certificate=other.base64)
    assert reply.status == 201, reply
    assert api.get("/1.0/certificates") == [f"/1.0/certificates/{one.fingerprint}"]
    stored = api.get(f"/1.0/certificates/{one.fingerprint}")
    assert (stored["name"], stored["type"], stored["restricted"], stored["projects"]) == ("jail", "client", True,
                                                                                          ["default"])


def test_wrong_secrets(api, make):
    metadata = issue(api).json["metadata"]["metadata"]
    one = make()
    wrong = "0" * 64 if metadata["secret"][0] != "0" else "1" * 64
    for secret in (wrong, metadata["secret"][:-1], metadata["secret"] + "0", metadata["secret"].upper() + "x"):
        reply = use(one, printable({**metadata, "secret": secret}))
        assert reply.status == 403 and reply.error == "No matching certificate add operation found", reply
    # what is no token counts as a password, and none is set
    for text in (printable({**metadata, "secret": ""}), printable({**metadata, "addresses": []}),
                 printable({**metadata, "fingerprint": ""}), "x", base64.b64encode(b"[]").decode()):
        reply = use(one, text)
        assert reply.status == 403 and reply.error == "not authorized", (text, reply)
    join = base64.b64encode(json.dumps({"server_name": "m", "addresses": ["a"], "secret": "s",
                                        "fingerprint": "f"}).encode()).decode()
    reply = use(one, join)
    assert reply.status == 403 and reply.error == "No matching cluster join operation found", reply
    assert use(one, printable(metadata)).status == 201


def test_without_a_certificate_nobody_is_added(api):
    token = printable(issue(api).json["metadata"]["metadata"])
    reply = tls.TlsClient().post("/1.0/certificates", {"type": "client", "password": token})
    assert reply.status == 400 and reply.error == "No client certificate provided", reply
    assert api.get("/1.0/certificates") == []


def test_expiry(api, make):
    assert api.patch("/1.0", {"config": {"core.remote_token_expiry": "1S"}}).status == 200
    reply = issue(api)
    token, url = printable(reply.json["metadata"]["metadata"]), reply.json["operation"]
    time.sleep(1.2)
    answer = use(make(), token)
    # by the time it is used the timer has taken it away, or the use finds it expired
    assert answer.status == 403, answer
    assert answer.error in ("No matching certificate add operation found",
                            "Failed during search for certificate add token operation: Token has expired")
    eventually(lambda: api.request("GET", url).status == 404 or api.get(url)["status"] == "Cancelled",
               what="the expired token's operation ends")
    assert api.get("/1.0/certificates") == []


@pytest.mark.parametrize("text", ["1", "1h", "1H 1H", "soon", "-1d", "1H1M"])
def test_bad_expiry_expressions(api, text):
    for key in ("core.remote_token_expiry", "core.trust_password.expiry"):
        reply = api.patch("/1.0", {"config": {key: text}})
        assert reply.status == 400 and "Invalid expiry expression" in reply.error, reply


def test_revoked(api, make):
    reply = issue(api)
    token = printable(reply.json["metadata"]["metadata"])
    assert api.delete(reply.json["operation"]).status == 200
    assert api.get(reply.json["operation"])["status"] == "Cancelled"
    assert api.delete(reply.json["operation"]).status == 400
    assert use(make(), token).error == "No matching certificate add operation found"


def test_survives_restarts(api, make, daemon):
    reply = issue(api, "patient")
    operation = reply.json["metadata"]
    for end in (daemon.restart, lambda: (daemon.kill(), daemon.start())):
        end()
        back = eventually(lambda: (o := api.get(reply.json["operation"]))["metadata"]["addresses"] and o,
                          what="the token is back and has its addresses")
        assert (back["class"], back["status"], back["metadata"]) == ("token", "Running", operation["metadata"])
        assert back["created_at"] == operation["created_at"]
    eventually(lambda: use_raises(make(), "x"), what="the listener is back")
    assert use(make(), printable(operation["metadata"])).status == 201
    daemon.kill()
    daemon.start()
    assert api.request("GET", reply.json["operation"]).status == 404


def use_raises(certificate, token):
    try:
        return use(certificate, token).status == 403
    except OSError:
        return False


def test_stopping_does_not_wait_for_tokens(api, daemon):
    issue(api)
    begin = time.monotonic()
    daemon.restart()
    assert time.monotonic() - begin < 10


def test_two_clients_race_for_one_token(api, make):
    for _ in range(5):
        token = printable(issue(api).json["metadata"]["metadata"])
        certificates = [make() for _ in range(4)]
        answers = [None] * 4
        barrier = threading.Barrier(4)

        def run(i):
            barrier.wait()
            answers[i] = use(certificates[i], token).status

        threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [201, 403, 403, 403]


def test_killed_in_the_middle_it_is_never_good_twice(api, make, daemon):
    added = 0
    for delay in (0.0, 0.002, 0.005, 0.01, 0.02, 0.04):
        token = printable(issue(api).json["metadata"]["metadata"])
        before = len(api.get("/1.0/certificates"))
        certificates = [make(), make()]

        def attempt():
            try:
                use(certificates[0], token)
            except OSError:
                pass

        thread = threading.Thread(target=attempt)
        thread.start()
        time.sleep(delay)
        daemon.kill()
        thread.join()
        daemon.start()
        eventually(lambda: use_raises(certificates[1], "x"), what="the listener is back")
        use(certificates[1], token)
        now = len(api.get("/1.0/certificates"))
        assert now - before <= 1
        added += now - before
    assert added > 0


def test_not_for_strangers_and_not_for_the_restricted(api, make):
    one, strange = make(), make()
    reply = api.post("/1.0/certificates", {"type": "client", "certificate": one.base64, "restricted": True,
                                           "projects": ["default"]})
    assert reply.status == 201
    for certificate in (one, strange):
        reply = tls.TlsClient(certificate).post("/1.0/certificates", {"type": "client", "name": "x", "token": True})
        assert reply.status == 403 and reply.error == "not authorized", reply
    token = issue(api)
    seen = tls.TlsClient(one).get(token.json["operation"])
    assert "secret" not in seen["metadata"]
    listed = tls.TlsClient(one).get("/1.0/operations?recursion=1")
    assert token.json["metadata"]["metadata"]["secret"] not in json.dumps(listed)
    assert tls.TlsClient(one).delete(token.json["operation"]).status == 403
    # another administrator does see it: list-tokens
    two = make()
    assert api.post("/1.0/certificates", {"type": "client", "certificate": two.base64}).status == 201
    assert tls.TlsClient(two).get(token.json["operation"])["metadata"]["secret"]


def test_no_event_carries_the_secret(api):
    events = api.websocket("/1.0/events?type=operation")
    reply = issue(api)
    api.delete(reply.json["operation"])
    secret, texts = reply.json["metadata"]["metadata"]["secret"], []
    while not texts or '"Cancelled"' not in texts[-1]:
        texts.append(events.recv()[1].decode())
    events.close()
    assert texts and not any(secret in text for text in texts)


def test_the_audit_log_tells_without_the_secret(api, make, daemon):
    metadata = issue(api).json["metadata"]["metadata"]
    use(make(), printable(metadata))
    text = (daemon.dir / "logs" / "audit.log").read_text()
    assert "token-issued" in text and "token-used" in text and metadata["secret"] not in text


def test_go_client(api, daemon, make):
    """Debian's lxc makes the token, lists it, revokes it; and uses one."""
    env = daemon.env(LXD_CONF=str(daemon.root / "go-client"))
    run = lambda *a, **k: subprocess.run(["/usr/bin/lxc", *a], env=env, capture_output=True, text=True, **k)
    out = run("config", "trust", "add", "--name", "gopher", check=True).stdout.strip()
    token = out.splitlines()[-1]
    listed = json.loads(run("config", "trust", "list-tokens", "-f", "json", check=True).stdout)
    assert [(t["ClientName"], t["Token"]) for t in listed] == [("gopher", token)]
    assert "deleted" in run("config", "trust", "revoke-token", "gopher", check=True).stdout
    assert json.loads(run("config", "trust", "list-tokens", "-f", "json", check=True).stdout) in ([], None)
    token = run("config", "trust", "add", "--name", "gopher", "-q", check=True).stdout.strip().splitlines()[-1]
    added = run("remote", "add", "here", token)
    assert added.returncode == 0, added
    assert [c["name"] for c in api.get("/1.0/certificates?recursion=1")] == ["gopher"]
    assert run("list", "here:").returncode == 0
