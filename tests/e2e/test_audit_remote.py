"""The audit log of a server on the network: every decision about trust is in it, with who asked and from where; secrets never are."""
import base64
import json
import subprocess

import pytest

from helpers.daemon import eventually
from helpers.tls import TlsClient, make_certificate

pytestmark = pytest.mark.ours

PASSWORD, OTHER, WRONG = "the first secret word", "the second secret word", "a wrong word that must not be kept"


@pytest.fixture(scope="module")
def server(bare_daemon):
    # a token names addresses where others can come to: the sandbox has none of its own
    subprocess.run(["ip", "address", "add", "192.0.2.77/32", "dev", "lo"], check=True)
    assert bare_daemon.api.patch("/1.0", {"config": {"core.https_address": "[::]:8443"}}).status == 200
    eventually(lambda: TlsClient().get("/1.0"))
    return bare_daemon


class Log:
    def __init__(self, daemon):
        self.path, self.seen = daemon.dir / "logs/audit.log", 0
        self.new()

    def text(self):
        return self.path.read_text()

    def new(self):
        """Lines that came since the last look."""
        lines = [json.loads(line) for line in self.text().splitlines()]
        fresh, self.seen = lines[self.seen:], len(lines)
        return fresh

    def one(self, event, verdict):
        """The one new line of that kind."""
        fresh = self.new()
        found = [line for line in fresh if (line["event"], line["verdict"]) == (event, verdict)]
        assert len(found) == 1, (event, verdict, fresh)
        return found[0]


def came_from(line, certificate, host, method, path, known=False):
    """@known: somebody who was trusted when they asked."""
    assert line["protocol"] == ("tls" if known else "none") and line["method"] == method and line["path"] == path, line
    assert line["identity"] == (certificate.fingerprint if certificate else ""), line
    address, _, port = line["address"].rpartition(":")
    assert address == host and 0 < int(port) < 65536, line
    return line


def token_text(operation):
    metadata = operation["metadata"]
    fields = {"client_name": metadata["request"]["name"], **{key: metadata[key] for key in ("fingerprint", "addresses", "secret")}}
    return base64.b64encode(json.dumps(fields).encode()).decode()


