"""Certificates restricted to projects: what they may, what they see, and that they cannot get out."""
import json

import pytest

from helpers import tls, ws

pytestmark = pytest.mark.ours

_count = 0


@pytest.fixture(scope="module")
def listening(daemon):
    reply = daemon.api.patch("/1.0", {"config": {"core.https_address": "127.0.0.1:8443", "core.trust_password": "foo",
                                                 "user.secret": "x"}})
    assert reply.status == 200, reply
    return daemon


@pytest.fixture
def make(listening):
    def certificate():
        global _count
        _count += 1
        return tls.make_certificate(listening.root / "certs", f"client{_count}")
    return certificate


@pytest.fixture
def client(listening, make):
    """Makes a client; all entries go at the end."""
    def make_client(projects=None, restricted=True, **fields):
        one = make()
        reply = listening.api.post("/1.0/certificates", {"type": "client", "certificate": one.base64,
                                                         "restricted": restricted, "projects": projects, **fields})
        assert reply.status == 201, reply
        return tls.TlsClient(one)
    yield make_client
    for url in listening.api.get("/1.0/certificates"):
        assert listening.api.delete(url).status == 200


def denied(reply):
    assert reply.status == 403 and reply.error == "not authorized", reply


def test_the_server(client):
    for projects in (["default"], []):
        shown = client(projects).get("/1.0")
        assert shown["auth"] == "trusted" and shown["config"] is None and shown["environment"]["certificate"]
    assert client(["default"], restricted=False).get("/1.0")["config"]["user.secret"] == "x"


def test_projects(client):
    inside, outside = client(["default"]), client([])
    assert inside.get("/1.0/projects") == ["/1.0/projects/default"]
    assert [p["name"] for p in inside.get("/1.0/projects?recursion=1")] == ["default"]
    assert inside.get("/1.0/projects/default")["name"] == "default"
    assert outside.get("/1.0/projects") == [] and outside.get("/1.0/projects?recursion=1") == []
    # where it holds nothing: the same whether it is there or not
    bodies = {outside.request("GET", f"/1.0/projects/{p}").body for p in ("default", "nosuch")}
    bodies.add(inside.request("GET", "/1.0/projects/nosuch").body)
    bodies |= {outside.request("GET", f"/1.0/instances?project={p}").body for p in ("default", "nosuch")}
    bodies.add(inside.request("GET", "/1.0/instances?project=nosuch").body)
    bodies.add(inside.request("GET", "/1.0/resources?project=nosuch").body)
    assert len(bodies) == 1 and json.loads(bodies.pop())["error"] == "not authorized"
    for one in (inside, outside):
        denied(one.post("/1.0/projects", {"name": "p"}))
        denied(one.put("/1.0/projects/default", {"config": {}}))
        denied(one.patch("/1.0/projects/default", {"config": {}}))
        denied(one.post("/1.0/projects/default", {"name": "p"}))
        denied(one.delete("/1.0/projects/default"))


def test_networks(listening, client):
    """Those of its project, but for what they are configured to be: the values may be secrets."""
    inside, outside, admin = client(["default"]), client([]), client([], restricted=False)
    made = inside.post("/1.0/networks", {"name": "br0", "config": {"ipv4.address": "192.0.2.1/24", "ipv6.address": "none", "user.secret": "x"}})
    assert made.status == 201
    try:
        assert admin.get("/1.0/networks/br0")["config"]["user.secret"] == "x"
        assert inside.get("/1.0/networks/br0")["config"] == {}
        assert {str(n["config"]) for n in inside.get("/1.0/networks?recursion=1")} == {"{}"}
        assert inside.get("/1.0/networks/br0/leases")[0]["address"] == "192.0.2.1"
        assert inside.patch("/1.0/networks/br0", {"config": {"user.x": "y"}}).status == 200
        assert admin.get("/1.0/networks/br0")["config"]["user.secret"] == "x"
        for path in ("/1.0/networks", "/1.0/networks/br0", "/1.0/networks/br0/state", "/1.0/networks/br0/leases", "/1.0/networks/nosuch"):
            denied(outside.request("GET", path))
        denied(outside.post("/1.0/networks", {"name": "br1"}))
        denied(outside.post("/1.0/networks/br0", {"name": "br1"}))
        denied(outside.patch("/1.0/networks/br0", {"config": {}}))
        denied(outside.put("/1.0/networks/br0", {"config": {}}))
        denied(outside.delete("/1.0/networks/br0"))
    finally:
        assert inside.delete("/1.0/networks/br0").status == 200


