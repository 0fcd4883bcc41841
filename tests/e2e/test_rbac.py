"""The RBAC service: what it says is what users may do; it hears of projects; and what becomes of everybody when it is away."""
import json
import time

import pytest

from helpers import tls
from helpers.candid_provider import HEADERS, cookie_value, discharged
from helpers.projects import project  # noqa: F401 (a fixture)
from helpers.rbac_service import AGENT, Service

pytestmark = pytest.mark.ours

PORT = 8480
ALL = ["view", "operate-containers", "manage-containers", "manage-images", "manage-networks", "manage-profiles", "manage-storage-volumes"]
ROLES = {"auditor": ALL[:1], "user": ALL[:2], "operator": ALL, "admin": [*ALL, "manage-projects"]}


def eventually(what, seconds=15):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return
        time.sleep(0.05)
    assert what()


@pytest.fixture(scope="module")
def server(daemon):
    assert daemon.api.patch("/1.0", {"config": {"core.https_address": "127.0.0.1:8443"}}).status == 200
    return daemon


@pytest.fixture
def service(server):
    made = Service(PORT)
    reply = server.api.patch("/1.0", {"config": made.settings()})
    assert reply.status == 200, reply
    eventually(lambda: made.pushed)
    yield made
    made.fault = None
    assert server.api.patch("/1.0", {"config": dict.fromkeys(made.settings(), "")}).status == 200
    made.stop()


class Users:
    def __init__(self, service):
        self.service, self.client = service, tls.TlsClient()

    def headers(self, user):
        reply = self.client.request("GET", "/1.0", headers=HEADERS)
        assert reply.status == 401, reply
        return {**HEADERS, "Cookie": f"macaroon-auth={cookie_value(discharged(self.service, reply.json['Info']['Macaroon'], user))}"}

    def ask(self, headers, method, path, body=None):
        return self.client.request(method, path, body, headers=headers)


@pytest.fixture
def users(service):
    return Users(service)


def test_agent_and_projects(api, service, users, project):
    """It logs in as the agent it is said to be, and tells of every project by its id."""
    assert service.logins > 0
    first = service.pushed[0]
    assert first["last-sync-id"] is None and {"identifier": "1", "name": "default"} in first["updates"]
    project("pr")
    eventually(lambda: any(u["name"] == "pr" for u in service.pushed[-1]["updates"]))
    ident = next(u["identifier"] for u in service.pushed[-1]["updates"] if u["name"] == "pr")
    api.done(api.post("/1.0/projects/pr", {"name": "pr2"}))
    eventually(lambda: {"identifier": ident, "name": "pr2"} in service.pushed[-1]["updates"])
    assert api.delete("/1.0/projects/pr2").status == 200
    eventually(lambda: ident not in [u["identifier"] for u in service.pushed[-1]["updates"]])
    assert api.get("/1.0")["auth_methods"] == ["tls", "candid"] and api.get("/1.0")["config"]["rbac.agent.private_key"] is True


