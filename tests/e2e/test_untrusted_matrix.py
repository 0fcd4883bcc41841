"""What a stranger may call: every route with every method, as a stranger without and with a certificate."""
import json
import re

import pytest

from helpers import images, tls
from helpers.daemon import TOP

pytestmark = pytest.mark.ours

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "FOO")

# What answers a stranger something else than 403, and what it is.
OPEN = {
    ("GET", "/"): {200},
    ("GET", "/1.0"): {200},
    ("GET", "/1.0/images"): {200},
    # not there, as seen by anybody
    ("GET", "/1.0/images/{fingerprint}"): {404},
    ("GET", "/1.0/images/{fingerprint}/export"): {404},
    ("GET", "/1.0/images/aliases/{name...}"): {404},
}
CLOSED = {403}


def routes():
    """The rows of the route tables, from the table of expected access that the unit tests hold complete."""
    text = (TOP / "tests" / "unit" / "route_access.h").read_text()
    return re.findall(r'\{"([A-Z]+)", "([^"]+)", "[-+]+", "([-+]+)"\}', text)


def paths():
    return sorted({path for _, path, _ in routes()})


def open_routes():
    return {(method, path) for method, path, may in routes() if may[-1] == "+"}


@pytest.fixture(scope="module")
def daemon(bare_daemon):
    reply = bare_daemon.api.patch("/1.0", {"config": {"core.https_address": "127.0.0.1:8443"}})
    assert reply.status == 200, reply
    return bare_daemon


@pytest.fixture(scope="module", params=["without", "with", "metrics"])
def stranger(request, daemon):
    if request.param == "without":
        return tls.TlsClient()
    certificate = tls.make_certificate(daemon.root / "certs", f"stranger-{request.param}")
    if request.param == "metrics":
        reply = daemon.api.post("/1.0/certificates", {"type": "metrics", "certificate": certificate.base64})
        assert reply.status == 201, reply
    return tls.TlsClient(certificate)


def fill(path):
    return re.sub(r"\{[^}]*\}", "a" * 64, path)


def is_metrics(stranger):
    return stranger.certificate is not None and "metrics" in stranger.certificate.crt.name


def expected(stranger, method, path):
    if method == "OPTIONS":
        return {200}
    if path == "/1.0/metrics" and method in ("GET", "HEAD") and is_metrics(stranger):
        return {200}
    if (method, path) in open_routes():
        return OPEN.get((method, path), CLOSED)
    return CLOSED


def test_the_table_is_read():
    assert len(routes()) > 60 and "/1.0/certificates" in paths()


def methods(stranger, path):
    """All of them without a certificate; with one, those that the path has, and one that it has not."""
    if stranger.certificate is None:
        return METHODS
    return [m for m, p, _ in routes() if p == path] + ["FOO"]


@pytest.mark.parametrize("path", paths())
def test_every_method(stranger, path):
    for method in methods(stranger, path):
        reply = stranger.request(method, fill(path), {} if method in ("POST", "PUT", "PATCH") else None)
        want = expected(stranger, method, path)
        assert reply.status in want, (method, path, reply)
        if reply.status == 403 and method != "HEAD":
            assert reply.json == {"type": "error", "status": "", "status_code": 0, "operation": "", "error_code": 403,
                                  "error": "not authorized", "metadata": None}


@pytest.mark.parametrize("path", paths())
def test_no_open_route_for_who_claims_to_be_known(stranger, path):
    """With X-LXD-authenticated even what is open is closed."""
    for method in ("GET", "POST"):
        if stranger.certificate is not None and (method, path) not in open_routes():
            continue
        reply = stranger.request(method, fill(path), {} if method == "POST" else None,
                                 headers={"X-LXD-authenticated": "true"})
        assert reply.status == 403 and reply.error == "not authorized", (method, path, reply)
    assert stranger.request("GET", "/1.0", headers={"X-LXD-authenticated": ""}).status == 200


@pytest.mark.parametrize("path", ["/nosuch", "/1.0/nosuch", "/1.0/", "/1.0/instances/", "/2.0", "/1.0/certificates/a/b",
                                  "/internal", "/1.0/instances/a/nosuch", "//", "/1.0//instances"])
def test_unknown_paths_are_404(stranger, path):
    for method in ("GET", "POST", "PUT", "DELETE", "FOO"):
        reply = stranger.request(method, path, {} if method in ("POST", "PUT") else None)
        assert reply.status == 404 and reply.error == "not found", (method, path, reply)


def test_projects_do_not_show(stranger):
    """Closed routes: the same 403 whether the project is there or not. Open ones: the same answer."""
    for path in ("/1.0/instances", "/1.0/profiles", "/1.0/operations", "/1.0/events", "/1.0/projects/{p}"):
        bodies = {stranger.request("GET", path.replace("{p}", p) + ("" if "{p}" in path else f"?project={p}")).body
                  for p in ("default", "nosuch")}
        assert len(bodies) == 1, bodies
    answers = {(r.status, r.body) for r in (stranger.request("GET", f"/1.0/images?project={p}")
                                            for p in ("default", "nosuch"))}
    assert len(answers) == 1, answers