@pytest.mark.parametrize("key,value", [("raw.dnsmasq", "dhcp-script=/bin/true"), ("bridge.external_interfaces", "eth9")])
def test_networks_do_not_lead_to_the_host(listening, client, key, value):
    """Programs that dnsmasq starts are root's, and the host's interfaces are nobody else's: by no route that changes a network."""
    inside, admin = client(["default"]), client([], restricted=False)
    refusal = f'Only administrators of the server may change "{key}"'
    config = {"ipv4.address": "192.0.2.1/24", "ipv6.address": "none"}
    refused = inside.post("/1.0/networks", {"name": "br0", "config": {**config, key: value}})
    assert (refused.status, refused.error) == (403, refusal)
    assert admin.request("GET", "/1.0/networks/br0").status == 404
    kept = {"raw.dnsmasq": "dhcp-option=44,192.0.2.9"}.get(key, value)
    assert admin.post("/1.0/networks", {"name": "br0", "config": {**config, key: kept}}).status == 201
    try:
        for method in ("PUT", "PATCH"):
            for changed in (value + "x", ""):
                refused = inside.request(method, "/1.0/networks/br0", {"config": {**config, key: changed}})
                assert (refused.status, refused.error) == (403, refusal), (method, changed)
            # it cannot see the key, so it does not lose it either
            assert inside.request(method, "/1.0/networks/br0", {"config": {**config, "user.by": method}}).status == 200
            shown = admin.get("/1.0/networks/br0")["config"]
            assert shown[key] == kept and shown["user.by"] == method
    finally:
        assert inside.delete("/1.0/networks/br0").status == 200


def test_what_is_the_administrators(client):
    one = client(["default"])
    denied(one.put("/1.0", {"config": {}}))
    denied(one.patch("/1.0", {"config": {"user.x": "y"}}))
    denied(one.post("/1.0/storage-pools", {"name": "p", "driver": "dir"}))
    denied(one.put("/1.0/storage-pools/default", {"config": {}}))
    denied(one.patch("/1.0/storage-pools/default", {"config": {}}))
    denied(one.delete("/1.0/storage-pools/default"))
    denied(one.request("GET", "/1.0/warnings"))
    denied(one.request("GET", "/internal/ready"))
    denied(one.request("GET", "/internal/trust"))
    denied(one.put("/internal/shutdown"))
    full = client(restricted=False)
    denied(full.put("/internal/shutdown"))
    denied(full.request("GET", "/internal/ready"))


def test_pools_without_their_configuration(client):
    inside, outside = client(["default"]), client([])
    for one in (inside, outside):
        assert one.get("/1.0/storage-pools") == ["/1.0/storage-pools/default"]
        assert one.get("/1.0/storage-pools/default")["config"] is None
        assert one.get("/1.0/storage-pools?recursion=1")[0]["config"] is None
        assert one.get("/1.0/resources")["cpu"]["total"]
    assert "/1.0/profiles/default" in inside.get("/1.0/storage-pools/default")["used_by"]
    assert outside.get("/1.0/storage-pools/default")["used_by"] == []


def test_works_in_its_project(client, listening):
    one, name = client(["default"]), listening.new_name()
    one.done(one.create(name))
    assert one.get(f"/1.0/instances/{name}")["name"] == name
    assert one.patch(f"/1.0/instances/{name}", {"config": {"user.a": "b"}}).status in (200, 202)
    one.done(one.delete(f"/1.0/instances/{name}"))
    assert one.post("/1.0/profiles", {"name": "p-restricted"}).status == 201
    assert one.delete("/1.0/profiles/p-restricted").status == 200
    outside = client([])
    denied(outside.create(name))
    denied(outside.request("GET", "/1.0/instances"))
    denied(outside.request("GET", "/1.0/profiles"))


def test_its_own_certificate_alone(client, make, listening):
    one, other = client(["default"]), client(restricted=False)
    mine, theirs = (f"/1.0/certificates/{c.certificate.fingerprint}" for c in (one, other))
    assert one.get("/1.0/certificates") == [mine]
    assert [c["fingerprint"] for c in one.get("/1.0/certificates?recursion=1")] == [one.certificate.fingerprint]
    assert one.get(mine[:-40])["fingerprint"] == one.certificate.fingerprint
    reply = one.request("GET", theirs)
    assert reply.status == 404 and reply.error == "Certificate not found", reply
    denied(one.delete(mine))
    denied(one.delete(theirs))
    for target in (theirs, "/1.0/certificates/" + "0" * 64):
        reply = one.patch(target, {"name": "x"})
        assert reply.status == 403 and reply.error == "Certificate cannot be changed", reply
    shown = one.get(mine)
    for change in ({"restricted": False}, {"name": "x"}, {"projects": ["default", "default"]}, {"projects": []},
                   {"type": "server"}, {"type": "metrics"}, {"type": "bogus"},
                   {"restricted": False, "certificate": make().pem}):
        for reply in (one.patch(mine, change), one.put(mine, {**shown, **change})):
            assert reply.status == 403 and reply.error == "Only the certificate can be changed", (change, reply)
    assert one.get(mine) == shown
    assert one.patch(mine, {}).status == 200 and one.put(mine, shown).status == 200


