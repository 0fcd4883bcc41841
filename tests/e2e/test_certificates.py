"""/1.0/certificates over the UNIX socket: add, show, change, remove; prefixes, tags and what is refused."""
import base64
import hashlib
import json
import re
import subprocess

import pytest

from helpers import tls
from helpers.daemon import eventually

pytestmark = pytest.mark.ours


@pytest.fixture(scope="module")
def daemon(bare_daemon):
    return bare_daemon


@pytest.fixture
def api(daemon):
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


def add(api, certificate, status=201, **fields):
    reply = api.post("/1.0/certificates", {"type": "client", "certificate": certificate.base64, **fields})
    assert reply.status == status, reply
    return reply


def url(certificate):
    return f"/1.0/certificates/{certificate.fingerprint}"


def test_add_shows_in_lists_and_alone(api, make):
    one = make("castiana")
    reply = add(api, one)
    assert reply.headers["Location"] == url(one)
    assert reply.json["type"] == "sync" and reply.json["metadata"] is None
    assert api.get("/1.0/certificates") == [url(one)]
    shown = api.get(url(one))
    assert shown == {"name": "castiana", "type": "client", "restricted": False, "projects": [],
                     "certificate": shown["certificate"], "fingerprint": one.fingerprint}
    assert shown["certificate"].startswith("-----BEGIN CERTIFICATE-----\n")
    assert shown["certificate"].endswith("-----END CERTIFICATE-----\n")
    assert api.get("/1.0/certificates?recursion=1") == [shown]
    assert list(api.request("GET", url(one)).metadata) == ["name", "type", "restricted", "projects", "certificate",
                                                           "fingerprint"]


def test_added_again_is_a_conflict(api, make):
    one = make()
    add(api, one)
    assert add(api, one, 409).error == "Certificate already in trust store"
    assert len(api.get("/1.0/certificates")) == 1


def test_base64_with_line_breaks(api, make):
    one = make()
    body = base64.encodebytes(one.der).decode()
    assert "\n" in body[:-1]
    reply = api.post("/1.0/certificates", {"type": "client", "certificate": body.replace("\n", "\r\n")})
    assert reply.status == 201, reply


def test_every_field_is_kept(api, make, daemon):
    one = make()
    add(api, one, name="other", restricted=True, projects=["default"])
    before = api.get(url(one))
    assert (before["name"], before["restricted"], before["projects"]) == ("other", True, ["default"])
    two = make()
    add(api, two, type="metrics", projects=None)
    assert api.get(url(two))["type"] == "metrics" and api.get(url(two))["projects"] == []
    daemon.restart()
    assert api.get(url(one)) == before
    assert sorted(api.get("/1.0/certificates")) == sorted([url(one), url(two)])


@pytest.mark.parametrize("fields, status, text", [
    ({"type": ""}, 400, "Invalid certificate type"),
    ({"type": "unknown"}, 400, "Invalid certificate type"),
    ({"type": "server"}, 403, "cluster"),
    ({"certificate": ""}, 400, "Client is already trusted"),
    ({"certificate": "%%%"}, 400, "Invalid certificate material"),
    ({"certificate": base64.b64encode(b"not a certificate").decode()}, 400, "Invalid certificate material"),
    ({"certificate": base64.b64encode(b"0" * 40000).decode()}, 400, "Invalid certificate material"),
    ({"projects": ["nosuch"]}, 404, "nosuch"),
    ({"projects": "default"}, 400, "projects"),
    ({"restricted": "yes"}, 400, "restricted"),
    ({"name": 7}, 400, "name"),
    ({"token": True}, 400, "Can't use certificate if token is requested"),
    ({"token": True, "certificate": ""}, 400, "Can't issue token when server isn't listening on network"),
    ({"token": True, "certificate": "", "type": "metrics"}, 400, "Tokens can only be issued for client certificates"),
])
def test_refused(api, make, fields, status, text):
    reply = api.post("/1.0/certificates", {"type": "client", "certificate": make().base64, **fields})
    assert reply.status == status and text in reply.error, reply
    assert api.get("/1.0/certificates") == []