def test_roles(api, service, users, project):
    project("pr")
    eventually(lambda: any(u["name"] == "pr" for u in service.pushed[-1]["updates"]))
    ident = next(u["identifier"] for u in service.pushed[-1]["updates"] if u["name"] == "pr")
    service.projects |= {role: {ident: names} for role, names in ROLES.items()}
    service.server["boss"] = ["admin"]
    service.projects["none"] = {}
    service.projects["odd"] = {ident: ["fly", "admin", "operate-volumes"], "999": ["view"]}
    rows = (("GET", "/1.0/instances", None, {"auditor", "user", "operator", "admin"}), ("POST", "/1.0/profiles", {"name": "x"}, {"operator", "admin"}),
            ("DELETE", "/1.0/profiles/x", None, {"operator", "admin"}), ("PUT", "/1.0/instances/nosuch/state", {"action": "start"}, {"user", "operator", "admin"}),
            ("POST", "/1.0/instances/nosuch/exec", {"command": ["x"]}, {"user", "operator", "admin"}))
    for role in ROLES:
        headers = users.headers(role)
        for method, path, body, may in rows:
            reply = users.ask(headers, method, f"{path}?project=pr", body)
            assert (reply.status != 403) == (role in may), (role, method, path, reply)
            assert users.ask(headers, method, f"{path}?project=default", body).status == 403
        assert users.ask(headers, "GET", "/1.0/projects").metadata == ["/1.0/projects/pr"]
        assert users.ask(headers, "PATCH", "/1.0/projects/pr", {"description": role}).status == (200 if role == "admin" else 403)
        assert users.ask(headers, "GET", "/1.0/warnings").status == 403 and users.ask(headers, "POST", "/1.0/projects", {"name": "q"}).status == 403
    boss = users.headers("boss")
    assert users.ask(boss, "GET", "/1.0/warnings").status == 200 and users.ask(boss, "GET", "/1.0").metadata["config"]
    for nobody in ("none", "unheard-of", "odd"):
        headers = users.headers(nobody)
        assert users.ask(headers, "GET", "/1.0/projects").metadata == []
        assert users.ask(headers, "GET", "/1.0/instances").status == 403 and users.ask(headers, "GET", "/1.0/instances?project=pr").status == 403
    # bindings of users count for nothing
    assert api.post("/1.0/auth/bindings", {"identity": "candid/none", "role": "admin", "scope": "server"}).status == 201
    assert users.ask(users.headers("none"), "GET", "/1.0/instances").status == 403
    assert api.delete(f"/1.0/auth/bindings/{api.get('/1.0/auth/bindings')[0]['id']}").status == 200


def test_a_change_counts_from_the_next_request(api, service, users):
    service.projects["bob"] = {"1": ROLES["operator"]}
    headers = users.headers("bob")
    assert users.ask(headers, "GET", "/1.0/instances").status == 200
    asked = len(service.asked)
    for _ in range(5):
        assert users.ask(headers, "GET", "/1.0/instances").status == 200
    assert not [a for a in service.asked[asked:] if "permissions-for-user" in a[0]]  # it is remembered
    events = users.client.websocket("/1.0/events", headers)
    service.projects["bob"] = {"1": ROLES["auditor"]}
    service.tell_change()
    eventually(lambda: users.ask(headers, "POST", "/1.0/profiles", {"name": "x"}).status == 403)
    assert users.ask(headers, "GET", "/1.0/instances").status == 200
    while events.recv():
        pass
    assert events.closed  # he has lost something
    service.projects["bob"] = {}
    service.tell_change()
    eventually(lambda: users.ask(headers, "GET", "/1.0/instances").status == 403)


def slow(handler, path):
    time.sleep(12)
    handler._send(200, {})


def faulty(status, body):
    return lambda handler, path: handler._send(status, body)


@pytest.mark.parametrize("fault", [faulty(500, {}), faulty(200, b"garbage"), faulty(200, {"1": "view"}), faulty(200, {"1": [5]}), faulty(200, [1]),
                                   faulty(200, b"[" * 100000), faulty(302, {})],
                         ids=["500", "garbage", "text", "number", "list", "deep", "redirect"])
def test_faults(api, service, users, fault):
    """Who was known stays so for a while; of whom nothing is known may do nothing; and others notice nothing."""
    service.projects["known"] = {"1": ROLES["user"]}
    headers = users.headers("known")
    assert users.ask(headers, "GET", "/1.0/instances").status == 200
    service.projects["new"] = {"1": ROLES["user"]}
    service.fault = fault
    service.tell_change()
    time.sleep(0.5)
    assert users.ask(headers, "GET", "/1.0/instances").status == 200
    assert users.ask(users.headers("new"), "GET", "/1.0/instances").status == 403
    assert api.get("/1.0/instances") == []
    assert api.post("/1.0/projects", {"name": "later"}).status == 201 and api.delete("/1.0/projects/later").status == 200
    service.fault = None
    eventually(lambda: users.ask(users.headers("new"), "GET", "/1.0/instances").status == 200, 20)


