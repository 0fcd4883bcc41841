"""Roles: what auditor, user, operator and admin of a project can really do, how they are granted, and that rights follow
their project and their certificate."""
import itertools
import json

import pytest

from helpers import tls
from helpers.client import OURS, ClientProgram
from helpers.projects import in_project, project  # noqa: F401 (a fixture)
from helpers.tokens import issue, printable, use

pytestmark = pytest.mark.ours

ROLES = ("auditor", "user", "operator", "admin")
_count = itertools.count()


@pytest.fixture(scope="module")
def listening(daemon):
    assert daemon.api.patch("/1.0", {"config": {"core.https_address": "127.0.0.1:8443"}}).status == 200
    return daemon


@pytest.fixture
def client(listening):
    """Makes a client with a certificate that is restricted to @projects; all go at the end."""
    def make(projects=(), **fields):
        one = tls.make_certificate(listening.root / "certs", f"role{next(_count)}")
        reply = listening.api.post("/1.0/certificates", {"type": "client", "certificate": one.base64, "restricted": True,
                                                         "projects": list(projects), **fields})
        assert reply.status == 201, reply
        return tls.TlsClient(one)

    yield make
    for url in listening.api.get("/1.0/certificates"):
        assert listening.api.delete(url).status == 200
    for group in listening.api.get("/1.0/auth/groups"):
        assert listening.api.delete(group).status == 200
    assert listening.api.get("/1.0/auth/bindings") == []


def bind(api, client, role, project=None, scope=None, want=201):
    identity = client if isinstance(client, str) else f"tls/{client.certificate.fingerprint}"
    reply = api.post("/1.0/auth/bindings", {"identity": identity, "role": role, "project": project or "",
                                            "scope": scope or ("project" if project else "server")})
    assert reply.status == want, reply
    return reply


def denied(reply):
    assert reply.status == 403 and reply.error == "not authorized", reply


def test_what_each_role_does(api, listening, client, project):
    name, inside = listening.new_name(), in_project(project, "pr")
    inside.launch(name)
    url = f"/1.0/instances/{name}"
    for role in ROLES:
        one = client()
        denied(one.in_project("pr").request("GET", "/1.0/instances"))
        bind(api, one, role, "pr")
        one = one.in_project("pr")
        uses, makes = role != "auditor", role in ("operator", "admin")
        assert one.get(url)["name"] == name and one.get("/1.0/profiles/default")["name"] == "default"
        assert one.get(f"{url}/state")["status"] == "Running"
        assert one.get("/1.0/projects") == ["/1.0/projects/pr"]

        reply = one.post(f"{url}/exec", {"command": ["true"], "wait-for-websocket": False, "interactive": False,
                                         "environment": {}})
        assert reply.status == (202 if uses else 403), (role, reply)
        if uses:
            one.done(reply)
        reply = one.put(f"{url}/state", {"action": "freeze"})
        assert reply.status == (202 if uses else 403), (role, reply)
        if uses:
            one.done(reply)
            one.done(one.put(f"{url}/state", {"action": "unfreeze"}))
        assert one.request("GET", f"{url}/files?path=/").status == (200 if uses else 403)

        reply = one.patch(url, {"config": {"user.by": role}})
        assert (reply.status in (200, 202)) == makes and (makes or reply.status == 403), (role, reply)
        reply = one.post("/1.0/profiles", {"name": "other"})
        assert reply.status == (201 if makes else 403), (role, reply)
        if makes:
            assert one.delete("/1.0/profiles/other").status == 200
        other = listening.new_name()
        reply = one.create(other)
        assert reply.status == (202 if makes else 403), (role, reply)
        if makes:
            one.done(reply)
            one.remove(other)

        reply = one.patch("/1.0/projects/pr", {"description": f"by {role}"})
        assert reply.status == (200 if role == "admin" else 403), (role, reply)
        # nobody but the server's administrators
        for path in ("/1.0/instances?project=default", "/1.0/warnings", "/1.0/auth/bindings", "/1.0/auth/groups"):
            assert one.request("GET", path).status == 403, (role, path)
        assert one.request("POST", "/1.0/projects", {"name": "mine"}).status == 403
        assert one.request("POST", "/1.0/projects/pr", {"name": "mine"}).status == 403
        assert one.request("DELETE", "/1.0/projects/pr").status == 403
        denied(one.request("POST", "/1.0/auth/bindings", {"identity": "x", "role": "admin", "scope": "server"}))


