"""The table of who may call what (tests/unit/route_access.h), asked of the daemon: every route, by callers of every kind,
in their own project, in another one, and in one that is not there."""
import json
import re

import pytest

from helpers import tls
from helpers.api import Response
from helpers.daemon import TOP

pytestmark = pytest.mark.ours

# Columns of the table that a certificate can be; "role": restricted to nothing, with this role in the project.
CALLERS = {
    1: {"restricted": False},
    2: {"role": "admin", "scope": "server"},
    3: {"projects": ["own"]},
    4: {"projects": []},
    5: {"type": "metrics", "restricted": False},
    6: {"type": "metrics", "projects": ["own"]},
    7: {"role": "auditor"},
    8: {"role": "user"},
    9: {"role": "operator"},
    10: {"role": "admin"},
}
ADMINISTRATORS = (1, 2)
DENIED = {"type": "error", "status": "", "status_code": 0, "operation": "", "error_code": 403, "error": "not authorized",
          "metadata": None}

# Open to all whom we know, or to everybody: the handler looks at the object, which is nobody's here.
LOOKS_AGAIN = {
    ("POST", "/1.0/certificates"), ("PUT", "/1.0/certificates/{fingerprint}"), ("PATCH", "/1.0/certificates/{fingerprint}"),
    ("GET", "/1.0/events"), ("POST", "/1.0/images"), ("POST", "/1.0/images/{fingerprint}/export"),
    ("GET", "/1.0/projects/{name}"), ("PUT", "/1.0/projects/{name}"), ("PATCH", "/1.0/projects/{name}"),
    ("GET", "/1.0/projects/{name}/state"), ("GET", "/1.0/operations"), ("GET", "/1.0/operations/{id}/wait"),
    ("GET", "/1.0/operations/{id}/websocket"),
}


def rows():
    text = (TOP / "tests" / "unit" / "route_access.h").read_text()
    found = re.findall(r'\{"([A-Z]+)", "([^"]+)", "([-+]+)", "([-+]+)"\}', text)
    assert len(found) > 100 and all(len(own) == len(other) == 12 for _, _, own, other in found)
    return found


@pytest.fixture(scope="module")
def callers(bare_daemon):
    api, certs = bare_daemon.api, bare_daemon.root / "certs"
    assert api.patch("/1.0", {"config": {"core.https_address": "127.0.0.1:8443"}}).status == 200
    for name in ("own", "another"):
        assert api.post("/1.0/projects", {"name": name}).status == 201
    made = {}
    for column, spec in CALLERS.items():
        one = tls.make_certificate(certs, f"caller{column}")
        body = {"type": spec.get("type", "client"), "certificate": one.base64,
                "restricted": spec.get("restricted", True), "projects": spec.get("projects", [])}
        assert api.post("/1.0/certificates", body).status == 201
        if "role" in spec:
            scope = spec.get("scope", "project")
            grant = {"identity": f"tls/{one.fingerprint}", "role": spec["role"], "scope": scope,
                     "project": "own" if scope == "project" else ""}
            assert api.post("/1.0/auth/bindings", grant).status == 201
        made[column] = tls.TlsClient(one)
    return made


def ask(client, method, path, project):
    """On one connection for all, as far as the server keeps it open."""
    url = re.sub(r"\{[^}]*\}", "a" * 64, path)
    body = b"{}" if method in ("POST", "PUT", "PATCH") and path != "/1.0" else None  # it would unset the address
    if not hasattr(client, "kept"):
        client.kept = client.connection()
    client.kept.request(method, f"{url}?project={project}", body, {"Content-Type": "application/json"})
    reply = client.kept.getresponse()
    return Response(reply.status, reply.headers, reply.read())


def is_denied(reply):
    return reply.status == 403 and reply.json == DENIED


@pytest.mark.parametrize("column", CALLERS)
def test_verdicts(callers, column):
    wrong = []
    for method, path, own, other in rows():
        for project, verdicts in (("own", own), ("another", other), ("nosuch", other)):
            reply = ask(callers[column], method, path, project)
            if verdicts[column] == "-":
                ok = is_denied(reply)
            else:
                ok = not is_denied(reply) or ((method, path) in LOOKS_AGAIN and column not in ADMINISTRATORS)
                # a known caller in a project in which it holds nothing
                ok = ok or ((project != "own" or column == 4) and column not in ADMINISTRATORS)
            if not ok:
                wrong.append((method, path, project, reply.status, reply.json))
    assert wrong == []


@pytest.mark.parametrize("column", [c for c in CALLERS if c not in ADMINISTRATORS])
def test_what_is_forbidden_and_what_is_not_there_look_alike(callers, column):
    """Class O: byte for byte, whatever the route."""
    for method, path, _, _ in rows():
        if path == "/1.0/events":
            continue
        forbidden, absent = (ask(callers[column], method, path, p) for p in ("another", "nosuch"))
        assert (forbidden.status, forbidden.body) == (absent.status, absent.body), (method, path)
        kept = [{k: v for k, v in r.headers.items() if k.lower() not in ("date",)} for r in (forbidden, absent)]
        assert kept[0] == kept[1], (method, path)


def test_objects_of_the_own_project_that_are_not_there(callers):
    """Whoever may look is told so; whoever may not is not."""
    for path in ("/1.0/instances/x", "/1.0/profiles/x", "/1.0/networks/x", "/1.0/images/aliases/x"):
        for column in (3, 7, 8, 9, 10):
            assert callers[column].request("GET", f"{path}?project=own").status == 404, (path, column)
        assert is_denied(callers[4].request("GET", f"{path}?project=own"))


def test_the_table_is_what_roles_say(callers):
    """`lxc auth role list` and the table agree."""
    names = {"view": ("GET", "/1.0/instances"), "operate-containers": ("POST", "/1.0/instances/{name}/exec"),
             "manage-containers": ("POST", "/1.0/instances"), "manage-images": ("DELETE", "/1.0/images/{fingerprint}"),
             "manage-networks": ("POST", "/1.0/networks"), "manage-profiles": ("POST", "/1.0/profiles")}
    table = {(m, p): own for m, p, own, _ in rows()}
    columns = {"auditor": 7, "user": 8, "operator": 9, "admin": 10}
    for role in callers[1].get("/1.0/auth/roles"):
        for name, row in names.items():
            assert (name in role["permissions"]) == (table[row][columns[role["name"]]] == "+"), (role, name)
        assert ("manage-projects" in role["permissions"]) == (role["name"] == "admin")
    assert json.dumps(callers[4].get("/1.0/auth/roles")) == json.dumps(callers[1].get("/1.0/auth/roles"))