def test_bodies_that_are_no_json(api):
    for body in (b"", b"{", b"[]", b"null", b"\xff\xfe"):
        assert api.post("/1.0/certificates", body).status == 400, body


def test_validity_and_strength(api, make, daemon):
    weak = make("weak", key="rsa:1024", digest="sha256")
    assert add(api, weak, 400).error == "RSA key is too weak (minimum of 2048bit)"
    add(api, make("strong", key="rsa:2048", digest="sha256"))
    for name, begin, end, text in [("old", "20200101000000Z", "20210101000000Z", "The provided certificate is expired"),
                                   ("young", "20900101000000Z", "20910101000000Z",
                                    "The provided certificate isn't valid yet")]:
        assert add(api, dated(daemon, name, begin, end), 400).error == text


def dated(daemon, name, begin, end):
    """A self-signed certificate with these dates, by `openssl ca`."""
    base = daemon.root / "certs" / f"ca-{name}"
    base.mkdir(parents=True)
    (base / "index").write_text("")
    (base / "serial").write_text("01\n")
    (base / "conf").write_text("[ca]\ndefault_ca=d\n[d]\ndatabase=%s/index\nserial=%s/serial\nnew_certs_dir=%s\n"
                               "default_md=sha384\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n[e]\n"
                               "extendedKeyUsage=clientAuth\n" % (base, base, base))
    tls.openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-keyout",
                base / "key", "-out", base / "csr", "-subj", f"/CN={name}")
    tls.openssl("ca", "-batch", "-config", base / "conf", "-selfsign", "-keyfile", base / "key", "-in", base / "csr",
                "-out", base / "crt", "-notext", "-startdate", begin, "-enddate", end)
    return tls.Certificate(base / "crt", base / "key")


def test_prefixes(api, make):
    certificates = [make() for _ in range(17)]  # two begin with the same digit
    for one in certificates:
        add(api, one)
    first = certificates[0].fingerprint
    for prefix in (first[:12], first[:12].upper(), first):
        assert api.get(f"/1.0/certificates/{prefix}")["fingerprint"] == first
    digits = [c.fingerprint[0] for c in certificates]
    shared = next(d for d in digits if digits.count(d) > 1)
    for method in ("GET", "DELETE"):
        reply = api.request(method, f"/1.0/certificates/{shared}")
        assert reply.status == 500 and reply.error == "More than one certificate matches", reply
    for bad in ("%25", "_", "zz", "%2e%2e", first + "0", "0" * 64, f"{first[:8]}%00"):
        reply = api.request("GET", f"/1.0/certificates/{bad}")
        assert reply.status == 404, (bad, reply)
    assert api.request("DELETE", f"/1.0/certificates/{first[:12]}").status == 200
    assert len(api.get("/1.0/certificates")) == 16


def test_etag(api, make):
    one = make()
    add(api, one, name="<b>&")
    reply = api.request("GET", url(one))
    tag = reply.headers["ETag"]
    assert re.fullmatch(r'"[0-9a-f]{64}"', tag)
    stale = api.patch(url(one), {"name": "x"}, headers={"If-Match": '"0000"'})
    assert stale.status == 412 and stale.error.startswith("ETag doesn't match: "), stale
    assert api.patch(url(one), {"name": "x"}, headers={"If-Match": tag}).status == 200
    assert api.request("GET", url(one)).headers["ETag"] != tag
    assert api.patch(url(one), {"name": "y"}, headers={"If-Match": tag}).status == 412


def test_the_tag_is_what_go_makes(api, make):
    one = make()
    add(api, one, name="a<b")
    reply = api.request("GET", url(one))
    text = json.dumps(reply.metadata, separators=(",", ":")).replace("<", "\\u003c") + "\n"
    assert reply.headers["ETag"].strip('"') == hashlib.sha256(text.encode()).hexdigest()