def test_reading_by_copying(api, listening, client, project):
    """Whoever may only look at instances does not get what is in them by copying or publishing one to where it may do more."""
    in_project(project, "to")
    name, inside = listening.new_name(), in_project(project, "from")
    inside.done(inside.create(name))
    inside.done(inside.post(f"/1.0/instances/{name}/snapshots", {"name": "s"}))
    one = client()
    bind(api, one, "auditor", "from")
    bind(api, one, "admin", "to")
    bodies = [("to", "/1.0/instances", {"name": f"{name}-2", "source": {"type": "copy", "project": "from", "source": source}})
              for source in (name, f"{name}/s")]
    for where, path, body in bodies:
        denied(one.in_project(where).post(path, body))
    for source in ({"type": "instance", "name": name}, {"type": "snapshot", "name": f"{name}/s"}):
        denied(one.in_project("from").post("/1.0/images", {"source": source}))
    for path in (f"/1.0/instances/{name}", f"/1.0/instances/{name}/snapshots/s"):
        denied(one.in_project("from").post(path, {"migration": True, "name": name}))
    bind(api, one, "user", "from")
    where, path, body = bodies[0]
    to = one.in_project(where)
    to.done(to.post(path, body))
    to.remove(f"{name}-2")


def test_scopes(api, client, project):
    project("pr")
    everywhere, boss = client(), client()
    bind(api, everywhere, "auditor", scope="projects")
    bind(api, boss, "admin")
    assert everywhere.get("/1.0/projects") == ["/1.0/projects/default", "/1.0/projects/pr"]
    denied(everywhere.request("GET", "/1.0/warnings"))
    assert boss.get("/1.0/warnings") is not None and boss.get("/1.0")["config"] is not None
    assert boss.post("/1.0/projects", {"name": "later"}).status == 201
    assert everywhere.get("/1.0/projects/later")["name"] == "later"
    assert boss.delete("/1.0/projects/later").status == 200
    # admin in all projects is no administrator of the server
    bind(api, everywhere, "admin", scope="projects")
    denied(everywhere.request("GET", "/1.0/warnings"))
    denied(everywhere.post("/1.0/projects", {"name": "later"}))
    assert everywhere.patch("/1.0/projects/pr", {"description": "x"}).status == 200


def test_a_project_s_admin_does_not_loosen_it(api, client, project):
    project("pr", {"limits.containers": "3", "restricted": "true"})
    one = client()
    bind(api, one, "admin", "pr")
    before = api.get("/1.0/projects/pr")["config"]
    for change in ({"restricted": "false"}, {"restricted": ""}, {"limits.containers": "4"}, {"limits.containers": ""},
                   {"features.images": "false"}, {"restricted.containers.privilege": "allow"}, {"limits.memory": "1GiB"}):
        reply = one.patch("/1.0/projects/pr", {"config": change})
        assert reply.status == 403 and "Only administrators of the server may change" in reply.error, (change, reply)
    assert one.put("/1.0/projects/pr", {"config": {}}).status == 403
    assert api.get("/1.0/projects/pr")["config"] == before
    assert one.patch("/1.0/projects/pr", {"config": {"user.note": "mine"}}).status == 200