@pytest.fixture
def public_image(daemon):
    """One in the default project, with an alias; and a project that has no images of its own."""
    api = daemon.api
    reply = api.request("POST", "/1.0/images", images.busybox(), headers={"Content-Type": "application/octet-stream", "X-LXD-public": "1"})
    fingerprint = api.done(reply)["metadata"]["fingerprint"]
    assert api.post("/1.0/images/aliases", {"name": "seen", "target": fingerprint}).status == 201
    assert api.post("/1.0/projects", {"name": "shares", "config": {"features.images": "false"}}).status == 201
    yield fingerprint
    assert api.delete("/1.0/projects/shares").status == 200
    api.done(api.delete(f"/1.0/images/{fingerprint}"))


def test_existence_oracle_of_projects_that_share_images(daemon, stranger, public_image):
    """Class O: what is public in the default project is not seen through a project that is there and shares it."""
    assert daemon.api.get("/1.0/images?project=shares") == [f"/1.0/images/{public_image}"]
    assert stranger.get("/1.0/images") == [f"/1.0/images/{public_image}"]
    assert stranger.request("GET", "/1.0/images/aliases/seen").status == 200
    for path in ("", "?recursion=1", f"/{public_image}", f"/{public_image}/export", f"/{public_image[:12]}", "/aliases/seen", f"/{public_image}?secret=x"):
        separator = "&" if "?" in path else "?"
        answers = {(r.status, r.body) for r in (stranger.request("GET", f"/1.0/images{path}{separator}project={p}") for p in ("shares", "nosuch"))}
        assert len(answers) == 1, (path, answers)


def test_the_greeting(stranger):
    shown = stranger.get("/1.0")
    assert set(shown) == {"api_extensions", "api_status", "api_version", "auth", "public", "auth_methods"}
    assert shown["auth"] == "untrusted" and shown["auth_methods"] == ["tls"] and shown["public"] is False
    assert stranger.get("/") == ["/1.0"]


def test_answers_end_the_connection(stranger):
    for path in ("/1.0", "/1.0/instances"):
        assert stranger.request("GET", path).headers.get("Connection") == "close"


def test_bodies_are_small(stranger):
    fits = json.dumps({"type": "client", "password": "", "name": "x" * 60000}).encode()
    assert stranger.post("/1.0/certificates", fits).status == 403
    big = json.dumps({"type": "client", "password": "", "name": "x" * 70000}).encode()
    assert stranger.post("/1.0/certificates", big).status == 413


def test_operations_by_secret(stranger, daemon):
    reply = daemon.api.post("/1.0/certificates", {"type": "client", "name": "x", "token": True})
    url, secret = reply.json["operation"], reply.json["metadata"]["metadata"]["secret"]
    for query in ("", "?secret=", "?secret=x", f"?secret={secret[:-1]}", f"?secret={secret}0"):
        reply = stranger.request("GET", f"{url}/wait{query}")
        assert reply.status == 403 and reply.error == "not authorized", (query, reply)
        assert stranger.request("GET", f"{url}/websocket{query}").status == 403
    nothing = "/1.0/operations/00000000-0000-4000-8000-000000000000"
    for end in ("/wait", "/wait?secret=x", "/websocket", "/websocket?secret=x"):
        assert stranger.request("GET", nothing + end).status == 403
    reply = stranger.request("GET", f"{url}/wait?secret={secret}&timeout=0")
    assert reply.status == 200 and "secret" not in reply.metadata["metadata"], reply
    # a wrong secret is refused to those who need none, too
    assert daemon.api.request("GET", f"{url}/wait?secret=x&timeout=0").status == 403
    assert daemon.api.delete(url).status == 200


def test_cluster_agent(daemon):
    certificate = tls.make_certificate(daemon.root / "certs", "agent")
    assert daemon.api.post("/1.0/certificates", {"type": "client", "certificate": certificate.base64}).status == 201
    reply = tls.TlsClient(certificate).request("GET", "/1.0", headers={"User-Agent": "lxd-cluster-notifier"})
    assert reply.status == 500 and reply.error == "Cluster notification isn't using trusted server certificate"


def test_denials_are_in_the_audit_log(daemon):
    assert tls.TlsClient().request("GET", "/1.0/instances").status == 403
    lines = (daemon.dir / "logs" / "audit.log").read_text().splitlines()
    assert any("request-denied" in line and "127.0.0.1" in line for line in lines)


def test_open_metrics(daemon):
    assert tls.TlsClient().request("GET", "/1.0/metrics").status == 403
    assert daemon.api.patch("/1.0", {"config": {"core.metrics_authentication": "false"}}).status == 200
    assert tls.TlsClient().request("GET", "/1.0/metrics").status == 200
    assert daemon.api.patch("/1.0", {"config": {"core.metrics_authentication": ""}}).status == 200
    assert tls.TlsClient().request("GET", "/1.0/metrics").status == 403