def test_change_by_put_and_patch(api, make):
    one = make()
    add(api, one)
    assert api.patch(url(one), {"name": "new", "restricted": True}).status == 200
    shown = api.get(url(one))
    assert (shown["name"], shown["restricted"], shown["type"]) == ("new", True, "client")
    shown.update(name="put", projects=["default"])
    assert api.put(url(one), shown).status == 200
    assert api.get(url(one)) == shown
    assert api.patch(url(one), {}).status == 200
    assert api.get(url(one)) == shown


def test_a_new_certificate_moves_the_entry(api, make):
    old, new, third = make(), make(), make()
    add(api, old, name="keeps", restricted=True, projects=["default"])
    add(api, third)
    assert api.patch(url(old), {"certificate": third.pem}).status == 409
    assert api.patch(url(old), {"certificate": new.pem}).status == 200
    assert api.request("GET", url(old)).status == 404
    shown = api.get(url(new))
    assert (shown["name"], shown["restricted"], shown["projects"]) == ("keeps", True, ["default"])
    assert shown["certificate"] == new.pem


@pytest.mark.parametrize("fields, status, text", [
    ({"type": "server"}, 403, "The certificate type cannot be changed"),
    ({"type": "metrics"}, 403, "The certificate type cannot be changed"),
    ({"type": "cluster"}, 400, "Invalid certificate type"),
    ({"projects": ["nosuch"]}, 404, "nosuch"),
    ({"certificate": "rubbish"}, 400, "Invalid certificate material"),
    ({"certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}, 400,
     "Invalid certificate material"),
])
def test_changes_that_are_refused(api, make, fields, status, text):
    one = make()
    add(api, one)
    before = api.get(url(one))
    for send in (lambda: api.patch(url(one), fields), lambda: api.put(url(one), {**before, **fields})):
        reply = send()
        assert reply.status == status and text in reply.error, reply
    assert api.get(url(one)) == before


def test_what_is_not_there(api):
    for method, body in (("GET", None), ("PUT", {}), ("PATCH", {}), ("DELETE", None)):
        reply = api.request(method, "/1.0/certificates/" + "a" * 64, body)
        assert reply.status == 404 and reply.error == "Certificate not found", reply
    assert api.request("POST", "/1.0/certificates/" + "a" * 64, {}).status == 501


def test_lifecycle_events(api, make, daemon):
    one, two = make(), make()
    events = api.websocket("/1.0/events?type=lifecycle")
    add(api, one)
    api.patch(url(one), {"certificate": two.pem})
    api.delete(url(two))
    got = [json.loads(events.recv()[1])["metadata"] for _ in range(3)]
    events.close()
    assert [(e["action"], e["source"]) for e in got] == [
        ("certificate-created", url(one)), ("certificate-updated", url(two)), ("certificate-deleted", url(two))]
    assert got[0]["requestor"]["protocol"] == "unix"


def test_decisions_are_in_the_audit_log(api, make, daemon):
    one = make()
    add(api, one)
    api.delete(url(one))
    text = (daemon.dir / "logs" / "audit.log").read_text()
    for event in ("certificate-added", "certificate-removed"):
        assert any(event in line and one.fingerprint in line for line in text.splitlines()), event


def test_kill_9_loses_nothing_acknowledged(api, make, daemon):
    one = make()
    add(api, one)
    daemon.kill()
    daemon.start()
    assert api.get("/1.0/certificates") == [url(one)]
    assert api.delete(url(one)).status == 200
    daemon.kill()
    daemon.start()
    assert api.get("/1.0/certificates") == []


def test_lists_of_both_clients(api, make, daemon):
    one = make("seen-by-go")
    add(api, one)
    out = subprocess.run(["/usr/bin/lxc", "config", "trust", "list", "--format", "csv"], env=daemon.env(),
                         capture_output=True, text=True, check=True).stdout
    assert "seen-by-go" in out and one.fingerprint[:12] in out
    subprocess.run(["/usr/bin/lxc", "config", "trust", "remove", one.fingerprint[:12]], env=daemon.env(), check=True,
                   capture_output=True)
    eventually(lambda: api.get("/1.0/certificates") == [], what="removed by the Go client")