def test_nobody_raises_their_own_rights(api, listening, client, project):
    """Every way to more rights that a caller's requests could open, by callers of each role: none changes what it holds."""
    in_project(project, "pr", {"restricted": "true"})
    project("another")
    for role in (*ROLES, None):
        one = client(["pr"] if role is None else [])
        mine = f"/1.0/certificates/{one.certificate.fingerprint}"
        if role:
            bind(api, one, role, "pr")
        inside = one.in_project("pr")
        binding = next((b["id"] for b in api.get("/1.0/auth/bindings") if b["identity"].endswith(one.certificate.fingerprint)), 0)
        new = tls.make_certificate(listening.root / "certs", f"role{next(_count)}")
        attempts = [
            *(("PATCH", mine, body) for body in ({"restricted": False}, {"projects": ["pr", "another"]}, {"type": "metrics"})),
            ("PUT", mine, {"name": "x", "type": "client", "restricted": False, "projects": []}),
            ("POST", "/1.0/certificates", {"type": "client", "restricted": False, "certificate": new.base64}),
            ("POST", "/1.0/certificates", {"type": "client", "token": True, "name": "x"}),
            ("POST", "/1.0/auth/bindings", {"identity": f"tls/{one.certificate.fingerprint}", "role": "admin", "scope": "server"}),
            ("DELETE", f"/1.0/auth/bindings/{binding}", None),
            ("POST", "/1.0/auth/groups", {"name": "g", "members": [f"tls/{one.certificate.fingerprint}"]}),
            ("PATCH", "/1.0", {"config": {"core.trust_password": "x"}}),
            ("PATCH", "/1.0", {"config": {"candid.default_role": "admin"}}),
            ("PATCH", "/1.0/projects/pr", {"config": {"restricted": "false"}}),
            ("PUT", "/1.0/projects/another", {"config": {}}),
            ("POST", "/1.0/instances", {"name": "a", "source": {"type": "none"}, "config": {"raw.lxc": "lxc.a=b"}}),
            ("POST", "/1.0/instances", {"name": "a", "source": {"type": "none"}, "config": {"security.privileged": "true"}}),
            ("POST", "/1.0/instances", {"name": "a", "source": {"type": "none"}, "config": {"raw.idmap": "both 0 0"}}),
            ("POST", "/1.0/instances", {"name": "a", "source": {"type": "none"},
                                        "devices": {"d": {"type": "disk", "source": "/", "path": "/mnt"}}}),
            ("PATCH", "/1.0/profiles/default", {"config": {"raw.lxc": "lxc.a=b"}}),
            ("PATCH", "/1.0/profiles/default", {"devices": {"k": {"type": "unix-char", "source": "/dev/kmsg"}}}),
            ("POST", "/1.0/instances", {"name": "a", "source": {"type": "copy", "source": "x", "project": "another"}}),
        ]
        for method, path, body in attempts:
            reply = inside.request(method, path, body)
            if reply.status == 202:
                assert inside.wait(reply)["status_code"] == 400, (role, method, path, body)
            else:
                assert reply.status in (400, 403, 404), (role, method, path, body, reply)
        stored = api.get(mine)
        assert stored["restricted"] is True and stored["type"] == "client" and "another" not in stored["projects"]
        assert api.get("/1.0/projects/pr")["config"]["restricted"] == "true"
        denied(one.in_project("another").request("GET", "/1.0/instances"))
        denied(one.request("GET", "/1.0/warnings"))
        assert one.get("/1.0")["config"] is None
        assert api.get("/1.0/instances?project=pr") == []
    assert api.get("/1.0/auth/groups") == []


# --- rights follow ---

def test_rights_follow_the_project(api, client):
    """Renamed: they go on under the new name. Deleted and made anew: a stranger's project."""
    assert api.post("/1.0/projects", {"name": "old"}).status == 201
    listed, bound, token = client(["old"]), client(), client()
    bind(api, bound, "auditor", "old")
    api.done(api.post("/1.0/projects/old", {"name": "new"}))
    for one in (listed, bound):
        assert one.get("/1.0/projects") == ["/1.0/projects/new"]
        denied(one.in_project("old").request("GET", "/1.0/instances"))
    assert api.get(f"/1.0/certificates/{listed.certificate.fingerprint}")["projects"] == ["new"]
    assert api.post("/1.0/projects", {"name": "old"}).status == 201
    for one in (listed, bound):
        denied(one.in_project("old").request("GET", "/1.0/instances"))
    for name in ("new", "old"):
        assert api.delete(f"/1.0/projects/{name}").status == 200
    assert api.post("/1.0/projects", {"name": "new"}).status == 201
    for one in (listed, bound):
        assert one.get("/1.0/projects") == []
        denied(one.in_project("new").request("GET", "/1.0/instances"))
    assert api.get(f"/1.0/certificates/{listed.certificate.fingerprint}")["projects"] == []
    assert api.delete("/1.0/projects/new").status == 200