def test_renews_its_certificate(client, make, listening):
    one, new = client(["default"]), make()
    reply = one.patch(f"/1.0/certificates/{one.certificate.fingerprint}", {"certificate": new.pem})
    assert reply.status == 200, reply
    denied(one.request("GET", "/1.0/instances"))
    renewed = tls.TlsClient(new)
    assert renewed.get("/1.0/instances") == listening.api.get("/1.0/instances")
    stored = renewed.get(f"/1.0/certificates/{new.fingerprint}")
    assert stored["restricted"] is True and stored["projects"] == ["default"]


def audit_lines(listening):
    return [json.loads(line) for line in (listening.dir / "logs" / "audit.log").read_text().splitlines()]


def test_changes_of_nothing_leave_no_trace(client, listening):
    """Neither in the audit log nor on anybody's event stream, by whoever they come."""
    one = client(["default"], name="A")
    url = f"/1.0/certificates/{one.certificate.fingerprint}"
    shown = one.get(url)
    full = client(restricted=False)
    events = listening.api.websocket("/1.0/events?type=lifecycle")
    before = len(audit_lines(listening))
    for caller in (one, full, listening.api):
        for _ in range(30):
            for reply in (caller.patch(url, {}), caller.patch(url, {"name": "A"}), caller.put(url, shown),
                          caller.patch(url, {"certificate": one.certificate.pem})):
                assert reply.status == 200, reply
    assert len(audit_lines(listening)) == before
    assert listening.api.patch(url, {"name": "B"}).status == 200
    assert json.loads(events.recv(10)[1])["metadata"]["action"] == "certificate-updated"
    events.close()
    added = audit_lines(listening)[before:]
    assert [(e["event"], e["verdict"]) for e in added] == [("certificate-updated", "allowed")]


def test_renewals_are_bounded(client, make, listening):
    """Ten tries in an hour, over all certificates that the entry has had; the log has ten lines and a bounded number of denials."""
    one, other = client(["default"]), client(["default"])
    first, second = one.certificate, make()
    before = len(audit_lines(listening))
    for i in range(10):
        now, then = (first, second) if i % 2 == 0 else (second, first)
        reply = tls.TlsClient(now).patch(f"/1.0/certificates/{now.fingerprint}", {"certificate": then.pem})
        assert reply.status == 200, (i, reply)
    for _ in range(35):
        for body in ({"certificate": second.pem}, {"certificate": "rubbish"}):
            reply = tls.TlsClient(first).patch(f"/1.0/certificates/{first.fingerprint}", body)
            assert reply.status == 429 and reply.error == "Too many changes", reply
    added = [e for e in audit_lines(listening)[before:] if e["event"] == "certificate-updated"]
    assert [e["verdict"] for e in added].count("allowed") == 10
    assert [e["verdict"] for e in added].count("denied") == 60
    # others are not held back by it, nor is an administrator
    new = make()
    assert other.patch(f"/1.0/certificates/{other.certificate.fingerprint}", {"certificate": new.pem}).status == 200
    assert tls.TlsClient(new).get("/1.0")["auth"] == "trusted"
    assert listening.api.patch(f"/1.0/certificates/{first.fingerprint}", {"certificate": second.pem}).status == 200


def test_no_way_to_ask_who_is_trusted(client, make):
    """Somebody else's certificate is refused as any that cannot be changed, and nothing is said of why."""
    one, other = client(["default"]), client(restricted=False)
    mine = f"/1.0/certificates/{one.certificate.fingerprint}"
    for send in (one.patch, one.put):
        body = {**one.get(mine), "certificate": other.certificate.pem}
        reply = send(mine, body)
        assert reply.status == 403 and reply.error == "Certificate cannot be changed", reply
    for _ in range(8):
        assert one.patch(mine, {"certificate": other.certificate.pem}).status == 403
    assert one.patch(mine, {"certificate": other.certificate.pem}).status == 429
    assert one.get(mine)["certificate"] == one.certificate.pem
    # for an administrator it is the conflict that it is
    reply = other.patch(mine, {"certificate": other.certificate.pem})
    assert reply.status == 409 and reply.error == "Certificate already in trust store", reply


def test_strangers_hide_no_denial_of_a_known_certificate(client, listening):
    one = client(["default"])
    for _ in range(100):
        denied(tls.TlsClient().request("GET", "/1.0/instances"))
    before = len(audit_lines(listening))
    denied(one.patch("/1.0", {"config": {}}))
    added = audit_lines(listening)[before:]
    assert [(e["event"], e["verdict"], e["identity"]) for e in added] == [("request-denied", "denied", one.certificate.fingerprint)]