@pytest.mark.parametrize("host,shown", [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")], ids=["ipv4", "ipv6"])
def test_a_walk_through_all_decisions(server, host, shown):
    log = Log(server)
    folder = server.root / f"certs-{host.replace(':', '-')}"
    one, two, three, fenced = (make_certificate(folder, name) for name in ("one", "two", "three", "fenced"))
    admin, late, invited, nobody = TlsClient(one, host), TlsClient(two, host), TlsClient(three, host), TlsClient(None, host)
    add = ("POST", "/1.0/certificates")

    # the local administrator sets a password
    assert server.api.patch("/1.0", {"config": {"core.trust_password": PASSWORD}}).status == 200
    line = log.one("config-changed", "allowed")
    assert (line["protocol"], line["identity"], line["address"], line["detail"]) == ("unix", "root", "@", "core.trust_password")

    # strangers: with a certificate, without one, with a wrong password
    assert admin.request("GET", "/1.0/instances").status == 403
    came_from(log.one("request-denied", "denied"), one, shown, "GET", "/1.0/instances")
    assert nobody.request("DELETE", "/1.0/instances/x").status == 403
    came_from(log.one("request-denied", "denied"), None, shown, "DELETE", "/1.0/instances/x")
    assert admin.post("/1.0/certificates", {"type": "client", "password": WRONG}).status == 403
    came_from(log.one("trust-password", "failed"), one, shown, *add)

    # in by the password
    assert admin.post("/1.0/certificates", {"type": "client", "password": PASSWORD}).status == 201
    lines = {line["event"]: line for line in log.new()}
    came_from(lines["trust-password"], one, shown, *add)
    came_from(lines["certificate-added"], one, shown, *add)
    assert lines["trust-password"]["verdict"] == lines["certificate-added"]["verdict"] == "allowed"
    assert lines["certificate-added"]["detail"] == one.fingerprint

    # the new administrator changes the password from afar
    assert admin.patch("/1.0", {"config": {"core.trust_password": OTHER}}).status == 200
    assert came_from(log.one("config-changed", "allowed"), one, shown, "PATCH", "/1.0", known=True)["detail"] == "core.trust_password"

    # a token: issued, used, used again
    reply = admin.post("/1.0/certificates", {"type": "client", "name": "guest", "token": True})
    assert reply.status == 202
    assert came_from(log.one("token-issued", "allowed"), one, shown, *add, known=True)["detail"] == "guest"
    token = token_text(reply.metadata)
    assert invited.post("/1.0/certificates", {"type": "", "password": token}).status == 201
    lines = {line["event"]: line for line in log.new()}
    assert came_from(lines["token-used"], three, shown, *add)["detail"] == reply.metadata["id"]
    assert came_from(lines["certificate-added"], three, shown, *add)["detail"] == three.fingerprint
    assert late.post("/1.0/certificates", {"type": "", "password": token}).status == 403
    came_from(log.one("token-used", "failed"), two, shown, *add)

    # an addition, a change and a removal by the administrator
    assert admin.post("/1.0/certificates", {"type": "client", "certificate": fenced.base64, "restricted": True, "projects": ["default"]}).status == 201
    assert came_from(log.one("certificate-added", "allowed"), one, shown, *add, known=True)["detail"] == fenced.fingerprint
    where = f"/1.0/certificates/{three.fingerprint}"
    assert admin.patch(where, {"name": "renamed"}).status == 200
    assert three.fingerprint in came_from(log.one("certificate-updated", "allowed"), one, shown, "PATCH", where, known=True)["detail"]
    assert admin.delete(where).status == 200
    assert came_from(log.one("certificate-removed", "allowed"), one, shown, "DELETE", where, known=True)["detail"] == three.fingerprint

    # who has been removed, and who is only allowed some things
    assert invited.request("GET", "/1.0/instances").status == 403
    came_from(log.one("request-denied", "denied"), three, shown, "GET", "/1.0/instances")
    assert TlsClient(fenced, host).patch("/1.0", {"config": {"user.x": "1"}}).status == 403
    came_from(log.one("request-denied", "denied"), fenced, shown, "PATCH", "/1.0", known=True)
    assert admin.request("PUT", "/internal/shutdown").status == 403
    came_from(log.one("request-denied", "denied"), one, shown, "PUT", "/internal/shutdown", known=True)

    # what is no decision about trust is not in it
    assert admin.request("GET", "/1.0/instances").status == 200 and admin.patch("/1.0", {"config": {"user.y": host}}).status == 200
    assert log.new() == []

    for secret in (PASSWORD, OTHER, WRONG, token, reply.metadata["metadata"]["secret"]):
        assert secret not in log.text()
    for fingerprint in (one.fingerprint, fenced.fingerprint):
        assert server.api.delete(f"/1.0/certificates/{fingerprint}").status == 200
    # all of it holds together, with the daemon and without it
    assert server.admin("audit", "verify").stdout.startswith("OK: ")
    server.stop()
    assert server.admin("audit", "verify").stdout.startswith("OK: ")
    server.start()
    eventually(lambda: TlsClient().get("/1.0"))


def test_an_edited_line_about_a_stranger_is_found(server):
    """Somebody who wipes out that a certificate was added shows up in verify."""
    certificate = make_certificate(server.root / "certs-edit", "hidden")
    assert server.api.post("/1.0/certificates", {"type": "client", "certificate": certificate.base64}).status == 201
    path = server.dir / "logs/audit.log"
    kept = path.read_text()
    assert certificate.fingerprint in kept
    try:
        path.write_text(kept.replace(certificate.fingerprint, "0" * 64))
        result = server.admin("audit", "verify", check=False)
        assert result.returncode == 1 and "damaged" in result.stderr, result
    finally:
        path.write_text(kept)
    assert server.admin("audit", "verify").returncode == 0
    assert server.api.delete(f"/1.0/certificates/{certificate.fingerprint}").status == 200