@pytest.mark.parametrize("end", ["rename", "delete"])
def test_invitations_end_with_the_project(api, listening, end):
    """A token for a project is none for another one that gets its name later."""
    assert api.post("/1.0/projects", {"name": "old"}).status == 201
    issued = issue(api, restricted=True, projects=["old"])
    kept = issue(api, restricted=True, projects=["default"])
    if end == "rename":
        api.done(api.post("/1.0/projects/old", {"name": "new"}))
        assert api.delete("/1.0/projects/new").status == 200
    else:
        assert api.delete("/1.0/projects/old").status == 200
    assert api.post("/1.0/projects", {"name": "old"}).status == 201
    one = tls.make_certificate(listening.root / "certs", f"role{next(_count)}")
    reply = use(one, printable(issued.metadata["metadata"]))
    assert reply.status == 403 and reply.error == "No matching certificate add operation found", reply
    assert api.get("/1.0/certificates") == []
    assert use(one, printable(kept.metadata["metadata"])).status == 201
    assert tls.TlsClient(one).get("/1.0/projects") == ["/1.0/projects/default"]
    assert api.delete(f"/1.0/certificates/{one.fingerprint}").status == 200
    assert api.delete("/1.0/projects/old").status == 200


def test_rights_follow_a_renewed_certificate(api, listening, client, project):
    project("pr")
    one = client()
    bind(api, one, "auditor", "pr")
    new = tls.make_certificate(listening.root / "certs", f"role{next(_count)}")
    assert one.patch(f"/1.0/certificates/{one.certificate.fingerprint}", {"certificate": new.pem}).status == 200
    assert tls.TlsClient(new).get("/1.0/projects") == ["/1.0/projects/pr"]
    assert [b["identity"] for b in api.get("/1.0/auth/bindings")] == [f"tls/{new.fingerprint}"]


def test_sessions_end_with_the_right_to_them(api, client, project):
    project("pr")
    one, other = client(), client()
    bind(api, one, "user", "pr")
    bind(api, other, "user", "pr")
    first, second = (c.websocket("/1.0/events?project=pr") for c in (one, other))
    first_binding = api.get("/1.0/auth/bindings")[0]
    assert first_binding["identity"] == f"tls/{one.certificate.fingerprint}"
    bind(api, one, "operator", "pr")  # more is no loss
    assert api.post("/1.0/profiles?project=pr", {"name": "p1"}).status == 201
    for socket in (first, second):
        assert json.loads(socket.recv()[1])["metadata"]["action"] == "profile-created"
    assert api.delete(f"/1.0/auth/bindings/{first_binding['id']}").status == 200
    # the operator's role covers it all
    assert api.delete("/1.0/profiles/p1?project=pr").status == 200
    for socket in (first, second):
        assert json.loads(socket.recv()[1])["metadata"]["action"] == "profile-deleted"
    for b in api.get("/1.0/auth/bindings"):
        if b["identity"] == f"tls/{one.certificate.fingerprint}":
            assert api.delete(f"/1.0/auth/bindings/{b['id']}").status == 200
    while first.recv():
        pass
    assert first.closed
    assert api.post("/1.0/profiles?project=pr", {"name": "p1"}).status == 201
    assert json.loads(second.recv()[1])["metadata"]["action"] == "profile-created"
    second.close()


def test_after_a_restart(api, listening, client, project):
    project("pr")
    one = client()
    bind(api, one, "auditor", "pr")
    listening.restart()
    assert one.get("/1.0/projects") == ["/1.0/projects/pr"]


# --- granting ---

def test_commands(api, listening, client, project):
    project("pr")
    one = client()
    name = f"tls/{one.certificate.fingerprint}"
    lxc = ClientProgram(listening, OURS, listening.root / f"client-{listening.new_name()}", key=False)
    assert [line.split(",")[0] for line in lxc("auth", "role", "list", "-f", "csv")[0].splitlines() if "," in line] == [
        "admin", "auditor", "operator", "user"]
    assert lxc("auth", "binding", "add", name[:24], "auditor", "pr") == ("", "")
    assert lxc("auth", "binding", "list", "-f", "csv")[0] == f"{name},auditor,pr\n"
    assert one.get("/1.0/projects") == ["/1.0/projects/pr"]
    assert lxc("auth", "binding", "remove", name[:24], "auditor", "pr") == ("", "")
    assert one.get("/1.0/projects") == []
    assert lxc("auth", "group", "create", "team", "Those of pr")[0] == "Group team created\n"
    assert lxc("auth", "binding", "add", "group/team", "user", "pr") == ("", "")
    assert lxc("auth", "group", "add", "team", name) == ("", "")
    assert one.get("/1.0/projects") == ["/1.0/projects/pr"]
    assert lxc("auth", "group", "list", "-f", "csv")[0] == f"team,Those of pr,{name}\n"
    assert lxc("auth", "group", "remove", "team", name) == ("", "")
    assert one.get("/1.0/projects") == []
    assert lxc("auth", "binding", "add", "group/team", "operator", "--all-projects") == ("", "")
    assert "group/team,operator,(all projects)" in lxc("auth", "binding", "list", "-f", "csv")[0]
    assert lxc("auth", "group", "delete", "team")[0] == "Group team deleted\n"
    assert api.get("/1.0/auth/bindings") == []