def test_adding_others(client, make):
    one, other = client(["default"]), make()
    post = lambda **body: one.post("/1.0/certificates", {"type": "client", **body})
    assert post().error == "Client is already trusted"
    assert post(password="foo").error == "Client is already trusted"
    denied(post(certificate=other.base64))
    denied(post(certificate=other.base64, password="bar"))
    denied(post(token=True, name="x"))
    assert post(certificate=other.base64, password="foo", restricted=True).status == 201


def test_restrictions_count_from_the_next_request(client, listening):
    one = client(restricted=False)
    url = f"/1.0/certificates/{one.certificate.fingerprint}"
    connection = one.connection()

    def ask(method, path, body=None):
        connection.request(method, path, body)
        reply = connection.getresponse()
        reply.read()
        return reply.status

    assert ask("GET", "/1.0/instances") == 200
    assert listening.api.patch(url, {"restricted": True, "projects": ["default"]}).status == 200
    assert one.request("GET", "/1.0/warnings").status == 403
    assert listening.api.patch(url, {"projects": []}).status == 200
    assert one.request("GET", "/1.0/instances").status == 403
    assert listening.api.patch(url, {"restricted": False}).status == 200
    assert one.request("GET", "/1.0/warnings").status == 200
    connection.close()


def test_events(client, listening):
    inside, outside = client(["default"]), client([])
    for one in (inside, outside):
        for query in ("?type=logging", "?type=lifecycle,logging"):
            with pytest.raises(ws.Refused) as refused:
                one.websocket("/1.0/events" + query + ("" if one is inside else "&all-projects=true"))
            assert refused.value.status == 403
    with pytest.raises(ws.Refused) as refused:
        outside.websocket("/1.0/events")
    assert refused.value.status == 403
    quiet, hears = outside.websocket("/1.0/events?all-projects=true"), inside.websocket("/1.0/events")
    assert listening.api.post("/1.0/profiles", {"name": "p-events"}).status == 201
    assert listening.api.delete("/1.0/profiles/p-events").status == 200
    event = json.loads(hears.recv()[1])
    assert event["type"] == "lifecycle" and event["metadata"]["action"] == "profile-created"
    # no log lines come, though the daemon writes some
    rest = json.loads(hears.recv()[1])
    assert rest["metadata"]["action"] == "profile-deleted"
    frames = []
    with pytest.raises(TimeoutError):
        while True:
            frames.append(quiet.recv_frame(0.5))
    assert not [f for f in frames if f[0] == ws.TEXT], frames
    quiet.close()
    hears.close()


def test_operations_of_others(client, listening):
    """Seen, but without the secrets of their websockets; cancelled only by who may do such a thing."""
    name = listening.new_name()
    listening.api.launch(name)
    maker, other, outside, admin = client(["default"]), client(["default"]), client([]), client(restricted=False)
    reply = maker.post(f"/1.0/instances/{name}/exec", {"command": ["sleep", "60"], "wait-for-websocket": True,
                                                       "interactive": True, "environment": {}})
    assert reply.status == 202, reply
    url, secrets = reply.json["operation"], reply.json["metadata"]["metadata"]["fds"]
    assert set(secrets) == {"0", "control"}
    assert maker.get(url)["metadata"]["fds"] == secrets
    for one in (other, admin, listening.api):
        shown = one.get(url)
        assert "fds" not in shown["metadata"] and shown["metadata"]["command"] == ["sleep", "60"]
        listed = json.dumps(one.get("/1.0/operations?recursion=1"))
        assert not any(secret in listed for secret in secrets.values())
        reply = one.request("GET", f"{url}/wait?timeout=0")
        assert not any(secret in reply.body.decode() for secret in secrets.values())
    assert outside.request("GET", url).status == 404
    assert outside.request("DELETE", url).status == 404
    assert url not in json.dumps(outside.get("/1.0/operations"))
    # the secret is all that a websocket needs
    assert other.request("GET", f"{url}/websocket?secret=x").status != 101
    sockets = [maker.websocket(f"{url}/websocket?secret={secret}") for secret in secrets.values()]
    for socket in sockets:
        socket.close()
    listening.api.remove(name)


def test_metrics(client):
    inside, outside = client(["default"]), client([])
    assert inside.request("GET", "/1.0/metrics").status == 200
    denied(outside.request("GET", "/1.0/metrics"))
    kept = client(["default"], type="metrics")
    assert kept.request("GET", "/1.0/metrics").status == 200
    denied(client([], type="metrics").request("GET", "/1.0/metrics"))
    denied(kept.request("GET", "/1.0/instances"))
    assert kept.get("/1.0")["auth"] == "untrusted"