def test_slow(api, service, users):
    service.fault = slow
    service.projects["bob"] = {"1": ROLES["user"]}
    headers = users.headers("bob")
    begin = time.monotonic()
    assert api.get("/1.0/instances") == [] and time.monotonic() - begin < 1
    assert users.ask(headers, "GET", "/1.0/instances").status == 403
    assert time.monotonic() - begin < 15
    service.fault = None


def test_away_from_the_start(api, server):
    """Nobody may do anything, administrators by certificate or socket everything."""
    gone = Service(PORT + 1)
    config = gone.settings()
    gone.stop()
    assert api.patch("/1.0", {"config": config}).status == 200
    client = tls.TlsClient()
    reply = client.request("GET", "/1.0", headers=HEADERS)
    assert reply.status == 401, reply  # the key is configured
    users = Users(gone)
    assert users.ask(users.headers("boss"), "GET", "/1.0/instances").status == 403
    assert api.patch("/1.0", {"config": dict.fromkeys(config, "")}).status == 200


def test_an_agent_that_it_does_not_know(api, server):
    service = Service(PORT + 2)
    other = Service(PORT + 3)
    config = {**service.settings(), "rbac.agent.private_key": str(other.agent), "rbac.agent.public_key": str(other.agent.public_key)}
    service.projects["bob"] = {"1": ROLES["user"]}
    service.agent_is_right = lambda token: False
    assert api.patch("/1.0", {"config": config}).status == 200
    users = Users(service)
    assert users.ask(users.headers("bob"), "GET", "/1.0/instances").status == 403
    assert service.pushed == [] and service.asked == []
    assert api.patch("/1.0", {"config": dict.fromkeys(config, "")}).status == 200
    service.stop()
    other.stop()


def test_a_service_that_sends_the_agent_elsewhere(api, server):
    """It gets no login of ours for whoever it names."""
    service, thief = Service(PORT + 4), Service(PORT + 5)
    service.challenge = lambda: thief.challenge()
    assert api.patch("/1.0", {"config": service.settings()}).status == 200
    users = Users(service)
    assert users.ask(users.headers("bob"), "GET", "/1.0/instances").status == 403
    assert thief.requests == [] and not getattr(thief, "logins", 0)
    assert api.patch("/1.0", {"config": dict.fromkeys(service.settings(), "")}).status == 200
    service.stop()
    thief.stop()


@pytest.mark.parametrize("change,text", [
    ({"candid.api.url": "https://candid.example.com"}, "RBAC and Candid are mutually exclusive"), ({"rbac.api.url": "http://192.0.2.1"}, "rbac.api.url"),
    ({"rbac.agent.url": "ftp://x"}, "rbac.agent.url"), ({"rbac.agent.public_key": "AAAA"}, "rbac.agent.public_key"),
    ({"rbac.agent.private_key": "x"}, "rbac.agent.private_key"), ({"rbac.api.key": "x"}, "rbac.api.key"), ({"rbac.expiry": "soon"}, "expiry"),
])
def test_bad_configuration(api, service, change, text):
    reply = api.patch("/1.0", {"config": change})
    assert reply.status == 400 and text in reply.error, reply
    assert AGENT == api.get("/1.0")["config"]["rbac.agent.username"]
    assert json.dumps(api.get("/1.0")).count(str(service.agent)) == 0


def test_after_a_restart(api, server, service, users):
    service.projects["bob"] = {"1": ROLES["user"]}
    headers = users.headers("bob")
    assert users.ask(headers, "GET", "/1.0/instances").status == 200
    pushed = len(service.pushed)
    server.restart()
    assert users.ask(headers, "GET", "/1.0/instances").status == 200
    eventually(lambda: len(service.pushed) > pushed)