def test_what_is_refused(api, client):
    one, full, metrics = client(), client(restricted=False), client(type="metrics")
    for identity, role, extra, status, text in (
            ("tls/" + "0" * 64, "user", {}, 404, "Certificate not found"),
            (f"tls/{full.certificate.fingerprint}", "user", {}, 400, "is not restricted"),
            (f"tls/{metrics.certificate.fingerprint}", "user", {}, 400, "metrics only"),
            ("candid/", "user", {}, 400, "Invalid user name"), ("candid/a b", "user", {}, 400, "Invalid user name"),
            ("group/none", "user", {}, 404, "Group not found"), ("bob", "user", {}, 400, "Invalid identity"),
            (f"tls/{one.certificate.fingerprint}", "owner", {}, 400, "Unknown role \"owner\""),
            (f"tls/{one.certificate.fingerprint}", "none", {}, 400, "Unknown role"),
            (f"tls/{one.certificate.fingerprint}", "user", {"scope": "world"}, 400, "Invalid scope"),
            (f"tls/{one.certificate.fingerprint}", "user", {"scope": "project"}, 400, "needs the project's name"),
            (f"tls/{one.certificate.fingerprint}", "user", {"scope": "server", "project": "default"}, 400, "no project alone"),
            (f"tls/{one.certificate.fingerprint}", "user", {"scope": "project", "project": "nosuch"}, 404, "nosuch")):
        reply = api.post("/1.0/auth/bindings", {"identity": identity, "role": role, "scope": "server", **extra})
        assert reply.status == status and text in reply.error, (identity, role, extra, reply)
    assert api.get("/1.0/auth/bindings") == []
    bind(api, one, "user")
    assert "has this role already" in bind(api, one, "user", want=409).error
    assert api.delete("/1.0/auth/bindings/99999").status == 404 and api.delete("/1.0/auth/bindings/x").status == 404
    for body, status in (({"name": "a b"}, 400), ({"name": "g", "members": ["group/g"]}, 400), ({}, 400),
                         ({"name": "g", "members": ["candid/b b"]}, 400)):
        assert api.post("/1.0/auth/groups", body).status == status, body
    assert api.get("/1.0/auth/groups") == []


def test_users_and_the_default_role(api):
    """The first grant to a user sets what those without one hold, unless that was said before."""
    assert "candid.default_role" not in api.get("/1.0")["config"]
    bind(api, "candid/bob@example", "operator", "default")
    assert api.get("/1.0")["config"]["candid.default_role"] == "none"
    assert api.post("/1.0/auth/groups", {"name": "g", "members": ["candid/bob@example", "candid/eve"]}).status == 201
    assert api.get("/1.0/auth/groups/g")["members"] == ["candid/bob@example", "candid/eve"]
    etag = api.request("GET", "/1.0/auth/groups/g").headers["ETag"]
    assert api.put("/1.0/auth/groups/g", {"members": ["candid/eve"]}, headers={"If-Match": etag}).status == 200
    assert api.put("/1.0/auth/groups/g", {"members": []}, headers={"If-Match": etag}).status == 412
    assert api.delete("/1.0/auth/groups/g").status == 200
    assert api.delete(f"/1.0/auth/bindings/{api.get('/1.0/auth/bindings')[0]['id']}").status == 200
    assert api.patch("/1.0", {"config": {"candid.default_role": "owner"}}).status == 400
    assert api.patch("/1.0", {"config": {"candid.default_role": ""}}).status == 200
